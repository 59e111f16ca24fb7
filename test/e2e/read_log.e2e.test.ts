/**
 * docs/read_log.py knows the log's format from docs/log-format.md alone: what it reads and where it finds damage is what
 * the product reads and finds, so the page says what the product does.
 */
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { appendFileSync, cpSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { encode_batch, encode_event } from "#services/events/codec.js";
import { event_from_json } from "#services/events/json.js";
import { klpstate as proto } from "#services/events/proto.js";
import { LogCorruption } from "#services/log/corruption.js";
import { encode_empty_frame, encode_frames, frames_of, records_of } from "#services/log/frame.js";
import { Log } from "#services/log/log.js";
import { node_disk } from "#services/log/node_disk.js";
import { klpstate_yes, temporary_directory } from "./klpstate.js";
import { stream_lines } from "./views.js";

const DOCS = join(import.meta.dirname, "../../docs");

/** Once, as a shim in front of it may take longer than all of the reading. */
function find_python(): string {
  const result = spawnSync("python3", ["-c", "import sys; print(sys.executable)"], { encoding: "utf8" });
  if (result.status === 0) return result.stdout.trim();
  const reason = result.error?.message ?? result.stderr;
  throw new Error(`docs/read_log.py needs python3 (apt-get install python3): ${reason}`);
}

const python = find_python();

/** What the reader says of a log's directory. */
function read_by_python(directory: string): { code: number | null; stdout: string; stderr: string } {
  const { status, stdout, stderr } = spawnSync(python, [join(DOCS, "read_log.py"), directory], {
    encoding: "utf8",
    maxBuffer: 2 ** 30,
  });
  return { code: status, stdout, stderr };
}

interface Reading {
  /** In the reader's form. */
  text: string;
  torn: { file: string; byte: number; offset: bigint } | null;
}

/** What the product reads of a log, in the reader's words. Throws LogCorruption. It cuts a torn tail. */
async function read_by_product(directory: string, with_events = true): Promise<Reading> {
  const lines: string[] = [];
  const { log, torn } = await Log.open({
    disk: node_disk,
    directory,
    name: "log",
    now: () => 0,
    seal_after_ms: 3_600_000,
    on_frames(frames) {
      for (const { offset, log_time_ms, bytes } of [...frames_of(frames)].flatMap((frame) => [
        ...records_of(frame),
      ])) {
        const hash = createHash("sha256").update(bytes).digest("hex");
        lines.push(`${offset} ${log_time_ms} ${bytes.length} ${hash}`);
        if (!with_events) continue;
        for (const event of proto.v1.EventBatch.decode(bytes).events)
          lines.push(`  ${event.sequence} ${event.host_id}`);
      }
    },
  });
  await log.close();
  return { text: lines.map((line) => `${line}\n`).join(""), torn };
}

function copy_of(directory: string): string {
  const copy = temporary_directory();
  cpSync(directory, copy, { recursive: true });
  return copy;
}

function segments_of(directory: string): string[] {
  return readdirSync(directory)
    .sort()
    .map((name) => join(directory, name));
}

test("the reader reads of every log that the product wrote what the product reads", async () => {
  const data = join(temporary_directory(), "registry");
  await klpstate_yes(["ingest", "-", "--data", data], { stdin: stream_lines().join("\n") });
  const manifest = JSON.stringify({ name: "kp_1", kernel_release: "6.12.1", arch: "x86_64" });
  await klpstate_yes(["patch", "add", "-", "--data", data], { stdin: manifest });
  const logs = readdirSync(join(data, "log"));
  expect(logs.length).toBe(9);
  for (const log of logs) {
    const directory = join(data, "log", log);
    const { text } = await read_by_product(copy_of(directory), log !== "catalog");
    expect(text).not.toBe("");
    expect(read_by_python(directory)).toEqual({ code: 0, stdout: text, stderr: "" });
  }
});

describe("a log of several segments", () => {
  /** It was closed. */
  let whole: string;
  /** As a kill leaves it: its last commit is not sealed. */
  let open: string;
  let text: string;

  /** Twelve commits of one to three records, in segments of some commits each. */
  beforeAll(async () => {
    whole = temporary_directory();
    let now = 1_780_000_000_000;
    const options = {
      disk: node_disk,
      directory: whole,
      name: "log",
      segment_bytes_max: 900,
      seal_after_ms: 3_600_000,
    };
    const { log } = await Log.open({ ...options, now: () => now });
    for (let commit = 0; commit < 12; commit++) {
      now += 1000;
      const events = [1, 2].map((index) =>
        event_from_json({
          host_id: `höst ${commit}`,
          stream: "7",
          sequence: commit * 2 + index,
          time_unix_ms: now,
          loaded: { patch: { name: `kp_${index}` } },
        }),
      );
      const record = encode_batch(events.map(encode_event));
      await log.append(Array.from({ length: (commit % 3) + 1 }, () => record));
    }
    open = copy_of(whole);
    await log.close();
    ({ text } = await read_by_product(copy_of(whole)));
    expect(segments_of(whole).length).toBeGreaterThan(3);
  });

  test("is read to its end", () => {
    expect(read_by_python(whole)).toEqual({ code: 0, stdout: text, stderr: "" });
  });

  /** Both say the same: all is good, it is torn there, it is damaged there. */
  async function expect_agreement(directory: string): Promise<"good" | "torn" | "damaged"> {
    const read = read_by_python(directory);
    try {
      const { text, torn } = await read_by_product(directory);
      expect(read).toMatchObject({ code: 0, stdout: text });
      if (torn === null) expect(read.stderr).toBe("");
      else expect(read.stderr).toContain(`${torn.file} at byte ${torn.byte} (offset ${torn.offset}): torn`);
      return torn === null ? "good" : "torn";
    } catch (error) {
      if (!(error instanceof LogCorruption)) throw error;
      const { file, byte, offset } = error;
      expect(read.code).toBe(1);
      expect(read.stderr).toContain(`${file} at byte ${byte} (offset ${offset}): `);
      expect(text.startsWith(read.stdout)).toBe(true);
      return "damaged";
    }
  }

  test("with a flipped byte is damaged where the product says, in any segment", async () => {
    for (const [index, file] of segments_of(whole).entries()) {
      const { length } = readFileSync(file);
      for (let at = index; at < length; at += 83) {
        const directory = copy_of(whole);
        const damaged = segments_of(directory)[index]!;
        const bytes = readFileSync(damaged);
        bytes[at]! ^= 0x10;
        writeFileSync(damaged, bytes);
        // The last frame is the empty one: nothing tells whether it was durable.
        const is_last = index === segments_of(whole).length - 1 && at >= length - 40;
        expect(await expect_agreement(directory), `${file} at ${at}`).toBe(is_last ? "torn" : "damaged");
      }
    }
  });

  test("that was cut off is torn where its last whole frame ends", async () => {
    const last = segments_of(open).length - 1;
    const { length } = readFileSync(segments_of(open)[last]!);
    const found = new Set<string>();
    for (let cut = 1; cut < length; cut += 37) {
      const directory = copy_of(open);
      const file = segments_of(directory)[last]!;
      writeFileSync(file, readFileSync(file).subarray(0, length - cut));
      found.add(await expect_agreement(directory));
    }
    // A file that ends with a frame is whole.
    expect(found).toEqual(new Set(["torn"]));
  });

  test("with other bytes at its end is torn there", async () => {
    const directory = copy_of(whole);
    appendFileSync(segments_of(directory).at(-1)!, readFileSync(segments_of(directory)[0]!).subarray(0, 50));
    expect(await expect_agreement(directory)).toBe("torn");
  });

  test("that lost a segment is damaged before the next one", async () => {
    for (const lost of [0, 1]) {
      const directory = copy_of(whole);
      rmSync(segments_of(directory)[lost]!);
      expect(await expect_agreement(directory)).toBe("damaged");
    }
  });

  test("with a good frame that does not follow is damaged there", async () => {
    const { length } = readFileSync(segments_of(whole).at(-1)!);
    const next_offset = BigInt(text.split("\n").filter((line) => /^[0-9]/.test(line)).length);
    for (const frame of [
      encode_empty_frame(next_offset + 1n, 1_790_000_000_000, 0),
      encode_empty_frame(next_offset, 1, 0),
      encode_empty_frame(next_offset, 1_790_000_000_000, length + 1),
    ]) {
      const directory = copy_of(whole);
      appendFileSync(segments_of(directory).at(-1)!, frame);
      expect(await expect_agreement(directory)).toBe("damaged");
    }
  });
});

describe("the frame in docs/log-format.md", () => {
  const page = readFileSync(join(DOCS, "log-format.md"), "utf8");
  const dump = [...page.matchAll(/^[0-9a-f]{4} {2}((?:[0-9a-f]{2} )+)/gm)].map(([, bytes]) => bytes!);
  const bytes = Buffer.from(dump.join("").replaceAll(" ", ""), "hex");

  test("is what the product writes for the event that it is said to be", () => {
    const event = event_from_json({
      host_id: "web-17",
      stream: "7",
      sequence: "5",
      time_unix_ms: "1780000000000",
      loaded: { patch: { name: "kp_1" } },
    });
    const record = { offset: 0n, log_time_ms: 1_780_000_000_250, bytes: encode_batch([encode_event(event)]) };
    const frames = [encode_frames([record], 0), encode_empty_frame(1n, record.log_time_ms, 87)];
    expect(bytes.toString("hex")).toBe(Buffer.concat(frames).toString("hex"));
  });

  test("is what the reader says that it is", () => {
    const directory = temporary_directory();
    writeFileSync(join(directory, `${"0".repeat(20)}.log`), bytes);
    const { stdout } = read_by_python(directory);
    expect(stdout).toMatch(/^0 .*\n {2}5 web-17\n$/);
    expect(page).toContain(`\`\`\`\n${stdout}\`\`\`\n`);
  });
});
