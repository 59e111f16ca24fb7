/** Tables and memory grow under a fleet without a host, a name or a view being lost. */
import { describe, expect, test } from "vitest";
import { host_state } from "../../model/from_core.js";
import { fold_log, log_of, new_core, observed, TIME_MS } from "./fleet.js";

const HOSTS = 200_000;

function* fleet(from: number, to: number) {
  for (let i = from; i < to; i++) {
    yield observed(`host-${i}.example`, {
      stack: [`p${i % 1_000}`],
      time_ms: TIME_MS - (i % 5_000) * 60_000,
    });
  }
}

describe("a fleet of 200,000 hosts", () => {
  const records = log_of(fleet(0, HOSTS), 200);
  const core = new_core();

  test("is found host by host, and nobody else", () => {
    expect(fold_log(core, records)).toBe("folded");
    expect(core.host_count).toBe(HOSTS);
    for (let i = 0; i < HOSTS; i++) {
      if (core.find_host(`host-${i}.example`) !== i) throw new Error(`host ${i} is not where it was put`);
    }
    for (let i = HOSTS; i < HOSTS + 20_000; i++) {
      if (core.find_host(`host-${i}.example`) !== null) throw new Error(`host ${i} was never put`);
    }
    expect(core.host(HOSTS - 1).host_id).toBe(`host-${HOSTS - 1}.example`);
  });

  test("is counted by configuration and by minute", () => {
    expect(core.configuration_count).toBe(1_000);
    for (const id of core.configurations()) expect(core.configuration(id).hosts).toBe(HOSTS / 1_000);
    const minute = Math.floor(TIME_MS / 60_000);
    expect(core.hosts_before_minute(minute - 2_499)).toBe(HOSTS / 2);
    expect(core.hosts_before_minute(minute)).toBe(HOSTS - HOSTS / 5_000);
    expect(core.hosts_before_minute(minute + 1)).toBe(HOSTS);
  });

  test("has every canonical state once", () => {
    let hosts = 0;
    let bytes = 0;
    for (const state of core.host_states()) {
      hosts++;
      bytes += state.length;
    }
    expect(hosts).toBe(HOSTS);
    expect(bytes).toBeGreaterThan(HOSTS * 40);
    const other = new_core({ seed: 99n });
    expect(fold_log(other, records.slice(0, 100))).toBe("folded");
    for (const host of [0, 1, 9_999, 19_999]) expect(host_state(other, host)).toEqual(host_state(core, host));
  });
});

describe("memory that grows", () => {
  test("leaves every answer as it was", () => {
    const core = new_core();
    fold_log(core, log_of(fleet(0, 1_000), 100));
    const answers = () => {
      const { hosts, ...configuration } = core.configuration(core.host(0).configuration);
      return [
        core.host(0),
        configuration,
        core.version_at(0, 0, 1n),
        host_state(core, 7),
        core.find_host("host-7.example"),
      ];
    };
    const before = answers();
    const states_before = Array.from(core.host_states(), (state) => Buffer.from(state).toString("hex"));
    const used_bytes = core.memory_used_bytes;
    fold_log(core, log_of(fleet(1_000, 60_000), 100, core.next_offset));
    expect(core.memory_used_bytes).toBeGreaterThan(used_bytes + (4 << 20));
    expect(answers()).toEqual(before);
    const states = Array.from(core.host_states(), (state) => Buffer.from(state).toString("hex"));
    expect(states.slice(0, 1_000)).toEqual(states_before);
  });

  test("in the middle of telling states does not break the tale", () => {
    const core = new_core();
    fold_log(core, log_of(fleet(0, 30_000), 100));
    const told: string[] = [];
    for (const state of core.host_states()) {
      const text = Buffer.from(state).toString("hex");
      if (told.length === 0) fold_log(core, log_of(fleet(30_000, 60_000), 100, core.next_offset));
      told.push(text);
    }
    const afterwards = Array.from(core.host_states(), (state) => Buffer.from(state).toString("hex"));
    expect(told).toEqual(afterwards);
    expect(told).toHaveLength(60_000);
  });

  test("serves what was put into the input by a view made before it", () => {
    const core = new_core();
    fold_log(core, log_of(fleet(0, 60_000), 100));
    const [record] = log_of([observed("late")], 1, core.next_offset);
    core.input(record!.bytes.length).set(record!.bytes);
    expect(core.fold_record(record!.bytes, { offset: record!.offset, index: 0 }, TIME_MS)).toBe("folded");
    expect(core.find_host("late")).toBe(60_000);
  });
});
