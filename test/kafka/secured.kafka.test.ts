// A broker that wants to know who asks: TLS with a client's certificate, and a password by PLAIN and by SCRAM.
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { kafka_of } from "#services/kafka/kafka_client.js";
import { expect_refused, klpstate } from "../e2e/klpstate.js";
import { type Brokers, start_brokers } from "./brokers.js";

const PASSWORD = "not-to-be-shown";

let directory: string;
let cluster: Brokers;
let client: Record<string, string>;

function openssl(...args: string[]): void {
  execFileSync("openssl", args, { cwd: directory, stdio: ["ignore", "ignore", "pipe"] });
}

const EC = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];

function make_authority(name: string): void {
  openssl("req", "-x509", ...EC, "-subj", `/CN=${name}`, "-keyout", `${name}.key`, "-out", `${name}.pem`);
}

function make_certificate(name: string, authority: string): void {
  writeFileSync(join(directory, "names"), "subjectAltName=IP:127.0.0.1");
  openssl("req", ...EC, "-subj", `/CN=${name}`, "-keyout", `${name}.key`, "-out", `${name}.csr`);
  const by = ["-CA", `${authority}.pem`, "-CAkey", `${authority}.key`, "-CAcreateserial"];
  openssl("x509", "-req", "-in", `${name}.csr`, ...by, "-extfile", "names", "-out", `${name}.pem`);
}

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), "klpstate-secured-"));
  const file = (name: string) => join(directory, name);
  make_authority("authority");
  make_authority("stranger");
  make_certificate("broker", "authority");
  make_certificate("klpstate", "authority");
  const key_and_certificate = ["broker.key", "broker.pem"].map((name) => readFileSync(file(name), "utf8"));
  writeFileSync(file("keystore.pem"), key_and_certificate.join(""));
  writeFileSync(file("password"), `${PASSWORD}\n`);
  client = {
    KLPSTATE_KAFKA_CA_FILE: file("authority.pem"),
    KLPSTATE_KAFKA_CERT_FILE: file("klpstate.pem"),
    KLPSTATE_KAFKA_KEY_FILE: file("klpstate.key"),
    KLPSTATE_KAFKA_SASL_MECHANISM: "scram-sha-256",
    KLPSTATE_KAFKA_USERNAME: "klpstate",
    KLPSTATE_KAFKA_PASSWORD_FILE: file("password"),
  };
  const login = "org.apache.kafka.common.security";
  cluster = await start_brokers({
    count: 1,
    protocol: "SASL_SSL",
    scram: { klpstate: PASSWORD },
    client,
    config: {
      "listener.name.client.sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512",
      "listener.name.client.plain.sasl.jaas.config": `${login}.plain.PlainLoginModule required user_klpstate="${PASSWORD}";`,
      "listener.name.client.scram-sha-256.sasl.jaas.config": `${login}.scram.ScramLoginModule required;`,
      "listener.name.client.scram-sha-512.sasl.jaas.config": `${login}.scram.ScramLoginModule required;`,
      "listener.name.client.ssl.keystore.type": "PEM",
      "listener.name.client.ssl.keystore.location": file("keystore.pem"),
      "listener.name.client.ssl.truststore.type": "PEM",
      "listener.name.client.ssl.truststore.location": file("authority.pem"),
      "listener.name.client.ssl.client.auth": "required",
    },
  });
});
afterAll(async () => {
  await cluster?.end();
  rmSync(directory, { recursive: true });
});

function verify(env: Record<string, string>) {
  return klpstate(["topics", "verify"], {
    env: { KLPSTATE_KAFKA_BROKERS: cluster.addresses, ...client, ...env },
  });
}

describe("whom the broker knows", () => {
  test.each(["plain", "scram-sha-256", "scram-sha-512"])(
    "makes topics, writes and reads by %s, with a certificate",
    async (mechanism) => {
      const prefix = `${mechanism}.`;
      const env = { KLPSTATE_KAFKA_SASL_MECHANISM: mechanism, KLPSTATE_KAFKA_TOPIC_PREFIX: prefix };
      const { code, stderr } = await klpstate(
        ["topics", "create", "--partitions", "1", "--replication", "1"],
        {
          env: { KLPSTATE_KAFKA_BROKERS: cluster.addresses, ...client, ...env },
        },
      );
      expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
      const settings = cluster.settings(env);
      const topic = settings.topics.host_events;
      const producer = kafka_of(settings, "test").producer();
      await producer.connect();
      await producer.send({ topic, acks: -1, messages: [{ value: mechanism }] });
      await producer.disconnect();
      const consumer = kafka_of(settings, "test").consumer({ groupId: mechanism });
      await consumer.connect();
      await consumer.subscribe({ topics: [topic], fromBeginning: true });
      const value = await new Promise((resolve) => {
        void consumer.run({ eachMessage: async ({ message }) => resolve(`${message.value}`) });
      });
      await consumer.disconnect();
      expect(value).toBe(mechanism);
    },
  );
});

describe("whom it does not know is told why, and no secret", () => {
  test.each(["plain", "scram-sha-256", "scram-sha-512"])(
    "with a wrong password, by %s",
    async (mechanism) => {
      const wrong = "wrong-and-not-to-be-shown";
      const ended = await verify({
        KLPSTATE_KAFKA_SASL_MECHANISM: mechanism,
        KLPSTATE_KAFKA_PASSWORD_FILE: "",
        KLPSTATE_KAFKA_PASSWORD: wrong,
      });
      expect_refused(ended, `do not let klpstate by ${mechanism} in`);
      expect(ended.stderr).not.toContain(wrong);
    },
  );

  test("without a certificate", async () => {
    const ended = await verify({ KLPSTATE_KAFKA_CERT_FILE: "", KLPSTATE_KAFKA_KEY_FILE: "" });
    expect_refused(ended, /cannot be asked: .*certificate/i);
  });

  test("a broker of another authority is not believed", async () => {
    const ended = await verify({ KLPSTATE_KAFKA_CA_FILE: join(directory, "stranger.pem") });
    expect_refused(ended, /cannot be asked: .*certificate/i);
  });

  test("without TLS, and without SASL", async () => {
    const none = {
      KLPSTATE_KAFKA_SASL_MECHANISM: "",
      KLPSTATE_KAFKA_USERNAME: "",
      KLPSTATE_KAFKA_PASSWORD_FILE: "",
    };
    expect_refused(await verify(none), "want SASL");
    const files = { KLPSTATE_KAFKA_CA_FILE: "", KLPSTATE_KAFKA_CERT_FILE: "", KLPSTATE_KAFKA_KEY_FILE: "" };
    expect_refused(await verify({ ...none, ...files }), "may want TLS (KLPSTATE_KAFKA_TLS=on)");
  });
});
