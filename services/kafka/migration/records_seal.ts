/** What records are, in their order: bytes and log times. Two copies of one list have the same. */
import { createHash } from "node:crypto";

export class RecordsSeal {
  readonly #hash = createHash("sha256");
  readonly #head = Buffer.alloc(12);

  add(log_time_ms: number, bytes: Uint8Array): void {
    this.#head.writeBigUInt64BE(BigInt(log_time_ms));
    this.#head.writeUInt32BE(bytes.length, 8);
    this.#hash.update(this.#head).update(bytes);
  }

  /** Once. */
  hex(): string {
    return this.#hash.digest("hex");
  }
}
