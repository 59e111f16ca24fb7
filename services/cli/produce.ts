/** `klpstate produce`: sends a file of events to Kafka, without a registry between. */
import type { Command } from "commander";
import { RECORD_BYTES_MAX, RECORD_EVENTS_MAX } from "../events/limits.js";
import { type Session, with_examples } from "./command.js";
import { send_events } from "./event_batches.js";
import { type EventFile, open_event_file } from "./event_file.js";
import type { EventFormat } from "./event_input.js";
import { with_format } from "./ingest.js";
import { type ConfigOptions, read_config, with_config } from "./kafka_options.js";
import { start_progress } from "./progress.js";
import { counted, plain } from "./render/text.js";
import { StoredPositions } from "./stored_positions.js";
import { print } from "./terminal.js";

export interface ProduceSummary {
  topic: string;
  /** Acknowledged by the brokers. */
  events: number;
  batches: number;
  positions: Record<string, string>;
  /** The positions as a question to a registry takes them. */
  min_position: string;
}

interface ProduceOptions extends ConfigOptions {
  format: EventFormat;
  json?: boolean;
}

export function add_produce_command(program: Command, session: Session): void {
  const command = program
    .command("produce")
    .description("publish the events of a file to Kafka, in order; publishing a file again is safe")
    .argument("<file>", "the file; - is standard input")
    .option("--json", "answer with one JSON document")
    .action(async (file: string, options: ProduceOptions) => {
      const input = await open_event_file(file, session.terminal);
      try {
        await produce(input, options, session);
      } finally {
        await input.close();
      }
    });
  with_examples(
    with_config(with_format(command)),
    [
      "produce events.ndjson",
      "produce - --json < events.ndjson",
      "produce spool.pb --format protobuf --config kafka.yaml",
    ],
    `
The brokers are those of KLPSTATE_KAFKA_BROKERS, or of the file of --config; docs/kafka.md has all settings.
Events are looked at as a registry does, and go to the partition of their host. A registry need not run.
A broken line ends it: the lines before it are stored, and the message says how many.

Exit codes:
  0  every event is stored by the brokers
  2  a line is broken, or the events could not be sent
`,
  );
}

async function produce(input: EventFile, options: ProduceOptions, session: Session): Promise<void> {
  const { terminal } = session;
  // Kafka's parts are loaded here: no other command has a use for them.
  const [{ kafka_settings }, { TopicOutlet }] = await Promise.all([
    import("../kafka/settings.js"),
    import("../kafka/topic_outlet.js"),
  ]);
  const topic = await TopicOutlet.open(kafka_settings(terminal.env, read_config(options)));
  try {
    const stored = new StoredPositions();
    const outlet = {
      events_max: RECORD_EVENTS_MAX,
      bytes_max: RECORD_BYTES_MAX,
      async send(batch: Uint8Array) {
        for (const { partition, next_offset } of await topic.publish(batch))
          stored.note(partition, next_offset);
      },
    };
    const progress = start_progress(terminal);
    const sent = await send_events(input, options.format, outlet, progress).finally(progress.end);
    const summary: ProduceSummary = { topic: topic.topic, ...sent, ...stored.document() };
    const text = `stored ${counted(sent.events, "event")} in ${plain(topic.topic)}\n`;
    await print(terminal.stdout, options.json ? `${JSON.stringify(summary)}\n` : text);
    session.end(0);
  } finally {
    await topic.close();
  }
}
