/** A number of bytes as a person writes it: 65536, 64KiB, 16MiB, 1GiB. */
import { InvalidArgumentError } from "commander";

const UNITS: Record<string, number> = { "": 1, KiB: 2 ** 10, MiB: 2 ** 20, GiB: 2 ** 30, TiB: 2 ** 40 };

/** Of an option; throws InvalidArgumentError for what is no number above 0, or above 2^53. */
export function parse_byte_count(text: string): number {
  const [, digits = "", unit = ""] = /^([0-9]{1,16})(KiB|MiB|GiB|TiB)?$/.exec(text) ?? [];
  const bytes = Number(digits) * UNITS[unit]!;
  if (bytes > 0 && Number.isSafeInteger(bytes)) return bytes;
  throw new InvalidArgumentError("Write a number of bytes above 0, such as 1048576, 16MiB or 1GiB.");
}

/** For the text of a help: 67108864 is 64MiB. */
export function format_byte_count(bytes: number): string {
  const unit = Object.keys(UNITS).findLast((name) => bytes % UNITS[name]! === 0)!;
  return `${bytes / UNITS[unit]!}${unit}`;
}
