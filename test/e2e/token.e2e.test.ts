/** A server that wants a token: who may ask it, how every command finds the token, and that nothing shows it. */
import { writeFileSync } from "node:fs";
import { networkInterfaces } from "node:os";
import { join } from "node:path";
import { beforeAll, expect, test } from "vitest";
import {
  ask,
  expect_refused,
  klpstate,
  klpstate_yes,
  problem_of,
  type Server,
  start_server_with,
  temporary_directory,
} from "./klpstate.js";

const TOKEN = "sesame-0123456789";
const EVENT =
  '{"host_id":"web-17","stream":"7","sequence":"1","time_unix_ms":"1780000000000","observed":' +
  '{"kernel_release":"6.12.1","arch":"x86_64","livepatching":"supported"}}\n';
const MANIFEST =
  '{"name":"kp_2","kernel_release":"6.12.1","arch":"x86_64","states":[{"id":"1","version":1}]}\n';

let server: Server;
let directory: string;

beforeAll(async () => {
  directory = temporary_directory();
  server = await start_server_with(
    { env: { KLPSTATE_TOKEN: TOKEN } },
    join(directory, "registry"),
    "--listen",
    "0.0.0.0:0",
  );
});

function file_of(name: string, text: string): string {
  const path = join(directory, name);
  writeFileSync(path, text);
  return path;
}

test("off loopback the server listens only with a token, and says what to set", async () => {
  const data = join(directory, "never");
  const refused = await klpstate(["serve", "--data", data, "--listen", "0.0.0.0:0"]);
  expect_refused(refused, /0\.0\.0\.0/, /KLPSTATE_TOKEN/);
});

test("every address of the machine answers with the token, and without it only /healthz", async () => {
  const outside = Object.values(networkInterfaces())
    .flatMap((addresses) => addresses ?? [])
    .filter(({ family }) => family === "IPv4")
    .map(({ address }) => address);
  for (const address of new Set(["127.0.0.1", ...outside])) {
    const url = `http://${address}:${server.port}`;
    expect((await fetch(`${url}/healthz`)).status).toBe(200);
    expect((await fetch(`${url}/v1/fleet`)).status).toBe(401);
    const authorized = await fetch(`${url}/v1/fleet`, { headers: { authorization: `Bearer ${TOKEN}` } });
    expect(authorized.status).toBe(200);
  }
  const answer = await ask(server, "/v1/events", { method: "POST", body: EVENT });
  expect(problem_of(answer, 401).type).toBe("urn:klpstate:problem:unauthorized");
  expect(answer.header("www-authenticate")).toBe("Bearer");
});

test("every command shows the token, from wherever it has it", async () => {
  const url = `http://127.0.0.1:${server.port}`;
  const path = file_of("token", `${TOKEN}\n`);
  const asked = ["--server", url];
  await klpstate_yes(["ingest", "-", ...asked], { stdin: EVENT, env: { KLPSTATE_TOKEN: TOKEN } });
  await klpstate_yes(["patch", "add", "-", ...asked], {
    stdin: MANIFEST,
    env: { KLPSTATE_TOKEN_FILE: path },
  });
  for (const command of [
    ["patch", "list"],
    ["patch", "show", "kp_2"],
    ["check", "kp_2"],
    ["host", "web-17"],
    ["history", "web-17"],
    ["state", "web-17", "1"],
    ["fleet"],
    ["replay"],
    ["patch", "withdraw", "kp_2", "--reason", "wrong", "--by", "me"],
  ]) {
    await klpstate_yes([...command, ...asked, "--token-file", path]);
  }
});

test("the directory's owner asks without the token", async () => {
  expect(await klpstate_yes(["host", "web-17", "--data", server.data])).toContain("web-17");
});

test("without the token, or with another one, a command says where it takes it from", async () => {
  const asked = ["fleet", "--server", `http://127.0.0.1:${server.port}`];
  expect_refused(await klpstate(asked), /KLPSTATE_TOKEN/, /--token-file/);
  const wrong = { env: { KLPSTATE_TOKEN: "open-0123456789abc" } };
  const refused = await klpstate(asked, wrong);
  expect_refused(refused, /KLPSTATE_TOKEN/);
  expect(refused.stderr).not.toContain("open-0123456789abc");
});

test("a token that is none ends a command and a server at once, by the name of its variable", async () => {
  for (const [env, says] of [
    [{ KLPSTATE_TOKEN: "" }, /KLPSTATE_TOKEN: .*empty/],
    [{ KLPSTATE_TOKEN: "short" }, /KLPSTATE_TOKEN: .*5 bytes/],
    [{ KLPSTATE_TOKEN: `${TOKEN} ${TOKEN}` }, /KLPSTATE_TOKEN: .*white space/],
    [{ KLPSTATE_TOKEN_FILE: file_of("empty", "\n") }, /KLPSTATE_TOKEN_FILE: .*empty/],
    [{ KLPSTATE_TOKEN_FILE: file_of("lines", `${TOKEN}\n\n`) }, /KLPSTATE_TOKEN_FILE: .*white space/],
    [{ KLPSTATE_TOKEN_FILE: join(directory, "missing") }, /KLPSTATE_TOKEN_FILE: .*ENOENT/],
    [{ KLPSTATE_TOKEN_FILE: directory }, /KLPSTATE_TOKEN_FILE: .*EISDIR/],
    [{ KLPSTATE_TOKEN: TOKEN, KLPSTATE_TOKEN_FILE: directory }, /KLPSTATE_TOKEN and KLPSTATE_TOKEN_FILE/],
  ] as const) {
    const asked = await klpstate(["fleet", "--server", `http://127.0.0.1:${server.port}`], { env });
    expect_refused(asked, says);
    const served = await klpstate(["serve", "--data", join(directory, "never")], { env });
    expect_refused(served, says);
    expect(asked.stderr + served.stderr).not.toContain(TOKEN);
  }
});

test("the server's log does not have the token", async () => {
  expect(await server.stop()).toBe(0);
  expect(JSON.stringify(server.log())).not.toContain(TOKEN);
});
