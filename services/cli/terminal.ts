/** The streams that a command reads and writes, as the rest of the CLI sees them. */
import type { Writable } from "node:stream";
import { styleText } from "node:util";

export interface OutputStream extends Writable {
  isTTY?: boolean;
  columns?: number;
}

export interface Terminal {
  stdin: AsyncIterable<Uint8Array>;
  stdout: OutputStream;
  stderr: OutputStream;
  env: Readonly<Record<string, string | undefined>>;
}

type Style = "bold" | "dim" | "red" | "yellow" | "green";
/** Text in a style, or as it is where nobody would see the style. */
export type Paint = (style: Style, text: string) => string;

/** Who read the output has gone, as `head` does: nothing is wrong, and nothing more is to be said. */
export class ReaderGone extends Error {
  override readonly name = "ReaderGone";
}

/** https://no-color.org: present and not empty, whatever the value. */
export function paint_for(terminal: Terminal): Paint {
  const coloured = terminal.stdout.isTTY === true && !terminal.env.NO_COLOR && terminal.env.TERM !== "dumb";
  return coloured ? (style, text) => styleText(style, text, { validateStream: false }) : (_, text) => text;
}

/** Resolves when the text is out, so that an answer of any length needs no more memory than a part of it. */
export function print(stream: OutputStream, text: string): Promise<void> {
  return new Promise((resolve, reject) => {
    stream.write(text, (error) => {
      if (!error) resolve();
      else reject((error as NodeJS.ErrnoException).code === "EPIPE" ? new ReaderGone() : error);
    });
  });
}
