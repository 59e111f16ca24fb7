/**
 * Digests (RULES F9): the sum modulo 2^256, over the hosts, of SHA-256 of the host's canonical state as a big-endian
 * number. A sum, so that neither the order of hosts nor the partitions matter.
 */
import { hash } from "node:crypto";
import type { Core } from "./core.js";

const MODULUS = 1n << 256n;

export type Digest = bigint;

export function add_digests(digests: Iterable<Digest>): Digest {
  let sum = 0n;
  for (const digest of digests) sum += digest;
  return sum % MODULUS;
}

/** 64 lower-case hex digits. */
export function format_digest(digest: Digest): string {
  return digest.toString(16).padStart(64, "0");
}

export function digest_of_state(state: Uint8Array): Digest {
  return BigInt(`0x${hash("sha256", state, "hex")}`);
}

/** Sums of 16 bits each, the highest first: a double holds those of 2^37 hosts. */
const LIMBS = 16;

/** Of all hosts that the core knows. */
export function digest_of_core(core: Core): Digest {
  const sums = new Float64Array(LIMBS);
  for (const state of core.host_states()) {
    // Text of one character a byte: Node makes it in half the time that a Buffer takes, and a BigInt of hex as long.
    const digest = hash("sha256", state, "binary");
    for (let limb = 0; limb < LIMBS; limb++) {
      sums[limb]! += digest.charCodeAt(2 * limb) * 256 + digest.charCodeAt(2 * limb + 1);
    }
  }
  return sums.reduce((sum: bigint, limb) => (sum << 16n) + BigInt(limb), 0n) % MODULUS;
}
