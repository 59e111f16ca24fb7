/** The klpstate command: its subcommands, and how every error becomes one message and exit code 2. */
import { Command, CommanderError } from "commander";
import { Problem } from "../events/problem.js";
import type { Session } from "./command.js";
import { plain } from "./render/text.js";
import { print, ReaderGone, type Terminal } from "./terminal.js";
import { VERSION } from "./version.js";

/**
 * Each is loaded only where it is asked for: an agent on every host has no use for the server's parts, which are half of
 * what a process of this program holds.
 */
const COMMANDS: Record<string, () => Promise<(program: Command, session: Session) => void>> = {
  serve: async () => (await import("./serve.js")).add_serve_command,
  ingest: async () => (await import("./ingest.js")).add_ingest_command,
  produce: async () => (await import("./produce.js")).add_produce_command,
  patch: async () => (await import("./patch.js")).add_patch_commands,
  check: async () => (await import("./check.js")).add_check_command,
  host: async () => (await import("./host.js")).add_host_command,
  history: async () => (await import("./history.js")).add_history_command,
  state: async () => (await import("./state.js")).add_state_command,
  fleet: async () => (await import("./fleet.js")).add_fleet_command,
  replay: async () => (await import("./replay.js")).add_replay_command,
  partition: async () => (await import("./partition.js")).add_partition_commands,
  snapshot: async () => (await import("./snapshot.js")).add_snapshot_command,
  migrate: async () => (await import("./migrate.js")).add_migrate_command,
  agent: async () => (await import("./agent.js")).add_agent_command,
  load: async () => (await import("./load.js")).add_load_command,
  conform: async () => (await import("./conform.js")).add_conform_command,
  topics: async () => (await import("./topics.js")).add_topics_commands,
  "state-changes": async () => (await import("./state_changes.js")).add_state_changes_commands,
};

/** A problem as a document, where the answer is to be JSON. */
type DocumentOf = typeof import("../api/problem_document.js").document_of;

/** 128 + SIGPIPE, as of a program that the closed pipe ended. */
const READER_GONE_CODE = 141;

/** The exit code. `args` are those behind the command's own name. */
export async function run(args: string[], terminal: Terminal = process): Promise<number> {
  // A reader that goes away is reported by the write that meets it.
  for (const stream of [terminal.stdout, terminal.stderr]) stream.on("error", ignore);
  const document_of = args.includes("--json")
    ? (await import("../api/problem_document.js")).document_of
    : null;
  let code: number | null = null;
  const session: Session = {
    terminal,
    end(ended) {
      code = ended;
    },
  };
  const said: Promise<void>[] = [];
  try {
    try {
      const program = await new_program(session, args, document_of, said);
      await program.parseAsync(args, { from: "user" });
    } finally {
      // Commander does not wait for what it writes: help, and what is wrong with the arguments.
      await Promise.all(said);
    }
    return code ?? 0;
  } catch (error) {
    return await failed(error, document_of, terminal);
  } finally {
    for (const stream of [terminal.stdout, terminal.stderr]) stream.off("error", ignore);
  }
}

/** With `document_of` also a mistake in the arguments is told as a document. `said`: what commander writes goes there. */
async function new_program(
  session: Session,
  args: string[],
  document_of: DocumentOf | null,
  said: Promise<void>[],
): Promise<Command> {
  const { stdout, stderr } = session.terminal;
  const program = new Command("klpstate")
    .description("An event-sourced registry of Linux kernel livepatch system states.")
    .version(VERSION)
    .exitOverride()
    .configureOutput({
      writeOut: (text) => void said.push(print(stdout, text)),
      writeErr: (text) => void said.push(print(stderr, text)),
      outputError(text, write) {
        const message = text.replace(/^error: /, "").trimEnd();
        write(
          document_of
            ? `${JSON.stringify(document_of(new Problem("bad_input", message)))}\n`
            : `klpstate: ${message}\n`,
        );
      },
    })
    .addHelpText("after", "\nklpstate COMMAND --help has examples and exit codes.");
  const [first = ""] = args;
  // Where it is none of them, the program's own help or its complaint names all.
  const names = Object.hasOwn(COMMANDS, first) ? [first] : Object.keys(COMMANDS);
  for (const name of names) (await COMMANDS[name]!())(program, session);
  return program;
}

async function failed(error: unknown, document_of: DocumentOf | null, terminal: Terminal): Promise<number> {
  if (error instanceof ReaderGone) return READER_GONE_CODE;
  // Commander has said what is wrong by itself.
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
  if (document_of === null) {
    await print(terminal.stderr, `klpstate: ${plain(message_of(error))}\n`);
    return 2;
  }
  // Here the failure of a server of its own is the user's to read.
  const document =
    error instanceof Problem ? document_of(error) : { ...document_of(error), detail: message_of(error) };
  const stored =
    error instanceof Problem && "stored_events" in error ? { stored_events: error.stored_events } : {};
  await print(terminal.stderr, `${JSON.stringify({ ...document, ...stored })}\n`);
  return 2;
}

function message_of(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function ignore(): void {}
