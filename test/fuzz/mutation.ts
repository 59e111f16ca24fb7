/** What a damaged or hostile module may look like: a real one with bytes changed, from a number. */

/** A generator of numbers in [0, 1) whose every value follows from the seed. https://prng.di.unimi.it/splitmix64.c */
export function dice(seed: number): () => number {
  let state = BigInt.asUintN(64, BigInt(seed) * 0x9e37_79b9_7f4a_7c15n + 1n);
  return () => {
    state = BigInt.asUintN(64, state + 0x9e37_79b9_7f4a_7c15n);
    let mixed = state;
    mixed = BigInt.asUintN(64, (mixed ^ (mixed >> 30n)) * 0xbf58_476d_1ce4_e5b9n);
    mixed = BigInt.asUintN(64, (mixed ^ (mixed >> 27n)) * 0x94d0_49bb_1331_11ebn);
    return Number((mixed ^ (mixed >> 31n)) >> 11n) / 2 ** 53;
  };
}

const EXTREMES = [
  0n,
  1n,
  7n,
  0x7fffn,
  0xff00n,
  0xffffn,
  0x7fff_ffffn,
  0xffff_ffffn,
  1n << 53n,
  (1n << 63n) - 1n,
  (1n << 64n) - 1n,
];
const CHANGES_MAX = 8;

/** A copy of the module, changed. Half of the changes are where its headers and relocations are. */
export function mutated(module: Buffer, random: () => number): Buffer {
  const below = (count: number) => Math.floor(random() * count);
  let bytes = Buffer.from(module);
  const tables_at = Math.floor((module.length * 2) / 3);
  for (let changes = 1 + below(CHANGES_MAX); changes > 0; changes--) {
    const size = bytes.length;
    if (size < 16) break;
    const at = random() < 0.5 ? tables_at + below(Math.max(1, size - tables_at)) : below(size);
    switch (below(8)) {
      case 0:
        bytes = bytes.subarray(0, below(size));
        break;
      case 1:
        bytes[Math.min(at, size - 1)]! ^= 1 << below(8);
        break;
      case 2:
        bytes[Math.min(at, size - 1)] = below(256);
        break;
      case 3:
        // Fields are aligned: a whole one becomes an extreme.
        bytes.writeBigUInt64LE(EXTREMES[below(EXTREMES.length)]!, Math.min(at & ~7, size - 8));
        break;
      case 4:
        bytes.writeUInt32LE(Number(EXTREMES[below(8)]!), Math.min(at & ~3, size - 4));
        break;
      case 5: {
        // A field becomes another one of the file: offsets that exist, and are wrong.
        const from = below(size - 8) & ~7;
        bytes.copy(bytes, Math.min(at & ~7, size - 8), from, from + 8);
        break;
      }
      case 6: {
        const length = below(256);
        bytes.copy(bytes, below(size), Math.min(at, size), Math.min(at + length, size));
        break;
      }
      case 7:
        bytes.fill(below(2) * 0xff, Math.min(at, size), Math.min(at + below(64), size));
        break;
    }
  }
  return bytes;
}
