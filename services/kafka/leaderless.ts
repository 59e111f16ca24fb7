/**
 * A partition without a leader must not stop the others. kafkajs throws away a whole metadata response for it, so no
 * partition of any topic finds its leader's new place, and nothing is fetched or sent until the last one has a leader.
 * Here such a partition is kept, with leader -1. Then:
 *
 * - a consumer does not fetch it, as no broker has that number, and looks for its leader every second;
 * - its offsets are in no answer to a question for offsets, where kafkajs would look for broker -1 and fail as a whole;
 * - a send to it fails, after the producer's retries, with KafkaJSNumberOfRetriesExceeded; each send has one partition.
 */

interface PartitionMetadata {
  partitionErrorCode: number;
  partitionId: number;
  leader: number;
}

interface Metadata {
  topicMetadata: { topic: string; partitionMetadata: PartitionMetadata[] }[];
}

interface MetadataResponse {
  parse(data: Metadata): Promise<Metadata>;
}

interface BrokerPool {
  metadata: Metadata | null;
  metadataExpireAt: number | null;
  refreshMetadata(topics: string[]): Promise<void>;
}

interface AskedTopic {
  topic: string;
  partitions: { partition: number }[];
}

interface TopicOffsets {
  topic: string;
  partitions: { partition: number; offset: string }[];
}

interface Cluster {
  findTopicPartitionMetadata(topic: string): PartitionMetadata[];
  fetchTopicsOffset(topics: AskedTopic[]): Promise<TopicOffsets[]>;
}

export interface KafkajsParts {
  /** Of version 0, whose `parse` all other versions take. */
  metadata_response: MetadataResponse;
  broker_pool: BrokerPool;
  cluster: Cluster;
}

/** LEADER_NOT_AVAILABLE, and LISTENER_NOT_FOUND where the leader has no address for this client. */
const NO_LEADER = new Set([5, 72]);
/** Until the next look for a leader, where kafkajs looks every five minutes. */
const LOOK_AGAIN_MS = 1000;

export function keep_leaderless_partitions({ metadata_response, broker_pool, cluster }: KafkajsParts): void {
  const { parse } = metadata_response;
  metadata_response.parse = (data) => parse({ ...data, topicMetadata: data.topicMetadata.map(kept) });

  const { refreshMetadata } = broker_pool;
  broker_pool.refreshMetadata = async function (topics) {
    await refreshMetadata.call(this, topics);
    const partitions = this.metadata?.topicMetadata.flatMap(({ partitionMetadata }) => partitionMetadata);
    if (partitions?.some(({ leader }) => leader < 0)) this.metadataExpireAt = Date.now() + LOOK_AGAIN_MS;
  };

  const { fetchTopicsOffset } = cluster;
  cluster.fetchTopicsOffset = async function (topics) {
    const led = topics.map((asked) => {
      const known = this.findTopicPartitionMetadata(asked.topic);
      const leaderless = new Set(
        known.filter(({ leader }) => leader < 0).map(({ partitionId }) => partitionId),
      );
      return { ...asked, partitions: asked.partitions.filter(({ partition }) => !leaderless.has(partition)) };
    });
    const found = await fetchTopicsOffset.call(this, led);
    // kafkajs expects every topic that it asked for, also where all of its partitions are gone.
    return topics.map(({ topic }) => found.find((one) => one.topic === topic) ?? { topic, partitions: [] });
  };
}

type Topic = Metadata["topicMetadata"][number];

function kept(topic: Topic): Topic {
  return {
    ...topic,
    partitionMetadata: topic.partitionMetadata.map((partition) =>
      NO_LEADER.has(partition.partitionErrorCode)
        ? { ...partition, partitionErrorCode: 0, leader: -1 }
        : partition,
    ),
  };
}
