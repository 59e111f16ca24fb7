import Long from "long";
import { describe, expect, it } from "vitest";
import { parse_u64, u64_from_bigint, u64_to_bigint, u64_to_decimal } from "#services/events/u64.js";

const EDGES = [
  0n,
  1n,
  2n ** 31n,
  2n ** 32n - 1n,
  2n ** 32n,
  2n ** 53n - 1n,
  2n ** 53n + 1n,
  2n ** 63n,
  2n ** 64n - 1n,
];

describe("unsigned 64-bit integers", () => {
  it.each(EDGES)("%s is exact in every form", (value) => {
    const long = u64_from_bigint(value);
    expect(long.unsigned).toBe(true);
    expect(u64_to_bigint(long)).toBe(value);
    expect(u64_to_decimal(long)).toBe(String(value));
    expect(parse_u64(String(value), "id")).toBe(value);
  });

  it("an absent field is 0, a signed Long is read by its bits", () => {
    expect(u64_to_bigint(undefined)).toBe(0n);
    expect(u64_to_bigint(null)).toBe(0n);
    expect(u64_to_bigint(Long.fromNumber(-1))).toBe(2n ** 64n - 1n);
  });

  it("numbers are taken where they are exact", () => {
    expect(parse_u64(Number.MAX_SAFE_INTEGER, "id")).toBe(2n ** 53n - 1n);
    expect(() => parse_u64(2 ** 53, "stream")).toThrow("stream: 9007199254740992 is no whole number");
    expect(() => parse_u64(2 ** 53, "stream")).toThrow("write it as decimal text");
  });

  it.each([
    "",
    "-1",
    "+1",
    "1.5",
    "0x10",
    "01",
    " 1",
    "18446744073709551616",
    "9".repeat(1000),
    null,
    true,
    {},
    1.5,
    -1,
  ])("%j is refused", (value) => {
    expect(() => parse_u64(value, "states[0].id")).toThrow("states[0].id: ");
  });

  it("what is out of range is a programming error", () => {
    expect(() => u64_from_bigint(2n ** 64n)).toThrow(RangeError);
    expect(() => u64_from_bigint(-1n)).toThrow(RangeError);
    expect(() => u64_to_bigint(0.5)).toThrow(RangeError);
  });
});
