import { expect, test } from "vitest";
import { copied_log_time_ms, log_time_header } from "#services/kafka/log_time_header.js";

test.each([0, 1_790_000_000_123, Number.MAX_SAFE_INTEGER])("a log time of %d is read back", (time_ms) => {
  const given = Object.entries(log_time_header(time_ms)).map(([name, text]) => [name, Buffer.from(text)]);
  expect(copied_log_time_ms(Object.fromEntries(given))).toBe(time_ms);
});

test.each(["", "x", "-1", "01", "1e3", "1.5", "9007199254740993", " 1"])("%j is no log time", (text) => {
  expect(copied_log_time_ms({ "klpstate-log-time": text })).toBeNull();
});

test("a record without it, or with several, has none", () => {
  expect(copied_log_time_ms(undefined)).toBeNull();
  expect(copied_log_time_ms({ other: "1" })).toBeNull();
  expect(copied_log_time_ms({ "klpstate-log-time": ["1", "2"] })).toBeNull();
});
