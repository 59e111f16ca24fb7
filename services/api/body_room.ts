/** How many bytes of bodies a server holds at once: a body is held from before it is read until its request is answered. */
import { Problem } from "../events/problem.js";

export const BODIES_BYTES_MAX = 64 * 1024 * 1024;

/** Of one body. */
export interface Held {
  /** So many bytes in all. Throws Problem `busy` where the server holds too many then. */
  grow_to(bytes: number): void;
  let_go(): void;
}

export class BodyRoom {
  #held_bytes = 0;

  get held_bytes(): number {
    return this.#held_bytes;
  }

  hold(): Held {
    let own_bytes = 0;
    return {
      grow_to: (bytes) => {
        const more = bytes - own_bytes;
        if (more <= 0) return;
        if (this.#held_bytes + more > BODIES_BYTES_MAX) throw busy(this.#held_bytes);
        this.#held_bytes += more;
        own_bytes = bytes;
      },
      let_go: () => {
        this.#held_bytes -= own_bytes;
        own_bytes = 0;
      },
    };
  }
}

function busy(held_bytes: number): Problem {
  return new Problem(
    "busy",
    `the server has ${held_bytes} bytes of other requests to store before it takes more; send again later`,
    { limit: `${BODIES_BYTES_MAX} bytes of bodies at once` },
  );
}
