/** Kinds of values that a setting may have: as text of the environment, or as the file's YAML has them. */
import { isIP } from "node:net";
import { z } from "zod";

/** kafkajs parts host and port at the first colon, so an IPv6 address needs a name. */
const ADDRESS_TEXT = /^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?:([0-9]{1,5})$/;

export const TEXT = z.string({ error: "must be a text" }).min(1, "must not be empty");

export const PATH = TEXT;

/** Of what Kafka allows in a topic's name and in a group's id that is shown everywhere. */
export const NAME = TEXT.max(128, "must be of 128 characters at most").regex(
  /^[A-Za-z0-9._-]+$/,
  "must be of letters, digits, dots, hyphens and underscores",
);

export const ADDRESS = TEXT.refine((text) => {
  const port = Number(ADDRESS_TEXT.exec(text)?.[2]);
  return port >= 1 && port <= 65_535;
}, "must be HOST:PORT, each, with a name or an IPv4 address, such as broker-1:9092");

export const CIDR = TEXT.refine((text) => {
  const [address, bits, ...more] = text.split("/");
  const kind = isIP(address!);
  if (kind === 0 || more.length > 0) return false;
  return /^[0-9]{1,3}$/.test(bits ?? "") && Number(bits) <= (kind === 4 ? 32 : 128);
}, "must be networks such as 10.1.0.0/16 or fd00::/8");

export const SECRET = TEXT.min(16, "must be of 16 characters at least").regex(
  /^[\x21-\x7e]+$/,
  "must be of visible ASCII characters",
);

export const ON_OFF = z
  .union([z.boolean(), z.enum(["on", "off"])], { error: "must be on or off" })
  .transform((value) => value === true || value === "on");

export function COUNT(max: number) {
  return number(1, max);
}

export const MILLISECONDS = number(1000, 3_600_000);

function number(min: number, max: number) {
  const error = `must be a whole number from ${min} to ${max}`;
  return z
    .union([z.number(), z.string().regex(/^[0-9]{1,9}$/, error)], { error })
    .transform(Number)
    .pipe(z.int({ error }).min(min, error).max(max, error));
}

/** A text with commas, or a list. */
export function LIST(item: z.ZodType<string, string>) {
  return z
    .union([z.string(), z.array(z.string())], { error: "must be a list, or a text with commas" })
    .transform((value) => (typeof value === "string" ? value.split(",") : value).map((part) => part.trim()))
    .pipe(z.array(item).min(1, "must not be empty"));
}
