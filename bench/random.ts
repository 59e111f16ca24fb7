/** Numbers that are the same for the same seed: sfc32 (Chris Doty-Humphrey, PractRand; public domain). */

/** The next number, 0 to 2^32-1. */
export type Random = () => number;

export function random_from(seed: number): Random {
  let a = seed | 0;
  let b = 0x9e3779b9 | 0;
  let c = 0x243f6a88 | 0;
  let counter = 1;
  const random = () => {
    const sum = (((a + b) | 0) + counter) | 0;
    counter = (counter + 1) | 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) | 0;
    c = (((c << 21) | (c >>> 11)) + sum) | 0;
    return sum >>> 0;
  };
  for (let i = 0; i < 15; i++) random();
  return random;
}
