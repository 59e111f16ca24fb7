/**
 * What each applied event changed on its host, and what became of system states: docs/rules.md K11, written to be read
 * beside that page. With one catalog for all of it.
 */
import { klpstate } from "#services/events/proto.js";
import type { StateChange } from "#services/events/state_change.js";
import { type CatalogModel, resolve } from "./catalog.js";
import type { HostModel, StackEntry } from "./fold.js";
import { events_of, type FoldedEvent, fold_log, type LogRecord } from "./registry.js";

const { HostEvent } = klpstate.v1;

/** As a reader of the topic sees it, without the event, which stands in the log. */
export type ExpectedChange = Omit<
  StateChange,
  "event" | "change" | "stream" | "sequence" | "states_left_out" | "catalog_next_offset"
>;

interface Holder {
  patch: string;
  version: number;
}

/** For each id the patch whose version is in effect: the last on the stack that has it, by its first entry. */
function holders(host: HostModel | undefined, catalog: CatalogModel): Map<bigint, Holder> {
  const found = new Map<bigint, Holder>();
  for (const entry of host?.stack ?? []) {
    const manifest = resolve(catalog, entry, host!);
    if (typeof manifest === "string" || manifest.states_unknown) continue;
    const own = new Map<bigint, Holder>();
    for (const { id, version } of manifest.states) {
      if (!own.has(id)) own.set(id, { patch: entry.name, version });
    }
    for (const [id, holder] of own) found.set(id, holder);
  }
  return found;
}

function entry_of(event: FoldedEvent, patch: string): StackEntry | undefined {
  return event.host.stack.find((entry) => entry.name === patch);
}

/** Whether the patch, which is on the stack after the last of the events, was ever enabled in this stay. */
function has_completed(history: FoldedEvent[], patch: string): boolean {
  for (const event of history.toReversed()) {
    const entry = entry_of(event, patch);
    if (entry === undefined) return false;
    if (entry.phase === "enabled") return true;
    const before = history[history.indexOf(event) - 1];
    // Seen first while it was disabled: its load lies before all that is known.
    const arrived = before === undefined || entry_of(before, patch) === undefined;
    if (arrived) return entry.phase === "disabling";
  }
  return false;
}

function lives(
  history: FoldedEvent[],
  index: number,
  catalog: CatalogModel,
): ExpectedChange["states"][number][] {
  const { event, host } = history[index]!;
  const before = history[index - 1]?.host;
  const was = holders(before, catalog);
  const is = holders(host, catalog);
  const disabled = event.change === "disabled" ? (event.disabled?.patch?.name ?? "") : null;
  const told: ExpectedChange["states"][number][] = [];
  for (const id of [...new Set([...was.keys(), ...is.keys()])].sort((a, b) => (a < b ? -1 : 1))) {
    const earlier = was.get(id);
    const later = is.get(id);
    if (later === undefined) {
      const completed = has_completed(history.slice(0, index), earlier!.patch);
      const change = earlier!.patch !== disabled ? "lost" : completed ? "withdrawn" : "undone";
      told.push({ id, change, from: earlier!.version, to: null, patch: earlier!.patch });
    } else if (earlier === undefined) {
      told.push({ id, change: "declared", from: null, to: later.version, patch: later.patch });
    } else if (earlier.patch !== later.patch || earlier.version !== later.version) {
      const stood = before!.stack.some((entry) => entry.name === later.patch);
      const returned = earlier.patch !== later.patch && stood;
      const change = returned ? "returned" : earlier.version === later.version ? "taken_over" : "updated";
      told.push({ id, change, from: earlier.version, to: later.version, patch: later.patch });
    }
  }
  return told;
}

function stands({ stack, knowledge }: HostModel): ExpectedChange["after"] {
  return {
    stack: stack.map(({ name, build_id, phase }) => ({ name, build_id: build_id || null, phase })),
    knowledge,
  };
}

/** In the order of their causes. `records`: the log's, with their offsets. */
export function expected_changes(
  records: readonly (LogRecord & { offset: bigint })[],
  partition: number,
  catalog: CatalogModel,
): ExpectedChange[] {
  const registry = fold_log(records);
  const next_of_host = new Map<string, number>();
  const changes: ExpectedChange[] = [];
  for (const { bytes, offset } of records) {
    for (const [index, event] of events_of(bytes).entries()) {
      const { host_id } = HostEvent.decode(event);
      const history = registry.histories.get(host_id)!;
      const at = next_of_host.get(host_id) ?? 0;
      next_of_host.set(host_id, at + 1);
      const folded = history[at]!;
      if (folded.effect !== "applied") continue;
      const before = history[at - 1]?.host;
      changes.push({
        cause: { partition, offset, index },
        host_id,
        log_time_ms: Number(folded.log_time_ms),
        effective_time_ms: Number(folded.effective_time_ms),
        before: before === undefined ? null : stands(before),
        after: stands(folded.host),
        anomalies: folded.anomalies,
        states: lives(history, at, catalog),
      });
    }
  }
  return changes;
}
