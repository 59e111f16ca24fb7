/**
 * JSON text to values, without silent loss: a key given twice, a number that JavaScript would round and text that is
 * no Unicode are refused. JSON.parse keeps the last of two keys and rounds; lossless-json 4.3 lets a second key pass
 * where its value equals the first; neither bounds the nesting. Hence a parser of our own.
 */
import { JSON_LEVELS_MAX } from "./limits.js";
import { item_at, key_at, shorten } from "./place.js";
import { Problem } from "./problem.js";

export type JsonValue = string | number | boolean | null | JsonValue[] | JsonObject;
/** Without a prototype: `__proto__` is a key like any other. */
export interface JsonObject {
  [key: string]: JsonValue;
}

const WORDS: readonly (readonly [string, JsonValue])[] = [
  ["true", true],
  ["false", false],
  ["null", null],
];
const WHITESPACE = /[ \t\n\r]*/y;
const NUMBER = /-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?/y;
/** The formats have whole numbers only; other writers add a fraction of zeros to theirs. */
const WHOLE = /^-?[0-9]+(?:\.0+)?$/;

/** Throws Problem, which names the place in the document where there is one, else the character in the text. */
export function parse_json(text: string): JsonValue {
  const parser = new Parser(text);
  const value = parser.value("", 0);
  parser.end();
  return value;
}

class Parser {
  private at = 0;

  constructor(private readonly text: string) {}

  /** `place` is that of the value in the document; `levels` counts the lists and objects around it. */
  value(place: string, levels: number): JsonValue {
    if (levels > JSON_LEVELS_MAX) {
      throw new Problem(
        "bad_input",
        `${place.slice(0, 60)}…: nested too deep; at most ${JSON_LEVELS_MAX} levels`,
        {
          limit: `${JSON_LEVELS_MAX} levels`,
        },
      );
    }
    this.skip_whitespace();
    switch (this.text[this.at]) {
      case "{":
        return this.object(place, levels);
      case "[":
        return this.list(place, levels);
      case '"':
        return this.string();
    }
    for (const [word, value] of WORDS) {
      if (!this.text.startsWith(word, this.at)) continue;
      this.at += word.length;
      return value;
    }
    return this.number(place);
  }

  end(): void {
    this.skip_whitespace();
    if (this.at < this.text.length) throw this.unexpected("the end");
  }

  private object(place: string, levels: number): JsonObject {
    const object: JsonObject = Object.create(null);
    this.at++;
    if (this.take("}")) return object;
    do {
      this.skip_whitespace();
      if (this.text[this.at] !== '"') throw this.unexpected("a key in quotes");
      const key = this.string();
      const key_place = key_at(place, key);
      if (key in object) {
        throw new Problem("bad_input", `${key_place}: the key is given twice`, {
          field: key_place,
          limit: "a key once",
        });
      }
      if (!this.take(":")) throw this.unexpected('":"');
      object[key] = this.value(key_place, levels + 1);
    } while (this.take(","));
    if (!this.take("}")) throw this.unexpected('"," or "}"');
    return object;
  }

  private list(place: string, levels: number): JsonValue[] {
    const list: JsonValue[] = [];
    this.at++;
    if (this.take("]")) return list;
    do {
      list.push(this.value(item_at(place, list.length), levels + 1));
    } while (this.take(","));
    if (!this.take("]")) throw this.unexpected('"," or "]"');
    return list;
  }

  private string(): string {
    const start = this.at;
    let end = start + 1;
    // JSON.parse reads the escapes; only where the string ends has to be known.
    while (end < this.text.length && this.text[end] !== '"') end += this.text[end] === "\\" ? 2 : 1;
    let value: string;
    try {
      value = JSON.parse(this.text.slice(start, end + 1));
    } catch {
      throw this.unexpected("a string with its end and without control characters or unknown escapes");
    }
    if (/\p{Surrogate}/u.test(value))
      throw this.unexpected("Unicode text (half of a surrogate pair stands alone)");
    this.at = end + 1;
    return value;
  }

  private number(place: string): number {
    NUMBER.lastIndex = this.at;
    const digits = NUMBER.exec(this.text)?.[0];
    if (digits === undefined) throw this.unexpected("a value");
    const value = Number(digits);
    if (!WHOLE.test(digits) || !Number.isSafeInteger(value)) {
      const limit = "a whole number up to 2^53-1; above it decimal text, in quotes";
      const shown = digits.length > 60 ? `${digits.slice(0, 60)}…` : digits;
      throw new Problem("bad_input", `${place === "" ? "the document" : place}: ${shown} is not ${limit}`, {
        ...(place !== "" && { field: place }),
        value: shown,
        limit,
      });
    }
    this.at += digits.length;
    // -0 and 0 are one number here.
    return value + 0;
  }

  private take(character: string): boolean {
    this.skip_whitespace();
    if (this.text[this.at] !== character) return false;
    this.at++;
    return true;
  }

  private skip_whitespace(): void {
    WHITESPACE.lastIndex = this.at;
    WHITESPACE.exec(this.text);
    this.at = WHITESPACE.lastIndex;
  }

  private unexpected(expected: string): Problem {
    const rest = this.text.slice(this.at, this.at + 20);
    const found = rest === "" ? "the text ends" : `${shorten(rest)} stands there`;
    return new Problem(
      "bad_input",
      `not JSON: ${expected} is expected at character ${this.at + 1}, but ${found}`,
      {
        ...(rest !== "" && { value: shorten(rest) }),
      },
    );
  }
}
