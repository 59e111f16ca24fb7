/** An agent's parts with a clock, chance and a host that a test moves by hand. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach } from "vitest";
import type { Snapshot } from "#services/agent/derive.js";
import { HostReader, type HostRoot, host_root } from "#services/agent/host_files.js";
import { Inbox } from "#services/agent/inbox.js";
import { Kmsg, type KmsgFile, open_kmsg } from "#services/agent/kmsg.js";
import { DiskSpool, MemorySpool, type Spool } from "#services/agent/spool.js";
import { HostWatch } from "#services/agent/watch.js";
import { decode_event } from "#services/events/codec.js";
import { event_to_json } from "#services/events/json.js";
import { HostTree } from "./host_tree.js";

const directories: string[] = [];
afterEach(() => {
  for (const directory of directories.splice(0)) rmSync(directory, { recursive: true, force: true });
});

export function temporary_directory(): string {
  const directory = mkdtempSync(join(tmpdir(), "klpstate-agent-"));
  directories.push(directory);
  return directory;
}

export const NOW_MS = 1_790_000_000_000;

/** An error as the file system gives it. */
export function errno(code: string): NodeJS.ErrnoException {
  return Object.assign(new Error(code), { code });
}

export interface Event {
  stream: string;
  sequence: number;
  time_ms: number;
  not_before_ms: number;
  change: string;
  // biome-ignore lint/suspicious/noExplicitAny: a change's fields, as JSON has them
  body: any;
}

export function events_of(spool: Spool): Event[] {
  return spool.unsent.map(({ bytes }) => {
    const {
      host_id: _,
      stream,
      sequence,
      time_unix_ms,
      not_before_unix_ms,
      ...change
    } = event_to_json(decode_event(bytes)) as Record<string, string>;
    const [name, body] = Object.entries(change)[0]!;
    return {
      stream: stream!,
      sequence: Number(sequence),
      time_ms: Number(time_unix_ms),
      not_before_ms: Number(not_before_unix_ms ?? 0),
      change: name,
      body,
    };
  });
}

export class WatchedHost {
  readonly tree: HostTree;
  readonly directory = temporary_directory();
  readonly said: string[] = [];
  wall_ms = NOW_MS;
  monotonic_ms = 5_000_000;
  /** What opening or reading a file fails with. */
  unreadable = new Map<string, string>();
  spool: Spool;
  watch: HostWatch;
  private streams = 0n;
  private seen = 0;

  constructor(
    shown?: Snapshot,
    private readonly options: { disk?: boolean; spool_bytes_max?: number } = {},
  ) {
    this.tree = new HostTree(temporary_directory(), shown);
    [this.spool, this.watch] = this.start();
  }

  /** As after the end of the process. */
  restart(): void {
    const before = this.spool;
    before.close();
    [this.spool, this.watch] = this.start(before);
    this.monotonic_ms = 0;
  }

  pass(ms: number): void {
    this.wall_ms += ms;
    this.monotonic_ms += ms;
  }

  /** A second passes, and it is looked as often as it takes; the events that were added. */
  look(): Event[] {
    this.pass(1_000);
    const { generation } = this.spool;
    for (let looks = 0; this.watch.look() === "again"; looks++) {
      if (looks === 10) throw new Error("the looks never made sense");
      this.pass(50);
    }
    const events = events_of(this.spool);
    const added = events.slice(this.spool.generation === generation ? this.seen : 0);
    this.seen = events.length;
    return added;
  }

  changes(): string[] {
    return this.look().map(({ change }) => change);
  }

  /** As if a server had all of it. */
  acknowledge(floor_unix_ms = 0): void {
    this.spool.acknowledged(this.spool.unsent.length, floor_unix_ms);
    this.seen = 0;
  }

  root(): HostRoot {
    const files = host_root(this.tree.root);
    const readable = <Value>(path: string, read: (path: string) => Value): Value => {
      const code = this.unreadable.get(path);
      if (code !== undefined) throw errno(code);
      return read(path);
    };
    return {
      text: (path) => readable(path, files.text),
      bytes: (path) => readable(path, files.bytes),
      names: (path) => readable(path, files.names),
      stat: (path) => readable(path, files.stat),
    };
  }

  private open_log(): KmsgFile {
    const refused = () => {
      const code = this.unreadable.get("/dev/kmsg");
      if (code !== undefined) throw errno(code);
    };
    refused();
    const file = open_kmsg(join(this.tree.root, "dev/kmsg"));
    return {
      read(into) {
        refused();
        return file.read(into);
      },
      close: () => file.close(),
    };
  }

  private start(before?: Spool): [Spool, HostWatch] {
    const spool = this.options.disk ? new DiskSpool(this.directory) : (before ?? new MemorySpool());
    const watch = new HostWatch({
      host_id: "web-17",
      reader: new HostReader(this.root(), { kernel_release: "6.1.0", arch: "x86_64" }),
      kmsg: new Kmsg(() => this.open_log()),
      spool,
      inbox: new Inbox(this.directory),
      clock: { wall_ms: () => this.wall_ms, monotonic_ms: () => this.monotonic_ms },
      random: () => 0.5,
      new_stream: () => ++this.streams,
      report: (message) => this.said.push(message),
      ...(this.options.spool_bytes_max !== undefined && { spool_bytes_max: this.options.spool_bytes_max }),
    });
    return [spool, watch];
  }
}
