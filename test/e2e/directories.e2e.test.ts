/** A directory that cannot be served: whose it is, or what is wrong with it, in one line; and it stays as it was. */
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import {
  ask,
  ask_json,
  expect_refused,
  json_lines,
  klpstate,
  klpstate_yes,
  type Server,
  start_server,
  temporary_directory,
} from "./klpstate.js";

function event_of(host_id: string): string {
  const observed = { kernel_release: "6.12.1", arch: "x86_64" };
  return JSON.stringify({ host_id, stream: "7", sequence: "1", time_unix_ms: "1780000000000", observed });
}

const EVENT = event_of("web-17");

/** A registry with these hosts that nobody owns. */
async function make_registry(...host_ids: string[]): Promise<string> {
  const data = join(temporary_directory(), "registry");
  const events = (host_ids.length === 0 ? ["web-17"] : host_ids).map(event_of);
  await klpstate_yes(["ingest", "-", "--data", data], { stdin: events.join("\n") });
  return data;
}

/** Every file below with what is in it. */
function contents(directory: string): Record<string, string> {
  const names = readdirSync(directory, { recursive: true, encoding: "utf8" }).sort();
  return Object.fromEntries(
    names.map((name) => {
      const path = join(directory, name);
      return [name, statSync(path).isFile() ? readFileSync(path).toString("latin1") : "a directory"];
    }),
  );
}

function take_write_permission(path: string): void {
  if (statSync(path).isDirectory()) {
    for (const name of readdirSync(path)) take_write_permission(join(path, name));
    chmodSync(path, 0o555);
  } else chmodSync(path, 0o444);
}

const serve = (data: string, ...more: string[]) => [
  "serve",
  "--data",
  data,
  "--listen",
  "127.0.0.1:0",
  ...more,
];

describe.concurrent("a directory that may not be written", () => {
  test("is refused by its name where it is empty, and where it would have to be made", async () => {
    const empty = temporary_directory();
    chmodSync(empty, 0o555);
    expect_refused(await klpstate(serve(empty), { bound: true }), empty, "may not be written");
    const missing = join(empty, "registry");
    expect_refused(await klpstate(serve(missing), { bound: true }), missing);
    expect_refused(
      await klpstate(["ingest", "-", "--data", missing], { bound: true, stdin: EVENT }),
      missing,
    );
    expect(contents(empty)).toEqual({});
  });

  test("is refused where it is a registry, and stays one that can be asked by who may write it", async () => {
    const data = await make_registry();
    const before = contents(data);
    take_write_permission(data);
    for (const args of [serve(data), ["host", "web-17", "--data", data], ["ingest", "-", "--data", data]]) {
      const refused = await klpstate(args, { bound: true, stdin: EVENT });
      expect_refused(refused, data, "may not be written");
    }
    expect(contents(data)).toEqual(before);
  });

  test("is refused where only one of its logs is so, with the log's file", async () => {
    for (const [part, says] of [
      ["log/0", "partition 0"],
      ["log/catalog", "catalog"],
    ] as const) {
      const data = await make_registry("web-17", "web-0", "web-1", "web-2");
      const manifest = JSON.stringify({ name: "kp_1", kernel_release: "6.12.1", arch: "x86_64" });
      await klpstate_yes(["patch", "add", "-", "--data", data], { stdin: manifest });
      take_write_permission(join(data, part));
      const file = join(data, part, "00000000000000000000.log");
      expect(existsSync(file)).toBe(true);
      for (const args of [serve(data), ["fleet", "--data", data]])
        expect_refused(await klpstate(args, { bound: true }), says, file, "may not be written");
    }
  });

  test("keeps what its other partitions stored of a batch, says so, and takes it again once it is mended", async () => {
    const data = await make_registry();
    const events = Array.from({ length: 40 }, (_, index) => event_of(`host-${index}`)).join("\n");
    const [empty] = readdirSync(join(data, "log")).filter(
      (name) => name !== "catalog" && readdirSync(join(data, "log", name)).length === 0,
    );
    take_write_permission(join(data, "log", empty!));
    const refused = await klpstate(["ingest", "-", "--data", data], { bound: true, stdin: events });
    expect_refused(refused, `log/${empty}/`, "EACCES", "are stored", "lines 1 to 40 are not acknowledged");
    chmodSync(join(data, "log", empty!), 0o700);
    await klpstate_yes(["ingest", "-", "--data", data], { stdin: events });
    for (const host_id of ["host-0", "host-17", "host-39"]) {
      const history = json_lines(await klpstate_yes(["history", host_id, "--data", data, "--json"]));
      expect(history.filter(({ effect }) => effect === "applied")).toHaveLength(1);
    }
    const fleet = json_lines(await klpstate_yes(["fleet", "--data", data, "--json"]));
    expect(fleet).toMatchObject([{ hosts: 41 }]);
  });
});

describe.concurrent("a name that is no registry", () => {
  let registry_file: string;
  beforeAll(async () => {
    registry_file = readFileSync(join(await make_registry(), "registry.json"), "utf8");
  });

  function directory_with(file: string, text: string): string {
    const data = temporary_directory();
    writeFileSync(join(data, file), text);
    return data;
  }

  test("is refused where it is a file, by every command", async () => {
    const file = join(directory_with("a-file", "text"), "a-file");
    expect_refused(await klpstate(serve(file)), file, "not a directory");
    expect_refused(await klpstate(["fleet", "--data", file]), file, "not a directory");
    expect_refused(
      await klpstate(["ingest", "-", "--data", file], { stdin: EVENT }),
      file,
      "not a directory",
    );
    expect(readFileSync(file, "utf8")).toBe("text");
  });

  test("is refused where it holds other files, which stay alone", async () => {
    const data = directory_with("thesis.txt", "important");
    expect_refused(await klpstate(serve(data)), data, "thesis.txt", "not a registry");
    expect_refused(await klpstate(["ingest", "-", "--data", data], { stdin: EVENT }), "not a registry");
    expect(contents(data)).toEqual({ "thesis.txt": "important" });
  });

  test("is not made into one by a question", async () => {
    const data = join(temporary_directory(), "nothing");
    for (const command of [["host", "a"], ["replay"], ["patch", "list"]])
      expect_refused(await klpstate([...command, "--data", data]), data, "holds no registry");
    expect(existsSync(data)).toBe(false);
  });

  test("is refused where a newer version made it, which is named with what this one knows", async () => {
    const text = JSON.stringify({ ...JSON.parse(registry_file), format_version: 2 });
    const data = directory_with("registry.json", text);
    for (const args of [serve(data), ["fleet", "--data", data], ["ingest", "-", "--data", data]]) {
      const refused = await klpstate(args, { stdin: EVENT });
      expect_refused(refused, join(data, "registry.json"), "format 2", "newer klpstate");
    }
    const document = await klpstate(["fleet", "--data", data, "--json"]);
    expect(JSON.parse(document.stderr)).toMatchObject({ field: "format_version", value: "2" });
    expect(contents(data)).toEqual({ "registry.json": text });
  });

  test("is refused where its registry.json is cut off", async () => {
    const data = directory_with("registry.json", registry_file.slice(0, 20));
    expect_refused(await klpstate(serve(data)), join(data, "registry.json"), "not JSON");
    expect(contents(data)).toEqual({ "registry.json": registry_file.slice(0, 20) });
  });

  test("is refused where other partitions are asked for than it was made with", async () => {
    const data = await make_registry();
    expect_refused(await klpstate(serve(data, "--partitions", "4")), "8 partitions", "4");
    const server = await start_server(data, "--partitions", "8");
    expect(await server.stop()).toBe(0);
  });
});

describe.concurrent("a mistake in how it is served", () => {
  test("is told before a directory is made", async () => {
    const data = join(temporary_directory(), "registry");
    const mistakes: [more: string[], says: string][] = [
      [["--listen", "0.0.0.0:0"], "loopback"],
      [["--listen", "[::]:0"], "loopback"],
      [["--listen", "127.0.0.1.example.org:80"], "loopback"],
      [["--listen", "127.0.0.1"], "HOST:PORT"],
      [["--listen", "127.0.0.1:65536"], "65535"],
      [["--partitions", "0"], "4096"],
      [["--partitions", "4097"], "4096"],
      [["--log-level", "loud"], "info"],
      [["--port", "80"], "--port"],
    ];
    const refused = mistakes.map(([more]) => klpstate(["serve", "--data", data, ...more]));
    for (const [index, [, says]] of mistakes.entries()) expect_refused(await refused[index]!, says);
    expect(existsSync(data)).toBe(false);
  });

  test("an address in use is named, and the directory is free again", async () => {
    const server = await start_server(temporary_directory());
    const data = join(temporary_directory(), "registry");
    const address = `127.0.0.1:${server.port}`;
    const refused = await klpstate(["serve", "--data", data, "--listen", address, "--log-level", "silent"]);
    expect_refused(refused, address, "in use");
    const other = await start_server(data);
    expect(other.port).not.toBe(server.port);
    expect(await other.stop()).toBe(0);
  });
});

describe.concurrent("a directory that is served", () => {
  let server: Server;
  beforeAll(async () => {
    server = await start_server(await make_registry());
  });

  test("is refused to a second server, and the first one serves on", async () => {
    const { data } = server;
    expect_refused(await klpstate(serve(data)), data, "another process", "--server URL");
    expect(await ask_json(server, "/v1/hosts/web-17")).toMatchObject({ host_id: "web-17" });
    // By its socket, which the second one must not have taken away.
    expect(await klpstate_yes(["host", "web-17", "--data", data])).toContain("6.12.1");
  });

  test("is written through its owner", async () => {
    const stdin = event_of("by-the-socket");
    await klpstate_yes(["ingest", "-", "--data", server.data], { stdin });
    expect(await ask_json(server, "/v1/hosts/by-the-socket")).toMatchObject({ sequence: "1" });
  });

  test("is not taken away from an owner whose socket is gone", async () => {
    const own = await start_server(await make_registry());
    rmSync(join(own.data, "registry.sock"));
    expect_refused(await klpstate(["fleet", "--data", own.data]), own.data, "another process");
    expect((await ask(own, "/v1/fleet")).status).toBe(200);
    expect(await own.stop()).toBe(0);
  });

  test.each(["SIGTERM", "SIGINT"] as const)("is given back at %s, with what was stored", async (signal) => {
    const own = await start_server(join(temporary_directory(), "made", "on", "the", "way"));
    await klpstate_yes(["ingest", "-", "--server", own.url], { stdin: EVENT });
    expect(await own.stop(signal)).toBe(0);
    expect(own.log().at(-1)).toMatchObject({ msg: "stopped" });
    expect(existsSync(join(own.data, "registry.sock"))).toBe(false);
    await expect(ask(own, "/healthz")).rejects.toThrow("ECONNREFUSED");
    const again = await start_server(own.data);
    expect(await ask_json(again, "/v1/hosts/web-17")).toMatchObject({ host_id: "web-17" });
  });

  test("is free after its owner was killed, and has no socket that nobody listens at", async () => {
    const own = await start_server(await make_registry());
    await own.kill();
    expect(await klpstate_yes(["host", "web-17", "--data", own.data])).toContain("6.12.1");
    expect(existsSync(join(own.data, "registry.sock"))).toBe(false);
  });
});

test("a path longer than a socket's may be is served and asked like any other", async () => {
  const data = join(temporary_directory(), "d".repeat(200));
  mkdirSync(data);
  const server = await start_server(data);
  await klpstate_yes(["ingest", "-", "--data", data], { stdin: EVENT });
  expect(await ask_json(server, "/v1/hosts/web-17")).toMatchObject({ host_id: "web-17" });
});
