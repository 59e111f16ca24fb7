/** Nodes of a registry on Kafka, as the command line starts them. */
import { type RunningServer, run_command, start_server } from "../server.js";

export const PARTITIONS = 8;

export interface NodeOptions {
  broker: string;
  /** Of the topics' names. */
  prefix: string;
  /** Its partitions are shared among the nodes that name the same one. */
  group: string;
  node_id: string;
  data: string;
  state_changes: boolean;
  profile_directory?: string | undefined;
}

export function start_node(options: NodeOptions): Promise<RunningServer> {
  const { data, profile_directory } = options;
  const environment = {
    ...environment_of(options.broker, options.prefix),
    KLPSTATE_KAFKA_GROUP: options.group,
    KLPSTATE_NODE_ID: options.node_id,
    KLPSTATE_STATE_CHANGES: options.state_changes ? "on" : "off",
  };
  return start_server(data, { profile_directory, environment });
}

export function create_topics(broker: string, prefix: string): void {
  const command = ["topics", "create", "--partitions", String(PARTITIONS), "--replication", "1"];
  run_command(command, environment_of(broker, prefix));
}

export function environment_of(broker: string, prefix: string): Record<string, string> {
  return { KLPSTATE_KAFKA_BROKERS: broker, KLPSTATE_KAFKA_TOPIC_PREFIX: prefix };
}
