/** What the tests of the log share: directories that go away, records, and disks that fail on demand. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach } from "vitest";
import type { Disk, WriteFile } from "#services/log/disk.js";
import { records_of } from "#services/log/frame.js";
import { Log, type LogOptions, type OpenedLog } from "#services/log/log.js";
import { node_disk } from "#services/log/node_disk.js";

const directories: string[] = [];
const logs: Log[] = [];

afterEach(async () => {
  for (const log of logs.splice(0)) await log.close();
  for (const directory of directories.splice(0)) rmSync(directory, { recursive: true, force: true });
});

export function temporary_directory(): string {
  const directory = mkdtempSync(join(tmpdir(), "klpstate-log-"));
  directories.push(directory);
  return directory;
}

/** No empty frame unless a test closes the log; a clock that stands. */
export async function open_log(directory: string, options: Partial<LogOptions> = {}): Promise<OpenedLog> {
  const opened = await Log.open({
    disk: node_disk,
    directory,
    name: "partition 0",
    now: () => 1_000,
    seal_after_ms: 3_600_000,
    ...options,
  });
  logs.push(opened.log);
  return opened;
}

/** A record that says which one it is, `bytes` long. */
export function record(number: number, bytes = 100): Uint8Array {
  const made = new Uint8Array(bytes).fill(number % 251);
  if (bytes >= 4) new DataView(made.buffer).setUint32(0, number, true);
  return made;
}

export function record_range(from: number, to: number, bytes = 100): Uint8Array[] {
  return Array.from({ length: to - from }, (_, index) => record(from + index, bytes));
}

/** Every record of a log, as `offset:number`. */
export async function contents(log: Log, from = 0n, to?: bigint): Promise<string[]> {
  const found: string[] = [];
  for await (const frame of log.read(from, to)) {
    for (const { offset, bytes } of records_of(frame.bytes)) {
      found.push(`${offset}:${bytes.length < 4 ? "" : Buffer.from(bytes).readUint32LE(0)}`);
    }
  }
  return found;
}

export function expected_contents(from: number, to: number): string[] {
  return Array.from({ length: to - from }, (_, index) => `${from + index}:${from + index}`);
}

/** The real disk without its fsyncs: for tests of what stands in the files, thousands of times. */
export const unsynced_disk: Disk = {
  ...node_disk,
  open_write: async (path) => {
    const file = await node_disk.open_write(path);
    return {
      write: (buffers, position) => file.write(buffers, position),
      truncate: (bytes) => file.truncate(bytes),
      sync: async () => {},
      close: () => file.close(),
    };
  },
  sync_directory: async () => {},
};

type Step = "open_write" | "write" | "truncate" | "sync" | "sync_directory";

/** The real disk, on which the steps that `fails` names end with its error code; a failing write writes half. */
export function faulty_disk(fails: (step: Step, path: string) => string | null): Disk {
  function maybe_fail(step: Step, path: string): void {
    const code = fails(step, path);
    if (code !== null) throw Object.assign(new Error(`${step} fails: ${code}`), { code });
  }
  return {
    ...node_disk,
    async open_write(path) {
      maybe_fail("open_write", path);
      const file = await node_disk.open_write(path);
      const faulty: WriteFile = {
        async write(buffers, position) {
          try {
            maybe_fail("write", path);
          } catch (error) {
            const whole = Buffer.concat(buffers);
            await file.write([whole.subarray(0, whole.length / 2)], position);
            throw error;
          }
          await file.write(buffers, position);
        },
        async truncate(bytes) {
          maybe_fail("truncate", path);
          await file.truncate(bytes);
        },
        async sync() {
          maybe_fail("sync", path);
          await file.sync();
        },
        close: () => file.close(),
      };
      return faulty;
    },
    async sync_directory(path) {
      maybe_fail("sync_directory", path);
      await node_disk.sync_directory(path);
    },
  };
}
