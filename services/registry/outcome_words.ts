/**
 * What a check says of hosts, once for all partitions of a shard: they say mostly the same, and an object for each of
 * them costs more on its way through a thread's port and into the sum than the check itself.
 */
import type { CheckOutcome } from "../core/core.js";

/** An outcome without its hosts. */
export type OutcomeWords = Omit<CheckOutcome, "hosts" | "aged">;

/** What is said of the hosts of one partition. */
export interface ToldOutcomes {
  /** The same array for all partitions that were told of together; not all of it is said of this one. */
  words: readonly OutcomeWords[];
  /** Three numbers after three others: place in `words`, hosts, and those of them that are too old for it. */
  told: number[];
}

const NUMBERS_PER_OUTCOME = 3;

/**
 * Numbers of lists of names and of references by what they say: a core gives the same objects of them again and again, and
 * long texts as keys would take most of the time.
 */
const known_objects = new WeakMap<object, number>();
const known_texts = new Map<string, number>();
const KNOWN_TEXTS_MAX = 65_536;
let last_number = 0;

function number_of(value: object): number {
  const known = known_objects.get(value);
  if (known !== undefined) return known;
  const text = JSON.stringify(value);
  let number = known_texts.get(text);
  if (number === undefined) {
    number = ++last_number;
    // What is forgotten gets another number when it comes again: two of the same are then two outcomes, which add up.
    if (known_texts.size === KNOWN_TEXTS_MAX) known_texts.clear();
    known_texts.set(text, number);
  }
  known_objects.set(value, number);
  return number;
}

/** Most say `ok`, each of another list of names: its number is key enough. */
function key_of({
  verdict,
  reason,
  warnings,
  conflict,
  unresolved,
  replaces,
}: OutcomeWords): string | number {
  if (verdict === "ok" && reason === null && warnings.length === 0 && replaces !== null)
    return number_of(replaces);
  const short = warnings.length === 0 ? `${verdict} ${reason}` : `${verdict} ${reason} ${warnings.join(" ")}`;
  if (conflict !== null) {
    const { state, held, offered, transient, first, holder } = conflict;
    return `${short} ${state} ${held} ${offered} ${transient} ${first} ${number_of(holder)}`;
  }
  if (unresolved !== null) return `${short} not told ${JSON.stringify(unresolved)}`;
  return `${short} ${replaces && number_of(replaces)}`;
}

/** Of one question. */
export class SharedWords {
  readonly #words: OutcomeWords[] = [];
  readonly #places = new Map<string | number, number>();

  told_of(outcomes: readonly CheckOutcome[]): ToldOutcomes {
    const told: number[] = [];
    for (const outcome of outcomes) told.push(this.#place_of(outcome), outcome.hosts, outcome.aged);
    return { words: this.#words, told };
  }

  #place_of(outcome: CheckOutcome): number {
    const key = key_of(outcome);
    const known = this.#places.get(key);
    if (known !== undefined) return known;
    this.#places.set(key, this.#words.length);
    // Field by field: to copy the rest of an object takes longer than all else here.
    const { verdict, reason, warnings, conflict, unresolved, replaces } = outcome;
    return this.#words.push({ verdict, reason, warnings, conflict, unresolved, replaces }) - 1;
  }
}

/** The same with words of its own: where what is shared does not stay so, it would be sent with every partition. */
export function own_words<Told extends ToldOutcomes>(told: Told): Told {
  const words: OutcomeWords[] = [];
  const numbers = [...told.told];
  for (let at = 0; at < numbers.length; at += NUMBERS_PER_OUTCOME)
    numbers[at] = words.push(told.words[numbers[at]!]!) - 1;
  return { ...told, words, told: numbers };
}

/** What is said of hosts. */
export interface SummedOutcome {
  words: OutcomeWords;
  hosts: number;
  /** Of them, those that are too old for it. */
  aged: number;
}

/** The sums over partitions; what they share is summed up before anything is compared. */
export function* summed(partitions: Iterable<ToldOutcomes>): Generator<SummedOutcome> {
  const sums = new Map<readonly OutcomeWords[], { hosts: number[]; aged: number[] }>();
  for (const { words, told } of partitions) {
    let sum = sums.get(words);
    if (sum === undefined) {
      sum = { hosts: words.map(() => 0), aged: words.map(() => 0) };
      sums.set(words, sum);
    }
    for (let at = 0; at < told.length; at += NUMBERS_PER_OUTCOME) {
      const place = told[at]!;
      sum.hosts[place]! += told[at + 1]!;
      sum.aged[place]! += told[at + 2]!;
    }
  }
  for (const [words, { hosts, aged }] of sums)
    for (let i = 0; i < words.length; i++) yield { words: words[i]!, hosts: hosts[i]!, aged: aged[i]! };
}
