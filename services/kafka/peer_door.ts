/** What other nodes ask this one. Answered only while the partition is this node's, before and behind the answer. */
import type { Catalog } from "../catalog/catalog.js";
import { Problem } from "../events/problem.js";
import type { LocalPartitions } from "../registry/local_partitions.js";
import { own_words } from "../registry/outcome_words.js";
import type { ReplayedPartition } from "../registry/service.js";
import type { Operation, PartitionStatus } from "../registry/shard_protocol.js";
import { type Answerable, of_all, of_some } from "./answerable.js";
import { no_status } from "./cluster_partitions.js";
import { NONCE_HEADER, type PeerAuth, SIGNATURE_HEADER } from "./peer_auth.js";
import { OpenHostLists } from "./peer_lists.js";
import {
  NotOwner,
  OF_LISTS,
  PEER_PATH,
  PEER_SHARD_OPERATIONS,
  type PeerAnswer,
  type PeerOperations,
  type PeerQuestion,
  type Role,
} from "./peer_protocol.js";
import { decode_wire, encode_wire } from "./wire_json.js";

/** Every node follows the catalog's topic, so that one lags behind another for a moment only. */
const CATALOG_WAIT_MS = 300;
/** A batch's hosts, at most ten thousand ids of 255 bytes, as base64. */
const QUESTION_BYTES_MAX = 8 * 1024 * 1024;

type PeerWork = {
  [Op in keyof PeerOperations]: (role: Role, ...given: Parameters<PeerOperations[Op]>) => Promise<unknown>;
};

export class PeerDoor {
  readonly #auth: PeerAuth;
  readonly #node: Answerable;
  readonly #catalog: Pick<Catalog, "folded" | "next_offset">;
  readonly #work: PeerWork;
  readonly #lists = new OpenHostLists();

  constructor(
    auth: PeerAuth,
    node: Answerable,
    local: LocalPartitions,
    catalog: Pick<Catalog, "folded" | "next_offset">,
    replay: (partitions: number[], to: bigint | null) => Promise<ReplayedPartition[]>,
  ) {
    this.#auth = auth;
    this.#node = node;
    this.#catalog = catalog;
    const lists = this.#lists;
    this.#work = {
      ask: (role, partition, operation, given) => this.#ask(local, role, partition, operation, given),
      check: (role, partitions, question, past) =>
        of_some(node, partitions, role, async (asked) =>
          (await local.check(question, past, asked)).map((check) => ({
            ...check,
            found: check.found && own_words(check.found),
          })),
        ),
      check_batch: (role, partitions, question, past) =>
        of_some(node, partitions, role, (asked) => local.check_batch(question, past, asked)),
      fleet: (role, partitions, past) => of_some(node, partitions, role, (asked) => local.fleet(past, asked)),
      status: (role, partitions) => this.#status(local, role, partitions),
      wait: (role, positions, wait_ms) =>
        of_all(
          node,
          positions.map(([partition]) => partition),
          role,
          async () => (await Promise.all(local.behind(new Map(positions), wait_ms))).flat(),
        ),
      past_hosts: (role, past, question) =>
        of_all(node, [question.partition], role, async () => lists.open(local.past_hosts(past, question))),
      pull_hosts: (_role, list) => lists.pull(list),
      cancel_hosts: (_role, list) => lists.cancel(list),
      replay: (role, partitions, to) => of_some(node, partitions, role, (asked) => replay(asked, to)),
    };
  }

  /** Null: the request is not for this door. */
  async fetch(request: Request): Promise<Response | null> {
    const url = new URL(request.url);
    if (url.pathname !== PEER_PATH) return null;
    if (request.method !== "POST") return new Response("only POST\n", { status: 405 });
    const length = Number(request.headers.get("content-length") ?? Number.NaN);
    if (!(length <= QUESTION_BYTES_MAX)) return new Response("too long\n", { status: 413 });
    const body = await request.text();
    const nonce = request.headers.get(NONCE_HEADER) ?? "";
    if (!this.#auth.is_question(nonce, body, request.headers.get(SIGNATURE_HEADER) ?? "")) {
      return new Response("not signed with this cluster's secret\n", { status: 401 });
    }
    const question = read_question(body);
    if (question === null) return new Response("no question of a node\n", { status: 400 });
    const text = encode_wire(await this.#answer(question));
    return new Response(text, {
      headers: {
        "content-type": "application/json",
        [SIGNATURE_HEADER]: this.#auth.sign_answer(nonce, text),
      },
    });
  }

  close(): void {
    this.#lists.close();
  }

  async #answer(question: PeerQuestion): Promise<PeerAnswer> {
    const { generation: asked, role, catalog_next_offset, operation, given } = question;
    const { generation } = this.#node;
    if (generation < asked) {
      return { generation, not_owner: `this node knows of generation ${generation}, not yet of ${asked}` };
    }
    if (!(await this.#catalog.folded(catalog_next_offset, CATALOG_WAIT_MS))) {
      const says = `this node's catalog ends at offset ${this.#catalog.next_offset}, before ${catalog_next_offset}`;
      return { generation, not_owner: says };
    }
    try {
      const work = this.#work[operation] as (role: Role, ...given: unknown[]) => Promise<unknown>;
      if (!Object.hasOwn(this.#work, operation))
        return { generation, error: `${operation} is nothing that this version knows` };
      return { generation, answer: (await work(role, ...given)) ?? null };
    } catch (error) {
      if (error instanceof NotOwner) return { generation, not_owner: error.message };
      if (error instanceof Problem) {
        const { code, message, parts } = error;
        return { generation, problem: { code, message, parts: { ...parts } } };
      }
      return { generation, error: error instanceof Error ? error.message : String(error) };
    }
  }

  /** Of what is broken here it says why, so that a person at another node reads it. */
  async #status(local: LocalPartitions, role: Role, partitions: number[]): Promise<PartitionStatus[]> {
    const answered = await of_some(this.#node, partitions, role, async (asked) => {
      return (await local.status()).filter(({ partition }) => asked.includes(partition));
    });
    const broken = partitions.flatMap((partition) => {
      const says = this.#node.broken(partition);
      return says === null ? [] : [no_status(partition, says)];
    });
    return [...answered, ...broken];
  }

  async #ask(
    local: LocalPartitions,
    role: Role,
    partition: number,
    operation: Operation,
    given: unknown[],
  ): Promise<unknown> {
    if (!PEER_SHARD_OPERATIONS.has(operation)) throw new Error(`${operation} is not for other nodes`);
    const ask = () => local.ask(partition, operation, given as never);
    return OF_LISTS.has(operation) ? ask() : of_all(this.#node, [partition], role, ask);
  }
}

/** Null: it is none. */
function read_question(body: string): PeerQuestion | null {
  try {
    const question = decode_wire(body) as PeerQuestion;
    const { generation, given } = question;
    // A node of an earlier version does not say.
    question.catalog_next_offset ??= 0n;
    return typeof generation === "number" && Array.isArray(given) ? question : null;
  } catch {
    return null;
  }
}
