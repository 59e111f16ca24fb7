/** Makes the trouble that was planned, when it was planned, and takes it away again. */
import { setTimeout as sleep } from "node:timers/promises";
import type { NodeProcess } from "./node_process.js";
import { type PlannedTrouble, RECOVERS_MS, type Trouble } from "./plan.js";

/** What a process can suffer; a node's and a broker's are alike in this. */
export type Sufferer = Pick<NodeProcess, "name" | "start" | "end" | "pause" | "go_on" | "clock">;

/** A way over which others reach a node or a broker. */
export interface Route {
  readonly name: string;
  reset(): void;
  cut(direction: "requests" | "responses"): void;
  /** What a request changes is changed; its response is lost, and with `reset` its connection. */
  drop_responses(how: { reset: boolean }): void;
  heal(): void;
}

export interface Scene {
  nodes: readonly NodeProcess[];
  brokers: readonly Sufferer[];
  routes: readonly Route[];
  say(line: string): void;
  now_ms(): number;
  /** Asks of a node that is paused, until it goes on. */
  ask_paused(node: string, for_ms: number): void;
}

export interface Span {
  from_ms: number;
  to_ms: number;
}

export class Troubles {
  readonly #scene: Scene;
  /** What is under way at each target: one trouble ends before the next one begins. */
  readonly #under_way = new Map<string, Promise<void>>();
  readonly counts = new Map<Trouble, number>();
  /** When brokers, or ways to them, were in trouble: replicas may have been behind then. */
  readonly disturbed: Span[] = [];

  constructor(scene: Scene) {
    this.#scene = scene;
  }

  /** Resolves when the last one is over. */
  async make(plan: readonly PlannedTrouble[], given_up: AbortSignal): Promise<void> {
    const began_ms = performance.now();
    for (const planned of plan) {
      const wait_ms = began_ms + planned.at_ms - performance.now();
      if (wait_ms > 0) await sleep(wait_ms);
      if (given_up.aborted) break;
      this.counts.set(planned.trouble, (this.counts.get(planned.trouble) ?? 0) + 1);
      for (const target of planned.targets) {
        const before = this.#under_way.get(target) ?? Promise.resolve();
        this.#under_way.set(
          target,
          before.then(() => this.#note_disturbed(target, () => this.#suffer(target, planned))),
        );
      }
    }
    await Promise.all(this.#under_way.values());
  }

  async #note_disturbed(target: string, suffer: () => Promise<void>): Promise<void> {
    const { nodes, now_ms } = this.#scene;
    const from_ms = now_ms();
    await suffer();
    if (nodes.some(({ name }) => name === target)) return;
    this.disturbed.push({ from_ms, to_ms: now_ms() + RECOVERS_MS });
  }

  async #suffer(target: string, planned: PlannedTrouble): Promise<void> {
    const { nodes, brokers, routes, say } = this.#scene;
    const { trouble, lasts_ms, step_ms } = planned;
    const node = nodes.find(({ name }) => name === target);
    const sufferer = node ?? brokers.find(({ name }) => name === target);
    const route = routes.find(({ name }) => name === target);
    const steps = trouble.endsWith("clock steps") ? ` by ${step_ms / 1000} s` : "";
    say(`${target}: ${trouble}${steps}${lasts_ms > 0 ? ` for ${(lasts_ms / 1000).toFixed(1)} s` : ""}`);
    switch (trouble) {
      case "node killed":
      case "broker killed":
      case "all brokers killed":
        await sufferer!.end("SIGKILL");
        await sleep(lasts_ms);
        sufferer!.start();
        break;
      case "node ended":
      case "broker ended":
        await sufferer!.end("SIGTERM");
        await sleep(lasts_ms);
        sufferer!.start();
        break;
      case "node paused":
      case "node paused beyond its session":
        sufferer!.pause();
        this.#scene.ask_paused(target, lasts_ms);
        await sleep(lasts_ms);
        sufferer!.go_on();
        break;
      case "broker paused":
      case "broker paused beyond its session":
        sufferer!.pause();
        await sleep(lasts_ms);
        sufferer!.go_on();
        break;
      case "node clock steps":
      case "broker clock steps":
        sufferer!.clock.step_to(step_ms);
        await sleep(lasts_ms);
        sufferer!.clock.step_to(0);
        break;
      case "node disk full":
        node!.room.fill();
        await sleep(lasts_ms);
        node!.room.make_room();
        break;
      case "connections reset":
        route!.reset();
        break;
      case "requests cut off":
        route!.cut("requests");
        await sleep(lasts_ms);
        route!.heal();
        break;
      case "responses cut off":
        route!.cut("responses");
        await sleep(lasts_ms);
        route!.heal();
        break;
      case "responses dropped after the append":
        route!.drop_responses({ reset: planned.reset });
        await sleep(lasts_ms);
        route!.heal();
        break;
      case "responses dropped until nobody waits":
        route!.drop_responses({ reset: true });
        await sleep(lasts_ms);
        route!.heal();
        break;
    }
  }
}
