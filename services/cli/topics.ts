/** `klpstate topics`: makes and looks at the topics of Kafka mode. */
import { type Command, InvalidArgumentError } from "commander";
import type { TopicsVerified } from "../kafka/topics.js";
import { type ExitCode, type Session, with_examples } from "./command.js";
import { type ConfigOptions, read_config, with_config } from "./kafka_options.js";
import { topics_text } from "./render/topics_text.js";
import { paint_for, print } from "./terminal.js";

interface VerifyOptions extends ConfigOptions {
  acceptUnsafeTopics?: boolean;
  json?: boolean;
}

interface CreateOptions extends VerifyOptions {
  partitions?: number;
  replication?: number;
}

const ENVIRONMENT = `
The brokers are those of KLPSTATE_KAFKA_BROKERS, or of the file of --config; docs/kafka.md has all settings.
`;

export function add_topics_commands(program: Command, session: Session): void {
  const topics = program.command("topics").description("the topics of Kafka mode: make them, look at them");
  const create = topics
    .command("create")
    .description("make the topics that are missing, then look at all")
    .option("--partitions <count>", "of host-events, fixed from then on (default: 64)", count_up_to(4096))
    .option(
      "--replication <count>",
      "of each topic; no more than there are brokers (default: 3)",
      count_up_to(32_767),
    )
    .action((options: CreateOptions) => create_and_end(options, session));
  with_examples(
    with_verify_options(create),
    [
      "topics create",
      "topics create --partitions 8 --replication 1",
      "topics create --config kafka.yaml --json",
    ],
    `${ENVIRONMENT}
Exit codes:
  0  all topics are there, as they must be
  1  a topic was there before, and is not as it must be
  2  the brokers could not be asked, or make no such topic
`,
  );
  const verify = topics
    .command("verify")
    .description("look whether the topics keep what is written to them")
    .action((options: VerifyOptions) => verify_and_end(options, session));
  with_examples(
    with_verify_options(verify),
    ["topics verify", "topics verify --accept-unsafe-topics", "topics verify --json"],
    `${ENVIRONMENT}
Exit codes:
  0  they are as they must be, or what they lack is accepted
  1  they are not: each is named with the command that mends it
  2  the brokers could not be asked
`,
  );
}

function with_verify_options(command: Command): Command {
  return with_config(command)
    .option("--accept-unsafe-topics", "do not mind settings that may lose events: for one broker at home")
    .option("--json", "answer with one JSON document");
}

async function create_and_end(options: CreateOptions, session: Session): Promise<void> {
  const { create_topics, kafka, settings } = await with_kafka(options, session);
  const wanted = {
    ...settings,
    partitions: options.partitions ?? settings.partitions,
    replication: options.replication ?? settings.replication,
  };
  const answer = await create_topics(kafka, wanted);
  // Asked for, and not to be had: the topic was there.
  if (
    options.partitions !== undefined &&
    answer.partitions !== null &&
    answer.partitions !== options.partitions
  ) {
    const { wrong_count } = await import("../kafka/topics.js");
    const topic = settings.topics.host_events;
    answer.problems.push(
      wrong_count(topic, answer.partitions, `${options.partitions}`, "it was there before"),
    );
  }
  session.end(await say(answer, answer.made, wanted, options, session));
}

async function verify_and_end(options: VerifyOptions, session: Session): Promise<void> {
  const { verify_topics, kafka, settings } = await with_kafka(options, session);
  session.end(await say(await verify_topics(kafka, settings), null, settings, options, session));
}

type Settings = import("../kafka/settings.js").KafkaSettings;

async function say(
  answer: TopicsVerified,
  made: string[] | null,
  settings: Settings,
  { json }: VerifyOptions,
  { terminal }: Session,
): Promise<ExitCode> {
  const { mends_of, problem_line, refusal_of } = await import("../kafka/topics.js");
  const ok = refusal_of(answer, settings) === null;
  if (json) await print(terminal.stdout, `${JSON.stringify({ ok, ...answer })}\n`);
  else {
    const lines = answer.problems.map(problem_line);
    const mends = mends_of(answer.problems, settings);
    const accepted = ok && lines.length > 0;
    await print(
      terminal.stdout,
      topics_text({ ...answer, made, lines, mends, accepted }, paint_for(terminal)),
    );
  }
  return ok ? 0 : 1;
}

/** Kafka's parts are loaded here, and by no other command. */
async function with_kafka(options: VerifyOptions, { terminal }: Session) {
  const [{ kafka_settings }, { kafka_of, quick_retry }, { create_topics, verify_topics }] = await Promise.all(
    [import("../kafka/settings.js"), import("../kafka/kafka_client.js"), import("../kafka/topics.js")],
  );
  const given = kafka_settings(terminal.env, read_config(options));
  const settings = {
    ...given,
    accept_unsafe_topics: given.accept_unsafe_topics || options.acceptUnsafeTopics === true,
  };
  const kafka = kafka_of(settings, "topics", undefined, undefined, quick_retry(settings));
  return { settings, kafka, create_topics, verify_topics };
}

function count_up_to(max: number): (text: string) => number {
  return (text) => {
    const count = /^[0-9]{1,6}$/.test(text) ? Number(text) : 0;
    if (count >= 1 && count <= max) return count;
    throw new InvalidArgumentError(`It is not a whole number from 1 to ${max}.`);
  };
}
