/** What lines of hosts are made of: core-wasm/assembly/host_lines.ts has the layout. */

/** What is said of the hosts of one outcome behind their ids; empty: they are not wanted. */
export interface OutcomeTexts {
  fresh: string;
  /** Of those last heard of too long ago. */
  aged: string;
}

const ENDINGS = 4;
const WORDS_PER_TEXT = 2;

/** `endings` by stale + 2 * uncertain. No text but those of hosts that are not wanted is empty. */
export function write_host_texts(
  opening: string,
  endings: readonly string[],
  outcomes: readonly OutcomeTexts[],
): Uint8Array {
  if (endings.length !== ENDINGS) throw new RangeError(`${endings.length} endings`);
  const texts = [opening, ...endings, ...outcomes.flatMap(({ fresh, aged }) => [fresh, aged])];
  const words = new Uint32Array(texts.length * WORDS_PER_TEXT);
  // Hosts that are too old are said the same of, whatever their outcome is.
  const places = new Map<string, { at: number; bytes: Buffer }>();
  let at = words.byteLength;
  for (const [i, text] of texts.entries()) {
    let place = places.get(text);
    if (place === undefined) {
      place = { at, bytes: Buffer.from(text) };
      places.set(text, place);
      at += place.bytes.length;
    }
    words.set([place.at, place.bytes.length], i * WORDS_PER_TEXT);
  }
  const written = new Uint8Array(at);
  written.set(new Uint8Array(words.buffer));
  for (const place of places.values()) written.set(place.bytes, place.at);
  return written;
}
