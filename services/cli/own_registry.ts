/** The door to a directory that nobody else owns: the registry is opened in this process and asked without a network. */
import { build_app } from "../api/app.js";
import { Problem } from "../events/problem.js";
import type { Door } from "./door.js";
import { headers_of, path_of } from "./http_door.js";
import { replay_by_audit } from "./replay_by_audit.js";
import { VERSION } from "./version.js";

/** `report` takes what the start found. Throws Problem, `unavailable` where another process owns the directory. */
export async function open_own_registry(directory: string, report: (message: string) => void): Promise<Door> {
  // Loaded only here: a question to a server needs neither the core nor worker threads.
  const { open_registry } = await import("../registry/open_registry.js");
  const registry = await open_registry({ data: directory, report });
  const app = build_app({ registry, replay: replay_by_audit, version: VERSION });
  return {
    async ask(question) {
      const response = await app.request(path_of(question), {
        method: question.method,
        headers: headers_of(question),
        ...(question.body !== undefined && { body: question.body }),
      });
      return {
        status: response.status,
        header: (name) => response.headers.get(name) ?? undefined,
        body: unbroken(response),
      };
    },
    close: () => registry.close(),
  };
}

async function* unbroken(response: Response): AsyncGenerator<Uint8Array> {
  if (response.body === null) return;
  try {
    yield* response.body;
  } catch (error) {
    if (error instanceof Problem) throw error;
    throw new Problem(
      "unavailable",
      `the answer broke off: ${error instanceof Error ? error.message : String(error)}`,
    );
  }
}
