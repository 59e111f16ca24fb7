/**
 * A host's /sys, /proc and /dev/kmsg as files. What is shown is changed at once, by renaming a symbolic link, as no
 * kernel does: what is torn is made by hand where a test wants it.
 */
import { appendFileSync, mkdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import type { ShownModule, ShownPatch, Snapshot } from "#services/agent/derive.js";

export const BOOT = "6b3a1c0e-5d53-4a52-9f6e-0a4a9f0f1b11";
export const BOOT_TIME_S = 1_700_000_000;

/** A GNU build id as the linker writes it into a note section, on a little-endian machine. */
export function build_id_note(hex: string): Buffer {
  const id = Buffer.from(hex, "hex");
  const head = Buffer.alloc(12);
  head.writeUInt32LE(4, 0);
  head.writeUInt32LE(id.length, 4);
  head.writeUInt32LE(3, 8);
  return Buffer.concat([head, Buffer.from("GNU\0"), id]);
}

export const on = (name: string, more: Partial<ShownPatch> = {}): ShownPatch => ({
  name,
  enabled: 1,
  transition: 0,
  ...more,
});

export const module_of = (name: string, more: Partial<ShownModule> = {}): ShownModule => ({
  name,
  refcount: 0,
  state: "Live",
  taints: "(OEK)",
  ...more,
});

export function host(
  patches: ShownPatch[] = [],
  modules: ShownModule[] = [],
  more: Partial<Snapshot> = {},
): Snapshot {
  return {
    boot_id: BOOT,
    boot_time: BOOT_TIME_S,
    kernel_release: "6.12.117",
    arch: "x86_64",
    patches,
    modules,
    ...more,
  };
}

export class HostTree {
  readonly root: string;
  private generations = 0;
  private record = 0;

  constructor(
    private readonly directory: string,
    shown: Snapshot = host(),
  ) {
    this.root = join(directory, "root");
    writeFileSync(this.kmsg, "");
    this.show(shown);
  }

  get kmsg(): string {
    return join(this.directory, "kmsg");
  }

  /** The generations before stay: an inode that is used again would be taken for the same directory. */
  show(shown: Snapshot): void {
    const files = join(this.directory, `shown-${this.generations++}`);
    const write = (path: string, text: string | Uint8Array) => {
      mkdirSync(dirname(join(files, path)), { recursive: true });
      writeFileSync(join(files, path), text);
    };
    mkdirSync(join(files, "sys/kernel/livepatch"), { recursive: true });
    for (const { name, build_id: _, ...attributes } of shown.patches) {
      for (const [attribute, value] of Object.entries(attributes))
        write(`sys/kernel/livepatch/${name}/${attribute}`, `${Number(value)}\n`);
    }
    for (const { name, build_id } of shown.modules) {
      if (build_id) write(`sys/module/${name}/notes/.note.gnu.build-id`, build_id_note(build_id));
    }
    const lines = shown.modules.map(
      ({ name, refcount, state, taints }) =>
        `${name} 16384 ${refcount} - ${state} 0x0000000000000000 ${taints}\n`,
    );
    write("proc/modules", `${lines.join("")}ext4 999424 1 - Live 0x0000000000000000\n`);
    write("proc/stat", `cpu  1 2 3 4\nbtime ${shown.boot_time}\n`);
    write("proc/sys/kernel/random/boot_id", `${shown.boot_id}\n`);
    write("proc/sys/kernel/osrelease", `${shown.kernel_release}\n`);
    write("proc/sys/kernel/arch", `${shown.arch}\n`);
    write("proc/sys/kernel/hostname", "web-17\n");
    write("proc/sys/kernel/modules_disabled", shown.policy?.modules_disabled ? "1\n" : "0\n");
    write("proc/sys/kernel/ftrace_enabled", shown.policy?.ftrace_off ? "0\n" : "1\n");
    write("sys/module/module/parameters/sig_enforce", shown.policy?.signature_required ? "Y\n" : "N\n");
    write("sys/kernel/security/lockdown", "[none] integrity confidentiality\n");
    mkdirSync(join(files, "dev"));
    symlinkSync(this.kmsg, join(files, "dev/kmsg"));
    const link = join(this.directory, "next");
    rmSync(link, { force: true });
    symlinkSync(files, link);
    renameSync(link, this.root);
  }

  /** The kernel's lines, a record each. */
  print(...texts: string[]): void {
    appendFileSync(this.kmsg, texts.map((text) => `6,${this.record++},123456,-;${text}\n`).join(""));
  }

  /** Records that nobody will read. */
  lose(records: number): void {
    this.record += records;
  }

  /** As a boot does it: the log begins anew. The file that was read before goes on to be open where it is. */
  reboot(shown: Snapshot): void {
    rmSync(this.kmsg);
    this.record = 0;
    writeFileSync(this.kmsg, "");
    this.show(shown);
  }
}
