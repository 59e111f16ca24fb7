/**
 * Vectors of the kernel's compatibility rule (RULES K1 to K4, K9) against the core. Straight to the core, since the
 * arrays may go on behind an id 0, which every other way in refuses: to cut there is the core's own business.
 */
import { z } from "zod";
import { Core, type CoreManifest, type CoreState } from "../core/core.js";
import { load_core_module } from "../core/module.js";
import { encode_batch } from "../events/codec.js";
import { MANIFEST_STATES_MAX, STACK_ENTRIES_MAX, U32_MAX } from "../events/limits.js";
import { klpstate } from "../events/proto.js";
import type { ConformOutcome } from "./conform.js";
import { read_recorded, U64 } from "./recorded_lines.js";
import { type VectorDifference, vectors_text } from "./render/vectors_text.js";

const Version = z.int().min(0).max(U32_MAX);
const Index = z.int().min(0);

const VectorPatch = z.object({
  replace: z.boolean(),
  states: z
    .array(z.tuple([U64, Version]))
    .max(MANIFEST_STATES_MAX)
    .nullable(),
});

const Vector = z.object({
  // One entry of the stack is for the candidate itself.
  installed: z.array(VectorPatch).max(STACK_ENTRIES_MAX - 1),
  candidate: VectorPatch,
  compatible: z.boolean(),
  conflict: z.object({ patch: Index, state: Index }).optional(),
  prev: z.object({ id: U64, patch: z.int().min(-1), version: Version.nullable() }),
});

type Vector = z.output<typeof Vector>;

/** What both sides say about a vector, in the same words. */
interface Said {
  verdict: string;
  conflict: string;
  prev: string;
}

const CORE = { partition: null, partitions: 1 };
const KERNEL = { kernel_release: "vector", arch: "x86_64" };
/** A start clears the core's memory, which takes longer than a vector does. */
const VECTORS_A_START = 200;
const NO_BUILD_ID = new Uint8Array();

/** Throws Problem where the file cannot be read. */
export async function conform_vectors(file: string): Promise<ConformOutcome> {
  const vectors = await read_recorded(file, Vector);
  const core = new Core(load_core_module(), CORE);
  const differences: VectorDifference[] = [];
  let compatible = 0;
  for (const [at, { line, value }] of vectors.entries()) {
    if (at % VECTORS_A_START === 0) core.restart(CORE);
    if (value.compatible) compatible++;
    const expected = said_by_vector(value);
    const actual = said_by_core(core, value, String(at));
    for (const what of ["verdict", "conflict", "prev"] as const) {
      if (expected[what] === actual[what]) continue;
      differences.push({ line, what, vector_says: expected[what], klpstate_says: actual[what] });
    }
  }
  const failed = new Set(differences.map(({ line }) => line)).size;
  const document = {
    file,
    passed: vectors.length - failed,
    failed,
    compatible,
    incompatible: vectors.length - compatible,
    differences,
  };
  return { conforms: failed === 0, document, text: vectors_text(document) };
}

/** A vector that contradicts itself is readable, and wrong: the core will say something else. */
function said_by_vector({ installed, compatible, conflict, prev }: Vector): Said {
  return {
    verdict: compatible ? "ok" : "incompatible",
    conflict: conflict ? conflict_at(installed, conflict.patch, conflict.state) : "none",
    prev: prev_words(prev.id, prev.patch, prev.version),
  };
}

function conflict_at(installed: Vector["installed"], patch: number, state: number): string {
  const held = installed[patch]?.states?.[state];
  return held ? conflict_words(patch, held[0], held[1]) : `patch ${patch} has no state at ${state}`;
}

/** `number` tells the vector's patches and hosts from those of the others in the core. */
function said_by_core(core: Core, { installed, candidate, prev }: Vector, number: string): Said {
  const names = installed.map((_, at) => `patch_${number}_${at}`);
  const offered = `candidate_${number}`;
  installed.forEach(({ replace, states }, at) => {
    core.put_manifest(manifest(names[at]!, replace, states));
  });
  core.put_manifest(manifest(offered, candidate.replace, candidate.states));

  const asked = put_host(core, `asked ${number}`, names, []);
  const outcomes = core.check(offered, NO_BUILD_ID);
  const { verdict, reason, conflict } = outcomes[core.outcome_of_host(asked)]!;

  const loaded = put_host(core, `loaded ${number}`, names, [offered]);
  // The positions of a stack are those of the vector, once its configuration was resolved.
  core.configuration(core.host(loaded).configuration);
  const holder = core.previous_holder(loaded, names.length, prev.id);
  const version = holder === null ? null : core.version_at(loaded, holder, prev.id);
  const notes = conflict && (conflict.transient || !conflict.first) ? " (not certain)" : "";
  return {
    verdict: reason === null ? verdict : `${verdict}: ${reason}`,
    conflict: conflict
      ? conflict_words(names.indexOf(conflict.holder.name), conflict.state, conflict.held) + notes
      : "none",
    prev: prev_words(prev.id, holder ?? -1, version),
  };
}

function manifest(name: string, replace: boolean, states: Vector["candidate"]["states"]): CoreManifest {
  return {
    ...KERNEL,
    name,
    build_id: NO_BUILD_ID,
    replace,
    states_unknown: false,
    irreversible: false,
    signed: false,
    states: (states ?? []).map(([id, version]): CoreState => ({ id, version })),
  };
}

/** A host with the patches on its stack, the last ones in transition; its number. */
function put_host(core: Core, host_id: string, enabled: string[], enabling: string[]): number {
  const { Phase, Livepatching } = klpstate.v1;
  const observed = {
    ...KERNEL,
    livepatching: Livepatching.SUPPORTED,
    stack: [
      ...enabled.map((name) => ({ patch: { name }, phase: Phase.ENABLED })),
      ...enabling.map((name) => ({ patch: { name }, phase: Phase.ENABLING })),
    ],
  };
  const record = encode_batch([{ host_id, stream: 1, sequence: 1, time_unix_ms: 1, observed }]);
  core.fold_record(record, { offset: core.next_offset, index: 0 }, 1);
  const host = core.find_host(host_id);
  if (host === null) throw new Error("the core does not take a vector's stack");
  return host;
}

function conflict_words(patch: number, id: bigint, version: number): string {
  return `patch ${patch} holds state ${id} at version ${version}`;
}

function prev_words(id: bigint, patch: number, version: number | null): string {
  return patch < 0 ? `state ${id}: none` : `state ${id}: patch ${patch}, version ${version}`;
}
