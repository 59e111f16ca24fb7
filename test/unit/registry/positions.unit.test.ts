import { expect, test } from "vitest";
import { parse_min_position } from "#services/registry/positions.js";

const min = (text: string) => parse_min_position(text, 3);

test("a position is read as acknowledgements state it", () => {
  const { partitions, catalog } = min("0:18446744073709551615, 2:0,catalog:17");
  expect([...partitions]).toEqual([
    [0, 18446744073709551615n],
    [2, 0n],
  ]);
  expect(catalog).toBe(17n);
});

test.each([
  "",
  "0",
  "0:",
  ":1",
  "0:-1",
  "0:1.5",
  "0:1,",
  "0:1;1:2",
  "00:1",
  "x:1",
  "0:18446744073709551616",
  "0:01",
])("%j is no position", (text) => {
  expect(() => min(text)).toThrow(/^min_position: /);
});

test("a partition that is not there, or is named twice, is refused", () => {
  expect(() => min("3:0")).toThrow("0 to 2");
  expect(() => min("1:2,1:3")).toThrow("second position");
  expect(() => min("catalog:2,catalog:2")).toThrow("second position");
});
