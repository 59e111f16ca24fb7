/**
 * What a module's file cannot say, from a file NAME.yaml beside it or from who reads the module: the advisories that it
 * fixes, when it was released, notes, why it cannot be taken back, and whether it replaces where that is in its code.
 */
import { isUtf8 } from "node:buffer";
import { parseDocument } from "yaml";
import { z } from "zod";
import type { Manifest } from "../../events/codec.js";
import { check_manifest } from "../../events/manifest.js";
import { Problem } from "../../events/problem.js";
import { parse_time } from "../../events/time.js";
import { u64_from_bigint } from "../../events/u64.js";
import { bad_module } from "./bad_module.js";
import type { ModuleReading } from "./read_module.js";
import { open_file } from "./source.js";

const SIDECAR_BYTES_MAX = 1024 * 1024;

const Sidecar = z.strictObject({
  replace: z.boolean().optional(),
  advisories: z.array(z.string().min(1)).optional(),
  released: z.string().optional(),
  notes: z.string().optional(),
  irreversible: z.string().min(1).optional(),
});

/** `released` is a day (2026-03-01, UTC) or an RFC 3339 time. */
export type Sidecar = z.output<typeof Sidecar>;

/** `kp_2.yaml` for `kp_2.ko.xz`, in the same directory. */
export function sidecar_path(module_path: string): string {
  return `${module_path.replace(/\.ko(\.(gz|xz|zst))?$/, "")}.yaml`;
}

/** Empty where there is no such file. Throws Problem, which names it. */
export function read_sidecar(path: string): Sidecar {
  const text = read_text(path);
  if (text === null) return {};
  const document = parseDocument(text, { schema: "core", uniqueKeys: true });
  const [error] = document.errors;
  // Behind the first line it shows the text itself, over several.
  if (error !== undefined)
    throw refused(path, `is no YAML: ${error.message.split("\n", 1)[0]!.replace(/:$/, "")}`);
  let value: unknown;
  try {
    value = document.toJS() ?? {};
  } catch (thrown) {
    throw refused(path, `is no YAML: ${(thrown as Error).message}`);
  }
  const parsed = Sidecar.safeParse(value);
  if (parsed.success) return parsed.data;
  const { path: field, message } = parsed.error.issues[0]!;
  const limit = `one of ${Object.keys(Sidecar.shape).join(", ")}`;
  throw refused(path, `${field.length > 0 ? `${field.join(".")}: ` : ""}${message}; ${limit}`);
}

/** The manifest with what is told beside it. Throws Problem where that contradicts the file. */
export function with_sidecar({ manifest, replace_is_told }: ModuleReading, told: Sidecar): Manifest {
  if (replace_is_told && told.replace !== undefined && told.replace !== (manifest.replace ?? false)) {
    const says = `replace: ${told.replace} contradicts the module, whose klp_patch says ${!told.replace}`;
    throw new Problem("bad_input", `${says}; leave it out`, {
      field: "replace",
      value: String(told.replace),
    });
  }
  const full: Manifest = {
    ...manifest,
    ...(told.replace && { replace: true }),
    ...(told.advisories !== undefined && { advisories: told.advisories }),
    ...(told.released !== undefined && { released_unix_s: seconds_of(told.released) }),
    ...(told.notes && { notes: told.notes }),
    ...(told.irreversible && { irreversible: told.irreversible }),
  };
  check_manifest(full);
  return full;
}

function seconds_of(released: string) {
  const is_day = /^\d{4}-\d{2}-\d{2}$/.test(released);
  const time_ms = parse_time(is_day ? `${released}T00:00:00Z` : released, "released");
  return u64_from_bigint(BigInt(Math.floor(time_ms / 1_000)));
}

function read_text(path: string): string | null {
  try {
    const file = open_file(path);
    try {
      if (file.size > SIDECAR_BYTES_MAX)
        throw bad_module("is too long", `at most ${SIDECAR_BYTES_MAX} bytes`);
      const bytes = file.read(0, file.size);
      if (!isUtf8(bytes)) throw bad_module("is no UTF-8");
      return bytes.toString("utf8");
    } finally {
      file.close();
    }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return null;
    if (error instanceof Problem) throw refused(path, error.message);
    throw refused(path, `cannot be read: ${(error as Error).message}`);
  }
}

function refused(path: string, says: string): Problem {
  return new Problem("bad_input", `${path}: ${says}`, { value: path });
}
