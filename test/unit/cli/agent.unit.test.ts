/** `klpstate agent` for who tries it: what it can read, and one look. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { HostTree, host, module_of, on } from "../agent/host_tree.js";
import { run_captured } from "./captured_terminal.js";

let directory: string;
let tree: HostTree;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "klpstate-agent-"));
  tree = new HostTree(directory, host([on("kp_1")], [module_of("kp_1", { refcount: 1, build_id: "ab12" })]));
});

afterEach(() => {
  rmSync(directory, { recursive: true });
});

const agent = (...args: string[]) => run_captured(["agent", "--root", tree.root, ...args]);

test("--check is 0 where everything can be read, as a table or as lines of JSON", async () => {
  const text = await agent("--check");
  expect(text).toMatchObject({ code: 0, err: "" });
  expect(text.out).toContain("the agent can read what it needs");
  const { out } = await agent("--check", "--json");
  const reports = out
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line));
  expect(reports).toContainEqual(
    expect.objectContaining({ source: "/dev/kmsg", access: "readable", errno: null }),
  );
});

test("--check is 1 where something cannot be read, and says what gives access", async () => {
  rmSync(tree.kmsg);
  const { code, out } = await agent("--check");
  expect(code).toBe(1);
  expect(out).toContain("1 of 10 sources cannot be read");
  expect(out).toMatch(/\/dev\/kmsg +unreadable \(ENOENT\)/);
  expect(out).toMatch(/what gives access: .*CAP_SYSLOG/);
});

test("--once prints one look, with no server, no spool, and nothing beside it", async () => {
  const { code, out, err } = await agent("--once", "--host-id", "web-17");
  expect([code, err]).toEqual([0, ""]);
  expect(out.split("\n")).toHaveLength(2);
  expect(JSON.parse(out)).toMatchObject({
    host_id: "web-17",
    sequence: "1",
    observed: {
      stack: [{ patch: { name: "kp_1", build_id: "ab12" }, phase: "enabled" }],
      livepatching: "supported",
    },
  });
});

test("--once says of a host out of sight that it is unreadable", async () => {
  tree = { root: join(directory, "nowhere") } as HostTree;
  const { code, out } = await agent("--once", "--host-id", "web-17");
  expect(code).toBe(0);
  expect(JSON.parse(out).observed).toMatchObject({ livepatching: "unreadable" });
});
