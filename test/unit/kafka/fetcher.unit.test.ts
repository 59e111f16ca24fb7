// Records cross from the thread that fetches to the shard's as they are.
import fc from "fast-check";
import { expect, test } from "vitest";
import { pack, unpack } from "#services/kafka/fetcher.js";

test("what is packed comes out as it went in", () => {
  const record = fc.record({
    gap: fc.integer({ min: 1, max: 1_000_000 }),
    log_time_ms: fc.integer({ min: 0, max: 2 ** 48 }),
    bytes: fc.uint8Array({ maxLength: 40 }),
  });
  fc.assert(
    fc.property(
      fc.bigInt({ min: 0n, max: 2n ** 62n }),
      fc.array(record, { minLength: 1 }),
      (first_offset, records) => {
        let delta = 0;
        const deltas = records.map(({ gap }, i) => {
          if (i > 0) delta += gap;
          return delta;
        });
        const columns = {
          first_offset,
          deltas,
          log_times_ms: records.map(({ log_time_ms }) => log_time_ms),
          bytes: records.map(({ bytes }) => bytes),
        };
        const out = unpack(pack(columns));
        expect({ ...out, bytes: out.bytes.map((bytes) => Uint8Array.from(bytes)) }).toEqual(columns);
      },
    ),
  );
});
