/**
 * Verdicts of hosts as lines of NDJSON, ready to be sent. Where a core has the hosts it writes them: what a line says
 * behind the host's id is rendered once for each outcome.
 */
import type { CheckOutcome, Core } from "../core/core.js";
import { write_host_texts } from "../core/host_texts.js";
import type { HostVerdict } from "./answers.js";
import { host_verdict } from "./check_answers.js";
import { check_hosts_of_core, first_host, host_outcome } from "./core_answers.js";
import { first_fresh_minute } from "./host_answers.js";
import type { Candidate } from "./service.js";
import type { HostsCheckQuestion, HostsPage, LinesPage } from "./shard_protocol.js";

/** Hosts of one page that crosses threads, or nodes, as objects. */
export const HOSTS_PAGE = 4096;
/** Large enough to spare calls, small enough to be on its way at once. */
const LINES_BYTES = 64 * 1024;

const OPENING = '{"host_id":"';
const FACTS = [false, true].flatMap((uncertain) => [false, true].map((stale) => ({ stale, uncertain })));

export function line_of(said: HostVerdict): string {
  return `${JSON.stringify(said)}\n`;
}

/** All of a page that came as objects. */
export function lines_of_page({ hosts, next }: HostsPage, candidate: Candidate): LinesPage {
  const text = hosts.map((host) => line_of(host_verdict(host, candidate))).join("");
  return { lines: new TextEncoder().encode(text), hosts: hosts.length, next };
}

/** At most `limit` of them. */
export async function* lines_of(said: AsyncIterable<HostVerdict>, limit: number): AsyncGenerator<Uint8Array> {
  const encoder = new TextEncoder();
  let text = "";
  let left = limit;
  for await (const one of said) {
    text += line_of(one);
    left -= 1;
    if (left === 0) break;
    if (text.length < LINES_BYTES) continue;
    yield encoder.encode(text);
    text = "";
  }
  if (text !== "") yield encoder.encode(text);
}

/** The lines of one core. */
export class HostLines {
  readonly #core: Core;
  /** Of the last page: good for the next one while nothing was folded, published or checked. */
  #made: { of: string; revision: number; texts: Uint8Array } | null = null;

  constructor(core: Core) {
    this.#core = core;
  }

  page(question: HostsCheckQuestion, stale_after_ms: number): LinesPage {
    const core = this.#core;
    const texts = this.#texts(question);
    if (texts.length > core.input_bytes_max) {
      const count_max = Math.min(question.count_max, HOSTS_PAGE);
      return lines_of_page(
        check_hosts_of_core(core, { ...question, count_max }, stale_after_ms),
        question.candidate,
      );
    }
    const { at_ms, max_age_ms, count_max } = question;
    const aged_minute = max_age_ms === null ? 0 : first_fresh_minute(at_ms, max_age_ms);
    const stale_minute = first_fresh_minute(at_ms, stale_after_ms);
    const first = first_host(core, question);
    const page = core.host_lines(first, texts, count_max, aged_minute, stale_minute);
    return { ...page, next: page.next < core.host_count ? page.next : null };
  }

  #texts({ candidate, verdicts }: HostsCheckQuestion): Uint8Array {
    const of = JSON.stringify([candidate, verdicts]);
    const made = this.#made;
    if (made !== null && made.of === of && made.revision === this.#core.revision) return made.texts;
    const outcomes = this.#core.check(candidate.name, Buffer.from(candidate.build_id ?? "", "hex"));
    const said = (outcome: CheckOutcome, aged: boolean) => {
      const { verdict } = aged ? host_outcome("", outcome, aged, FACTS[0]!) : outcome;
      return (verdicts?.includes(verdict) ?? true) ? rest_of_line(outcome, aged, candidate) : "";
    };
    const texts = write_host_texts(
      OPENING,
      FACTS.map(ending_of),
      outcomes.map((outcome) => ({ fresh: said(outcome, false), aged: said(outcome, true) })),
    );
    this.#made = { of, revision: this.#core.revision, texts };
    return texts;
  }
}

function ending_of(facts: { stale: boolean; uncertain: boolean }): string {
  return `${JSON.stringify(facts).slice(1)}\n`;
}

/** Between the id and the ending. */
function rest_of_line(outcome: CheckOutcome, aged: boolean, candidate: Candidate): string {
  const facts = FACTS[0]!;
  const line = line_of(host_verdict(host_outcome("", outcome, aged, facts), candidate));
  const ending = ending_of(facts);
  if (!line.startsWith(OPENING) || !line.endsWith(ending)) throw new Error(`no line of a host: ${line}`);
  return line.slice(OPENING.length, -ending.length);
}
