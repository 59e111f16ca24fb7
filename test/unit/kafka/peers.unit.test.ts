// Whom a node believes, and whom it connects to.
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, describe, expect, test } from "vitest";
import { PeerAuth } from "#services/kafka/peer_auth.js";
import { allowed_addresses, PeerClient } from "#services/kafka/peer_client.js";
import { PeerDoor } from "#services/kafka/peer_door.js";
import { NotOwner, type PeerQuestion } from "#services/kafka/peer_protocol.js";
import { encode_wire } from "#services/kafka/wire_json.js";
import type { LocalPartitions } from "#services/registry/local_partitions.js";

const QUESTION: PeerQuestion = {
  ...{ generation: 3, role: "owner", catalog_next_offset: 7n },
  ...{ operation: "cancel_hosts", given: [1] },
};

const servers: Server[] = [];
afterEach(() => {
  for (const server of servers.splice(0)) server.close();
});

interface Heard {
  urls: string[];
  headers: Record<string, unknown>[];
}

/** A server that answers so, signed with `secret`. */
async function serve(answer: unknown, secret: string | null): Promise<Heard & { url: string; port: number }> {
  const heard: Heard = { urls: [], headers: [] };
  const auth = new PeerAuth(secret);
  const server = createServer((request, response) => {
    heard.urls.push(request.url!);
    heard.headers.push(request.headers);
    const text = JSON.stringify(answer);
    response.setHeader(
      "klpstate-signature",
      auth.sign_answer(String(request.headers["klpstate-nonce"]), text),
    );
    response.end(text);
  });
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  return { ...heard, url: `http://127.0.0.1:${port}`, port };
}

async function asked(url: string, { secret = "s", allow = ["127.0.0.0/8"] } = {}): Promise<unknown> {
  const client = new PeerClient(new PeerAuth(secret), allow);
  try {
    return await client.ask(url, QUESTION, 5_000);
  } finally {
    client.close();
  }
}

describe("signatures", () => {
  test("are of the words, the nonce and the direction, and of the same secret only", () => {
    const auth = new PeerAuth("s");
    const signature = auth.sign_question("n", "body");
    expect(auth.is_question("n", "body", signature)).toBe(true);
    expect(auth.is_question("n", "bodY", signature)).toBe(false);
    expect(auth.is_question("m", "body", signature)).toBe(false);
    expect(auth.is_answer("n", "body", signature)).toBe(false);
    expect(new PeerAuth("t").is_question("n", "body", signature)).toBe(false);
    expect(auth.is_answer("n", "body", auth.sign_answer("n", "body"))).toBe(true);
  });

  test("that are none are refused, whatever they are made of", () => {
    const auth = new PeerAuth("s");
    // As long in characters as a good one, and not in bytes.
    for (const signature of ["", "0", "é".repeat(64), "0".repeat(64), "\u{1f511}".repeat(32)]) {
      expect(auth.is_question("n", "body", signature)).toBe(false);
    }
  });
});

describe("a node that asks", () => {
  test("believes an answer of its generation, or a later one", async () => {
    const { url } = await serve({ generation: 4, answer: [1] }, "s");
    expect(await asked(url)).toEqual([1]);
  });

  test("does not believe one of an older ownership", async () => {
    const { url } = await serve({ generation: 2, answer: [1] }, "s");
    await expect(asked(url)).rejects.toThrow(/generation 2, not yet of 3/);
  });

  test("does not believe one that is not signed with its secret, and tells the secret to nobody", async () => {
    const { url, headers } = await serve({ generation: 4, answer: [1] }, "other");
    await expect(asked(url, { secret: "my-secret" })).rejects.toThrow(/not signed/);
    expect(JSON.stringify(headers)).not.toContain("my-secret");
  });

  test.each([
    ["an address", "127.0.0.1"],
    ["a name", "localhost"],
  ])("connects to nobody that is not allowed: %s", async (_what, host) => {
    const { port, urls } = await serve({ generation: 4, answer: [1] }, "s");
    await expect(asked(`http://${host}:${port}`, { allow: ["10.0.0.0/8"] })).rejects.toThrow(
      /KLPSTATE_PEER_ALLOW/,
    );
    expect(urls).toEqual([]);
  });

  test("takes whatever is no answer for a node that cannot be asked", async () => {
    for (const answer of ["text", 7, null, [], { generation: "4" }]) {
      const { url } = await serve(answer, "s");
      await expect(asked(url), JSON.stringify(answer)).rejects.toBeInstanceOf(NotOwner);
    }
    await expect(asked("http://127.0.0.1:1")).rejects.toBeInstanceOf(NotOwner);
    await expect(asked("no url")).rejects.toBeInstanceOf(NotOwner);
  });
});

test("allowed are the addresses of the CIDRs, of IPv4 in IPv6 as well", () => {
  const list = allowed_addresses(["10.1.0.0/16", "127.0.0.1/32", "fd00::/8"]);
  expect(list.check("10.1.255.1")).toBe(true);
  expect(list.check("10.2.0.1")).toBe(false);
  expect(list.check("127.0.0.2")).toBe(false);
  expect(list.check("::ffff:10.1.0.1", "ipv6")).toBe(true);
  expect(list.check("::ffff:10.2.0.1", "ipv6")).toBe(false);
  expect(list.check("fd12::1", "ipv6")).toBe(true);
  expect(list.check("fe80::1", "ipv6")).toBe(false);
});

describe("a node that is asked", () => {
  const auth = new PeerAuth("s");
  const refuses_all = { generation: 3, refusal: () => "not mine", broken: () => null };
  const catalog = { next_offset: 7n, folded: async (offset: bigint) => offset <= 7n };
  const door = new PeerDoor(auth, refuses_all, {} as LocalPartitions, catalog, async () => []);

  function ask(body: string, signature = auth.sign_question("n", body)): Promise<Response | null> {
    return door.fetch(
      new Request("http://node/internal/v1/ask", {
        method: "POST",
        headers: {
          "content-length": `${body.length}`,
          "klpstate-nonce": "n",
          "klpstate-signature": signature,
        },
        body,
      }),
    );
  }

  test("answers nobody who does not know the secret", async () => {
    expect((await ask(encode_wire(QUESTION), "0".repeat(64)))?.status).toBe(401);
    expect((await ask(encode_wire(QUESTION), "\u00e9".repeat(64)))?.status).toBe(401);
  });

  test("answers what is no question with a status, and lives", async () => {
    for (const body of ["", "{", "null", "7", "[]", "{}", '{"operation":"constructor","given":[]}']) {
      const answer = await ask(body);
      const told = answer?.status === 200 ? ((await answer.json()) as object) : { error: "" };
      expect("error" in told, `${body}: ${JSON.stringify(told)}`).toBe(true);
    }
  });

  test("says that it does not know of the asker's ownership yet", async () => {
    const answer = await ask(encode_wire({ ...QUESTION, generation: 4 }));
    expect(await answer?.json()).toMatchObject({
      generation: 3,
      not_owner: expect.stringContaining("generation 3"),
    });
  });

  test("says that it does not know the asker's catalog yet, whose answer would be by another one", async () => {
    const answer = await ask(encode_wire({ ...QUESTION, catalog_next_offset: 8n }));
    expect(await answer?.json()).toMatchObject({ not_owner: expect.stringContaining("offset 7, before 8") });
  });

  test("does nothing for another node that only its own threads do", async () => {
    for (const operation of ["append", "close", "snapshot_made", "chain_made", "catalog"]) {
      const answer = await ask(encode_wire({ ...QUESTION, operation: "ask", given: [0, operation, []] }));
      expect(await answer?.json()).toMatchObject({ error: expect.stringContaining("not for other nodes") });
    }
  });

  test("is asked for nothing else there", async () => {
    expect(await door.fetch(new Request("http://node/v1/fleet"))).toBeNull();
    expect((await door.fetch(new Request("http://node/internal/v1/ask")))?.status).toBe(405);
  });
});
