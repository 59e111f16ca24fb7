/** A core that starts again has forgotten everything and gives what a new one gives. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Core } from "#services/core/core.js";
import { digest_of_core } from "#services/core/digest.js";
import { CoreCatalog, check, host_state } from "../../model/from_core.js";
import { random_catalog, random_log } from "../../model/random.js";
import { ALONE, fold_log, log_of, new_core, observed } from "./fleet.js";

const SEED = 20_261_124;
const [records] = fc.sample(random_log({ hosts_max: 6, steps_max: 120 }), { seed: SEED, numRuns: 1 });
const [catalog] = fc.sample(random_catalog(40), { seed: SEED, numRuns: 1 });

/** Everything that a core says, numbers of hosts and configurations too. */
function everything(core: Core): unknown {
  const of_core = new CoreCatalog(core);
  for (const record of catalog!) of_core.apply(record);
  const outcomes: unknown[] = [];
  for (const [at, { bytes, log_time_ms }] of records!.entries()) {
    core.fold_record(bytes, { offset: BigInt(at), index: 0 }, Number(log_time_ms));
    for (let i = 0; i < core.outcome_count; i++) outcomes.push(core.outcome(i));
  }
  core.fold_record(Uint8Array.of(0), { offset: 1_000n, index: 0 }, 0);
  const quarantined = core.quarantined();
  const hosts = Array.from({ length: core.host_count }, (_, host) => [
    core.host(host),
    Buffer.from(host_state(core, host)).toString("hex"),
  ]);
  const configurations = [...core.configurations()].map((id) => [id, core.configuration(id)]);
  const checks = ["kp_1", "kp_2", "kp_3"].map((name) => check(core, { name }));
  const minute = Math.floor(core.log_time_ms / 60_000) - 1_000;
  return {
    outcomes,
    quarantined,
    hosts,
    configurations,
    checks,
    aged: core.age_check(minute),
    old: core.hosts_before_minute(minute),
    anomalies: core.anomalies_seen(),
    counts: [core.events_folded, core.records_quarantined, core.next_offset, core.log_time_ms],
    memory: core.memory_used_bytes,
    digest: digest_of_core(core),
  };
}

describe("a core that starts again", () => {
  test("knows nothing", () => {
    const core = new_core();
    const empty = {
      hosts: 0,
      configurations: 0,
      outcomes: 0,
      quarantined: [],
      aged: [],
      anomalies: core.anomalies_seen(),
      counts: [0, 0, 0n, 0, null],
      before: 0,
      memory: core.memory_used_bytes,
    };
    everything(core);
    core.restart(ALONE);
    expect({
      hosts: core.host_count,
      configurations: core.configuration_count,
      outcomes: core.outcome_count,
      quarantined: core.quarantined(),
      aged: core.age_check(2 ** 31),
      anomalies: core.anomalies_seen(),
      counts: [
        core.events_folded,
        core.records_quarantined,
        core.next_offset,
        core.log_time_ms,
        core.stopped_at,
      ],
      before: core.hosts_before_minute(2 ** 31),
      memory: core.memory_used_bytes,
    }).toEqual(empty);
    expect(core.find_host("h0")).toBeNull();
    expect([...core.configurations()]).toEqual([]);
    expect([...core.host_states()]).toEqual([]);
    expect(core.check("kp_1", new Uint8Array())).toEqual([]);
  });

  test("says what a new one says, to the last number", () => {
    const core = new_core();
    const first = everything(core);
    core.restart(ALONE);
    expect(everything(core)).toEqual(first);
  });

  test("also after it was full, and with the memory that it is given now", () => {
    const core = new_core({ memory_bytes_max: new_core().memory_used_bytes + (12 << 20) });
    const fleet = log_of(
      Array.from({ length: 60_000 }, (_, i) => observed(`h${i}`, { stack: [`p${i}`] })),
      200,
    );
    expect(fold_log(core, fleet)).toBe("partition_full");
    core.restart(ALONE);
    expect(everything(core)).toEqual(everything(new_core()));
  });

  test("takes another partition's hosts if it is that partition now", () => {
    const core = new_core();
    const [record] = log_of([observed("h")], 1);
    for (const partition of [0, 1]) {
      core.restart({ partition, partitions: 2 });
      const belongs = core.takes_record(record!.bytes);
      core.restart({ partition: 1 - partition, partitions: 2 });
      expect(core.takes_record(record!.bytes)).toBe(!belongs);
    }
  });

  test("answers the same whatever seed spreads its tables", () => {
    const { hosts, digest } = everything(new_core({ seed: 1n })) as Record<string, unknown>;
    expect(everything(new_core({ seed: 2n ** 64n - 1n }))).toMatchObject({ hosts, digest });
  });
});
