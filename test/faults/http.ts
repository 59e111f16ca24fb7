/** A way to one node over HTTP: what it answered, or that nobody can say. */
import { Agent, request } from "node:http";
import { text as text_of } from "node:stream/consumers";

export interface DoorAnswer {
  /** Null: no whole answer came. */
  status: number | null;
  /** Undefined where there is none. */
  document: unknown;
  /** For people: what went wrong. */
  says: string;
  retry_after_ms: number | null;
}

export interface DoorRequest {
  type?: string;
  body?: Uint8Array | string;
  ms_max: number;
}

export class Door {
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 64 });

  constructor(
    /** Which node is behind it. */
    readonly node: string,
    readonly port: number,
  ) {}

  /** Never rejects. The path goes over the wire as it is. */
  ask(method: string, path: string, { type, body, ms_max }: DoorRequest): Promise<DoorAnswer> {
    return new Promise((resolve) => {
      const broken = (says: string) =>
        resolve({ status: null, document: undefined, says, retry_after_ms: null });
      const sent = request(
        {
          host: "127.0.0.1",
          port: this.port,
          agent: this.#agent,
          method,
          path,
          headers: {
            accept: "application/json",
            ...(type !== undefined && { "content-type": type }),
            ...(body !== undefined && { "content-length": Buffer.byteLength(body) }),
          },
        },
        (response) => {
          text_of(response).then(
            (text) => {
              clearTimeout(timer);
              const document = parsed(text);
              const seconds = Number(response.headers["retry-after"]);
              resolve({
                status: response.statusCode!,
                document,
                says: text.slice(0, 300),
                retry_after_ms: Number.isNaN(seconds) ? null : seconds * 1000,
              });
            },
            (error) => broken(String(error)),
          );
        },
      );
      const timer = setTimeout(() => sent.destroy(new Error(`no answer in ${ms_max} ms`)), ms_max);
      sent.on("error", (error) => {
        clearTimeout(timer);
        broken(error.message);
      });
      sent.end(body);
    });
  }

  close(): void {
    this.#agent.destroy();
  }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
