/** The hand-made tables of the rules, on the plain model. */

import { describe, expect, test } from "vitest";
import { klpstate } from "#services/events/proto.js";
import { fold_catalog } from "../model/catalog.js";
import { verdict } from "../model/check.js";
import type { HostModel } from "../model/fold.js";
import { apply_record, as_of, batch_of, fold_log, type LogRecord, new_registry } from "../model/registry.js";
import { type CheckSubject, checks_table, NO_VERDICT } from "./checks_table.js";
import { type PastSubject, past_table } from "./past_table.js";
import { type Outcome, rules_table, type Subject, USUAL } from "./rules_table.js";
import { HOST, type TableEvent } from "./table_events.js";

function record_of({ bytes, log_time_ms }: TableEvent): LogRecord {
  return { bytes: batch_of([bytes]), log_time_ms };
}

function reference(entry: { name: string; build_id: string }): string {
  return entry.build_id === "" ? entry.name : `${entry.name}@${entry.build_id}`;
}

function stack_of(host: HostModel): string[] {
  return host.stack.map((entry) => `${reference(entry)} ${entry.phase}`);
}

const model: Subject & PastSubject & CheckSubject = {
  fold(events) {
    const registry = new_registry();
    return events.map((event) => {
      const [folded] = apply_record(registry, record_of(event));
      const { host, effect, anomalies, effective_time_ms } = folded!;
      return {
        effect,
        anomalies,
        knowledge: host.knowledge,
        kernel_release: host.kernel_release,
        arch: host.arch,
        livepatching: host.livepatching,
        policy: Object.entries(host.policy).flatMap(([name, is_set]) => (is_set ? [name] : [])),
        stack: stack_of(host),
        lingering: [...host.lingering.values()].map(
          (entry) => reference(entry) + (entry.pinned ? " pinned" : ""),
        ),
        forced: host.forced,
        stream: host.stream,
        sequence: host.sequence,
        effective_time_ms,
      };
    });
  },
  as_of(events, as_of_ms, known_at_ms) {
    const past = as_of(fold_log(events.map(record_of)), HOST, as_of_ms, known_at_ms);
    return { stack: past.host === null ? null : stack_of(past.host), uncertain: past.uncertain };
  },
  check(events, catalog, candidate) {
    const host = fold_log(events.map(record_of)).hosts.get(HOST)!;
    return verdict(host, fold_catalog(catalog), candidate);
  },
};

function in_any_order(outcome: Outcome): Outcome {
  return {
    ...outcome,
    anomalies: outcome.anomalies.toSorted(),
    policy: outcome.policy.toSorted(),
    lingering: outcome.lingering.toSorted(),
  };
}

describe("the plain model", () => {
  test.each(rules_table)("$rule $title", ({ events, expected }) => {
    expect(in_any_order(model.fold(events).at(-1)!)).toEqual(in_any_order({ ...USUAL, ...expected }));
  });

  test.each(past_table)("F8 $title", ({ events, as_of_ms, known_at_ms, expected }) => {
    expect(model.as_of(events, as_of_ms, known_at_ms)).toEqual(expected);
  });

  test.each(checks_table)("C $title", ({ events, catalog, candidate, expected }) => {
    const [name, build_id] = candidate.split("@");
    const asked = build_id === undefined ? { name: name! } : { name: name!, build_id };
    expect(model.check(events, catalog, asked)).toEqual({ ...NO_VERDICT, ...expected });
  });

  test("every title is there once", () => {
    const titles = [
      ...rules_table.map(({ rule, title }) => `${rule} ${title}`),
      ...past_table.map(({ title }) => `F8 past ${title}`),
      ...checks_table.map(({ title }) => `C ${title}`),
    ];
    expect(titles.length).toBe(new Set(titles).size);
  });
});

describe("the table's events", () => {
  test.each(rules_table)("$rule $title: decode", ({ events }) => {
    for (const { bytes } of events) expect(klpstate.v1.HostEvent.decode(bytes).host_id).toBe(HOST);
  });
});
