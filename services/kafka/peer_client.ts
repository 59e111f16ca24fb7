/** Asks other nodes. Only addresses that are allowed are connected to: what the group says of them anybody may have said. */

import { lookup } from "node:dns";
import { Agent, request as http_request, type IncomingMessage } from "node:http";
import { BlockList, isIP, type LookupFunction } from "node:net";
import { Problem, type ProblemCode } from "../events/problem.js";
import { NONCE_HEADER, type PeerAuth, SIGNATURE_HEADER } from "./peer_auth.js";
import { NotOwner, PEER_PATH, type PeerAnswer, type PeerQuestion } from "./peer_protocol.js";
import { decode_wire, encode_wire } from "./wire_json.js";

/** A page of hosts, or a past fleet's rows; more is no answer of a node. */
const ANSWER_BYTES_MAX = 256 * 1024 * 1024;

export class PeerClient {
  readonly #auth: PeerAuth;
  readonly #allowed: BlockList;
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 64 });

  constructor(auth: PeerAuth, peer_allow: readonly string[]) {
    this.#auth = auth;
    this.#allowed = allowed_addresses(peer_allow);
  }

  /** Rejects with NotOwner, or with the Problem that the other node answers. */
  async ask(url: string, question: PeerQuestion, timeout_ms: number): Promise<unknown> {
    const answer = await this.#exchange(url, question, timeout_ms);
    // A node that knows only of an older ownership may answer for what is no longer its own.
    if (answer.generation < question.generation) {
      throw new NotOwner(
        `${url} knows of generation ${answer.generation}, not yet of ${question.generation}`,
      );
    }
    if ("answer" in answer) return answer.answer;
    if ("not_owner" in answer) throw new NotOwner(answer.not_owner);
    if ("error" in answer) throw new NotOwner(`${url}: ${answer.error}`);
    const { code, message, parts } = answer.problem;
    throw new Problem(code as ProblemCode, message, parts);
  }

  close(): void {
    this.#agent.destroy();
  }

  async #exchange(url: string, question: PeerQuestion, timeout_ms: number): Promise<PeerAnswer> {
    const body = encode_wire(question);
    const nonce = this.#auth.new_nonce();
    try {
      const { text, signature } = await this.#post(new URL(PEER_PATH, url), body, nonce, timeout_ms);
      if (!this.#auth.is_answer(nonce, text, signature)) {
        throw new NotOwner(`${url}: the answer is not signed with this cluster's secret`);
      }
      const answer = decode_wire(text);
      if (!is_answer(answer)) throw new Error("no answer of a node");
      return answer;
    } catch (error) {
      if (error instanceof NotOwner) throw error;
      throw new NotOwner(`${url}: ${error instanceof Error ? error.message : String(error)}`);
    }
  }

  #post(
    url: URL,
    body: string,
    nonce: string,
    timeout_ms: number,
  ): Promise<{ text: string; signature: string }> {
    const host = url.hostname.replace(/^\[|\]$/g, "");
    if (isIP(host) !== 0) this.#refuse_foreign(host);
    return new Promise((resolve, reject) => {
      const request = http_request(url, {
        method: "POST",
        agent: this.#agent,
        lookup: this.#lookup,
        signal: AbortSignal.timeout(timeout_ms),
        headers: {
          "content-type": "application/json",
          "content-length": Buffer.byteLength(body),
          [NONCE_HEADER]: nonce,
          [SIGNATURE_HEADER]: this.#auth.sign_question(nonce, body),
        },
      });
      request.on("error", reject);
      request.on("response", (response) => {
        read_text(response).then((text) => {
          if (response.statusCode !== 200) reject(new Error(`status ${response.statusCode}`));
          else resolve({ text, signature: String(response.headers[SIGNATURE_HEADER] ?? "") });
        }, reject);
      });
      request.end(body);
    });
  }

  /** The address that is checked is the one that is connected to: a name is looked up once. */
  readonly #lookup: LookupFunction = (hostname, options, told) => {
    lookup(hostname, { ...options, all: true }, (error, addresses) => {
      if (error) return told(error, []);
      try {
        for (const { address } of addresses) this.#refuse_foreign(address);
      } catch (refusal) {
        return told(refusal as NodeJS.ErrnoException, []);
      }
      if (options.all) return told(null, addresses);
      return told(null, addresses[0]!.address, addresses[0]!.family);
    });
  };

  #refuse_foreign(address: string): void {
    if (this.#allowed.check(address, isIP(address) === 6 ? "ipv6" : "ipv4")) return;
    throw new Error(`${address} is not in KLPSTATE_PEER_ALLOW`);
  }
}

function is_answer(answer: unknown): answer is PeerAnswer {
  return (
    typeof answer === "object" &&
    answer !== null &&
    "generation" in answer &&
    typeof answer.generation === "number"
  );
}

/** Of CIDRs. */
export function allowed_addresses(cidrs: readonly string[]): BlockList {
  const list = new BlockList();
  for (const cidr of cidrs) {
    const [address, bits] = cidr.split("/");
    list.addSubnet(address!, Number(bits), isIP(address!) === 6 ? "ipv6" : "ipv4");
  }
  return list;
}

async function read_text(response: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > ANSWER_BYTES_MAX) throw new Error(`the answer has over ${ANSWER_BYTES_MAX} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString("utf8");
}
