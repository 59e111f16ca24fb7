/**
 * The rules of the fold, F1 to F8, as a table: events, and what they leave. Every expected value was written by hand
 * from docs/rules.md. Whatever folds can be put before it: see Subject.
 */
import {
  BOOT_A,
  BOOT_B,
  disabled,
  disabling,
  event,
  forced,
  from_a_newer_publisher,
  loaded,
  loading,
  object_changed,
  observed,
  refused,
  removed,
  replaced,
  reversed,
  stalled,
  type TableEvent,
} from "./table_events.js";

/** What an event did, and what is known of its host after it. */
export interface Outcome {
  effect: string;
  /** In any order. */
  anomalies: string[];
  knowledge: string;
  kernel_release: string | null;
  arch: string | null;
  livepatching: string | null;
  /** Names of what is set. */
  policy: string[];
  /** Oldest first: `p@0a enabling`, without the `@` where the build id is unknown. */
  stack: string[];
  /** In any order: `p@0a`, `p@0a pinned`. */
  lingering: string[];
  forced: boolean;
  stream: bigint;
  sequence: bigint;
  effective_time_ms: bigint;
}

export interface Subject {
  /** Folds events of one host that nothing is known of; answers with what each did. */
  fold(events: TableEvent[]): Outcome[];
}

export interface RulesCase {
  rule: string;
  title: string;
  events: TableEvent[];
  /** After the last event; what is left out is as in USUAL. */
  expected: Partial<Outcome>;
}

/** What most cases leave: the second event of a readable host's first stream applied without an anomaly. */
export const USUAL: Outcome = {
  effect: "applied",
  anomalies: [],
  knowledge: "complete",
  kernel_release: "6.12.1",
  arch: "x86_64",
  livepatching: "supported",
  policy: [],
  stack: [],
  lingering: [],
  forced: false,
  stream: 1n,
  sequence: 2n,
  effective_time_ms: 2000n,
};

type Row = [title: string, events: TableEvent[], expected: Partial<Outcome>];

function cases(rule: string, rows: Row[]): RulesCase[] {
  return rows.map(([title, events, expected]) => ({ rule, title, events, expected }));
}

const empty = event(1, observed());
const one = event(1, observed({ stack: ["p enabled"] }));
/** Twice the sequence 2 with different bytes: disputed. */
const quarrel = [event(2, refused("x")), event(2, refused("y"))];

// biome-ignore format: a row a line
const f1 = cases("F1", [
  ["the same event again is repeated", [empty, event(2, loading("p")), event(2, loading("p"))], { effect: "repeated", stack: ["p enabling"] }],
  ["a repeat brings a later log time and moves nothing", [empty, event(2, loading("p")), event(2, loading("p"), { log_time_ms: 9_000_000n })], { effect: "repeated", stack: ["p enabling"] }],
  ["an earlier sequence is repeated, whatever its bytes", [empty, event(2, loading("p")), event(1, loading("q"), { time_ms: 90_000n })], { effect: "repeated", stack: ["p enabling"] }],
  ["the last sequence with other bytes is a reused number", [empty, event(2, loading("p")), event(2, loading("q"), { time_ms: 90_000n })], { effect: "repeated", anomalies: ["sequence_reused"], knowledge: "disputed", stack: ["p enabling"] }],
  ["the first bytes stay those of the number", [empty, event(2, loading("p")), event(2, loading("q")), event(2, loading("p"))], { effect: "repeated", knowledge: "disputed", stack: ["p enabling"] }],
  ["the other bytes are reported each time", [empty, event(2, loading("p")), event(2, loading("q")), event(2, loading("q"))], { effect: "repeated", anomalies: ["sequence_reused"], knowledge: "disputed", stack: ["p enabling"] }],
  ["a disputed host still takes changes", [empty, ...quarrel, event(3, loading("p"))], { knowledge: "disputed", stack: ["p enabling"], sequence: 3n, effective_time_ms: 3000n }],
]);

// biome-ignore format: a row a line
const f2 = cases("F2", [
  ["a gap is known and its event applied", [empty, event(3, loading("p"))], { anomalies: ["gap"], knowledge: "gap", stack: ["p enabling"], sequence: 3n, effective_time_ms: 3000n }],
  ["an Observed after a gap ends complete and does not diverge", [one, event(3, observed())], { anomalies: ["gap"], sequence: 3n, effective_time_ms: 3000n }],
  ["an event in order leaves a gap", [empty, event(3, loading("p")), event(4, loaded("p"))], { knowledge: "gap", stack: ["p enabled"], sequence: 4n, effective_time_ms: 4000n }],
  ["an Observed lifts a gap", [empty, event(3, loading("p")), event(4, observed())], { sequence: 4n, effective_time_ms: 4000n }],
  ["unreadable is worse than a gap", [event(1, observed({ livepatching: "UNREADABLE" })), event(3, loading("p"))], { anomalies: ["gap"], knowledge: "unreadable", livepatching: null, stack: ["p enabling"], sequence: 3n, effective_time_ms: 3000n }],
  ["no baseline is worse than a gap", [event(1, loading("p")), event(3, loaded("p"))], { anomalies: ["gap"], knowledge: "no_baseline", kernel_release: null, arch: null, livepatching: null, stack: ["p enabled"], sequence: 3n, effective_time_ms: 3000n }],
  ["disputed is worse than a gap", [empty, ...quarrel, event(4, loading("p"))], { anomalies: ["gap"], knowledge: "disputed", stack: ["p enabling"], sequence: 4n, effective_time_ms: 4000n }],
  ["an Observed lifts no baseline", [event(1, loading("p")), event(2, observed())], {}],
  ["an Observed lifts unreadable", [event(1, observed({ livepatching: "UNREADABLE" })), event(2, observed({ stack: ["p enabled"] }))], { stack: ["p enabled"] }],
  ["an Observed does not lift disputed", [empty, ...quarrel, event(3, observed({ stack: ["p enabled"] }))], { knowledge: "disputed", stack: ["p enabled"], sequence: 3n, effective_time_ms: 3000n }],
  ["an unreadable Observed lifts no baseline to unreadable", [event(1, loading("p")), event(2, observed({ livepatching: "UNREADABLE" }))], { knowledge: "unreadable", livepatching: null, stack: ["p enabling"] }],
  ["an unreadable Observed turns a gap into unreadable", [empty, event(3, observed({ livepatching: "UNREADABLE" }))], { anomalies: ["gap"], knowledge: "unreadable", sequence: 3n, effective_time_ms: 3000n }],
  ["an unreadable Observed does not lift disputed", [empty, ...quarrel, event(3, observed({ livepatching: "UNREADABLE" }))], { knowledge: "disputed", sequence: 3n, effective_time_ms: 3000n }],
]);

const second = event(1, observed({ stack: ["q enabled"] }), { stream: 2n, time_ms: 10_000n });
const on_second = { stream: 2n, sequence: 1n, effective_time_ms: 10_000n };

// biome-ignore format: a row a line
const f3 = cases("F3", [
  ["(a) the previous stream's last event is repeated, whatever its bytes", [one, second, event(1, loading("z"), { time_ms: 20_000n })], { ...on_second, effect: "repeated", stack: ["q enabled"] }],
  ["(b) the previous stream that goes on is a second writer", [one, second, event(2, loading("z"), { time_ms: 20_000n })], { ...on_second, effect: "foreign", anomalies: ["two_writers"], knowledge: "disputed", stack: ["q enabled"] }],
  ["(b) its last sequence does not advance", [one, second, event(2, loading("z")), event(2, loading("z"))], { ...on_second, effect: "foreign", anomalies: ["two_writers"], knowledge: "disputed", stack: ["q enabled"] }],
  ["(b) an Observed of it has no effect either", [one, second, event(7, observed({ stack: ["z enabled"] }), { time_ms: 20_000n })], { ...on_second, effect: "foreign", anomalies: ["two_writers"], knowledge: "disputed", stack: ["q enabled"] }],
  ["(c) another stream's change from before the start is stale", [one, second, event(1, loading("z"), { stream: 3n, time_ms: 9_999n })], { ...on_second, effect: "stale", anomalies: ["stale"], stack: ["q enabled"] }],
  ["(c) an Observed from before the start disputes as well", [one, second, event(1, observed(), { stream: 3n, time_ms: 9_999n })], { ...on_second, effect: "stale", anomalies: ["stale"], knowledge: "disputed", stack: ["q enabled"] }],
  ["(c) an unreadable one too", [one, second, event(1, observed({ livepatching: "UNREADABLE" }), { stream: 3n, time_ms: 9_999n })], { ...on_second, effect: "stale", anomalies: ["stale"], knowledge: "disputed", stack: ["q enabled"] }],
  ["(c) at the start's instant it is not stale", [one, second, event(1, observed(), { stream: 3n, time_ms: 10_000n })], { stream: 3n, sequence: 1n, effective_time_ms: 10_000n }],
  ["(c) the start counts, not the last event", [one, second, event(2, loading("z"), { stream: 2n, time_ms: 30_000n }), event(1, observed(), { stream: 3n, time_ms: 20_000n })], { stream: 3n, sequence: 1n, effective_time_ms: 30_000n }],
  ["(c) the start is its own time, not the host's effective time", [event(1, observed(), { time_ms: 50_000n }), event(2, loading("p"), { time_ms: 90_000n }), event(1, observed(), { stream: 2n, time_ms: 60_000n }), event(1, observed(), { stream: 3n, time_ms: 70_000n })], { stream: 3n, sequence: 1n, effective_time_ms: 90_000n }],
  ["(c) the start is clamped to its log time", [event(1, observed(), { time_ms: 80_000n, log_time_ms: 5000n }), event(1, observed(), { stream: 2n, time_ms: 6000n, log_time_ms: 7000n })], { stream: 2n, sequence: 1n, effective_time_ms: 6000n }],
  ["(c) a time ahead of the log is clamped, to no earlier than the start", [event(1, observed(), { time_ms: 5000n, log_time_ms: 5000n }), event(1, observed(), { stream: 2n, time_ms: 80_000n, log_time_ms: 5000n })], { stream: 2n, sequence: 1n, effective_time_ms: 5000n }],
  ["(d) an Observed is the baseline, whatever its sequence", [one, event(9, observed({ stack: ["q enabling"] }), { stream: 2n })], { stream: 2n, sequence: 9n, effective_time_ms: 9000n, stack: ["q enabling"] }],
  ["(d) a change empties what the boot held and keeps the rest", [event(1, observed({ policy: ["ftrace_off"], stack: ["p enabled"], lingering: ["l pinned"] })), event(2, forced("p")), event(5, loading("q"), { stream: 2n })], { stream: 2n, sequence: 5n, effective_time_ms: 5000n, knowledge: "no_baseline", policy: ["ftrace_off"], stack: ["q enabling"], forced: true }],
  ["(d) such a change meets an empty stack", [one, event(5, disabled("p"), { stream: 2n })], { stream: 2n, sequence: 5n, effective_time_ms: 5000n, anomalies: ["not_on_stack"], knowledge: "no_baseline" }],
  ["(d) and an empty lingering set", [event(1, observed({ lingering: ["p"] })), event(5, removed("p"), { stream: 2n })], { stream: 2n, sequence: 5n, effective_time_ms: 5000n, anomalies: ["not_known"], knowledge: "no_baseline" }],
  ["(d) even an event that changes nothing empties", [one, event(5, refused(), { stream: 2n })], { stream: 2n, sequence: 5n, effective_time_ms: 5000n, knowledge: "no_baseline" }],
  ["(d) an Observed ends disputed", [empty, ...quarrel, event(1, observed(), { stream: 2n, time_ms: 5000n })], { stream: 2n, sequence: 1n, effective_time_ms: 5000n }],
  ["(d) an unreadable Observed ends disputed, and the old stack stays", [one, ...quarrel, event(1, observed({ livepatching: "UNREADABLE" }), { stream: 2n, time_ms: 5000n })], { stream: 2n, sequence: 1n, effective_time_ms: 5000n, knowledge: "unreadable", stack: ["p enabled"] }],
  ["(d) a change ends disputed as no baseline", [empty, ...quarrel, event(1, loading("p"), { stream: 2n, time_ms: 5000n })], { stream: 2n, sequence: 1n, effective_time_ms: 5000n, knowledge: "no_baseline", stack: ["p enabling"] }],
  ["(d) a new host begins with any sequence, without a gap", [event(7, observed({ stack: ["p enabled"] }))], { sequence: 7n, effective_time_ms: 7000n, stack: ["p enabled"] }],
  ["(d) a new host may begin with a change", [event(7, loaded("p"))], { sequence: 7n, effective_time_ms: 7000n, knowledge: "no_baseline", kernel_release: null, arch: null, livepatching: null, stack: ["p enabled"] }],
  ["(d) a new host may begin unreadable", [event(1, observed({ livepatching: "UNREADABLE", policy: ["modules_disabled"], stack: ["p enabled"] }))], { sequence: 1n, effective_time_ms: 1000n, knowledge: "unreadable", livepatching: null, policy: ["modules_disabled"] }],
  ["(d) the stream before the previous one is forgotten", [one, second, event(1, observed(), { stream: 3n, time_ms: 20_000n }), event(1, observed({ stack: ["p enabled"] }), { time_ms: 30_000n })], { stream: 1n, sequence: 1n, effective_time_ms: 30_000n, stack: ["p enabled"] }],
  ["(d) the next event of the new stream is in order", [one, second, event(2, loading("z"), { stream: 2n, time_ms: 11_000n })], { stream: 2n, sequence: 2n, effective_time_ms: 11_000n, stack: ["q enabled", "z enabling"] }],
]);

/** One cell of F4: P between A and Z; `l` lingers throughout. */
type CellRow = [
  before: "absent" | "enabling" | "enabled" | "disabling",
  title: string,
  change: Parameters<typeof event>[1],
  stack: string[],
  lingering: string[],
  anomalies: string[],
];

const P_ENTERED_ENABLING = ["a enabled", "z enabled", "p enabling"];
const P_ENTERED_ENABLED = ["a enabled", "z enabled", "p enabled"];
const NO_P = ["a enabled", "z enabled"];
const P_ENABLING = ["a enabled", "p enabling", "z enabled"];
const P_ENABLED = ["a enabled", "p enabled", "z enabled"];
const P_DISABLING = ["a enabled", "p disabling", "z enabled"];

// biome-ignore format: a row a line
const CELLS: CellRow[] = [
  ["absent", "Loading", loading("p"), P_ENTERED_ENABLING, ["l"], []],
  ["absent", "Loaded", loaded("p"), P_ENTERED_ENABLED, ["l"], []],
  ["absent", "Replaced", replaced("p", ["a", "z"]), ["p enabled"], ["a", "l", "z"], []],
  ["absent", "Replaced, some left", replaced("p", ["z"]), ["a enabled", "p enabled"], ["l", "z"], ["replace_left_some"]],
  ["absent", "Replaced, one unknown", replaced("p", ["a", "z", "n"]), ["p enabled"], ["a", "l", "z"], ["left_not_on_stack"]],
  ["absent", "Disabling", disabling("p"), NO_P, ["l"], ["not_on_stack"]],
  ["absent", "Disabled", disabled("p"), NO_P, ["l"], ["not_on_stack"]],
  ["absent", "Reversed to enabling", reversed("p", "enabling"), NO_P, ["l"], ["not_on_stack"]],
  ["absent", "Reversed to disabling", reversed("p", "disabling"), NO_P, ["l"], ["not_on_stack"]],
  ["absent", "Removed, lingering", removed("l"), NO_P, [], []],
  ["absent", "Removed, not lingering", removed("p"), NO_P, ["l"], ["not_known"]],

  ["enabling", "Loading", loading("p"), P_ENABLING, ["l"], ["loaded_twice"]],
  ["enabling", "Loaded", loaded("p"), P_ENABLED, ["l"], []],
  ["enabling", "Replaced", replaced("p", ["a"]), ["p enabled", "z enabled"], ["a", "l"], []],
  ["enabling", "Replaced, some left", replaced("p"), P_ENABLED, ["l"], ["replace_left_some"]],
  ["enabling", "Replaced, a later one", replaced("p", ["a", "z"]), ["p enabled", "z enabled"], ["a", "l"], ["left_not_on_stack"]],
  ["enabling", "Disabling", disabling("p"), P_DISABLING, ["l"], ["not_allowed"]],
  ["enabling", "Disabled", disabled("p"), NO_P, ["l", "p"], ["missed_reversal"]],
  ["enabling", "Reversed to disabling", reversed("p", "disabling"), P_DISABLING, ["l"], []],
  ["enabling", "Reversed to enabling", reversed("p", "enabling"), P_ENABLING, ["l"], ["not_allowed"]],
  ["enabling", "Removed", removed("p"), NO_P, ["l"], ["removed_on_stack"]],

  ["enabled", "Loading", loading("p"), P_ENABLED, ["l"], ["loaded_twice"]],
  ["enabled", "Loaded", loaded("p"), P_ENABLED, ["l"], ["loaded_twice"]],
  ["enabled", "Replaced", replaced("p", ["a"]), ["p enabled", "z enabled"], ["a", "l"], ["loaded_twice"]],
  ["enabled", "Replaced, some left", replaced("p"), P_ENABLED, ["l"], ["loaded_twice", "replace_left_some"]],
  ["enabled", "Replaced, a later one", replaced("p", ["a", "z"]), ["p enabled", "z enabled"], ["a", "l"], ["loaded_twice", "left_not_on_stack"]],
  ["enabled", "Disabling", disabling("p"), P_DISABLING, ["l"], []],
  ["enabled", "Disabled", disabled("p"), NO_P, ["l", "p"], []],
  ["enabled", "Reversed to disabling", reversed("p", "disabling"), P_ENABLED, ["l"], ["not_in_transition"]],
  ["enabled", "Reversed to enabling", reversed("p", "enabling"), P_ENABLED, ["l"], ["not_in_transition"]],
  ["enabled", "Removed", removed("p"), NO_P, ["l"], ["removed_on_stack"]],

  ["disabling", "Loading", loading("p"), P_DISABLING, ["l"], ["loaded_twice"]],
  ["disabling", "Loaded", loaded("p"), P_ENABLED, ["l"], ["missed_reversal"]],
  ["disabling", "Replaced", replaced("p", ["a"]), ["p enabled", "z enabled"], ["a", "l"], ["missed_reversal"]],
  ["disabling", "Replaced, some left", replaced("p"), P_ENABLED, ["l"], ["missed_reversal", "replace_left_some"]],
  ["disabling", "Replaced, a later one", replaced("p", ["a", "z"]), ["p enabled", "z enabled"], ["a", "l"], ["missed_reversal", "left_not_on_stack"]],
  ["disabling", "Disabling", disabling("p"), P_DISABLING, ["l"], []],
  ["disabling", "Disabled", disabled("p"), NO_P, ["l", "p"], []],
  ["disabling", "Reversed to enabling", reversed("p", "enabling"), P_ENABLING, ["l"], []],
  ["disabling", "Reversed to disabling", reversed("p", "disabling"), P_DISABLING, ["l"], ["not_allowed"]],
  ["disabling", "Removed", removed("p"), NO_P, ["l"], ["removed_on_stack"]],
];

const f4_cells: RulesCase[] = CELLS.map(([before, title, change, stack, lingering, anomalies]) => ({
  rule: "F4",
  title: `P is ${before}: ${title}`,
  events: [
    event(
      1,
      observed({
        stack: before === "absent" ? NO_P : ["a enabled", `p ${before}`, "z enabled"],
        lingering: ["l"],
      }),
    ),
    event(2, change),
  ],
  expected: { stack, lingering, anomalies },
}));

/** A change of `p@NEW` where the stack has P: which phase it has then (null: gone), whether it lingers, what is reported. */
type BuildRow = [
  before: string,
  title: string,
  change: (p: string) => Parameters<typeof event>[1],
  becomes: string | null,
  lingers: boolean,
  anomalies: string[],
];

// biome-ignore format: a row a line
const BUILD_ROWS: BuildRow[] = [
  ["enabling", "Loading", loading, "enabling", false, ["loaded_twice"]],
  ["enabling", "Loaded", loaded, "enabled", false, []],
  ["enabling", "Replaced", replaced, "enabled", false, []],
  ["enabling", "Disabling", disabling, "disabling", false, ["not_allowed"]],
  ["enabling", "Disabled", disabled, null, true, ["missed_reversal"]],
  ["enabling", "Reversed", (p) => reversed(p, "disabling"), "disabling", false, []],
  ["enabling", "Removed", removed, null, false, ["removed_on_stack"]],
  ["enabled", "Loaded", loaded, "enabled", false, ["loaded_twice"]],
  ["enabled", "Replaced", replaced, "enabled", false, ["loaded_twice"]],
  ["enabled", "Disabling", disabling, "disabling", false, []],
  ["enabled", "Disabled", disabled, null, true, []],
  ["enabled", "Reversed", (p) => reversed(p, "disabling"), "enabled", false, ["not_in_transition"]],
  ["disabling", "Loading", loading, "disabling", false, ["loaded_twice"]],
  ["disabling", "Loaded", loaded, "enabled", false, ["missed_reversal"]],
  ["disabling", "Disabling", disabling, "disabling", false, []],
  ["disabling", "Disabled", disabled, null, true, []],
  ["disabling", "Reversed, not allowed", (p) => reversed(p, "disabling"), "disabling", false, ["not_allowed"]],
];

const f4_builds: RulesCase[] = BUILD_ROWS.flatMap(([before, title, change, becomes, lingers, anomalies]) => {
  const row = (what: string, had: string, says: string, has: string, more: string[]): RulesCase => ({
    rule: "F4",
    title: `build id, P is ${before}: ${title} ${what}`,
    events: [event(1, observed({ stack: [`${had} ${before}`] })), event(2, change(says))],
    expected: {
      stack: becomes === null ? [] : [`${has} ${becomes}`],
      lingering: lingers ? [has] : [],
      anomalies: [...anomalies, ...more],
    },
  });
  return [
    row("fills in an unknown one", "p", "p@0b", "p@0b", []),
    row("contradicts and wins", "p@0a", "p@0b", "p@0b", ["build_differs"]),
    row("says the same", "p@0a", "p@0a", "p@0a", []),
    row("without one changes none", "p@0a", "p", "p@0a", []),
  ];
});

// biome-ignore format: a row a line
const f4_more = cases("F4", [
  ["Loading takes its name out of the lingering set, with the event's reference only", [event(1, observed({ lingering: ["p@0a pinned", "q"] })), event(2, loading("p"))], { anomalies: ["missed_removal"], stack: ["p enabling"], lingering: ["q"] }],
  ["Loaded takes its name out of the lingering set", [event(1, observed({ lingering: ["p@0a"] })), event(2, loaded("p@0b"))], { anomalies: ["missed_removal"], stack: ["p@0b enabled"] }],
  ["Replaced takes its name out of the lingering set, and fills it", [event(1, observed({ stack: ["a@01 enabled"], lingering: ["p"] })), event(2, replaced("p", ["a"]))], { anomalies: ["missed_removal"], stack: ["p enabled"], lingering: ["a@01"] }],
  ["Disabling of a lingering patch does not touch it", [event(1, observed({ lingering: ["p pinned"] })), event(2, disabling("p"))], { anomalies: ["not_on_stack"], lingering: ["p pinned"] }],
  ["Disabled of a lingering patch does not touch it", [event(1, observed({ lingering: ["p pinned"] })), event(2, disabled("p"))], { anomalies: ["not_on_stack"], lingering: ["p pinned"] }],
  ["Removed looks at no build id of the lingering set", [event(1, observed({ lingering: ["p@0a pinned"] })), event(2, removed("p@0b"))], {}],
  ["Replaced looks at no build id of those that left", [event(1, observed({ stack: ["a@01 enabled", "p enabling"] })), event(2, replaced("p", ["a@02"]))], { stack: ["p enabled"], lingering: ["a@01"] }],
  ["Replaced lets patches leave in any phase", [event(1, observed({ stack: ["a disabling", "b enabling", "p enabling"] })), event(2, replaced("p", ["b", "a"]))], { stack: ["p enabled"], lingering: ["a", "b"] }],
  ["Replaced that names its own patch is of no effect there", [event(1, observed({ stack: ["p enabling"] })), event(2, replaced("p", ["p"]))], { anomalies: ["left_not_on_stack"], stack: ["p enabled"] }],
  ["Replaced that names one twice lets it leave once", [event(1, observed({ stack: ["a enabled", "p enabling"] })), event(2, replaced("p", ["a", "a"]))], { anomalies: ["left_not_on_stack"], stack: ["p enabled"], lingering: ["a"] }],
  ["Replaced that names a lingering one leaves that as it is", [event(1, observed({ stack: ["p enabling"], lingering: ["a pinned"] })), event(2, replaced("p", ["a"]))], { anomalies: ["left_not_on_stack"], stack: ["p enabled"], lingering: ["a pinned"] }],
  ["each anomaly once", [event(1, observed({ stack: ["a enabled", "b enabled", "p enabling"] })), event(2, replaced("p", ["m", "n"]))], { anomalies: ["left_not_on_stack", "replace_left_some"], stack: ["a enabled", "b enabled", "p enabled"] }],
  ["a reversed load ends with Disabled", [empty, event(2, loading("p")), event(3, reversed("p", "disabling")), event(4, disabled("p"))], { sequence: 4n, effective_time_ms: 4000n, lingering: ["p"] }],
  ["a reversed disable ends with Loaded", [one, event(2, disabling("p")), event(3, reversed("p", "enabling")), event(4, loaded("p"))], { sequence: 4n, effective_time_ms: 4000n, stack: ["p enabled"] }],
  ["`replace` on Loading and Loaded is information only", [one, event(2, { loading: { patch: { name: "q" }, replace: true } }), event(3, { loaded: { patch: { name: "q" }, replace: true } })], { sequence: 3n, effective_time_ms: 3000n, stack: ["p enabled", "q enabled"] }],
  ["Forced is recorded", [event(1, observed({ stack: ["p enabling"] })), event(2, forced("p"))], { stack: ["p enabling"], forced: true }],
  ["Forced of an absent patch is recorded and reported", [empty, event(2, forced("p"))], { anomalies: ["not_on_stack"], forced: true }],
  ["Forced of a lingering patch is of an absent one", [event(1, observed({ lingering: ["p"] })), event(2, forced("p"))], { anomalies: ["not_on_stack"], lingering: ["p"], forced: true }],
  ["Forced neither fills in nor contradicts a build id", [event(1, observed({ stack: ["p enabling", "q@0a enabled"] })), event(2, forced("p@0b")), event(3, forced("q@0b"))], { sequence: 3n, effective_time_ms: 3000n, stack: ["p enabling", "q@0a enabled"], forced: true }],
  ["Forced does not look at the phase", [one, event(2, forced("p", "disabling"))], { stack: ["p enabled"], forced: true }],
  ["Refused changes no state", [event(1, observed({ stack: ["p enabled"] })), event(2, refused("p@0b"))], { stack: ["p enabled"] }],
  ["Refused without a patch changes no state", [one, event(2, refused())], { stack: ["p enabled"] }],
  ["Stalled changes no state", [one, event(2, stalled("p@0b"))], { stack: ["p enabled"] }],
  ["Stalled of an absent patch is nothing to report", [one, event(2, stalled("q"))], { stack: ["p enabled"] }],
  ["ObjectChanged changes no state", [one, event(2, object_changed("p@0b"))], { stack: ["p enabled"] }],
]);

const full = {
  policy: ["modules_disabled", "signature_required", "ftrace_off"],
  stack: ["p@0a enabled", "q disabling"],
  lingering: ["l@0c", "m pinned"],
};

// biome-ignore format: a row a line
const f5 = cases("F5", [
  ["sets everything", [event(1, observed({ ...full, kernel_release: "6.1.0", arch: "arm64", livepatching: "NOT_BUILT" }))], { sequence: 1n, effective_time_ms: 1000n, kernel_release: "6.1.0", arch: "arm64", livepatching: "not_built", ...full }],
  ["an absent field is unknown and overwrites", [event(1, observed(full)), event(2, observed({ livepatching: null, stack: ["p enabled", "q disabling"], lingering: ["l", "m"] }))], { livepatching: null, stack: ["p enabled", "q disabling"], lingering: ["l", "m"] }],
  ["diverged: another name", [one, event(2, observed({ stack: ["q enabled"] }))], { anomalies: ["diverged"], stack: ["q enabled"] }],
  ["diverged: another phase", [one, event(2, observed({ stack: ["p disabling"] }))], { anomalies: ["diverged"], stack: ["p disabling"] }],
  ["diverged: another order", [event(1, observed({ stack: ["p enabled", "q enabled"] })), event(2, observed({ stack: ["q enabled", "p enabled"] }))], { anomalies: ["diverged"], stack: ["q enabled", "p enabled"] }],
  ["diverged: one more", [one, event(2, observed({ stack: ["p enabled", "q enabled"] }))], { anomalies: ["diverged"], stack: ["p enabled", "q enabled"] }],
  ["diverged: one fewer", [one, event(2, observed())], { anomalies: ["diverged"] }],
  ["diverged: another lingering name", [event(1, observed({ lingering: ["l"] })), event(2, observed({ lingering: ["m"] }))], { anomalies: ["diverged"], lingering: ["m"] }],
  ["diverged: one more lingering", [empty, event(2, observed({ lingering: ["m"] }))], { anomalies: ["diverged"], lingering: ["m"] }],
  ["diverged: the fold went another way", [empty, event(2, loading("p")), event(3, observed({ stack: ["p enabled"] }))], { anomalies: ["diverged"], sequence: 3n, effective_time_ms: 3000n, stack: ["p enabled"] }],
  ["as folded: nothing to report", [empty, event(2, loading("p")), event(3, loaded("p")), event(4, observed({ stack: ["p enabled"] }))], { sequence: 4n, effective_time_ms: 4000n, stack: ["p enabled"] }],
  ["not diverged: build ids and pins are not compared", [event(1, observed({ stack: ["p@0a enabled"], lingering: ["l"] })), event(2, observed({ stack: ["p@0b enabled"], lingering: ["l@0c pinned"] }))], { stack: ["p@0b enabled"], lingering: ["l@0c pinned"] }],
  ["not diverged: the order of the lingering set is none", [event(1, observed({ lingering: ["l", "m"] })), event(2, observed({ lingering: ["m", "l"] }))], { lingering: ["l", "m"] }],
  ["not diverged: policy, release and livepatching are not compared", [one, event(2, observed({ stack: ["p enabled"], kernel_release: "6.1.0", policy: ["ftrace_off"], livepatching: "NOT_BUILT" }))], { kernel_release: "6.1.0", policy: ["ftrace_off"], livepatching: "not_built", stack: ["p enabled"] }],
  ["not diverged: after a gap that stood", [empty, event(3, refused()), event(4, observed({ stack: ["p enabled"] }))], { sequence: 4n, effective_time_ms: 4000n, stack: ["p enabled"] }],
  ["not diverged: after unreadable", [empty, event(2, observed({ livepatching: "UNREADABLE" })), event(3, observed({ stack: ["p enabled"] }))], { sequence: 3n, effective_time_ms: 3000n, stack: ["p enabled"] }],
  ["not diverged: after no baseline", [event(1, loading("p")), event(2, observed())], {}],
  ["not diverged: while disputed", [empty, ...quarrel, event(3, observed({ stack: ["p enabled"] }))], { knowledge: "disputed", sequence: 3n, effective_time_ms: 3000n, stack: ["p enabled"] }],
  ["not diverged: a stream's first event", [one, event(1, observed(), { stream: 2n, time_ms: 3000n })], { stream: 2n, sequence: 1n, effective_time_ms: 3000n }],
  ["unreadable sets release, arch, boot and policy only", [event(1, observed({ livepatching: "NOT_BUILT", policy: ["ftrace_off"], stack: ["p enabled"], lingering: ["l"] })), event(2, observed({ livepatching: "UNREADABLE", kernel_release: "6.1.0", arch: "arm64", policy: ["modules_disabled"], stack: ["q enabled"], lingering: ["m"] }))], { knowledge: "unreadable", kernel_release: "6.1.0", arch: "arm64", livepatching: "not_built", policy: ["modules_disabled"], stack: ["p enabled"], lingering: ["l"] }],
  ["unreadable without a policy: none is set", [event(1, observed({ policy: ["ftrace_off"] })), event(2, observed({ livepatching: "UNREADABLE" }))], { knowledge: "unreadable" }],
  ["changes after unreadable go on from the old stack", [one, event(2, observed({ livepatching: "UNREADABLE" })), event(3, disabling("p"))], { knowledge: "unreadable", sequence: 3n, effective_time_ms: 3000n, stack: ["p disabling"] }],
]);

const in_boot_a = [event(1, observed({ boot: BOOT_A, stack: ["p enabled"] })), event(2, forced("p"))];
const p_stays = { stack: ["p enabled"] };

// biome-ignore format: a row a line
const f5_forced = cases("F5", [
  ["forced ends with another boot", [...in_boot_a, event(3, observed({ boot: BOOT_B, ...p_stays }))], { ...p_stays, sequence: 3n, effective_time_ms: 3000n, forced: false }],
  ["forced ends with another boot in a new stream", [...in_boot_a, event(1, observed({ boot: BOOT_B, ...p_stays }), { stream: 2n, time_ms: 9000n })], { ...p_stays, stream: 2n, sequence: 1n, effective_time_ms: 9000n, forced: false }],
  ["forced stays in the same boot", [...in_boot_a, event(3, observed({ boot: BOOT_A, ...p_stays }))], { ...p_stays, sequence: 3n, effective_time_ms: 3000n, forced: true }],
  ["forced stays when the boot becomes unknown", [...in_boot_a, event(3, observed({ boot: null, ...p_stays }))], { ...p_stays, sequence: 3n, effective_time_ms: 3000n, forced: true }],
  ["forced stays when an unknown boot is followed by a known one", [...in_boot_a, event(3, observed({ boot: null, ...p_stays })), event(4, observed({ boot: BOOT_B, ...p_stays }))], { ...p_stays, sequence: 4n, effective_time_ms: 4000n, forced: true }],
  ["forced ends after that with the next boot", [...in_boot_a, event(3, observed({ boot: null, ...p_stays })), event(4, observed({ boot: BOOT_B, ...p_stays })), event(5, observed({ boot: BOOT_A, ...p_stays }))], { ...p_stays, sequence: 5n, effective_time_ms: 5000n, forced: false }],
  ["forced stays where a stream without baseline lay between", [...in_boot_a, event(1, refused(), { stream: 2n, time_ms: 9000n }), event(2, observed({ boot: BOOT_B }), { stream: 2n, time_ms: 9000n })], { stream: 2n, effective_time_ms: 9000n, forced: true }],
  ["forced ends with another boot, unreadable", [...in_boot_a, event(3, observed({ boot: BOOT_B, livepatching: "UNREADABLE" }))], { ...p_stays, sequence: 3n, effective_time_ms: 3000n, knowledge: "unreadable", forced: false }],
  ["forced ends with another boot, disputed", [...in_boot_a, event(2, refused()), event(3, observed({ boot: BOOT_B, ...p_stays }))], { ...p_stays, sequence: 3n, effective_time_ms: 3000n, knowledge: "disputed", forced: false }],
  ["forced without a boot known before stays with the first", [event(1, forced("p")), event(2, observed({ boot: BOOT_A }))], { forced: true }],
]);

// biome-ignore format: a row a line
const f6 = cases("F6", [
  ["a repeated event does not move the effective time", [empty, event(1, refused(), { time_ms: 90_000n })], { effect: "repeated", anomalies: ["sequence_reused"], knowledge: "disputed", sequence: 1n, effective_time_ms: 1000n }],
  ["nor does a foreign one", [empty, second, event(2, refused(), { time_ms: 90_000n })], { ...on_second, effect: "foreign", anomalies: ["two_writers"], knowledge: "disputed", stack: ["q enabled"] }],
  ["an anomaly does not stop the fold", [empty, event(2, disabled("p")), event(3, loading("p"))], { sequence: 3n, effective_time_ms: 3000n, stack: ["p enabling"] }],
]);

function names(prefix: string, count: number): string[] {
  return Array.from({ length: count }, (_, index) => `${prefix}${index}`);
}
const s64 = names("s", 64).map((name) => `${name} enabled`);
const s63 = s64.slice(0, 63);
const l256 = names("l", 256);
const l255 = l256.slice(0, 255);
const dropped = { anomalies: ["over_limit"], knowledge: "gap" };

// biome-ignore format: a row a line
const f7 = cases("F7", [
  ["an unknown change consumes its sequence", [one, from_a_newer_publisher(2)], { anomalies: ["unknown_change"], knowledge: "gap", stack: ["p enabled"] }],
  ["so the next one is in order", [one, from_a_newer_publisher(2), event(3, disabling("p"))], { knowledge: "gap", sequence: 3n, effective_time_ms: 3000n, stack: ["p disabling"] }],
  ["an event without any change is one too", [one, event(2, {})], { anomalies: ["unknown_change"], knowledge: "gap", stack: ["p enabled"] }],
  ["an unknown change after a gap is both", [one, from_a_newer_publisher(4)], { anomalies: ["gap", "unknown_change"], knowledge: "gap", sequence: 4n, effective_time_ms: 4000n, stack: ["p enabled"] }],
  ["an unknown change as a stream's first event is no baseline", [one, from_a_newer_publisher(1, { stream: 2n, time_ms: 9000n })], { stream: 2n, sequence: 1n, effective_time_ms: 9000n, anomalies: ["unknown_change"], knowledge: "no_baseline" }],
  ["an unknown change as a host's first event is no baseline", [from_a_newer_publisher(2)], { anomalies: ["unknown_change"], knowledge: "no_baseline", kernel_release: null, arch: null, livepatching: null }],
  ["an unknown change does not lift unreadable", [event(1, observed({ livepatching: "UNREADABLE" })), from_a_newer_publisher(2)], { anomalies: ["unknown_change"], knowledge: "unreadable", livepatching: null }],
  ["an unknown change has bytes of its own", [one, from_a_newer_publisher(2), event(2, {})], { effect: "repeated", anomalies: ["sequence_reused"], knowledge: "disputed", stack: ["p enabled"] }],
  ["the 64th patch fits", [event(1, observed({ stack: s63 })), event(2, loading("p"))], { stack: [...s63, "p enabling"] }],
  ["the 65th, Loading, is not made", [event(1, observed({ stack: s64 })), event(2, loading("p"))], { ...dropped, stack: s64 }],
  ["the 65th, Loaded, is not made", [event(1, observed({ stack: s64 })), event(2, loaded("p"))], { ...dropped, stack: s64 }],
  ["the 65th, Replaced with nothing that left, is not made", [event(1, observed({ stack: s64 })), event(2, replaced("p", ["n"]))], { ...dropped, stack: s64 }],
  ["the 65th that replaces one leaves 64", [event(1, observed({ stack: s64 })), event(2, replaced("p", ["s63"]))], { anomalies: ["replace_left_some"], stack: [...s63, "p enabled"], lingering: ["s63"] }],
  ["a change of one that is there needs no room", [event(1, observed({ stack: s64 })), event(2, disabling("s0"))], { stack: ["s0 disabling", ...s64.slice(1)] }],
  ["what it would have taken out of the lingering set stays", [event(1, observed({ stack: s64, lingering: ["p pinned"] })), event(2, loading("p"))], { ...dropped, stack: s64, lingering: ["p pinned"] }],
  ["the 256th lingering fits", [event(1, observed({ stack: ["p enabled"], lingering: l255 })), event(2, disabled("p"))], { lingering: [...l255, "p"] }],
  ["the 257th, Disabled, is not made", [event(1, observed({ stack: ["p@0a disabling"], lingering: l256 })), event(2, disabled("p@0b"))], { ...dropped, stack: ["p@0a disabling"], lingering: l256 }],
  ["the 257th, Replaced, is not made at all", [event(1, observed({ stack: ["a enabled", "b enabled"], lingering: l255 })), event(2, replaced("p", ["a", "b", "n"]))], { ...dropped, stack: ["a enabled", "b enabled"], lingering: l255 }],
  ["what a replacing patch takes out makes room", [event(1, observed({ stack: ["a enabled"], lingering: l256 })), event(2, replaced("l0", ["a"]))], { anomalies: ["missed_removal"], stack: ["l0 enabled"], lingering: [...l256.slice(1), "a"] }],
  ["Removed on the stack needs no room", [event(1, observed({ stack: ["p enabled"], lingering: l256 })), event(2, removed("p"))], { anomalies: ["removed_on_stack"], lingering: l256 }],
  ["over a limit after a gap: that alone", [event(1, observed({ stack: s64 })), event(3, loading("p"))], { ...dropped, sequence: 3n, effective_time_ms: 3000n, stack: s64 }],
  ["over a limit keeps worse knowledge", [event(1, observed({ stack: s64 })), event(2, observed({ livepatching: "UNREADABLE" })), event(3, loading("p"))], { anomalies: ["over_limit"], knowledge: "unreadable", sequence: 3n, effective_time_ms: 3000n, stack: s64 }],
  ["over a limit keeps the event's bytes", [event(1, observed({ stack: s64 })), event(2, loading("p")), event(2, loading("q"))], { effect: "repeated", anomalies: ["sequence_reused"], knowledge: "disputed", stack: s64 }],
  ["an Observed may carry as many as fit", [event(1, observed({ stack: s64, lingering: l256 }))], { sequence: 1n, effective_time_ms: 1000n, stack: s64, lingering: l256 }],
]);

// biome-ignore format: a row a line
const f8 = cases("F8", [
  ["the effective time is the event's own", [event(1, observed(), { time_ms: 7n, log_time_ms: 9n })], { sequence: 1n, effective_time_ms: 7n }],
  ["clamped to the record's log time", [event(1, observed(), { time_ms: 18_446_744_073_709_551_615n, log_time_ms: 9n })], { sequence: 1n, effective_time_ms: 9n }],
  ["it never decreases", [event(1, observed(), { time_ms: 8000n }), event(2, loading("p"), { time_ms: 7000n })], { effective_time_ms: 8000n, stack: ["p enabling"] }],
  ["nor through another stream", [event(1, observed(), { time_ms: 1000n }), event(2, refused(), { time_ms: 8000n }), event(1, observed(), { stream: 2n, time_ms: 5000n })], { stream: 2n, sequence: 1n, effective_time_ms: 8000n }],
  ["a time of 0 is a time", [event(1, observed(), { time_ms: 0n })], { sequence: 1n, effective_time_ms: 0n }],
  ["64-bit streams and 32-bit sequences", [event(4_294_967_294, observed(), { stream: 18_446_744_073_709_551_615n, time_ms: 1n }), event(4_294_967_295, refused(), { stream: 18_446_744_073_709_551_615n, time_ms: 2n })], { stream: 18_446_744_073_709_551_615n, sequence: 4_294_967_295n, effective_time_ms: 2n }],
  ["streams that differ in the upper half only", [event(1, observed({ stack: ["p enabled"] }), { stream: 0x1_0000_0005n }), event(2, refused(), { stream: 0x2_0000_0005n })], { stream: 0x2_0000_0005n, knowledge: "no_baseline" }],
]);

export const rules_table: RulesCase[] = [
  ...f1,
  ...f2,
  ...f3,
  ...f4_cells,
  ...f4_builds,
  ...f4_more,
  ...f5,
  ...f5_forced,
  ...f6,
  ...f7,
  ...f8,
];
