/**
 * From the kernel's lines to facts, one for each thing that happened: the lines of a refused load become one refusal,
 * a forcing gets the patch that it was about. Knows nothing of a stack or a snapshot.
 */
import { klpstate } from "../events/proto.js";
import { type Direction, type KernelLine, read_line } from "./kernel_lines.js";

/** A record of the kernel's log. Every record counts, those about other things too: a missing number is a hole. */
export interface Line {
  /** Its sequence number in /dev/kmsg. */
  record: number;
  /** Its text without prefix. Empty for records that user space wrote: nobody but the kernel tells of patches. */
  text: string;
}

export type Fact = { /** The record that told it; null if a snapshot did. */ record: number | null } & (
  | /** A load passed the checks and was not refused for its name. */ { kind: "began"; name: string }
  | { kind: "started"; name: string; to: Direction }
  | { kind: "completed"; name: string; to: Direction }
  | { kind: "forced"; name: string; to: Direction }
  | {
      kind: "refused";
      name: string | null;
      reason: klpstate.v1.Reason;
      line: string;
      name_was_free: boolean;
    }
  | { kind: "object_changed"; name: string; object: string; change: klpstate.v1.Kind }
);

/** A transition that runs. */
export interface Transition {
  name: string;
  to: Direction;
}

interface Cause {
  reason: klpstate.v1.Reason;
  text: string;
}

/** What lines that came before leave open for those that follow. */
export interface Unfinished {
  /** A load between `enabling patch` and the start of its transition, or its failure. */
  pending: string | null;
  /** What was said of why it will fail. */
  cause: Cause | null;
  /** A load that failed and whose `unpatching complete` is still to come. */
  failed: string | null;
}

export const NOTHING_UNFINISHED: Unfinished = { pending: null, cause: null, failed: null };

interface ReadLine {
  record: number;
  text: string;
  line: KernelLine;
}

/** The lines behind `at`. Not a copy of them: who asks for each of a long log's lines looks at a few. */
function* behind(read: readonly ReadLine[], at: number): Generator<KernelLine> {
  for (let later = at + 1; later < read.length; later++) yield read[later]!.line;
}

/** Whether what the kernel said at `at` was about a target module's load, and not about a livepatch's. */
function is_about_target_module(read: readonly ReadLine[], at: number): boolean {
  for (const line of behind(read, at)) {
    if (line.kind === "object_trouble") return true;
    // All that livepatch does under klp_mutex is printed in one piece; only the loader's lines and
    // `not marked` (klp_enable_patch, before it takes the mutex) can come in between.
    if (line.kind !== "refused" && line.kind !== "import") return false;
  }
  return false;
}

/** Whether `applying patch` was said too early: it is printed before the attempt, and this one fails. */
function is_taken_back(read: readonly ReadLine[], at: number): boolean {
  const applied = read[at]!.line;
  if (applied.kind !== "object") return false;
  for (const next of behind(read, at)) {
    if (next.kind === "cause" || next.kind === "object_trouble") continue;
    return (
      next.kind === "object" &&
      next.change === klpstate.v1.Kind.REFUSED &&
      next.name === applied.name &&
      next.object === applied.object
    );
  }
  return false;
}

/** The transition that the line at `at`, which names none, is about, if only lines behind it tell. */
function next_completed(read: readonly ReadLine[], at: number): Transition | null {
  for (const line of behind(read, at)) {
    if (line.kind === "complete") return { name: line.name, to: line.to };
  }
  return null;
}

/**
 * The facts that the lines tell, in order, and what they leave open.
 * `running`: the transition that ran before them; `else_running`: the one to take where no line tells which was forced.
 */
export function read_facts(
  lines: readonly Line[],
  before: Unfinished,
  running: Transition | null,
  else_running: Transition | null,
): { facts: Fact[]; unfinished: Unfinished } {
  const read: ReadLine[] = [];
  for (const { record, text } of lines) {
    const line = read_line(text);
    if (line) read.push({ record, text, line });
  }

  const facts: Fact[] = [];
  let { pending, cause, failed } = before;
  let current = running;
  // By module: the import lines seen of its load. A line seen twice is another load's.
  const imports = new Map<string, Set<string>>();

  read.forEach(({ record, text, line }, at) => {
    switch (line.kind) {
      case "enabling":
        pending = line.name;
        failed = null;
        imports.delete(line.name);
        facts.push({ record, kind: "began", name: line.name });
        break;
      case "starting":
        pending = null;
        current = { name: line.name, to: line.to };
        facts.push({ record, kind: "started", name: line.name, to: line.to });
        break;
      case "complete":
        // klp_cancel_transition ends a load that failed with this line, though no patch was ever there.
        if (line.to === "unpatching" && line.name === failed) {
          failed = null;
        } else {
          current = null;
          facts.push({ record, kind: "completed", name: line.name, to: line.to });
        }
        break;
      case "forcing": {
        const forced = current ?? next_completed(read, at) ?? else_running;
        if (forced) facts.push({ record, kind: "forced", name: forced.name, to: forced.to });
        break;
      }
      case "cause":
        // The first is the cause; what follows it, like `failed to patch object`, is its consequence.
        cause ??= { reason: line.reason, text };
        return;
      case "enable_failed":
        facts.push({
          record,
          kind: "refused",
          name: line.name,
          reason: cause?.reason ?? klpstate.v1.Reason.OTHER,
          line: cause?.text ?? text,
          name_was_free: true,
        });
        pending = null;
        failed = line.name;
        break;
      case "symbol":
        if (!is_about_target_module(read, at)) {
          facts.push({
            record,
            kind: "refused",
            name: null,
            reason: line.reason,
            line: text,
            name_was_free: false,
          });
        }
        break;
      case "refused":
        if (line.name !== null) imports.delete(line.name);
        facts.push({
          record,
          kind: "refused",
          name: line.name,
          reason: line.reason,
          line: text,
          name_was_free: line.name_was_free,
        });
        return;
      case "import": {
        const seen = imports.get(line.name);
        if (seen && !seen.has(text)) {
          seen.add(text);
          return;
        }
        imports.set(line.name, new Set([text]));
        facts.push({
          record,
          kind: "refused",
          name: line.name,
          reason: line.reason,
          line: text,
          name_was_free: true,
        });
        return;
      }
      case "object":
        if (!is_taken_back(read, at)) {
          facts.push({
            record,
            kind: "object_changed",
            name: line.name,
            object: line.object,
            change: line.change,
          });
        }
        break;
      case "object_trouble":
        break;
    }
    // Causes are told directly before what they cause; the loader's lines may come in between.
    cause = null;
  });
  return { facts, unfinished: { pending, cause, failed } };
}
