/** Damage to the log: found, named with file, byte and offset, never served; what is not damaged serves on. */
import { appendFileSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { frames_of, view_of } from "#services/log/frame.js";
import { CheckAnswer, type HostAnswer, ReplayAnswer } from "#services/registry/answers.js";
import {
  ask,
  ask_json,
  expect_refused,
  host_path,
  json_lines,
  klpstate,
  klpstate_yes,
  post_json,
  problem_of,
  type Server,
  start_server,
  temporary_directory,
} from "./klpstate.js";
import { STREAMS_DIGEST, stream_expectations, stream_lines } from "./views.js";

const MANIFEST = { name: "kp_9", kernel_release: "6.12.117+deb12-cloud-amd64", arch: "x86_64" };
const DAMAGED = 3;
const PARTITIONS = 8;

const host_ids = stream_expectations().map(({ host_id }) => host_id);

function segment_of(data: string, log: number | "catalog"): string {
  return join(data, "log", String(log), "0".repeat(20) + ".log");
}

/** A frame in the middle of a segment: where it is, and the offset at which it begins. */
function middle_frame(file: string): { byte: number; offset: bigint } {
  const bytes = readFileSync(file);
  let byte = 0;
  for (const frame of frames_of(bytes)) {
    if (byte > bytes.length / 2) return { byte, offset: view_of(frame).getBigUint64(24, true) };
    byte += frame.length;
  }
  throw new Error(`${file} has no frame in its middle`);
}

function flip_byte(file: string, at: number): void {
  const bytes = readFileSync(file);
  bytes[at]! ^= 0x10;
  writeFileSync(file, bytes);
}

/** The streams in a registry that was stopped properly, and each host's partition. */
async function make_registry(): Promise<{ data: string; partition_of: Map<string, number> }> {
  const data = join(temporary_directory(), "registry");
  const server = await start_server(data);
  const stdin = stream_lines().join("\n");
  await klpstate_yes(["ingest", "-", "--server", server.url], { stdin });
  expect((await post_json(server, "/v1/patches", MANIFEST)).status).toBe(201);
  const partition_of = new Map<string, number>();
  for (const host_id of host_ids) {
    const { partition } = await ask_json<HostAnswer>(server, host_path(host_id));
    partition_of.set(host_id, partition);
  }
  expect(await server.stop()).toBe(0);
  return { data, partition_of };
}

describe("a byte in the middle of a sealed segment", () => {
  let server: Server;
  let whole: HostAnswer[];
  let lost: string[];
  let kept: string[];
  let named: { file: string; byte: number; offset: bigint };

  beforeAll(async () => {
    const { data, partition_of } = await make_registry();
    lost = host_ids.filter((host_id) => partition_of.get(host_id) === DAMAGED);
    kept = host_ids.filter((host_id) => partition_of.get(host_id) !== DAMAGED);
    const before = await start_server(data);
    whole = await answers_of(before, kept.slice(0, 20));
    await before.stop();
    const file = segment_of(data, DAMAGED);
    named = { file, ...middle_frame(file) };
    flip_byte(file, named.byte + 100);
    server = await start_server(data);
  });

  async function answers_of(from: Server, hosts: string[]): Promise<HostAnswer[]> {
    // Of an instant that has passed, so that nothing in the answer depends on when it was asked.
    const as_of = "2026-03-01T00:00:00Z";
    return Promise.all(
      hosts.map((host_id) => ask_json<HostAnswer>(from, host_path(host_id, `?as_of=${as_of}`))),
    );
  }

  function expect_named(text: string): void {
    expect(text).toContain(named.file);
    expect(text).toMatch(new RegExp(`byte ${named.byte}\\b.*offset ${named.offset}\\b`));
  }

  test("is named by the start, by readiness, by metrics and by every question about its hosts", async () => {
    const told = server.log().filter(({ level }) => Number(level) >= 40);
    expect(told).toHaveLength(1);
    expect_named(String(told[0]!.msg));
    const readiness = await ask_json<{ broken: { partition: number; reason: string }[] }>(server, "/readyz");
    expect(readiness).toMatchObject({
      ready: true,
      partitions: PARTITIONS,
      broken: [{ partition: DAMAGED }],
    });
    expect_named(readiness.broken[0]!.reason);
    expect((await ask(server, "/metrics")).text).toContain('klpstate_partitions{state="broken"} 1\n');
    for (const rest of ["", "?as_of=2026-02-11T00:00:00Z", "/history", "/states/1"])
      expect_named(problem_of(await ask(server, host_path(lost[0]!, rest)), 503).detail);
    const asked = await klpstate(["host", lost[0]!, "--server", server.url]);
    expect_refused(asked, named.file);
  });

  test("takes nothing from the hosts of other partitions", async () => {
    expect(await answers_of(server, kept.slice(0, 20))).toEqual(whole);
    const statuses = await Promise.all(
      kept.map(async (host_id) => (await ask(server, host_path(host_id))).status),
    );
    expect(new Set(statuses)).toEqual(new Set([200]));
  });

  test("makes a check and the fleet incomplete, which they say, and the command's answer a no", async () => {
    const checked = await klpstate(["check", "kp_9", "--json", "--server", server.url]);
    const check = CheckAnswer.parse(JSON.parse(checked.stdout));
    expect(checked.code).toBe(1);
    expect(check).toMatchObject({ complete: false, missing_partitions: [DAMAGED] });
    expect(check.hosts.total).toBe(kept.length);
    expect(Object.keys(check.at.position)).not.toContain(String(DAMAGED));
    const text = await klpstate(["check", "kp_9", "--server", server.url]);
    expect(text.stdout).toMatch(/incomplete/i);

    const hosts = await klpstate(["check", "kp_9", "--hosts", "--json", "--server", server.url]);
    expect(hosts.code).toBe(1);
    expect(
      json_lines(hosts.stdout)
        .map(({ host_id }) => host_id)
        .sort(),
    ).toEqual([...kept].sort());
    expect(hosts.stderr).toContain(`partitions ${DAMAGED}`);

    const fleet = await klpstate(["fleet", "--json", "--server", server.url]);
    expect(fleet.code).toBe(1);
    const counted = json_lines<{ hosts: number }>(fleet.stdout).reduce((sum, row) => sum + row.hosts, 0);
    expect(counted).toBe(kept.length);
    const page = await ask_json(server, "/v1/fleet?limit=2");
    expect(page).toMatchObject({ complete: false, missing_partitions: [DAMAGED] });
  });

  test("is what a replay finds, and says no", async () => {
    const replayed = await klpstate(["replay", "--server", server.url]);
    expect(replayed.code).toBe(1);
    expect_named(replayed.stdout);
    const { matches, digest, partitions } = ReplayAnswer.parse(
      await ask_json(server, "/v1/replay", { method: "POST" }),
    );
    expect([matches, digest]).toEqual([false, null]);
    for (const { partition, matches: one_matches, damaged, broken } of partitions) {
      expect(one_matches).toBe(partition === DAMAGED ? null : true);
      if (partition === DAMAGED) for (const told of [damaged, broken]) expect_named(told!);
    }
  });

  test("refuses its hosts' events; other hosts' events are stored", async () => {
    const event_of = (host_id: string) => ({
      host_id,
      stream: "4711",
      sequence: "1",
      time_unix_ms: String(Date.now()),
      observed: { kernel_release: "7.0.0", arch: "x86_64", livepatching: "supported" },
    });
    const refused = await post_json(server, "/v1/events", { events: [event_of(lost[0]!)] });
    expect_named(problem_of(refused, 503).detail);
    const stored = await post_json(server, "/v1/events", { events: [event_of(kept[25]!)] });
    expect(stored.status, stored.text).toBe(200);
    expect(await ask_json(server, host_path(kept[25]!))).toMatchObject({ kernel_release: "7.0.0" });
    // Of a batch over both, the answer says what is stored; sending it again changes nothing.
    const both = { events: [event_of(lost[1]!), event_of(kept[26]!)] };
    for (let times = 0; times < 2; times++) {
      const { detail } = problem_of(await post_json(server, "/v1/events", both), 503);
      expect(detail).toMatch(/the events of partition [0-9]+ are stored/);
    }
    expect(await ask_json(server, host_path(kept[26]!))).toMatchObject({ sequence: "1", stream: "4711" });
  });

  test("is mended by putting the byte back", async () => {
    expect(await server.stop()).toBe(0);
    flip_byte(named.file, named.byte + 100);
    server = await start_server(server.data);
    expect(await ask_json(server, "/readyz")).toMatchObject({ broken: [] });
    const statuses = await Promise.all(
      lost.map(async (host_id) => (await ask(server, host_path(host_id))).status),
    );
    expect(new Set(statuses)).toEqual(new Set([200]));
  });
});

describe("other damage", () => {
  let data: string;
  let partition_of: Map<string, number>;

  beforeAll(async () => {
    ({ data, partition_of } = await make_registry());
  });

  /** Does it to a file, looks what becomes of it, and puts the file back as it was. */
  async function with_damage(file: string, damage: () => void, look: () => Promise<void>): Promise<void> {
    const bytes = readFileSync(file);
    damage();
    try {
      await look();
    } finally {
      writeFileSync(file, bytes);
    }
  }

  test("while it is served is found by who reads it: a replay, and its hosts' past; others read on", async () => {
    const server = await start_server(data);
    const file = segment_of(data, DAMAGED);
    const { byte } = middle_frame(file);
    const hit = host_ids.find((host_id) => partition_of.get(host_id) === DAMAGED)!;
    const other = host_ids.find((host_id) => partition_of.get(host_id) !== DAMAGED)!;
    await with_damage(
      file,
      () => flip_byte(file, byte + 100),
      async () => {
        const replayed = await klpstate(["replay", "--data", data]);
        expect(replayed).toMatchObject({
          code: 1,
          stdout: expect.stringContaining(`${file} at byte ${byte}`),
        });
        const { detail } = problem_of(await ask(server, host_path(hit, "/history")), 503);
        expect(detail).toContain(`${file} at byte ${byte}`);
        expect((await ask(server, host_path(other, "/history"))).status).toBe(200);
      },
    );
    expect(await server.stop()).toBe(0);
  });

  test("by which a segment is lost makes its partition broken, and no gap", async () => {
    const file = segment_of(data, 0);
    const { offset } = middle_frame(file);
    const renamed = file.replace("0".repeat(20), offset.toString().padStart(20, "0"));
    await with_damage(
      file,
      () => {
        writeFileSync(renamed, readFileSync(file).subarray(middle_frame(file).byte));
        rmSync(file);
      },
      async () => {
        const server = await start_server(data);
        const { broken } = await ask_json<{ broken: { reason: string }[] }>(server, "/readyz");
        expect(broken).toHaveLength(1);
        expect(broken[0]!.reason).toMatch(new RegExp(`records 0 to ${offset - 1n} are missing`));
        await server.stop();
        rmSync(renamed);
      },
    );
  });

  test("to the catalog stops the start, which names it: without it no check is true", async () => {
    const file = segment_of(data, "catalog");
    await with_damage(
      file,
      () => flip_byte(file, 60),
      async () => {
        const refused = await klpstate(["serve", "--data", data, "--listen", "127.0.0.1:0"]);
        expect_refused(refused, file, /byte 0 \(offset 0\)/);
      },
    );
  });

  test("that a crash leaves at the end is cut with a word, and nothing acknowledged is lost", async () => {
    const file = segment_of(data, 1);
    const bytes = readFileSync(file);
    await with_damage(
      file,
      () => appendFileSync(file, bytes.subarray(0, 300)),
      async () => {
        const server = await start_server(data);
        const [told] = server.log().filter(({ level }) => Number(level) >= 40);
        expect(told!.msg).toContain(`${file}: cut 300 bytes at byte ${bytes.length}`);
        const replayed = await ask_json<ReplayAnswer>(server, "/v1/replay", { method: "POST" });
        expect(replayed).toMatchObject({ digest: STREAMS_DIGEST, matches: true });
        await server.stop();
      },
    );
  });

  test("that cuts a file off where more was durable is no crash's: what is left is not taken for all", async () => {
    // The log was closed: its last frame tells that nothing was under way.
    const file = segment_of(data, 2);
    const server = await start_server(data);
    await with_damage(
      file,
      () => truncateSync(file, middle_frame(file).byte),
      async () => {
        const replayed = await klpstate(["replay", "--data", data]);
        expect(replayed.code).toBe(1);
        expect(replayed.stdout).toContain(file);
      },
    );
    await server.stop();
  });
});
