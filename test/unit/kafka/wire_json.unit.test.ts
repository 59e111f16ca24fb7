// What nodes tell each other comes out as it went in.
import fc from "fast-check";
import { expect, test } from "vitest";
import { decode_wire, encode_wire } from "#services/kafka/wire_json.js";

const plain = fc.letrec((tie) => ({
  value: fc.oneof(
    fc.constant(null),
    fc.boolean(),
    fc.double({ noNaN: true, noDefaultInfinity: true }).map((number) => number + 0),
    fc.string({ unit: "binary" }),
    fc.bigInt({ min: -(2n ** 64n), max: 2n ** 64n }),
    fc.uint8Array(),
    fc.bigUint64Array(),
    fc.array(tie("value"), { maxLength: 4 }),
    fc.dictionary(
      fc.string({ minLength: 1 }).filter((key) => !key.startsWith("$") && key !== "__proto__"),
      tie("value"),
      {
        maxKeys: 4,
        noNullPrototype: true,
      },
    ),
  ),
}));

test("any plain value, with 64-bit integers and bytes at any depth", () => {
  fc.assert(
    fc.property(plain.value, (value) => {
      expect(decode_wire(encode_wire(value))).toEqual(value);
    }),
  );
});

test("bytes that are a part of a larger buffer, and a Buffer, which shows itself as something else", () => {
  const part = Uint8Array.from([9, 1, 2, 9]).subarray(1, 3);
  expect(decode_wire(encode_wire({ part }))).toEqual({ part: Uint8Array.from([1, 2]) });
  expect(decode_wire(encode_wire([Buffer.from("ab")]))).toEqual([Uint8Array.from([97, 98])]);
});

test("what is not told is absent", () => {
  expect(decode_wire(encode_wire({ instant: { as_of_ms: undefined } }))).toEqual({ instant: {} });
});
