/**
 * Places where room is short, each as real as the machine allows: a file system of its own where it may be mounted,
 * and a limit on the length of files, which nobody is refused.
 */
import { execFileSync } from "node:child_process";
import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type Server, start_server_with, temporary_directory } from "./klpstate.js";

export interface SmallDisk {
  /** A registry's, not made yet. */
  readonly data: string;
  /** A command that becomes the one that is given to it. */
  readonly under: string[];
  start(...args: string[]): Promise<Server>;
  /** Gives room, twice at most, without the server being told. */
  make_room(server: Server): void;
  remove(): void;
}

const KIB = 1024;

/** A way to have one; throws where the machine does not allow it. */
type Way = () => SmallDisk;

const tmpfs: Way = () =>
  mounted((directory) => run("mount", "-t", "tmpfs", "-o", `size=${1024 * KIB}`, "klpstate-test", directory));

const ext4: Way = () =>
  mounted((directory) => {
    const image = join(temporary_directory(), "image");
    writeFileSync(image, new Uint8Array(2048 * KIB));
    run("mkfs.ext4", "-q", "-m", "0", "-O", "^has_journal", image);
    run("mount", "-o", "loop", image, directory);
  });

/** In front of what a directory's file system has, some room is kept by files that are not the registry's. */
function mounted(mount: (directory: string) => void): SmallDisk {
  const directory = temporary_directory();
  mount(directory);
  const ballast = ["first", "second"].map((name) => join(directory, name));
  for (const file of ballast) writeFileSync(file, new Uint8Array(256 * KIB).fill(1));
  return {
    data: join(directory, "registry"),
    under: [],
    start: (...args) => start_server_with({}, join(directory, "registry"), ...args),
    make_room: () => rmSync(ballast.shift()!),
    remove: () => run("umount", "--lazy", directory),
  };
}

const file_size_limit: Way = () => {
  const data = join(temporary_directory(), "registry");
  let limit = 128 * KIB;
  run("prlimit", "--version");
  return {
    data,
    get under() {
      return ["prlimit", `--fsize=${limit}:`, "--"];
    },
    start(...args) {
      return start_server_with({ under: this.under }, data, ...args);
    },
    make_room(server) {
      limit += 64 * KIB;
      run("prlimit", `--pid=${server.pid}`, `--fsize=${limit}:`);
    },
    remove() {},
  };
};

function run(program: string, ...args: string[]): void {
  execFileSync(program, args, { stdio: ["ignore", "ignore", "pipe"] });
}

const WAYS: Record<string, Way> = {
  "a tmpfs": tmpfs,
  "an ext4 on a loop device": ext4,
  "a limit on the length of files": file_size_limit,
};

/** Those that this machine allows; the reasons why not are told. Throws where it allows none. */
export function small_disks(): { name: string; disk: SmallDisk }[] {
  const disks: { name: string; disk: SmallDisk }[] = [];
  const refusals: string[] = [];
  for (const [name, way] of Object.entries(WAYS)) {
    try {
      disks.push({ name, disk: way() });
    } catch (error) {
      refusals.push(`${name}: ${(error as Error).message.trim()}`);
    }
  }
  console.log(`full disks tried: ${disks.map(({ name }) => name).join(", ")}`);
  for (const refusal of refusals) console.log(`not possible here: ${refusal}`);
  if (disks.length === 0) throw new Error(`no disk can be filled on this machine: ${refusals.join("; ")}`);
  return disks;
}
