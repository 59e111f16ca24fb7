/** `klpstate load`: loads a livepatch on this host, if the registry says that the kernel will take it. */
import { spawnSync } from "node:child_process";
import { resolve } from "node:path";
import type { Command } from "commander";
import { container_sign, host_identity } from "../agent/container.js";
import { host_root } from "../agent/host_files.js";
import { report_refusal } from "../agent/inbox.js";
import { KMSG, Kmsg, open_kmsg } from "../agent/kmsg.js";
import { errno_of_insmod, is_silent_refusal } from "../agent/loader.js";
import { read_module } from "../catalog/module/read_module.js";
import type { Manifest } from "../events/codec.js";
import { Problem } from "../events/problem.js";
import type { HostVerdict } from "../registry/answers.js";
import { SPOOL_DIRECTORY } from "./agent.js";
import { ask_host_verdict } from "./check.js";
import {
  type Asking,
  type AskOptions,
  ask_and_end,
  type ExitCode,
  type Session,
  with_ask_options,
  with_examples,
} from "./command.js";
import { host_verdict_text } from "./render/host_verdicts_text.js";
import { plain } from "./render/text.js";

interface LoadOptions extends AskOptions {
  hostId?: string;
  spool: string;
  anyway?: boolean;
}

export function add_load_command(program: Command, session: Session): void {
  const command = program
    .command("load")
    .description("load a livepatch on this host, if the registry says that its kernel will take it")
    .argument("<file>", "the module's file")
    .option("--host-id <id>", "the host's name in the registry (default: its host name)")
    .option("--spool <dir>", "where this host's agent keeps its events", SPOOL_DIRECTORY)
    .option("--anyway", "load it whatever the registry says, or if it cannot say")
    .action((file: string, options: LoadOptions) =>
      ask_and_end(session, options, false, (asking) => load(asking, file, options)),
    );
  with_examples(
    with_ask_options(command),
    ["load kp_9.ko --server https://klpstate.example", "load kp_9.ko --anyway"],
    `
A refusal that the kernel's log does not show is told to the registry by this host's agent.

Exit codes:
  0  it is loaded
  1  the registry says that it would not be, or the kernel refused it
  2  the question could not be answered, and nothing was loaded
`,
  );
}

async function load(asking: Asking, file: string, options: LoadOptions): Promise<ExitCode> {
  const { manifest, warnings } = await read_module(file);
  const name = manifest.name!;
  for (const warning of warnings) await asking.warn(`klpstate: ${file}: ${warning}\n`);
  const root = host_root("/");
  const host_id = host_identity(options.hostId, root, false, container_sign(root));
  const verdict = await ask_verdict(asking, candidate_of(manifest), host_id, options);
  if (verdict !== null && verdict.verdict !== "ok" && !options.anyway) {
    await say_verdict(asking, verdict, name, options);
    if (verdict.verdict === "done") return 0;
    await asking.warn("klpstate: not loaded; --anyway loads it all the same\n");
    return 1;
  }
  if (verdict !== null) await say_verdict(asking, verdict, name, options);
  return insmod(asking, file, name, options);
}

/** This very module, where it has a build id: another build of the name may have other states. */
function candidate_of({ name, build_id }: Manifest): string {
  return build_id?.length ? `${name}@${Buffer.from(build_id).toString("hex")}` : name!;
}

/** Null where the registry cannot say and nobody minds. */
async function ask_verdict(
  { door, warn }: Asking,
  candidate: string,
  host_id: string,
  { anyway }: LoadOptions,
): Promise<HostVerdict | null> {
  try {
    return await ask_host_verdict(door, candidate, host_id);
  } catch (error) {
    if (!(error instanceof Problem) || !anyway) throw error;
    await warn(`klpstate: ${plain(error.message)}\n`);
    return null;
  }
}

async function say_verdict(
  { say, say_json, paint }: Asking,
  verdict: HostVerdict,
  name: string,
  { json }: LoadOptions,
): Promise<void> {
  await (json ? say_json(verdict) : say(host_verdict_text(verdict, name, paint)));
}

async function insmod(
  { say, warn, terminal }: Asking,
  file: string,
  name: string,
  { json, spool }: LoadOptions,
): Promise<ExitCode> {
  const log = new Kmsg(() => open_kmsg(KMSG));
  // What is there already is of other loads.
  log.read();
  const time_unix_ms = Date.now();
  const loader = spawnSync("insmod", [resolve(file)], {
    env: { ...terminal.env, LC_ALL: "C" },
    stdio: ["ignore", "ignore", "pipe"],
    encoding: "utf8",
  });
  const said = log.read();
  log.close();
  if (loader.error)
    throw new Problem("unavailable", `insmod cannot be run (${loader.error.message}); install kmod`);
  if (loader.status === 0) {
    if (!json) await say(`loaded ${plain(name)}\n`);
    return 0;
  }
  await warn(`klpstate: the kernel refused it: ${plain(loader.stderr.trim())}\n`);
  const errno = errno_of_insmod(loader.stderr);
  if (errno === null || !is_silent_refusal(errno, said)) return 1;
  try {
    report_refusal(spool, { name, errno, time_unix_ms });
  } catch (error) {
    await warn(`klpstate: the agent cannot be told of it: ${plain((error as Error).message)}\n`);
  }
  return 1;
}
