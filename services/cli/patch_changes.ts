/** What a patch changes for a host that has others: functions, states and advisories kept, added and dropped. */
import type { Manifest } from "../events/codec.js";
import { u64_to_bigint, u64_to_decimal } from "../events/u64.js";

export interface Changes {
  /** `vmlinux:name`, `ext4:name,2`. */
  functions: Kept;
  advisories: Kept;
  /** By id, the version that `klp_get_state` finds. Null: one of the manifests does not tell its states. */
  states: {
    kept: StateEntry[];
    updated: { id: string; from: number; to: number }[];
    added: StateEntry[];
    dropped: StateEntry[];
  } | null;
}

interface Kept {
  kept: string[];
  added: string[];
  dropped: string[];
}

interface StateEntry {
  id: string;
  version: number;
}

/** A patch that does not replace takes nothing away from those before it. */
export function changes_of(stack: Manifest[], patch: Manifest): Changes {
  const replace = patch.replace ?? false;
  const names = (of: (manifest: Manifest) => string[]) =>
    kept_of(new Set(stack.flatMap(of)), new Set(of(patch)), replace);
  return {
    functions: names(function_names),
    advisories: names(({ advisories }) => advisories ?? []),
    states: [...stack, patch].some(({ states_unknown }) => states_unknown) ? null : states_of(stack, patch),
  };
}

function kept_of(before: Set<string>, after: Set<string>, replace: boolean): Kept {
  return {
    kept: [...before].filter((name) => !replace || after.has(name)),
    added: [...after].filter((name) => !before.has(name)),
    dropped: [...before].filter((name) => replace && !after.has(name)),
  };
}

function function_names({ functions }: Manifest): string[] {
  return (functions ?? []).map(({ object, name, position }) => {
    const which = u64_to_bigint(position) === 0n ? "" : `,${u64_to_decimal(position)}`;
    return `${object || "vmlinux"}:${name}${which}`;
  });
}

function states_of(stack: Manifest[], patch: Manifest): Changes["states"] {
  const after = versions_of(patch);
  // Of several holders the newest is the one whose version is in effect.
  const before = new Map(stack.flatMap((manifest) => [...versions_of(manifest)]));
  const entry = ([id, version]: [string, number]) => ({ id, version });
  const both = [...before].filter(([id]) => after.has(id));
  const alone = [...before].filter(([id]) => !after.has(id)).map(entry);
  const kept = both.filter(([id, version]) => after.get(id) === version).map(entry);
  return {
    kept: patch.replace ? kept : [...kept, ...alone],
    updated: both
      .filter(([id, version]) => after.get(id) !== version)
      .map(([id, version]) => ({ id, from: version, to: after.get(id)! })),
    added: [...after].filter(([id]) => !before.has(id)).map(entry),
    dropped: patch.replace ? alone : [],
  };
}

/** The first entry of an id counts. */
function versions_of({ states }: Manifest): Map<string, number> {
  const versions = new Map<string, number>();
  for (const { id, version } of states ?? []) {
    const key = u64_to_decimal(id);
    if (!versions.has(key)) versions.set(key, version ?? 0);
  }
  return versions;
}
