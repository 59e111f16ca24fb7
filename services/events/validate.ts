/**
 * Whether an event, and a record of events, may be applied: the rules of RULES F7 that a decoder does not know.
 * The core decides the same on the fast path; this says where and why, and is what the core is tested against.
 */
import { type HostEvent, walk_batch } from "./codec.js";
import { given_twice_at } from "./given_twice.js";
import {
  ARCH_BYTES_MAX,
  BOOT_ID_BYTES,
  BUILD_ID_BYTES_MAX,
  HOST_ID_BYTES_MAX,
  KERNEL_RELEASE_BYTES_MAX,
  LINGERING_ENTRIES_MAX,
  PATCH_NAME_BYTES_MAX,
  RECORD_BYTES_MAX,
  RECORD_EVENTS_MAX,
  REFUSED_LINE_BYTES_MAX,
  SEQUENCE_MAX,
  STACK_ENTRIES_MAX,
} from "./limits.js";
import { partition_of } from "./partition.js";
import { item_at } from "./place.js";
import { klpstate } from "./proto.js";
import { type Fault, fault, fault_within } from "./record_error.js";
import { CHANGES } from "./schema.js";
import { u64_to_bigint } from "./u64.js";

type Patch = klpstate.v1.Patch.$Properties;

const { Phase } = klpstate.v1;
const NONE = new Uint8Array(0);

function utf8_bytes(text: string): number {
  return Buffer.byteLength(text, "utf8");
}

interface PatchPlace {
  patch: Patch | null | undefined;
  /** `loaded.patch` */
  place: string;
  /** Refused alone may not know the name: the kernel's line does not always have it. */
  must_have_name: boolean;
}

/** Every patch that the event names or should name, in the order of the fields. */
function* patches_of(event: HostEvent): Generator<PatchPlace> {
  for (const name of CHANGES) {
    if (name === "observed") continue;
    const change = event[name];
    if (change) yield { patch: change.patch, place: `${name}.patch`, must_have_name: name !== "refused" };
  }
  for (const [index, patch] of (event.replaced?.left ?? []).entries()) {
    yield { patch, place: item_at("replaced.left", index), must_have_name: true };
  }
  for (const entries of ["stack", "lingering"] as const) {
    for (const [index, { patch }] of (event.observed?.[entries] ?? []).entries()) {
      yield { patch, place: `${item_at(`observed.${entries}`, index)}.patch`, must_have_name: true };
    }
  }
}

function host_id_fault({ host_id }: HostEvent): Fault | null {
  const limit = `1 to ${HOST_ID_BYTES_MAX} bytes of UTF-8 without control characters`;
  const id = host_id ?? "";
  if (id === "") return fault("host_id", "host_id", id, "is missing", limit);
  if (utf8_bytes(id) > HOST_ID_BYTES_MAX) {
    return fault("host_id", "host_id", id, `has ${utf8_bytes(id)} bytes`, limit);
  }
  if (/\p{Cc}/u.test(id)) return fault("host_id", "host_id", id, "has a control character", limit);
  return null;
}

function stream_fault({ stream }: HostEvent): Fault | null {
  if (u64_to_bigint(stream) !== 0n) return null;
  return fault("stream", "stream", undefined, "is missing or 0", "1 to 2^64-1, random");
}

function sequence_fault({ sequence }: HostEvent): Fault | null {
  const limit = `1 to ${SEQUENCE_MAX} (2^32-1)`;
  const number = u64_to_bigint(sequence);
  if (number === 0n) return fault("sequence", "sequence", undefined, "is missing or 0", limit);
  if (number > SEQUENCE_MAX)
    return fault("sequence", "sequence", number, "is too large; begin a new stream", limit);
  return null;
}

function patch_name_fault(event: HostEvent): Fault | null {
  const limit = `1 to ${PATCH_NAME_BYTES_MAX} bytes`;
  for (const { patch, place, must_have_name } of patches_of(event)) {
    const name = patch?.name ?? "";
    if (name === "" && must_have_name) {
      return fault("patch_name", `${place}.name`, undefined, "is missing", limit);
    }
    if (utf8_bytes(name) > PATCH_NAME_BYTES_MAX) {
      return fault("patch_name", `${place}.name`, name, `has ${utf8_bytes(name)} bytes`, limit);
    }
  }
  return null;
}

function build_id_fault(event: HostEvent): Fault | null {
  for (const { patch, place } of patches_of(event)) {
    const bytes = patch?.build_id ?? NONE;
    if (bytes.length > BUILD_ID_BYTES_MAX) {
      const limit = `at most ${BUILD_ID_BYTES_MAX} bytes`;
      return fault("build_id", `${place}.build_id`, bytes, `has ${bytes.length} bytes`, limit);
    }
  }
  return null;
}

function phase_fault({ observed, reversed, forced }: HostEvent): Fault | null {
  const any = [Phase.ENABLING, Phase.ENABLED, Phase.DISABLING];
  // A transition leads to enabled only by ending, which is Loaded.
  const in_transition = [Phase.ENABLING, Phase.DISABLING];
  for (const [index, { phase }] of (observed?.stack ?? []).entries()) {
    const found = one_phase_fault(`${item_at("observed.stack", index)}.phase`, phase, any);
    if (found !== null) return found;
  }
  if (reversed) return one_phase_fault("reversed.to", reversed.to, in_transition);
  return forced ? one_phase_fault("forced.phase", forced.phase, any) : null;
}

function one_phase_fault(
  field: string,
  phase: klpstate.v1.Phase | null | undefined,
  allowed: klpstate.v1.Phase[],
): Fault | null {
  const given = phase ?? Phase.PHASE_UNSPECIFIED;
  if (allowed.includes(given)) return null;
  const limit = `one of ${allowed.map((value) => Phase[value]?.toLowerCase()).join(", ")}`;
  if (given === Phase.PHASE_UNSPECIFIED) return fault("phase", field, undefined, "is missing", limit);
  return fault(
    "phase",
    field,
    given,
    `(${Phase[given]?.toLowerCase() ?? "unknown"}) is not possible here`,
    limit,
  );
}

function kernel_release_fault({ observed }: HostEvent): Fault | null {
  if (!observed) return null;
  return short_text_fault("kernel_release", observed.kernel_release, KERNEL_RELEASE_BYTES_MAX);
}

function arch_fault({ observed }: HostEvent): Fault | null {
  return observed ? short_text_fault("arch", observed.arch, ARCH_BYTES_MAX) : null;
}

function short_text_fault(
  name: "kernel_release" | "arch",
  text: string | null | undefined,
  bytes_max: number,
): Fault | null {
  const limit = `1 to ${bytes_max} bytes`;
  if (!text) return fault(name, `observed.${name}`, undefined, "is missing", limit);
  if (utf8_bytes(text) <= bytes_max) return null;
  return fault(name, `observed.${name}`, text, `has ${utf8_bytes(text)} bytes`, limit);
}

function boot_id_fault({ observed }: HostEvent): Fault | null {
  const bytes = observed?.boot_id ?? NONE;
  if (bytes.length === 0 || bytes.length === BOOT_ID_BYTES) return null;
  const limit = `${BOOT_ID_BYTES} bytes or none`;
  return fault("boot_id", "observed.boot_id", bytes, `has ${bytes.length} bytes`, limit);
}

function duplicate_name_fault(event: HostEvent): Fault | null {
  if (!event.observed) return null;
  const seen = new Set<string>();
  for (const { patch, place } of patches_of(event)) {
    const name = patch?.name ?? "";
    if (seen.has(name)) {
      const limit = "a name once in stack and lingering together";
      return fault("duplicate_name", `${place}.name`, name, "is there twice", limit);
    }
    seen.add(name);
  }
  return null;
}

function too_many_stack_fault({ observed }: HostEvent): Fault | null {
  const count = observed?.stack?.length ?? 0;
  if (count <= STACK_ENTRIES_MAX) return null;
  return fault("too_many_stack", "observed.stack", count, "entries", `at most ${STACK_ENTRIES_MAX}`);
}

function too_many_lingering_fault({ observed }: HostEvent): Fault | null {
  const count = observed?.lingering?.length ?? 0;
  if (count <= LINGERING_ENTRIES_MAX) return null;
  return fault(
    "too_many_lingering",
    "observed.lingering",
    count,
    "entries",
    `at most ${LINGERING_ENTRIES_MAX}`,
  );
}

function line_fault({ refused }: HostEvent): Fault | null {
  const line = refused?.line ?? "";
  if (utf8_bytes(line) <= REFUSED_LINE_BYTES_MAX) return null;
  const limit = `at most ${REFUSED_LINE_BYTES_MAX} bytes`;
  return fault("line", "refused.line", line, `has ${utf8_bytes(line)} bytes`, limit);
}

/** In the order of RECORD_ERRORS, which is their precedence. */
const CHECKS = [
  host_id_fault,
  stream_fault,
  sequence_fault,
  patch_name_fault,
  build_id_fault,
  phase_fault,
  kernel_release_fault,
  arch_fault,
  boot_id_fault,
  duplicate_name_fault,
  too_many_stack_fault,
  too_many_lingering_fault,
  line_fault,
];

/** What the decoded event says; null if all of it may be applied. An unknown change is valid: RULES F7. */
export function field_fault(event: HostEvent): Fault | null {
  for (const check of CHECKS) {
    const found = check(event);
    if (found !== null) return found;
  }
  return null;
}

/** `bytes` is the HostEvent that `event` was decoded from. */
export function validate_event(event: HostEvent, bytes: Uint8Array): Fault | null {
  const twice = given_twice_at("HostEvent", bytes);
  if (twice === null) return field_fault(event);
  const limit = twice.includes(".") || !is_change(twice) ? "a field once" : "one change";
  return fault("given_twice", twice, undefined, "is given a second time", limit);
}

function is_change(name: string): boolean {
  return (CHANGES as readonly string[]).includes(name);
}

export interface Ownership {
  partition: number;
  partitions: number;
}

/**
 * Null if the record may be applied whole, else the first fault: of the record's size, then of its events in their
 * order, then that it has none. With `ownership` the hosts must belong to that partition.
 */
export function validate_batch(bytes: Uint8Array, ownership?: Ownership): Fault | null {
  if (bytes.length > RECORD_BYTES_MAX) {
    const limit = `at most ${RECORD_BYTES_MAX} bytes (900 KiB)`;
    return fault(
      "record_too_large",
      "record",
      bytes.length,
      "bytes are too many; send several records",
      limit,
    );
  }
  let count = 0;
  for (const found of walk_batch(bytes, RECORD_EVENTS_MAX)) {
    if ("code" in found) return found;
    const event_fault =
      validate_event(found.event, bytes.subarray(found.start, found.end)) ??
      (ownership ? partition_fault(found.event, ownership) : null);
    if (event_fault !== null) return fault_within(event_fault, item_at("events", found.index));
    count++;
  }
  if (count > 0) return null;
  return fault("empty", "events", undefined, "there is none", `1 to ${RECORD_EVENTS_MAX} events`);
}

function partition_fault({ host_id }: HostEvent, { partition, partitions }: Ownership): Fault | null {
  const own = partition_of(Buffer.from(host_id ?? "", "utf8"), partitions);
  if (own === partition) return null;
  const limit = `hosts of partition ${partition}`;
  return fault("wrong_partition", "host_id", host_id, `belongs to partition ${own} of ${partitions}`, limit);
}
