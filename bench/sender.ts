/**
 * One connection to a server, one request after another. Written on a socket: the load generator shares the cores
 * with what it measures, and an HTTP client would take as much of them as the server does.
 */
import { connect, type Socket } from "node:net";

const READ_BYTES = 256 * 1024;
const HEAD_END = "\r\n\r\n";

interface Awaited {
  /** Bytes of the body that are still to come; null: of the head. */
  left: number | null;
  status: number;
  /** The head so far; then the body, where it is kept. */
  kept: Buffer[];
  keeps_body: boolean;
  resolve(body: Buffer): void;
  reject(error: Error): void;
}

export class Sender {
  readonly #socket: Socket;
  readonly #host: string;
  #awaited: Awaited | null = null;

  private constructor(socket: Socket, host: string) {
    this.#socket = socket;
    this.#host = host;
  }

  static open(url: string): Promise<Sender> {
    const { hostname, port, host } = new URL(url);
    return new Promise((resolve, reject) => {
      const socket = connect({
        host: hostname,
        port: Number(port),
        noDelay: true,
        onread: {
          buffer: Buffer.allocUnsafeSlow(READ_BYTES),
          callback(length, buffer) {
            sender.#read(Buffer.from(buffer.buffer, buffer.byteOffset, length));
            return true;
          },
        },
      });
      const sender = new Sender(socket, host);
      socket.once("connect", () => resolve(sender));
      socket.once("error", reject);
      socket.on("close", () => sender.#awaited?.reject(new Error("the server closed the connection")));
    });
  }

  close(): void {
    this.#socket.destroy();
  }

  /** Resolves with the answer's body, or with nothing unless it is kept. Rejects where the status is not 200. */
  post(
    path: string,
    body: Uint8Array,
    keeps_body: boolean,
    media_type = "application/x-protobuf",
  ): Promise<Buffer> {
    const head = `POST ${path}`;
    const fields = `content-type: ${media_type}\r\ncontent-length: ${body.length}\r\n`;
    return this.#ask(head, fields, body, keeps_body);
  }

  /** As `post`; the body is not kept. */
  async get(path: string): Promise<void> {
    await this.#ask(`GET ${path}`, "", null, false);
  }

  #ask(head: string, fields: string, body: Uint8Array | null, keeps_body: boolean): Promise<Buffer> {
    const answer = new Promise<Buffer>((resolve, reject) => {
      this.#awaited = { left: null, status: 0, kept: [], keeps_body, resolve, reject };
      // A server closes what is not used for some seconds.
      if (this.#socket.destroyed) reject(new Error("the server has closed the connection"));
    });
    this.#socket.cork();
    this.#socket.write(`${head} HTTP/1.1\r\nhost: ${this.#host}\r\n${fields}\r\n`);
    if (body !== null) this.#socket.write(body);
    this.#socket.uncork();
    return answer;
  }

  #read(bytes: Buffer): void {
    const awaited = this.#awaited;
    if (awaited === null) throw new Error("the server answers what nobody asked");
    const body = awaited.left === null ? this.#read_head(awaited, bytes) : bytes;
    if (body === null) return;
    awaited.left! -= body.length;
    // The buffer is used again for what comes next.
    if (awaited.keeps_body || awaited.status !== 200) awaited.kept.push(Buffer.from(body));
    if (awaited.left! > 0) return;
    this.#awaited = null;
    const kept = Buffer.concat(awaited.kept);
    if (awaited.status === 200) awaited.resolve(kept);
    else awaited.reject(new Error(`status ${awaited.status}: ${kept.toString()}`));
  }

  /** What of the body came with the head; null: the head has not ended. */
  #read_head(awaited: Awaited, bytes: Buffer): Buffer | null {
    awaited.kept.push(Buffer.from(bytes));
    const all = Buffer.concat(awaited.kept);
    const end = all.indexOf(HEAD_END);
    if (end < 0) return null;
    const head = all.toString("latin1", 0, end);
    const length = /^content-length: ([0-9]+)$/im.exec(head)?.[1];
    if (length === undefined) throw new Error(`an answer without content-length: ${head}`);
    awaited.left = Number(length);
    awaited.status = Number(head.slice(9, 12));
    awaited.kept = [];
    return all.subarray(end + HEAD_END.length);
  }
}
