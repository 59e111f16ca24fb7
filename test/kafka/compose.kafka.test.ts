// What docker-compose.yml runs, as plain processes: its brokers' settings, its service that makes the topics, its nodes.
import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { parse } from "yaml";
import {
  json_lines,
  klpstate,
  klpstate_yes,
  type Server,
  start_server_with,
  temporary_directory,
} from "../e2e/klpstate.js";
import { type Brokers, start_brokers } from "./brokers.js";

interface Service {
  command?: string[];
  environment: Record<string, string | number>;
}

const ROOT = join(import.meta.dirname, "../..");
const text = readFileSync(join(ROOT, "docker-compose.yml"), "utf8");
const { services }: { services: Record<string, Service> } = parse(text, { merge: true });

/** Of one machine: names, ports and directories are another's here. */
const OF_THE_PLACE = /^(CLUSTER_ID|KAFKA_(NODE_ID|PROCESS_ROLES|LOG_DIRS|.*LISTENER.*|CONTROLLER_.*))$/;

/** As the image does: KAFKA_MIN_INSYNC_REPLICAS is min.insync.replicas. */
function properties_of({ environment }: Service): Record<string, string> {
  return Object.fromEntries(
    Object.entries(environment)
      .filter(([name]) => !OF_THE_PLACE.test(name))
      .map(([name, value]) => [name.slice("KAFKA_".length).toLowerCase().replaceAll("_", "."), `${value}`]),
  );
}

let cluster: Brokers | undefined;
beforeAll(async () => {
  cluster = await start_brokers({ count: 3, config: properties_of(services["kafka-1"]!) });
});
afterAll(() => cluster?.end());

test("its brokers take its topics, and a second start leaves them as they are", async () => {
  const { command, environment } = services["klpstate-topics"]!;
  const env = { ...texts(environment), KLPSTATE_KAFKA_BROKERS: cluster!.addresses };
  const first = JSON.parse(await klpstate_yes([...command!, "--json"], { env }));
  const { KLPSTATE_KAFKA_PARTITIONS: partitions, KLPSTATE_KAFKA_REPLICATION: replication } = environment;
  expect(first).toMatchObject({ ok: true, partitions, problems: [] });
  expect(first.made).toHaveLength(4);
  for (const topic of first.topics) expect(topic).toMatchObject({ replication });
  const second = JSON.parse(await klpstate_yes([...command!, "--json"], { env }));
  expect(second).toEqual({ ...first, made: [] });
});

test("its nodes become ready, answer for each other, and hand over what they have when they are stopped", async () => {
  const secrets = temporary_directory();
  for (const name of ["token", "cluster_secret"]) {
    writeFileSync(join(secrets, name), `${randomBytes(32).toString("hex")}\n`);
  }
  const client = { KLPSTATE_TOKEN_FILE: join(secrets, "token") };
  const nodes: Server[] = [];
  for (const [name, { environment }] of Object.entries(services)) {
    if (environment.KLPSTATE_NODE_ID === undefined) continue;
    // Found where it listens: there is no other machine's name for it here.
    const { KLPSTATE_ADVERTISE: _, ...kept } = texts(environment);
    const env = {
      ...kept,
      ...client,
      KLPSTATE_KAFKA_BROKERS: cluster!.addresses,
      KLPSTATE_CLUSTER_SECRET_FILE: join(secrets, "cluster_secret"),
      KLPSTATE_PEER_ALLOW: "127.0.0.0/8",
    };
    nodes.push(await start_server_with({ env }, join(temporary_directory(), name)));
  }
  expect(nodes).toHaveLength(3);
  for (const { url } of nodes) await until(() => is_ready(url, client));

  const events = Array.from({ length: 20 }, (_, i) => ({
    host_id: `web-${i}`,
    stream: "1",
    sequence: "1",
    time_unix_ms: String(1_790_000_000_000 + i),
    observed: { kernel_release: "6.12.1", arch: "x86_64", livepatching: "supported" },
  }));
  const stdin = events.map((event) => `${JSON.stringify(event)}\n`).join("");
  const asked_of = ({ url }: Server) => ["--server", url, "--json"];
  await klpstate_yes(["ingest", "-", ...asked_of(nodes[0]!)], { stdin, env: client });
  const hosts_of = async (node: Server) => {
    const { code, stdout } = await klpstate(["fleet", ...asked_of(node)], { env: client });
    return code === 0 ? json_lines<{ hosts: number }>(stdout).map(({ hosts }) => hosts) : null;
  };
  for (const node of nodes) await until(async () => (await hosts_of(node))?.join() === "20");

  expect(await nodes.shift()!.stop()).toBe(0);
  for (const node of nodes) await until(async () => (await hosts_of(node))?.join() === "20");
  for (const node of nodes) expect(await node.stop()).toBe(0);
});

function texts(environment: Service["environment"]): Record<string, string> {
  return Object.fromEntries(Object.entries(environment).map(([name, value]) => [name, `${value}`]));
}

/** As the container's healthcheck asks. */
async function is_ready(url: string, env: Record<string, string>): Promise<boolean> {
  const child = spawn(process.execPath, [join(ROOT, "packaging/ready.mjs"), url], {
    env: { ...process.env, ...env },
    stdio: "ignore",
  });
  const [code] = await once(child, "exit");
  return code === 0;
}

async function until(is_so: () => Promise<boolean>): Promise<void> {
  while (!(await is_so())) await sleep(200);
}
