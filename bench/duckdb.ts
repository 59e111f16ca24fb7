/** DuckDB as a peer of the check: the same stacks as a table, and the same question in SQL. */
import { once } from "node:events";
import { createWriteStream, mkdtempSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { finished } from "node:stream/promises";
import { fileURLToPath } from "node:url";
import type { HostileCandidate } from "./hostile.js";
import { type Run, timed_until } from "./measure.js";

/** Of @duckdb/node-api, what is used of it. */
interface Connection {
  run(sql: string): Promise<unknown>;
  runAndReadAll(sql: string): Promise<{ getRows(): unknown[][] }>;
}
interface DuckDB {
  DuckDBInstance: { create(path: string): Promise<{ connect(): Promise<Connection> }> };
}

export interface DuckDBPeer {
  /** The fastest of the queries, and what it says; both say the same. */
  run(candidate: HostileCandidate): Promise<{ run: Run; refused: number }>;
}

const ROWS_AT_ONCE = 10_000;

/** Null: it is not installed. `stacks` as hostile.ts makes them. */
export async function start_duckdb(stacks: readonly Uint16Array[]): Promise<DuckDBPeer | null> {
  // Seen from dist/bench/; its packages are in bench/ only.
  const require = createRequire(fileURLToPath(new URL("../../bench/package.json", import.meta.url)));
  let duckdb: DuckDB;
  try {
    duckdb = require("@duckdb/node-api") as DuckDB;
  } catch {
    return null;
  }
  const connection = await (await duckdb.DuckDBInstance.create(":memory:")).connect();
  const columns = stacks.map((_, k) => `s${k} UTINYINT, v${k} UTINYINT`);
  await connection.run(`CREATE TABLE fleet (host UINTEGER, ${columns.join(", ")})`);
  const directory = mkdtempSync(join(tmpdir(), "klpstate-bench-"));
  try {
    const path = join(directory, "stacks.csv");
    await write_csv(path, stacks);
    await connection.run(`COPY fleet FROM '${path}' (HEADER false)`);
  } finally {
    rmSync(directory, { recursive: true });
  }
  const entries = stacks.map((_, k) => `SELECT host, s${k} AS state, v${k} AS version FROM fleet`);
  await connection.run(`CREATE TABLE entries AS ${entries.join(" UNION ALL ")}`);
  return {
    async run({ replace, offered }) {
      // The highest version that may be held; 255 where any may.
      const limits = offered.map((version) => (version > 0 ? version : replace ? 0 : 255));
      const list = `[${limits.join(", ")}]::UTINYINT[]`;
      const wide = stacks.map((_, k) => `v${k} > (${list})[s${k} + 1]`).join(" OR ");
      await connection.run("CREATE OR REPLACE TABLE candidate (state UTINYINT, version UTINYINT)");
      await connection.run(
        `INSERT INTO candidate VALUES ${limits.map((version, state) => `(${state}, ${version})`).join(", ")}`,
      );
      const queries = [
        `SELECT count(*) FROM fleet WHERE ${wide}`,
        "SELECT count(DISTINCT host) FROM entries JOIN candidate USING (state) WHERE entries.version > candidate.version",
      ];
      const told: { run: Run; refused: number }[] = [];
      for (const query of queries) {
        let refused = 0;
        const run = await timed_until(async () => {
          refused = Number((await connection.runAndReadAll(query)).getRows()[0]![0]);
        });
        told.push({ run, refused });
      }
      const [first, second] = told;
      if (first!.refused !== second!.refused) throw new Error("two queries of DuckDB disagree");
      return first!.run.seconds < second!.run.seconds ? first! : second!;
    },
  };
}

async function write_csv(path: string, stacks: readonly Uint16Array[]): Promise<void> {
  const file = createWriteStream(path);
  const hosts = stacks[0]!.length;
  for (let from = 0; from < hosts; from += ROWS_AT_ONCE) {
    const lines: string[] = [];
    for (let host = from; host < Math.min(hosts, from + ROWS_AT_ONCE); host++) {
      const fields = stacks.map((column) => `${column[host]! >> 8},${column[host]! & 255}`);
      lines.push(`${host},${fields.join(",")}\n`);
    }
    if (!file.write(lines.join(""))) await once(file, "drain");
  }
  file.end();
  await finished(file);
}
