/** The catalog: what patches are. */
import { createRoute, type OpenAPIHono, z } from "@hono/zod-openapi";
import { manifest_from_json, manifest_to_json } from "../events/json.js";
import { parse_json } from "../events/strict_json.js";
import { format_time } from "../events/time.js";
import { PatchEntry, Published, Withdrawal } from "../registry/answers.js";
import type { CatalogEntry, PublishOutcome, RegistryService } from "../registry/service.js";
import { read_body, require_media_type, text_of } from "./body.js";
import { BodyRoom } from "./body_room.js";
import { message_schema } from "./event_schema.js";
import {
  answer_list,
  bad_cursor,
  list_content,
  nothing_missing,
  PAGE_PARAMETERS,
  parse_limit,
} from "./lists.js";
import {
  POSITION_PARAMETERS,
  parse_patch_name,
  refuse_first_issue,
  wait_for_position,
} from "./parameters.js";
import { PROBLEM_RESPONSES } from "./problem_responses.js";

/** 65,536 functions with names as long as the kernel's longest symbols take about half of it. */
const MANIFEST_BODY_BYTES_MAX = 16 * 1024 * 1024;
const WITHDRAWAL_BODY_BYTES_MAX = 64 * 1024;
const REASON_BYTES_MAX = 1_024;
const BY_BYTES_MAX = 255;

const EntryDocument = PatchEntry.openapi("Patch");

const text_up_to = (bytes_max: number) =>
  z
    .string()
    .min(1)
    .refine((text) => Buffer.byteLength(text, "utf8") <= bytes_max, `longer than ${bytes_max} bytes`);

const WithdrawRequest = z
  .strictObject({
    name: z.string(),
    kernel_release: z.string(),
    arch: z.string(),
    build_id: z
      .string()
      .regex(/^([0-9a-f]{2})*$/)
      .optional()
      .describe("absent where the manifest has none"),
    reason: text_up_to(REASON_BYTES_MAX),
    by: text_up_to(BY_BYTES_MAX).describe("who withdraws it"),
  })
  .openapi("WithdrawRequest");

const patches_route = createRoute({
  method: "get",
  path: "/v1/patches",
  summary: "The catalog's manifests, in its order",
  request: {
    query: z.strictObject({
      name: z.string().optional(),
      withdrawn: z.enum(["true", "false"]).optional().describe("by default both"),
      ...POSITION_PARAMETERS,
      ...PAGE_PARAMETERS,
    }),
  },
  responses: {
    200: { description: "A page, or every line", content: list_content("patches", EntryDocument) },
    ...PROBLEM_RESPONSES,
  },
});

export function add_patches_routes(app: OpenAPIHono, registry: RegistryService): void {
  const bodies = new BodyRoom();
  app.openapi(patches_route, async (c) => {
    const query = c.req.valid("query");
    const limit = parse_limit(query.limit);
    const after = query.cursor === undefined ? -1n : parse_offset(query.cursor);
    const name = query.name === undefined ? {} : { name: parse_patch_name(query.name, "name") };
    await wait_for_position(registry, query);
    const entries = registry
      .patches({ ...name, withdrawn: true })
      .filter(
        ({ withdrawn }) =>
          query.withdrawn === undefined || String(withdrawn !== undefined) === query.withdrawn,
      );
    return answer_list(c, {
      name: "patches",
      items: documents(entries, after),
      cursor_of: ({ offset }) => offset,
      limit,
      missing_partitions: nothing_missing,
    });
  });

  const published = { content: { "application/json": { schema: Published.openapi("Published") } } };
  app.openAPIRegistry.registerPath({
    method: "post",
    path: "/v1/patches",
    summary: "Publish a manifest",
    request: {
      body: { required: true, content: { "application/json": { schema: message_schema("Manifest") } } },
    },
    responses: {
      200: { description: "An identical one was there", ...published },
      201: { description: "It is in the catalog now", ...published },
      ...PROBLEM_RESPONSES,
    },
  });
  app.post("/v1/patches", async (c) => {
    require_media_type(c, ["application/json"]);
    const held = bodies.hold();
    try {
      const body = await read_body(c, MANIFEST_BODY_BYTES_MAX, held);
      const outcome = await registry.publish(manifest_from_json(parse_json(text_of(body))));
      return c.json(published_document(outcome), outcome.outcome === "published" ? 201 : 200);
    } finally {
      held.let_go();
    }
  });

  app.openAPIRegistry.registerPath({
    method: "post",
    path: "/v1/patches/withdraw",
    summary: "Withdraw a manifest and free its identity; the record of it stays",
    request: { body: { required: true, content: { "application/json": { schema: WithdrawRequest } } } },
    responses: {
      200: {
        description: "It is withdrawn",
        content: { "application/json": { schema: Withdrawal.openapi("Withdrawal") } },
      },
      ...PROBLEM_RESPONSES,
    },
  });
  app.post("/v1/patches/withdraw", async (c) => {
    require_media_type(c, ["application/json"]);
    const given = parse_json(text_of(await read_body(c, WITHDRAWAL_BODY_BYTES_MAX)));
    const parsed = WithdrawRequest.safeParse(given);
    if (!parsed.success) return refuse_first_issue(parsed.error, given, "body");
    const { name, kernel_release, arch, build_id = "", reason, by } = parsed.data;
    const identity = {
      name: parse_patch_name(name, "name"),
      kernel_release,
      arch,
      build_id: Buffer.from(build_id, "hex"),
    };
    const { offset } = await registry.withdraw(identity, reason, by);
    return c.json({ offset: offset.toString() } satisfies Withdrawal);
  });
}

function parse_offset(cursor: string): bigint {
  if (!/^[0-9]{1,20}$/.test(cursor)) throw bad_cursor(cursor);
  return BigInt(cursor);
}

async function* documents(entries: CatalogEntry[], after: bigint): AsyncGenerator<PatchEntry> {
  for (const entry of entries) {
    if (entry.offset > after) yield entry_document(entry);
  }
}

function entry_document({ offset, log_time_ms, manifest, withdrawn, refused }: CatalogEntry): PatchEntry {
  return {
    offset: offset.toString(),
    time: format_time(log_time_ms),
    manifest: manifest_to_json(manifest),
    withdrawn:
      withdrawn === undefined
        ? null
        : {
            offset: withdrawn.offset.toString(),
            time: format_time(withdrawn.log_time_ms),
            reason: withdrawn.reason,
            by: withdrawn.by,
          },
    refused: refused.map((other) => ({
      offset: other.offset.toString(),
      time: format_time(other.log_time_ms),
      manifest: manifest_to_json(other.manifest),
    })),
  };
}

function published_document({ identity, outcome, offset }: PublishOutcome): Published {
  return {
    outcome,
    offset: offset.toString(),
    identity: {
      name: identity.name ?? "",
      kernel_release: identity.kernel_release ?? "",
      arch: identity.arch ?? "",
      build_id: identity.build_id?.length ? Buffer.from(identity.build_id).toString("hex") : null,
    },
  };
}
