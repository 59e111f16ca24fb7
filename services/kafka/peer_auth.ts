/**
 * Who may ask a node what only nodes ask, and whether the answer is a node's. Both are signed with the cluster's secret,
 * which itself never crosses the network: an address that somebody put into the group learns nothing from being asked.
 */
import { createHmac, randomBytes, timingSafeEqual } from "node:crypto";

export const NONCE_HEADER = "klpstate-nonce";
export const SIGNATURE_HEADER = "klpstate-signature";

export class PeerAuth {
  readonly #secret: string | null;

  /** Null: there is no secret, and everything passes; for loopback only. */
  constructor(secret: string | null) {
    this.#secret = secret;
  }

  new_nonce(): string {
    return randomBytes(16).toString("hex");
  }

  sign_question(nonce: string, body: string): string {
    return this.#sign("question", nonce, body);
  }

  sign_answer(nonce: string, body: string): string {
    return this.#sign("answer", nonce, body);
  }

  is_question(nonce: string, body: string, signature: string): boolean {
    return this.#secret === null || same(signature, this.sign_question(nonce, body));
  }

  is_answer(nonce: string, body: string, signature: string): boolean {
    return this.#secret === null || same(signature, this.sign_answer(nonce, body));
  }

  #sign(kind: string, nonce: string, body: string): string {
    if (this.#secret === null) return "";
    return createHmac("sha256", this.#secret).update(`${kind}\n${nonce}\n`).update(body).digest("hex");
  }
}

function same(given: string, wanted: string): boolean {
  const [one, other] = [Buffer.from(given), Buffer.from(wanted)];
  return one.length === other.length && timingSafeEqual(one, other);
}
