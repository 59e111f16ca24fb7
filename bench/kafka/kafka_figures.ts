/** The figures with Kafka: who reads the same topics to what end, in one run against one real broker. */
import { join } from "node:path";
import { in_directory } from "../directory.js";
import { type Figure, figure_of, median, quantile, type Run } from "../measure.js";
import { BROKER_VERSION, start_broker } from "./broker.js";
import { count } from "./count.js";
import { type FoldRun, fold_topic, type KeptBytes } from "./fold_topic.js";
import { JavaPrograms, java_version, STREAMS_VERSION } from "./java.js";
import { post_to_nodes } from "./post.js";
import { per_cpu_second, type ReaderRun, reader_figures } from "./reader.js";
import { rebuild } from "./rebuild.js";
import { run_streams, STREAMS_SETTINGS, type StreamsRun } from "./streams.js";
import { type FilledTopic, FORMS, fill_topic } from "./topic.js";

export const KAFKA_FIGURES = [
  "kafka-count",
  "kafka-streams",
  "kafka-fold",
  "kafka-changes",
  "kafka-rebuild",
  "kafka-post",
];

/** Each reads millions of events, a minute where Kafka Streams does. */
const RUNS = 3;

interface Size {
  hosts: number;
  events: number;
}

interface Bench {
  /** HOST:PORT. */
  broker: string;
  java: JavaPrograms;
  directory: string;
  profile_directory: string | undefined;
}

/** An hour is long without a word. */
function tell(name: string, { events, seconds, cpu_seconds }: ReaderRun): void {
  console.error(
    `${name}: ${events} events, ${seconds.toFixed(2)} s, ${cpu_seconds.toFixed(2)} s of processor`,
  );
}

/** Alternately, one after the other. */
async function runs_of(bench: Bench, topic: FilledTopic, wanted: Set<string>) {
  const counts: ReaderRun[] = [];
  const folds: FoldRun[] = [];
  for (let i = 0; i < RUNS; i++) {
    if (wanted.has("kafka-count") || wanted.has("kafka-fold")) {
      counts.push(await count(bench.broker, topic));
      tell(`kafka-count-${topic.form.name}`, counts[i]!);
    }
    if (wanted.has("kafka-fold")) {
      folds.push(await fold_topic(bench, topic, false));
      tell(`kafka-fold-${topic.form.name}`, folds[i]!);
    }
  }
  return { counts, folds };
}

/** Every setting once; the bytes are of the last one that does not cache. */
async function streams_figures(bench: Bench, topic: FilledTopic): Promise<Figure[]> {
  const name = `kafka-streams-${topic.form.name}`;
  const figures: Figure[] = [];
  let kept: StreamsRun | null = null;
  for (const setting of STREAMS_SETTINGS) {
    const run = await run_streams(bench.broker, bench.java, bench.directory, topic, setting);
    figures.push(...reader_figures(`${name}-${setting.name}`, [run], topic.contents.bytes));
    tell(`${name}-${setting.name}`, run);
    if (setting.cache_bytes === 0) kept = run;
  }
  figures.push(bytes_figure(`${name}-store`, [kept!], topic, (run) => run.store_bytes));
  figures.push(bytes_figure(`${name}-change-log`, [kept!], topic, (run) => run.change_log_bytes));
  return figures;
}

function bytes_figure<Each extends Run>(
  name: string,
  runs: readonly Each[],
  { contents }: FilledTopic,
  bytes_of: (run: Each) => number,
): Figure {
  return figure_of(name, "B/host", runs, (run) => bytes_of(run) / contents.hosts, contents.bytes);
}

const KEPT: readonly (keyof KeptBytes)[] = ["memory", "resident", "snapshots", "log", "chain"];

/** `counts`: made alternately with `folds`. */
function fold_figures(topic: FilledTopic, counts: readonly ReaderRun[], folds: readonly FoldRun[]): Figure[] {
  const { form, contents } = topic;
  const name = `kafka-fold-${form.name}`;
  const [rate, cpu] = reader_figures(name, folds, contents.bytes);
  const counting = `kafka-count-${form.name}`;
  const rates = ({ events, seconds }: ReaderRun) => events / seconds;
  rate.against[counting] = median(folds.map((run, i) => rates(run) / rates(counts[i]!)));
  cpu.against[`${counting}-cpu`] = median(
    folds.map((run, i) => per_cpu_second(run) / per_cpu_second(counts[i]!)),
  );
  const kept = KEPT.map((kind) => bytes_figure(`${name}-${kind}`, folds, topic, (run) => run.kept[kind]));

  return [rate, cpu, ...kept];
}

/** Of the best setting of Kafka Streams. */
function compare_with_streams(fold: Figure | undefined, streams: readonly Figure[]): void {
  const [best] = streams.filter(({ unit }) => unit === fold?.unit).toSorted((a, b) => b.median - a.median);
  if (fold !== undefined && best !== undefined) fold.against[best.name] = fold.median / best.median;
}

/** Both forms of the topic, read by everybody who is wanted. */
async function reading_figures(bench: Bench, wanted: Set<string>, size: Size): Promise<Figure[]> {
  const figures: Figure[] = [];
  for (const form of FORMS) {
    const topic = await fill_topic(bench, form, `${form.name}.`, size);
    const { counts, folds } = await runs_of(bench, topic, wanted);
    if (counts.length > 0) {
      figures.push(...reader_figures(`kafka-count-${form.name}`, counts, topic.contents.bytes));
    }
    const folded = folds.length > 0 ? fold_figures(topic, counts, folds) : [];
    const streams = wanted.has("kafka-streams") ? await streams_figures(bench, topic) : [];
    compare_with_streams(folded[1], streams);
    figures.push(...folded, ...streams);
  }
  return figures;
}

/** A fold with state changes on; and they alone, after it. */
async function changes_figures(bench: Bench, size: Size): Promise<Figure[]> {
  const figures: Figure[] = [];
  for (const form of FORMS) {
    const topic = await fill_topic(bench, form, `changes-${form.name}.`, size);
    const run = await fold_topic(bench, topic, true);
    tell(`kafka-changes-${form.name}`, run.changes!);
    figures.push(
      ...reader_figures(`kafka-fold-${form.name}-changes`, [run], topic.contents.bytes),
      ...reader_figures(`kafka-changes-${form.name}`, [run.changes!], topic.contents.bytes),
    );
  }
  return figures;
}

async function rebuild_figures(bench: Bench, size: Size): Promise<Figure[]> {
  const figures: Figure[] = [];
  for (const form of FORMS) {
    const topic = await fill_topic(bench, form, `rebuild-${form.name}.`, size);
    const runs = await rebuild(bench, topic);
    for (const name of ["rebuild", "restart"] as const) {
      const of_runs = (run: Run) => run.seconds;
      figures.push(figure_of(`kafka-${name}-${form.name}`, "s", [runs[name]], of_runs, topic.contents.bytes));
    }
  }
  return figures;
}

async function post_figures({ broker, directory }: Bench): Promise<Figure[]> {
  const run = await post_to_nodes(broker, directory);
  const measured = { ack: run.acknowledged_ms, visible: run.visible_ms };
  return Object.entries(measured).flatMap(([name, all_ms]) =>
    [50, 99].map((percent) =>
      figure_of(`kafka-post-${name}-p${percent}`, "ms", [run], () => quantile(all_ms, percent / 100), 0),
    ),
  );
}

const READING = ["kafka-count", "kafka-streams", "kafka-fold"];

export function kafka_figures(
  parent: string,
  wanted: Set<string>,
  size: Size,
  profile_directory?: string,
): Promise<Figure[]> {
  return in_directory(parent, async (directory) => {
    const java = JavaPrograms.compile(join(directory, "classes"));
    console.log(`Kafka ${BROKER_VERSION}, Kafka Streams ${STREAMS_VERSION}, Java ${java_version()}`);
    const brokers = await start_broker();
    try {
      const bench: Bench = { broker: brokers.addresses, java, directory, profile_directory };
      const half = { hosts: size.hosts, events: Math.ceil(size.events / 2) };
      const figures: Figure[] = [];
      if (READING.some((name) => wanted.has(name))) {
        figures.push(...(await reading_figures(bench, wanted, half)));
      }
      if (wanted.has("kafka-changes")) {
        const events = Math.ceil(size.events / 10);
        figures.push(...(await changes_figures(bench, { hosts: Math.min(size.hosts, events), events })));
      }
      if (wanted.has("kafka-rebuild")) figures.push(...(await rebuild_figures(bench, size)));
      if (wanted.has("kafka-post")) figures.push(...(await post_figures(bench)));
      return figures;
    } finally {
      await brokers.end();
    }
  });
}
