/**
 * A broker that is gone, or leads a partition no more, is looked for anew at once. kafkajs keeps what it knows of leaders
 * for five minutes, and looks again only behind some errors. Here:
 *
 * - a question for offsets that an old leader refuses is asked again of the new one, where kafkajs's admin would be
 *   refused until that knowledge is old;
 * - a fetch from a broker that cannot be reached stops nothing but itself, where kafkajs stops the fetches of all brokers,
 *   and after five tries the consumer;
 * - a heartbeat that got no answer is sent to where the group is now, where kafkajs sends it to the same broker five times
 *   and then leaves the group. The members of a group outlive its coordinator;
 * - a socket that never connected is forgotten, where kafkajs lets go of it once more at each try, until Node warns of
 *   the listeners.
 */
import { setTimeout as sleep } from "node:timers/promises";

interface Cluster {
  refreshMetadata(): Promise<void>;
  fetchTopicsOffset(topics: unknown[]): Promise<unknown>;
  findGroupCoordinator(group: { groupId: string }): Promise<unknown>;
}

interface ConsumerGroup {
  groupId: string;
  cluster: Cluster;
  coordinator: unknown;
  offsetManager: { coordinator: unknown } | null;
  recoverFromFetch(error: Error): Promise<void>;
  heartbeat(options: { interval: number }): Promise<void>;
}

interface Connection {
  socket: { destroyed: boolean } | null;
  disconnect(): Promise<boolean>;
}

/** Their prototypes. */
export interface LostBrokerParts {
  cluster: Cluster;
  consumer_group: ConsumerGroup;
  connection: Connection;
}

const NOT_REACHED = new Set([
  "KafkaJSConnectionError",
  "KafkaJSConnectionClosedError",
  "KafkaJSRequestTimeoutError",
]);
/** One that refuses connections does so at once. */
const FETCH_AGAIN_MS = 250;

export function look_for_lost_brokers({ cluster, consumer_group, connection }: LostBrokerParts): void {
  const { fetchTopicsOffset } = cluster;
  cluster.fetchTopicsOffset = async function (topics) {
    try {
      return await fetchTopicsOffset.call(this, topics);
    } catch {
      await this.refreshMetadata();
      return await fetchTopicsOffset.call(this, topics);
    }
  };

  const { recoverFromFetch, heartbeat } = consumer_group;
  consumer_group.recoverFromFetch = async function (error) {
    // kafkajs knows what to do with a connection that was closed: it forgets the broker.
    if (!NOT_REACHED.has(error.name) || error.name === "KafkaJSConnectionClosedError")
      return recoverFromFetch.call(this, error);
    await this.cluster.refreshMetadata();
    await sleep(FETCH_AGAIN_MS);
  };

  consumer_group.heartbeat = async function (options) {
    try {
      await heartbeat.call(this, options);
    } catch (error) {
      if (!NOT_REACHED.has((error as Error).name)) throw error;
      this.coordinator = await this.cluster.findGroupCoordinator({ groupId: this.groupId });
      if (this.offsetManager !== null) this.offsetManager.coordinator = this.coordinator;
    }
  };

  const { disconnect } = connection;
  connection.disconnect = async function () {
    const is_done = await disconnect.call(this);
    if (this.socket?.destroyed) this.socket = null;
    return is_done;
  };
}
