/** What Kafka mode is told, from the environment and the file of --config. Every complaint names the variable or the key. */
import { readFileSync } from "node:fs";
import { hostname } from "node:os";
import { createSecureContext } from "node:tls";
import { z } from "zod";
import { Problem } from "../events/problem.js";
import { PARTITIONS_MAX } from "../log/registry_file.js";
import {
  ADDRESS,
  CIDR,
  COUNT,
  LIST,
  MILLISECONDS,
  NAME,
  ON_OFF,
  PATH,
  SECRET,
  TEXT,
} from "./setting_values.js";

export type SaslMechanism = "plain" | "scram-sha-256" | "scram-sha-512";

/** Plain values: they cross threads by structured clone. */
export interface KafkaSettings {
  brokers: string[];
  sasl: { mechanism: SaslMechanism; username: string; password: string } | null;
  /** PEM texts; each is null where it is not given. */
  tls: { ca: string | null; cert: string | null; key: string | null } | null;
  topics: { host_events: string; catalog: string; quarantine: string; state_changes: string };
  group_id: string;
  node_id: string;
  /** Under which other nodes reach this one; null: where it listens. */
  advertise: string | null;
  /** Of topics that are made. */
  replication: number;
  partitions: number;
  session_timeout_ms: number;
  accept_unsafe_topics: boolean;
  state_changes: boolean;
  cluster_secret: string | null;
  peer_allow: string[];
}

export type Environment = Record<string, string | undefined>;

interface Setting {
  variable: string;
  /** In the file: SECTION.NAME. */
  key: string;
}

const SETTINGS = {
  brokers: { variable: "KLPSTATE_KAFKA_BROKERS", key: "kafka.brokers" },
  sasl_mechanism: { variable: "KLPSTATE_KAFKA_SASL_MECHANISM", key: "kafka.sasl_mechanism" },
  username: { variable: "KLPSTATE_KAFKA_USERNAME", key: "kafka.username" },
  password: { variable: "KLPSTATE_KAFKA_PASSWORD", key: "kafka.password" },
  password_file: { variable: "KLPSTATE_KAFKA_PASSWORD_FILE", key: "kafka.password_file" },
  tls: { variable: "KLPSTATE_KAFKA_TLS", key: "kafka.tls" },
  ca_file: { variable: "KLPSTATE_KAFKA_CA_FILE", key: "kafka.ca_file" },
  cert_file: { variable: "KLPSTATE_KAFKA_CERT_FILE", key: "kafka.cert_file" },
  key_file: { variable: "KLPSTATE_KAFKA_KEY_FILE", key: "kafka.key_file" },
  topic_prefix: { variable: "KLPSTATE_KAFKA_TOPIC_PREFIX", key: "kafka.topic_prefix" },
  group: { variable: "KLPSTATE_KAFKA_GROUP", key: "kafka.group" },
  replication: { variable: "KLPSTATE_KAFKA_REPLICATION", key: "kafka.replication" },
  partitions: { variable: "KLPSTATE_KAFKA_PARTITIONS", key: "kafka.partitions" },
  session_timeout_ms: { variable: "KLPSTATE_KAFKA_SESSION_TIMEOUT_MS", key: "kafka.session_timeout_ms" },
  accept_unsafe_topics: {
    variable: "KLPSTATE_KAFKA_ACCEPT_UNSAFE_TOPICS",
    key: "kafka.accept_unsafe_topics",
  },
  state_changes: { variable: "KLPSTATE_STATE_CHANGES", key: "kafka.state_changes" },
  node_id: { variable: "KLPSTATE_NODE_ID", key: "node.id" },
  advertise: { variable: "KLPSTATE_ADVERTISE", key: "node.advertise" },
  cluster_secret: { variable: "KLPSTATE_CLUSTER_SECRET", key: "node.cluster_secret" },
  cluster_secret_file: { variable: "KLPSTATE_CLUSTER_SECRET_FILE", key: "node.cluster_secret_file" },
  peer_allow: { variable: "KLPSTATE_PEER_ALLOW", key: "node.peer_allow" },
} satisfies Record<string, Setting>;

type SettingName = keyof typeof SETTINGS;

const SECTIONS = new Set(Object.values(SETTINGS).map(({ key }) => key.split(".")[0]!));
const LOOPBACK = ["127.0.0.0/8", "::1/128"];
const MECHANISM = z.enum(["plain", "scram-sha-256", "scram-sha-512"], {
  error: "must be plain, scram-sha-256 or scram-sha-512",
});
/** A topic's name has 249 characters at most. */
const TOPIC_PREFIX = NAME.max(230, "must be of 230 characters at most");
const DEFAULT_SESSION_TIMEOUT_MS = 10_000;

/** Whether brokers are configured. Throws Problem for a file that is no settings. */
export function kafka_settings_wanted(env: Environment, file?: unknown): boolean {
  return new Given(env, file).place("brokers") !== null;
}

/** `file`: what the YAML of --config says. Throws Problem that names the variable, or the file's key. */
export function kafka_settings(env: Environment, file?: unknown): KafkaSettings {
  const given = new Given(env, file);
  const brokers = given.take("brokers", LIST(ADDRESS));
  if (brokers === null) throw wrong(SETTINGS.brokers.variable, "is not set; it is HOST:PORT,HOST:PORT,…");
  const prefix = given.take("topic_prefix", TOPIC_PREFIX) ?? "klpstate.";
  return {
    brokers,
    sasl: sasl_of(given),
    tls: tls_of(given),
    topics: {
      host_events: `${prefix}host-events`,
      catalog: `${prefix}catalog`,
      quarantine: `${prefix}quarantine`,
      state_changes: `${prefix}state-changes`,
    },
    group_id: given.take("group", NAME) ?? "klpstate",
    node_id: given.take("node_id", NAME) ?? own_name(),
    advertise: given.take("advertise", TEXT.transform(base_url)),
    replication: given.take("replication", COUNT(32_767)) ?? 3,
    partitions: given.take("partitions", COUNT(PARTITIONS_MAX)) ?? 64,
    session_timeout_ms: given.take("session_timeout_ms", MILLISECONDS) ?? DEFAULT_SESSION_TIMEOUT_MS,
    accept_unsafe_topics: given.take("accept_unsafe_topics", ON_OFF) ?? false,
    state_changes: given.take("state_changes", ON_OFF) ?? true,
    cluster_secret: secret_of(given, "cluster_secret", "cluster_secret_file", SECRET),
    peer_allow: given.take("peer_allow", LIST(CIDR)) ?? LOOPBACK,
  };
}

/** For a log or a person: everything but the secrets. */
export function describe_settings(settings: KafkaSettings): Record<string, unknown> {
  const { sasl, tls, cluster_secret, ...open } = settings;
  return {
    ...open,
    sasl: sasl === null ? "off" : `${sasl.mechanism}, as ${sasl.username}`,
    tls: tls === null ? "off" : tls.cert === null ? "on" : "on, with a client certificate",
    cluster_secret: cluster_secret === null ? "not set" : "set",
  };
}

/** What is given, and where: a variable that is set counts before the file; an empty one is not set. */
class Given {
  readonly #env: Environment;
  readonly #file: Map<string, unknown>;

  constructor(env: Environment, file: unknown) {
    this.#env = env;
    this.#file = keys_of(file);
  }

  /** What to call it in a message; null: it is not given. */
  place(name: SettingName): string | null {
    const { variable, key } = SETTINGS[name];
    if ((this.#env[variable] ?? "") !== "") return variable;
    return this.#file.has(key) ? key : null;
  }

  take<Value>(name: SettingName, schema: z.ZodType<Value>): Value | null {
    const place = this.place(name);
    if (place === null) return null;
    const { variable, key } = SETTINGS[name];
    const result = schema.safeParse(place === variable ? this.#env[variable] : this.#file.get(key));
    if (result.success) return result.data;
    throw wrong(place, result.error.issues[0]!.message);
  }
}

/** By their whole keys. A key that nobody knows is more likely a slip than meant for somebody else. */
function keys_of(file: unknown): Map<string, unknown> {
  const found = new Map<string, unknown>();
  if (file === undefined || file === null) return found;
  const document = z.record(z.string(), z.unknown(), { error: "" }).safeParse(file);
  if (!document.success) throw wrong("the file of --config", "must have sections, such as kafka:");
  const known = new Set<string>(Object.values(SETTINGS).map(({ key }) => key));
  for (const section of SECTIONS) {
    const entries = document.data[section];
    if (entries === undefined || entries === null) continue;
    const parsed = z.record(z.string(), z.unknown()).safeParse(entries);
    if (!parsed.success) throw wrong(section, "must have keys, such as brokers: [broker-1:9092]");
    for (const [name, value] of Object.entries(parsed.data)) {
      const key = `${section}.${name}`;
      if (!known.has(key)) throw wrong(key, "is no setting");
      if (value !== null) found.set(key, value);
    }
  }
  return found;
}

function sasl_of(given: Given): KafkaSettings["sasl"] {
  const mechanism = given.take("sasl_mechanism", MECHANISM);
  const username = given.take("username", TEXT);
  const password = secret_of(given, "password", "password_file", TEXT);
  if (mechanism === null) {
    const place = given.place("username") ?? given.place("password") ?? given.place("password_file");
    if (place === null) return null;
    throw wrong(place, `is set, but ${SETTINGS.sasl_mechanism.variable} is not`);
  }
  const with_mechanism = `is not set, but ${given.place("sasl_mechanism")} is`;
  if (username === null) throw wrong(SETTINGS.username.variable, with_mechanism);
  if (password === null) {
    throw wrong(`${SETTINGS.password.variable} or ${SETTINGS.password_file.variable}`, with_mechanism);
  }
  return { mechanism, username, password };
}

function tls_of(given: Given): KafkaSettings["tls"] {
  const files = (["ca_file", "cert_file", "key_file"] as const).filter((name) => given.place(name) !== null);
  const on = given.take("tls", ON_OFF) ?? files.length > 0;
  if (!on) {
    if (files.length === 0) return null;
    throw wrong(given.place(files[0]!)!, `is set, but ${given.place("tls")} is off`);
  }
  if (files.includes("cert_file") !== files.includes("key_file")) {
    const there = files.includes("cert_file") ? "cert_file" : "key_file";
    const missing = there === "cert_file" ? "key_file" : "cert_file";
    throw wrong(given.place(there)!, `is set, but ${SETTINGS[missing].variable} is not`);
  }
  const tls = {
    ca: pem_of(given, "ca_file", "CERTIFICATE"),
    cert: pem_of(given, "cert_file", "CERTIFICATE"),
    key: pem_of(given, "key_file", "PRIVATE KEY"),
  };
  try {
    createSecureContext(present(tls));
  } catch (error) {
    const places = files.map((name) => given.place(name)).join(", ");
    throw wrong(places, `cannot be used together: ${(error as Error).message}`);
  }
  return tls;
}

/** Without what is null, as Node's TLS wants it. */
export function present(tls: NonNullable<KafkaSettings["tls"]>): {
  ca?: string;
  cert?: string;
  key?: string;
} {
  return Object.fromEntries(Object.entries(tls).filter(([, pem]) => pem !== null));
}

function pem_of(given: Given, name: "ca_file" | "cert_file" | "key_file", label: string): string | null {
  const path = given.take(name, PATH);
  if (path === null) return null;
  const text = text_of(path, given.place(name)!);
  if (new RegExp(`-----BEGIN [A-Z ]*${label}-----`).test(text)) return text;
  throw wrong(given.place(name)!, `names ${path}, which has no PEM block of a ${label}`);
}

function secret_of(
  given: Given,
  name: SettingName,
  file_name: SettingName,
  schema: z.ZodType<string>,
): string | null {
  const place = given.place(name);
  const file_place = given.place(file_name);
  if (place !== null && file_place !== null) {
    throw wrong(place, `and ${file_place} are both set; set one of the two`);
  }
  if (file_place === null) return given.take(name, schema);
  const text = text_of(given.take(file_name, PATH)!, file_place).replace(/\r?\n$/, "");
  const result = schema.safeParse(text);
  if (result.success) return result.data;
  throw wrong(file_place, `names a file whose text ${result.error.issues[0]!.message}`);
}

function text_of(path: string, place: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    throw wrong(place, `names ${path}, which cannot be read (${(error as Error).message})`);
  }
}

function own_name(): string {
  const name = hostname();
  if (NAME.safeParse(name).success) return name;
  throw wrong(SETTINGS.node_id.variable, `is not set, and this machine's host name cannot be a node's id`);
}

function base_url(text: string, context: z.RefinementCtx): string {
  const url = URL.canParse(text) ? new URL(text) : null;
  const plain = url !== null && `${url.protocol}//${url.host}` === text.replace(/\/$/, "");
  if (plain && /^https?:$/.test(url.protocol)) return url.origin;
  context.addIssue({ code: "custom", message: "must be http://HOST:PORT, without a path" });
  return z.NEVER;
}

function wrong(place: string, message: string): Problem {
  return new Problem("bad_input", `${place} ${message}`, { field: place });
}
