// Who may import whom, as docs/ARCHITECTURE.md says: the layers stay what they are.
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";

const root = join(dirname(fileURLToPath(import.meta.url)), "..", "..");
const services = join(root, "services");

const MAY_IMPORT: Record<string, readonly string[]> = {
  events: [],
  core: [],
  log: ["events"],
  catalog: ["events", "log"],
  agent: ["events"],
  registry: ["log", "catalog", "core", "events"],
  kafka: ["registry", "log", "catalog", "core", "events"],
  client: ["events"],
  audit: ["log", "catalog", "core", "events"],
  api: ["registry", "audit", "events"],
  cli: ["api", "audit", "registry", "kafka", "agent", "catalog", "core", "log", "events"],
};

interface Import {
  file: string;
  room: string;
  target: string;
  dynamic: boolean;
  /** Nothing of it is there at run time. */
  types: boolean;
}

function typescript_files(directory: string): string[] {
  return readdirSync(directory, { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".ts"))
    .map((name) => join(directory, name));
}

function imports_of(file: string): Import[] {
  const room = relative(services, file).split("/")[0]!;
  const text = readFileSync(file, "utf8");
  const found = text.matchAll(/(?:(import type [^"]*?)?from\s+|import\s+|import\()\s*"(\.[^"]+)"/g);
  return [...found].map((match) => ({
    file: relative(root, file),
    room,
    target: relative(services, resolve(dirname(file), match[2]!)).split("/")[0]!,
    dynamic: match[0].includes("("),
    types: match[1] !== undefined,
  }));
}

const imports = typescript_files(services).flatMap(imports_of);

describe("the directions of imports", () => {
  test("every room of services/ has its directions stated", () => {
    expect(readdirSync(services).sort()).toEqual(Object.keys(MAY_IMPORT).sort());
  });

  test("a room imports only the rooms that it may know", () => {
    const outside = imports.filter(
      ({ room, target }) => target !== room && target !== ".." && !MAY_IMPORT[room]!.includes(target),
    );
    expect(outside).toEqual([]);
  });

  test("outside of services only the generated schema is imported, and by services/events alone", () => {
    const generated = imports.filter(({ target }) => target === "..");
    expect(new Set(generated.map(({ file }) => file))).toEqual(new Set(["services/events/proto.ts"]));
  });

  test("Kafka is loaded where brokers are configured only: nobody else imports it as it starts", () => {
    const loads = imports.filter(
      ({ room, target, dynamic, types }) => target === "kafka" && room !== "kafka" && !dynamic && !types,
    );
    expect(loads).toEqual([]);
  });

  test("kafkajs is loaded by the file that mends it", () => {
    const loads = typescript_files(services).filter((file) =>
      /(?:^|\n)(?:import (?!type )[^"]*|import\()"kafkajs"/.test(readFileSync(file, "utf8")),
    );
    expect(loads.map((file) => relative(root, file))).toEqual(["services/kafka/kafkajs.ts"]);
  });

  test("there are imports to look at", () => {
    expect(imports.length).toBeGreaterThan(100);
  });
});
