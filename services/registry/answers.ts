/**
 * The documents that klpstate answers with: the CLI's `--json` and the HTTP API give the same ones.
 *
 * Written as zod schemas, so that types, validation and the OpenAPI document come from one place.
 * 64-bit integers are decimal strings, bytes are lower-case hex, times are RFC 3339 UTC with milliseconds,
 * a fact that is not known is null.
 */
import { z } from "@hono/zod-openapi";

const U64 = z.string().regex(/^\d+$/).describe("unsigned 64-bit integer, decimal");
const U32 = z.number().int().min(0).max(0xffffffff);
const Time = z.string().describe("RFC 3339, UTC, milliseconds");
const Hex = z.string().regex(/^[0-9a-f]*$/);
const Count = z.number().int().min(0);

export const PhaseName = z.enum(["enabling", "enabled", "disabling"]);
export const KnowledgeName = z.enum(["complete", "gap", "unreadable", "no_baseline", "disputed"]);
export const LivepatchingName = z.enum(["supported", "not_built"]);

/** Next offset of each partition: how much of its log the answer has seen. */
export const Positions = z.record(z.string(), U64);

/** The instants and the positions that an answer is a function of. */
export const At = z.object({
  as_of: Time,
  known_at: Time.nullable().describe("null: all that is known now"),
  position: Positions,
  catalog: U64.describe("next offset of the catalog's log"),
});

export const Ack = z.object({
  positions: Positions,
  hosts: z.array(
    z.object({
      host_id: z.string(),
      next_sequence: U64.nullable().describe(
        "null, as the two below: the events are stored, and what the registry then has of the host was not told in time",
      ),
      knowledge: KnowledgeName.nullable(),
      effective_time: Time.nullable(),
    }),
  ),
});

export const StateEntry = z.object({ id: U64, version: U32 });

export const Policy = z.object({
  modules_disabled: z.boolean(),
  signature_required: z.boolean(),
  ftrace_off: z.boolean(),
});

export const Reference = z.object({ name: z.string(), build_id: Hex.nullable() });

/** Where an event stands: its record's offset in the partition's log, and its index in the record. */
export const EventPosition = z.object({ partition: z.number().int(), offset: U64, index: Count });

export const HostAnswer = z.object({
  host_id: z.string(),
  partition: z.number().int(),
  kernel_release: z.string().nullable(),
  arch: z.string().nullable(),
  boot_id: Hex.nullable(),
  boot_time: Time.nullable(),
  stream: U64,
  sequence: U64,
  livepatching: LivepatchingName.nullable(),
  knowledge: KnowledgeName,
  forced: z.boolean(),
  policy: Policy,
  stack: z.array(
    z.object({
      name: z.string(),
      build_id: Hex.nullable(),
      phase: PhaseName,
      since: Time.describe("when it came to the stack, as far as the history tells"),
      event: EventPosition.describe("the event that put it there"),
      manifest: z.enum(["known", "missing", "ambiguous"]),
      states: z.array(StateEntry).nullable().describe("null where the manifest or its states are not known"),
    }),
  ),
  lingering: z.array(Reference.extend({ pinned: z.boolean() })),
  warnings: z.array(z.enum(["forced", "built_for_other_kernel"])),
  last_event: Time,
  stale: z.boolean(),
  uncertain: z.boolean(),
  at: At,
});

export const HistoryEntry = z
  .object({
    position: EventPosition,
    log_time: Time,
    time: Time,
    effective_time: Time,
    stream: U64,
    sequence: U64,
    change: z.string().describe("the change's name in the schema; its fields stand beside it"),
    effect: z.enum(["applied", "repeated", "stale", "foreign"]),
    anomalies: z.array(z.string()),
    stack: z.array(z.string()).describe("names on the stack after the event, oldest first"),
    knowledge: KnowledgeName,
    states: z.array(
      z.object({
        id: U64,
        change: z.enum(["declared", "taken_over", "updated", "withdrawn", "returned", "undone", "lost"]),
        from: U32.nullable(),
        to: U32.nullable(),
        patch: z.string(),
      }),
    ),
  })
  .catchall(z.unknown());

/** Verdicts in their order of precedence; docs/rules.md has the table. */
export const VerdictName = z.enum([
  "unknown",
  "unsupported",
  "other_kernel",
  "blocked",
  "done",
  "name_taken",
  "incompatible",
  "busy",
  "ok",
]);

export const Conflict = z.object({
  state: U64,
  holder: z.string(),
  held: U32,
  offered: U32.nullable().describe("null: the candidate replaces and lacks the state"),
  transient: z.boolean().describe("the holder is leaving"),
  first: z.boolean().describe("false: an installed patch without manifest stands before it"),
});

export const CheckAnswer = z.object({
  candidate: Reference,
  hosts: z.object({
    total: Count,
    ok: Count,
    done: Count,
    busy: Count,
    incompatible: Count,
    name_taken: Count,
    blocked: Count,
    other_kernel: Count,
    unsupported: Count,
    unknown: Count,
    stale: Count,
    uncertain: Count,
  }),
  reasons: z.record(z.string(), z.record(z.string(), Count)),
  conflicts: z.array(Conflict.extend({ hosts: Count })),
  replaces: z.array(z.object({ patches: z.array(z.string()), hosts: Count })),
  unresolved: z.array(
    Reference.extend({ manifest: z.enum(["missing", "ambiguous", "states_unknown"]), hosts: Count }),
  ),
  warnings: z.object({ forced: Count, irreversible: Count, built_for_other_kernel: Count }),
  complete: z.boolean(),
  missing_partitions: z.array(z.number().int()),
  at: At,
});

/** Of many candidates: of each the counts of a check, of all the same instants and positions. */
export const BatchAnswer = z.object({
  checks: z
    .array(CheckAnswer.pick({ candidate: true, hosts: true, reasons: true, warnings: true }))
    .describe("in the order of the question; what a check of one tells besides is not looked for"),
  ...CheckAnswer.pick({ complete: true, missing_partitions: true, at: true }).shape,
});

export const HostVerdict = z.object({
  host_id: z.string(),
  verdict: VerdictName,
  reason: z.string().nullable(),
  conflict: Conflict.extend({
    since: Time.optional().describe("where one host is asked for: when its holder came to the stack"),
    event: EventPosition.optional().describe("likewise: the event that put it there"),
  }).nullable(),
  unresolved: Reference.extend({ manifest: z.enum(["missing", "ambiguous", "states_unknown"]) }).nullable(),
  replaces: z.array(z.string()),
  warnings: z.array(z.enum(["forced", "irreversible", "built_for_other_kernel"])),
  stale: z.boolean(),
  uncertain: z.boolean(),
});

/** `state HOST ID`: who holds a state, in stack order, every entry. */
export const StateAnswer = z.object({
  host_id: z.string(),
  state: U64,
  holders: z.array(
    z.object({
      patch: z.string(),
      build_id: Hex.nullable(),
      phase: PhaseName,
      versions: z.array(U32).describe("every entry of the id, in array order; the kernel looks up the first"),
    }),
  ),
  minimum_version: U32.nullable().describe(
    "lowest version that the kernel accepts of a candidate; null: no holder",
  ),
  lookup: z
    .object({
      kind: z.enum(["of", "prev_of"]),
      patch: z.string(),
      found: z.object({ patch: z.string(), version: U32 }).nullable(),
    })
    .nullable()
    .describe("klp_get_state or klp_get_prev_state, where asked for"),
  unresolved: z.array(z.string()).describe("patches on the stack whose states are not known"),
  at: At,
});

export const FleetRow = z.object({
  kernel_release: z.string().nullable(),
  arch: z.string().nullable(),
  livepatching: LivepatchingName.nullable(),
  policy: Policy,
  stack: z.array(Reference.extend({ phase: PhaseName })),
  lingering: z.array(Reference.extend({ pinned: z.boolean() })),
  knowledge: KnowledgeName,
  forced: z.boolean(),
  warnings: z.array(z.enum(["forced", "built_for_other_kernel"])),
  hosts: Count,
});

/** A host's canonical state, of which digests are made. */
export const HostState = FleetRow.omit({ warnings: true, hosts: true }).extend({
  host_id: z.string(),
  stream: U64,
  sequence: U64,
});

export const SnapshotsAnswer = z.object({
  snapshots: Count.describe("made now"),
  partitions: z
    .array(
      z.object({
        partition: z.number().int(),
        next: U64.describe("what the snapshot has: records below this offset"),
        log_time: Time.describe("of the last of them"),
      }),
    )
    .describe("of which one was made; those that have nothing new are left out"),
  failed: z.array(z.object({ partition: z.number().int(), reason: z.string() })),
});

export const ReplayAnswer = z.object({
  digest: z.string().nullable().describe("of all that was replayed; null where a part of it is damaged"),
  fold_version: z.number().int(),
  partitions: z.array(
    z.object({
      partition: z.number().int(),
      first: U64,
      next: U64,
      hosts: Count,
      digest: z.string().nullable().describe("null where the log is damaged"),
      events: Count,
      matches: z
        .boolean()
        .nullable()
        .describe("whether the digest is the live state's; null: nothing to compare with"),
      damaged: z
        .string()
        .nullable()
        .describe(
          "why the log cannot be folded to its end: file, byte, offset; what is before it is counted",
        ),
      broken: z.string().nullable().describe("why nothing of the live partition is served"),
      difference: z
        .object({
          next: U64.describe("both states are those at this next offset"),
          host_id: z.string().describe("the first that differs, in the order of the partition's hosts"),
          hosts_differing: Count,
          live: HostState.nullable().describe("null: the host is not there"),
          replayed: HostState.nullable(),
        })
        .nullable()
        .describe("null also where no host differed any more when it was looked for"),
    }),
  ),
  matches: z
    .boolean()
    .nullable()
    .describe(
      "false: a partition differs, is damaged or broken; null: the end asked for is not the live one",
    ),
});

const ManifestRecord = z.object({
  offset: U64.describe("of the catalog's record"),
  time: Time.describe("when the record was written"),
  manifest: z.record(z.string(), z.unknown()).describe("its JSON form, as it can be published again"),
});

/** One manifest of the catalog: what was published, and whether it still counts. */
export const PatchEntry = ManifestRecord.extend({
  withdrawn: z.object({ offset: U64, time: Time, reason: z.string(), by: z.string() }).nullable(),
  refused: z.array(ManifestRecord).describe("others that claimed the same identity later"),
});

export const Published = z.object({
  outcome: z.enum(["published", "known"]).describe("known: an identical one was there"),
  offset: U64,
  identity: z.object({
    name: z.string(),
    kernel_release: z.string(),
    arch: z.string(),
    build_id: Hex.nullable(),
  }),
});

export const Withdrawal = z.object({ offset: U64 });

export type EventPosition = z.infer<typeof EventPosition>;
export type Positions = z.infer<typeof Positions>;
export type At = z.infer<typeof At>;
export type Ack = z.infer<typeof Ack>;
export type HostAnswer = z.infer<typeof HostAnswer>;
export type HistoryEntry = z.infer<typeof HistoryEntry>;
export type VerdictName = z.infer<typeof VerdictName>;
export type Conflict = z.infer<typeof Conflict>;
export type CheckAnswer = z.infer<typeof CheckAnswer>;
export type BatchAnswer = z.infer<typeof BatchAnswer>;
export type HostVerdict = z.infer<typeof HostVerdict>;
export type StateAnswer = z.infer<typeof StateAnswer>;
export type FleetRow = z.infer<typeof FleetRow>;
export type HostState = z.infer<typeof HostState>;
export type ReplayAnswer = z.infer<typeof ReplayAnswer>;
export type SnapshotsAnswer = z.infer<typeof SnapshotsAnswer>;
export type PatchEntry = z.infer<typeof PatchEntry>;
export type Published = z.infer<typeof Published>;
export type Withdrawal = z.infer<typeof Withdrawal>;
