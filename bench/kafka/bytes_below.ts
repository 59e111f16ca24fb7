import { readdirSync, statSync } from "node:fs";
import { join } from "node:path";

/** Of all files below the directory whose names end so. */
export function bytes_below(directory: string, ending = ""): number {
  const names = readdirSync(directory, { recursive: true, encoding: "utf8" });
  return names
    .filter((name) => name.endsWith(ending))
    .map((name) => statSync(join(directory, name)))
    .reduce((sum, stat) => (stat.isFile() ? sum + stat.size : sum), 0);
}
