/** `klpstate state-changes`: where the telling of changes begins. */
import { type Command, InvalidArgumentError, Option } from "commander";
import type { Begun } from "../kafka/state_changes/begin_again.js";
import { type Session, with_examples } from "./command.js";
import { type ConfigOptions, read_config, with_config } from "./kafka_options.js";
import { print } from "./terminal.js";

interface BeginOptions extends ConfigOptions {
  at: "beginning" | "end";
  force?: boolean;
  json?: boolean;
}

export function add_state_changes_commands(program: Command, session: Session): void {
  const state_changes = program
    .command("state-changes")
    .description("what stream consumers are told: docs/state-changes.md");
  const begin = state_changes
    .command("begin")
    .description(
      "decide where changes are told from, of partitions of which nobody knows how far they were told",
    )
    .argument("[partition]", "this one only (default: all)", parse_partition)
    .addOption(
      new Option("--at <place>", "of the partition's events: tell all of them, or what comes from now on")
        .choices(["beginning", "end"])
        .makeOptionMandatory(),
    )
    .option("--force", "also where it is known, as where the topic of events was made anew")
    .option("--json", "answer with one JSON document")
    .action((partition: number | undefined, options: BeginOptions) =>
      begin_and_end(partition, options, session),
    );
  with_examples(
    with_config(begin),
    [
      "state-changes begin --at end",
      "state-changes begin 3 --at beginning",
      "state-changes begin 3 --at end --force",
    ],
    `
The brokers are those of KLPSTATE_KAFKA_BROKERS, or of the file of --config; docs/kafka.md has all settings.
A partition's owner goes on by it when it becomes the owner again, as at a node's start.

Exit codes:
  0  it is decided
  1  it was known of every partition how far it was told: nothing is changed
  2  there is no such partition, or the brokers could not be asked
`,
  );
}

/** Kafka's parts are loaded here, and by no other command. */
async function begin_and_end(
  partition: number | undefined,
  { at, force, json, ...options }: BeginOptions,
  { terminal, end }: Session,
): Promise<void> {
  const [{ kafka_settings }, { kafka_of, quick_retry }, { begin_again }] = await Promise.all([
    import("../kafka/settings.js"),
    import("../kafka/kafka_client.js"),
    import("../kafka/state_changes/begin_again.js"),
  ]);
  const settings = kafka_settings(terminal.env, read_config(options));
  const kafka = kafka_of(settings, "state-changes", undefined, undefined, quick_retry(settings));
  const wanted = { partition: partition ?? null, at, forced: force === true };
  const begun = await begin_again(kafka, settings, wanted);
  await print(terminal.stdout, json ? `${JSON.stringify(document(begun))}\n` : begun.map(line).join(""));
  end(begun.some(({ begins_at }) => begins_at !== null) ? 0 : 1);
}

function document(begun: Begun[]) {
  return begun.map(({ partition, begins_at }) => ({
    partition,
    begins_at: begins_at === null ? null : String(begins_at),
  }));
}

function line({ partition, begins_at }: Begun): string {
  const says =
    begins_at === null ? "is told already, and goes on as it does" : `is told from offset ${begins_at} on`;
  return `partition ${partition} ${says}\n`;
}

function parse_partition(text: string): number {
  if (/^[0-9]{1,6}$/.test(text)) return Number(text);
  throw new InvalidArgumentError("It is not a partition's number.");
}
