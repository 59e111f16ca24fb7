/** `klpstate check`: may this livepatch be loaded there? */
import { type Command, InvalidArgumentError, Option } from "commander";
import { shorten } from "../events/place.js";
import { Problem } from "../events/problem.js";
import { type BatchAnswer, type CheckAnswer, type HostVerdict, VerdictName } from "../registry/answers.js";
import { ask_document, ask_lines } from "./ask.js";
import {
  type Asking,
  type AskOptions,
  ask_and_end,
  type ExitCode,
  type Session,
  with_ask_options,
  with_examples,
} from "./command.js";
import type { Door } from "./door.js";
import { type InstantOptions, instant_query, with_instants } from "./host.js";
import { type PositionOptions, position_query, with_min_position } from "./min_position.js";
import { while_waiting } from "./progress.js";
import { batch_text, is_yes } from "./render/batch_text.js";
import { check_text } from "./render/check_text.js";
import { host_verdict_text, host_verdicts_text } from "./render/host_verdicts_text.js";

interface CheckOptions extends AskOptions, PositionOptions, InstantOptions {
  hosts?: boolean;
  host?: string;
  verdict?: VerdictName[];
  maxAge?: string;
}

/** Rows are lined up with each other in parts, so that the first ones are shown at once. */
const ROWS_AT_ONCE = 500;

export function add_check_command(program: Command, session: Session): void {
  const command = program
    .command("check")
    .description("say which hosts' kernels would refuse a livepatch, on which state, held by which patch")
    .argument(
      "<patches...>",
      "NAME: for each host the manifest of its kernel; NAME@BUILDID: exactly that one; several: a line for each",
    )
    .option("--hosts", "a line for each host, below the answer")
    .addOption(new Option("--host <host>", "explain this one host").conflicts(["hosts", "verdict"]))
    .addOption(
      new Option("--verdict <verdicts>", "as --hosts, but only these, separated by commas")
        .argParser(parse_verdicts)
        .implies({ hosts: true }),
    )
    .option("--max-age <span>", "hosts not heard of for longer are unknown; such as 26h, 90m, 2d")
    .action(([patch, ...others]: [string, ...string[]], options: CheckOptions) =>
      ask_and_end(session, options, false, async (asking) => {
        if (others.length > 0) return check_batch(asking, [patch, ...others], options);
        if (options.host !== undefined) return check_host(asking, patch, options.host, options);
        return check_fleet(asking, patch, options);
      }),
    );
  with_examples(
    with_ask_options(with_min_position(with_instants(command))),
    [
      "check kp_9",
      "check kp_9@ab12 --max-age 2h --json",
      "check kp_9 --as-of 2026-03-01T12:00:00Z",
      "check kp_9 kp_10 kp_11",
      "check kp_9 --verdict incompatible,unknown",
      "check kp_9 --host web-17",
    ],
    `
Exit codes:
  0  every host is ok or done, for every patch
  1  a host is not, or the answer is not complete
  2  the question could not be answered
`,
  );
}

async function check_batch(asking: Asking, patches: string[], options: CheckOptions): Promise<ExitCode> {
  const { door, terminal, paint, say, say_json } = asking;
  const of_one = options.host !== undefined ? "--host" : options.hosts ? "--hosts" : null;
  if (of_one !== null) throw new Problem("bad_input", `${of_one}: give one patch`, { field: "patch" });
  const request = {
    patches,
    max_age: options.maxAge,
    ...instant_query(options),
    ...position_query(options),
  };
  const batch = await while_waiting(terminal, "judging the fleet", ask_check<BatchAnswer>(door, request));
  await (options.json ? say_json(batch) : say(batch_text(batch, paint)));
  return batch.complete && batch.checks.every(is_yes) ? 0 : 1;
}

async function check_fleet(asking: Asking, patch: string, options: CheckOptions): Promise<ExitCode> {
  const { door, terminal, paint, say, say_json } = asking;
  const request = {
    patch,
    max_age: options.maxAge,
    ...instant_query(options),
    ...position_query(options),
  };
  const check = await while_waiting(terminal, "judging the fleet", ask_check<CheckAnswer>(door, request));
  const { total, ok, done } = check.hosts;
  const yes = check.complete && ok + done === total;
  if (!options.hosts) {
    await (options.json ? say_json(check) : say(check_text(check, paint)));
    return yes ? 0 : 1;
  }
  if (!options.json) await say(`${check_text(check, paint)}\n`);
  const all_yes = await say_hosts(asking, patch, options);
  return yes && all_yes ? 0 : 1;
}

/** Whether every host that was listed is ok or done, and none is missing. */
async function say_hosts(asking: Asking, patch: string, options: CheckOptions): Promise<boolean> {
  const { door, say, say_json, warn } = asking;
  const { items, missing_partitions } = await ask_lines<HostVerdict>(door, {
    method: "POST",
    path: "/v1/checks",
    content_type: "application/json",
    body: JSON.stringify({
      patch,
      max_age: options.maxAge,
      ...instant_query(options),
      ...position_query(options),
      hosts: true,
      verdicts: options.verdict,
    }),
  });
  if (missing_partitions.length > 0) {
    await warn(`klpstate: INCOMPLETE: partitions ${missing_partitions.join(", ")} cannot answer\n`);
  }
  let yes = missing_partitions.length === 0;
  let rows: HostVerdict[] = [];
  let with_titles = true;
  const say_rows = async () => {
    if (rows.length > 0) await say(host_verdicts_text(rows, patch, with_titles));
    with_titles = false;
    rows = [];
  };
  for await (const host of items) {
    yes &&= host.verdict === "ok" || host.verdict === "done";
    if (options.json) await say_json(host);
    else if (rows.push(host) === ROWS_AT_ONCE) await say_rows();
  }
  await say_rows();
  return yes;
}

async function check_host(
  asking: Asking,
  patch: string,
  host_id: string,
  options: CheckOptions,
): Promise<ExitCode> {
  const { door, paint, say, say_json } = asking;
  const host = await ask_host_verdict(door, patch, host_id, {
    max_age: options.maxAge,
    ...instant_query(options),
    ...position_query(options),
  });
  await (options.json ? say_json(host) : say(host_verdict_text(host, patch, paint)));
  return host.verdict === "ok" || host.verdict === "done" ? 0 : 1;
}

/** Of one host. Throws Problem where the registry knows no such patch or host. */
export async function ask_host_verdict(
  door: Door,
  patch: string,
  host_id: string,
  more: Record<string, unknown> = {},
): Promise<HostVerdict> {
  const { hosts } = await ask_check<{ hosts: HostVerdict[] }>(door, { patch, ...more, hosts: true, host_id });
  const host = hosts[0];
  if (host === undefined)
    throw new Problem("unavailable", `the server gave no verdict for ${shorten(host_id)}`);
  return host;
}

function ask_check<Answer>(door: Door, request: Record<string, unknown>): Promise<Answer> {
  return ask_document<Answer>(door, {
    method: "POST",
    path: "/v1/checks",
    content_type: "application/json",
    body: JSON.stringify(request),
  });
}

function parse_verdicts(text: string): VerdictName[] {
  return text.split(",").map((name) => {
    const parsed = VerdictName.safeParse(name.trim());
    if (parsed.success) return parsed.data;
    throw new InvalidArgumentError(`"${name}" is not one of ${VerdictName.options.join(", ")}.`);
  });
}
