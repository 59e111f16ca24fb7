/** Where a figure of durable writing may write: a fresh directory on a file system that has a disk. */
import { mkdtempSync, rmSync, statfsSync } from "node:fs";
import { join } from "node:path";

/** linux/magic.h. */
const FILE_SYSTEMS: Readonly<Record<number, string>> = {
  61267: "ext4",
  1481003842: "xfs",
  2435016766: "btrfs",
  801189825: "zfs",
  2035054128: "overlayfs",
  26985: "nfs",
  16914836: "tmpfs",
};
/** Keep nothing over a power cut: fdatasync returns at once, and a figure of it would be of memory. */
const IN_MEMORY = ["tmpfs"];

export function file_system_of(directory: string): string {
  const { type } = statfsSync(directory);
  return FILE_SYSTEMS[type] ?? `a file system of type 0x${type.toString(16)}`;
}

/** Runs `work` on a directory below `parent`, which goes away afterwards. Throws for a `parent` in memory. */
export async function in_directory<Result>(
  parent: string,
  work: (directory: string) => Promise<Result>,
): Promise<Result> {
  const kind = file_system_of(parent);
  if (IN_MEMORY.includes(kind)) {
    throw new Error(`--directory ${parent}: it is on ${kind}, where nothing is durable; name one on a disk`);
  }
  const directory = mkdtempSync(join(parent, "klpstate-bench-"));
  try {
    return await work(directory);
  } finally {
    rmSync(directory, { recursive: true });
  }
}
