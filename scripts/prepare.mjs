// What every command of a clone needs first: the packages of the lockfile, and a build. Each only when stale.
import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");

/** npm keeps what it installed beside it; a package that the lockfile has otherwise means that it is stale. */
function is_installed() {
  const installed_file = join(root, "node_modules", ".package-lock.json");
  if (!existsSync(installed_file)) return false;
  const wanted = JSON.parse(readFileSync(join(root, "package-lock.json"), "utf8")).packages;
  const installed = JSON.parse(readFileSync(installed_file, "utf8")).packages;
  return Object.entries(wanted).every(
    // Binaries for other machines are optional and left out.
    ([path, { version, optional }]) => path === "" || optional || installed[path]?.version === version,
  );
}

export function prepare() {
  if (!is_installed()) {
    console.error("install: npm ci");
    execFileSync("npm", ["ci", "--no-audit", "--no-fund"], {
      cwd: root,
      stdio: ["ignore", "ignore", "inherit"],
    });
  }
  execFileSync(process.execPath, [join(root, "scripts", "build.mjs")], { stdio: "inherit" });
}
