/**
 * Hostile data, D2: every host has a configuration of its own, a stack of five patches of one state each, from 64 states
 * in 16 versions. What a patch's manifest says of it can be more: so many states, of so many ids.
 */
import type { Core, CoreManifest } from "../services/core/core.js";
import { ARCH, field, frame_writer, START_MS, stack_entry, text, varint } from "./data.js";
import { random_from } from "./random.js";

export const STATES = 64;
export const VERSIONS = 16;
export const STACK = 5;
const SEED = 20261126;
export const RELEASE = "6.12.40-cloud-amd64";
const ENABLED = 2;
const OBSERVED_FIELD = 16;
const HEADER_BYTES = 4;
const BYTES = 2;
const VARINT = 0;

/** What manifests declare of each installed patch. */
export interface Declared {
  states: number;
  /** Ids in use: a multiple of STATES, at least `states`. */
  ids: number;
}
const ONE_STATE: Declared = { states: 1, ids: STATES };
/** From an id of a manifest to its next: of no power of two a divisor, so that none comes twice. */
const ID_STEP = 37;
/** Below what any candidate offers: refused is a host for the same state as where that is the only one. */
const HARMLESS_VERSIONS = 13;

/** A candidate by the version that it offers of each state; 0: it lacks the state. */
export interface HostileCandidate {
  name: string;
  replace: boolean;
  offered: number[];
}

/**
 * Of each about half of the hosts are refused. One that replaces knows every id where patches have several: what it
 * lacked would be in nearly every stack.
 */
export function hostile_candidates({ states, ids }: Declared): HostileCandidate[] {
  const offered = (version_of: (id: number) => number) =>
    Array.from({ length: ids }, (_, i) => version_of(i));
  return [
    { name: "livepatch_over", replace: false, offered: offered((i) => (i % 8 === 3 ? 0 : 14)) },
    {
      name: "livepatch_instead",
      replace: true,
      offered: offered((i) => (states === 1 && i % 32 === 7 ? 0 : 15)),
    },
  ];
}

export const HOSTILE_CANDIDATES: readonly HostileCandidate[] = hostile_candidates(ONE_STATE);

export const name_of = (state: number, version: number) => `livepatch_s${state}_v${version}`;

/**
 * The states, from id 0 on, of an installed patch as `hostile_stacks` packs it: its own comes last, so that nobody who
 * goes through them is done early.
 */
export function declared_states(packed: number, { states, ids }: Declared): [id: number, version: number][] {
  const [state, version] = [packed >> 8, packed & 255];
  const ids_a_state = ids / STATES;
  const own = state * ids_a_state + ((version - 1) % ids_a_state);
  const others = Array.from({ length: states - 1 }, (_, i): [number, number] => [
    (own + (i + 1) * ID_STEP) % ids,
    1 + ((version + i) % HARMLESS_VERSIONS),
  ]);
  return [...others, [own, version]];
}

export function hostile_manifests(declared = ONE_STATE): CoreManifest[] {
  const manifest = (
    name: string,
    replace: boolean,
    states: [id: number, version: number][],
  ): CoreManifest => ({
    ...{ name, kernel_release: RELEASE, arch: ARCH, build_id: new Uint8Array(0), replace },
    ...{ states_unknown: false, irreversible: false, signed: false },
    states: states.map(([id, version]) => ({ id: BigInt(id + 1), version })),
  });
  const installed = Array.from({ length: STATES * VERSIONS }, (_, i) => {
    const [state, version] = [Math.floor(i / VERSIONS), 1 + (i % VERSIONS)];
    return manifest(name_of(1 + state, version), false, declared_states((state << 8) | version, declared));
  });
  const candidates = hostile_candidates(declared).map(({ name, replace, offered }) =>
    manifest(
      name,
      replace,
      offered.flatMap((version, id) => (version === 0 ? [] : [[id, version] as [number, number]])),
    ),
  );
  return [...installed, ...candidates];
}

/** By place in the stack, then by host: (state - 1) << 8 | version. */
export function hostile_stacks(hosts: number): Uint16Array[] {
  const random = random_from(SEED);
  const columns = Array.from({ length: STACK }, () => new Uint16Array(hosts));
  const seen = new Uint8Array(STATES);
  for (let host = 0; host < hosts; host++) {
    // Five states that differ: a stack has no name twice.
    seen.fill(0);
    for (const column of columns) {
      let state = random() % STATES;
      while (seen[state] === 1) state = (state + 1) % STATES;
      seen[state] = 1;
      column[host] = (state << 8) | (1 + (random() % VERSIONS));
    }
  }
  return columns;
}

/** An Observed of each host, a frame of about 16 KiB at a time. */
export function hostile_frames(stacks: readonly Uint16Array[], take: (frame: Uint8Array) => void): void {
  const hosts = stacks[0]!.length;
  const entries = Array.from({ length: STATES * 256 }, (_, packed) =>
    Uint8Array.from(stack_entry(name_of(1 + (packed >> 8), packed & 255), ENABLED)),
  );
  const begin = Uint8Array.from([
    ...text(1, RELEASE),
    ...text(2, ARCH),
    ...field(3, BYTES, Array<number>(16).fill(7)),
    ...field(5, VARINT, [1]),
  ]);
  const writer = frame_writer(take);
  // Its field's number and its length, of two bytes, come first.
  const observed = new Uint8Array(1024);
  observed.set(varint(OBSERVED_FIELD * 8 + BYTES));
  observed.set(begin, HEADER_BYTES);
  for (let host = 0; host < hosts; host++) {
    let at = HEADER_BYTES + begin.length;
    for (const column of stacks) {
      const entry = entries[column[host]!]!;
      observed.set(entry, at);
      at += entry.length;
    }
    observed.set(varint(at - HEADER_BYTES), HEADER_BYTES - 2);
    writer.event(host, host + 1, 1, 1, START_MS, observed.subarray(0, at));
  }
  writer.end(START_MS);
}

/** Folds an Observed of each host. */
export function fold_hostile(core: Core, stacks: readonly Uint16Array[]): void {
  hostile_frames(stacks, (frame) => {
    if (core.fold_frames(frame, false) !== "folded")
      throw new Error("the partition is full: give fewer --hosts");
  });
}
