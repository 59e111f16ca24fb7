/** A host's files below a root, and what a snapshot needs of them. Reads only; what cannot be read is named with its errno. */
import { type BigIntStats, readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { BUILD_ID_BYTES_MAX } from "../events/limits.js";
import type { LivepatchingName, Policy, ShownModule, ShownPatch, Snapshot } from "./snapshot.js";

/** Where a host's /sys and /proc are read; every method throws an error with an errno's name as `code`. */
export interface HostRoot {
  text(path: string): string;
  bytes(path: string): Uint8Array;
  names(path: string): string[];
  stat(path: string): Pick<BigIntStats, "ino" | "nlink">;
}

/** `root` is `/`, or where another host's tree is mounted. */
export function host_root(root: string): HostRoot {
  return {
    text: (path) => readFileSync(join(root, path), "utf8"),
    bytes: (path) => readFileSync(join(root, path)),
    names: (path) => readdirSync(join(root, path)),
    stat: (path) => statSync(join(root, path), { bigint: true }),
  };
}

export const LIVEPATCH = "/sys/kernel/livepatch";
export const MODULES = "/proc/modules";
export const BOOT_ID = "/proc/sys/kernel/random/boot_id";
const BTIME = "/proc/stat";
const OSRELEASE = "/proc/sys/kernel/osrelease";
/** From kernel 6.1. */
const ARCH = "/proc/sys/kernel/arch";
export const MODULES_DISABLED = "/proc/sys/kernel/modules_disabled";
export const SIG_ENFORCE = "/sys/module/module/parameters/sig_enforce";
export const LOCKDOWN = "/sys/kernel/security/lockdown";
export const FTRACE_ENABLED = "/proc/sys/kernel/ftrace_enabled";

/** A directory went while it was read: what was read around it does not belong together. */
export class TornRead extends Error {}

export function errno_of(error: unknown): string {
  const { code } = error as NodeJS.ErrnoException;
  if (typeof code !== "string") throw error;
  return code;
}

/** The kernel's attribute of a kobject that has just been taken away says ENODEV. */
function is_gone(errno: string): boolean {
  return errno === "ENOENT" || errno === "ENODEV" || errno === "ENOTDIR";
}

/** The text, or null where there is no such file, or it may not be read. */
function text_or_null(root: HostRoot, path: string): string | null {
  try {
    return root.text(path).trim();
  } catch (error) {
    errno_of(error);
    return null;
  }
}

function attribute(root: HostRoot, path: string): number {
  try {
    return Number(root.text(path));
  } catch (error) {
    if (is_gone(errno_of(error))) throw new TornRead(path);
    throw error;
  }
}

/** From 6.11 `replace`, from 6.14 `stack_order`: absent before. */
function newer_attribute(root: HostRoot, path: string): number | undefined {
  try {
    return Number(root.text(path));
  } catch (error) {
    if (is_gone(errno_of(error))) return undefined;
    throw error;
  }
}

function shown_patch(root: HostRoot, name: string): ShownPatch {
  const at = `${LIVEPATCH}/${name}`;
  const shown: ShownPatch = {
    name,
    enabled: attribute(root, `${at}/enabled`),
    transition: attribute(root, `${at}/transition`),
  };
  const replace = newer_attribute(root, `${at}/replace`);
  const stack_order = newer_attribute(root, `${at}/stack_order`);
  if (replace !== undefined) shown.replace = replace;
  if (stack_order !== undefined) shown.stack_order = stack_order;
  return shown;
}

/** Livepatch modules only: the other modules' reference counts never stand still. */
export function livepatch_modules(text: string): ShownModule[] {
  return text.split("\n").flatMap((line) => {
    // name size refcount dependencies state address (taints)
    const [name, , refcount, , state, , taints = ""] = line.split(" ");
    if (!name || !taints.includes("K")) return [];
    return [{ name, refcount: Number(refcount), state: state!, taints }];
  });
}

const NOTE_HEAD_BYTES = 12;
/** NT_GNU_BUILD_ID of elf.h. */
const BUILD_ID_NOTE = 3;

/**
 * Lower-case hex of the GNU build id in an ELF note section, of either byte order; undefined where there is none, or one
 * that is longer than any event may have (ld --build-id=0x… takes any length).
 */
export function build_id_of_notes(notes: Uint8Array): string | undefined {
  const view = new DataView(notes.buffer, notes.byteOffset, notes.byteLength);
  for (const little_endian of [true, false]) {
    for (let at = 0; at + NOTE_HEAD_BYTES <= notes.length; ) {
      const name_bytes = view.getUint32(at, little_endian);
      const bytes = view.getUint32(at + 4, little_endian);
      const type = view.getUint32(at + 8, little_endian);
      const start = at + NOTE_HEAD_BYTES + aligned(name_bytes);
      if (start + bytes > notes.length) break;
      const name = Buffer.from(notes.subarray(at + NOTE_HEAD_BYTES, at + NOTE_HEAD_BYTES + name_bytes));
      if (type === BUILD_ID_NOTE && name.toString("latin1") === "GNU\0")
        return bytes > BUILD_ID_BYTES_MAX
          ? undefined
          : Buffer.from(notes.subarray(start, start + bytes)).toString("hex");
      at = start + aligned(bytes);
    }
  }
  return undefined;
}

function aligned(bytes: number): number {
  return Math.ceil(bytes / 4) * 4;
}

/** What a kernel that runs is called where its files do not say so. */
export interface Machine {
  kernel_release: string;
  arch: string;
}

/** Reads a host. Keeps each module's build id for as long as its directory is the same one. */
export class HostReader {
  private readonly build_ids = new Map<string, { inode: bigint; build_id: string | undefined }>();

  constructor(
    readonly root: HostRoot,
    private readonly machine: Machine,
  ) {}

  /**
   * One reading, without the kernel's lock: two that are equal are to be trusted (stable_snapshot.ts). Throws TornRead
   * where something went meanwhile. What may not be read makes the host `unreadable`, never empty.
   */
  read(): Snapshot {
    const boot_id = text_or_null(this.root, BOOT_ID) ?? "";
    const snapshot: Snapshot = {
      boot_id,
      boot_time: this.boot_time(),
      kernel_release: text_or_null(this.root, OSRELEASE) || this.machine.kernel_release,
      arch: text_or_null(this.root, ARCH) || this.machine.arch,
      patches: [],
      modules: [],
      policy: this.policy(),
      livepatching: "supported",
    };
    // Without it a reboot could not be told from a hole, and old records of the log from new ones.
    if (boot_id === "") return { ...snapshot, livepatching: "unreadable" };
    try {
      return { ...snapshot, ...this.patches_and_modules() };
    } catch (error) {
      if (error instanceof TornRead) throw error;
      errno_of(error);
      return { ...snapshot, livepatching: "unreadable" };
    }
  }

  /** The link count is 2 + the patches; a patch that is loaded again has another inode. Empty if it cannot be read. */
  glance(): string {
    try {
      const { nlink } = this.root.stat(LIVEPATCH);
      const inodes = this.root
        .names(LIVEPATCH)
        .map((name) => `${name}:${this.root.stat(`${LIVEPATCH}/${name}`).ino}`);
      return `${nlink} ${inodes.join(" ")}`;
    } catch (error) {
      errno_of(error);
      return "";
    }
  }

  private patches_and_modules(): Pick<Snapshot, "patches" | "modules"> & { livepatching: LivepatchingName } {
    let names: string[];
    try {
      names = this.root.names(LIVEPATCH);
    } catch (error) {
      if (errno_of(error) !== "ENOENT") throw error;
      // Without /sys it is not the kernel that says so.
      this.root.stat("/sys/kernel");
      return { patches: [], modules: [], livepatching: "not_built" };
    }
    const patches = names.map((name) => shown_patch(this.root, name));
    const modules = livepatch_modules(this.root.text(MODULES)).map((module): ShownModule => {
      const build_id = this.build_id(module.name);
      return build_id === undefined ? module : { ...module, build_id };
    });
    const there = new Set(modules.map(({ name }) => name));
    for (const name of this.build_ids.keys()) if (!there.has(name)) this.build_ids.delete(name);
    return { patches, modules, livepatching: "supported" };
  }

  private build_id(name: string): string | undefined {
    try {
      const { ino } = this.root.stat(`/sys/module/${name}`);
      const kept = this.build_ids.get(name);
      if (kept?.inode === ino) return kept.build_id;
      const build_id = build_id_of_notes(this.root.bytes(`/sys/module/${name}/notes/.note.gnu.build-id`));
      this.build_ids.set(name, { inode: ino, build_id });
      return build_id;
    } catch (error) {
      // Built without one, or on its way: a reference without a build id is a legal one.
      errno_of(error);
      return undefined;
    }
  }

  private boot_time(): number {
    const text = text_or_null(this.root, BTIME) ?? "";
    return Number(/^btime ([0-9]+)$/m.exec(text)?.[1] ?? 0);
  }

  private policy(): Policy {
    const lockdown = text_or_null(this.root, LOCKDOWN) ?? "";
    const is_locked = /\[(integrity|confidentiality)\]/.test(lockdown);
    return {
      modules_disabled: text_or_null(this.root, MODULES_DISABLED) === "1",
      signature_required: is_locked || text_or_null(this.root, SIG_ENFORCE) === "Y",
      ftrace_off: text_or_null(this.root, FTRACE_ENABLED) === "0",
    };
  }
}
