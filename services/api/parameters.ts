/** The parameters that more than one question has: hosts, states, instants, patches. Each throws Problem with its name. */
import { z } from "@hono/zod-openapi";
import { BUILD_ID_BYTES_MAX, HOST_ID_BYTES_MAX, PATCH_NAME_BYTES_MAX } from "../events/limits.js";
import { kernel_form } from "../events/patch_name.js";
import { shorten } from "../events/place.js";
import { Problem } from "../events/problem.js";
import { parse_duration, parse_time } from "../events/time.js";
import { parse_u64 } from "../events/u64.js";
import { parse_min_position } from "../registry/positions.js";
import type { Candidate, Instant, RegistryService } from "../registry/service.js";

export const HOST_PATH = {
  id: z.string().describe(`host id, 1 to ${HOST_ID_BYTES_MAX} bytes of UTF-8, percent-encoded`),
};

export const INSTANT_PARAMETERS = {
  as_of: z.string().optional().describe("RFC 3339; by default now: the state that the host had then"),
  known_at: z.string().optional().describe("RFC 3339; by default now: using only what had arrived by then"),
};

const WAIT_MS_DEFAULT = 2_000;
const WAIT_MS_MAX = 60_000;

/** Of every read: what its answer has to have seen. */
export const POSITION_PARAMETERS = {
  min_position: z
    .string()
    .optional()
    .describe("answer only when so much is folded: positions of acknowledgements, `3:1042,5:77,catalog:17`"),
  wait: z
    .string()
    .optional()
    .describe("with min_position: for so long at most, up to 60s; by default 2s; then `not_caught_up`"),
};

/** Throws Problem `not_caught_up` where the registry does not get there in time. */
export async function wait_for_position(
  registry: RegistryService,
  { min_position, wait }: { min_position?: string | undefined; wait?: string | undefined },
): Promise<void> {
  const wait_ms = wait === undefined ? WAIT_MS_DEFAULT : parse_wait(wait);
  if (min_position !== undefined) {
    await registry.wait_for(parse_min_position(min_position, registry.partitions), wait_ms);
  } else if (wait !== undefined) {
    throw new Problem("bad_input", "wait: only together with min_position", {
      field: "wait",
      value: shorten(wait),
    });
  }
}

function parse_wait(text: string): number {
  const wait_ms = parse_duration(text, "wait");
  if (wait_ms <= WAIT_MS_MAX) return wait_ms;
  const limit = `at most ${WAIT_MS_MAX / 1_000}s`;
  const value = shorten(text);
  throw new Problem("bad_input", `wait: ${value} is too long; ${limit}`, { field: "wait", value, limit });
}

export function parse_host_id(text: string): string {
  const bytes = Buffer.byteLength(text, "utf8");
  if (bytes >= 1 && bytes <= HOST_ID_BYTES_MAX && !/\p{Cc}/u.test(text)) return text;
  const value = shorten(text);
  const limit = `1 to ${HOST_ID_BYTES_MAX} bytes without control characters`;
  throw new Problem("bad_input", `host_id: ${value} (${bytes} bytes) is no host id; ${limit}`, {
    field: "host_id",
    value,
    limit,
  });
}

/** 0 ends the kernel's array of states and is no state. */
export function parse_state_id(text: string): bigint {
  const state = parse_u64(text, "state");
  if (state !== 0n) return state;
  const limit = "1 to 18446744073709551615 (2^64-1)";
  throw new Problem("bad_input", `state: 0 is no state id; ${limit}`, { field: "state", value: "0", limit });
}

export function parse_instant(query: { as_of?: string | undefined; known_at?: string | undefined }): Instant {
  return {
    ...(query.as_of !== undefined && { as_of_ms: parse_time(query.as_of, "as_of") }),
    ...(query.known_at !== undefined && { known_at_ms: parse_time(query.known_at, "known_at") }),
  };
}

/** A module's name in the kernel's form: `-` is `_`. */
export function parse_patch_name(text: string, field: string): string {
  const bytes = Buffer.byteLength(text, "utf8");
  if (bytes >= 1 && bytes <= PATCH_NAME_BYTES_MAX && !/\p{Cc}/u.test(text)) return kernel_form(text);
  const value = shorten(text);
  const limit = `1 to ${PATCH_NAME_BYTES_MAX} bytes`;
  throw new Problem("bad_input", `${field}: ${value} (${bytes} bytes) is no patch's name; ${limit}`, {
    field,
    value,
    limit,
  });
}

/** `NAME` or `NAME@BUILDID`. */
export function parse_candidate(text: string, field: string): Candidate {
  const at = text.indexOf("@");
  if (at === -1) return { name: parse_patch_name(text, field) };
  const name = parse_patch_name(text.slice(0, at), field);
  const build_id = text.slice(at + 1).toLowerCase();
  if (/^([0-9a-f]{2})+$/.test(build_id) && build_id.length <= 2 * BUILD_ID_BYTES_MAX)
    return { name, build_id };
  const value = shorten(text.slice(at + 1));
  const limit = `1 to ${BUILD_ID_BYTES_MAX} bytes in hex`;
  throw new Problem("bad_input", `${field}: ${value} after the @ is no build id; ${limit}`, {
    field,
    value,
    limit,
  });
}

/** Throws the first thing that a schema finds as a Problem; `whole` names the document. */
export function refuse_first_issue(error: z.ZodError, given: unknown, whole: string): never {
  const issue = error.issues[0]!;
  const unknown_key = issue.code === "unrecognized_keys" ? issue.keys[0]! : null;
  const path = unknown_key === null ? issue.path : [...issue.path, unknown_key];
  const field = path.reduce<string>(
    (place, step) =>
      typeof step === "number"
        ? `${place}[${step}]`
        : place === ""
          ? String(step)
          : `${place}.${String(step)}`,
    "",
  );
  const found = path.reduce<unknown>(
    (at, step) => (at as Record<PropertyKey, unknown> | undefined)?.[step],
    given,
  );
  const says = unknown_key === null ? issue.message.replace(/^Invalid /, "invalid ") : "is not known here";
  throw new Problem("bad_input", `${field || whole}: ${says}`, {
    field: field || whole,
    ...(found !== undefined && { value: shorten(found) }),
  });
}
