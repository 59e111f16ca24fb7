import { describe, expect, test } from "vitest";
import { format_byte_count, parse_byte_count } from "#services/cli/byte_count.js";

describe("a number of bytes", () => {
  test.each([
    ["1", 1],
    ["65536", 65_536],
    ["3KiB", 3_072],
    ["16MiB", 16_777_216],
    ["1GiB", 1_073_741_824],
    ["2TiB", 2_199_023_255_552],
  ])("%s is %d", (text, bytes) => {
    expect(parse_byte_count(text)).toBe(bytes);
  });

  test.each(["", "0", "0MiB", "-1", "1.5GiB", "1GB", "1 GiB", "1gib", "GiB", "9007199254740993", "9000TiB"])(
    '"%s" is refused',
    (text) => {
      expect(() => parse_byte_count(text)).toThrow("16MiB");
    },
  );

  test("is shown in the largest unit that divides it", () => {
    expect([64 * 2 ** 20, 2 ** 34, 1_000].map(format_byte_count)).toEqual(["64MiB", "16GiB", "1000"]);
  });
});
