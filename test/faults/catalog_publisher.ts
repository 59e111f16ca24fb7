/** Who publishes manifests: those that hosts' verdicts depend on before anything goes wrong, others meanwhile. */
import { setTimeout as sleep } from "node:timers/promises";
import type { Published } from "#services/registry/answers.js";
import type { Dice } from "../disk/dice.js";
import type { Door } from "./http.js";
import { type ManifestDocument, manifests, other_manifest, PATCHES } from "./manifests.js";
import type { Operations } from "./operations.js";

const REQUEST_MS_MAX = 10_000;
const AGAIN_AFTER_MS = 500;
const PAUSE_MS_MAX = 8_000;
const CAUGHT_UP_S = 30;

export class CatalogPublisher {
  constructor(
    readonly doors: readonly Door[],
    readonly operations: Operations,
    readonly dice: Dice,
  ) {}

  /** Resolves when all nodes have all of it: a verdict states the catalog of the node that was asked, not of each owner. */
  async begin(straight: readonly Door[], given_up: AbortSignal): Promise<void> {
    let next_offset = 0n;
    for (const manifest of manifests()) {
      const offset = await this.#publish(straight, manifest, given_up);
      if (offset !== null) next_offset = offset + 1n;
    }
    for (const door of straight) {
      const path = `/v1/checks?min_position=catalog:${next_offset}&wait=${CAUGHT_UP_S}s`;
      const body = JSON.stringify({ patch: PATCHES[0]!.name });
      const ms_max = 2 * CAUGHT_UP_S * 1_000;
      const answer = await door.ask("POST", path, { type: "application/json", body, ms_max });
      if (answer.status !== 200) throw new Error(`${door.node} does not get the catalog: ${answer.says}`);
    }
  }

  async run(ended: AbortSignal, given_up: AbortSignal): Promise<void> {
    for (let number = 0; !ended.aborted; number++) {
      await this.#publish(this.doors, other_manifest(number), given_up);
      await sleep(this.dice.below(PAUSE_MS_MAX), undefined, { signal: ended }).catch(() => {});
    }
  }

  /** Until it is acknowledged. */
  async #publish(
    doors: readonly Door[],
    manifest: ManifestDocument,
    given_up: AbortSignal,
  ): Promise<bigint | null> {
    const { operations, dice } = this;
    while (!given_up.aborted) {
      const door = dice.pick(doors);
      const invoked = operations.begin("manifest", "catalog", door.node);
      const answer = await door.ask("POST", "/v1/patches", {
        type: "application/json",
        body: JSON.stringify(manifest),
        ms_max: REQUEST_MS_MAX,
      });
      const done = answer.status === 200 || answer.status === 201;
      const offset = done ? BigInt((answer.document as Published).offset) : null;
      operations.end({
        ...invoked,
        kind: "manifest",
        ended_ms: operations.now_ms(),
        outcome: done ? "ok" : "unknown",
        says: done ? "" : answer.says,
        name: manifest.name,
        offset,
      });
      if (offset !== null) return offset;
      await sleep(AGAIN_AFTER_MS);
    }
    return null;
  }
}
