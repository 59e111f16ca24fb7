import type { Message, RecordMetadata } from "kafkajs";
import { describe, expect, test } from "vitest";
import { SoleWriter } from "#services/kafka/migration/sole_writer.js";

type Answer = RecordMetadata[] | Error;

const MESSAGES: Message[] = [{ value: "a" }, { value: "b" }];

function stored_at(offset: bigint): RecordMetadata[] {
  return [{ topicName: "t", partition: 1, errorCode: 0, baseOffset: String(offset) }];
}

/** Answers are given in order; the high watermark is asked for behind those that are none. */
function writer_of(answers: Answer[], high_watermarks: (bigint | Error)[]) {
  const waits_ms: number[] = [];
  const writer = new SoleWriter({
    topic: "t",
    partition: 1,
    producer: {
      async send() {
        const answer = answers.shift()!;
        if (answer instanceof Error) throw answer;
        return answer;
      },
    },
    async high_watermark() {
      const high = high_watermarks.shift()!;
      if (high instanceof Error) throw high;
      return high;
    },
    async wait(ms) {
      waits_ms.push(ms);
    },
  });
  return { writer, answers, waits_ms };
}

const RESET = new Error("connection reset");

describe("a batch", () => {
  test("that is answered where it must stand is stored", async () => {
    const { writer } = writer_of([stored_at(0n), stored_at(2n)], []);
    await writer.write(MESSAGES);
    await writer.write(MESSAGES);
    expect(writer.next_offset).toBe(4n);
  });

  test("whose answer was lost is sent again only where it is not stored", async () => {
    const stored = writer_of([RESET], [2n]);
    await stored.writer.write(MESSAGES);
    expect(stored.writer.next_offset).toBe(2n);
    const not_stored = writer_of([RESET, stored_at(0n)], [0n]);
    await not_stored.writer.write(MESSAGES);
    expect(not_stored.answers).toEqual([]);
  });

  test("that the answer does not name is not taken for stored", async () => {
    const { writer, answers } = writer_of([[], stored_at(0n)], [0n]);
    await writer.write(MESSAGES);
    expect(answers).toEqual([]);
  });

  test("that stands elsewhere ends the writing", async () => {
    const twice = /should stand at offset 0 is at 2; a batch was stored twice/;
    await expect(writer_of([stored_at(2n)], []).writer.write(MESSAGES)).rejects.toThrow(twice);
    // Stored late, behind a look that did not find it.
    await expect(writer_of([RESET, stored_at(2n)], [0n]).writer.write(MESSAGES)).rejects.toThrow(twice);
    await expect(writer_of([RESET], [1n]).writer.write(MESSAGES)).rejects.toMatchObject({
      code: "contradiction",
    });
  });

  test("that no broker takes is given up with what they say", async () => {
    const away = new Error("no leader");
    const { writer, waits_ms } = writer_of(Array(8).fill(away), Array(8).fill(away));
    await expect(writer.write(MESSAGES)).rejects.toMatchObject({
      code: "unavailable",
      message: "t, partition 1: Kafka stores nothing (no leader)",
    });
    expect(waits_ms).toEqual([250, 500, 1000, 2000, 4000, 8000, 16_000]);
    expect(writer.next_offset).toBe(0n);
  });
});
