// What Kafka mode is told: where it may stand, what is taken, and what a wrong word of it is answered.
import { generateKeyPairSync } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { parse } from "yaml";
import { describe_settings, kafka_settings, kafka_settings_wanted } from "#services/kafka/settings.js";

const BROKERS = { KLPSTATE_KAFKA_BROKERS: "broker-1:9092" };
const SASL = {
  ...BROKERS,
  KLPSTATE_KAFKA_SASL_MECHANISM: "scram-sha-512",
  KLPSTATE_KAFKA_USERNAME: "klpstate",
  KLPSTATE_KAFKA_PASSWORD: "very secret",
};

/** Nobody's; its key is thrown away. */
const CERTIFICATE = `-----BEGIN CERTIFICATE-----
MIIBMjCB5aADAgECAhRWpa2588kbeyc+/fwoWjyb3vdd2jAFBgMrZXAwDjEMMAoG
A1UEAwwDb25lMCAXDTI2MTEyNjAyNTQwNVoYDzIxMjYxMTAyMDI1NDA1WjAOMQww
CgYDVQQDDANvbmUwKjAFBgMrZXADIQC/xjOuccYYP5gTJoffzUAjrEqalrIxjPr7
UNZKZU0mVKNTMFEwHQYDVR0OBBYEFIqjiAbT7MR1sUGD3wb/Aby6OHiPMB8GA1Ud
IwQYMBaAFIqjiAbT7MR1sUGD3wb/Aby6OHiPMA8GA1UdEwEB/wQFMAMBAf8wBQYD
K2VwA0EAWfw0nH4LvE70OSfmOowdJZnUxxRgHnDERqHSpZbmBw+FBlegfG5k5TNC
rtqaU6o2EA2HUtluL2cvxvtooW69CA==
-----END CERTIFICATE-----
`;
const { privateKey } = generateKeyPairSync("ed25519");
const KEY = privateKey.export({ type: "pkcs8", format: "pem" }) as string;

let directory: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "klpstate-settings-"));
});
afterAll(() => rmSync(directory, { recursive: true }));

function file(name: string, text: string): string {
  const path = join(directory, name);
  writeFileSync(path, text);
  return path;
}

describe("settings", () => {
  test("brokers are enough, and the rest has defaults", () => {
    expect(kafka_settings({ ...BROKERS, KLPSTATE_NODE_ID: "n1" })).toEqual({
      brokers: ["broker-1:9092"],
      sasl: null,
      tls: null,
      topics: {
        host_events: "klpstate.host-events",
        catalog: "klpstate.catalog",
        quarantine: "klpstate.quarantine",
        state_changes: "klpstate.state-changes",
      },
      group_id: "klpstate",
      node_id: "n1",
      advertise: null,
      replication: 3,
      partitions: 64,
      session_timeout_ms: 10_000,
      accept_unsafe_topics: false,
      state_changes: true,
      cluster_secret: null,
      peer_allow: ["127.0.0.0/8", "::1/128"],
    });
  });

  test("a file says the same as the environment, which counts before it", () => {
    const document = parse(`
kafka:
  brokers: [broker-1:9092, broker-2:9092]
  sasl_mechanism: plain
  username: klpstate
  password_file: ${file("password", "very secret\n")}
  tls: true
  topic_prefix: fleet.
  group: fleet
  replication: 2
  partitions: 8
  session_timeout_ms: 6000
  accept_unsafe_topics: true
  state_changes: off
node:
  id: n1
  advertise: http://n1:7350
  cluster_secret: 0123456789abcdef
  peer_allow: [10.0.0.0/8]
`);
    const settings = kafka_settings({}, document);
    expect(settings).toEqual({
      brokers: ["broker-1:9092", "broker-2:9092"],
      sasl: { mechanism: "plain", username: "klpstate", password: "very secret" },
      tls: { ca: null, cert: null, key: null },
      topics: {
        host_events: "fleet.host-events",
        catalog: "fleet.catalog",
        quarantine: "fleet.quarantine",
        state_changes: "fleet.state-changes",
      },
      group_id: "fleet",
      node_id: "n1",
      advertise: "http://n1:7350",
      replication: 2,
      partitions: 8,
      session_timeout_ms: 6000,
      accept_unsafe_topics: true,
      state_changes: false,
      cluster_secret: "0123456789abcdef",
      peer_allow: ["10.0.0.0/8"],
    });
    const other = kafka_settings({ KLPSTATE_KAFKA_BROKERS: "b:1, c:2", KLPSTATE_KAFKA_TLS: "off" }, document);
    expect(other).toEqual({ ...settings, brokers: ["b:1", "c:2"], tls: null });
  });

  test("an empty variable is not set, as a compose file leaves it", () => {
    const empty = { KLPSTATE_KAFKA_SASL_MECHANISM: "", KLPSTATE_KAFKA_USERNAME: "", KLPSTATE_ADVERTISE: "" };
    expect(kafka_settings({ ...BROKERS, ...empty })).toEqual(kafka_settings(BROKERS));
  });

  test("brokers in the environment or in the file want Kafka, nothing else does", () => {
    expect(kafka_settings_wanted({})).toBe(false);
    expect(kafka_settings_wanted({ KLPSTATE_KAFKA_BROKERS: "" })).toBe(false);
    expect(kafka_settings_wanted({ KLPSTATE_KAFKA_GROUP: "fleet" }, { node: { id: "n1" } })).toBe(false);
    expect(kafka_settings_wanted(BROKERS)).toBe(true);
    expect(kafka_settings_wanted({}, { kafka: { brokers: ["a:1"] } })).toBe(true);
  });

  test("they cross threads", () => {
    const settings = kafka_settings(SASL);
    expect(structuredClone(settings)).toEqual(settings);
  });

  test("an authority is read from its file, and wants TLS", () => {
    const tls = { ca: CERTIFICATE, cert: null, key: null };
    expect(kafka_settings({ ...BROKERS, KLPSTATE_KAFKA_CA_FILE: file("ca.pem", CERTIFICATE) }).tls).toEqual(
      tls,
    );
  });

  test("none of the secrets is in what is shown of them", () => {
    const settings = kafka_settings({ ...SASL, KLPSTATE_CLUSTER_SECRET: "0123456789abcdef" });
    const tls = { ca: null, cert: CERTIFICATE, key: KEY };
    const shown = JSON.stringify(describe_settings({ ...settings, tls }));
    expect(shown).toContain("scram-sha-512, as klpstate");
    expect(shown).not.toMatch(/very secret|0123456789abcdef|BEGIN/);
  });
});

describe("a wrong setting is named", () => {
  test.each<[string, Record<string, string>]>([
    ["KLPSTATE_KAFKA_BROKERS is not set", { KLPSTATE_KAFKA_BROKERS: "" }],
    ["KLPSTATE_KAFKA_BROKERS must be HOST:PORT, each", { KLPSTATE_KAFKA_BROKERS: "broker-1" }],
    ["KLPSTATE_KAFKA_BROKERS must be HOST:PORT, each", { KLPSTATE_KAFKA_BROKERS: "a:1,b:70000" }],
    ["KLPSTATE_KAFKA_BROKERS must be HOST:PORT, each", { KLPSTATE_KAFKA_BROKERS: "[::1]:9092" }],
    ["KLPSTATE_KAFKA_SASL_MECHANISM must be plain,", { ...SASL, KLPSTATE_KAFKA_SASL_MECHANISM: "gssapi" }],
    [
      "KLPSTATE_KAFKA_USERNAME is not set, but KLPSTATE_KAFKA_SASL_MECHANISM is",
      { ...SASL, KLPSTATE_KAFKA_USERNAME: "" },
    ],
    [
      "KLPSTATE_KAFKA_PASSWORD or KLPSTATE_KAFKA_PASSWORD_FILE is not set",
      { ...SASL, KLPSTATE_KAFKA_PASSWORD: "" },
    ],
    [
      "KLPSTATE_KAFKA_PASSWORD is set, but KLPSTATE_KAFKA_SASL_MECHANISM is not",
      { KLPSTATE_KAFKA_PASSWORD: "very secret" },
    ],
    [
      "KLPSTATE_KAFKA_PASSWORD and KLPSTATE_KAFKA_PASSWORD_FILE are both set",
      { ...SASL, KLPSTATE_KAFKA_PASSWORD_FILE: "/x" },
    ],
    ["KLPSTATE_KAFKA_CA_FILE names /nowhere, which cannot be read", { KLPSTATE_KAFKA_CA_FILE: "/nowhere" }],
    [
      "KLPSTATE_KAFKA_CA_FILE names /dev/null, which has no PEM block",
      { KLPSTATE_KAFKA_CA_FILE: "/dev/null" },
    ],
    [
      "KLPSTATE_KAFKA_KEY_FILE is set, but KLPSTATE_KAFKA_CERT_FILE is not",
      { KLPSTATE_KAFKA_KEY_FILE: "/x" },
    ],
    [
      "KLPSTATE_KAFKA_CA_FILE is set, but KLPSTATE_KAFKA_TLS is off",
      { KLPSTATE_KAFKA_CA_FILE: "/x", KLPSTATE_KAFKA_TLS: "off" },
    ],
    ["KLPSTATE_KAFKA_TLS must be on or off", { KLPSTATE_KAFKA_TLS: "yes" }],
    ["KLPSTATE_KAFKA_TOPIC_PREFIX must be of letters", { KLPSTATE_KAFKA_TOPIC_PREFIX: "my fleet." }],
    ["KLPSTATE_KAFKA_PARTITIONS must be a whole number from 1 to 4096", { KLPSTATE_KAFKA_PARTITIONS: "0" }],
    ["KLPSTATE_KAFKA_PARTITIONS must be a whole number from 1 to 4096", { KLPSTATE_KAFKA_PARTITIONS: "8.5" }],
    ["KLPSTATE_KAFKA_REPLICATION must be a whole number", { KLPSTATE_KAFKA_REPLICATION: "three" }],
    [
      "KLPSTATE_KAFKA_SESSION_TIMEOUT_MS must be a whole number from 1000",
      { KLPSTATE_KAFKA_SESSION_TIMEOUT_MS: "10" },
    ],
    ["KLPSTATE_STATE_CHANGES must be on or off", { KLPSTATE_STATE_CHANGES: "1" }],
    ["KLPSTATE_NODE_ID must be of letters", { KLPSTATE_NODE_ID: "node 1" }],
    ["KLPSTATE_ADVERTISE must be http://HOST:PORT", { KLPSTATE_ADVERTISE: "n1:7350" }],
    ["KLPSTATE_ADVERTISE must be http://HOST:PORT", { KLPSTATE_ADVERTISE: "http://n1:7350/v1" }],
    ["KLPSTATE_CLUSTER_SECRET must be of 16 characters at least", { KLPSTATE_CLUSTER_SECRET: "short" }],
    ["KLPSTATE_PEER_ALLOW must be networks", { KLPSTATE_PEER_ALLOW: "10.0.0.0/33" }],
    ["KLPSTATE_PEER_ALLOW must be networks", { KLPSTATE_PEER_ALLOW: "10.0.0.1" }],
  ])("%s", (message, env) => {
    expect(() => kafka_settings({ ...BROKERS, ...env })).toThrow(message);
  });

  test("a secret that is refused is not in the message", () => {
    const refused = message_of(() => kafka_settings({ ...BROKERS, KLPSTATE_CLUSTER_SECRET: "hunter2" }));
    expect(refused).not.toContain("hunter2");
    const read = { ...BROKERS, KLPSTATE_CLUSTER_SECRET_FILE: file("secret", "hunter2\n") };
    expect(message_of(() => kafka_settings(read))).toBe(
      "KLPSTATE_CLUSTER_SECRET_FILE names a file whose text must be of 16 characters at least",
    );
  });

  test("a certificate that is not the key's", () => {
    const env = {
      KLPSTATE_KAFKA_CERT_FILE: file("cert.pem", CERTIFICATE),
      KLPSTATE_KAFKA_KEY_FILE: file("key.pem", KEY),
    };
    expect(() => kafka_settings({ ...BROKERS, ...env })).toThrow(
      "KLPSTATE_KAFKA_CERT_FILE, KLPSTATE_KAFKA_KEY_FILE cannot be used together",
    );
  });

  test.each<[string, unknown]>([
    ["the file of --config must have sections", ["kafka"]],
    ["kafka must have keys", { kafka: "broker-1:9092" }],
    ["kafka.broker is no setting", { kafka: { broker: "broker-1:9092" } }],
    ["kafka.brokers must be a list", { kafka: { brokers: 9092 } }],
    ["kafka.partitions must be a whole number", { kafka: { brokers: "a:1", partitions: "many" } }],
    ["node.id must be a text", { kafka: { brokers: "a:1" }, node: { id: 7 } }],
  ])("by its key in the file: %s", (message, document) => {
    expect(() => kafka_settings({}, document)).toThrow(message);
  });
});

function message_of(call: () => unknown): string {
  try {
    call();
  } catch (error) {
    return (error as Error).message;
  }
  return "nothing was wrong";
}
