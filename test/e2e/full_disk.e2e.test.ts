/** A disk that is full: who writes is told so, who reads is served, and when there is room all goes on by itself. */
import { afterAll, describe, expect, test } from "vitest";
import type { HostAnswer } from "#services/registry/answers.js";
import {
  type Answer,
  ask,
  ask_json,
  expect_refused,
  host_path,
  klpstate,
  post_json,
  problem_of,
  type Server,
} from "./klpstate.js";
import { model_digest, Publisher, replayed_digest } from "./publisher.js";
import { small_disks } from "./small_disk.js";

/** So that a batch is about 10 KB, and of each partition one record. */
const EVENTS_OF_HOST = 40;

const disks = small_disks();
afterAll(() => {
  for (const { disk } of disks) disk.remove();
});

function expect_full(answer: Answer): void {
  const problem = problem_of(answer, 507);
  expect(problem.type).toBe("urn:klpstate:problem:disk_full");
  expect(problem.detail).toMatch(/no room on the disk: .*make room and send again/);
}

/** Until it is refused; how often it was not. */
async function send_until_full(send: (number: number) => Promise<Answer>): Promise<number> {
  for (let taken = 0; ; taken++) {
    const answer = await send(taken);
    if (answer.status < 300) continue;
    expect_full(answer);
    return taken;
  }
}

/** Until nobody has room for a batch any more. */
async function fill(server: Server, publishers: Publisher[]): Promise<void> {
  const send_next = (publisher: Publisher) => send_until_full(() => publisher.send_next(server));
  await Promise.all(publishers.map(send_next));
  // What one was refused another one's failed write may have taken for a moment.
  for (let taken = 1; taken > 0; ) {
    taken = 0;
    for (const publisher of publishers) taken += await send_next(publisher);
  }
}

function publish(server: Server, number: number): Promise<Answer> {
  const kernel = { kernel_release: "6.12.1", arch: "x86_64" };
  return post_json(server, "/v1/patches", { name: `kp_${number}`, ...kernel, notes: "n".repeat(8000) });
}

async function expect_served(server: Server, publishers: Publisher[]): Promise<void> {
  const { ready, broken } = await ask_json<{ ready: boolean; broken: unknown[] }>(server, "/readyz");
  expect({ ready, broken }).toEqual({ ready: true, broken: [] });
  for (const publisher of publishers) await publisher.expect_kept(server);
  expect(await replayed_digest(server)).toBe(await model_digest(server, publishers));
}

async function expect_patches(server: Server, count: number): Promise<void> {
  const { patches } = await ask_json<{ patches: unknown[] }>(server, "/v1/patches");
  expect(patches).toHaveLength(count);
}

describe.each(disks)("a registry on $name that is full", ({ disk }) => {
  const publishers = ["a", "b", "c", "d"].map((name) => new Publisher(name, EVENTS_OF_HOST));
  let server: Server;
  let manifests = 0;

  test("refuses events and manifests with what to do, and serves what it has meanwhile", async () => {
    server = await disk.start("--partitions", "2");
    for (; manifests < 3; manifests++) expect((await publish(server, manifests)).status).toBe(201);
    await fill(server, publishers);
    const refused = publishers.map(async (publisher) => expect_full(await publisher.send_next(server)));
    await Promise.all([expect_served(server, publishers), ...refused]);
    // Where files have their own limits there is room for more of them.
    manifests += await send_until_full((number) => publish(server, manifests + number));
    await expect_patches(server, manifests);
  });

  test("tells the command, whose file can be sent again", async () => {
    const host_id = publishers[0]!.hosts[0]!;
    const event = { host_id, stream: "9", sequence: "1000000", time_unix_ms: "1780000000000" };
    const line = JSON.stringify({ ...event, forced: { patch: { name: "kp_1" }, phase: "enabling" } });
    const stdin = Array.from({ length: 5000 }, () => line).join("\n");
    const ingested = await klpstate(["ingest", "-", "--server", server.url], { stdin });
    expect_refused(ingested, "no room on the disk", "make room", "not acknowledged");
    const { sequence } = await ask_json<HostAnswer>(server, host_path(host_id));
    expect(Number(sequence)).toBeLessThan(1_000_000);
  });

  test("takes events again by itself when there is room", async () => {
    disk.make_room(server);
    for (const publisher of publishers) {
      const { status, text } = await publisher.send_next(server);
      expect(status, text).toBe(200);
    }
    expect((await publish(server, manifests++)).status).toBe(201);
    await expect_served(server, publishers);
  });

  test("starts again after a kill, still full, with all that was acknowledged", async () => {
    await fill(server, publishers);
    const insisting = publishers.map((publisher) => insist(publisher));
    for (let asked = 0; asked < 20; asked++) expect((await ask(server, "/v1/fleet")).status).toBe(200);
    await server.kill();
    await Promise.all(insisting);

    server = await disk.start();
    await expect_served(server, publishers);
    await expect_patches(server, manifests);
    await fill(server, publishers);
    disk.make_room(server);
    for (const publisher of publishers) expect((await publisher.send_next(server)).status).toBe(200);
    await expect_served(server, publishers);
    expect(await server.stop()).toBe(0);

    /** Sends on while there is no room, until the server is gone. */
    async function insist(publisher: Publisher): Promise<void> {
      for (;;) {
        const answer = await publisher.send_next(server).catch(() => null);
        if (answer === null) return;
        if (answer.status !== 200) expect_full(answer);
      }
    }
  });
});
