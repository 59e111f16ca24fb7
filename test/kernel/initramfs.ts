/** What the guest boots with: its init, the modules, Node as it is here, and this build of klpstate. */
import { execFileSync, spawnSync } from "node:child_process";
import {
  closeSync,
  cpSync,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  realpathSync,
  rmSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { HOST } from "./witness.js";

const INIT_SOURCE = join("test", "kernel", "guest", "init.c");
/** Where this directory's files are in the guest. */
export const GUEST_ROOT = "/klpstate";
/** What lies in packages and in the build beside what Node loads. */
const NOT_LOADED = /\.(?:map|[cm]?ts|md|txt|html|flow)$/;

/** `flock` takes the spool for one agent (services/log/claim.ts). */
const PROGRAMS = [
  { name: "node", path: process.execPath },
  { name: "flock", path: "/usr/bin/flock" },
];

/** Where the agent keeps what it has not delivered yet. */
export const AGENT_SPOOL = "/var/lib/klpstate-agent";
/** What runs in the guest, and is asked for nothing but lines of events. */
export const AGENT = [
  "/usr/bin/node",
  join(GUEST_ROOT, "bin", "klpstate.js"),
  ...["agent", "--output", "-", "--host-id", HOST, "--root", "/", "--spool", AGENT_SPOOL],
];

/** Writes the archive to `file`; everything else that it makes is below `workplace`. */
export function make_initramfs(patches: string, workplace: string, file: string): void {
  const tree = join(workplace, "initramfs");
  for (const directory of ["dev", "patches", "usr/bin"])
    mkdirSync(join(tree, directory), { recursive: true });
  execFileSync("gcc", ["-O2", "-static", "-w", "-o", join(tree, "init"), INIT_SOURCE]);
  cpSync(patches, join(tree, "patches"), {
    recursive: true,
    filter: (path) => path === patches || path.endsWith(".ko"),
  });
  for (const program of PROGRAMS) add_program(program, tree);
  const home = join(tree, GUEST_ROOT);
  for (const path of ["package.json", "bin", "dist", ...installed_packages()]) {
    cpSync(path, join(home, path), { recursive: true, filter: (from) => !NOT_LOADED.test(from) });
  }
  const archive = openSync(file, "w");
  const files = execFileSync("find", ["."], { cwd: tree, maxBuffer: 2 ** 26 });
  // Not compressed: to unpack it costs an emulated processor more than to read it.
  const { status, stderr } = spawnSync("cpio", ["--create", "--format=newc", "--quiet"], {
    cwd: tree,
    input: files,
    stdio: ["pipe", archive, "pipe"],
  });
  closeSync(archive);
  if (status !== 0) throw new Error(`cpio: ${stderr}`);
  rmSync(tree, { recursive: true });
}

function add_program({ name, path }: (typeof PROGRAMS)[number], tree: string): void {
  const libraries = execFileSync("ldd", [path], { encoding: "utf8" }).match(/\/\S+/g) ?? [];
  for (const library of libraries) {
    mkdirSync(join(tree, dirname(library)), { recursive: true });
    cpSync(realpathSync(library), join(tree, library));
  }
  cpSync(realpathSync(path), join(tree, "usr", "bin", name));
}

/** Those that a host gets: of the lockfile without what only builds and tests need. */
function installed_packages(): string[] {
  const { packages } = JSON.parse(readFileSync("package-lock.json", "utf8")) as {
    packages: Record<string, { dev?: boolean }>;
  };
  return Object.entries(packages).flatMap(([path, { dev }]) =>
    path !== "" && !dev && existsSync(path) ? [path] : [],
  );
}
