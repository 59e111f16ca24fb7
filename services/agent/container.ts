/** Whether this process is in a container: the kernel that it sees is the host's, the name that it has is not. */
import { readlinkSync } from "node:fs";
import { HOST_ID_BYTES_MAX } from "../events/limits.js";
import { shorten } from "../events/place.js";
import { Problem } from "../events/problem.js";
import { errno_of, type HostRoot } from "./host_files.js";

/**
 * PROC_PID_INIT_INO and PROC_UTS_INIT_INO of include/linux/proc_ns.h: the first namespaces of a kernel. With the host's
 * processes in sight (a pod's hostPID) a container still has a name of its own, and not each runtime leaves a mark.
 */
const FIRST_NAMESPACES = [
  { path: "/proc/self/ns/pid", first: "pid:[4026531836]", of: "process namespace" },
  { path: "/proc/self/ns/uts", first: "uts:[4026531838]", of: "namespace of host names" },
];
/** What podman, docker and systemd-nspawn leave in every container. */
const MARKS = ["/run/.containerenv", "/.dockerenv", "/run/host/container-manager"];
const HOSTNAME = "/proc/sys/kernel/hostname";
/** What a machine is called that nobody named. */
const NO_NAMES = ["", "(none)", "localhost", "localhost.localdomain"];

/** What says so, or null. `link` reads a symbolic link, as readlink(2). */
export function container_sign(root: HostRoot, link: (path: string) => string = readlinkSync): string | null {
  for (const { path, first, of } of FIRST_NAMESPACES) {
    try {
      const namespace = link(path);
      if (namespace !== first) return `its ${of} is ${namespace}, not the kernel's first`;
    } catch (error) {
      errno_of(error);
    }
  }
  for (const mark of MARKS) {
    try {
      root.stat(mark);
      return `${mark} is there`;
    } catch (error) {
      errno_of(error);
    }
  }
  return null;
}

/**
 * The host's id: `given`, else its host name. Throws Problem where that name would not be the host's: in a container,
 * below another root, or where it has none.
 */
export function host_identity(
  given: string | undefined,
  root: HostRoot,
  is_other_root: boolean,
  sign: string | null,
): string {
  if (given !== undefined) return valid(given, "--host-id");
  const refuse = (why: string) =>
    new Problem("bad_input", `the host's name is not known: ${why}; give it with --host-id`, {
      field: "host-id",
    });
  if (is_other_root) throw refuse("--root is another host's tree, which does not tell it");
  if (sign !== null) throw refuse(`this is a container (${sign}), whose name is not the host's`);
  const name = root.text(HOSTNAME).trim();
  if (NO_NAMES.includes(name)) throw refuse(`the host is called ${shorten(name)}`);
  return valid(name, HOSTNAME);
}

function valid(id: string, from: string): string {
  const bytes = Buffer.byteLength(id);
  if (bytes >= 1 && bytes <= HOST_ID_BYTES_MAX && !/\p{Cc}/u.test(id)) return id;
  const limit = `1 to ${HOST_ID_BYTES_MAX} bytes without control characters`;
  throw new Problem("bad_input", `${from}: ${shorten(id)} is no host id; ${limit}`, {
    field: "host-id",
    value: shorten(id),
    limit,
  });
}
