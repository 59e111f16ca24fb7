/** For those who watch the server: is it there, may it be asked, what does it count, what does it offer. */
import { createRoute, type OpenAPIHono, z } from "@hono/zod-openapi";
import type { RegistryService } from "../registry/service.js";
import type { ServerMetrics } from "./metrics.js";

const Broken = z.array(z.object({ partition: z.number().int(), reason: z.string() }));
const Readiness = z
  .object({
    ready: z.boolean(),
    partitions: z.number().int(),
    broken: Broken,
    silent: Broken.describe("served, but their changes are told to no one"),
    starting: z.string().nullable().describe("why it should not be asked yet"),
  })
  .openapi("Readiness");

const healthz_route = createRoute({
  method: "get",
  path: "/healthz",
  summary: "The process answers",
  security: [],
  responses: {
    200: {
      description: "It does",
      content: { "application/json": { schema: z.object({ status: z.literal("ok") }) } },
    },
  },
});

const readyz_route = createRoute({
  method: "get",
  path: "/readyz",
  summary: "Whether questions can be answered, and which partitions cannot",
  responses: {
    200: {
      description: "At least one partition answers; those in `broken` do not",
      content: { "application/json": { schema: Readiness } },
    },
    503: { description: "None answers", content: { "application/json": { schema: Readiness } } },
  },
});

const metrics_route = createRoute({
  method: "get",
  path: "/metrics",
  summary: "Counters and histograms for Prometheus",
  responses: { 200: { description: "Exposition format", content: { "text/plain": { schema: z.string() } } } },
});

export function add_health_routes(
  app: OpenAPIHono,
  registry: RegistryService,
  metrics: ServerMetrics,
  version: string,
): void {
  app.openapi(healthz_route, (c) => c.json({ status: "ok" as const }, 200));

  app.openapi(readyz_route, async (c) => {
    const broken = (await registry.own_status()).flatMap(({ partition, broken: reason }) =>
      reason === null ? [] : [{ partition, reason }],
    );
    const { partitions, starting, silent } = registry;
    const ready = starting === null && broken.length < partitions;
    return c.json({ ready, partitions, broken, silent, starting }, ready ? 200 : 503);
  });

  app.openapi(metrics_route, async (c) => {
    metrics.show(await registry.own_status());
    c.header("content-type", metrics.registry.contentType);
    return c.text(await metrics.registry.metrics(), 200);
  });

  app.openAPIRegistry.registerComponent("securitySchemes", "token", {
    type: "http",
    scheme: "bearer",
    description: "The server's token, where it was given one",
  });
  app.doc31("/openapi.json", {
    openapi: "3.1.0",
    info: {
      title: "klpstate",
      version,
      description:
        "An event-sourced registry of Linux kernel livepatch system states. 64-bit integers are decimal strings, " +
        "bytes are lower-case hex, times are RFC 3339 in UTC; a fact that is not known is null.",
    },
    // Either: a server on loopback may have no token.
    security: [{ token: [] }, {}],
  });
}
