/** Linux's page cache: what of a file is in memory, and what came from the device. */
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";

/** Node has no posix_fadvise, and dd has: it writes back what is dirty and then drops every page of the file. */
export function drop_pages(paths: readonly string[]): void {
  for (const path of paths) {
    execFileSync("dd", [`of=${path}`, "oflag=nocache", "conv=notrunc,fdatasync", "count=0"], {
      stdio: "ignore",
    });
  }
}

/** By this process since its start, read ahead included. */
export function bytes_from_device(): number {
  return Number(/^read_bytes: ([0-9]+)$/m.exec(readFileSync("/proc/self/io", "latin1"))![1]);
}
