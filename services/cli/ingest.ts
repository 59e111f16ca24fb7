/** `klpstate ingest`: sends a file of events to a registry. */
import { type Command, Option } from "commander";
import type { Ack } from "../registry/answers.js";
import { ask_until_taken } from "./ask.js";
import { type AskOptions, ask_and_end, type Session, with_ask_options, with_examples } from "./command.js";
import type { Door } from "./door.js";
import { type BatchOutlet, send_events } from "./event_batches.js";
import { open_event_file } from "./event_file.js";
import { EVENT_FORMATS, type EventFormat } from "./event_input.js";
import { start_progress } from "./progress.js";
import { ingest_text } from "./render/ingest_text.js";
import { StoredPositions } from "./stored_positions.js";

const BATCH_EVENTS_MAX = 1_000;
const BATCH_BYTES_MAX = 512 * 1024;
/** Beyond it hosts are no longer told apart: a summary is not worth the memory of ten million names. */
const HOSTS_COUNTED_MAX = 1_000_000;
/** Stored, and what the registry then had of the host was not told in time. */
const NOT_TOLD = "not_told";

export interface IngestSummary {
  /** Acknowledged; the ones that were stored before count as well. */
  events: number;
  batches: number;
  /** Null: too many to be counted. */
  hosts: number | null;
  /** Hosts by what is known of them after their last event here, or `not_told`; of the counted ones. */
  knowledge: Record<string, number>;
  positions: Record<string, string>;
  /** The positions as a question takes them. */
  min_position: string;
}

interface IngestOptions extends AskOptions {
  format: EventFormat;
}

export function add_ingest_command(program: Command, session: Session): void {
  const command = with_format(
    program
      .command("ingest")
      .description("store the events of a file, in order; sending a file again is safe")
      .argument("<file>", "the file; - is standard input"),
  ).action(async (file: string, options: IngestOptions) => {
    // Before the door: a name that is wrong must not make a registry.
    const input = await open_event_file(file, session.terminal);
    try {
      await ask_and_end(session, options, true, async ({ door, terminal, say, say_json }) => {
        const progress = start_progress(terminal);
        const registry = new RegistryOutlet(door);
        const sent = await send_events(input, options.format, registry, progress).finally(progress.end);
        const summary = { ...sent, ...registry.told() };
        await (options.json ? say_json(summary) : say(ingest_text(summary)));
        return 0;
      });
    } finally {
      await input.close();
    }
  });
  with_examples(
    with_ask_options(command),
    [
      "ingest events.ndjson",
      "ingest - --data ./registry < events.ndjson",
      "ingest spool.pb --format protobuf --json",
    ],
    `
A server that has too much to do is sent the same batch again, for a minute or so.
A broken line ends it: the lines before it are stored, and the message says how many.

Exit codes:
  0  every event is stored
  2  a line is broken, or the events could not be sent
`,
  );
}

/** What the file holds. */
export function with_format(command: Command): Command {
  return command.addOption(
    new Option("--format <format>", "ndjson, or length-delimited protobuf (EventBatch or HostEvent)")
      .choices(EVENT_FORMATS)
      .default("ndjson"),
  );
}

/** Posts batches, and keeps what the registry says of hosts and positions. */
class RegistryOutlet implements BatchOutlet {
  readonly events_max = BATCH_EVENTS_MAX;
  readonly bytes_max = BATCH_BYTES_MAX;
  private readonly positions = new StoredPositions();
  private readonly knowledge_of = new Map<string, string>();
  private hosts_counted = true;

  constructor(private readonly door: Door) {}

  async send(batch: Uint8Array): Promise<void> {
    const ack = await ask_until_taken<Ack>(this.door, {
      method: "POST",
      path: "/v1/events",
      content_type: "application/x-protobuf",
      body: batch,
    });
    for (const [partition, next] of Object.entries(ack.positions))
      this.positions.note(Number(partition), BigInt(next));
    for (const { host_id, knowledge } of ack.hosts) {
      if (this.knowledge_of.size < HOSTS_COUNTED_MAX || this.knowledge_of.has(host_id)) {
        this.knowledge_of.set(host_id, knowledge ?? NOT_TOLD);
      } else this.hosts_counted = false;
    }
  }

  told(): Omit<IngestSummary, "events" | "batches"> {
    const knowledge: Record<string, number> = {};
    for (const known of this.knowledge_of.values()) knowledge[known] = (knowledge[known] ?? 0) + 1;
    return {
      hosts: this.hosts_counted ? this.knowledge_of.size : null,
      knowledge,
      ...this.positions.document(),
    };
  }
}
