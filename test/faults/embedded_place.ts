/** One node with its own log, no broker: what the generator and the checker are tried on, and the product's other mode. */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { Door } from "./http.js";
import { log_in, logs_in, replayed } from "./node_logs.js";
import { NodeProcess } from "./node_process.js";
import type { Place } from "./place.js";
import { free_port } from "./ports.js";
import { Room } from "./room.js";
import type { Topics } from "./truth.js";
import { WallClock } from "./wall_clock.js";

const PARTITIONS = 4;

export interface PlaceOptions {
  workplace: string;
  /** bin/klpstate.js. */
  command: string;
  clock_library: string;
  say(line: string): void;
}

export async function embedded_place({
  workplace,
  command,
  clock_library,
  say,
}: PlaceOptions): Promise<Place> {
  const port = await free_port();
  const room = new Room(join(workplace, "n1"));
  const data = join(room.directory, "registry");
  mkdirSync(join(workplace, "clocks"), { recursive: true });
  const node = new NodeProcess({
    name: "n1",
    command,
    args: ["--data", data, "--listen", `127.0.0.1:${port}`, "--partitions", String(PARTITIONS)],
    environment: {},
    log_file: join(workplace, "n1.log"),
    room,
    clock: new WallClock(clock_library, join(workplace, "clocks", "n1")),
    say,
  });
  const door = new Door("n1", port);
  return {
    option: "--embedded",
    partitions: PARTITIONS,
    // What counts as a long pause here.
    session_ms: 2_000,
    order: { only_waited: false, slack_ms: 0 },
    nodes: [node],
    brokers: [],
    routes: [],
    doors: [door],
    straight: [door],
    async start() {
      node.start();
    },
    replicas: replayed,
    logs: () => logs_in(data, node.name),
    async topics(): Promise<Topics> {
      const names = Array.from({ length: PARTITIONS }, (_, partition) => String(partition));
      return {
        host_events: await Promise.all(names.map((name) => log_in(data, name))),
        catalog: await log_in(data, "catalog"),
      };
    },
    changes: null,
    remake: null,
    async close() {
      await node.end("SIGKILL");
      door.close();
      room.remove();
    },
    abandon() {
      node.abandon();
      room.remove();
    },
  };
}
