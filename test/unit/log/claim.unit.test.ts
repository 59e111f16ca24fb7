import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { connect, createServer } from "node:net";
import { join } from "node:path";
import { afterEach, describe, expect, test } from "vitest";
import { claim_directory } from "#services/log/claim.js";
import { open_door } from "#services/log/door.js";
import { temporary_directory } from "./fixtures.js";

const children: ChildProcess[] = [];
afterEach(() => {
  for (const child of children.splice(0)) child.kill("SIGKILL");
});

const OWNER = `
  const { claim_directory } = await import(process.argv[1]);
  const claim = claim_directory(process.argv[2]);
  const { createServer } = await import("node:net");
  createServer().listen(claim.door.path, () => console.log("claimed"));
`;

/** Another process that has the directory and listens at its door. */
async function start_owner(directory: string): Promise<ChildProcess> {
  const claim_module = import.meta.resolve("#services/log/claim.js");
  const child = spawn(process.execPath, ["--input-type=module", "-e", OWNER, claim_module, directory], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  children.push(child);
  const [text] = await once(child.stdout!, "data");
  expect(String(text)).toBe("claimed\n");
  return child;
}

describe("a directory", () => {
  test("is one process's, until that dies, however it does", async () => {
    const directory = temporary_directory();
    const owner = await start_owner(directory);
    expect(() => claim_directory(directory)).toThrow(
      expect.objectContaining({ code: "unavailable", message: expect.stringMatching(/--server.*stop it/) }),
    );
    expect(() => claim_directory(directory)).toThrow(directory);
    owner.kill("SIGKILL");
    await once(owner, "exit");
    // The dead owner's socket is in the way of nobody.
    expect(existsSync(join(directory, "registry.sock"))).toBe(true);
    const claim = claim_directory(directory);
    expect(existsSync(join(directory, "registry.sock"))).toBe(false);
    expect(() => claim_directory(directory)).toThrow("another process");
    claim.release();
    claim_directory(directory).release();
  });

  test("has a door that works where its path is longer than a socket's may be", async () => {
    const directory = join(temporary_directory(), "d".repeat(150));
    mkdirSync(directory);
    const claim = claim_directory(directory);
    const server = createServer((socket) => socket.end("hello"));
    server.listen(claim.door.path);
    await once(server, "listening");
    expect(readdirSync(directory).sort()).toEqual(["lock", "registry.sock"]);

    const door = open_door(directory);
    const socket = connect(door.path);
    const [text] = await once(socket, "data");
    expect(String(text)).toBe("hello");
    door.close();
    server.close();
    await once(server, "close");
    claim.release();
    expect(readdirSync(directory)).toEqual(["lock"]);
  });

  test("that cannot be claimed says why", () => {
    const directory = temporary_directory();
    expect(() => claim_directory(join(directory, "missing"))).toThrow("there is no such directory");
    writeFileSync(join(directory, "file"), "");
    expect(() => claim_directory(join(directory, "file"))).toThrow("it is not a directory");
    const path = process.env.PATH;
    process.env.PATH = directory;
    try {
      expect(() => claim_directory(directory)).toThrow("install util-linux");
    } finally {
      process.env.PATH = path;
    }
  });

  test("that may not be written says so", () => {
    // Nobody makes a file there, not even root.
    expect(() => claim_directory("/sys/kernel")).toThrow(/may not be written|read-only/);
  });
});
