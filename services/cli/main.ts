/** The klpstate command: its subcommands, and how every error becomes one message and exit code 2. */
import { Command, CommanderError } from "commander";
import { document_of } from "../api/problem_document.js";
import { Problem } from "../events/problem.js";
import { add_agent_command } from "./agent.js";
import { add_check_command } from "./check.js";
import type { Session } from "./command.js";
import { add_conform_command } from "./conform.js";
import { add_fleet_command } from "./fleet.js";
import { add_history_command } from "./history.js";
import { add_host_command } from "./host.js";
import { add_ingest_command, BrokenInput } from "./ingest.js";
import { add_load_command } from "./load.js";
import { add_patch_commands } from "./patch.js";
import { plain } from "./render/text.js";
import { add_replay_command } from "./replay.js";
import { add_serve_command } from "./serve.js";
import { add_snapshot_command } from "./snapshot.js";
import { add_state_command } from "./state.js";
import { print, ReaderGone, type Terminal } from "./terminal.js";
import { VERSION } from "./version.js";

/** 128 + SIGPIPE, as of a program that the closed pipe ended. */
const READER_GONE_CODE = 141;

/** The exit code. `args` are those behind the command's own name. */
export async function run(args: string[], terminal: Terminal = process): Promise<number> {
  // A reader that goes away is reported by the write that meets it.
  for (const stream of [terminal.stdout, terminal.stderr]) stream.on("error", ignore);
  const json = args.includes("--json");
  let code: number | null = null;
  const session: Session = {
    terminal,
    end(ended) {
      code = ended;
    },
  };
  try {
    await new_program(session, json).parseAsync(args, { from: "user" });
    return code ?? 0;
  } catch (error) {
    return await failed(error, json, terminal);
  } finally {
    for (const stream of [terminal.stdout, terminal.stderr]) stream.off("error", ignore);
  }
}

/** `json`: also a mistake in the arguments is told as a document. */
function new_program(session: Session, json: boolean): Command {
  const { stdout, stderr } = session.terminal;
  const program = new Command("klpstate")
    .description("An event-sourced registry of Linux kernel livepatch system states.")
    .version(VERSION)
    .exitOverride()
    .configureOutput({
      writeOut: (text) => stdout.write(text),
      writeErr: (text) => stderr.write(text),
      outputError(text, write) {
        const message = text.replace(/^error: /, "").trimEnd();
        write(
          json
            ? `${JSON.stringify(document_of(new Problem("bad_input", message)))}\n`
            : `klpstate: ${message}\n`,
        );
      },
    })
    .addHelpText("after", "\nklpstate COMMAND --help has examples and exit codes.");
  add_serve_command(program, session);
  add_ingest_command(program, session);
  add_patch_commands(program, session);
  add_check_command(program, session);
  add_host_command(program, session);
  add_history_command(program, session);
  add_state_command(program, session);
  add_fleet_command(program, session);
  add_replay_command(program, session);
  add_snapshot_command(program, session);
  add_agent_command(program, session);
  add_load_command(program, session);
  add_conform_command(program, session);
  return program;
}

async function failed(error: unknown, json: boolean, terminal: Terminal): Promise<number> {
  if (error instanceof ReaderGone) return READER_GONE_CODE;
  // Commander has said what is wrong by itself.
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
  const stored = error instanceof BrokenInput ? { stored_events: error.stored_events } : {};
  if (json) await print(terminal.stderr, `${JSON.stringify({ ...cli_document(error), ...stored })}\n`);
  else await print(terminal.stderr, `klpstate: ${plain(message_of(error))}\n`);
  return 2;
}

/** Here the failure of a server of its own is the user's to read. */
function cli_document(error: unknown) {
  return error instanceof Problem ? document_of(error) : { ...document_of(error), detail: message_of(error) };
}

function message_of(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function ignore(): void {}
