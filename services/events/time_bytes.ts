/** `format_time` into bytes, for many instants: days repeat, and a Date of each instant costs more than all the rest. */
import { FORMATTED_MAX_MS, format_time } from "./time.js";

export const TIME_BYTES = 24;
const DAY_MS = 86_400_000;
const ZEROS_16 = 0x3030;
const ZERO_8 = 0x30;
const COLON = 0x3a;
const POINT = 0x2e;
const Z = 0x5a;

/** 0 to 99 as two digits. */
const TWO_DIGITS = Uint16Array.from(
  { length: 100 },
  (_, i) => ZEROS_16 + Math.floor(i / 10) + ((i % 10) << 8),
);

export class TimeWriter {
  #day = -1;
  /** `2026-03-01T00` as words; the hour is written over. */
  readonly #date = new Uint32Array(3);

  /** Writes TIME_BYTES bytes at `at`; where they end. */
  write(into: DataView, at: number, time_ms: number): number {
    const shown_ms = Math.min(time_ms, FORMATTED_MAX_MS);
    const day = Math.floor(shown_ms / DAY_MS);
    if (day !== this.#day) this.#begin_day(day);
    // In 32 bits the divisions are multiplications.
    const ms = (shown_ms - day * DAY_MS) | 0;
    const seconds = (ms / 1000) | 0;
    const minutes = (seconds / 60) | 0;
    const hours = (minutes / 60) | 0;
    const thousandths = ms - seconds * 1000;
    const tenths = (thousandths / 100) | 0;
    for (let i = 0; i < 3; i++) into.setUint32(at + 4 * i, this.#date[i]!, true);
    into.setUint16(at + 11, TWO_DIGITS[hours]!, true);
    into.setUint8(at + 13, COLON);
    into.setUint16(at + 14, TWO_DIGITS[minutes - hours * 60]!, true);
    into.setUint8(at + 16, COLON);
    into.setUint16(at + 17, TWO_DIGITS[seconds - minutes * 60]!, true);
    into.setUint8(at + 19, POINT);
    into.setUint8(at + 20, ZERO_8 + tenths);
    into.setUint16(at + 21, TWO_DIGITS[thousandths - tenths * 100]!, true);
    into.setUint8(at + 23, Z);
    return at + TIME_BYTES;
  }

  #begin_day(day: number): void {
    const text = Buffer.from(format_time(day * DAY_MS), "latin1");
    for (let i = 0; i < 3; i++) this.#date[i] = text.readUInt32LE(4 * i);
    this.#day = day;
  }
}
