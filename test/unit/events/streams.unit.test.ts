import protobuf from "protobufjs/minimal.js";
import { describe, expect, it } from "vitest";
import { delimited_messages } from "#services/events/delimited.js";
import { at_line, type Line, ndjson_lines } from "#services/events/ndjson.js";
import { Problem } from "#services/events/problem.js";

async function* in_chunks(bytes: Uint8Array, size: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

async function all<Item>(items: AsyncIterable<Item>): Promise<Item[]> {
  const list: Item[] = [];
  for await (const item of items) list.push(item);
  return list;
}

describe("NDJSON lines", () => {
  const text = '{"a":"é"}\r\n\n   \n{"b":2}\n\n{"c":"last, without a line feed"}';
  const expected: Line[] = [
    { line: 1, text: '{"a":"é"}\r' },
    { line: 4, text: '{"b":2}' },
    { line: 6, text: '{"c":"last, without a line feed"}' },
  ];

  it.each([1, 2, 3, 7, 1000])(
    "are the same in chunks of %i bytes, blank ones counted and left out",
    async (size) => {
      expect(await all(ndjson_lines(in_chunks(Buffer.from(text), size)))).toEqual(expected);
    },
  );

  it("a source may use its buffer again", async () => {
    async function* reusing() {
      const buffer = Buffer.from("abcd");
      yield buffer;
      buffer.write("efg\n");
      yield buffer;
    }
    expect(await all(ndjson_lines(reusing()))).toEqual([{ line: 1, text: "abcdefg" }]);
  });

  it.each([1, 4, 100])("a line over the limit is refused with its number, in chunks of %i", async (size) => {
    const bytes = Buffer.from("12345678\n123456789\n");
    await expect(all(ndjson_lines(in_chunks(bytes, size), 8))).rejects.toMatchObject({
      code: "too_large",
      parts: { line: 2, limit: "at most 8 bytes a line" },
    });
  });

  it("bytes that are no UTF-8 are refused with the line's number", async () => {
    const bytes = Buffer.concat([Buffer.from("1\n"), Buffer.from([0xc3, 0x28, 0x0a])]);
    await expect(all(ndjson_lines(in_chunks(bytes, 3)))).rejects.toThrow("line 2: not valid UTF-8");
  });

  it("a Problem in a line names the line", () => {
    const read = () =>
      at_line(7, () => {
        throw new Problem("bad_input", "stream: is missing", { field: "stream" });
      });
    expect(read).toThrow(
      expect.objectContaining({ message: "line 7: stream: is missing", parts: { field: "stream", line: 7 } }),
    );
  });
});

describe("length-delimited messages", () => {
  const messages = [Buffer.alloc(0), Buffer.from("one"), Buffer.alloc(300, 7), Buffer.alloc(70_000, 1)];
  const writer = protobuf.Writer.create();
  for (const message of messages) writer.bytes(message);
  const bytes = writer.finish();

  it.each([1, 2, 5, 301, 100_000])("are the same in chunks of %i bytes", async (size) => {
    const read = await all(delimited_messages(in_chunks(bytes, size)));
    expect(read.map((message) => Buffer.from(message).equals(messages.shift()!))).toEqual([
      true,
      true,
      true,
      true,
    ]);
    messages.push(...read.map((message) => Buffer.from(message)));
  });

  it("a message over the limit is refused before it is read", async () => {
    const start = in_chunks(Uint8Array.from([1, 0, 0x81, 0xa0, 0x38]), 2);
    await expect(all(delimited_messages(start))).rejects.toMatchObject({
      code: "too_large",
      parts: { field: "messages[1]", value: "921601", limit: "at most 921600 bytes" },
    });
  });

  it.each([[[3, 1, 2]], [[0x80]], [[1, 5, 2]]])(
    "a stream that ends inside a message is refused: %j",
    async (start) => {
      await expect(all(delimited_messages(in_chunks(Uint8Array.from(start), 1)))).rejects.toThrow(
        "ends inside it",
      );
    },
  );

  it("what is no length is refused", async () => {
    await expect(all(delimited_messages(in_chunks(new Uint8Array(6).fill(0xff), 6)))).rejects.toThrow(
      "no length",
    );
    const too_long = Uint8Array.from([0xff, 0xff, 0xff, 0xff, 0x0f]);
    await expect(all(delimited_messages(in_chunks(too_long, 5)))).rejects.toThrow("no length");
  });
});
