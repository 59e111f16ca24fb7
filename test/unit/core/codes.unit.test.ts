/** The names of the core's numbers are in the order of its sources, of the schema, and of the rules. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import * as codes from "#services/core/codes.js";
import { MEMORY_BYTES_MAX } from "#services/core/core.js";
import * as limits from "#services/events/limits.js";
import { klpstate } from "#services/events/proto.js";
import { RECORD_ERRORS } from "#services/events/record_error.js";
import { ENUMS, MESSAGES } from "#services/events/schema.js";
import { PARTITIONS_MAX } from "#services/log/registry_file.js";
import { ANOMALIES, KNOWLEDGE } from "../../model/fold.js";

const SOURCES = join(import.meta.dirname, "../../../core-wasm/assembly");

/** Every `const NAME: u32 = …` of a source whose value is a number, a product or a shift of numbers. */
function constants(source: string): Map<string, number> {
  const text = readFileSync(join(SOURCES, source), "utf8");
  const found = text.matchAll(/^(?:export )?const (\w+): u32 = (\d+)(?: (\*|<<|-) (\d+))?;/gm);
  return new Map(
    Array.from(found, ([, name, a, operator, b]) => {
      if (operator === "*") return [name!, Number(a) * Number(b)];
      if (operator === "<<") return [name!, Number(a) << Number(b)];
      if (operator === "-") return [name!, Number(a) - Number(b)];
      return [name!, Number(a)];
    }),
  );
}

function value(of: Map<string, number>, name: string): number {
  if (!of.has(name)) throw new Error(`the sources have no constant ${name}`);
  return of.get(name)!;
}

const chain = constants("chain.ts");
const changes = constants("changes.ts");
const configurations = constants("configurations.ts");
const check = constants("check.ts");
const record = constants("record.ts");

describe("the names of the core's numbers", () => {
  test("effects are those of chain.ts", () => {
    const own_names: Partial<Record<string, string>> = { stale: "STALE_EFFECT" };
    expect(codes.EFFECTS.map((name) => value(chain, own_names[name] ?? name.toUpperCase()))).toEqual([
      0, 1, 2, 3,
    ]);
  });

  test("anomalies are the bits of changes.ts, in the rules' order", () => {
    const own_names: Partial<Record<string, string>> = { gap: "GAP_SEEN" };
    expect(codes.ANOMALIES.map((name) => value(changes, own_names[name] ?? name.toUpperCase()))).toEqual(
      codes.ANOMALIES.map((_, bit) => 1 << bit),
    );
    expect(codes.ANOMALIES).toEqual(ANOMALIES);
    expect([...ENUMS.Anomaly.number_of]).toEqual(
      ["unspecified", ...codes.ANOMALIES].map((name, i) => [name, i]),
    );
  });

  test("phases, knowledge and livepatching are those of configurations.ts and of the schema", () => {
    const { Phase, Knowledge, Livepatching } = klpstate.v1;
    for (const [number, name] of codes.PHASES.entries()) {
      if (number > 0) expect(value(configurations, name.toUpperCase())).toBe(number);
      const of_schema = number === 0 ? "PHASE_UNSPECIFIED" : name.toUpperCase();
      expect(Phase[of_schema as keyof typeof Phase]).toBe(number);
    }
    for (const [number, name] of codes.KNOWLEDGE.entries()) {
      if (number > 0) expect(value(configurations, name.toUpperCase())).toBe(number);
      const own_names = ["KNOWLEDGE_UNSPECIFIED", "COMPLETE", "GAP", "KNOWLEDGE_UNREADABLE"];
      expect(Knowledge[(own_names[number] ?? name.toUpperCase()) as keyof typeof Knowledge]).toBe(number);
    }
    expect(codes.KNOWLEDGE.slice(1)).toEqual(KNOWLEDGE);
    for (const [number, name] of codes.LIVEPATCHING.entries()) {
      if (name !== null) expect(Livepatching[name.toUpperCase() as keyof typeof Livepatching]).toBe(number);
    }
    expect(value(configurations, "NOT_BUILT")).toBe(codes.LIVEPATCHING.indexOf("not_built"));
    expect(value(changes, "UNREADABLE_LIVEPATCHING")).toBe(Livepatching.UNREADABLE);
  });

  test("verdicts, reasons and warnings are those of check.ts", () => {
    expect(codes.VERDICTS.map((name) => value(check, name.toUpperCase()))).toEqual(
      codes.VERDICTS.map((_, number) => number),
    );
    for (const [number, name] of codes.REASONS.entries()) {
      // `stale` is the answer of who asks with an age.
      if (name === "stale") continue;
      expect(value(check, name === null ? "NO_REASON" : `BY_${name.toUpperCase()}`)).toBe(number);
    }
    expect(
      [...check].filter(([name]) => name.startsWith("BY_") && !name.startsWith("BY_CONFIGURATION")).length,
    ).toBe(codes.REASONS.length - 2);
    expect(codes.WARNINGS.map((name) => value(check, `WARN_${name.toUpperCase()}`))).toEqual(
      codes.WARNINGS.map((_, bit) => 1 << bit),
    );
  });

  test("errors of records are those of record.ts", () => {
    expect(RECORD_ERRORS.map((name) => value(record, name.toUpperCase()))).toEqual(
      RECORD_ERRORS.map((_, number) => number),
    );
  });
});

describe("what the core's sources repeat", () => {
  test("changes have the schema's field numbers", () => {
    const own_names: Partial<Record<string, string>> = {
      disabling: "DISABLING_CHANGE",
      forced: "FORCED_CHANGE",
    };
    for (const { name, number, label } of MESSAGES.HostEvent) {
      if (label === "change") expect(value(record, own_names[name] ?? name.toUpperCase()), name).toBe(number);
    }
  });

  test("limits are those of the formats", () => {
    const of_core = [
      value(record, "EVENTS_MAX"),
      value(record, "RECORD_BYTES_MAX"),
      value(record, "HOST_ID_BYTES_MAX"),
      value(record, "NAME_BYTES_MAX"),
      value(record, "BUILD_ID_BYTES_MAX"),
      value(record, "KERNEL_BYTES_MAX"),
      value(record, "LINE_BYTES_MAX"),
      value(configurations, "STACK_MAX"),
      value(configurations, "LINGERING_MAX"),
      value(constants("cut.ts"), "CUT_BYTES"),
      value(constants("cut.ts"), "PARTITIONS_MAX"),
    ];
    expect(of_core).toEqual([
      limits.RECORD_EVENTS_MAX,
      limits.RECORD_BYTES_MAX,
      limits.HOST_ID_BYTES_MAX,
      limits.PATCH_NAME_BYTES_MAX,
      limits.BUILD_ID_BYTES_MAX,
      limits.KERNEL_RELEASE_BYTES_MAX,
      limits.REFUSED_LINE_BYTES_MAX,
      limits.STACK_ENTRIES_MAX,
      limits.LINGERING_ENTRIES_MAX,
      limits.RECORD_CUT_BYTES,
      PARTITIONS_MAX,
    ]);
    expect(limits.ARCH_BYTES_MAX).toBe(limits.KERNEL_RELEASE_BYTES_MAX);
    expect(MEMORY_BYTES_MAX).toBe(value(constants("memory.ts"), "PAGES_MAX") * 65_536);
  });
});
