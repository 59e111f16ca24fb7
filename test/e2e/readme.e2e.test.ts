// The README's commands as written, against the demonstration that `npm start` serves.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { DEMO_COMMANDS, fill_demo } from "#services/cli/demo.js";
import { klpstate, start_server, temporary_directory } from "./klpstate.js";

const readme = readFileSync("README.md", "utf8");
const commands = [...readme.matchAll(/^\$ npx klpstate (.+)$/gm)].map((match) => match[1]!);

test("every command of the README answers, and shows what the README shows", async () => {
  const directory = join(temporary_directory(), "demo");
  const { hosts, events } = await fill_demo({
    recordings: "test/fixtures/kernel/scenarios.jsonl.gz",
    modules: "test/fixtures/kernel/ko",
    directory,
    now_ms: Date.now(),
    show: () => {},
  });
  const stored = `stored ${events.toLocaleString("en")} events of ${hosts.toLocaleString("en")} hosts`;
  expect(readme).toContain(stored);
  for (const command of DEMO_COMMANDS) expect(readme).toContain(`  npx klpstate ${command}`);
  expect(commands).toHaveLength(12);

  const server = await start_server(directory);
  const said = new Map<string, string>();
  for (const command of commands) {
    const args = command.split(" ");
    const asks_nobody = args[0] === "conform" || args[0] === "patch";
    const asked = asks_nobody ? args : [...args, "--server", server.url];
    const { code, stdout, stderr } = await klpstate(asked);
    // 1: the answer is no, as for a check that finds refusals.
    expect([command, code === 2 ? stderr : ""]).toEqual([command, ""]);
    said.set(command, stdout);
  }
  // Verdicts do not depend on when the demonstration was made.
  for (const line of [
    "REFUSED on 1,193, not known on 64, busy on 127 of 2,866 hosts: nc1v1",
    "  state 1: p28 holds version 2, nc1v1 offers 1 — 112 hosts",
  ]) {
    expect(readme).toContain(line);
    expect(said.get("check nc1v1")).toContain(line);
  }
  expect(said.get("check nc1v1 --host edge-syd-040")).toContain(
    "state 1: p30 holds version 2, nc1v1 offers 1",
  );
  const comparison = said.get(commands.find((command) => command.startsWith("patch compare"))!)!;
  expect(readme).toContain(comparison.split("\n\n")[0]);
  expect(said.get("conform modules test/fixtures/kernel/ko")).toBe("12 passed, 0 failed\n");
  expect(said.get("fleet")).toContain("2,866 hosts in 1,570 configurations");
  expect(said.get("replay")).toContain("MATCHES");
  expect(said.get(commands.find((command) => command.startsWith("conform scenarios"))!)).toMatch(
    /\n973 passed, 0 failed\n$/,
  );
  expect(said.get(commands.find((command) => command.startsWith("conform vectors"))!)).toMatch(
    /(^|\n)5500 passed, 0 failed\n$/,
  );
});
