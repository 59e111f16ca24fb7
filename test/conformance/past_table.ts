/** The rules of past states as a table: docs/rules.md F8, as of, known at and uncertain. Expected values by hand. */
import { event, loaded, loading, observed, refused, type TableEvent } from "./table_events.js";

export interface Past {
  /** Null: nothing was known of the host. */
  stack: string[] | null;
  uncertain: boolean;
}

export interface PastSubject {
  /** One record per event, in order; `known_at_ms` undefined: all that is known now. */
  as_of(events: TableEvent[], as_of_ms: bigint, known_at_ms?: bigint): Past;
}

export interface PastCase {
  title: string;
  events: TableEvent[];
  as_of_ms: bigint;
  known_at_ms?: bigint;
  expected: Past;
}

/** Logged at 2000, 5000 and 9000; seen at 1000, 2000 and 3000. */
const late = [
  event(1, observed({ stack: ["p enabled"] }), { log_time_ms: 2000n }),
  event(2, loading("q"), { log_time_ms: 5000n }),
  event(3, loaded("q"), { log_time_ms: 9000n }),
];
/** `q` came at some time in (2000, 6000]. */
const between = [
  event(1, observed({ stack: ["p enabled"] })),
  event(2, loading("q"), { time_ms: 6000n, not_before_ms: 2000n }),
];
/** The publisher lost the kernel's log from 3000 to 4000 and says so at 8000. */
const lost = [
  event(1, observed({ stack: ["p enabled"] })),
  event(2, observed({ stack: ["p enabled"], losses: [[3000n, 4000n]] }), { time_ms: 8000n }),
];
const P = ["p enabled"];
const PQ = ["p enabled", "q enabling"];
const PQ_LOADED = ["p enabled", "q enabled"];

// biome-ignore format: a row a line
export const past_table: PastCase[] = [
  { title: "before the first event nothing is known", events: late, as_of_ms: 999n, expected: { stack: null, uncertain: false } },
  { title: "at its instant an event counts", events: late, as_of_ms: 1000n, expected: { stack: P, uncertain: false } },
  { title: "between events the earlier one counts", events: late, as_of_ms: 2999n, expected: { stack: PQ, uncertain: false } },
  { title: "after all events: now", events: late, as_of_ms: 3000n, expected: { stack: PQ_LOADED, uncertain: false } },
  { title: "known before the first record: nothing", events: late, as_of_ms: 9000n, known_at_ms: 1999n, expected: { stack: null, uncertain: false } },
  { title: "known at a record's log time", events: late, as_of_ms: 9000n, known_at_ms: 5000n, expected: { stack: PQ, uncertain: false } },
  { title: "known just before it", events: late, as_of_ms: 9000n, known_at_ms: 4999n, expected: { stack: P, uncertain: false } },
  { title: "as of and known at together", events: late, as_of_ms: 1500n, known_at_ms: 9000n, expected: { stack: P, uncertain: false } },
  { title: "a time ahead of the log counts at the log time", events: [event(1, observed({ stack: P }), { time_ms: 90_000n, log_time_ms: 4000n })], as_of_ms: 4000n, expected: { stack: P, uncertain: false } },
  { title: "and not before it", events: [event(1, observed({ stack: P }), { time_ms: 90_000n, log_time_ms: 4000n })], as_of_ms: 3999n, expected: { stack: null, uncertain: false } },
  { title: "log times are a running maximum", events: [event(1, observed({ stack: P }), { time_ms: 4000n, log_time_ms: 8000n }), event(2, loading("q"), { time_ms: 7000n, log_time_ms: 5000n })], as_of_ms: 7000n, known_at_ms: 7999n, expected: { stack: null, uncertain: false } },
  { title: "and clamp with it", events: [event(1, observed({ stack: P }), { time_ms: 4000n, log_time_ms: 8000n }), event(2, loading("q"), { time_ms: 7000n, log_time_ms: 5000n })], as_of_ms: 6999n, expected: { stack: P, uncertain: false } },
  { title: "an event seen earlier than the one before it counts with that", events: [event(1, observed({ stack: P }), { time_ms: 5000n }), event(2, loading("q"), { time_ms: 2000n })], as_of_ms: 4999n, expected: { stack: null, uncertain: false } },
  { title: "a reused number disputes from the instant of the event before it", events: [event(1, observed({ stack: P })), event(1, refused(), { time_ms: 9000n })], as_of_ms: 1000n, expected: { stack: P, uncertain: false } },
  { title: "at not_before it is certain", events: between, as_of_ms: 2000n, expected: { stack: P, uncertain: false } },
  { title: "just after not_before it is not", events: between, as_of_ms: 2001n, expected: { stack: P, uncertain: true } },
  { title: "at the event's own time it is not", events: between, as_of_ms: 6000n, expected: { stack: PQ, uncertain: true } },
  { title: "after the event's own time it is", events: between, as_of_ms: 6001n, expected: { stack: PQ, uncertain: false } },
  { title: "doubt ends at the log time", events: [event(1, observed({ stack: P }), { time_ms: 90_000n, not_before_ms: 1000n, log_time_ms: 4000n })], as_of_ms: 4001n, expected: { stack: P, uncertain: false } },
  { title: "what is not known yet casts no doubt", events: [...late.slice(0, 1), event(2, loading("q"), { time_ms: 6000n, not_before_ms: 1500n, log_time_ms: 9000n })], as_of_ms: 3000n, known_at_ms: 8999n, expected: { stack: P, uncertain: false } },
  { title: "nothing known, and in doubt", events: [event(1, observed({ stack: P }), { time_ms: 6000n, not_before_ms: 1000n })], as_of_ms: 3000n, expected: { stack: null, uncertain: true } },
  { title: "an effective time moved by an earlier event moves no doubt", events: [event(1, observed({ stack: P }), { time_ms: 9000n }), event(2, loading("q"), { time_ms: 6000n, not_before_ms: 5000n })], as_of_ms: 7000n, expected: { stack: null, uncertain: false } },
  { title: "before a loss it is certain", events: lost, as_of_ms: 2999n, expected: { stack: P, uncertain: false } },
  { title: "from a loss's beginning it is not", events: lost, as_of_ms: 3000n, expected: { stack: P, uncertain: true } },
  { title: "to its end, that included", events: lost, as_of_ms: 4000n, expected: { stack: P, uncertain: true } },
  { title: "after it, it is certain", events: lost, as_of_ms: 4001n, expected: { stack: P, uncertain: false } },
  { title: "a repeated event casts no doubt", events: [event(1, observed({ stack: P })), event(1, loading("q"), { time_ms: 9000n, not_before_ms: 2000n })], as_of_ms: 5000n, expected: { stack: P, uncertain: false } },
  { title: "an unreadable Observed's loss counts", events: [event(1, observed({ stack: P })), event(2, observed({ livepatching: "UNREADABLE", losses: [[3000n, 4000n]] }), { time_ms: 8000n })], as_of_ms: 3500n, expected: { stack: P, uncertain: true } },
];
