/** Many hosts at once, as the core takes and gives them: bytes, since a batch has ten thousand and a string of each costs. */
import { KNOWLEDGE, type Knowledge } from "./codes.js";

export interface HostList {
  count: number;
  /** For each host a length byte, then its id in UTF-8. */
  bytes: Uint8Array;
}

export const HOST_FACTS_BYTES = 16;
const to_utf8 = new TextEncoder();

/** The ids must be such that a host can have: 1 to 255 bytes each. */
export function host_list(host_ids: readonly string[]): HostList {
  const ids = host_ids.map((host_id) => to_utf8.encode(host_id));
  const bytes = new Uint8Array(ids.reduce((sum, id) => sum + 1 + id.length, 0));
  let at = 0;
  for (const id of ids) {
    bytes[at] = id.length;
    bytes.set(id, at + 1);
    at += 1 + id.length;
  }
  return { count: ids.length, bytes };
}

/** What `Core.host_facts` says of each host of a list, in its order. */
export class HostFactRows {
  readonly #view: DataView;
  readonly count: number;

  /** `bytes`: rows of u64 effective time, u32 sequence, u32 knowledge. */
  constructor(bytes: Uint8Array) {
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    this.count = bytes.length / HOST_FACTS_BYTES;
  }

  is_known(row: number): boolean {
    return this.#view.getUint32(row * HOST_FACTS_BYTES + 12, true) !== 0;
  }

  /** ms since 1970; 48 bits. */
  effective_time_ms(row: number): number {
    const at = row * HOST_FACTS_BYTES;
    return this.#view.getUint32(at, true) + this.#view.getUint32(at + 4, true) * 2 ** 32;
  }

  sequence(row: number): number {
    return this.#view.getUint32(row * HOST_FACTS_BYTES + 8, true);
  }

  /** Of a host that is known. */
  knowledge(row: number): Knowledge {
    return KNOWLEDGE[this.#view.getUint32(row * HOST_FACTS_BYTES + 12, true)] as Knowledge;
  }
}
