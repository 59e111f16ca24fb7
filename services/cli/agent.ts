/** `klpstate agent`: watches the host that it runs on, and tells a registry, or standard output. */
import { randomBytes } from "node:crypto";
import { mkdirSync } from "node:fs";
import { machine, release } from "node:os";
import { join } from "node:path";
import { type Command, InvalidArgumentError, Option } from "commander";
import { container_sign, host_identity } from "../agent/container.js";
import { HostReader, host_root } from "../agent/host_files.js";
import { ANSWER_MS_MAX, http_outlet, type Posted } from "../agent/http_outlet.js";
import { Inbox } from "../agent/inbox.js";
import { KMSG, Kmsg, open_kmsg } from "../agent/kmsg.js";
import { run_agent } from "../agent/run.js";
import { type Outlet, Sender } from "../agent/sender.js";
import { check_sources } from "../agent/sources.js";
import { DiskSpool, MemorySpool, type Spool } from "../agent/spool.js";
import { type HostClock, HostWatch } from "../agent/watch.js";
import { decode_event } from "../events/codec.js";
import { event_to_json } from "../events/json.js";
import { Problem } from "../events/problem.js";
import { parse_duration } from "../events/time.js";
import { type Claim, claim_directory } from "../log/claim.js";
import { type Session, with_examples } from "./command.js";
import { DEFAULT_SERVER, type DoorOptions, open_door } from "./door.js";
import { sources_text } from "./render/sources_text.js";
import { plain } from "./render/text.js";
import { signal_of_stop } from "./stop_signal.js";
import { paint_for, print, type Terminal } from "./terminal.js";
import { with_token } from "./token.js";

/** Where the unit in packaging/ keeps it. */
export const SPOOL_DIRECTORY = "/var/lib/klpstate-agent";
/** A host that looks seldom is no use, one that looks all the time costs. */
const INTERVAL_MS_MIN = 10;
const INTERVAL_MS_MAX = 60_000;
/** The first batch, and the first try again, are within so many looks. */
const START_LOOKS = 5;

interface AgentOptions extends DoorOptions {
  hostId?: string;
  spool?: string;
  root: string;
  interval: number;
  output?: string;
  once?: boolean;
  check?: boolean;
  json?: boolean;
}

export function add_agent_command(program: Command, session: Session): void {
  const command = program
    .command("agent")
    .description("watch this host's livepatches and tell the registry what happens")
    .option("--server <url>", `tell this server (default: ${DEFAULT_SERVER})`)
    .option("--host-id <id>", "the host's name in the registry (default: its host name)")
    .option("--spool <dir>", `what was not acknowledged yet (default: ${SPOOL_DIRECTORY})`)
    .option("--root <dir>", "where the host's /sys, /proc and /dev are", "/")
    .option("--interval <span>", "from one look to the next, if nothing happens", parse_interval, 1_000)
    .addOption(
      new Option("--output <file>", "- writes events as NDJSON to standard output instead of sending them")
        .choices(["-"])
        .conflicts("server"),
    )
    .addOption(
      new Option("--once", "print the events of one look and end").conflicts(["server", "spool", "check"]),
    )
    .addOption(new Option("--check", "say what can be read, and what would give access").conflicts("output"))
    .option("--json", "answer --check with JSON, a line for each source")
    .action(async (options: AgentOptions) => {
      if (options.check) session.end(await check(options, session.terminal));
      else {
        await (options.once ? look_once(options, session.terminal) : watch_on(options, session.terminal));
        session.end(0);
      }
    });
  with_examples(
    with_token(command),
    [
      "agent --server https://klpstate.example",
      "agent --check",
      "agent --once --host-id web-17",
      "agent --output - --host-id web-17 > events.ndjson",
      "agent --server https://klpstate.example --root /host --host-id node-3",
    ],
    `
In a container, and with --root, the host's name is not known: give --host-id.
Without --spool, --output - keeps nothing: every start begins a new stream.
SIGINT and SIGTERM end it; what was not acknowledged is sent by the next start.

Exit codes:
  0  ended by a signal, or with --check: everything can be read
  1  with --check: something cannot be read
  2  it could not start
`,
  );
}

function parse_interval(text: string): number {
  const interval_ms = parse_duration(text, "interval");
  if (interval_ms >= INTERVAL_MS_MIN && interval_ms <= INTERVAL_MS_MAX) return interval_ms;
  throw new InvalidArgumentError(`It is not from ${INTERVAL_MS_MIN}ms to ${INTERVAL_MS_MAX / 1_000}s.`);
}

const CLOCK: HostClock = { wall_ms: () => Date.now(), monotonic_ms: () => performance.now() };

/** Without times: the journal, which reads it, has its own. */
function reporter({ stderr }: Terminal): (message: string) => void {
  return (message) => void stderr.write(`klpstate agent: ${plain(message)}\n`);
}

function open_watch(options: AgentOptions, spool: Spool, inbox: Inbox | null, terminal: Terminal): HostWatch {
  const root = host_root(options.root);
  const host_id = host_identity(options.hostId, root, options.root !== "/", container_sign(root));
  return new HostWatch({
    host_id,
    reader: new HostReader(root, { kernel_release: release(), arch: machine() }),
    kmsg: new Kmsg(() => open_kmsg(join(options.root, KMSG))),
    spool,
    inbox,
    clock: CLOCK,
    random: Math.random,
    new_stream: () => randomBytes(8).readBigUInt64LE() || 1n,
    report: reporter(terminal),
  });
}

async function look_once(options: AgentOptions, terminal: Terminal): Promise<void> {
  const spool = new MemorySpool();
  const watch = open_watch(options, spool, null, terminal);
  // A first look is never in doubt; only one that is torn every time is given up.
  if (watch.look() === "again")
    throw new Problem(
      "unavailable",
      "the host's livepatches changed faster than they could be read; try again",
    );
  await lines_outlet(terminal).deliver(spool.unsent);
}

async function watch_on(options: AgentOptions, terminal: Terminal): Promise<void> {
  const stopped = signal_of_stop();
  const keeps = options.output === undefined || options.spool !== undefined;
  const directory = options.spool ?? SPOOL_DIRECTORY;
  const claim = keeps ? claim_spool(directory) : null;
  const report = reporter(terminal);
  const disk_spool = claim === null ? null : new DiskSpool(directory);
  const spool = disk_spool ?? new MemorySpool();
  try {
    if (disk_spool?.damaged) report(`the spool in ${directory} is damaged: a new stream begins`);
    const watch = open_watch(options, spool, claim === null ? null : new Inbox(directory), terminal);
    const outlet =
      options.output === undefined ? await server_outlet(options, terminal) : lines_outlet(terminal);
    const sender = new Sender({
      spool,
      watch,
      outlet,
      random: Math.random,
      monotonic_ms: CLOCK.monotonic_ms,
      // Standard output is one reader, no fleet's server.
      base_ms: options.output === undefined ? options.interval * START_LOOKS : 0,
      report,
    });
    const root = host_root(options.root);
    const parts = { watch, sender, root, clock: CLOCK, interval_ms: options.interval, report };
    const ended = new AbortController();
    stopped.signal.then(() => ended.abort());
    await run_agent(parts, ended.signal);
  } finally {
    stopped.forget();
    spool.close();
    claim?.release();
  }
}

function claim_spool(directory: string): Claim {
  try {
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    return claim_directory(directory);
  } catch (error) {
    const says = (message: string) =>
      new Problem("unavailable", `--spool: ${message}`, { field: "spool", value: directory });
    if (error instanceof Problem && error.code === "unavailable")
      throw says(`another agent has ${directory}; stop it, or name another directory`);
    throw says((error as Error).message);
  }
}

/** One connection a batch: batches are rare, and one that hangs is cut off with its connection. */
async function server_outlet({ server, tokenFile }: AgentOptions, terminal: Terminal): Promise<Outlet> {
  const options: DoorOptions = {
    ...(server !== undefined && { server }),
    ...(tokenFile !== undefined && { tokenFile }),
  };
  const open = () => open_door(options, terminal.env, false, reporter(terminal));
  // An address or a token that is wrong is told at the start, not in a log.
  await (await open()).close();
  return http_outlet(async (body): Promise<Posted> => {
    const door = await open();
    const late = new AbortController();
    const timer = setTimeout(() => late.abort(), ANSWER_MS_MAX);
    try {
      const answered = (async () => {
        const reply = await door.ask({
          method: "POST",
          path: "/v1/events",
          content_type: "application/x-protobuf",
          body,
        });
        const chunks: Uint8Array[] = [];
        for await (const chunk of reply.body) chunks.push(chunk);
        const text = Buffer.concat(chunks).toString("utf8");
        return { status: reply.status, text, retry_after: reply.header("retry-after") };
      })();
      const too_late = new Promise<never>((_, reject) => {
        late.signal.addEventListener("abort", () =>
          reject(new Error(`no answer within ${ANSWER_MS_MAX / 1_000} s`)),
        );
      });
      return await Promise.race([answered, too_late]);
    } finally {
      clearTimeout(timer);
      await door.close();
    }
  });
}

function lines_outlet({ stdout }: Terminal): Outlet {
  return {
    async deliver(events) {
      const lines = events.map(({ bytes }) => `${JSON.stringify(event_to_json(decode_event(bytes)))}\n`);
      await print(stdout, lines.join(""));
      return { taken: null };
    },
  };
}

async function check(options: AgentOptions, terminal: Terminal): Promise<0 | 1> {
  const root = host_root(options.root);
  const reports = check_sources(root, () => open_kmsg(join(options.root, KMSG)));
  const text = options.json
    ? reports.map((report) => `${JSON.stringify(report)}\n`).join("")
    : sources_text(reports, container_sign(root), paint_for(terminal));
  await print(terminal.stdout, text);
  return reports.every(({ access }) => access !== "unreadable") ? 0 : 1;
}
