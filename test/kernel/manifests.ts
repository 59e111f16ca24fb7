/** What the catalog is told of the built modules: as their files are read, which has to be what they were built from. */
import { join } from "node:path";
import { read_module } from "../../services/catalog/module/read_module.js";
import type { Manifest } from "../../services/events/codec.js";
import { manifest_to_json } from "../../services/events/json.js";
import { u64_to_decimal } from "../../services/events/u64.js";
import { other_release } from "./build_patches.js";
import type { PatchSpec } from "./patches.js";

/** A manifest in the form of `POST /v1/patches`. */
export interface ManifestDocument {
  name: string;
  build_id: string;
}

/** Null where the kernel takes the file for no livepatch. Throws where it says something else than the spec. */
export async function manifest_of(
  spec: PatchSpec,
  directory: string,
  kernel_release: string,
): Promise<ManifestDocument | null> {
  const { manifest, is_marked } = await read_module(join(directory, `${spec.name}.ko`));
  const said = described(manifest);
  const built = description_of(spec, kernel_release);
  if (said !== built) throw new Error(`${spec.name}.ko is read as ${said} and was built as ${built}`);
  return is_marked ? (manifest_to_json(manifest) as unknown as ManifestDocument) : null;
}

function described({ name, kernel_release, arch, replace, states }: Manifest): string {
  const texts = (states ?? []).map(({ id, version }) => `${u64_to_decimal(id ?? 0)}:${version ?? 0}`);
  return [name, kernel_release, arch, replace ? "replaces" : "stacks", ...texts].join(" ");
}

function description_of(
  { name, replace, states, of_other_kernel }: PatchSpec,
  kernel_release: string,
): string {
  const all = states ?? [];
  const end = all.findIndex(([id]) => id === 0n);
  const seen = all.slice(0, end < 0 ? undefined : end).map(([id, version]) => `${id}:${version}`);
  const release = of_other_kernel === undefined ? kernel_release : other_release(kernel_release);
  return [name, release, "x86_64", replace ? "replaces" : "stacks", ...seen].join(" ");
}
