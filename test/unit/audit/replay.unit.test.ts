/** A replay as an auditor needs it: what differs is named, what is damaged hides nothing else. */
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeEach, describe, expect, test } from "vitest";
import { add_digests, format_digest } from "#services/core/digest.js";
import type { HostEvent } from "#services/events/codec.js";
import { Problem } from "#services/events/problem.js";
import { klpstate } from "#services/events/proto.js";
import { frames_of } from "#services/log/frame.js";
import { KERNEL, observed, TIME_MS } from "../core/fleet.js";
import { hosts_of, Live, Logs, PARTITIONS } from "./fixtures.js";

const [first, second, third, fourth] = hosts_of(0, 4) as [string, string, string, string];
const elsewhere = hosts_of(1, 2);

function loaded(host_id: string, sequence: number, name: string): HostEvent {
  return { host_id, stream: 1, sequence, time_unix_ms: TIME_MS, loaded: { patch: { name } } };
}

/** The state of a host that was observed with nothing, or to which one patch was added, in the document's words. */
function document(host_id: string, sequence: number, stack: string[]) {
  return {
    host_id,
    stream: "1",
    sequence: String(sequence),
    ...KERNEL,
    livepatching: "supported",
    policy: { modules_disabled: false, signature_required: false, ftrace_off: false },
    stack: stack.map((name) => ({ name, build_id: null, phase: "enabled" })),
    lingering: [],
    forced: false,
    knowledge: "complete",
  };
}

let logs: Logs;

beforeEach(async () => {
  logs = new Logs();
  await logs.append(0, [
    observed(first),
    observed(second),
    loaded(second, 2, "kp_2"),
    observed(third),
    loaded(first, 2, "kp_1"),
  ]);
  await logs.append(
    1,
    elsewhere.map((host_id) => observed(host_id)),
  );
});

function segment_of(partition: number): string {
  const directory = join(logs.directory, "log", String(partition));
  return join(directory, readdirSync(directory).find((name) => name.endsWith(".log"))!);
}

test("a live state that the log gives matches, with the digest that the rules give", async () => {
  const report = await logs.replay(new Live(logs));
  expect(report).toMatchObject({
    matches: true,
    partitions: [
      {
        partition: 0,
        next: "5",
        hosts: 3,
        events: 5,
        matches: true,
        digest: logs.digest(0),
        difference: null,
      },
      {
        partition: 1,
        next: "2",
        hosts: 2,
        events: 2,
        matches: true,
        digest: logs.digest(1),
        difference: null,
      },
    ],
  });
  const sum = add_digests([0, 1].map((partition) => BigInt(`0x${logs.digest(partition)}`)));
  expect(report.digest).toBe(format_digest(sum));
});

describe("a live state that has missed a record", () => {
  const replay_without = (...offsets: number[]) =>
    logs.replay(
      new Live(
        logs,
        offsets.map((offset) => logs.records[0]![offset]!),
      ),
    );

  test("differs in the host that the record was of; both states are told", async () => {
    const { matches, partitions } = await replay_without(2);
    expect(matches).toBe(false);
    expect(partitions[0]).toMatchObject({ matches: false, damaged: null, digest: logs.digest(0) });
    expect(partitions[0]!.difference).toEqual({
      next: "5",
      host_id: second,
      hosts_differing: 1,
      live: document(second, 1, []),
      replayed: document(second, 2, ["kp_2"]),
    });
    expect(partitions[1]).toMatchObject({ matches: true, difference: null });
  });

  test("differs in all hosts that it touched; the first in the order of the hosts is told", async () => {
    const { partitions } = await replay_without(4, 2);
    expect(partitions[0]!.difference).toMatchObject({ host_id: first, hosts_differing: 2 });
  });

  test("by which a host is unknown lacks that host only, not those that come behind it", async () => {
    const { partitions } = await replay_without(0, 4);
    expect(partitions[0]!.difference).toEqual({
      next: "5",
      host_id: first,
      hosts_differing: 1,
      live: null,
      replayed: document(first, 2, ["kp_1"]),
    });
  });
});

test("a host that only the live state knows is told without a replayed state", async () => {
  const live = new Live(logs, [], [{ partition: 0, event: observed(fourth, { stack: ["kp_4"] }) }]);
  const { partitions } = await logs.replay(live);
  expect(partitions[0]!.difference).toEqual({
    next: "5",
    host_id: fourth,
    hosts_differing: 1,
    live: document(fourth, 1, ["kp_4"]),
    replayed: null,
  });
});

describe("a live state that goes on while it is looked at", () => {
  test("is told at the position where both states were taken", async () => {
    const live = new Live(logs, [logs.records[0]![2]!]);
    live.before_host_state = async () => {
      live.before_host_state = async () => {};
      await logs.append(0, [loaded(second, 3, "kp_3")]);
    };
    const { partitions } = await logs.replay(live);
    expect(partitions[0]).toMatchObject({ next: "5", matches: false });
    // Sequence 2 is missing there, so the live state has a gap.
    expect(partitions[0]!.difference).toEqual({
      next: "6",
      host_id: second,
      hosts_differing: 1,
      live: { ...document(second, 3, ["kp_3"]), knowledge: "gap" },
      replayed: document(second, 3, ["kp_2", "kp_3"]),
    });
  });

  test("and has the replay's state by then differs nowhere; that it did is still said", async () => {
    const live = new Live(logs, [logs.records[0]![2]!]);
    live.before_host_state = async () => {
      live.before_host_state = async () => {};
      await logs.append(0, [observed(second, { sequence: 3, stack: ["kp_2"] })]);
    };
    const { matches, partitions } = await logs.replay(live);
    expect([matches, partitions[0]!.matches, partitions[0]!.difference]).toEqual([false, false, null]);
  });
});

describe("damage", () => {
  /** In the second commit. */
  function flip_byte_of(partition: number): { file: string; byte: number } {
    const file = segment_of(partition);
    const bytes = readFileSync(file);
    const [commit, seal] = [...frames_of(bytes)];
    const byte = commit!.length + seal!.length;
    bytes[byte + 50]! ^= 1;
    writeFileSync(file, bytes);
    return { file, byte };
  }

  test("is named with file, byte and offset, and hides no other partition", async () => {
    await logs.append(0, [loaded(third, 2, "kp_3"), loaded(third, 3, "kp_4")]);
    const { file, byte } = flip_byte_of(0);
    const report = await logs.replay(new Live(logs));
    expect(report).toMatchObject({ matches: false, digest: null });
    expect(report.partitions[0]).toMatchObject({ matches: null, digest: null, next: "5", events: 5 });
    expect(report.partitions[0]!.damaged).toContain(`${file} at byte ${byte} (offset 5)`);
    expect(report.partitions[1]).toMatchObject({ matches: true, damaged: null, digest: logs.digest(1) });
  });
});

describe("a partition that is not served", () => {
  test("is replayed to the end of its log all the same, and is no match", async () => {
    const report = await logs.replay(new Live(logs), logs.questions({ broken: "its memory is full" }));
    expect(report).toMatchObject({ matches: false });
    for (const partition of [0, 1]) {
      expect(report.partitions[partition]).toMatchObject({
        digest: logs.digest(partition),
        matches: null,
        damaged: null,
        broken: "its memory is full",
      });
    }
  });

  test("is told also where it breaks when the replay has begun", async () => {
    const live = new Live(logs);
    live.digest = () => Promise.reject(new Problem("unavailable", "it broke"));
    const { matches, partitions } = await logs.replay(live);
    expect(matches).toBe(false);
    expect(partitions.map(({ broken }) => broken)).toEqual(Array(PARTITIONS).fill("it broke"));
  });
});

describe("an end that is asked for", () => {
  const question = (to: bigint, past: boolean) => logs.questions({ to, past }).slice(0, 1);

  test("within a commit takes the records below it only, and is compared with nothing", async () => {
    for (let count = 0; count < 5; count++) {
      const live = new Live(logs);
      live.digest = () => Promise.reject(new Error("nobody has to know"));
      const report = await logs.replay(live, question(BigInt(count), true));
      expect(report).toMatchObject({ matches: null, digest: logs.digest(0, count) });
      expect(report.partitions).toMatchObject([{ next: String(count), events: count, matches: null }]);
    }
  });

  test("that is the live one is compared", async () => {
    expect(await logs.replay(new Live(logs), question(5n, false))).toMatchObject({ matches: true });
  });

  test("that was the live one until just now is not", async () => {
    const live = new Live(logs);
    await logs.append(0, [loaded(first, 3, "kp_5")]);
    const report = await logs.replay(live, question(5n, false));
    expect(report).toMatchObject({ matches: null, digest: logs.digest(0, 5) });
  });
});

test("a state's document has every fact of the canonical message", async () => {
  const { Livepatching, Phase } = klpstate.v1;
  const host_id = first;
  const changed: HostEvent = {
    host_id,
    stream: 2,
    sequence: 1,
    time_unix_ms: TIME_MS,
    observed: {
      ...KERNEL,
      livepatching: Livepatching.NOT_BUILT,
      stack: [{ patch: { name: "kp_9", build_id: Uint8Array.of(0xab, 0x12) }, phase: Phase.DISABLING }],
      lingering: [{ patch: { name: "kp_1" }, pinned: true }],
      policy: { signature_required: true },
    },
  };
  const forced: HostEvent = {
    ...{ host_id, stream: 2, sequence: 2, time_unix_ms: TIME_MS },
    forced: { patch: { name: "kp_9" }, phase: Phase.DISABLING },
  };
  await logs.append(0, [changed, forced]);
  const { partitions } = await logs.replay(
    new Live(logs, logs.records[0]!.slice(0, 1).concat(logs.records[0]!.slice(4))),
  );
  expect(partitions[0]!.difference).toMatchObject({
    live: null,
    replayed: {
      host_id,
      stream: "2",
      sequence: "2",
      ...KERNEL,
      livepatching: "not_built",
      policy: { modules_disabled: false, signature_required: true, ftrace_off: false },
      stack: [{ name: "kp_9", build_id: "ab12", phase: "disabling" }],
      lingering: [{ name: "kp_1", build_id: null, pinned: true }],
      forced: true,
      knowledge: "complete",
    },
  });
});
