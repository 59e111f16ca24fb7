/** How a Problem names the place and the value that it is about. */

const VALUE_CHARACTERS_MAX = 60;

/** `observed` and `stack` are `observed.stack`; the document itself is "". */
export function field_at(place: string, name: string): string {
  return place === "" ? name : `${place}.${name}`;
}

/** As field_at, for a key that a stranger wrote. */
export function key_at(place: string, key: string): string {
  return field_at(place, /^\w{1,60}$/.test(key) ? key : shorten(key));
}

/** `stack` and 2 are `stack[2]`. */
export function item_at(place: string, index: number): string {
  return `${place}[${index}]`;
}

/**
 * A value as a message shows it: like JSON, at most about 60 characters. Control and format characters are escaped,
 * so that a hostile value cannot write to the terminal of who reads the message.
 */
export function shorten(value: unknown): string {
  const text = shown(value).replace(
    /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu,
    (character) => `\\u{${character.codePointAt(0)?.toString(16)}}`,
  );
  const characters = Array.from(text.slice(0, 2 * VALUE_CHARACTERS_MAX));
  if (text.length <= VALUE_CHARACTERS_MAX || characters.length <= VALUE_CHARACTERS_MAX) return text;
  return `${characters.slice(0, VALUE_CHARACTERS_MAX).join("")}…`;
}

function shown(value: unknown): string {
  // Four times the length is enough for the escapes of a value that is cut anyway.
  if (typeof value === "string") return `"${value.slice(0, 4 * VALUE_CHARACTERS_MAX)}"`;
  if (value instanceof Uint8Array)
    return Buffer.from(value.subarray(0, VALUE_CHARACTERS_MAX)).toString("hex");
  if (Array.isArray(value)) return "a list";
  if (typeof value === "object" && value !== null && !("low" in value && "high" in value)) return "an object";
  return String(value);
}
