/**
 * A bad network in front of a broker. It reads Kafka's frames, so that it can lose one response and nothing else: what
 * a client sees of a broker that did what was asked and could not say so. In front of anything else it knows bytes only.
 *
 * The broker must advertise the proxy's port, or clients go past it.
 */
import { createServer, type Server, Socket } from "node:net";

/** Numbers of requests in Kafka's protocol. */
export const API = { produce: 0, fetch: 1, metadata: 3 } as const;

/** As it was read of a request's header; where only bytes are known, -1. */
export interface ProxiedRequest {
  api: number;
  bytes: number;
}

type Direction = "to_broker" | "to_client";

export interface ProxyOptions {
  host?: string;
  /** Whether it reads frames; by default Kafka's. Of bytes any piece may be lost, so connections that lost one are to be reset. */
  reads?: "kafka" | "bytes";
}

export class BrokerProxy {
  readonly #server: Server;
  readonly #connections = new Set<Connection>();
  readonly #cut = new Set<Direction>();
  readonly #delay_ms: Record<Direction, number> = { to_broker: 0, to_client: 0 };
  #drop: ((request: ProxiedRequest) => boolean) | null = null;
  #resets_at_drop = false;
  #refuses = false;
  #responses_dropped = 0;
  #waiting: (() => void)[] = [];

  private constructor(server: Server) {
    this.#server = server;
  }

  /** `port` 0: any. */
  static async listen(
    port: number,
    broker_port: number,
    { host = "127.0.0.1", reads = "kafka" }: ProxyOptions = {},
  ): Promise<BrokerProxy> {
    const server = createServer({ noDelay: true });
    const proxy = new BrokerProxy(server);
    server.on("connection", (client) => proxy.#connect(client, broker_port, host, reads));
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen(port, host, resolve);
    });
    return proxy;
  }

  get port(): number {
    return (this.#server.address() as { port: number }).port;
  }

  get connections(): number {
    return this.#connections.size;
  }

  get responses_dropped(): number {
    return this.#responses_dropped;
  }

  /**
   * The broker does what is asked; the answers to the chosen requests are lost, and with `reset` their connections as
   * well. Null: no more.
   */
  drop_responses(chosen: ((request: ProxiedRequest) => boolean) | null, reset = false): void {
    this.#drop = chosen;
    this.#resets_at_drop = reset;
  }

  /** The next `count` answers of this kind are lost. */
  drop_next_responses(api: number, count = 1): void {
    let left = count;
    this.drop_responses((request) => request.api === api && left-- > 0);
  }

  /** Resolves when so many responses were lost since the beginning. */
  async dropped(count: number): Promise<void> {
    while (this.#responses_dropped < count) await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }

  /** Nothing arrives that way any more, and nobody is told; also on connections that are yet to come. */
  cut(...directions: Direction[]): void {
    for (const direction of directions) this.#cut.add(direction);
  }

  /** What was lost stays lost. */
  heal(): void {
    this.#cut.clear();
    this.#refuses = false;
    this.delay("to_broker", 0);
    this.delay("to_client", 0);
    this.drop_responses(null);
  }

  /** Each message takes so long, and stays in its order. */
  delay(direction: Direction, delay_ms: number): void {
    this.#delay_ms[direction] = delay_ms;
  }

  /** All connections end with RST. */
  reset(): void {
    for (const connection of this.#connections) connection.reset();
  }

  /** Connections that are there stay; new ones are reset. */
  refuse_new(): void {
    this.#refuses = true;
  }

  async close(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    this.reset();
    await closed;
  }

  #connect(client: Socket, broker_port: number, host: string, reads: "kafka" | "bytes"): void {
    if (this.#refuses) {
      client.on("error", ignore);
      client.resetAndDestroy();
      return;
    }
    const broker = new Socket().connect(broker_port, host).setNoDelay(true);
    const connection: Connection = new Connection(client, broker, reads, {
      passes: (direction) => !this.#cut.has(direction),
      delay_ms: (direction) => this.#delay_ms[direction],
      drops: (request) => {
        if (!this.#drop?.(request)) return false;
        this.#responses_dropped++;
        for (const resolve of this.#waiting.splice(0)) resolve();
        if (this.#resets_at_drop) connection.reset();
        return true;
      },
    });
    this.#connections.add(connection);
    connection.ended.then(() => this.#connections.delete(connection));
  }
}

interface Faults {
  passes(direction: Direction): boolean;
  delay_ms(direction: Direction): number;
  drops(request: ProxiedRequest): boolean;
}

class Connection {
  readonly ended: Promise<void>;
  /** By correlation id, of requests that have no response yet. */
  readonly #asked = new Map<number, ProxiedRequest>();

  constructor(
    private readonly client: Socket,
    private readonly broker: Socket,
    private readonly reads: "kafka" | "bytes",
    private readonly faults: Faults,
  ) {
    this.#pass("to_broker", client, broker, (frame) => {
      if (reads === "bytes") return true;
      this.#asked.set(frame.readInt32BE(8), { api: frame.readInt16BE(4), bytes: frame.length });
      return true;
    });
    this.#pass("to_client", broker, client, (frame) => {
      if (reads === "bytes") return !faults.drops({ api: -1, bytes: frame.length });
      const id = frame.readInt32BE(4);
      const request = this.#asked.get(id);
      this.#asked.delete(id);
      return request === undefined || !faults.drops(request);
    });
    this.ended = new Promise((resolve) => {
      for (const [one, other] of [
        [client, broker],
        [broker, client],
      ] as const) {
        // A reset on one side is one on the other.
        one.on("error", () => other.resetAndDestroy());
        one.on("close", () => {
          other.destroy();
          resolve();
        });
      }
    });
  }

  reset(): void {
    this.client.resetAndDestroy();
    this.broker.resetAndDestroy();
  }

  /** 0: the next frame is not there yet. */
  #frame_end(buffered: Buffer): number {
    if (this.reads === "bytes") return buffered.length;
    const end = buffered.length < 4 ? 0 : 4 + buffered.readInt32BE(0);
    return end <= buffered.length ? end : 0;
  }

  #pass(direction: Direction, from: Socket, to: Socket, wanted: (frame: Buffer) => boolean): void {
    let buffered: Buffer = Buffer.alloc(0);
    let last = Promise.resolve();
    from.on("data", (chunk) => {
      buffered = buffered.length === 0 ? chunk : Buffer.concat([buffered, chunk]);
      for (let end = this.#frame_end(buffered); end > 0; end = this.#frame_end(buffered)) {
        const frame = buffered.subarray(0, end);
        buffered = buffered.subarray(end);
        if (!this.faults.passes(direction) || !wanted(frame)) continue;
        const delay_ms = this.faults.delay_ms(direction);
        last = last.then(async () => {
          if (delay_ms > 0) await new Promise((resolve) => setTimeout(resolve, delay_ms));
          if (to.writable) to.write(frame);
        });
      }
    });
    from.on("end", () => {
      last = last.then(() => void to.end());
    });
  }
}

function ignore(): void {}
