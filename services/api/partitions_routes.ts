/** Partitions by themselves: going on with one whose replica is of another log than its topic. */
import { createRoute, type OpenAPIHono, z } from "@hono/zod-openapi";
import { shorten } from "../events/place.js";
import { Problem } from "../events/problem.js";
import type { RegistryService } from "../registry/service.js";
import { PROBLEM_RESPONSES } from "./problem_responses.js";

export const PartitionReset = z
  .object({
    partition: z.number().int(),
    aside: z.string().describe("where the old replica is, on the node"),
  })
  .openapi("PartitionReset");

const reset_route = createRoute({
  method: "post",
  path: "/v1/partitions/{partition}/reset",
  summary: "Move this node's broken replica aside and fold its topic from the earliest record",
  description:
    "What the topic does not have any more is in no answer from then on; hosts whose beginning is gone are no_baseline.",
  request: { params: z.object({ partition: z.string() }) },
  responses: {
    200: {
      description: "It begins again",
      content: { "application/json": { schema: PartitionReset } },
    },
    ...PROBLEM_RESPONSES,
  },
});

export function add_partitions_routes(app: OpenAPIHono, registry: RegistryService): void {
  app.openapi(reset_route, async (c) => {
    const text = c.req.valid("param").partition;
    const partition = /^[0-9]{1,9}$/.test(text) ? Number(text) : Number.NaN;
    if (!(partition < registry.partitions)) {
      const value = shorten(text);
      const limit = `0 to ${registry.partitions - 1}`;
      throw new Problem("bad_input", `partition: ${value} is none of this registry; ${limit}`, {
        field: "partition",
        value,
        limit,
      });
    }
    return c.json({ partition, aside: await registry.reset_partition(partition) }, 200);
  });
}
