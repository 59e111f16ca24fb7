import { describe, expect, it } from "vitest";
import { format_time, parse_duration, parse_time } from "#services/events/time.js";

describe("times", () => {
  it.each([
    ["2026-03-01T12:00:00Z", "2026-03-01T12:00:00.000Z"],
    ["2026-03-01t12:00:00.5z", "2026-03-01T12:00:00.500Z"],
    ["2026-03-01T12:00:00.123456789+05:30", "2026-03-01T06:30:00.123Z"],
    ["2024-02-29T23:59:59-01:00", "2024-03-01T00:59:59.000Z"],
    ["1970-01-01T00:00:00Z", "1970-01-01T00:00:00.000Z"],
    ["9999-12-31T23:59:59.999Z", "9999-12-31T23:59:59.999Z"],
  ])("%s is %s", (text, utc) => {
    expect(format_time(parse_time(text))).toBe(utc);
  });

  it.each([
    "yesterday",
    "",
    "2026-03-01",
    "2026-03-01T12:00:00",
    "2026-03-01 12:00:00Z",
    "2026-02-29T00:00:00Z",
    "2026-13-01T00:00:00Z",
    "2026-00-10T00:00:00Z",
    "2026-01-01T24:00:00Z",
    "2026-01-01T00:60:00Z",
    "2026-01-01T00:00:60Z",
    "2026-01-01T00:00:00+24:00",
    "1969-12-31T23:59:59Z",
    "0001-01-01T00:00:00Z",
    "1790000123456",
  ])("%j is no time", (text) => {
    expect(() => parse_time(text, "as_of")).toThrow(
      `as_of: "${text}" is no time; write RFC 3339 with a zone`,
    );
  });

  it("whatever a host's clock says can be shown", () => {
    expect(format_time(1_790_000_123_456n)).toBe("2026-09-21T14:15:23.456Z");
    expect(format_time(2n ** 64n - 1n)).toBe("9999-12-31T23:59:59.999Z");
    expect(format_time(-1)).toBe("1970-01-01T00:00:00.000Z");
  });
});

describe("spans of time", () => {
  it.each([
    ["500ms", 500],
    ["30s", 30_000],
    ["90m", 5_400_000],
    ["26h", 93_600_000],
    ["2d", 172_800_000],
    ["0s", 0],
  ])("%s is %i ms", (text, duration_ms) => {
    expect(parse_duration(text)).toBe(duration_ms);
  });

  it.each(["", "26", "h", "1.5h", "-1h", "1h30m", "26 h", "1w", "999999999999999d", "1constructor"])(
    "%j is none",
    (text) => {
      expect(() => parse_duration(text, "max_age")).toThrow("max_age: ");
    },
  );
});
