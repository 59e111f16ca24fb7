/** What each topic must be told so that it keeps what is written to it (docs/kafka.md, "Topics"). */
import { RECORD_BYTES_MAX } from "../events/limits.js";
import type { KafkaSettings } from "./settings.js";

export type TopicRole = keyof KafkaSettings["topics"];

export interface TopicSetting {
  name: string;
  /** What it is made with. */
  value: string;
  /** Whether this value is as good; what it must be, for a person. */
  is_enough(value: string): boolean;
  wanted: string;
  /** What is lost otherwise. */
  why: string;
}

export interface TopicShape {
  role: TopicRole;
  name: string;
  /** Null: as many as host-events. */
  partitions: number | null;
  settings(replication: number): TopicSetting[];
}

const DAY_MS = 86_400_000;
/** Kafka's own default. A record of RECORD_BYTES_MAX, its key, headers and batch fit. */
const MESSAGE_BYTES = 1_048_588;
const MESSAGE_BYTES_MIN = RECORD_BYTES_MAX + 64 * 1024;
/** A quarantined record is any record, and says in headers where it was. */
const QUARANTINE_BYTES = 2 * MESSAGE_BYTES;
const QUARANTINE_BYTES_MIN = MESSAGE_BYTES + 64 * 1024;

/** In the order in which they are made and shown. */
export function topic_shapes({ topics }: KafkaSettings): TopicShape[] {
  return [
    { role: "host_events", name: topics.host_events, partitions: null, settings: of_the_truth },
    { role: "catalog", name: topics.catalog, partitions: 1, settings: of_the_truth },
    {
      role: "quarantine",
      name: topics.quarantine,
      partitions: null,
      settings: () => [
        DELETED,
        kept_for(30, "a record that was set aside is gone before anybody looks"),
        message_bytes(QUARANTINE_BYTES, QUARANTINE_BYTES_MIN),
      ],
    },
    {
      role: "state_changes",
      name: topics.state_changes,
      partitions: null,
      settings: () => [
        DELETED,
        kept_for(7, "a consumer that stands still for some days misses changes"),
        message_bytes(MESSAGE_BYTES, MESSAGE_BYTES_MIN),
      ],
    },
  ];
}

const DELETED = exactly("cleanup.policy", "delete", "compaction drops all but a key's last record");

function of_the_truth(replication: number): TopicSetting[] {
  const in_sync: TopicSetting = {
    name: "min.insync.replicas",
    value: "2",
    is_enough: (value) => Number(value) >= 2,
    wanted: "2 or more",
    why: "what one broker alone has acknowledged goes with its disk",
  };
  return [
    DELETED,
    exactly("retention.ms", "-1", "events are deleted by age"),
    exactly("retention.bytes", "-1", "events are deleted for room"),
    exactly("message.timestamp.type", "LogAppendTime", "a producer's clock decides when an event was known"),
    exactly(
      "unclean.leader.election.enable",
      "false",
      "a replica that lags may lead, without the last events",
    ),
    message_bytes(MESSAGE_BYTES, MESSAGE_BYTES_MIN),
    ...(replication >= 3 ? [in_sync] : []),
  ];
}

function exactly(name: string, value: string, why: string): TopicSetting {
  return { name, value, is_enough: (one) => one === value, wanted: value, why };
}

function kept_for(days: number, why: string): TopicSetting {
  return {
    name: "retention.ms",
    value: `${days * DAY_MS}`,
    is_enough: (value) => Number(value) === -1 || Number(value) >= days * DAY_MS,
    wanted: `${days * DAY_MS} or more (${days} days)`,
    why,
  };
}

function message_bytes(value: number, min: number): TopicSetting {
  return {
    name: "max.message.bytes",
    value: `${value}`,
    is_enough: (text) => Number(text) >= min,
    wanted: `${min} or more`,
    why: "the largest records are refused",
  };
}
