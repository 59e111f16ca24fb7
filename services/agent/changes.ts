/** The change objects of klpstate.v1.HostEvent, made from names, build ids in hex and phases by name. */
import { PATCH_NAME_BYTES_MAX, REFUSED_LINE_BYTES_MAX } from "../events/limits.js";
import { klpstate } from "../events/proto.js";
import type { Fact } from "./facts.js";
import type { LivepatchingName, PhaseName } from "./snapshot.js";

type Shape = klpstate.v1.HostEvent.$Properties;
export type ChangeName = NonNullable<Shape["change"]>;
/** One member of HostEvent's oneof, as `{loaded: {…}}`. Host, stream, sequence and time are the caller's. */
export type Change = { [Name in ChangeName]: { [N in Name]: NonNullable<Shape[N]> } }[ChangeName];

/** A change and the record of the kernel's log that told it; null where a snapshot did. */
export interface Told {
  change: Change;
  record: number | null;
}

export const PHASES: Record<PhaseName, klpstate.v1.Phase> = {
  enabling: klpstate.v1.Phase.ENABLING,
  enabled: klpstate.v1.Phase.ENABLED,
  disabling: klpstate.v1.Phase.DISABLING,
};

export const LIVEPATCHING: Record<LivepatchingName, klpstate.v1.Livepatching> = {
  supported: klpstate.v1.Livepatching.SUPPORTED,
  not_built: klpstate.v1.Livepatching.NOT_BUILT,
  unreadable: klpstate.v1.Livepatching.UNREADABLE,
};

export interface Reference {
  name: string;
  build_id?: string | undefined;
}

/** The bytes that hex digits stand for; none if they are no hex. Dashes, as in a UUID, are skipped. */
export function bytes_of(hex: string): Uint8Array {
  const digits = hex.replaceAll("-", "");
  return /^([0-9a-fA-F]{2})*$/.test(digits) ? Uint8Array.from(Buffer.from(digits, "hex")) : new Uint8Array(0);
}

export function patch_of({ name, build_id }: Reference): klpstate.v1.Patch.$Properties {
  return build_id ? { name, build_id: bytes_of(build_id) } : { name };
}

/** At most REFUSED_LINE_BYTES_MAX bytes of UTF-8, no character cut in two. */
function cut_line(line: string): string {
  const bytes = Buffer.from(line);
  if (bytes.length <= REFUSED_LINE_BYTES_MAX) return line;
  let end = REFUSED_LINE_BYTES_MAX;
  while ((bytes[end]! & 0xc0) === 0x80) end--;
  return bytes.toString("utf8", 0, end);
}

/** What a fact says without any stack; null for facts that change one. `patch` finds a name's reference. */
export function change_of(fact: Fact, patch: (name: string) => klpstate.v1.Patch.$Properties): Change | null {
  switch (fact.kind) {
    case "forced":
      return {
        forced: {
          patch: patch(fact.name),
          phase: PHASES[fact.to === "patching" ? "enabling" : "disabling"],
        },
      };
    case "refused": {
      const refused = { reason: fact.reason, line: cut_line(fact.line) };
      // A file that is refused early may call itself anything; the line has it all the same.
      const is_name = fact.name !== null && Buffer.byteLength(fact.name) <= PATCH_NAME_BYTES_MAX;
      // Not the reference of a patch that is there: another file may have the same name.
      return { refused: is_name ? { patch: { name: fact.name }, ...refused } : refused };
    }
    case "object_changed":
      return {
        object_changed: { patch: patch(fact.name), object: fact.object, kind: fact.change },
      };
    default:
      return null;
  }
}
