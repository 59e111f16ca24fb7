/** `klpstate ingest`: sends a file of events, in order, batch by batch. */
import { type FileHandle, open } from "node:fs/promises";
import { type Command, Option } from "commander";
import { encode_batch } from "../events/codec.js";
import { Problem } from "../events/problem.js";
import type { Ack } from "../registry/answers.js";
import { ask_until_taken } from "./ask.js";
import { type AskOptions, ask_and_end, type Session, with_ask_options, with_examples } from "./command.js";
import type { Door } from "./door.js";
import { EVENT_FORMATS, type EventFormat, type PlacedEvent, read_events } from "./event_input.js";
import { type Progress, start_progress } from "./progress.js";
import { ingest_text } from "./render/ingest_text.js";
import { counted, number } from "./render/text.js";
import type { Terminal } from "./terminal.js";

const BATCH_EVENTS_MAX = 1_000;
const BATCH_BYTES_MAX = 512 * 1024;
/** Tag and length of an event in its batch, at most. */
const EVENT_FRAMING_BYTES = 6;
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

/** The input ended before its end; what came before is stored. */
export class BrokenInput extends Problem {
  constructor(
    message: string,
    cause: Problem,
    readonly stored_events: number,
  ) {
    super(cause.code, message, cause.parts);
  }
}

interface IngestOptions extends AskOptions {
  format: EventFormat;
}

export function add_ingest_command(program: Command, session: Session): void {
  const command = program
    .command("ingest")
    .description("store the events of a file, in order; sending a file again is safe")
    .argument("<file>", "the file; - is standard input")
    .addOption(
      new Option("--format <format>", "ndjson, or length-delimited protobuf (EventBatch or HostEvent)")
        .choices(EVENT_FORMATS)
        .default("ndjson"),
    )
    .action(async (file: string, options: IngestOptions) => {
      // Before the door: a name that is wrong must not make a registry.
      const input = await open_input(file, session.terminal);
      try {
        await ask_and_end(session, options, true, async ({ door, terminal, say, say_json }) => {
          const progress = start_progress(terminal);
          const summary = await send(door, file, input, options.format, progress).finally(progress.end);
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

interface Input {
  bytes: AsyncIterable<Uint8Array>;
  /** Null where it is not known before the end. */
  size_bytes: number | null;
  close(): Promise<void>;
}

async function open_input(file: string, { stdin }: Terminal): Promise<Input> {
  if (file === "-") return { bytes: stdin, size_bytes: null, async close() {} };
  let handle: FileHandle | null = null;
  try {
    handle = await open(file, "r");
    const stat = await handle.stat();
    if (stat.isDirectory()) throw new Error("it is a directory");
    const opened = handle;
    return {
      bytes: opened.createReadStream({ highWaterMark: 256 * 1024, autoClose: false }),
      size_bytes: stat.isFile() ? stat.size : null,
      close: () => opened.close(),
    };
  } catch (error) {
    await handle?.close();
    throw new Problem("bad_input", `${file} cannot be read: ${(error as Error).message}`, { value: file });
  }
}

async function send(
  door: Door,
  file: string,
  input: Input,
  format: EventFormat,
  progress: Progress,
): Promise<IngestSummary> {
  const sender = new Sender(door, file, format);
  let read_bytes = 0;
  async function* counted_bytes(): AsyncGenerator<Uint8Array> {
    for await (const chunk of input.bytes) {
      read_bytes += chunk.length;
      yield chunk;
    }
  }
  try {
    for await (const event of read_events(counted_bytes(), format)) {
      const sent = await sender.add(event);
      if (sent)
        progress.show(
          input.size_bytes && read_bytes / input.size_bytes,
          counted(sender.stored_events, "event"),
        );
    }
  } catch (error) {
    if (!(error instanceof Problem) || error instanceof BrokenInput) throw error;
    await sender.flush();
    throw sender.broken_at(error.parts.line ?? null, error);
  }
  await sender.flush();
  return sender.summary();
}

/** Collects events into batches and sends them one after another. */
class Sender {
  stored_events = 0;
  private batches = 0;
  private batch: PlacedEvent[] = [];
  private batch_bytes = 0;
  private readonly positions = new Map<string, bigint>();
  private readonly knowledge_of = new Map<string, string>();
  private hosts_counted = true;

  constructor(
    private readonly door: Door,
    private readonly file: string,
    private readonly format: EventFormat,
  ) {}

  /** Whether a batch was sent. */
  async add(event: PlacedEvent): Promise<boolean> {
    const bytes = event.bytes.length + EVENT_FRAMING_BYTES;
    const full = this.batch.length === BATCH_EVENTS_MAX || this.batch_bytes + bytes > BATCH_BYTES_MAX;
    if (full) await this.flush();
    this.batch.push(event);
    this.batch_bytes += bytes;
    return full;
  }

  async flush(): Promise<void> {
    const batch = this.batch;
    this.batch = [];
    this.batch_bytes = 0;
    if (batch.length > 0) await this.send_batch(batch);
  }

  /** The server refuses a batch whole: of one whose event it names, those before that are sent again without it. */
  private async send_batch(batch: PlacedEvent[]): Promise<void> {
    let ack: Ack;
    try {
      ack = await this.post(batch);
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      const index = /^events\[([0-9]+)\]/.exec(error.parts.field ?? "")?.[1];
      const refused = index === undefined ? undefined : batch[Number(index)];
      if (refused === undefined) throw this.interrupted(batch, error);
      const before = batch.slice(0, Number(index));
      if (before.length > 0) await this.send_batch(before);
      throw this.broken_at(refused.place, error);
    }
    this.stored_events += batch.length;
    this.batches += 1;
    this.note(ack);
  }

  private post(batch: PlacedEvent[]): Promise<Ack> {
    return ask_until_taken<Ack>(this.door, {
      method: "POST",
      path: "/v1/events",
      content_type: "application/x-protobuf",
      body: encode_batch(batch.map(({ bytes }) => bytes)),
    });
  }

  private note(ack: Ack): void {
    for (const [partition, text] of Object.entries(ack.positions)) {
      const next = BigInt(text);
      if (next > (this.positions.get(partition) ?? -1n)) this.positions.set(partition, next);
    }
    for (const { host_id, knowledge } of ack.hosts) {
      if (this.knowledge_of.size < HOSTS_COUNTED_MAX || this.knowledge_of.has(host_id)) {
        this.knowledge_of.set(host_id, knowledge ?? NOT_TOLD);
      } else this.hosts_counted = false;
    }
  }

  /** `line` null: the message says where by itself. */
  broken_at(line: number | null, cause: Problem): BrokenInput {
    const name = this.file === "-" ? "standard input" : this.file;
    const place = line === null ? name : `${name}:${line}`;
    const said = cause.message.replace(/^line [0-9]+: /, "").replace(/^events\[[0-9]+\]\./, "");
    const before = line === null ? `${counted(this.stored_events, "event")} before it` : this.lines_before();
    const parts = { ...cause.parts, ...(line !== null && this.format === "ndjson" && { line }) };
    return new BrokenInput(
      `${place}: ${said}; stored: ${before}; mend it and send the file again: what is stored counts once`,
      new Problem(cause.code, cause.message, parts),
      this.stored_events,
    );
  }

  private lines_before(): string {
    const noun = this.format === "ndjson" ? "line" : "event";
    return this.stored_events === 0
      ? `no ${noun} before it`
      : `the ${counted(this.stored_events, noun)} before it`;
  }

  /** Nothing is wrong with the events that could be named; whether the last batch is stored is not known. */
  private interrupted(batch: PlacedEvent[], cause: Problem): BrokenInput {
    const noun = this.format === "ndjson" ? "line" : "event";
    const span = `${noun}s ${number(batch[0]!.place)} to ${number(batch.at(-1)!.place)}`;
    return new BrokenInput(
      `${cause.message}; acknowledged: ${counted(this.stored_events, noun)}; ${span} are not acknowledged; sending the file again is safe`,
      cause,
      this.stored_events,
    );
  }

  summary(): IngestSummary {
    const knowledge: Record<string, number> = {};
    for (const known of this.knowledge_of.values()) knowledge[known] = (knowledge[known] ?? 0) + 1;
    const positions = [...this.positions].sort(([a], [b]) => Number(a) - Number(b));
    return {
      events: this.stored_events,
      batches: this.batches,
      hosts: this.hosts_counted ? this.knowledge_of.size : null,
      knowledge,
      positions: Object.fromEntries(positions.map(([partition, next]) => [partition, next.toString()])),
      min_position: positions.map(([partition, next]) => `${partition}:${next}`).join(","),
    };
  }
}
