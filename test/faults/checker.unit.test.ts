/** Whether the checker of test/faults finds what is wrong: what clients saw, with one thing changed that cannot be. */
import { describe, expect, test } from "vitest";
import { encode_batch, encode_event } from "#services/events/codec.js";
import { klpstate } from "#services/events/proto.js";
import { check, type OrderRule, type Promised } from "./checker.js";
import type {
  AskCheck,
  AskFleet,
  AskHistory,
  AskHost,
  Operation,
  Publish,
  PublishManifest,
} from "./operations.js";
import { Truth } from "./truth.js";

const HOST = "web-1";
/** Of two partitions by Kafka's rule. */
const PARTITION = 1;
const KERNEL = { kernel_release: "6.12.1", arch: "x86_64" };

const event = (sequence: number, change: object) =>
  encode_event({ host_id: HOST, stream: 7, sequence, time_unix_ms: 1_000 + sequence, ...change });
const observed = event(1, { observed: { ...KERNEL, livepatching: klpstate.v1.Livepatching.SUPPORTED } });
const loaded = event(2, { loaded: { patch: { name: "kp_1" } } });
const disabled = event(3, { disabled: { patch: { name: "kp_1" } } });

const record = (offset: number, bytes: Uint8Array) => ({
  offset: BigInt(offset),
  bytes: encode_batch([bytes]),
  log_time_ms: 10_000n,
});
const manifest = {
  published: { name: "kp_2", ...KERNEL, replace: true, states: [{ id: 1, version: 1 }] },
};
/** With a hole at 1, as a control record leaves one. */
const truth = new Truth({
  host_events: [[], [record(0, observed), record(2, loaded), record(3, disabled)]],
  catalog: [{ offset: 0n, bytes: klpstate.v1.CatalogRecord.encode(manifest).finish(), log_time_ms: 10_000n }],
});

const at = (offset: number) => new Map([[PARTITION, BigInt(offset)]]);
const both_at = (offset: number) => new Map([[0, 0n], ...at(offset)]);
const common = {
  id: 1,
  client: "a",
  node: "n1",
  invoked_ms: 10,
  ended_ms: 20,
  outcome: "ok",
  says: "",
} as const;

const publish: Publish = {
  ...common,
  kind: "publish",
  events: [{ host_id: HOST, bytes: observed }],
  positions: at(1),
  hosts: [{ host_id: HOST, next_sequence: "2", knowledge: "complete" }],
};
const publish_rest: Publish = {
  ...publish,
  id: 2,
  events: [loaded, disabled].map((bytes) => ({ host_id: HOST, bytes })),
  positions: at(4),
  hosts: [{ host_id: HOST, next_sequence: "4", knowledge: "complete" }],
};
const stack_of = (patches: string[]) =>
  `["6.12.1","x86_64","supported",[false,false,false],${JSON.stringify(patches.map((name) => [name, null, "enabled"]))}`;
const ask_host: AskHost = {
  ...common,
  id: 3,
  kind: "host",
  host_id: HOST,
  min_position: at(3),
  position: at(3),
  waited: false,
  host: `7 2 null ${stack_of(["kp_1"])},[],false,"complete"]`,
};
const line = (offset: number, sequence: number, change: string, stack: string[]) => ({
  partition: PARTITION,
  offset: BigInt(offset),
  index: 0,
  text: JSON.stringify(["7", String(sequence), change, "applied", [], stack, "complete"]),
});
const ask_history: AskHistory = {
  ...common,
  id: 4,
  kind: "history",
  host_id: HOST,
  min_position: at(4),
  position: null,
  waited: false,
  after: { partition: PARTITION, offset: 0n, index: 0 },
  lines: [line(2, 2, "loaded", ["kp_1"]), line(3, 3, "disabled", [])],
  more: false,
};
const ask_check: AskCheck = {
  ...common,
  id: 5,
  kind: "check",
  candidate: "kp_2",
  catalog: 1n,
  complete: true,
  missing_partitions: [],
  min_position: at(2),
  position: both_at(2),
  waited: false,
  hosts: { total: 1, ok: 1, unknown: 0, stale: 1, uncertain: 0 },
};
const ask_fleet: AskFleet = {
  ...common,
  id: 6,
  kind: "fleet",
  complete: true,
  missing_partitions: [],
  min_position: null,
  position: both_at(2),
  waited: false,
  rows: [
    {
      ...KERNEL,
      livepatching: "supported",
      policy: { modules_disabled: false, signature_required: false, ftrace_off: false },
      stack: [],
      lingering: [],
      knowledge: "complete",
      forced: false,
      warnings: [],
      hosts: 1,
    },
  ],
};
const manifest_published: PublishManifest = {
  ...common,
  id: 8,
  kind: "manifest",
  name: "kp_2",
  offset: 0n,
};
const all: Operation[] = [
  publish,
  publish_rest,
  ask_host,
  ask_history,
  ask_check,
  ask_fleet,
  manifest_published,
];

const STRICT: OrderRule = { only_waited: false, slack_ms: 0, disturbed: [] };

/** The promises that are broken where one operation is another one. */
function broken(changed: Operation[], order = STRICT): Promised[] {
  const operations = all.map((each) => changed.find(({ id }) => id === each.id) ?? each);
  const added = changed.filter(({ id }) => !all.some((each) => each.id === id));
  const { violations } = check([...operations, ...added], truth, order);
  return [...new Set(violations.map(({ promise }) => promise))];
}

test("nothing is found where everything is as it was told", () => {
  const { violations, looked_at } = check(all, truth, STRICT);
  expect(violations).toEqual([]);
  const { refused: _, ...rest } = looked_at;
  for (const [promise, count] of Object.entries(rest)) expect(count, promise).toBeGreaterThan(0);
});

describe("the checker finds", () => {
  test.for<[string, Promised, Operation]>([
    [
      "an acknowledged event that is not in the log",
      "stored",
      {
        ...publish,
        events: [
          ...publish.events,
          { host_id: HOST, bytes: event(9, { removed: { patch: { name: "kp_9" } } }) },
        ],
      },
    ],
    ["an event that stands behind what was acknowledged", "stored", { ...publish_rest, positions: at(3) }],
    ["an acknowledgement without a position", "stored", { ...publish_rest, positions: new Map() }],
    [
      "a host that never was as it was acknowledged",
      "facts",
      { ...publish, hosts: [{ host_id: HOST, next_sequence: "9", knowledge: "complete" }] },
    ],
    [
      "a host as it was before the acknowledged position",
      "facts",
      { ...publish_rest, hosts: [{ host_id: HOST, next_sequence: "2", knowledge: "complete" }] },
    ],
    [
      "an acknowledged manifest that is not in the catalog",
      "stored",
      { ...manifest_published, name: "kp_3" },
    ],
    ["a host that is too old", "min_position", { ...ask_host, min_position: at(4) }],
    ["a host that is another one", "truth", { ...ask_host, host: "7 3" }],
    ["a host of another position", "truth", { ...ask_host, position: at(4) }],
    ["a host that is said to be unknown", "truth", { ...ask_host, host: null, position: null }],
    [
      "a history that lacks its end",
      "min_position",
      { ...ask_history, lines: ask_history.lines.slice(0, 1) },
    ],
    [
      "a history that lacks its beginning",
      "truth",
      { ...ask_history, lines: ask_history.lines.slice(1), more: true },
    ],
    [
      "a history that goes on where the log ends",
      "truth",
      { ...ask_history, lines: [...ask_history.lines, line(4, 4, "removed", [])] },
    ],
    ["a count that is too old", "min_position", { ...ask_check, min_position: at(3) }],
    [
      "a count without a partition that it does not call missing",
      "min_position",
      { ...ask_check, position: at(2), min_position: both_at(2) },
    ],
    ["a count that is wrong", "truth", { ...ask_check, hosts: { total: 1, busy: 1 } }],
    ["a count by another catalog", "truth", { ...ask_check, catalog: 0n }],
    [
      "a configuration with other counts",
      "truth",
      { ...ask_fleet, rows: [{ ...ask_fleet.rows[0]!, hosts: 2 }] },
    ],
    ["a configuration that is missing", "truth", { ...ask_fleet, rows: [] }],
    [
      "an answer that is older than one before it",
      "no_way_back",
      { ...ask_fleet, invoked_ms: 30, ended_ms: 40 },
    ],
  ])("%s", ([, promise, changed]) => {
    expect(broken([changed])).toEqual([promise]);
  });

  test("an event that was refused and is there", () => {
    const refused: Publish = { ...publish, outcome: "fail" };
    expect(broken([refused])).toEqual(["refused"]);
  });

  test("an event that nobody sent", () => {
    const { violations } = check([publish], truth, STRICT);
    expect(violations.map(({ promise }) => promise)).toEqual(["nothing_else", "nothing_else"]);
  });
});

test("what nobody can say of is neither wrong where it is there nor where it is not", () => {
  const lost = event(9, { removed: { patch: { name: "kp_9" } } });
  const unknown: Publish = {
    ...publish,
    id: 7,
    outcome: "unknown",
    events: [{ host_id: HOST, bytes: lost }],
  };
  expect(broken([unknown, { ...publish, outcome: "unknown" }])).toEqual([]);
});

describe("where a replica may be behind, an answer that is older than one before it", () => {
  const order = { only_waited: true, slack_ms: 50, disturbed: [{ from_ms: 900, to_ms: 1_000 }] };
  const late = (at_ms: number, waited: boolean): AskFleet => ({
    ...ask_fleet,
    invoked_ms: at_ms,
    ended_ms: at_ms + 5,
    waited,
  });

  test("is no mistake of a node that always ran", () => {
    expect(broken([late(100, false)], order)).toEqual([]);
  });

  test("is one of a node that stood still", () => {
    expect(broken([late(100, true)], order)).toEqual(["no_way_back"]);
  });

  test("is none so soon, and none while the ways to brokers are cut", () => {
    expect(broken([late(60, true)], order)).toEqual([]);
    expect(broken([late(950, true)], order)).toEqual([]);
  });
});
