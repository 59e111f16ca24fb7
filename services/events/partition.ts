/** Which partition a host's events are in: the rule of Kafka's own Java client, so that any producer agrees. */

const SEED = 0x9747b28c;
const M = 0x5bd1e995;
const R = 24;

/** org.apache.kafka.common.utils.Utils.murmur2: a signed 32-bit integer. */
export function murmur2(bytes: Uint8Array): number {
  const length = bytes.length;
  const words_end = length & ~3;
  let h = SEED ^ length;
  for (let at = 0; at < words_end; at += 4) {
    let k = bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24);
    k = Math.imul(k, M);
    k ^= k >>> R;
    h = Math.imul(h, M) ^ Math.imul(k, M);
  }
  const rest = length - words_end;
  if (rest === 3) h ^= bytes[words_end + 2]! << 16;
  if (rest >= 2) h ^= bytes[words_end + 1]! << 8;
  if (rest >= 1) h = Math.imul(h ^ bytes[words_end]!, M);
  h ^= h >>> 13;
  h = Math.imul(h, M);
  return h ^ (h >>> 15);
}

/** From 0. `host_id` is its UTF-8; `partitions` is the topic's count, which is fixed when a registry is made. */
export function partition_of(host_id: Uint8Array, partitions: number): number {
  return (murmur2(host_id) & 0x7fff_ffff) % partitions;
}
