// A node is killed that owned ten million events: its standby has them, and answers when the session has ended.
import { expect, test } from "vitest";
import { encode_batch } from "#services/events/codec.js";
import { partition_of } from "#services/events/partition.js";
import { kafka_of } from "#services/kafka/kafka_client.js";
import type { KafkaSettings } from "#services/kafka/settings.js";
import {
  ask_as_peer,
  ends_of,
  eventually,
  fleet_of,
  make_registry,
  type Node,
  owners,
  SESSION_TIMEOUT_MS,
  start_node,
} from "./nodes.js";
import { event } from "./published.js";
import { shared_settings } from "./shared_broker.js";

const PARTITIONS = 4;
const EVENTS = 10_000_000;
const EVENTS_PER_RECORD = 250;
const RECORDS_PER_SEND = 40;
/** Of each partition. */
const RECORDS_APART = 20;
/** The least that is three bytes as a varint, so that it can be counted in place. */
const SEQUENCE_MIN = 1 << 14;
const MINUTES_MS = 60_000;
/** Only what never comes takes so long. */
const ANSWERS_WITHIN_MS = SESSION_TIMEOUT_MS + 60_000;

/** Records of so many events of different hosts of the partition, whose sequences are set in place. */
class Template {
  readonly bytes: Buffer;
  readonly #sequences: number[] = [];

  constructor(host_ids: string[]) {
    const [one, other] = [1, 2].map((sequence) =>
      Buffer.from(encode_batch(host_ids.map((host_id) => event(host_id, SEQUENCE_MIN + sequence)))),
    );
    this.bytes = one!;
    for (const [at, byte] of one!.entries()) if (byte !== other![at]) this.#sequences.push(at);
    expect(this.#sequences).toHaveLength(host_ids.length);
  }

  with_sequence(sequence: number): Buffer {
    const record = Buffer.from(this.bytes);
    const number = SEQUENCE_MIN + sequence;
    for (const at of this.#sequences) {
      record[at] = (number & 0x7f) | 0x80;
      record[at + 1] = ((number >> 7) & 0x7f) | 0x80;
      record[at + 2] = number >> 14;
    }
    return record;
  }
}

function templates_of(partition: number): Template[] {
  const hosts: string[] = [];
  for (let i = 0; hosts.length < RECORDS_APART * EVENTS_PER_RECORD; i++) {
    if (partition_of(Buffer.from(`web-${i}`), PARTITIONS) === partition) hosts.push(`web-${i}`);
  }
  return Array.from(
    { length: RECORDS_APART },
    (_, i) => new Template(hosts.slice(i * EVENTS_PER_RECORD, (i + 1) * EVENTS_PER_RECORD)),
  );
}

async function fill(settings: KafkaSettings, partitions: number[]): Promise<void> {
  const producer = kafka_of(settings, "test").producer();
  await producer.connect();
  const records = EVENTS / EVENTS_PER_RECORD / partitions.length;
  await Promise.all(
    partitions.map(async (partition) => {
      const templates = templates_of(partition);
      for (let at = 0; at < records; at += RECORDS_PER_SEND) {
        const messages = Array.from({ length: RECORDS_PER_SEND }, (_, i) => {
          const sequence = Math.floor((at + i) / RECORDS_APART);
          return { partition, value: templates[(at + i) % RECORDS_APART]!.with_sequence(sequence) };
        });
        await producer.send({ topic: settings.topics.host_events, messages });
      }
    }),
  );
  await producer.disconnect();
}

async function has_all(
  node: Node,
  partitions: number[],
  ends: bigint[],
  role: "owner" | "standby",
): Promise<void> {
  const status = await ask_as_peer(node, "status", [partitions], { role });
  expect(status.map(({ partition, next_offset }) => [partition, next_offset])).toEqual(
    partitions.map((partition) => [partition, ends[partition]]),
  );
}

test(
  "its partitions answer again, with all of them",
  async () => {
    const settings = await make_registry(shared_settings({ KLPSTATE_KAFKA_PARTITIONS: `${PARTITIONS}` }));
    const [a, b] = await Promise.all(["a", "b"].map((name) => start_node(settings, name)));
    const of_b = () =>
      owners(settings, [a!, b!]).then((found) => found.flatMap((it, i) => (it === b ? [i] : [])));
    await expect.poll(async () => (await of_b()).length, { timeout: 2 * MINUTES_MS }).toBe(PARTITIONS / 2);
    const theirs = await of_b();
    await fill(settings, theirs);
    const ends = await ends_of(settings);
    await eventually(() => has_all(b!, theirs, ends, "owner"), 20 * MINUTES_MS);
    await eventually(() => has_all(a!, theirs, ends, "standby"), 20 * MINUTES_MS);
    expect(await of_b()).toEqual(theirs);

    const began = performance.now();
    await b!.kill();
    const page = await eventually(async () => {
      const now = await fleet_of(a!);
      expect(now).toMatchObject({ complete: true });
      await has_all(a!, theirs, ends, "owner");
      return now;
    }, ANSWERS_WITHIN_MS);
    const took_ms = performance.now() - began;
    console.log(
      `${EVENTS} events of a killed node: answered again after ${(took_ms / 1000).toFixed(1)} s, session ${SESSION_TIMEOUT_MS / 1000} s`,
    );
    for (const partition of theirs) expect(page.at.position[partition]).toBe(`${ends[partition]}`);
    expect(page.fleet.reduce((sum, { hosts }) => sum + hosts, 0)).toBe(
      theirs.length * RECORDS_APART * EVENTS_PER_RECORD,
    );
  },
  60 * MINUTES_MS,
);
