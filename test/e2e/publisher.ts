/**
 * Who fills a registry and counts on what it was told: publishers of events, one of manifests, and what each of them
 * finds afterwards.
 */
import { expect } from "vitest";
import { encode_batch } from "#services/events/codec.js";
import { event_from_json } from "#services/events/json.js";
import type { Ack, HistoryEntry, HostAnswer, PatchEntry, ReplayAnswer } from "#services/registry/answers.js";
import { fold_log, hosts_digest } from "../model/registry.js";
import {
  type Answer,
  ask,
  ask_json,
  host_path,
  json_lines,
  post,
  post_json,
  type Server,
} from "./klpstate.js";

const BEGINNING_MS = 1_780_000_000_000;
const HOSTS_OF_PUBLISHER = 5;
const EVENTS_OF_HOST = 8;
const KERNEL = { kernel_release: "6.12.1", arch: "x86_64" };

interface Acknowledged {
  batch: number;
  ack: Ack;
}

/**
 * A batch of one event. With every fourth sequence a patch of its own comes, which then goes and is removed; in between
 * one is refused. So no host ever has more than one, and its last one names the sequence.
 */
function event_of(host_id: string, sequence: number): Uint8Array {
  const numbers = { stream: "9", sequence, time_unix_ms: BEGINNING_MS + sequence };
  return encode_batch([event_from_json({ host_id, ...numbers, ...change_of(sequence) })]);
}

function change_of(sequence: number): object {
  const patch = { name: `kp_${sequence - (sequence % 4)}` };
  if (sequence === 1) return { observed: { ...KERNEL, livepatching: "supported" } };
  if (sequence % 4 === 3 || sequence === 2) return { refused: { patch, reason: "incompatible" } };
  return [{ loaded: { patch } }, { disabled: { patch } }, { removed: { patch } }][sequence % 4]!;
}

/** Sends batch after batch about hosts of its own, each when the one before it is acknowledged. */
export class Publisher {
  readonly hosts: string[];
  readonly acknowledged: Acknowledged[] = [];
  /** How many batches were ever sent. */
  sent = 0;
  readonly #events_of_host: number;

  constructor(
    readonly name: string,
    /** Of one host in one batch; a multiple of four. */
    events_of_host = EVENTS_OF_HOST,
  ) {
    this.#events_of_host = events_of_host;
    this.hosts = Array.from({ length: HOSTS_OF_PUBLISHER }, (_, index) => `${name}/host ${index}`);
  }

  batch(number: number): Uint8Array {
    const first = number * this.#events_of_host + 1;
    const sequences = numbers_to(this.#events_of_host).map((index) => first + index - 1);
    return Buffer.concat(
      this.hosts.flatMap((host_id) => sequences.map((sequence) => event_of(host_id, sequence))),
    );
  }

  send(server: Server, number: number): Promise<Answer> {
    this.sent = Math.max(this.sent, number + 1);
    return post(server, "/v1/events", "application/x-protobuf", this.batch(number));
  }

  /** Sends the batch behind those that are acknowledged. Rejects where the connection breaks. */
  async send_next(server: Server): Promise<Answer> {
    const batch = this.acknowledged.length;
    const answer = await this.send(server, batch);
    if (answer.status === 200) this.acknowledged.push({ batch, ack: JSON.parse(answer.text) as Ack });
    return answer;
  }

  /** Until the server is gone. */
  async send_on(server: Server): Promise<void> {
    for (;;) {
      const answer = await this.send_next(server).catch(() => null);
      if (answer === null) return;
      expect(answer.status, answer.text).toBe(200);
    }
  }

  /** What an acknowledgement promised is so, of as many of its hosts: in effect once, in order, and no batch in part. */
  async expect_kept(server: Server, hosts_max = HOSTS_OF_PUBLISHER): Promise<void> {
    const last = this.acknowledged.at(-1);
    if (last === undefined) return;
    for (const { host_id, next_sequence } of last.ack.hosts.slice(0, hosts_max)) {
      const applied = applied_sequences(await history_of(server, host_id));
      expect(applied).toEqual(numbers_to(applied.length));
      expect(applied.length).toBeGreaterThanOrEqual(Number(next_sequence) - 1);
      expect(applied.length % this.#events_of_host).toBe(0);
      const host = await ask_json<HostAnswer>(server, host_path(host_id));
      expect(host.knowledge).toBe("complete");
      const position = BigInt(host.at.position[host.partition]!);
      expect(position).toBeGreaterThanOrEqual(BigInt(last.ack.positions[host.partition]!));
    }
  }

  /** Sends all that was ever sent once more; then all of it is in effect, once. */
  async send_again(server: Server): Promise<void> {
    for (let batch = 0; batch < this.sent; batch++) expect((await this.send(server, batch)).status).toBe(200);
    const last = this.sent * this.#events_of_host;
    for (const host_id of this.hosts) {
      const history = await history_of(server, host_id);
      expect(applied_sequences(history)).toEqual(numbers_to(last));
      expect(history.at(-1)!.stack).toEqual([`kp_${last}`]);
      expect(history.flatMap(({ anomalies }) => anomalies)).toEqual([]);
    }
  }
}

export async function history_of(server: Server, host_id: string): Promise<HistoryEntry[]> {
  const { text, status } = await ask(server, host_path(host_id, "/history"), {
    headers: { accept: "application/x-ndjson" },
  });
  expect(status, text).toBe(200);
  return json_lines<HistoryEntry>(text);
}

function applied_sequences(history: HistoryEntry[]): number[] {
  return history.filter(({ effect }) => effect === "applied").map(({ sequence }) => Number(sequence));
}

function numbers_to(last: number): number[] {
  return Array.from({ length: last }, (_, index) => index + 1);
}

/** The digest of a replay, which is that of what is served. */
export async function replayed_digest(server: Server): Promise<string> {
  const answer = await ask_json<ReplayAnswer>(server, "/v1/replay", { method: "POST" });
  expect(answer.matches).toBe(true);
  return answer.digest!;
}

/** What the plain model makes of the events that each host says it has. */
export async function model_digest(server: Server, publishers: Publisher[]): Promise<string> {
  const records: { bytes: Uint8Array; log_time_ms: bigint }[] = [];
  for (const host_id of publishers.flatMap(({ hosts }) => hosts)) {
    const answer = await ask(server, host_path(host_id));
    // Of a batch that was not acknowledged any of its partitions may lack their part.
    if (answer.status === 404) continue;
    const { sequence } = JSON.parse(answer.text) as HostAnswer;
    for (const each of numbers_to(Number(sequence)))
      records.push({ bytes: event_of(host_id, each), log_time_ms: BigInt(Date.now()) });
  }
  return hosts_digest(fold_log(records).hosts.values());
}

/** Publishes manifest after manifest and withdraws every third one. */
export class CatalogPublisher {
  /** Names of manifests of which the server said so. */
  readonly #published: string[] = [];
  readonly #withdrawn = new Set<string>();
  #withdrawing: string | null = null;

  /** Until the server is gone. */
  async send_on(server: Server): Promise<void> {
    for (;;) {
      const done = await this.#send_next(server).catch(() => null);
      if (done === null) return;
      expect([200, 201], done.text).toContain(done.status);
    }
  }

  async #send_next(server: Server): Promise<Answer> {
    const last = this.#published.at(-1);
    if (last !== undefined && this.#published.length % 3 === 0 && !this.#withdrawn.has(last)) {
      this.#withdrawing = last;
      const answer = await post_json(server, "/v1/patches/withdraw", {
        name: last,
        ...KERNEL,
        reason: "it is the third one",
        by: "a test",
      });
      if (answer.status === 200) this.#withdrawn.add(last);
      return answer;
    }
    const name = `catalog_${this.#published.length}`;
    const answer = await post_json(server, "/v1/patches", {
      name,
      ...KERNEL,
      states: [{ id: "7", version: 1 }],
    });
    if (answer.status < 300) this.#published.push(name);
    return answer;
  }

  /** Every manifest that was acknowledged is there once, and withdrawn if that was acknowledged. */
  async expect_kept(server: Server): Promise<void> {
    const answer = await ask(server, "/v1/patches", { headers: { accept: "application/x-ndjson" } });
    expect(answer.status, answer.text).toBe(200);
    const entries = json_lines<PatchEntry>(answer.text);
    const names = entries.map(({ manifest }) => String(manifest.name));
    // The one that was under way may be there as well.
    expect(names.slice(0, this.#published.length)).toEqual(this.#published);
    expect(names.length).toBeLessThanOrEqual(this.#published.length + 1);
    for (const { manifest, withdrawn, refused } of entries) {
      const name = String(manifest.name);
      expect(refused).toEqual([]);
      if (withdrawn !== null && name === this.#withdrawing) this.#withdrawn.add(name);
      expect(withdrawn !== null, name).toBe(this.#withdrawn.has(name));
    }
  }
}
