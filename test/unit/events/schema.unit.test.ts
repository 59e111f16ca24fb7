import protobuf from "protobufjs";
import { describe, expect, it } from "vitest";
import { ENUMS, MESSAGES } from "#services/events/schema.js";

const root = new protobuf.Root();
root.resolvePath = (_origin, target) => (target.startsWith("proto/") ? target : `proto/${target}`);
root
  .loadSync(["proto/klpstate/v1/event.proto", "proto/klpstate/v1/manifest.proto"], { keepCase: true })
  .resolveAll();

describe("the table of fields is the .proto's", () => {
  it.each(Object.entries(MESSAGES))("%s", (message, table) => {
    const fields = root.lookupType(`klpstate.v1.${message}`).fieldsArray.map((field) => ({
      number: field.id,
      name: field.name,
      type: field.type,
      label: field.repeated
        ? "repeated"
        : field.partOf?.name.startsWith("_")
          ? "optional"
          : (field.partOf?.name ?? undefined),
    }));
    expect(table).toEqual(fields.sort((a, b) => a.number - b.number));
  });

  it("has every message that an event or a manifest can hold", () => {
    const held = Object.values(MESSAGES).flatMap((fields) => fields.map(({ type }) => type));
    const scalars = ["string", "bytes", "bool", "uint32", "uint64", "fixed64"];
    const known = [...Object.keys(MESSAGES), ...Object.keys(ENUMS), ...scalars];
    expect(held.filter((type) => !known.includes(type))).toEqual([]);
  });
});

describe("enums in JSON", () => {
  it("are lower-case names without the enum's own name before them", () => {
    expect([...ENUMS.Livepatching.number_of]).toEqual([
      ["unspecified", 0],
      ["supported", 1],
      ["not_built", 2],
      ["unreadable", 3],
    ]);
    expect(ENUMS.Source.number_of.get("kernel_log")).toBe(1);
  });

  it("a phase is never unspecified", () => {
    expect([...ENUMS.Phase.number_of.keys()]).toEqual(["enabling", "enabled", "disabling"]);
  });
});
