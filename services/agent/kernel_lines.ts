/**
 * One line of the kernel's log, told apart. Only lines about loading, patching and unpatching matter here; what they
 * mean together is facts.ts's business. Sources: kernel/livepatch/{core,transition}.c, kernel/module/*.c.
 */
import { kernel_form } from "../events/patch_name.js";
import { klpstate } from "../events/proto.js";

const { Reason, Kind } = klpstate.v1;

/** Where a transition leads. */
export type Direction = "patching" | "unpatching";

export type KernelLine =
  /** __klp_enable_patch: the load passed every check before its callbacks. Not on the stack for anybody yet. */
  | { kind: "enabling"; name: string }
  /** klp_start_transition: of a load, of a disable, and of each reversal. */
  | { kind: "starting"; name: string; to: Direction }
  /** klp_complete_transition; also printed when a failed load is cancelled. */
  | { kind: "complete"; name: string; to: Direction }
  /** klp_force_transition. It says "patched state" when unpatching, too, and names no patch. */
  | { kind: "forcing" }
  /** Why the load that fails next fails, or why a target module is refused. */
  | { kind: "cause"; reason: klpstate.v1.Reason }
  | { kind: "enable_failed"; name: string }
  /** A patched symbol was not found: by a load, or when a target module comes. Names neither. */
  | { kind: "symbol"; reason: klpstate.v1.Reason }
  /** `name_was_free`: this refusal comes after the one for a name that is loaded (EEXIST), so it was not. */
  | { kind: "refused"; name: string | null; reason: klpstate.v1.Reason; name_was_free: boolean }
  /** simplify_symbols: one line, or two, for each import that is missing, so many for one load. */
  | { kind: "import"; name: string; reason: klpstate.v1.Reason }
  | { kind: "object"; name: string; object: string; change: klpstate.v1.Kind }
  /** A target module's own trouble; a line that names patch and module follows (klp_module_coming). */
  | { kind: "object_trouble" };

type Reading = [RegExp, (groups: string[]) => KernelLine];

// Loader lines repeat what the file says of itself, so its name may have dashes.
function refused(reason: klpstate.v1.Reason, name: string | null, name_was_free: boolean): KernelLine {
  return { kind: "refused", name: name === null ? null : kernel_form(name), reason, name_was_free };
}

const LIVEPATCH_PREFIX = "livepatch: ";

const LIVEPATCH_LINES: Reading[] = [
  [/^enabling patch '([^']+)'$/, ([name]) => ({ kind: "enabling", name: name! })],
  [
    /^'([^']+)': starting (patching|unpatching) transition$/,
    ([name, to]) => ({ kind: "starting", name: name!, to: to as Direction }),
  ],
  [
    /^'([^']+)': (patching|unpatching) complete$/,
    ([name, to]) => ({ kind: "complete", name: name!, to: to as Direction }),
  ],
  [/^forcing remaining tasks to the patched state$/, () => ({ kind: "forcing" })],
  [/^failed to enable patch '([^']+)'$/, ([name]) => ({ kind: "enable_failed", name: name! })],
  [/^pre-patch callback failed for object /, () => ({ kind: "cause", reason: Reason.PRE_PATCH })],
  [
    /^failed to (register ftrace handler|set ftrace filter|find location) for function /,
    () => ({ kind: "cause", reason: Reason.FTRACE }),
  ],
  [/^failed to patch object /, () => ({ kind: "cause", reason: Reason.OTHER })],
  [
    /^Livepatch patch \((.+)\) is not compatible with the already installed livepatches\.?$/,
    ([name]) => refused(Reason.INCOMPATIBLE, name!, true),
  ],
  [
    /^module (\S+) is not marked as a livepatch module$/,
    ([name]) => refused(Reason.NOT_LIVEPATCH, name!, true),
  ],
  // klp_find_object_symbol
  [/^symbol '.*' not found in symbol table$/, () => ({ kind: "symbol", reason: Reason.SYMBOL_MISSING })],
  [
    /^symbol position \d+ for symbol '.*' in object '.*' not found$/,
    () => ({ kind: "symbol", reason: Reason.SYMBOL_MISSING }),
  ],
  [
    /^unresolvable ambiguity for symbol '.*' in object '.*'$/,
    () => ({ kind: "symbol", reason: Reason.OTHER }),
  ],
  // klp_module_coming, klp_cleanup_module_patches_limited
  [
    /^applying patch '([^']+)' to loading module '([^']+)'$/,
    ([name, object]) => ({ kind: "object", name: name!, object: object!, change: Kind.APPLIED }),
  ],
  [
    /^reverting patch '([^']+)' on unloading module '([^']+)'$/,
    ([name, object]) => ({ kind: "object", name: name!, object: object!, change: Kind.REVERTED }),
  ],
  [
    /^patch '([^']+)' failed for module '([^']+)', refusing to load module /,
    ([name, object]) => ({ kind: "object", name: name!, object: object!, change: Kind.REFUSED }),
  ],
  [/^failed to (initialize|apply) patch '[^']+' (for|to) module /, () => ({ kind: "object_trouble" })],
];

// The loader says these of any module; whether the file was a livepatch is not known.
const LOADER_LINES: Reading[] = [
  [/^Loading of .+ is rejected$/, () => refused(Reason.UNSIGNED, null, false)],
  [/^Lockdown: .+: unsigned module loading is restricted/, () => refused(Reason.LOCKDOWN, null, false)],
  [
    /^(\S+): disagrees about version of symbol module_layout$/,
    ([name]) => refused(Reason.OTHER_KERNEL, name!, false),
  ],
  [/^(\S+): version magic '.*' should be '.*'$/, ([name]) => refused(Reason.OTHER_KERNEL, name!, false)],
  [
    /^module (\S+): \.gnu\.linkonce\.this_module section size must match /,
    ([name]) => refused(Reason.OTHER_KERNEL, name!, false),
  ],
  [/^Invalid (ELF |architecture in ELF header)/, () => refused(Reason.OTHER, null, false)],
  [
    /^(\S+): module is marked as livepatch module, but livepatch support is disabled/,
    ([name]) => refused(Reason.OTHER, name!, false),
  ],
  [
    /^(\S+): disagrees about version of symbol \S+$/,
    ([name]) => ({ kind: "import", name: kernel_form(name!), reason: Reason.OTHER_KERNEL }),
  ],
  [
    /^(\S+): Unknown symbol \S+ \(err -?\d+\)$/,
    ([name]) => ({ kind: "import", name: kernel_form(name!), reason: Reason.IMPORT_MISSING }),
  ],
];

/** What the line says, or null if it is about something else. */
export function read_line(text: string): KernelLine | null {
  const of_livepatch = text.startsWith(LIVEPATCH_PREFIX);
  const said = of_livepatch ? text.slice(LIVEPATCH_PREFIX.length) : text;
  for (const [pattern, line_of] of of_livepatch ? LIVEPATCH_LINES : LOADER_LINES) {
    const match = pattern.exec(said);
    if (match) return line_of(match.slice(1));
  }
  return null;
}
