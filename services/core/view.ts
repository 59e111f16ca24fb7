/**
 * What the core shows of one host, configuration, installed patch or outcome, as values. Its texts are decoded once: the
 * core never frees one that it interned, and has each once.
 */
import {
  KNOWLEDGE,
  type Knowledge,
  LIVEPATCHING,
  names_of_bits,
  PHASES,
  type Phase,
  REASONS,
  VERDICTS,
  WARNINGS,
} from "./codes.js";
import type { CoreExports } from "./exports.js";
import type {
  CheckOutcome,
  Configuration,
  HostFacts,
  Position,
  Reference,
  Resolved,
  StackEntry,
} from "./facts.js";
import { address, type CoreMemory } from "./module.js";

const NONE = 0xffffffff;
const AMBIGUOUS = 0xfffffffe;
const NO_POSITION = 0xffffffffffffffffn;
const INDEX_BITS = 14n;
const INDEX_MASK = (1n << INDEX_BITS) - 1n;
const CHECK_OUTCOME_BYTES = 64;
/** Of each kind of what was decoded, at once. */
const DECODED_MAX = 4096;

/** By their bits. */
const WARNING_LISTS = Array.from({ length: 1 << WARNINGS.length }, (_, bits) =>
  names_of_bits(bits, WARNINGS),
);

/** U+FEFF at the beginning of a text is a part of it. */
const utf8 = new TextDecoder("utf-8", { ignoreBOM: true });

/** Null: no event has it. */
export function position_of(packed: bigint): Position | null {
  if (packed === NO_POSITION) return null;
  return { offset: packed >> INDEX_BITS, index: Number(packed & INDEX_MASK) };
}

export class CoreView {
  readonly #core: CoreExports;
  readonly #memory: CoreMemory;
  /** By address. */
  readonly #decoded_names = new Map<number, string>();
  /** What checks told of lately: names on a stack by the configuration's serial, references by the installed patch. */
  readonly #decoded_stacks = new Map<number, readonly string[]>();
  readonly #decoded_references = new Map<number, Reference>();

  constructor(core: CoreExports, memory: CoreMemory) {
    this.#core = core;
    this.#memory = memory;
  }

  /** The core starts again, and its addresses are others. */
  clear(): void {
    this.#decoded_names.clear();
    this.#decoded_stacks.clear();
    this.#decoded_references.clear();
  }

  host(host: number): HostFacts {
    this.#core.view_host(host);
    const at = address(this.#core.view());
    const view = this.#memory.view;
    return {
      stream: view.getBigUint64(at, true),
      effective_time_ms: Number(view.getBigUint64(at + 8, true)),
      position: position_of(view.getBigUint64(at + 16, true))!,
      sequence: view.getUint32(at + 32, true),
      configuration: view.getUint32(at + 36, true),
      host_id: this.#text(at + 40)!,
      knowledge: KNOWLEDGE[view.getUint32(at + 48, true)] as Knowledge,
    };
  }

  configuration(configuration: number): Configuration {
    if (!this.#core.view_configuration(configuration)) throw new Error("no memory to resolve references");
    const at = address(this.#core.view());
    const view = this.#memory.view;
    const flags = view.getUint32(at + 16, true);
    const stack_count = view.getUint32(at + 24, true);
    const lingering_count = view.getUint32(at + 28, true);
    const stack: StackEntry[] = [];
    for (let entry = at + 64; stack.length < stack_count; entry += 32) {
      stack.push({
        name: this.#name(entry) ?? "",
        build_id: this.#build_id(entry + 8),
        phase: PHASES[view.getUint32(entry + 16, true)] as Phase,
        manifest: resolved(view.getUint32(entry + 24, true)),
        built_for_other_kernel: view.getUint32(entry + 28, true) !== 0,
      });
    }
    const lingering: Configuration["lingering"] = [];
    for (let entry = at + 64 + stack_count * 32; lingering.length < lingering_count; entry += 32) {
      lingering.push({
        name: this.#name(entry) ?? "",
        build_id: this.#build_id(entry + 8),
        pinned: view.getUint32(entry + 16, true) !== 0,
      });
    }
    return {
      kernel_release: this.#name(at),
      arch: this.#name(at + 8),
      livepatching: LIVEPATCHING[flags & 3] ?? null,
      policy: {
        modules_disabled: (flags & 4) !== 0,
        signature_required: (flags & 8) !== 0,
        ftrace_off: (flags & 16) !== 0,
      },
      forced: (flags & 32) !== 0,
      knowledge: KNOWLEDGE[flags >>> 6] as Knowledge,
      stack,
      lingering,
      hosts: view.getUint32(at + 20, true),
    };
  }

  /** The first so many of the last check. */
  check_outcomes(count: number): CheckOutcome[] {
    const first = address(this.#core.check_outcome_at());
    return Array.from({ length: count }, (_, i) => this.#check_outcome(first + i * CHECK_OUTCOME_BYTES));
  }

  #check_outcome(at: number): CheckOutcome {
    const view = this.#memory.view;
    const bits = view.getUint8(at + 3);
    const subject = view.getUint32(at + 4, true);
    const sample = view.getUint32(at + 28, true);
    const holder = bits & 1 ? this.#reference(subject) : null;
    return {
      verdict: VERDICTS[view.getUint8(at)]!,
      reason: REASONS[view.getUint8(at + 1)] ?? null,
      warnings: WARNING_LISTS[view.getUint8(at + 2)]!,
      conflict: holder && {
        state: view.getBigUint64(at + 8, true),
        holder,
        held: view.getUint32(at + 16, true),
        offered: bits & 2 ? view.getUint32(at + 20, true) : null,
        transient: (bits & 4) !== 0,
        first: (bits & 8) !== 0,
      },
      unresolved: bits & 16 ? this.#unresolved(subject) : bits & 32 ? "candidate" : null,
      replaces: sample === NONE ? null : bits & 64 ? this.#stack_names(sample) : [],
      hosts: view.getUint32(at + 32, true),
      aged: view.getUint32(at + 36, true),
    };
  }

  /** Names only: a check tells of as many stacks as there are outcomes, and mostly of the same as the one before. */
  #stack_names(configuration: number): readonly string[] {
    const serial = this.#core.serial_of(configuration) >>> 0;
    const known = this.#decoded_stacks.get(serial);
    if (known !== undefined && serial !== 0) return known;
    if (!this.#core.view_configuration(configuration)) throw new Error("no memory to resolve references");
    const at = address(this.#core.view());
    const count = this.#memory.view.getUint32(at + 24, true);
    const names = Array.from({ length: count }, (_, i) => this.#text(at + 64 + i * 32) ?? "");
    if (this.#decoded_stacks.size >= DECODED_MAX) this.#decoded_stacks.clear();
    this.#decoded_stacks.set(serial, names);
    return names;
  }

  /** The core never frees an installed patch. */
  #reference(installed: number): Reference {
    const known = this.#decoded_references.get(installed);
    if (known !== undefined) return known;
    const { name, build_id } = this.#installed(installed);
    if (this.#decoded_references.size >= DECODED_MAX) this.#decoded_references.clear();
    this.#decoded_references.set(installed, { name, build_id });
    return { name, build_id };
  }

  #unresolved(installed: number): Exclude<CheckOutcome["unresolved"], "candidate" | null> {
    const { name, build_id, manifest } = this.#installed(installed);
    return { name, build_id, manifest: typeof manifest === "number" ? "states_unknown" : manifest };
  }

  #installed(installed: number): Reference & { manifest: Resolved } {
    this.#core.view_installed(installed);
    const at = address(this.#core.view());
    return {
      name: this.#name(at) ?? "",
      build_id: this.#build_id(at + 8),
      manifest: resolved(this.#memory.view.getUint32(at + 24, true)),
    };
  }

  #build_id(at: number): string | null {
    const { buffer, byteOffset, length } = this.#bytes(at);
    return length === 0 ? null : Buffer.from(buffer, byteOffset, length).toString("hex");
  }

  #bytes(at: number): Uint8Array<ArrayBuffer> {
    const view = this.#memory.view;
    return this.#memory.bytes(view.getUint32(at, true), view.getUint32(at + 4, true));
  }

  /** As `#text`, of a string that the core interned. */
  #name(at: number): string | null {
    const { view } = this.#memory;
    if (view.getUint32(at + 4, true) === 0) return null;
    const pointer = view.getUint32(at, true);
    const known = this.#decoded_names.get(pointer);
    if (known !== undefined) return known;
    const name = this.#text(at)!;
    if (this.#decoded_names.size === DECODED_MAX) this.#decoded_names.clear();
    this.#decoded_names.set(pointer, name);
    return name;
  }

  /** Null: not known. */
  #text(at: number): string | null {
    const bytes = this.#bytes(at);
    return bytes.length === 0 ? null : utf8.decode(bytes);
  }
}

function resolved(manifest: number): Resolved {
  return manifest === NONE ? "missing" : manifest === AMBIGUOUS ? "ambiguous" : manifest;
}
