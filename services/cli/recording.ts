/**
 * What a real kernel did, step by step, as a file has it; and what a host agent there would have seen of it. Shared by
 * `conform scenarios`, which compares, and by the demonstration, which shows.
 */
import { createHash } from "node:crypto";
import { z } from "zod";
import { type Change, derive, type Known, observe, type Snapshot } from "../agent/derive.js";
import { encode_manifest, type HostEvent, type Manifest } from "../events/codec.js";
import {
  ARCH_BYTES_MAX,
  KERNEL_RELEASE_BYTES_MAX,
  LINGERING_ENTRIES_MAX,
  PATCH_NAME_BYTES_MAX,
  RECORD_BYTES_MAX,
  RECORD_EVENTS_MAX,
  STACK_ENTRIES_MAX,
  U32_MAX,
} from "../events/limits.js";
import { check_manifest } from "../events/manifest.js";
import { kernel_form } from "../events/patch_name.js";
import { key_at } from "../events/place.js";
import { u64_from_bigint } from "../events/u64.js";
import { at_recorded_line, type RecordedLine, read_recorded, U64 } from "./recorded_lines.js";

/** The recordings' kernels say no architecture: all were built for this one. */
const ARCH_DEFAULT = "x86_64";
/** As many bytes as a linker's build id has. */
const BUILD_ID_BYTES = 20;

/** As events and manifests will carry it. */
const text_of = (bytes_max: number) =>
  z
    .string()
    .min(1)
    .refine((text) => Buffer.byteLength(text) <= bytes_max, `is longer than ${bytes_max} bytes`);
const ModuleName = text_of(PATCH_NAME_BYTES_MAX);
const Flag = z.union([z.literal(0), z.literal(1), z.boolean()]);

const RecordedModule = z.object({
  replace: z.boolean(),
  has_states_array: z.boolean(),
  states: z.array(z.object({ id: U64, version: z.int().min(0).max(U32_MAX) })),
  funcs: z.array(z.string()).optional(),
  nolp: z.boolean().optional(),
  noobj: z.boolean().optional(),
  noexit: z.boolean().optional(),
});

const ShownPatch = z.object({
  name: ModuleName,
  order: z.int().optional(),
  enabled: Flag,
  transition: Flag,
  replace: Flag.optional(),
  stack_order: z.int().optional(),
});

const TWICE = "has a name twice";
const is_set = (names: string[]) => new Set(names).size === names.length;

const RecordedStep = z.object({
  i: z.int().optional(),
  op: z.string(),
  target: z.string(),
  arg: z.string().nullish(),
  result: z.string().min(1),
  dmesg: z.array(z.string()),
  after: z
    .array(ShownPatch)
    .max(STACK_ENTRIES_MAX)
    .refine((patches) => is_set(patches.map(({ name }) => name)), TWICE),
  modules: z
    .array(z.tuple([ModuleName, z.int(), z.string(), z.string()]))
    .max(LINGERING_ENTRIES_MAX)
    .refine((modules) => is_set(modules.map(([name]) => name)), TWICE),
});

const Scenario = z.object({
  name: z.string(),
  kernel: text_of(KERNEL_RELEASE_BYTES_MAX),
  arch: text_of(ARCH_BYTES_MAX).default(ARCH_DEFAULT),
  modules: z.record(z.string(), RecordedModule).default({}),
  steps: z.array(RecordedStep).min(1),
});

export type RecordedModule = z.output<typeof RecordedModule>;
export type RecordedStep = z.output<typeof RecordedStep>;
export type RecordedPatch = z.output<typeof ShownPatch>;

/** A module of a recording, and what the catalog is told of it. */
export interface Module {
  facts: RecordedModule;
  manifest: Manifest;
  /** Lower-case hex. */
  build_id: string;
  /** States that the kernel does not see, behind an id 0. */
  states_cut: number;
}

export interface Recording {
  line: number;
  name: string;
  kernel: string;
  arch: string;
  /** By the kernel's form of the name. */
  modules: ReadonlyMap<string, Module>;
  steps: readonly RecordedStep[];
}

/** Throws Problem, which names the line. */
export async function read_recordings(file: string): Promise<Recording[]> {
  const scenarios = await read_recorded(file, Scenario);
  return scenarios.map((scenario) => at_recorded_line(file, scenario.line, () => recording_of(scenario)));
}

function recording_of({ line, value }: RecordedLine<z.output<typeof Scenario>>): Recording {
  const modules = Object.entries(value.modules).map(([written, facts]) => {
    const name = kernel_form(written);
    const module = module_of(name, facts, value);
    check_manifest(module.manifest, key_at("modules", written));
    return [name, module] as const;
  });
  return { line, ...value, modules: new Map(modules) };
}

/**
 * Another recorder's module of the same name may have other states. Its build id is made from what the manifest says,
 * so that one name can stand for as many builds as there are.
 */
function module_of(
  name: string,
  facts: RecordedModule,
  { kernel, arch }: { kernel: string; arch: string },
): Module {
  const end = facts.states.findIndex(({ id }) => id === 0n);
  const seen = end < 0 ? facts.states : facts.states.slice(0, end);
  const manifest: Manifest = {
    name,
    kernel_release: kernel,
    arch,
    replace: facts.replace,
    states: seen.map(({ id, version }) => ({ id: u64_from_bigint(id), version })),
    functions: (facts.funcs ?? []).map((function_name) => ({ object: "vmlinux", name: function_name })),
  };
  const digest = createHash("sha256").update(encode_manifest(manifest)).digest().subarray(0, BUILD_ID_BYTES);
  return {
    facts,
    manifest: { ...manifest, build_id: Uint8Array.from(digest) },
    build_id: digest.toString("hex"),
    states_cut: facts.states.length - seen.length,
  };
}

/** Every manifest of the recordings, once. */
export function manifests_of(recordings: Iterable<Recording>): Manifest[] {
  const found = new Map<string, Manifest>();
  for (const { kernel, arch, modules } of recordings) {
    for (const [name, { manifest, build_id }] of modules)
      found.set(JSON.stringify([name, kernel, arch, build_id]), manifest);
  }
  return [...found.values()];
}

/** Who the host is that a recording is played on; all of it is the player's own. */
export interface PlayedHost {
  host_id: string;
  stream: bigint;
  /** 32 hex digits. */
  boot_id: string;
  boot_time_unix_s: number;
}

/** A host agent on a recorded kernel: looks after each step, and makes events of what it sees. */
export class Player {
  readonly #recording: Recording;
  readonly #host: PlayedHost;
  #known: Known;
  #snapshot: Snapshot;
  #sequence = 0n;
  #record = 1;

  /** Nothing is loaded before a recording's first step. */
  constructor(recording: Recording, host: PlayedHost) {
    this.#recording = recording;
    this.#host = host;
    this.#snapshot = this.#look(null);
    this.#known = derive(null, this.#snapshot, []).next;
  }

  /** The changes of a step as events; `observed`: why they hold an `Observed`, where they do. */
  play(step: RecordedStep, time_ms: number): { events: HostEvent[]; observed: string | null } {
    const lines = step.dmesg.map((text) => ({ record: this.#record++, text }));
    this.#snapshot = this.#look(step);
    const { changes, next, baseline } = derive(this.#known, this.#snapshot, lines);
    this.#known = next;
    return {
      events: changes.map((change) => this.event(change, time_ms)),
      observed: baseline ? `${baseline.cause}: ${baseline.detail}` : null,
    };
  }

  /** What is there now, in full. */
  observe(time_ms: number): HostEvent {
    return this.event({ observed: observe(this.#known, this.#snapshot) }, time_ms);
  }

  /** The stream's next event. */
  event(change: Change, time_ms: number): HostEvent {
    const { host_id, stream } = this.#host;
    this.#sequence++;
    return {
      host_id,
      stream: u64_from_bigint(stream),
      sequence: u64_from_bigint(this.#sequence),
      time_unix_ms: time_ms,
      ...change,
    };
  }

  /** An event that never reaches the log: its number is used up. */
  lose(): void {
    this.#sequence++;
  }

  #look(step: RecordedStep | null): Snapshot {
    const { kernel, arch, modules } = this.#recording;
    return {
      boot_id: this.#host.boot_id,
      boot_time: this.#host.boot_time_unix_s,
      kernel_release: kernel,
      arch,
      // Without `order`, which is the recorder's and in no sysfs file; and in an order that says nothing.
      patches: (step?.after ?? [])
        .map(({ order: _, ...patch }) => patch)
        .sort((a, b) => (a.name < b.name ? -1 : 1)),
      modules: (step?.modules ?? []).map(([name, refcount, state, taints]) => ({
        name,
        refcount,
        state,
        taints,
        build_id: modules.get(name)?.build_id,
      })),
    };
  }
}

/** Tag and length of an event in its batch, at most. */
const EVENT_FRAMING_BYTES = 6;

/** Encoded events in batches that a registry takes, in order. */
export function* batches_of(events: Iterable<Uint8Array>): Generator<Uint8Array[]> {
  let batch: Uint8Array[] = [];
  let bytes = 0;
  for (const event of events) {
    const size = event.length + EVENT_FRAMING_BYTES;
    if (batch.length === RECORD_EVENTS_MAX || bytes + size > RECORD_BYTES_MAX) {
      yield batch;
      batch = [];
      bytes = 0;
    }
    batch.push(event);
    bytes += size;
  }
  if (batch.length > 0) yield batch;
}
