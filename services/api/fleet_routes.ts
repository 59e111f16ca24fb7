/** The whole fleet as its configurations. */
import { createHash } from "node:crypto";
import { createRoute, type OpenAPIHono, z } from "@hono/zod-openapi";
import { FleetRow } from "../registry/answers.js";
import type { RegistryService } from "../registry/service.js";
import { answer_list, bad_cursor, list_content, PAGE_PARAMETERS, parse_limit } from "./lists.js";
import { INSTANT_PARAMETERS, POSITION_PARAMETERS, parse_instant, wait_for_position } from "./parameters.js";
import { PROBLEM_RESPONSES } from "./problem_responses.js";

const FleetDocument = FleetRow.openapi("Configuration");

const fleet_route = createRoute({
  method: "get",
  path: "/v1/fleet",
  summary: "Every configuration that hosts have, with their count; by kernel release and arch",
  request: { query: z.strictObject({ ...INSTANT_PARAMETERS, ...POSITION_PARAMETERS, ...PAGE_PARAMETERS }) },
  responses: {
    200: { description: "A page, or every line", content: list_content("fleet", FleetDocument) },
    ...PROBLEM_RESPONSES,
  },
});

export function add_fleet_routes(app: OpenAPIHono, registry: RegistryService): void {
  app.openapi(fleet_route, async (c) => {
    const query = c.req.valid("query");
    const limit = parse_limit(query.limit);
    const after = query.cursor === undefined ? "" : parse_key(query.cursor);
    await wait_for_position(registry, query);
    const fleet = await registry.fleet(parse_instant(query));
    const rows = fleet.rows.map((row) => ({ row, key: key_of(row) }));
    rows.sort((a, b) => (a.key < b.key ? -1 : a.key > b.key ? 1 : 0));
    return answer_list(c, {
      name: "fleet",
      items: each(rows.filter(({ key }) => key > after).map(({ row }) => row)),
      cursor_of: (row) => Buffer.from(key_of(row)).toString("base64url"),
      limit,
      missing_partitions: async () => fleet.missing_partitions,
      at: fleet.at,
    });
  });
}

/**
 * Configurations have no order of their own and come and go between two pages: by this key, a page begins behind the
 * one before it whatever has gone.
 */
function key_of(row: FleetRow): string {
  const { hosts: _, ...configuration } = row;
  const digest = createHash("sha256").update(JSON.stringify(configuration)).digest("hex");
  return `${row.kernel_release ?? ""} ${row.arch ?? ""} ${digest}`;
}

function parse_key(cursor: string): string {
  const key = Buffer.from(cursor, "base64url").toString("utf8");
  if (!/ [0-9a-f]{64}$/.test(key)) throw bad_cursor(cursor);
  return key;
}

async function* each<Item>(items: Item[]): AsyncGenerator<Item> {
  yield* items;
}
