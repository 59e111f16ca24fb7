/** Many candidates at once, as the core takes them, and what it says of each; core-wasm/assembly/batch.ts has the layouts. */
import { names_of_bits, REASONS, VERDICTS, WARNINGS } from "./codes.js";
import type { CheckCount, CheckOutcome, CoreCandidate } from "./core.js";

const to_utf8 = new TextEncoder();

/** So many at most. */
export const BATCH_CANDIDATES = 128;

/** `input` gives as many bytes as are asked for. */
export function write_candidates(
  candidates: readonly CoreCandidate[],
  input: (length: number) => Uint8Array,
): void {
  const texts = candidates.map(({ name, build_id }) => [to_utf8.encode(name), build_id] as const);
  const texts_at = 8 * texts.length;
  const bytes = input(texts.reduce((sum, [name, build_id]) => sum + name.length + build_id.length, texts_at));
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  let at = texts_at;
  texts.forEach(([name, build_id], i) => {
    view.setUint32(8 * i, name.length, true);
    view.setUint32(8 * i + 4, build_id.length, true);
    bytes.set(name, at);
    bytes.set(build_id, at + name.length);
    at += name.length + build_id.length;
  });
}

/** Hosts of each candidate by what is said of them: u32 verdict | reason << 8 | warnings << 16 in the core's numbers. */
export type CodeCounts = Map<number, number>[];

export function read_code_counts(
  view: DataView,
  codes: number,
  tally: number,
  code_count: number,
  candidates: number,
): CodeCounts {
  return Array.from({ length: candidates }, (_, candidate) => {
    const counts = new Map<number, number>();
    for (let i = 0; i < code_count; i++) {
      const hosts = view.getUint32(tally + 4 * (i * BATCH_CANDIDATES + candidate), true);
      if (hosts > 0) counts.set(view.getUint32(codes + 4 * i, true), hosts);
    }
    return counts;
  });
}

/** `aged`: of those that are told, these. */
export function check_counts(
  counts: ReadonlyMap<number, number>,
  aged: ReadonlyMap<number, number>,
): CheckCount[] {
  return Array.from(counts, ([code, hosts]) => ({
    verdict: VERDICTS[code & 255]!,
    reason: REASONS[(code >> 8) & 255] ?? null,
    warnings: names_of_bits(code >> 16, WARNINGS),
    hosts,
    aged: aged.get(code) ?? 0,
  }));
}

/** Those that differ in nothing that a check of many candidates tells. */
export function counts_of(outcomes: readonly CheckOutcome[]): CheckCount[] {
  const counts = new Map<string, CheckCount>();
  for (const { verdict, reason, warnings, hosts, aged } of outcomes) {
    const key = `${verdict} ${reason} ${warnings}`;
    const known = counts.get(key);
    if (known === undefined) counts.set(key, { verdict, reason, warnings, hosts, aged });
    else {
      known.hosts += hosts;
      known.aged += aged;
    }
  }
  return [...counts.values()];
}
