/** `klpstate serve`: owns a directory, answers on an address and at the directory's socket. */
import type { Command } from "commander";
import { InvalidArgumentError, Option } from "commander";
import { destination, type Level, type Logger, pino } from "pino";
import { build_app } from "../api/app.js";
import { listen, parse_listen } from "../api/listen.js";
import { Problem } from "../events/problem.js";
import type { KafkaRegistry } from "../kafka/open_kafka_registry.js";
import { PARTITIONS_MAX } from "../log/registry_file.js";
import { RETENTION_DEFAULT, SNAPSHOT_AFTER_BYTES_DEFAULT } from "../registry/keeper.js";
import type { RegistryOptions } from "../registry/open_registry.js";
import type { Registry } from "../registry/registry.js";
import { format_byte_count, parse_byte_count } from "./byte_count.js";
import { type Session, with_examples } from "./command.js";
import { read_config } from "./kafka_options.js";
import { replay_by_audit, replay_here } from "./replay_by_audit.js";
import { signal_of_stop } from "./stop_signal.js";
import { print } from "./terminal.js";
import { find_token, type TokenOptions, with_token } from "./token.js";
import { VERSION } from "./version.js";

const LEVELS = ["trace", "debug", "info", "warn", "error", "fatal", "silent"];

interface ServeOptions extends TokenOptions {
  config?: string;
  acceptUnsafeTopics?: boolean;
  data: string;
  listen: string;
  partitions?: number;
  snapshotAfter: number;
  snapshotsNewest: number;
  snapshotsDays: number;
  snapshotsBytes: number;
  logLevel: Level;
}

export function add_serve_command(program: Command, session: Session): void {
  const command = program
    .command("serve")
    .description("serve the registry in a directory, which is made if it is missing")
    .requiredOption("--data <dir>", "the registry's directory")
    .option(
      "--listen <address>",
      "address and port, off loopback only with a token; port 0 picks one",
      "127.0.0.1:7350",
    )
    .option("--partitions <count>", "of a new registry, fixed from then on (default: 8)", parse_partitions)
    .addOption(
      byte_option(
        "--snapshot-after <bytes>",
        "make a snapshot of a partition when so much of its log is in none",
        SNAPSHOT_AFTER_BYTES_DEFAULT,
      ),
    )
    .option(
      "--snapshots-newest <count>",
      "keep so many of the newest snapshots of a partition",
      parse_snapshots,
      RETENTION_DEFAULT.newest,
    )
    .option(
      "--snapshots-days <count>",
      "keep the last snapshot of each of so many days",
      parse_days,
      RETENTION_DEFAULT.days,
    )
    .addOption(
      byte_option(
        "--snapshots-bytes <bytes>",
        "of a partition's snapshots at most; the oldest go first, the newest stays",
        RETENTION_DEFAULT.bytes_max,
      ),
    )
    .option("--config <file>", "settings of Kafka mode, YAML; the environment counts before it")
    .option("--accept-unsafe-topics", "with topics that may lose the log: one broker at home")
    .option("--log-level <level>", `of the log on standard error: ${LEVELS.join(", ")}`, parse_level, "info")
    .action(async (options: ServeOptions) => {
      await serve(options, session);
      session.end(0);
    });
  with_examples(
    with_token(command),
    [
      "serve --data /var/lib/klpstate",
      "serve --data ./registry --listen 127.0.0.1:0 --partitions 64",
      "serve --data ./registry --listen 0.0.0.0:7350 --token-file /etc/klpstate/token",
      "serve --data ./registry --snapshot-after 1GiB --snapshots-days 7",
    ],
    `
With a token every request over TCP must show it, as "Authorization: Bearer TOKEN".
The first line on standard output says: listening on http://…
SIGINT and SIGTERM end the requests that run, then the registry.

Exit codes:
  0  stopped by a signal
  2  it could not start: the address, the directory, or another process that has it
`,
  );
}

async function serve(options: ServeOptions, { terminal }: Session): Promise<void> {
  const token = find_token(options, terminal.env);
  const address = parse_listen(options.listen, token !== null);
  const log = pino({ level: options.logLevel, base: null }, destination({ dest: 2, sync: true }));
  const stopped = signal_of_stop();
  const {
    registry,
    peers,
    join,
    stopped: ended,
  } = await open_served(options, terminal.env, log, {
    data: options.data,
    ...(options.partitions !== undefined && { partitions: options.partitions }),
    snapshot_after_bytes: options.snapshotAfter,
    retention: {
      newest: options.snapshotsNewest,
      days: options.snapshotsDays,
      bytes_max: options.snapshotsBytes,
    },
    report: (message) => log.warn(message),
  });
  const { snapshots, log_bytes_read } = registry.start;
  log.info(
    `started from snapshots of ${snapshots} of ${registry.partitions} partitions, read ${log_bytes_read} bytes of log`,
  );
  try {
    const app = build_app({
      registry,
      replay: replay_by_audit,
      version: VERSION,
      log,
      process_metrics: true,
    });
    const listening = await listen(app, { address, socket_path: registry.door_path, token, log, peers });
    try {
      await join(listening.url);
      await print(terminal.stdout, `listening on ${listening.url}\n`);
      const lost = registry.lost.then((error) => {
        throw new Error(`a part of the registry ended, so all of it does: ${error.message}`, {
          cause: error,
        });
      });
      log.info({ signal: await Promise.race([stopped.signal, lost]) }, "stopping");
    } finally {
      await listening.close();
    }
  } finally {
    stopped.forget();
    await registry.close();
    log.info("stopped");
    ended();
  }
}

interface Served extends Pick<KafkaRegistry, "peers" | "join"> {
  registry: Registry;
  /** When all is closed. */
  stopped(): void;
}

/** kafkajs may hold on to a consumer that was given up while brokers changed: nothing of it is waited for. */
const HELD_ON_MS = 2_000;

/** Ends the process, if something keeps it from ending by itself. */
function end_in_time(): void {
  setTimeout(() => process.exit(), HELD_ON_MS).unref();
}

/** On Kafka where brokers are configured; else the directory has the log. */
async function open_served(
  asked: ServeOptions,
  env: NodeJS.ProcessEnv,
  log: Logger,
  options: RegistryOptions,
): Promise<Served> {
  const file = read_config(asked);
  const wanted = Object.keys(env).some((name) => name.startsWith("KLPSTATE_KAFKA_")) || file !== undefined;
  if (wanted) {
    const { kafka_settings, kafka_settings_wanted } = await import("../kafka/settings.js");
    if (kafka_settings_wanted(env, file)) {
      const settings = kafka_settings(env, file);
      if (asked.acceptUnsafeTopics) settings.accept_unsafe_topics = true;
      const { open_kafka_registry } = await import("../kafka/open_kafka_registry.js");
      const { partitions, ...own } = options;
      if (partitions !== undefined) throw of_topic();
      const opened = await open_kafka_registry({ ...own, settings, log, replay: replay_here });
      return { ...opened, stopped: end_in_time };
    }
  }
  const { open_registry } = await import("../registry/open_registry.js");
  return {
    registry: await open_registry(options),
    peers: async () => null,
    join: async () => {},
    stopped: () => {},
  };
}

function of_topic(): Problem {
  return new Problem("bad_input", "--partitions: on Kafka the topic has them, see `klpstate topics create`", {
    field: "partitions",
  });
}

function parse_partitions(text: string): number {
  const count = /^[0-9]{1,6}$/.test(text) ? Number(text) : 0;
  if (count >= 1 && count <= PARTITIONS_MAX) return count;
  throw new InvalidArgumentError(`It is not a whole number from 1 to ${PARTITIONS_MAX}.`);
}

function parse_snapshots(text: string): number {
  return parse_count(text, 1);
}

function parse_days(text: string): number {
  return parse_count(text, 0);
}

function parse_count(text: string, min: number): number {
  const count = /^[0-9]{1,6}$/.test(text) ? Number(text) : -1;
  if (count >= min) return count;
  throw new InvalidArgumentError(`It is not a whole number from ${min} to 999999.`);
}

function byte_option(flags: string, description: string, bytes: number): Option {
  return new Option(flags, description).argParser(parse_byte_count).default(bytes, format_byte_count(bytes));
}

function parse_level(text: string): string {
  if (LEVELS.includes(text)) return text;
  throw new InvalidArgumentError(`It is not one of ${LEVELS.join(", ")}.`);
}
