import { describe, expect, it } from "vitest";
import type { Problem } from "#services/events/problem.js";
import { parse_json } from "#services/events/strict_json.js";

function problem_of(text: string): Problem {
  try {
    parse_json(text);
  } catch (error) {
    return error as Problem;
  }
  throw new Error(`not refused: ${text}`);
}

describe("strict JSON", () => {
  it.each([
    '{"a":[1,2,{"b":null}],"c":"\\u00e9\\n\\"é\\\\","d":true,"e":{}}',
    " [ ] ",
    '"\\ud83d\\ude00"',
    "-12",
    "false",
    '{"":{"":0}}',
    '"\\\\"',
  ])("%s is what JSON.parse makes of it", (text) => {
    expect(parse_json(text)).toEqual(JSON.parse(text));
  });

  it.each([
    "",
    "{",
    "[1,]",
    '{"a":1,}',
    "{a:1}",
    "'a'",
    "01",
    "+1",
    ".5",
    "1.",
    "nul",
    "[1 2]",
    '{"a" 1}',
    '"a',
    '"\t"',
    '"\\x"',
    "1 2",
    "\ufeff1",
    "NaN",
    "undefined",
    '{"a":1]',
    "\u00a01",
  ])("%j is no JSON, here as in JSON.parse", (text) => {
    expect(() => JSON.parse(text)).toThrow();
    expect(problem_of(text)).toMatchObject({ name: "Problem", code: "bad_input" });
  });

  it("a key given twice is refused with its place, also with an equal value", () => {
    expect(problem_of('{"observed":{"stack":[{},{"phase":"enabled","phase":"enabled"}]}}').parts.field).toBe(
      "observed.stack[1].phase",
    );
    expect(problem_of('{"a":1,"\\u0061":2}').message).toBe("a: the key is given twice");
    expect(problem_of('{"__proto__":1,"__proto__":1}').parts.field).toBe("__proto__");
  });

  it("a number that would be rounded is refused with its place and its digits", () => {
    expect(parse_json("9007199254740991")).toBe(2 ** 53 - 1);
    const problem = problem_of('{"states":[{"id":18446744073709551615}]}');
    expect(problem.parts).toMatchObject({ field: "states[0].id", value: "18446744073709551615" });
    expect(problem.message).toContain("decimal text, in quotes");
    for (const text of [
      "9007199254740992",
      "-9007199254740993",
      "1e999",
      "1e3",
      "0.5",
      "9007199254740990.9999999",
    ]) {
      expect(problem_of(text).code).toBe("bad_input");
    }
  });

  it("a whole number with a fraction of zeros is that number, and -0 is 0", () => {
    expect(parse_json("1790000123456.0")).toBe(1790000123456);
    expect(parse_json("-0")).toBe(0);
  });

  it("__proto__ is a key like any other", () => {
    expect(Object.keys(parse_json('{"__proto__":{"polluted":1}}') as object)).toEqual(["__proto__"]);
    expect(({} as { polluted?: number }).polluted).toBeUndefined();
  });

  it("half of a surrogate pair and bottomless nesting are refused", () => {
    expect(problem_of('["\\ud800"]').message).toContain("surrogate");
    expect(problem_of("[".repeat(100_000)).message).toContain("nested too deep; at most 32 levels");
    expect(problem_of('{"a":'.repeat(100_000)).message.length).toBeLessThan(200);
  });

  it("says where it stopped and what stands there", () => {
    expect(problem_of('{"a": tru }').message).toBe(
      'not JSON: a value is expected at character 7, but "tru }" stands there',
    );
    expect(problem_of('{"a": 1').message).toBe(
      'not JSON: "," or "}" is expected at character 8, but the text ends',
    );
  });
});
