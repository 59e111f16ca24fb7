// docs/faults.md names the test that shows each of its rows: every one of them is there.
import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

const root = join(dirname(fileURLToPath(import.meta.url)), "..", "..");
const page = readFileSync(join(root, "docs", "faults.md"), "utf8");
const rows = page
  .split("\n")
  .filter((line) => line.startsWith("| "))
  .slice(2);

test.each(rows.map((row) => [row.split(" | ")[0]!.slice(2).trim(), row]))(
  "%s is shown by tests that exist",
  (_, row) => {
    const cited = [
      ...row
        .split(" | ")
        .at(-1)!
        .matchAll(/`([^`]+)` "([^"]+)"/g),
    ];
    expect(cited).not.toEqual([]);
    for (const [, file, name] of cited) {
      expect(existsSync(join(root, file!)), file).toBe(true);
      // As a title, or as the name of what happens on the simulated disk.
      expect(readFileSync(join(root, file!), "utf8"), file).toContain(`"${name}"`);
    }
  },
);

test("every row of the page names a test", () => {
  expect(rows.length).toBeGreaterThan(10);
  expect(page.match(/^\|/gm)).toHaveLength(rows.length + 2);
});
