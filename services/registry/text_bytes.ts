/** Texts that are written again and again into bytes, four bytes at a time. */

/** A constant text, ASCII. */
export class Piece {
  readonly length: number;
  readonly #words: Uint32Array;

  constructor(text: string) {
    this.length = text.length;
    const bytes = Buffer.alloc((text.length + 3) & ~3);
    bytes.write(text, "latin1");
    this.#words = Uint32Array.from({ length: bytes.length / 4 }, (_, i) => bytes.readUInt32LE(4 * i));
  }

  /** Writes the text at `at`, and up to three bytes of nothing behind it; where the text ends. */
  write(into: DataView, at: number): number {
    const words = this.#words;
    for (let i = 0; i < words.length; i++) into.setUint32(at + 4 * i, words[i]!, true);
    return at + this.length;
  }
}
