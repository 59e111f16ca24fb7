/** What the agent reads, whether it may, and what would let it: `klpstate agent --check`. */
import {
  BOOT_ID,
  errno_of,
  FTRACE_ENABLED,
  type HostRoot,
  LIVEPATCH,
  LOCKDOWN,
  livepatch_modules,
  MODULES,
  MODULES_DISABLED,
  SIG_ENFORCE,
} from "./host_files.js";
import { KMSG, type KmsgFile } from "./kmsg.js";

export interface SourceReport {
  source: string;
  /** `absent`: this kernel or build has no such thing, which is an answer. */
  access: "readable" | "absent" | "unreadable";
  errno: string | null;
  /** What is not known without it. */
  without: string;
  /** What would give access. */
  advice: string;
}

interface SourceCheck {
  source: string;
  read(): void;
  /** ENOENT means that there is none. */
  may_be_absent: boolean;
  without: string;
  advice: string;
}

/** A kernel that has it has the directory; what is mounted there has files. A container's /sys comes without. */
const SECURITYFS = "/sys/kernel/security";

const IN_SIGHT =
  "run on the host, or with its /sys and /proc in sight (a pod: hostPID, --root of the host's mount)";

function checks(root: HostRoot, open_log: () => KmsgFile): SourceCheck[] {
  const policy = (source: string): SourceCheck => ({
    source,
    read: () => root.text(source),
    may_be_absent: true,
    without: "the host's policy: a check may say ok where the kernel says EPERM or EKEYREJECTED",
    advice: "mount securityfs, or let the user read it",
  });
  return [
    {
      source: LIVEPATCH,
      read: () => {
        root.stat("/sys/kernel");
        root.names(LIVEPATCH);
      },
      may_be_absent: true,
      without: "everything: the host is `unreadable`",
      advice: IN_SIGHT,
    },
    {
      source: MODULES,
      read: () => root.text(MODULES),
      may_be_absent: !has_livepatches(root),
      without: "everything: the host is `unreadable`",
      advice: "a unit: ProcSubset=all",
    },
    {
      source: "/sys/module/*/notes/.note.gnu.build-id",
      read: () => {
        for (const { name } of livepatch_modules(root.text(MODULES)))
          root.bytes(`/sys/module/${name}/notes/.note.gnu.build-id`);
      },
      may_be_absent: true,
      without: "build ids: a patch is found by name and release alone",
      advice: IN_SIGHT,
    },
    {
      source: KMSG,
      read: () => read_log(open_log),
      may_be_absent: false,
      without: "refusals, forced transitions and what happens between two looks: a Loss (kernel_log) says so",
      advice:
        "CAP_SYSLOG, where kernel.dmesg_restrict=1; a unit: no PrivateDevices, no ProtectKernelLogs, DeviceAllow=/dev/kmsg r; a container: the device and CAP_SYSLOG",
    },
    {
      source: BOOT_ID,
      read: () => root.text(BOOT_ID),
      may_be_absent: false,
      without: "everything: a reboot could not be told, so the host is `unreadable`",
      advice: "a unit: ProcSubset=all",
    },
    ...[MODULES_DISABLED, SIG_ENFORCE, LOCKDOWN, FTRACE_ENABLED].map(policy),
    {
      source: "/proc/*/task/*/patch_state",
      read: () => root.text("/proc/1/task/1/patch_state"),
      // Its own is there if any is: other users' tasks may be out of sight.
      may_be_absent: !is_there(root, "/proc/self/patch_state"),
      without: "who holds up a transition: `stalled` has no tasks",
      advice: "root or CAP_DAC_READ_SEARCH; a unit: ProtectProc=default; /proc without hidepid",
    },
  ];
}

function is_there(root: HostRoot, path: string): boolean {
  try {
    root.stat(path);
    return true;
  } catch (error) {
    return errno_of(error) !== "ENOENT";
  }
}

/** A kernel without them may be one without modules. */
function has_livepatches(root: HostRoot): boolean {
  try {
    root.names(LIVEPATCH);
    return true;
  } catch (error) {
    return errno_of(error) !== "ENOENT";
  }
}

function read_log(open_log: () => KmsgFile): void {
  const file = open_log();
  try {
    file.read(new Uint8Array(16 * 1024));
  } catch (error) {
    // Nothing new, or too much: it can be read.
    if (!["EAGAIN", "EPIPE"].includes(errno_of(error))) throw error;
  } finally {
    file.close();
  }
}

export function check_sources(root: HostRoot, open_log: () => KmsgFile): SourceReport[] {
  return checks(root, open_log).map(({ source, read, may_be_absent, without, advice }) => {
    try {
      read();
      return { source, access: "readable", errno: null, without, advice };
    } catch (error) {
      const errno = errno_of(error);
      // Without /sys or /proc/sys at all it is this process that has no sight, not the kernel that has no such file.
      const is_absent = errno === "ENOENT" && may_be_absent && is_mounted(root, source);
      return { source, access: is_absent ? "absent" : "unreadable", errno, without, advice };
    }
  });
}

function is_mounted(root: HostRoot, source: string): boolean {
  try {
    if (source.startsWith(SECURITYFS)) return !is_empty(root, SECURITYFS);
    root.stat(source.startsWith("/sys") ? "/sys/kernel" : "/proc/sys/kernel");
    return true;
  } catch (error) {
    errno_of(error);
    return false;
  }
}

/** Not there is not empty. */
function is_empty(root: HostRoot, directory: string): boolean {
  root.stat("/sys/kernel");
  try {
    return root.names(directory).length === 0;
  } catch (error) {
    if (errno_of(error) === "ENOENT") return false;
    throw error;
  }
}
