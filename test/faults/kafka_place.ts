/**
 * Three brokers and three nodes. Each node has a listener of its own at every broker, so that each of its ways to Kafka
 * has a proxy; other nodes and clients come to it through proxies as well.
 */
import { execFile } from "node:child_process";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { type Broker, start_brokers } from "../kafka/brokers.js";
import type { PlaceOptions } from "./embedded_place.js";
import { Door } from "./http.js";
import { logs_in, replayed } from "./node_logs.js";
import { NodeProcess } from "./node_process.js";
import type { Place } from "./place.js";
import { free_port } from "./ports.js";
import { Room } from "./room.js";
import { ProxiedRoute } from "./routes.js";
import { remake_topic } from "./topic_maker.js";
import { read_topic } from "./topic_reader.js";
import type { Sufferer } from "./trouble.js";
import { WallClock } from "./wall_clock.js";

const VERSION = "4.4.0";
const NODES = ["n1", "n2", "n3"] as const;
const PARTITIONS = 8;
const HOST_EVENTS = "klpstate.host-events";
/** In a node's room. */
const DATA = "registry";
const SESSION_MS = 6_000;

export async function kafka_place({ workplace, command, clock_library, say }: PlaceOptions): Promise<Place> {
  mkdirSync(join(workplace, "clocks"), { recursive: true });
  const clock_of = (name: string) => new WallClock(clock_library, join(workplace, "clocks", name));
  const clocks = [1, 2, 3].map((id) => clock_of(`b${id}`));
  const routes: ProxiedRoute[] = [];
  const to_brokers = new Map<string, string[]>(NODES.map((name) => [name, []]));
  const cluster = await start_brokers({
    count: 3,
    version: VERSION,
    directory: join(workplace, "brokers"),
    listeners: NODES.map((name) => name.toUpperCase()),
    environment: (id) => clocks[id - 1]!.environment,
    async advertise(id, port, listener) {
      const own = to_brokers.get(listener.toLowerCase());
      if (own === undefined) return `127.0.0.1:${port}`;
      const route = await ProxiedRoute.open(`${listener.toLowerCase()} to b${id}`, port, "kafka");
      routes.push(route);
      const address = `127.0.0.1:${route.port}`;
      own.push(address);
      return address;
    },
  });
  const settings = { KLPSTATE_KAFKA_REPLICATION: "3", KLPSTATE_KAFKA_PARTITIONS: String(PARTITIONS) };
  const create_topics = () =>
    promisify(execFile)(process.execPath, [command, "topics", "create"], {
      env: { ...process.env, KLPSTATE_KAFKA_BROKERS: cluster.addresses, ...settings },
    });
  await create_topics();

  const nodes: NodeProcess[] = [];
  const doors: Door[] = [];
  const straight: Door[] = [];
  for (const name of NODES) {
    const port = await free_port();
    const from_clients = await ProxiedRoute.open(`clients to ${name}`, port, "bytes");
    const from_peers = await ProxiedRoute.open(`nodes to ${name}`, port, "bytes");
    routes.push(from_clients, from_peers);
    doors.push(new Door(name, from_clients.port));
    straight.push(new Door(name, port));
    const room = new Room(join(workplace, name));
    const node = new NodeProcess({
      name,
      command,
      args: ["--data", join(room.directory, DATA), "--listen", `127.0.0.1:${port}`],
      environment: {
        KLPSTATE_KAFKA_BROKERS: to_brokers.get(name)!.join(","),
        KLPSTATE_KAFKA_SESSION_TIMEOUT_MS: String(SESSION_MS),
        KLPSTATE_NODE_ID: name,
        KLPSTATE_ADVERTISE: `http://127.0.0.1:${from_peers.port}`,
        ...settings,
      },
      log_file: join(workplace, `${name}.log`),
      room,
      clock: clock_of(name),
      say,
    });
    nodes.push(node);
  }
  const brokers = cluster.brokers.map((broker, index) => sufferer_of(broker, clocks[index]!, say));
  const addresses = cluster.brokers.map(({ address }) => address);

  return {
    option: "",
    partitions: PARTITIONS,
    session_ms: SESSION_MS,
    // A standby answers where the owner cannot, and may be behind; no one answers whose lease is over.
    order: { only_waited: true, slack_ms: SESSION_MS / 2 },
    nodes,
    brokers,
    routes,
    doors,
    straight,
    async start() {
      for (const node of nodes) node.start();
    },
    replicas: replayed,
    async logs() {
      const found = nodes.map(({ name, room }) => logs_in(join(room.directory, DATA), name));
      return (await Promise.all(found)).flat();
    },
    async topics() {
      const [host_events, catalog] = await Promise.all([
        read_topic(addresses, HOST_EVENTS),
        read_topic(addresses, "klpstate.catalog"),
      ]);
      return { host_events, catalog: catalog[0]! };
    },
    changes: () => read_topic(addresses, "klpstate.state-changes"),
    remake: (events) => remake_topic(addresses, HOST_EVENTS, create_topics, events),
    async close() {
      await Promise.all(nodes.map((node) => node.end("SIGKILL")));
      await cluster.end();
      for (const route of routes) await route.proxy.close();
      for (const door of [...doors, ...straight]) door.close();
      for (const { room } of nodes) room.remove();
    },
    abandon() {
      for (const node of nodes) {
        node.abandon();
        node.room.remove();
      }
    },
  };
}

/** A broker takes a while to start, which nobody waits for. */
function sufferer_of(broker: Broker, clock: WallClock, say: (line: string) => void): Sufferer {
  const name = `b${broker.id}`;
  return {
    name,
    clock,
    start() {
      broker.start().catch((error: Error) => say(`${name} does not start: ${error.message}`));
    },
    end: (signal) => (signal === "SIGKILL" ? broker.kill() : broker.stop()),
    pause: () => broker.pause(),
    go_on: () => broker.resume(),
  };
}
