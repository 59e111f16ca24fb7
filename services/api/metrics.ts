/** What the server counts, for Prometheus: its requests, and what its partitions count themselves. */
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from "prom-client";
import type { RegistryService } from "../registry/service.js";

type PartitionStatus = Awaited<ReturnType<RegistryService["status"]>>[number];

export interface ServerMetrics {
  readonly registry: Registry;
  /** Time until an answer begins; of a stream, not until its end. */
  readonly request_seconds: Histogram<"method" | "route" | "status">;
  readonly batches: Counter<"format">;
  readonly problems: Counter<"code">;
  /** Takes over what the partitions count; before each scrape. */
  show(status: PartitionStatus[]): void;
}

const SUMS = [
  ["klpstate_hosts", "Hosts known", "hosts"],
  ["klpstate_log_bytes", "Bytes of the log", "log_bytes"],
  ["klpstate_unsnapshotted_bytes", "Bytes of the log that a start would read", "unsnapshotted_bytes"],
  ["klpstate_core_memory_bytes", "Memory of the cores", "memory_bytes"],
] as const;

/** `of_process`: also memory, CPU and event loop of the whole process. */
export function create_metrics(of_process: boolean, event_body_bytes: () => number): ServerMetrics {
  const registry = new Registry();
  const registers = [registry];
  if (of_process) collectDefaultMetrics({ register: registry });
  new Gauge({
    name: "klpstate_http_event_body_bytes",
    help: "Bytes of events' bodies that are being read or stored",
    registers,
    collect() {
      this.set(event_body_bytes());
    },
  });
  const partitions = new Gauge({
    name: "klpstate_partitions",
    help: "Partitions, by whether they serve or are broken",
    labelNames: ["state"],
    registers,
  });
  const snapshot_log_time = new Gauge({
    name: "klpstate_snapshot_log_time_seconds",
    help: "Log time of the last event in the partition's newest snapshot, s since 1970; none: it has no snapshot",
    labelNames: ["partition"],
    registers,
  });
  const sums = SUMS.map(([name, help, field]) => ({ gauge: new Gauge({ name, help, registers }), field }));
  const events = new Counter({ name: "klpstate_events_total", help: "Events in the log", registers });
  const quarantined = new Counter({
    name: "klpstate_records_quarantined_total",
    help: "Records of the log that could not be applied",
    registers,
  });
  const anomalies = new Counter({
    name: "klpstate_anomalies_total",
    help: "Anomalies of the fold, by code",
    labelNames: ["code"],
    registers,
  });
  return {
    registry,
    request_seconds: new Histogram({
      name: "klpstate_http_request_seconds",
      help: "Time until an answer begins",
      labelNames: ["method", "route", "status"],
      buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30],
      registers,
    }),
    batches: new Counter({
      name: "klpstate_http_batches_total",
      help: "Batches of events acknowledged, by the format that they came in",
      labelNames: ["format"],
      registers,
    }),
    problems: new Counter({
      name: "klpstate_http_problems_total",
      help: "Problem documents given, by code",
      labelNames: ["code"],
      registers,
    }),
    show(status) {
      const sum = (field: (typeof SUMS)[number][2] | "events" | "records_quarantined") =>
        status.reduce((total, partition) => total + partition[field], 0);
      const broken = status.filter((partition) => partition.broken !== null).length;
      partitions.set({ state: "broken" }, broken);
      partitions.set({ state: "serving" }, status.length - broken);
      for (const { gauge, field } of sums) gauge.set(sum(field));
      snapshot_log_time.reset();
      for (const { partition, snapshot_log_time_ms } of status) {
        if (snapshot_log_time_ms !== null)
          snapshot_log_time.set({ partition: String(partition) }, snapshot_log_time_ms / 1000);
      }
      set(events, sum("events"));
      set(quarantined, sum("records_quarantined"));
      anomalies.reset();
      for (const partition of status) {
        for (const [code, count] of Object.entries(partition.anomalies)) anomalies.inc({ code }, count);
      }
    },
  };
}

/** prom-client's counters only count up by themselves; these are counted elsewhere. */
function set(counter: Counter, count: number): void {
  counter.reset();
  counter.inc(count);
}
