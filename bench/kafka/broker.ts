/** The broker of the figures: that of the tests, with Kafka's own settings where the tests have small or quick ones. */
import { type Brokers, start_brokers } from "../../test/kafka/brokers.js";

export const BROKER_VERSION = "4.4.0";

export function start_broker(): Promise<Brokers> {
  return start_brokers({
    count: 1,
    version: BROKER_VERSION,
    config: {
      "num.network.threads": "3",
      "num.io.threads": "8",
      "log.cleaner.dedupe.buffer.size": "134217728",
    },
    jvm: ["-Xmx1g", "-XX:-UseSerialGC", "-XX:+UseG1GC", "-XX:TieredStopAtLevel=4"],
  });
}
