/** `klpstate migrate`: takes a registry from its directory to Kafka. */
import type { Command } from "commander";
import { InvalidArgumentError } from "commander";
import { Problem } from "../events/problem.js";
import type { MigratePhase, MigrateReport } from "../kafka/migrate.js";
import { PARTITIONS_MAX } from "../log/registry_file.js";
import { type Session, with_examples } from "./command.js";
import { type ConfigOptions, read_config, with_config } from "./kafka_options.js";
import { start_progress } from "./progress.js";
import { migrate_text } from "./render/migrate_text.js";
import { signal_of_stop } from "./stop_signal.js";
import { paint_for, print } from "./terminal.js";

interface MigrateOptions extends ConfigOptions {
  toKafka?: boolean;
  data: string;
  partitions?: number;
  acceptUnsafeTopics?: boolean;
  json?: boolean;
}

export function add_migrate_command(program: Command, session: Session): void {
  const command = program
    .command("migrate")
    .description("copy a registry's log into Kafka's topics, which are empty, and leave the directory")
    .requiredOption("--to-kafka", "where to: the brokers of KLPSTATE_KAFKA_BROKERS")
    .requiredOption("--data <dir>", "the registry's directory, which nobody serves meanwhile")
    .option(
      "--partitions <count>",
      "that the topics have, where it is another number than the directory's: positions change then",
      parse_partitions,
    )
    .option("--accept-unsafe-topics", "do not mind settings that may lose events: for one broker at home")
    .option("--json", "answer with one JSON document")
    .action(async (options: MigrateOptions) => {
      const report = await run_migration(options, session);
      const { stdout } = session.terminal;
      await print(
        stdout,
        options.json
          ? `${JSON.stringify(report)}\n`
          : migrate_text(options.data, report, paint_for(session.terminal)),
      );
      session.end(report.migrated ? 0 : 1);
    });
  with_examples(
    with_config(command),
    [
      "topics create --partitions 8",
      "migrate --to-kafka --data /var/lib/klpstate",
      "migrate --to-kafka --data ./registry --partitions 64",
    ],
    `
The brokers are those of KLPSTATE_KAFKA_BROKERS, or of the file of --config; docs/kafka.md has all settings.
All is read back and folded before the directory is left; until then it is as it was.

Exit codes:
  0  the registry is in Kafka now; serve refuses the directory
  1  the copy is not the registry: nothing was switched
  2  it could not be copied: topics that are not empty, a damaged log, no broker
`,
  );
}

async function run_migration(options: MigrateOptions, { terminal }: Session): Promise<MigrateReport> {
  const { data, partitions, acceptUnsafeTopics = false } = options;
  const stopped = signal_of_stop();
  const stop = new AbortController();
  stopped.signal.then((name) => stop.abort(new Problem("unavailable", `stopped by ${name}`)));
  const progress = start_progress(terminal);
  try {
    const { kafka_settings } = await import("../kafka/settings.js");
    const { kafka_of } = await import("../kafka/kafka_client.js");
    const { migrate } = await import("../kafka/migrate.js");
    const given = kafka_settings(terminal.env, read_config(options));
    const settings = { ...given, accept_unsafe_topics: given.accept_unsafe_topics || acceptUnsafeTopics };
    return await migrate({
      directory: data,
      settings,
      kafka: kafka_of(settings, "migrate"),
      ...(partitions !== undefined && { partitions }),
      progress: (phase, fraction) => progress.show((PHASES.indexOf(phase) + fraction) / PHASES.length, phase),
      signal: stop.signal,
    });
  } finally {
    stopped.forget();
    progress.end();
  }
}

const PHASES: MigratePhase[] = ["reading", "copying", "verifying"];

function parse_partitions(text: string): number {
  const count = /^[0-9]{1,6}$/.test(text) ? Number(text) : 0;
  if (count >= 1 && count <= PARTITIONS_MAX) return count;
  throw new InvalidArgumentError(`It is not a whole number from 1 to ${PARTITIONS_MAX}.`);
}
