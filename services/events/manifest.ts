/** Whether a manifest says what it has to, and keeps the limits. Wherever it came from: JSON, a .ko, protobuf. */
import type { Manifest } from "./codec.js";
import {
  ARCH_BYTES_MAX,
  BUILD_ID_BYTES_MAX,
  KERNEL_RELEASE_BYTES_MAX,
  MANIFEST_FUNCTIONS_MAX,
  MANIFEST_STATES_MAX,
  PATCH_NAME_BYTES_MAX,
  RECORD_BYTES_MAX,
} from "./limits.js";
import { field_at, item_at, shorten } from "./place.js";
import { Problem } from "./problem.js";
import { klpstate } from "./proto.js";
import { u64_to_bigint } from "./u64.js";

const REQUIRED_TEXT = [
  ["name", PATCH_NAME_BYTES_MAX],
  ["kernel_release", KERNEL_RELEASE_BYTES_MAX],
  ["arch", ARCH_BYTES_MAX],
] as const;

/** Throws Problem. `place` is that of the manifest in its document. */
export function check_manifest(manifest: Manifest, place = ""): void {
  for (const [name, bytes_max] of REQUIRED_TEXT) {
    const text = manifest[name] ?? "";
    const size_bytes = Buffer.byteLength(text, "utf8");
    const limit = `1 to ${bytes_max} bytes`;
    if (size_bytes === 0) throw refused(field_at(place, name), undefined, "is missing", limit);
    if (size_bytes > bytes_max) throw refused(field_at(place, name), text, `has ${size_bytes} bytes`, limit);
    if (/\p{Cc}/u.test(text)) throw refused(field_at(place, name), text, "has a control character", limit);
  }
  const build_id_bytes = manifest.build_id?.length ?? 0;
  if (build_id_bytes > BUILD_ID_BYTES_MAX) {
    const limit = `at most ${BUILD_ID_BYTES_MAX} bytes`;
    throw refused(field_at(place, "build_id"), manifest.build_id, `has ${build_id_bytes} bytes`, limit);
  }
  const states = manifest.states ?? [];
  check_count(field_at(place, "states"), states.length, MANIFEST_STATES_MAX);
  check_count(field_at(place, "functions"), manifest.functions?.length ?? 0, MANIFEST_FUNCTIONS_MAX);
  for (const [index, { id }] of states.entries()) {
    if (u64_to_bigint(id) === 0n) {
      const field = field_at(item_at(field_at(place, "states"), index), "id");
      throw refused(field, "0", "ends the kernel's array and is no state", "1 to 2^64-1");
    }
  }
  if (manifest.states_unknown && states.length > 0) {
    throw refused(
      field_at(place, "states_unknown"),
      true,
      "contradicts the states that are given",
      "one of the two",
    );
  }
  const size_bytes = klpstate.v1.Manifest.encode(manifest).pos;
  if (size_bytes > RECORD_BYTES_MAX) {
    throw refused(
      place === "" ? "manifest" : place,
      size_bytes,
      "bytes of protobuf",
      `at most ${RECORD_BYTES_MAX}`,
    );
  }
}

function check_count(field: string, count: number, count_max: number): void {
  if (count > count_max) throw refused(field, count, "entries", `at most ${count_max}`);
}

function refused(field: string, value: unknown, says: string, limit: string): Problem {
  const shown = value === undefined ? undefined : shorten(value);
  return new Problem("bad_input", `${field}: ${shown === undefined ? "" : `${shown} `}${says}; ${limit}`, {
    field,
    ...(shown !== undefined && { value: shown }),
    limit,
  });
}
