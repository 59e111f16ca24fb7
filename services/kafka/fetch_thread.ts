/** The shard's end of the thread that fetches for it. */
import { MessageChannel, type MessagePort, Worker } from "node:worker_threads";
import type {
  FetchedPartition,
  Fetcher,
  FetcherMessage,
  FetcherRequest,
  FetcherStart,
  TopicEnds,
} from "./fetcher.js";
import type { Broken } from "./replica.js";

export interface FetchThreadEvents {
  broken(partition: number, broken: Broken): void;
  report(message: string): void;
}

const YOUNG_MB = 128;

type Told<Kind extends string> = Extract<FetcherMessage, Record<Kind, unknown>>[Kind &
  keyof Extract<FetcherMessage, Record<Kind, unknown>>];

export class FetchThread implements Fetcher {
  readonly #port: MessagePort;
  readonly #worker: Worker;
  readonly #events: FetchThreadEvents;
  readonly #held = new Map<number, FetchedPartition & { holding: number }>();
  readonly #asked = new Map<
    number,
    { resolve(ends: Map<number, TopicEnds>): void; reject(error: Error): void }
  >();
  #next_id = 1;
  /** Resolves when it has joined its group. */
  readonly started: Promise<void>;
  #tell_started: () => void = () => {};
  #tell_closed: () => void = () => {};

  constructor(start: Omit<FetcherStart, "port">, events: FetchThreadEvents) {
    const { port1, port2 } = new MessageChannel();
    this.#port = port1;
    this.#events = events;
    this.started = new Promise((resolve) => {
      this.#tell_started = resolve;
    });
    const workerData: FetcherStart = { ...start, port: port2 };
    this.#worker = new Worker(new URL("./fetch_worker.js", import.meta.url), {
      workerData,
      transferList: [port2],
      // What was fetched is gone when it is packed: it dies young here.
      resourceLimits: { maxYoungGenerationSizeMb: YOUNG_MB },
    });
    // A shard that is fed no more is of no use: it ends with its fetcher, and the node with it.
    this.#worker.on("error", (error) => {
      throw error;
    });
    port1.on("message", (message: FetcherMessage) => this.#take(message));
  }

  hold(fetched: FetchedPartition): void {
    const { partition, log, begins_anywhere, migrated_to } = fetched;
    const holding = this.#next_id++;
    this.#held.set(partition, { ...fetched, log, holding });
    const { next_offset } = log;
    this.#tell({ hold: { partition, holding, next_offset, begins_anywhere, migrated_to } });
  }

  release(partition: number): void {
    this.#held.delete(partition);
    this.#tell({ release: partition });
  }

  append_failed(partition: number): void {
    const held = this.#held.get(partition);
    if (held !== undefined) this.#tell({ again: { partition, next_offset: held.log.next_offset } });
  }

  offsets(): Promise<Map<number, TopicEnds>> {
    const id = this.#next_id++;
    this.#tell({ offsets: id });
    return new Promise((resolve, reject) => this.#asked.set(id, { resolve, reject }));
  }

  async close(): Promise<void> {
    this.#held.clear();
    const closed = new Promise<void>((resolve) => {
      this.#tell_closed = resolve;
    });
    this.#tell({ close: true });
    await closed;
    this.#port.close();
    await this.#worker.terminate();
  }

  #take(message: FetcherMessage): void {
    if ("append" in message) void this.#append(message.append);
    else if ("bytes_at" in message) void this.#bytes_at(message.bytes_at);
    else if ("reached" in message)
      this.#held.get(message.reached.partition)?.reached(message.reached.read_to);
    else if ("verified" in message) this.#verified(message.verified);
    else if ("broken" in message) this.#events.broken(message.broken.partition, message.broken.broken);
    else if ("offsets" in message) this.#answer(message.offsets);
    else if ("report" in message) this.#events.report(message.report);
    else if ("started" in message) this.#tell_started();
    else this.#tell_closed();
  }

  #verified({ partition, holding }: Told<"verified">): void {
    const held = this.#held.get(partition);
    if (held?.holding === holding) held.verified();
  }

  async #append({ id, partition, holding, after, records }: Told<"append">): Promise<void> {
    const held = this.#held.get(partition);
    if (held?.holding !== holding) {
      this.#tell({ refused: { id, next_offset: after } });
      return;
    }
    try {
      await held.log.append(after, records);
      this.#tell({ appended: { id, next_offset: held.log.next_offset } });
    } catch (error) {
      this.#tell({ refused: { id, next_offset: held.log.next_offset } });
      if (this.#held.get(partition) === held) held.failed(error);
    }
  }

  async #bytes_at({ id, partition, holding, offset }: Told<"bytes_at">): Promise<void> {
    const held = this.#held.get(partition);
    // Let go meanwhile: nobody waits for it.
    if (held?.holding !== holding) return;
    try {
      const bytes = await held.log.bytes_at(offset);
      this.#tell({ bytes: { id, bytes: bytes && Uint8Array.from(bytes) } });
    } catch (error) {
      if (this.#held.get(partition) === held) held.failed(error);
    }
  }

  #answer({ id, ends }: Told<"offsets">): void {
    const asked = this.#asked.get(id);
    this.#asked.delete(id);
    if (typeof ends === "string") asked?.reject(new Error(ends));
    else asked?.resolve(ends);
  }

  #tell(request: FetcherRequest): void {
    this.#port.postMessage(request);
  }
}
