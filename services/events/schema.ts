/**
 * The fields of the messages that have a JSON form or are checked byte by byte: one table for reading JSON, writing
 * JSON and scanning protobuf. The generated static code has no reflection; a test compares this table with the .proto.
 */
import { klpstate } from "./proto.js";

export type Scalar = "string" | "bytes" | "bool" | "uint32" | "uint64" | "fixed64";
export type EnumName =
  | "Livepatching"
  | "Phase"
  | "Source"
  | "Reason"
  | "Kind"
  | "Builder"
  | "Knowledge"
  | "Anomaly"
  | "LifeChange";
export type ChangeName = NonNullable<klpstate.v1.HostEvent["change"]>;
type ChangeMessage =
  | "Observed"
  | "Loading"
  | "Loaded"
  | "Replaced"
  | "Disabling"
  | "Disabled"
  | "Reversed"
  | "Forced"
  | "Refused"
  | "Removed"
  | "Stalled"
  | "ObjectChanged";
type PartMessage =
  | "Patch"
  | "StackEntry"
  | "Lingering"
  | "Policy"
  | "Loss"
  | "Task"
  | "State"
  | "Function"
  | "Signature";
export type MessageName = "HostEvent" | ChangeMessage | PartMessage | "Manifest";
/** `change`: a member of HostEvent's oneof of that name. `optional`: absent and default are different. */
export type Label = "repeated" | "optional" | "change";

export interface Field {
  readonly number: number;
  readonly name: string;
  readonly type: Scalar | EnumName | MessageName;
  readonly label: Label | undefined;
}

function field(number: number, name: string, type: Field["type"], label?: Label): Field {
  return { number, name, type, label };
}

const patch = field(1, "patch", "Patch");

/** In the order of the field numbers, which is that of the JSON form. */
export const MESSAGES: Readonly<Record<MessageName, readonly Field[]>> = {
  HostEvent: [
    field(1, "host_id", "string"),
    field(2, "stream", "fixed64"),
    field(3, "sequence", "uint64"),
    field(4, "time_unix_ms", "uint64"),
    field(5, "not_before_unix_ms", "uint64"),
    field(16, "observed", "Observed", "change"),
    field(17, "loading", "Loading", "change"),
    field(18, "loaded", "Loaded", "change"),
    field(19, "replaced", "Replaced", "change"),
    field(20, "disabling", "Disabling", "change"),
    field(21, "disabled", "Disabled", "change"),
    field(22, "reversed", "Reversed", "change"),
    field(23, "forced", "Forced", "change"),
    field(24, "refused", "Refused", "change"),
    field(25, "removed", "Removed", "change"),
    field(26, "stalled", "Stalled", "change"),
    field(27, "object_changed", "ObjectChanged", "change"),
  ],
  Patch: [field(1, "name", "string"), field(2, "build_id", "bytes")],
  Observed: [
    field(1, "kernel_release", "string"),
    field(2, "arch", "string"),
    field(3, "boot_id", "bytes"),
    field(4, "boot_time_unix_s", "uint64"),
    field(5, "livepatching", "Livepatching"),
    field(6, "stack", "StackEntry", "repeated"),
    field(7, "lingering", "Lingering", "repeated"),
    field(8, "policy", "Policy"),
    field(9, "losses", "Loss", "repeated"),
  ],
  StackEntry: [patch, field(2, "phase", "Phase"), field(3, "replace", "bool", "optional")],
  Lingering: [patch, field(2, "pinned", "bool")],
  Policy: [
    field(1, "modules_disabled", "bool"),
    field(2, "signature_required", "bool"),
    field(3, "ftrace_off", "bool"),
  ],
  Loss: [field(1, "source", "Source"), field(2, "from_unix_ms", "uint64"), field(3, "to_unix_ms", "uint64")],
  Loading: [patch, field(2, "replace", "bool", "optional")],
  Loaded: [patch, field(2, "replace", "bool", "optional")],
  Replaced: [patch, field(2, "left", "Patch", "repeated")],
  Disabling: [patch],
  Disabled: [patch],
  Removed: [patch],
  Reversed: [patch, field(2, "to", "Phase")],
  Forced: [patch, field(2, "phase", "Phase")],
  Refused: [patch, field(2, "reason", "Reason"), field(3, "errno", "string"), field(4, "line", "string")],
  Stalled: [patch, field(2, "tasks", "Task", "repeated"), field(3, "tasks_total", "uint32")],
  Task: [field(1, "pid", "uint32"), field(2, "comm", "string"), field(3, "kthread", "bool")],
  ObjectChanged: [patch, field(2, "object", "string"), field(3, "kind", "Kind")],
  Manifest: [
    field(1, "name", "string"),
    field(2, "kernel_release", "string"),
    field(3, "arch", "string"),
    field(4, "build_id", "bytes"),
    field(5, "replace", "bool"),
    field(6, "states", "State", "repeated"),
    field(7, "functions", "Function", "repeated"),
    field(8, "vermagic", "string"),
    field(9, "srcversion", "string"),
    field(10, "signature", "Signature"),
    field(11, "has_exit", "bool"),
    field(12, "builder", "Builder"),
    field(13, "advisories", "string", "repeated"),
    field(14, "released_unix_s", "uint64"),
    field(15, "notes", "string"),
    field(16, "irreversible", "string"),
    field(17, "states_unknown", "bool"),
  ],
  Signature: [field(1, "present", "bool"), field(2, "signer", "string"), field(3, "digest", "string")],
  State: [field(1, "id", "uint64"), field(2, "version", "uint32"), field(3, "has_data", "bool")],
  Function: [field(1, "object", "string"), field(2, "name", "string"), field(3, "position", "uint64")],
};

export const CHANGES = MESSAGES.HostEvent.filter(({ label }) => label === "change").map(
  ({ name }) => name as ChangeName,
);

/** The event's change; null where this version knows none. Also for plain objects, which have no `change` getter. */
export function change_of(event: klpstate.v1.HostEvent.$Properties): ChangeName | null {
  return CHANGES.find((name) => event[name] !== null && event[name] !== undefined) ?? null;
}

export function is_message(type: Field["type"]): type is MessageName {
  return Object.hasOwn(MESSAGES, type);
}

/** Enums whose unknown and unspecified values make an event invalid; the others are open. RULES F7. */
const CLOSED_ENUMS: ReadonlySet<EnumName> = new Set(["Phase"]);

export interface EnumForm {
  /** Number of each JSON name: `kernel_log` is 1. */
  readonly number_of: ReadonlyMap<string, number>;
  readonly name_of: ReadonlyMap<number, string>;
  readonly closed: boolean;
}

/** JSON names are the proto's in lower case, without the enum's own name before them. */
function enum_form(name: EnumName): EnumForm {
  const own_name = `${name.replace(/(?<=[a-z])(?=[A-Z])/g, "_").toUpperCase()}_`;
  const number_of = new Map<string, number>();
  const name_of = new Map<number, string>();
  const closed = CLOSED_ENUMS.has(name);
  for (const [key, number] of Object.entries(klpstate.v1[name]) as [string, number][]) {
    const json_name = (key.startsWith(own_name) ? key.slice(own_name.length) : key).toLowerCase();
    if (!(closed && number === 0)) number_of.set(json_name, number);
    name_of.set(number, json_name);
  }
  return { number_of, name_of, closed };
}

export const ENUMS: Readonly<Record<EnumName, EnumForm>> = {
  Livepatching: enum_form("Livepatching"),
  Phase: enum_form("Phase"),
  Source: enum_form("Source"),
  Reason: enum_form("Reason"),
  Kind: enum_form("Kind"),
  Builder: enum_form("Builder"),
  Knowledge: enum_form("Knowledge"),
  Anomaly: enum_form("Anomaly"),
  LifeChange: enum_form("LifeChange"),
};

export function is_enum(type: Field["type"]): type is EnumName {
  return Object.hasOwn(ENUMS, type);
}
