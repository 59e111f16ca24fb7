/**
 * Real brokers: Apache Kafka (KRaft, combined roles) as plain Java processes, each in a directory of its own. They are
 * killed, stopped, continued and started again one by one. They end with this process, however it ends.
 */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { closeSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { kafka_of } from "#services/kafka/kafka_client.js";
import { type KafkaSettings, kafka_settings } from "#services/kafka/settings.js";
import { class_path, KAFKA_VERSION } from "./jars.js";

export interface BrokersOptions {
  count: 1 | 3;
  version?: string;
  /** How clients speak to them; the brokers among themselves speak PLAINTEXT. */
  protocol?: "PLAINTEXT" | "SSL" | "SASL_PLAINTEXT" | "SASL_SSL";
  /** Properties beside those below; CLIENT is the name of the clients' listener. */
  config?: Record<string, string>;
  /** SCRAM users and their passwords, for both mechanisms. */
  scram?: Record<string, string>;
  /** The environment of a client that may do everything, beside KLPSTATE_KAFKA_BROKERS. */
  client?: Record<string, string>;
  /** Where clients find the broker that listens on `port`, such as a proxy; HOST:PORT. */
  advertise?: (id: number, port: number, listener: string) => string | Promise<string>;
  /** More listeners like CLIENT, upper-case: each set of clients goes its own ways to the brokers. */
  listeners?: readonly string[];
  /** Of a broker's process, beside this one's. */
  environment?: (id: number) => Record<string, string>;
  /** Where their directories are to be, which then stay there; by default they go away in the end. */
  directory?: string;
  /** For java. */
  jvm?: string[];
}

export interface Broker {
  readonly id: number;
  /** HOST:PORT, where it listens itself. */
  readonly address: string;
  readonly directory: string;
  /** Null: it does not run. */
  readonly pid: number | null;
  /** SIGKILL. */
  kill(): Promise<void>;
  /** SIGTERM; its leaderships go to others first. */
  stop(): Promise<void>;
  /** SIGSTOP and SIGCONT. */
  pause(): void;
  resume(): void;
  /** On the same directory and port; resolves when it answers. */
  start(): Promise<void>;
}

export interface Brokers {
  readonly version: string;
  readonly brokers: readonly Broker[];
  /** HOST:PORT,HOST:PORT,… as clients find them. */
  readonly addresses: string;
  /** Of a client, with this beside or instead of `client`. */
  settings(env?: Record<string, string>): KafkaSettings;
  /** Kills all, and removes their directories. */
  end(): Promise<void>;
}

const READY_WITHIN_MS = 180_000;
/** Below where the system picks ports of outgoing connections, which would take that of a broker that is down. */
const PORTS_FROM = 20_000;
const PORTS_UP_TO = 32_000;

const running = new Set<ChildProcess>();
process.on("exit", () => {
  for (const child of running) child.kill("SIGKILL");
});

export async function start_brokers(options: BrokersOptions): Promise<Brokers> {
  const version = options.version ?? KAFKA_VERSION;
  const directory = options.directory ?? mkdtempSync(join(tmpdir(), "klpstate-kafka-"));
  const places: Place[] = [];
  for (let id = 1; id <= options.count; id++) {
    const [internal, controller] = await Promise.all([free_port(), free_port()]);
    const listeners: Listener[] = [];
    for (const name of ["CLIENT", ...(options.listeners ?? [])]) {
      const port = await free_port();
      const advertised = (await options.advertise?.(id, port, name)) ?? `127.0.0.1:${port}`;
      listeners.push({ name, port, advertised });
    }
    places.push({ id, directory: join(directory, `${id}`), listeners, internal, controller });
  }
  const addresses = places.map(({ listeners }) => listeners[0]!.advertised).join(",");
  function settings(env: Record<string, string> = {}): KafkaSettings {
    return kafka_settings({ KLPSTATE_KAFKA_BROKERS: addresses, ...options.client, ...env });
  }
  const cluster_id = randomBytes(16).toString("base64url");
  for (const place of places) prepare(place, places, cluster_id, version, options);
  const brokers = places.map((place) => new BrokerProcess(place, version, options, settings()));
  async function end(): Promise<void> {
    await Promise.all(brokers.map((broker) => broker.kill()));
    if (options.directory === undefined) rmSync(directory, { recursive: true, force: true });
  }
  try {
    for (const broker of brokers) broker.launch();
    await Promise.all(brokers.map((broker) => broker.answers()));
    await until_all_known(settings(), options.count);
  } catch (error) {
    await end();
    throw error;
  }
  return { version, brokers, addresses, settings, end };
}

interface Place {
  id: number;
  directory: string;
  /** CLIENT, then the others. */
  listeners: Listener[];
  /** Ports. */
  internal: number;
  controller: number;
}

interface Listener {
  name: string;
  port: number;
  advertised: string;
}

/** Writes its properties and formats its log directory. */
function prepare(
  place: Place,
  all: Place[],
  cluster_id: string,
  version: string,
  { protocol = "PLAINTEXT", config = {}, scram = {} }: BrokersOptions,
): void {
  const { id, directory, listeners, internal, controller } = place;
  mkdirSync(directory, { recursive: true });
  const properties = {
    "process.roles": "broker,controller",
    "node.id": `${id}`,
    "controller.quorum.voters": all.map((one) => `${one.id}@127.0.0.1:${one.controller}`).join(","),
    listeners: [
      ...listeners.map(({ name, port }) => `${name}://127.0.0.1:${port}`),
      `INTERNAL://127.0.0.1:${internal}`,
      `CONTROLLER://127.0.0.1:${controller}`,
    ].join(","),
    "advertised.listeners": [
      ...listeners.map(({ name, advertised }) => `${name}://${advertised}`),
      `INTERNAL://127.0.0.1:${internal}`,
    ].join(","),
    "listener.security.protocol.map": [
      ...listeners.map(({ name }) => `${name}:${protocol}`),
      "INTERNAL:PLAINTEXT",
      "CONTROLLER:PLAINTEXT",
    ].join(","),
    "inter.broker.listener.name": "INTERNAL",
    "controller.listener.names": "CONTROLLER",
    "log.dirs": join(directory, "log"),
    "auto.create.topics.enable": "false",
    "offsets.topic.replication.factor": `${all.length}`,
    "offsets.topic.num.partitions": "2",
    "transaction.state.log.replication.factor": `${all.length}`,
    "transaction.state.log.min.isr": `${Math.min(all.length, 2)}`,
    "transaction.state.log.num.partitions": "2",
    "group.initial.rebalance.delay.ms": "0",
    "group.min.session.timeout.ms": "1000",
    // A broker that died, or whose process stands still, is noticed in seconds.
    "broker.session.timeout.ms": "3000",
    "broker.heartbeat.interval.ms": "500",
    "replica.lag.time.max.ms": "5000",
    "log.retention.check.interval.ms": "500",
    "log.initial.task.delay.ms": "500",
    "log.segment.delete.delay.ms": "0",
    // A small machine: the defaults take a quarter of a gigabyte.
    "num.network.threads": "2",
    "num.io.threads": "4",
    "log.cleaner.dedupe.buffer.size": "2097152",
    ...config,
  };
  const file = join(directory, "server.properties");
  const lines = Object.entries(properties).map(([key, value]) => `${key}=${value}\n`);
  writeFileSync(file, lines.join(""));
  const users = Object.entries(scram).flatMap(([name, password]) =>
    ["SCRAM-SHA-256", "SCRAM-SHA-512"].flatMap((kind) => [
      "--add-scram",
      `${kind}=[name=${name},password=${password}]`,
    ]),
  );
  execFileSync(
    "java",
    [
      ...JVM,
      "-cp",
      class_path(version),
      "kafka.tools.StorageTool",
      "format",
      // One may begin with a hyphen.
      `--cluster-id=${cluster_id}`,
      "-c",
      file,
      ...users,
    ],
    { stdio: ["ignore", "ignore", "pipe"] },
  );
}

const JVM = [
  "-Xmx512m",
  "-XX:+UseSerialGC",
  "-XX:TieredStopAtLevel=1",
  "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
];

class BrokerProcess implements Broker {
  readonly id: number;
  readonly address: string;
  readonly directory: string;
  readonly #version: string;
  readonly #jvm: string[];
  readonly #environment: Record<string, string>;
  readonly #settings: KafkaSettings;
  #child: ChildProcess | null = null;

  constructor(
    { id, listeners, directory }: Place,
    version: string,
    { jvm = [], environment = () => ({}) }: BrokersOptions,
    settings: KafkaSettings,
  ) {
    this.id = id;
    this.address = `127.0.0.1:${listeners[0]!.port}`;
    this.directory = directory;
    this.#version = version;
    this.#jvm = jvm;
    this.#environment = environment(id);
    this.#settings = { ...settings, brokers: [this.address] };
  }

  get pid(): number | null {
    return this.#child?.pid ?? null;
  }

  launch(): void {
    const log = openSync(join(this.directory, "server.log"), "a");
    const options = [...JVM, ...this.#jvm, "-cp", class_path(this.#version)];
    // Also where this process is killed, the broker goes.
    const child = spawn(
      "setpriv",
      ["--pdeathsig", "KILL", "java", ...options, "kafka.Kafka", join(this.directory, "server.properties")],
      { stdio: ["ignore", log, log], env: { ...process.env, ...this.#environment } },
    );
    closeSync(log);
    running.add(child);
    child.once("exit", () => {
      running.delete(child);
      if (this.#child === child) this.#child = null;
    });
    this.#child = child;
  }

  /** Until its metadata has itself. */
  async answers(): Promise<void> {
    await until(`broker ${this.id}`, async () => {
      if (this.#child === null) {
        const log = readFileSync(join(this.directory, "server.log"), "utf8");
        throw new Gone(`broker ${this.id} ended: ${log.slice(-4000)}`);
      }
      return (await known_brokers(this.#settings)).includes(this.id);
    });
  }

  async start(): Promise<void> {
    if (this.#child !== null) throw new Error(`broker ${this.id} runs already`);
    this.launch();
    await this.answers();
  }

  kill(): Promise<void> {
    return this.#end("SIGKILL");
  }

  stop(): Promise<void> {
    return this.#end("SIGTERM");
  }

  pause(): void {
    this.#child!.kill("SIGSTOP");
  }

  resume(): void {
    this.#child!.kill("SIGCONT");
  }

  async #end(signal: NodeJS.Signals): Promise<void> {
    const child = this.#child;
    if (child === null) return;
    const exited = once(child, "exit");
    child.kill(signal);
    await exited;
  }
}

/** Waiting is of no use any more. */
class Gone extends Error {}

async function until(what: string, is_so: () => Promise<boolean>): Promise<void> {
  const deadline = Date.now() + READY_WITHIN_MS;
  let last: unknown;
  while (Date.now() < deadline) {
    try {
      if (await is_so()) return;
    } catch (error) {
      if (error instanceof Gone) throw error;
      last = error;
    }
    await sleep(100);
  }
  throw new Error(`${what} does not answer within ${READY_WITHIN_MS} ms`, { cause: last });
}

async function until_all_known(settings: KafkaSettings, count: number): Promise<void> {
  await until("the cluster", async () => (await known_brokers(settings)).length === count);
}

async function known_brokers(settings: KafkaSettings): Promise<number[]> {
  const admin = kafka_of(settings, "harness").admin({ retry: { retries: 0 } });
  try {
    await admin.connect();
    const { brokers } = await admin.describeCluster();
    return brokers.map(({ nodeId }) => nodeId);
  } finally {
    await admin.disconnect();
  }
}

/** Nobody listens there yet. */
const given = new Set<number>();

async function free_port(): Promise<number> {
  while (true) {
    const port = PORTS_FROM + Math.floor(Math.random() * (PORTS_UP_TO - PORTS_FROM));
    if (given.has(port)) continue;
    given.add(port);
    const server = createServer();
    try {
      server.listen(port, "127.0.0.1");
      await once(server, "listening");
      return port;
    } catch {
      // Taken: another one.
    } finally {
      server.close();
    }
  }
}
