/** Sends a file's events in order, batch by batch. Where something ends it, the message says where, and what is stored. */
import { encode_batch } from "../events/codec.js";
import { Problem } from "../events/problem.js";
import type { EventFile } from "./event_file.js";
import { type EventFormat, type PlacedEvent, read_events } from "./event_input.js";
import type { Progress } from "./progress.js";
import { counted, number } from "./render/text.js";

/** Tag and length of an event in its batch, at most. */
const EVENT_FRAMING_BYTES = 6;

/** Where batches go. */
export interface BatchOutlet {
  events_max: number;
  bytes_max: number;
  /** Resolves when it is stored. Throws Problem; one whose field is `events[N]…` refuses all of it for that event. */
  send(batch: Uint8Array): Promise<void>;
}

/** What was acknowledged; events that were stored before count as well. */
export interface SentEvents {
  events: number;
  batches: number;
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

/** Throws BrokenInput. */
export async function send_events(
  file: EventFile,
  format: EventFormat,
  outlet: BatchOutlet,
  progress: Progress,
): Promise<SentEvents> {
  const sender = new Sender(file.name, format, outlet);
  let read_bytes = 0;
  async function* counted_bytes(): AsyncGenerator<Uint8Array> {
    for await (const chunk of file.bytes) {
      read_bytes += chunk.length;
      yield chunk;
    }
  }
  try {
    for await (const event of read_events(counted_bytes(), format)) {
      const sent = await sender.add(event);
      if (sent)
        progress.show(
          file.size_bytes && read_bytes / file.size_bytes,
          counted(sender.stored_events, "event"),
        );
    }
  } catch (error) {
    if (!(error instanceof Problem) || error instanceof BrokenInput) throw error;
    await sender.flush();
    throw sender.broken_at(error.parts.line ?? null, error);
  }
  await sender.flush();
  return { events: sender.stored_events, batches: sender.batches };
}

/** Collects events into batches and sends them one after another. */
class Sender {
  stored_events = 0;
  batches = 0;
  private batch: PlacedEvent[] = [];
  private batch_bytes = 0;

  constructor(
    private readonly name: string,
    private readonly format: EventFormat,
    private readonly outlet: BatchOutlet,
  ) {}

  /** Whether a batch was sent. */
  async add(event: PlacedEvent): Promise<boolean> {
    const { events_max, bytes_max } = this.outlet;
    const bytes = event.bytes.length + EVENT_FRAMING_BYTES;
    const full =
      this.batch.length === events_max || (this.batch.length > 0 && this.batch_bytes + bytes > bytes_max);
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

  /** A batch is refused whole: of one whose event is named, those before that are sent again without it. */
  private async send_batch(batch: PlacedEvent[]): Promise<void> {
    try {
      await this.outlet.send(encode_batch(batch.map(({ bytes }) => bytes)));
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
  }

  /** `line` null: the message says where by itself. */
  broken_at(line: number | null, cause: Problem): BrokenInput {
    const place = line === null ? this.name : `${this.name}:${line}`;
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
}
