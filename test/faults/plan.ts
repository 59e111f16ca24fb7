/** What goes wrong when, and where: drawn from the seed before anything begins. The same seed, the same plan. */
import { Dice } from "../disk/dice.js";

export type Trouble =
  // A node's process.
  | "node killed"
  | "node ended"
  | "node paused"
  | "node paused beyond its session"
  | "node clock steps"
  | "node disk full"
  // A broker's process.
  | "broker killed"
  | "broker ended"
  | "broker paused"
  | "broker paused beyond its session"
  | "broker clock steps"
  | "all brokers killed"
  // Connections: from a node to a broker, to a node from another one, to a node from clients.
  | "connections reset"
  | "requests cut off"
  | "responses cut off"
  | "responses dropped after the append"
  | "responses dropped until nobody waits";

/** What a trouble is done to. */
export type TargetKind = "node" | "broker" | "all brokers" | "route";

interface Kind {
  trouble: Trouble;
  on: TargetKind;
  weight: number;
  /** How long it lasts, ms, from and to. */
  lasts_ms: (session_ms: number) => readonly [number, number];
}

const KINDS: readonly Kind[] = [
  { trouble: "node killed", on: "node", weight: 6, lasts_ms: () => [0, 5_000] },
  { trouble: "node ended", on: "node", weight: 3, lasts_ms: () => [0, 3_000] },
  { trouble: "node paused", on: "node", weight: 3, lasts_ms: (session_ms) => [200, session_ms * 0.8] },
  {
    trouble: "node paused beyond its session",
    on: "node",
    weight: 4,
    lasts_ms: (session_ms) => [session_ms * 1.5, session_ms * 3],
  },
  { trouble: "node clock steps", on: "node", weight: 3, lasts_ms: () => [500, 8_000] },
  { trouble: "node disk full", on: "node", weight: 3, lasts_ms: () => [2_000, 10_000] },
  { trouble: "broker killed", on: "broker", weight: 4, lasts_ms: () => [0, 6_000] },
  { trouble: "broker ended", on: "broker", weight: 2, lasts_ms: () => [0, 3_000] },
  { trouble: "broker paused", on: "broker", weight: 2, lasts_ms: () => [200, 5_000] },
  {
    trouble: "broker paused beyond its session",
    on: "broker",
    weight: 2,
    lasts_ms: () => [11_000, 16_000],
  },
  { trouble: "broker clock steps", on: "broker", weight: 2, lasts_ms: () => [500, 8_000] },
  { trouble: "all brokers killed", on: "all brokers", weight: 0.5, lasts_ms: () => [0, 3_000] },
  { trouble: "connections reset", on: "route", weight: 5, lasts_ms: () => [0, 0] },
  { trouble: "requests cut off", on: "route", weight: 4, lasts_ms: () => [500, 9_000] },
  { trouble: "responses cut off", on: "route", weight: 4, lasts_ms: () => [500, 9_000] },
  { trouble: "responses dropped after the append", on: "route", weight: 6, lasts_ms: () => [200, 4_000] },
  // Longer than a publisher tries to send what was asked of it.
  {
    trouble: "responses dropped until nobody waits",
    on: "route",
    weight: 0.5,
    lasts_ms: () => [31_000, 36_000],
  },
];

export const TROUBLES: readonly Trouble[] = KINDS.map(({ trouble }) => trouble);

/** By how much a clock is wrong, ms. */
const STEPS_MS = [-3_600_000, -60_000, -7_000, -1_500, 1_500, 7_000, 60_000, 3_600_000] as const;

export interface PlannedTrouble {
  at_ms: number;
  trouble: Trouble;
  /** Names; of a route one. */
  targets: readonly string[];
  lasts_ms: number;
  /** Of a clock. */
  step_ms: number;
  /** Of dropped responses: whether their connections are reset as well. */
  reset: boolean;
}

export interface PlanOptions {
  seed: number;
  /** Everything begins before. */
  ms: number;
  session_ms: number;
  nodes: readonly string[];
  brokers: readonly string[];
  routes: readonly string[];
  /** Only these; empty: all that there are targets for. */
  only: readonly Trouble[];
}

/** Until a process answers again after it was in trouble it is left alone. */
export const RECOVERS_MS = 6_000;
const NODES_IN_TROUBLE_MAX = 2;
const BROKERS_IN_TROUBLE_MAX = 1;
/** From one trouble to the next, at most. */
const GAP_MS_MAX = 3_000;
/** Now and then everything is left alone, so that it may come to rest. */
const REST_CHANCE = 0.04;
const REST_MS = 8_000;

export function draw_plan(options: PlanOptions): PlannedTrouble[] {
  const { seed, ms, session_ms, nodes, brokers, routes, only } = options;
  const dice = new Dice(seed);
  const targets: Record<TargetKind, readonly string[]> = {
    node: nodes,
    broker: brokers,
    "all brokers": brokers.length === 0 ? [] : ["all brokers"],
    route: routes,
  };
  const kinds = KINDS.filter(
    ({ trouble, on }) => targets[on].length > 0 && (only.length === 0 || only.includes(trouble)),
  );
  const until = new Map<string, number>();
  const plan: PlannedTrouble[] = [];
  let at_ms = 1_000;
  const is_busy = (name: string) => (until.get(name) ?? 0) > at_ms;
  while (at_ms < ms) {
    const kind = dice.weighted(...kinds.map((each): [number, Kind] => [each.weight, each]));
    const [shortest_ms, longest_ms] = kind.lasts_ms(session_ms);
    const lasts_ms = Math.round(shortest_ms + dice.fraction() * (longest_ms - shortest_ms));
    const target = dice.pick(targets[kind.on]);
    const step_ms = dice.pick(STEPS_MS);
    const reset = dice.chance(0.5);
    const chosen = kind.on === "all brokers" ? brokers : [target];
    if (!chosen.some(is_busy) && has_room(kind.on)) {
      const { trouble } = kind;
      plan.push({ at_ms: Math.round(at_ms), trouble, targets: chosen, lasts_ms, step_ms, reset });
      const recovers_ms = kind.on === "route" ? 0 : RECOVERS_MS;
      for (const name of chosen) until.set(name, at_ms + lasts_ms + recovers_ms);
    }
    at_ms += dice.chance(REST_CHANCE) ? REST_MS : dice.fraction() * GAP_MS_MAX;
  }
  return plan;

  function has_room(on: TargetKind): boolean {
    if (on === "node") return nodes.filter(is_busy).length < Math.min(NODES_IN_TROUBLE_MAX, nodes.length);
    if (on === "broker") return brokers.filter(is_busy).length < BROKERS_IN_TROUBLE_MAX;
    return on === "route" || !brokers.some(is_busy);
  }
}
