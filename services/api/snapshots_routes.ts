/** Snapshots now, before a stop or a backup: a start then reads nothing of the log. */
import { createRoute, type OpenAPIHono } from "@hono/zod-openapi";
import { SnapshotsAnswer } from "../registry/answers.js";
import type { RegistryService } from "../registry/service.js";
import { PROBLEM_RESPONSES } from "./problem_responses.js";

const snapshots_route = createRoute({
  method: "post",
  path: "/v1/snapshots",
  summary: "Make a snapshot of every partition that has something new; answers when they are durable",
  responses: {
    200: {
      description: "Which were made, and which could not be; a partition that is broken is among the latter",
      content: { "application/json": { schema: SnapshotsAnswer.openapi("Snapshots") } },
    },
    ...PROBLEM_RESPONSES,
  },
});

export function add_snapshots_routes(app: OpenAPIHono, registry: RegistryService): void {
  app.openapi(snapshots_route, async (c) => c.json(await registry.snapshot(), 200));
}
