/**
 * What nodes tell each other, as JSON: plain values with 64-bit integers and bytes. V8's own serialization would be
 * shorter, but not every version of Node reads every other's, and nodes are upgraded one by one.
 */

const INTEGER = "$integer";
const BYTES = "$bytes";
const WORDS = "$words";

export function encode_wire(value: unknown): string {
  return JSON.stringify(value, function (this: Record<string, unknown>, key: string, shown: unknown) {
    // A Buffer shows itself as something else before this is asked.
    const own = this[key];
    if (typeof own === "bigint") return { [INTEGER]: String(own) };
    if (own instanceof BigUint64Array) return { [WORDS]: base64(own) };
    if (own instanceof Uint8Array) return { [BYTES]: base64(own) };
    return shown;
  });
}

/** Throws SyntaxError. */
export function decode_wire(text: string): unknown {
  return JSON.parse(text, (_key, value: unknown) => {
    if (typeof value !== "object" || value === null) return value;
    const { [INTEGER]: integer, [BYTES]: bytes, [WORDS]: words } = value as Record<string, unknown>;
    if (typeof integer === "string") return BigInt(integer);
    if (typeof bytes === "string") return Uint8Array.from(Buffer.from(bytes, "base64"));
    if (typeof words === "string") {
      return new BigUint64Array(Uint8Array.from(Buffer.from(words, "base64")).buffer);
    }
    return value;
  });
}

function base64({ buffer, byteOffset, byteLength }: ArrayBufferView): string {
  return Buffer.from(buffer, byteOffset, byteLength).toString("base64");
}
