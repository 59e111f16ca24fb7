/** What the agent costs a host: a minute of one look a second, in windows of ten seconds, where nothing happens. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { type Figure, figure_of, type Run } from "./measure.js";
import { cpu_seconds_of } from "./server.js";

const COMMAND = fileURLToPath(new URL("../../bin/klpstate.js", import.meta.url));
const WINDOWS = 6;
const WINDOW_MS = 10_000;
/** As a server has them. */
const MODULES = 150;
const PATCHES = 3;

/** Files as a kernel shows them; the log is this machine's own, where there is one. */
function make_root(root: string): void {
  const write = (path: string, text: string) => {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), text);
  };
  const lines: string[] = [];
  for (let patch = PATCHES; patch >= 1; patch--) {
    for (const [name, value] of Object.entries({ enabled: 1, transition: 0, replace: 0, stack_order: patch }))
      write(`sys/kernel/livepatch/kp_${patch}/${name}`, `${value}\n`);
    write(`sys/module/kp_${patch}/notes/.note.gnu.build-id`, "");
    lines.push(`kp_${patch} 16384 1 - Live 0x0000000000000000 (OEK)\n`);
  }
  for (let module = 0; module < MODULES; module++)
    lines.push(`module_${module} 16384 1 module_0, Live 0x0000000000000000\n`);
  write("proc/modules", lines.join(""));
  write("proc/stat", `${readFileSync("/proc/stat", "utf8")}`);
  write("proc/sys/kernel/random/boot_id", "6b3a1c0e-5d53-4a52-9f6e-0a4a9f0f1b11\n");
  for (const [name, value] of Object.entries({
    osrelease: "6.12.0",
    arch: "x86_64",
    modules_disabled: 0,
    ftrace_enabled: 1,
  }))
    write(`proc/sys/kernel/${name}`, `${value}\n`);
  write("sys/module/module/parameters/sig_enforce", "N\n");
  write("sys/kernel/security/lockdown", "[none] integrity confidentiality\n");
  mkdirSync(join(root, "dev"));
  symlinkSync("/dev/kmsg", join(root, "dev/kmsg"));
}

interface Window extends Run {
  resident_mib: number;
}

/** RssAnon and what it has mapped and touched, as the kernel counts it. */
function resident_mib(pid: number): number {
  const [, kib] = /^VmRSS:\s+([0-9]+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "latin1"))!;
  return Number(kib) / 1_024;
}

export async function agent_figures(): Promise<Figure[]> {
  const root = mkdtempSync(join(tmpdir(), "klpstate-bench-host-"));
  make_root(root);
  const child = spawn(
    process.execPath,
    [COMMAND, "agent", "--output", "-", "--root", root, "--host-id", "bench"],
    {
      stdio: ["ignore", "pipe", "inherit"],
    },
  );
  try {
    // Its first event: it runs.
    await once(child.stdout, "data");
    const windows: Window[] = [];
    for (let window = 0; window < WINDOWS; window++) {
      const start = process.hrtime.bigint();
      const cpu_before = cpu_seconds_of(child.pid!);
      await sleep(WINDOW_MS);
      const seconds = Number(process.hrtime.bigint() - start) / 1e9;
      const cpu_seconds = cpu_seconds_of(child.pid!) - cpu_before;
      windows.push({ seconds, cpu_seconds, resident_mib: resident_mib(child.pid!) });
    }
    if (child.exitCode !== null) throw new Error(`the agent ended with ${child.exitCode}`);
    return [
      figure_of("agent-cpu", "% of a core", windows, (run) => (100 * run.cpu_seconds) / run.seconds, 0),
      figure_of("agent-memory", "MiB", windows, (run) => run.resident_mib, 0),
    ];
  } finally {
    child.kill("SIGKILL");
    rmSync(root, { recursive: true });
  }
}
