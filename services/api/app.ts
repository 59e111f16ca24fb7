/** The HTTP API of a registry: every route, and what all of them share. */
import { OpenAPIHono } from "@hono/zod-openapi";
import { routePath } from "hono/route";
import type { Logger } from "pino";
import { Problem } from "../events/problem.js";
import type { RegistryService } from "../registry/service.js";
import { BodyRoom } from "./body_room.js";
import { add_checks_routes } from "./checks_routes.js";
import { add_events_routes } from "./events_routes.js";
import { add_fleet_routes } from "./fleet_routes.js";
import { add_health_routes } from "./health_routes.js";
import { add_hosts_routes } from "./hosts_routes.js";
import { create_metrics } from "./metrics.js";
import { refuse_first_issue } from "./parameters.js";
import { add_partitions_routes } from "./partitions_routes.js";
import { add_patches_routes } from "./patches_routes.js";
import { document_of, plain_document, problem_response } from "./problem_document.js";
import { add_replay_routes, type Replay } from "./replay_routes.js";
import { add_snapshots_routes } from "./snapshots_routes.js";

export interface AppOptions {
  registry: RegistryService;
  replay: Replay;
  /** Of klpstate, for the OpenAPI document. */
  version: string;
  /** Without one, failures of the server itself are only answered, not told. */
  log?: Logger;
  /** Whether /metrics also tells of the whole process; for a server that owns its process. */
  process_metrics?: boolean;
}

export function build_app({
  registry,
  replay,
  version,
  log,
  process_metrics = false,
}: AppOptions): OpenAPIHono {
  const event_bodies = new BodyRoom();
  const metrics = create_metrics(process_metrics, () => event_bodies.held_bytes);
  const app = new OpenAPIHono({
    defaultHook: (result) => {
      // The validator hands on what it was given, though its type does not say so.
      if (!result.success)
        refuse_first_issue(result.error, (result as { data?: unknown }).data, result.target);
    },
  });

  app.use(async (c, next) => {
    const end = metrics.request_seconds.startTimer({ method: c.req.method });
    await next();
    end({ route: routePath(c, -1), status: String(c.res.status) });
    c.res.headers.set("cache-control", "no-store");
  });

  add_events_routes(app, registry, metrics, event_bodies);
  add_hosts_routes(app, registry);
  add_checks_routes(app, registry);
  add_patches_routes(app, registry);
  add_fleet_routes(app, registry);
  add_replay_routes(app, registry, replay);
  add_snapshots_routes(app, registry);
  add_partitions_routes(app, registry);
  add_health_routes(app, registry, metrics, version);

  app.notFound((c) => {
    const asked = `${c.req.method} ${c.req.path}`;
    const methods = methods_of(app, c.req.path);
    if (methods.length === 0) {
      return problem_response(
        plain_document(404, "No such resource", `${asked} is not offered; see /openapi.json`),
      );
    }
    const allow = methods.join(", ");
    const detail = `${asked} is not offered, only ${allow}; see /openapi.json`;
    return problem_response(plain_document(405, "Method not allowed", detail), { allow });
  });

  app.onError((error, c) => {
    metrics.problems.inc({ code: error instanceof Problem ? error.code : "internal" });
    if (!(error instanceof Problem))
      log?.error({ err: error, method: c.req.method, path: c.req.path }, "request failed");
    return problem_response(document_of(error));
  });
  return app;
}

/** The methods that a path has routes for. What is registered for all methods is no route but middleware. */
function methods_of(app: OpenAPIHono, path: string): string[] {
  const methods = ["GET", "POST"].filter((method) => {
    const [handlers] = app.router.match(method, path);
    return handlers.some(([[, route]]) => route.method === method);
  });
  // Hono answers HEAD from a route of GET.
  return methods.flatMap((method) => (method === "GET" ? ["GET", "HEAD"] : [method]));
}
