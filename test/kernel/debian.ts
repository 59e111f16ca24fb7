/**
 * What the test needs of Debian: programs, installed where one is missing, and a cloud kernel with its headers, which
 * is unpacked into a cache and installed nowhere.
 */
import { execFileSync, spawnSync } from "node:child_process";
import {
  accessSync,
  constants,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { homedir } from "node:os";
import { delimiter, join } from "node:path";
import { Skipped } from "./skipped.js";

/** Each program and the package that has it. */
const PROGRAMS: Record<string, string> = {
  "qemu-system-x86_64": "qemu-system-x86",
  make: "make",
  gcc: "gcc",
  "x86_64-linux-gnu-ld": "binutils",
  cpio: "cpio",
  flock: "util-linux",
};
/** What objtool, of the headers, is linked with. */
const LIBRARIES: Record<string, string> = { "/usr/lib/x86_64-linux-gnu/libelf.so.1": "libelf1" };

const IMAGE_NAME = /^linux-image-(\d+\.\d+[^ ]*-cloud-amd64)$/;

export interface Kernel {
  release: string;
  image_file: string;
  /** For `make -C`. */
  headers: string;
  /** Where what is made for this kernel may be kept. */
  cache: string;
}

export function cache_directory(): string {
  return join(process.env.XDG_CACHE_HOME || join(homedir(), ".cache"), "klpstate", "kernel");
}

/** Throws Skipped where the machine is none that Debian's amd64 packages are for, or they cannot be had. */
export function provide_programs(say: (line: string) => void): void {
  if (process.platform !== "linux" || process.arch !== "x64")
    throw new Skipped(`needs Linux on x86-64, this is ${process.platform} on ${process.arch}`);
  const missing = [
    ...Object.entries(PROGRAMS).flatMap(([program, name]) => (is_installed(program) ? [] : [name])),
    ...Object.entries(LIBRARIES).flatMap(([file, name]) => (existsSync(file) ? [] : [name])),
  ];
  if (missing.length === 0) return;
  if (!is_installed("apt-get")) throw new Skipped(`${missing.join(", ")} missing, and there is no apt-get`);
  if (process.getuid?.() !== 0) throw new Skipped(`as root: apt-get install ${missing.join(" ")}`);
  say(`installs ${missing.join(", ")}`);
  const arguments_ = ["install", "-y", "--no-install-recommends", ...missing];
  if (spawnSync("apt-get", arguments_, { stdio: "ignore" }).status === 0) return;
  apt("update");
  apt(...arguments_);
}

/** `release`: default the newest of the archive, or of the cache where there is no archive. Throws Skipped. */
export function provide_kernel(release: string | undefined, say: (line: string) => void): Kernel {
  const wanted = release ?? newest_release();
  const cache = join(cache_directory(), wanted);
  if (!existsSync(cache)) unpack_kernel(wanted, cache, say);
  return {
    release: wanted,
    image_file: join(cache, "root", "boot", `vmlinuz-${wanted}`),
    headers: join(cache, "root", "usr", "src", `linux-headers-${wanted}`),
    cache,
  };
}

function newest_release(): string {
  const kept = existsSync(cache_directory()) ? readdirSync(cache_directory()) : [];
  const all = [...new Set([...released(), ...kept.filter((name) => name.endsWith("-cloud-amd64"))])];
  const newest = all.sort((a, b) => a.localeCompare(b, "en", { numeric: true })).at(-1);
  if (newest === undefined) throw new Skipped("no cloud kernel is in apt's lists, and none in the cache");
  return newest;
}

function released(): string[] {
  if (!is_installed("apt-cache")) return [];
  const search = () =>
    output_of("apt-cache", "search", "--names-only", "^linux-image-.*-cloud-amd64$").flatMap(
      (line) => IMAGE_NAME.exec(line.split(" ")[0]!)?.[1] ?? [],
    );
  const found = search();
  if (found.length > 0 || process.getuid?.() !== 0) return found;
  // A fresh container has no lists.
  spawnSync("apt-get", ["update"], { stdio: "ignore" });
  return search();
}

function unpack_kernel(release: string, cache: string, say: (line: string) => void): void {
  const headers = `linux-headers-${release}`;
  const beside = output_of("apt-cache", "depends", headers).flatMap(
    (line) => /^\s*Depends: (linux-(?:headers|kbuild)-\S+)$/.exec(line)?.[1] ?? [],
  );
  const packages = [`linux-image-${release}`, headers, ...beside];
  say(`downloads ${packages.join(", ")} into ${cache}`);
  // Only what is whole gets its name: a run that is ended leaves no half of a kernel.
  const half_made = `${cache}.${process.pid}`;
  const root = join(half_made, "root");
  mkdirSync(root, { recursive: true });
  try {
    apt_in(half_made, "download", ...packages);
    for (const name of readdirSync(half_made).filter((name) => name.endsWith(".deb"))) {
      execFileSync("dpkg-deb", ["-x", join(half_made, name), root]);
      rmSync(join(half_made, name));
    }
    const unpacked = join(root, "usr", "src", headers);
    const makefile = readFileSync(join(unpacked, "Makefile"), "utf8");
    writeFileSync(
      join(unpacked, "Makefile"),
      makefile.replaceAll("/usr/src/", join(cache, "root", "usr", "src/")),
    );
    // Only for BTF, which the modules do not need, and which would need pahole.
    rmSync(join(unpacked, "vmlinux"), { force: true });
    renameSync(half_made, cache);
  } catch (error) {
    rmSync(half_made, { recursive: true, force: true });
    throw error;
  }
}

function is_installed(program: string): boolean {
  return (process.env.PATH ?? "").split(delimiter).some((directory) => {
    try {
      accessSync(join(directory, program), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

function output_of(program: string, ...args: string[]): string[] {
  return execFileSync(program, args, { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }).split("\n");
}

function apt(...args: string[]): void {
  apt_in(".", ...args);
}

function apt_in(directory: string, ...args: string[]): void {
  const { status, stderr } = spawnSync("apt-get", args, { cwd: directory, encoding: "utf8" });
  if (status === 0) return;
  throw new Skipped(`apt-get ${args.join(" ")}: ${(stderr ?? "").trim().split("\n").at(-1)}`);
}
