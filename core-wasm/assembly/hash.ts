// The two hashes: Kafka's murmur2, which decides a host's partition, and MurmurHash64A (Austin Appleby, public
// domain) for tables and for telling one event's bytes from another's.

/** org.apache.kafka.common.utils.Utils.murmur2: what Kafka's Java client partitions keys by. */
export function murmur2(at: usize, length: u32): u32 {
  const M: u32 = 0x5bd1e995;
  let h: u32 = 0x9747b28c ^ length;
  const whole = length & ~3;
  for (let i: u32 = 0; i < whole; i += 4) {
    let k = load<u32>(at + i) * M;
    k ^= k >> 24;
    h = (h * M) ^ (k * M);
  }
  const rest = length & 3;
  if (rest != 0) {
    if (rest == 3) h ^= <u32>load<u8>(at + whole, 2) << 16;
    if (rest >= 2) h ^= <u32>load<u8>(at + whole, 1) << 8;
    h ^= <u32>load<u8>(at + whole);
    h *= M;
  }
  h ^= h >> 13;
  h *= M;
  return h ^ (h >> 15);
}

/** The partition of a host: `(murmur2(host id) & 0x7fffffff) % partitions`, as Kafka's Java client. */
@inline
export function partition_of(at: usize, length: u32, partitions: u32): u32 {
  return (murmur2(at, length) & 0x7fffffff) % partitions;
}

export function murmur64(at: usize, length: u32, seed: u64): u64 {
  const M: u64 = 0xc6a4a7935bd1e995;
  let h: u64 = seed ^ (<u64>length * M);
  const whole = length & ~7;
  for (let i: u32 = 0; i < whole; i += 8) {
    let k = load<u64>(at + i) * M;
    k ^= k >> 47;
    h = (h ^ (k * M)) * M;
  }
  const rest = length & 7;
  if (rest != 0) {
    let tail: u64 = 0;
    // The last eight bytes have the rest as their high ones.
    if (whole != 0) tail = load<u64>(at + length - 8) >> (64 - (<u64>rest << 3));
    else for (let i: u32 = 0; i < rest; i++) tail |= <u64>load<u8>(at + i) << (<u64>i << 3);
    h = (h ^ tail) * M;
  }
  h ^= h >> 47;
  h *= M;
  return h ^ (h >> 47);
}

/** 32 bits of MurmurHash64A: the tag of a hash index. */
@inline
export function tag_of(at: usize, length: u32, seed: u64): u32 {
  return <u32>(murmur64(at, length, seed) >> 32);
}
