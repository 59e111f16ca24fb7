/** A terminal whose output is kept. */
import { PassThrough, Readable, Writable } from "node:stream";
import { run } from "#services/cli/main.js";

export interface Ran {
  code: number;
  out: string;
  err: string;
}

/** Runs the command as the shell would, with `input` on its standard input. */
export async function run_captured(
  args: string[],
  input = "",
  tty = false,
  env: Record<string, string> = {},
): Promise<Ran> {
  const kept = { out: "", err: "" };
  const keep = (name: "out" | "err") =>
    Object.assign(
      new Writable({
        write(chunk, _, done) {
          kept[name] += chunk;
          done();
        },
      }),
      { isTTY: tty },
    );
  const stdin = input === "" ? new PassThrough().end() : Readable.from([Buffer.from(input)]);
  const code = await run(args, { stdin, stdout: keep("out"), stderr: keep("err"), env });
  return { code, ...kept };
}
