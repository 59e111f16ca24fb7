/** What a sender does with a server's answers, and with none. */
import { describe, expect, test } from "vitest";
import { http_outlet, type Posted } from "#services/agent/http_outlet.js";
import { type Delivery, Sender } from "#services/agent/sender.js";
import { MemorySpool, type SpooledEvent } from "#services/agent/spool.js";
import { decode_batch, encode_event } from "#services/events/codec.js";

const STREAM = "7";

function event(sequence: number, stream = STREAM): SpooledEvent {
  const bytes = encode_event({
    host_id: "web-17",
    stream: Number(stream),
    sequence,
    time_unix_ms: sequence,
    removed: { patch: { name: "kp_1" } },
  });
  return { stream, sequence, time_unix_ms: sequence, forced: false, bytes };
}

class Sending {
  readonly spool = new MemorySpool();
  readonly delivered: number[][] = [];
  readonly said: string[] = [];
  readonly asked: string[] = [];
  answers: (Delivery | (() => Delivery))[] = [];
  now_ms = 0;
  private readonly signal = new AbortController().signal;
  readonly sender: Sender;

  constructor(sequences: number[]) {
    const state = {
      host_id: "web-17",
      stream: STREAM,
      next_sequence: 9,
      known: null,
      floor_unix_ms: 0,
      daily_unix_ms: 0,
      blind_since_unix_ms: null,
      taken: [],
    };
    this.spool.commit(
      state,
      sequences.map((sequence) => event(sequence)),
      false,
    );
    this.sender = new Sender({
      spool: this.spool,
      watch: {
        is_restarting: false,
        new_stream: (why, from_unix_ms) => this.asked.push(`new stream from ${from_unix_ms}: ${why}`),
        observe_soon: () => this.asked.push("observed"),
      },
      outlet: {
        deliver: async (events) => {
          this.delivered.push(events.map(({ sequence }) => sequence));
          const answer = this.answers.shift()!;
          return typeof answer === "function" ? answer() : answer;
        },
      },
      random: () => 0,
      monotonic_ms: () => this.now_ms,
      base_ms: 1_000,
      report: (message) => this.said.push(message),
    });
  }

  send(): Promise<number> {
    return this.sender.send_once(this.signal);
  }

  left(): number[] {
    return this.spool.unsent.map(({ sequence }) => sequence);
  }
}

const taken = (next_sequence: number, knowledge = "complete", effective_unix_ms = 500): Delivery => ({
  taken: { next_sequence, knowledge, effective_unix_ms },
});

describe("a batch", () => {
  test("is the same until it is acknowledged, at spans that double up to five minutes", async () => {
    const sending = new Sending([1, 2]);
    sending.answers = Array.from({ length: 12 }, () => ({ later: "no route" }));
    const waits: number[] = [];
    for (let tries = 0; tries < 12; tries++) waits.push(await sending.send());
    expect(waits.slice(0, 4)).toEqual([500, 1_000, 2_000, 4_000]);
    expect(waits.at(-1)).toBe(150_000);
    expect(sending.said).toEqual(["not sent, and tried again: no route"]);
    sending.answers = [taken(3)];
    expect(await sending.send()).toBe(0);
    expect(new Set(sending.delivered.map(String))).toEqual(new Set(["1,2"]));
    expect(sending.left()).toEqual([]);
    expect(sending.spool.state!.floor_unix_ms).toBe(500);
    expect(sending.said.at(-1)).toBe("the server takes events again");
  });

  test("waits for as long as the server says, if that is longer", async () => {
    const sending = new Sending([1]);
    sending.answers = [{ later: "busy", after_ms: 30_000 }];
    expect(await sending.send()).toBe(30_000);
  });

  test("has at most a thousand events, and what came meanwhile stays for the next", async () => {
    const sending = new Sending(Array.from({ length: 1_001 }, (_, index) => index + 1));
    sending.answers = [taken(1_001)];
    await sending.send();
    expect(sending.delivered[0]).toHaveLength(1_000);
    expect(sending.left()).toEqual([1_001]);
  });

  test("that was given up meanwhile takes nothing of what followed it", async () => {
    const sending = new Sending([1, 2, 3]);
    sending.answers = [
      () => {
        sending.spool.commit({ ...sending.spool.state!, stream: "8" }, [event(1, "8")], true);
        return taken(4, "disputed");
      },
    ];
    await sending.send();
    expect(sending.left()).toEqual([1]);
    expect(sending.asked).toEqual([]);
  });
});

describe("a new stream is asked for", () => {
  test("where the registry goes on at another sequence, behind or ahead", async () => {
    for (const next of [1, 2, 4, 40]) {
      const sending = new Sending([1, 2]);
      sending.answers = [taken(next)];
      await sending.send();
      expect(sending.asked).toEqual([`new stream from 500: the registry goes on at ${next}, not at 3`]);
    }
  });

  test("where the host is disputed", async () => {
    const sending = new Sending([1, 2]);
    sending.answers = [taken(3, "disputed")];
    await sending.send();
    expect(sending.asked).toHaveLength(1);
    expect(sending.asked[0]).toContain("two publishers");
  });

  test("where the events are refused for good, since they would be refused again", async () => {
    const sending = new Sending([1, 2]);
    sending.answers = [{ refused: "status 400: too long" }];
    expect(await sending.send()).toBe(500);
    expect(sending.asked).toEqual(["new stream from 1: refused: status 400: too long"]);
  });

  test("not by an acknowledgement of a stream before: a boot that came meanwhile began another one", async () => {
    const sending = new Sending([1, 2]);
    sending.spool.commit({ ...sending.spool.state!, stream: "8" }, [], false);
    sending.answers = [taken(3, "disputed")];
    await sending.send();
    expect(sending.asked).toEqual([]);
  });
});

test("a host of which events are missing is told in full, once, not with every acknowledgement", async () => {
  const sending = new Sending([1]);
  for (const knowledge of ["gap", "gap", "no_baseline"]) {
    sending.answers = [taken(2, knowledge)];
    await sending.send();
    sending.spool.commit(sending.spool.state!, [event(1)], false);
  }
  expect(sending.asked).toEqual(["observed"]);
});

describe("over HTTP", () => {
  const ack = (host: object) => JSON.stringify({ positions: { "3": "1" }, hosts: [host] });
  const answers = async (posted: Posted | Error) => {
    const bodies: Uint8Array[] = [];
    const outlet = http_outlet(async (body) => {
      bodies.push(body);
      if (posted instanceof Error) throw posted;
      return posted;
    });
    const delivery = await outlet.deliver([event(1), event(2)]);
    expect(decode_batch(bodies[0]!).map(({ event }) => Number(event.sequence))).toEqual([1, 2]);
    return delivery;
  };
  const posted = (status: number, text = "", retry_after?: string): Posted => ({ status, text, retry_after });

  test("an acknowledgement tells of the host", async () => {
    const host = {
      host_id: "web-17",
      next_sequence: "3",
      knowledge: "gap",
      effective_time: "2026-03-01T12:00:00.000Z",
    };
    expect(await answers(posted(200, ack(host)))).toEqual({
      taken: { next_sequence: 3, knowledge: "gap", effective_unix_ms: Date.UTC(2026, 2, 1, 12) },
    });
  });

  test("one that could not tell of the host in time takes the events, and the stream goes on", async () => {
    const host = { host_id: "web-17", next_sequence: null, knowledge: null, effective_time: null };
    expect(await answers(posted(200, ack(host)))).toEqual({ taken: null });
    const sending = new Sending([1, 2]);
    sending.answers = [{ taken: null }];
    await sending.send();
    expect(sending.left()).toEqual([]);
    expect(sending.asked).toEqual([]);
  });

  test("one that tells of somebody else, or of nothing, acknowledges nothing", async () => {
    expect(await answers(posted(200, ack({ host_id: "web-18" })))).toHaveProperty("later");
    expect(await answers(posted(200, "<html>welcome</html>"))).toHaveProperty("later");
  });

  test("what says something of the events is final; what says something of the server is not", async () => {
    expect(await answers(posted(400, '{"detail":"host_id: is missing"}'))).toEqual({
      refused: "status 400: host_id: is missing",
    });
    expect(await answers(posted(413))).toHaveProperty("refused");
    for (const status of [301, 401, 403, 404, 429, 500, 502, 503, 507])
      expect([status, await answers(posted(status))]).toEqual([
        status,
        expect.objectContaining({ after_ms: 0 }),
      ]);
    expect(await answers(posted(429, "", "12"))).toMatchObject({ after_ms: 12_000 });
    expect(await answers(new Error("ECONNREFUSED"))).toEqual({ later: "ECONNREFUSED" });
  });
});
