/** What an owner leaves its successor, as the metadata of a committed offset. */
import { z } from "zod";
import { parse_position, position_text } from "../events/cause.js";
import type { OutletProgress } from "./state_changes/outlet.js";

const VERSION = 1;

const Metadata = z.object({
  v: z.literal(VERSION),
  fold_version: z.int(),
  cause: z.string().nullable(),
  quarantined_to: z.string().regex(/^[0-9]+$/),
});

export interface CommittedPlace extends OutletProgress {
  fold_version: number;
}

export function write_committed(fold_version: number, { cause, quarantined_to }: OutletProgress): string {
  return JSON.stringify({
    v: VERSION,
    fold_version,
    cause: cause && position_text(cause),
    quarantined_to: String(quarantined_to),
  });
}

/** Null: there is none, or somebody else has written it. */
export function parse_committed(text: string): CommittedPlace | null {
  try {
    const { fold_version, cause, quarantined_to } = Metadata.parse(JSON.parse(text));
    return {
      fold_version,
      cause: cause === null ? null : parse_position(cause),
      quarantined_to: BigInt(quarantined_to),
    };
  } catch {
    return null;
  }
}
