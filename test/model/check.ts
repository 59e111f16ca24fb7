/**
 * May this patch be loaded on that host: docs/rules.md C. Reads from top to bottom in the verdicts' order of
 * precedence.
 */
import {
  type CatalogModel,
  is_built_for_other_kernel,
  is_for,
  type ManifestModel,
  manifests_named,
  resolve,
} from "./catalog.js";
import type { Configuration, Reference } from "./fold.js";
import { first_conflict } from "./kernel.js";

export interface CandidateModel {
  name: string;
  /** Lower-case hex. */
  build_id?: string;
}

export type VerdictName =
  | "unknown"
  | "unsupported"
  | "other_kernel"
  | "blocked"
  | "done"
  | "name_taken"
  | "incompatible"
  | "busy"
  | "ok";

export type Warning = "forced" | "irreversible" | "built_for_other_kernel";

export interface ConflictModel {
  state: bigint;
  holder: string;
  held: number;
  /** Null: the candidate replaces and lacks the state. */
  offered: number | null;
  transient: boolean;
  first: boolean;
}

export interface UnresolvedModel extends Reference {
  manifest: "missing" | "ambiguous" | "states_unknown";
}

export interface VerdictModel {
  verdict: VerdictName;
  reason: string | null;
  conflict: ConflictModel | null;
  /** Set with `unknown: manifest` only: the candidate, else the first such patch of the stack. */
  unresolved: UnresolvedModel | null;
  /** Names that would leave the stack, oldest first. */
  replaces: string[];
  warnings: Warning[];
}

export function verdict(host: Configuration, catalog: CatalogModel, candidate: CandidateModel): VerdictModel {
  const warnings: Warning[] = host.stack.some((entry) => is_built_for_other_kernel(catalog, entry, host))
    ? ["built_for_other_kernel"]
    : [];
  const answer = (name: VerdictName, reason: string | null = null): VerdictModel => ({
    verdict: name,
    reason,
    conflict: null,
    unresolved: null,
    replaces: [],
    warnings,
  });

  if (host.knowledge === "no_baseline" || host.knowledge === "disputed" || host.knowledge === "unreadable")
    return answer("unknown", host.knowledge);

  if (host.livepatching === "not_built") return answer("unsupported");

  const fitting = manifests_named(catalog, candidate.name).filter(
    (manifest) =>
      is_for(manifest, host) &&
      (candidate.build_id === undefined || manifest.build_id === candidate.build_id),
  );
  if (fitting.length === 0) return answer("other_kernel");

  if (host.knowledge === "gap") return answer("unknown", "gap");

  if (fitting.length > 1) return answer("unknown", "ambiguous");
  const offered = fitting[0]!;

  if (host.policy.modules_disabled) return answer("blocked", "modules_disabled");
  if (host.policy.signature_required && !offered.signed) return answer("blocked", "unsigned");

  const namesake = host.stack.find((entry) => entry.name === offered.name);
  if (namesake !== undefined) {
    if (namesake.phase !== "enabled") return answer("name_taken", "in_transition");
    const one_is_unknown = namesake.build_id === "" || offered.build_id === "";
    if (one_is_unknown || namesake.build_id === offered.build_id) return answer("done");
    return answer("name_taken", "other_build");
  }
  const lingering = host.lingering.get(offered.name);
  if (lingering !== undefined) return answer("name_taken", lingering.pinned ? "pinned" : "lingering");

  if (offered.states_unknown)
    return { ...answer("unknown", "manifest"), unresolved: unresolved(offered, "states_unknown") };

  const conflict = find_conflict(host, catalog, offered);
  if (conflict !== null) return { ...answer("incompatible"), conflict };

  for (const entry of host.stack) {
    const installed = states_of(entry, host, catalog);
    if (typeof installed === "string")
      return { ...answer("unknown", "manifest"), unresolved: unresolved(entry, installed) };
  }

  if (host.stack.some((entry) => entry.phase !== "enabled")) return answer("busy");

  if (host.policy.ftrace_off && host.stack.length === 0) return answer("blocked", "ftrace_off");

  const ok_warnings: Warning[] = [];
  if (host.forced) ok_warnings.push("forced");
  if (offered.irreversible !== "") ok_warnings.push("irreversible");
  return {
    ...answer("ok"),
    replaces: offered.replace ? host.stack.map((entry) => entry.name) : [],
    warnings: [...ok_warnings, ...warnings],
  };
}

function unresolved(reference: Reference, manifest: UnresolvedModel["manifest"]): UnresolvedModel {
  return { name: reference.name, build_id: reference.build_id, manifest };
}

function states_of(
  installed: Reference,
  host: Configuration,
  catalog: CatalogModel,
): ManifestModel["states"] | UnresolvedModel["manifest"] {
  const manifest = resolve(catalog, installed, host);
  if (typeof manifest === "string") return manifest;
  return manifest.states_unknown ? "states_unknown" : manifest.states;
}

/** K4's conflict among the patches whose states are known. */
function find_conflict(
  host: Configuration,
  catalog: CatalogModel,
  offered: ManifestModel,
): ConflictModel | null {
  const installed = host.stack.map((entry) => states_of(entry, host, catalog));
  // A patch of unknown states stands against nothing that could be named.
  const known = installed.map((states) => (typeof states === "string" ? [] : states));
  const conflict = first_conflict(known, offered.states, offered.replace);
  if (conflict === null) return null;

  const holder = host.stack[conflict.patch_index]!;
  const later = host.stack.slice(conflict.patch_index + 1);
  const about_to_be_replaced = later.some((entry) => {
    if (entry.phase !== "enabling") return false;
    const manifest = resolve(catalog, entry, host);
    return typeof manifest !== "string" && manifest.replace;
  });
  return {
    state: conflict.id,
    holder: holder.name,
    held: conflict.held,
    offered: conflict.offered,
    transient: holder.phase === "disabling" || about_to_be_replaced,
    first: !installed.slice(0, conflict.patch_index).some((states) => typeof states === "string"),
  };
}
