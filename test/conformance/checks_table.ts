/**
 * The verdicts of docs/rules.md C as a table: a host, a catalog, a candidate, and the answer. Every expected value was
 * written by hand. The hosts are given as events, so that whatever folds and checks can be put before it.
 */
import type { klpstate } from "#services/events/proto.js";
import { long_of } from "../model/registry.js";
import {
  disabling,
  event,
  forced,
  loading,
  observed,
  patch,
  refused,
  removed,
  type TableEvent,
} from "./table_events.js";

type CatalogRecord = klpstate.v1.CatalogRecord.$Properties;
type Manifest = klpstate.v1.Manifest.$Properties;

export interface Verdict {
  verdict: string;
  reason: string | null;
  conflict: {
    state: bigint;
    holder: string;
    held: number;
    offered: number | null;
    transient: boolean;
    first: boolean;
  } | null;
  unresolved: { name: string; build_id: string; manifest: string } | null;
  replaces: string[];
  warnings: string[];
}

export interface CheckSubject {
  /** The verdict for the only host after its events. */
  check(
    events: TableEvent[],
    catalog: CatalogRecord[],
    candidate: { name: string; build_id?: string },
  ): Verdict;
}

export interface CheckCase {
  title: string;
  events: TableEvent[];
  catalog: CatalogRecord[];
  /** `name` or `name@0a` */
  candidate: string;
  /** What is left out is null or empty. */
  expected: Partial<Verdict>;
}

export const NO_VERDICT: Omit<Verdict, "verdict"> = {
  reason: null,
  conflict: null,
  unresolved: null,
  replaces: [],
  warnings: [],
};

type States = [id: bigint, version: number][];
interface More {
  release?: string;
  arch?: string;
  replace?: boolean;
  states_unknown?: boolean;
  irreversible?: string;
  signed?: boolean;
  notes?: string;
}

/** The manifest of `name` or `name@0a` for the usual kernel. */
function manifest(reference: string, states: States = [], more: More = {}): Manifest {
  return {
    ...patch(reference),
    kernel_release: more.release ?? "6.12.1",
    arch: more.arch ?? "x86_64",
    states: states.map(([id, version]) => ({ id: long_of(id), version })),
    ...(more.replace === undefined ? {} : { replace: more.replace }),
    ...(more.states_unknown === undefined ? {} : { states_unknown: more.states_unknown }),
    ...(more.irreversible === undefined ? {} : { irreversible: more.irreversible }),
    ...(more.signed === undefined ? {} : { signature: { present: more.signed } }),
    ...(more.notes === undefined ? {} : { notes: more.notes }),
  };
}

function published(...of: Parameters<typeof manifest>): CatalogRecord {
  return { published: manifest(...of) };
}

function withdrawn(...of: Parameters<typeof manifest>): CatalogRecord {
  const { name, kernel_release, arch, build_id } = manifest(...of);
  return {
    withdrawn: {
      identity: {
        name: name!,
        kernel_release: kernel_release!,
        arch: arch!,
        build_id: build_id ?? new Uint8Array(),
      },
      reason: "wrong file",
      by: "admin",
    },
  };
}

const C = published("c");
const CUMULATIVE = { replace: true };
const OTHER = { release: "6.1.0" };
const bare = [event(1, observed())];
const with_stack = (...stack: string[]): TableEvent[] => [event(1, observed({ stack }))];
const with_policy = (...policy: string[]): TableEvent[] => [event(1, observed({ policy }))];
const quarrel = [event(1, observed()), event(1, refused())];
const gap = (seen: Parameters<typeof observed>[0]): TableEvent[] => [
  event(1, observed(seen)),
  event(3, refused()),
];
const TOP = 18_446_744_073_709_551_615n;

type Row = [
  title: string,
  events: TableEvent[],
  catalog: CatalogRecord[],
  candidate: string,
  expected: Partial<Verdict>,
];

// biome-ignore format: a row a line
const rows: Row[] = [
  // Each verdict by itself.
  ["no baseline", [event(1, refused())], [C], "c", { verdict: "unknown", reason: "no_baseline" }],
  ["disputed", quarrel, [C], "c", { verdict: "unknown", reason: "disputed" }],
  ["unreadable", [event(1, observed({ livepatching: "UNREADABLE" }))], [C], "c", { verdict: "unknown", reason: "unreadable" }],
  ["unsupported", [event(1, observed({ livepatching: "NOT_BUILT" }))], [C], "c", { verdict: "unsupported" }],
  ["livepatching unknown is not unsupported", [event(1, observed({ livepatching: null }))], [C], "c", { verdict: "ok" }],
  ["no manifest at all", bare, [], "c", { verdict: "other_kernel" }],
  ["no manifest for this release", bare, [published("c", [], OTHER)], "c", { verdict: "other_kernel" }],
  ["no manifest for this arch", bare, [published("c", [], { arch: "arm64" })], "c", { verdict: "other_kernel" }],
  ["no manifest of this build", bare, [published("c@0a")], "c@0b", { verdict: "other_kernel" }],
  ["this build is for another release", bare, [published("c@0a"), published("c@0b", [], OTHER)], "c@0b", { verdict: "other_kernel" }],
  ["gap", gap({}), [C], "c", { verdict: "unknown", reason: "gap" }],
  ["ambiguous candidate", bare, [published("c@0a"), published("c@0b")], "c", { verdict: "unknown", reason: "ambiguous" }],
  ["with and without a build id is ambiguous too", bare, [published("c@0a"), C], "c", { verdict: "unknown", reason: "ambiguous" }],
  ["a build id is not", bare, [published("c@0a"), published("c@0b")], "c@0b", { verdict: "ok" }],
  ["another release's manifest does not make it ambiguous", bare, [C, published("c", [], OTHER)], "c", { verdict: "ok" }],
  ["modules disabled", with_policy("modules_disabled", "signature_required"), [C], "c", { verdict: "blocked", reason: "modules_disabled" }],
  ["unsigned", with_policy("signature_required"), [C], "c", { verdict: "blocked", reason: "unsigned" }],
  ["its file has no signature", with_policy("signature_required"), [published("c", [], { signed: false })], "c", { verdict: "blocked", reason: "unsigned" }],
  ["signed, by whatever key", with_policy("signature_required"), [published("c", [], { signed: true })], "c", { verdict: "ok" }],
  ["done", with_stack("c@0a enabled"), [published("c@0a")], "c", { verdict: "done" }],
  ["done, the host's build unknown", with_stack("c enabled"), [published("c@0a")], "c@0a", { verdict: "done" }],
  ["done, the manifest's build unknown", with_stack("c@0a enabled"), [C], "c", { verdict: "done" }],
  ["another build is enabled", with_stack("c@0b enabled"), [published("c@0a")], "c", { verdict: "name_taken", reason: "other_build" }],
  ["its own load runs", with_stack("c@0a enabling"), [published("c@0a")], "c", { verdict: "name_taken", reason: "in_transition" }],
  ["its disable runs", with_stack("c disabling"), [C], "c", { verdict: "name_taken", reason: "in_transition" }],
  ["another build is in transition", with_stack("c@0b disabling"), [published("c@0a")], "c", { verdict: "name_taken", reason: "in_transition" }],
  ["lingering", [event(1, observed({ lingering: ["c@0b"] }))], [published("c@0a")], "c", { verdict: "name_taken", reason: "lingering" }],
  ["pinned", [event(1, observed({ lingering: ["c pinned"] }))], [C], "c", { verdict: "name_taken", reason: "pinned" }],
  ["removed since", [event(1, observed({ lingering: ["c"] })), event(2, removed("c"))], [C], "c", { verdict: "ok" }],
  ["lower version", with_stack("p enabled"), [published("p", [[TOP, 2]]), published("c", [[TOP, 1]])], "c", { verdict: "incompatible", conflict: { state: TOP, holder: "p", held: 2, offered: 1, transient: false, first: true } }],
  ["equal version", with_stack("p enabled"), [published("p", [[TOP, 2]]), published("c", [[TOP, 2]])], "c", { verdict: "ok" }],
  ["lacks a state, does not replace", with_stack("p enabled"), [published("p", [[1n, 2]]), C], "c", { verdict: "ok" }],
  ["lacks a state, replaces", with_stack("p enabled"), [published("p", [[1n, 0]]), published("c", [], CUMULATIVE)], "c", { verdict: "incompatible", conflict: { state: 1n, holder: "p", held: 0, offered: null, transient: false, first: true } }],
  ["an installed patch is missing in the catalog", with_stack("p@0a enabled"), [C], "c", { verdict: "unknown", reason: "manifest", unresolved: { name: "p", build_id: "0a", manifest: "missing" } }],
  ["an installed patch is ambiguous", with_stack("p enabled"), [C, published("p@0a"), published("p@0b")], "c", { verdict: "unknown", reason: "manifest", unresolved: { name: "p", build_id: "", manifest: "ambiguous" } }],
  ["an installed patch's states are unknown", with_stack("p enabled"), [C, published("p", [], { states_unknown: true })], "c", { verdict: "unknown", reason: "manifest", unresolved: { name: "p", build_id: "", manifest: "states_unknown" } }],
  ["the first of several is named", with_stack("a enabled", "p enabled", "q enabled"), [C, published("a")], "c", { verdict: "unknown", reason: "manifest", unresolved: { name: "p", build_id: "", manifest: "missing" } }],
  ["the candidate's states are unknown", with_stack("p enabled"), [published("c@0a", [], { states_unknown: true })], "c", { verdict: "unknown", reason: "manifest", unresolved: { name: "c", build_id: "0a", manifest: "states_unknown" } }],
  ["they are even before an empty stack", bare, [published("c", [], { states_unknown: true })], "c", { verdict: "unknown", reason: "manifest", unresolved: { name: "c", build_id: "", manifest: "states_unknown" } }],
  ["busy, enabling", with_stack("p enabling"), [C, published("p")], "c", { verdict: "busy" }],
  ["busy, disabling", [...with_stack("p enabled", "q enabled"), event(2, disabling("p"))], [C, published("p"), published("q")], "c", { verdict: "busy" }],
  ["ftrace is off and nothing is on the stack", with_policy("ftrace_off"), [C], "c", { verdict: "blocked", reason: "ftrace_off" }],
  ["ftrace is off and something is", [event(1, observed({ policy: ["ftrace_off"], stack: ["p enabled"] }))], [C, published("p")], "c", { verdict: "ok" }],
  ["ok on an empty stack", bare, [published("c", [[1n, 1]], CUMULATIVE)], "c", { verdict: "ok" }],
  ["ok would replace all", with_stack("p enabled", "q enabled"), [published("p", [[1n, 1]]), published("q", [[2n, 5]]), published("c", [[2n, 6], [1n, 1]], CUMULATIVE)], "c", { verdict: "ok", replaces: ["p", "q"] }],
  ["ok would replace nothing", with_stack("p enabled"), [published("p", [[1n, 1]]), published("c", [[1n, 1]])], "c", { verdict: "ok" }],

  // Which one wins.
  ["no baseline before unsupported and other_kernel", [event(1, observed({ livepatching: "NOT_BUILT" })), event(2, refused(), { stream: 2n })], [], "c", { verdict: "unknown", reason: "no_baseline" }],
  ["unsupported before other_kernel", [event(1, observed({ livepatching: "NOT_BUILT" }))], [], "c", { verdict: "unsupported" }],
  ["unsupported before gap", gap({ livepatching: "NOT_BUILT" }), [C], "c", { verdict: "unsupported" }],
  ["other_kernel before gap", gap({}), [], "c", { verdict: "other_kernel" }],
  ["gap before ambiguous", gap({}), [published("c@0a"), published("c@0b")], "c", { verdict: "unknown", reason: "gap" }],
  ["ambiguous before blocked", with_policy("modules_disabled"), [published("c@0a"), published("c@0b")], "c", { verdict: "unknown", reason: "ambiguous" }],
  ["blocked before done", [event(1, observed({ policy: ["signature_required"], stack: ["c enabled"] }))], [C], "c", { verdict: "blocked", reason: "unsigned" }],
  ["done before incompatible", with_stack("p enabled", "c enabled"), [published("p", [[1n, 2]]), published("c", [[1n, 1]])], "c", { verdict: "done" }],
  ["name_taken before incompatible", [event(1, observed({ stack: ["p enabled"], lingering: ["c"] }))], [published("p", [[1n, 2]]), published("c", [[1n, 1]])], "c", { verdict: "name_taken", reason: "lingering" }],
  ["name_taken before unknown states", with_stack("c enabling"), [published("c", [], { states_unknown: true })], "c", { verdict: "name_taken", reason: "in_transition" }],
  ["incompatible before an unknown manifest behind it", with_stack("p enabled", "q enabled"), [published("p", [[1n, 2]]), published("c", [[1n, 1]])], "c", { verdict: "incompatible", conflict: { state: 1n, holder: "p", held: 2, offered: 1, transient: false, first: true } }],
  ["unknown states of the candidate before an unknown manifest", with_stack("p enabled"), [published("c", [], { states_unknown: true })], "c", { verdict: "unknown", reason: "manifest", unresolved: { name: "c", build_id: "", manifest: "states_unknown" } }],
  ["incompatible before busy", with_stack("p enabled", "q enabling"), [published("p", [[1n, 2]]), published("q"), published("c", [[1n, 1]])], "c", { verdict: "incompatible", conflict: { state: 1n, holder: "p", held: 2, offered: 1, transient: false, first: true } }],
  ["an unknown manifest before busy", with_stack("p enabling"), [C], "c", { verdict: "unknown", reason: "manifest", unresolved: { name: "p", build_id: "", manifest: "missing" } }],

  // The conflict.
  ["stack order comes before array order", with_stack("p enabled", "q enabled"), [published("p", [[1n, 1], [2n, 9]]), published("q", [[1n, 5]]), published("c", [[1n, 1], [2n, 3]])], "c", { verdict: "incompatible", conflict: { state: 2n, holder: "p", held: 9, offered: 3, transient: false, first: true } }],
  ["every entry of an installed patch counts", with_stack("p enabled"), [published("p", [[1n, 1], [1n, 4_294_967_295]]), published("c", [[1n, 2_147_483_648]])], "c", { verdict: "incompatible", conflict: { state: 1n, holder: "p", held: 4_294_967_295, offered: 2_147_483_648, transient: false, first: true } }],
  ["the first entry of the candidate counts", with_stack("p enabled"), [published("p", [[1n, 2]]), published("c", [[1n, 1], [1n, 2]])], "c", { verdict: "incompatible", conflict: { state: 1n, holder: "p", held: 2, offered: 1, transient: false, first: true } }],
  ["ids that differ in the upper half only", with_stack("p enabled"), [published("p", [[0x1_0000_0001n, 9]]), published("c", [[0x2_0000_0001n, 1]])], "c", { verdict: "ok" }],
  ["behind a patch without manifest it is not the first for sure", with_stack("x enabled", "p enabled"), [published("p", [[1n, 2]]), published("c", [[1n, 1]])], "c", { verdict: "incompatible", conflict: { state: 1n, holder: "p", held: 2, offered: 1, transient: false, first: false } }],
  ["behind a patch of unknown states neither", with_stack("x enabled", "p enabled"), [published("x", [], { states_unknown: true }), published("p", [[1n, 2]]), published("c", [[1n, 1]])], "c", { verdict: "incompatible", conflict: { state: 1n, holder: "p", held: 2, offered: 1, transient: false, first: false } }],
  ["its holder is leaving", with_stack("p disabling"), [published("p", [[1n, 2]]), published("c", [[1n, 1]])], "c", { verdict: "incompatible", conflict: { state: 1n, holder: "p", held: 2, offered: 1, transient: true, first: true } }],
  ["its holder is about to be replaced", with_stack("p enabled", "q enabling"), [published("p", [[1n, 2]]), published("q", [[1n, 2]], CUMULATIVE), published("c", [[1n, 1]])], "c", { verdict: "incompatible", conflict: { state: 1n, holder: "p", held: 2, offered: 1, transient: true, first: true } }],
  ["the replacing patch itself stays", with_stack("q enabling"), [published("q", [[1n, 2]], CUMULATIVE), published("c", [[1n, 1]])], "c", { verdict: "incompatible", conflict: { state: 1n, holder: "q", held: 2, offered: 1, transient: false, first: true } }],
  ["a replacing patch that is leaving replaces nothing", with_stack("p enabled", "q disabling"), [published("p", [[1n, 2]]), published("q", [[1n, 2]], CUMULATIVE), published("c", [[1n, 1]])], "c", { verdict: "incompatible", conflict: { state: 1n, holder: "p", held: 2, offered: 1, transient: false, first: true } }],
  ["a load without manifest is not known to replace", [...with_stack("p enabled"), event(2, loading("x"))], [published("p", [[1n, 2]]), published("c", [[1n, 1]])], "c", { verdict: "incompatible", conflict: { state: 1n, holder: "p", held: 2, offered: 1, transient: false, first: true } }],

  // References.
  ["a build id resolves among several", with_stack("p@0b enabled"), [C, published("p@0a", [[1n, 9]]), published("p@0b")], "c", { verdict: "ok" }],
  ["a build id resolves across kernels, with a warning", with_stack("p@0b enabled"), [C, published("p@0b", [], OTHER)], "c", { verdict: "ok", warnings: ["built_for_other_kernel"] }],
  ["this kernel's manifest of a build id comes first", with_stack("p@0b enabled"), [published("c", [[1n, 1]]), published("p@0b", [[1n, 2]], OTHER), published("p@0b", [[1n, 1]])], "c", { verdict: "ok" }],
  ["a build id of two other kernels is ambiguous, with a warning", with_stack("p@0b enabled"), [C, published("p@0b", [], OTHER), published("p@0b", [], { arch: "arm64" })], "c", { verdict: "unknown", reason: "manifest", unresolved: { name: "p", build_id: "0b", manifest: "ambiguous" }, warnings: ["built_for_other_kernel"] }],
  ["a build id does not resolve to a manifest without one", with_stack("p@0b enabled"), [C, published("p")], "c", { verdict: "unknown", reason: "manifest", unresolved: { name: "p", build_id: "0b", manifest: "missing" } }],
  ["a name resolves to a manifest with a build id", with_stack("p enabled"), [C, published("p@0a")], "c", { verdict: "ok" }],
  ["a name does not resolve across kernels", with_stack("p enabled"), [C, published("p", [], OTHER)], "c", { verdict: "unknown", reason: "manifest", unresolved: { name: "p", build_id: "", manifest: "missing" } }],

  // The catalog.
  ["the first of an identity wins", bare, [published("c", [], { irreversible: "first" }), published("c")], "c", { verdict: "ok", warnings: ["irreversible"] }],
  ["a withdrawn manifest is none", bare, [C, withdrawn("c")], "c", { verdict: "other_kernel" }],
  ["a withdrawn manifest does not resolve", with_stack("p@0a enabled"), [C, published("p@0a"), withdrawn("p@0a")], "c", { verdict: "unknown", reason: "manifest", unresolved: { name: "p", build_id: "0a", manifest: "missing" } }],
  ["nor does it make ambiguous", bare, [C, published("c@0a"), withdrawn("c@0a")], "c", { verdict: "ok" }],
  ["its identity is free again", bare, [C, withdrawn("c"), published("c", [], { irreversible: "second" })], "c", { verdict: "ok", warnings: ["irreversible"] }],

  // Warnings.
  ["forced", [event(1, observed({ stack: ["p enabled"] })), event(2, forced("p"))], [C, published("p")], "c", { verdict: "ok", warnings: ["forced"] }],
  ["irreversible", bare, [published("c", [], { irreversible: "frees memory" })], "c", { verdict: "ok", warnings: ["irreversible"] }],
  ["all three", [event(1, observed({ stack: ["p@0a enabled"] })), event(2, forced("p"))], [published("c", [], { irreversible: "x" }), published("p@0a", [], OTHER)], "c", { verdict: "ok", warnings: ["forced", "irreversible", "built_for_other_kernel"] }],
  ["forced and irreversible on ok only", [event(1, observed({ stack: ["p enabling"] })), event(2, forced("p"))], [published("c", [], { irreversible: "x" }), published("p")], "c", { verdict: "busy" }],
  ["built for another kernel on any verdict", with_stack("c@0a enabled"), [published("c"), published("c@0a", [], OTHER)], "c", { verdict: "done", warnings: ["built_for_other_kernel"] }],
  ["of unknown too", [...with_stack("p@0a enabled"), event(1, refused())], [published("p@0a", [], OTHER)], "c", { verdict: "unknown", reason: "disputed", warnings: ["built_for_other_kernel"] }],
  ["not where this kernel's is known as well", with_stack("p@0a enabled"), [C, published("p@0a"), published("p@0a", [], OTHER)], "c", { verdict: "ok" }],
  ["not of a lingering one", [event(1, observed({ lingering: ["p@0a"] }))], [C, published("p@0a", [], OTHER)], "c", { verdict: "ok" }],
  ["not where the host's kernel is unknown", [event(1, loading("p@0a"))], [published("p@0a", [], OTHER)], "c", { verdict: "unknown", reason: "no_baseline" }],
];

export const checks_table: CheckCase[] = rows.map(([title, events, catalog, candidate, expected]) => ({
  title,
  events,
  catalog,
  candidate,
  expected,
}));
