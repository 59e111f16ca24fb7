/**
 * What kafkajs 2.2.4 gets wrong inside, mended before the rest of it loads: its parts take each other's functions when
 * they are loaded, so a later change would reach nobody. Imported by kafkajs.ts only, first of all.
 */
import { createRequire } from "node:module";
import { without_aborted } from "./aborted.js";
import { keep_leaderless_partitions } from "./leaderless.js";
import { look_for_lost_brokers } from "./lost_broker.js";
import { begin_with_the_first_record } from "./record_batch.js";
import { end_idle_timers } from "./request_timer.js";
import { end_fetches_when_stopped } from "./stopped_consumer.js";
import { reader_of_each_batch } from "./unreadable.js";

const require_part = createRequire(import.meta.url);

// Node notes a module that is still to be loaded, too.
if (require_part.cache[require_part.resolve("kafkajs")]?.loaded === true) {
  throw new Error("kafkajs is loaded already: import it from services/kafka/kafkajs.js only");
}

// Before all that follows, as they may load whoever takes it.
const decode_messages = require_part.resolve("kafkajs/src/protocol/requests/fetch/v4/decodeMessages");
const Decoder = require_part("kafkajs/src/protocol/decoder");
const codecs = require_part("kafkajs/src/protocol/message/compression");
const each_batch = reader_of_each_batch({
  decode_messages: require_part(decode_messages),
  decode_batch: require_part("kafkajs/src/protocol/recordBatch/v0/decoder"),
  async decompress(attributes, compressed) {
    const codec = codecs.lookupCodecByAttributes(attributes);
    if (codec === null) throw new Error(`its codec, of attributes ${attributes}, is unknown`);
    return codec.decompress(compressed);
  },
  new_decoder: (bytes) => new Decoder(bytes),
});
require_part.cache[decode_messages]!.exports = each_batch;
const filter_aborted = require_part.resolve("kafkajs/src/consumer/filterAbortedMessages");
require_part(filter_aborted);
require_part.cache[filter_aborted]!.exports = without_aborted;
begin_with_the_first_record(require_part("kafkajs/src/consumer/batch").prototype);

keep_leaderless_partitions({
  metadata_response: require_part("kafkajs/src/protocol/requests/metadata/v0/response"),
  broker_pool: require_part("kafkajs/src/cluster/brokerPool").prototype,
  cluster: require_part("kafkajs/src/cluster").prototype,
});
look_for_lost_brokers({
  cluster: require_part("kafkajs/src/cluster").prototype,
  consumer_group: require_part("kafkajs/src/consumer/consumerGroup").prototype,
  connection: require_part("kafkajs/src/network/connection").prototype,
});
end_fetches_when_stopped(require_part("kafkajs/src/consumer/runner").prototype);
end_idle_timers(require_part("kafkajs/src/network/requestQueue").prototype);
