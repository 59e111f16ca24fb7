/** A host's canonical state (RULES F9) as a document for people and programs. */
import {
  KNOWLEDGE,
  type Knowledge,
  LIVEPATCHING,
  type Livepatching,
  PHASES,
  type Phase,
} from "../core/codes.js";
import { klpstate } from "../events/proto.js";
import { u64_to_decimal } from "../events/u64.js";

interface Reference {
  name: string;
  /** Lower-case hex; null: not known. */
  build_id: string | null;
}

export interface HostStateDocument {
  host_id: string;
  stream: string;
  sequence: string;
  kernel_release: string | null;
  arch: string | null;
  livepatching: Livepatching | null;
  policy: { modules_disabled: boolean; signature_required: boolean; ftrace_off: boolean };
  stack: (Reference & { phase: Phase })[];
  lingering: (Reference & { pinned: boolean })[];
  forced: boolean;
  knowledge: Knowledge;
}

/** Throws Error for bytes that are no klpstate.v1.HostState. */
export function decode_host_state(bytes: Uint8Array): HostStateDocument {
  const state = klpstate.v1.HostState.decode(bytes);
  const { modules_disabled, signature_required, ftrace_off } = state.policy ?? {};
  return {
    host_id: state.host_id,
    stream: u64_to_decimal(state.stream),
    sequence: u64_to_decimal(state.sequence),
    kernel_release: state.kernel_release || null,
    arch: state.arch || null,
    livepatching: LIVEPATCHING.find((_, number) => number === state.livepatching) ?? null,
    policy: {
      modules_disabled: modules_disabled ?? false,
      signature_required: signature_required ?? false,
      ftrace_off: ftrace_off ?? false,
    },
    stack: state.stack.map(({ patch, phase }) => ({
      ...reference(patch),
      phase: PHASES[phase ?? 0] as Phase,
    })),
    lingering: state.lingering.map(({ patch, pinned }) => ({ ...reference(patch), pinned: pinned ?? false })),
    forced: state.forced,
    knowledge: KNOWLEDGE[state.knowledge] as Knowledge,
  };
}

function reference(patch: klpstate.v1.Patch.$Properties | null | undefined): Reference {
  const build_id = Buffer.from(patch?.build_id ?? []).toString("hex");
  return { name: patch?.name ?? "", build_id: build_id === "" ? null : build_id };
}
