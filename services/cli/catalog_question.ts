/** Questions about the catalog's manifests by the name that a person gives. */
import { parse_candidate } from "../api/parameters.js";
import { shorten } from "../events/place.js";
import { Problem } from "../events/problem.js";
import type { PatchEntry } from "../registry/answers.js";
import { ask_lines } from "./ask.js";
import type { Door } from "./door.js";

/** The members of a manifest's JSON form that the CLI shows or compares. */
export interface ShownManifest {
  name: string;
  kernel_release: string;
  arch: string;
  build_id?: string;
  replace?: boolean;
  states?: { id: string; version: number }[];
  states_unknown?: boolean;
  functions?: { object?: string; name: string; position?: string }[];
  vermagic?: string;
  srcversion?: string;
  signature?: { present: boolean; signer?: string; digest?: string };
  has_exit?: boolean;
  builder?: string;
  advisories?: string[];
  released_unix_s?: string;
  irreversible?: string;
  notes?: string;
}

export type ShownPatch = Omit<PatchEntry, "manifest"> & { manifest: ShownManifest };

export interface IdentityOptions {
  release?: string;
  arch?: string;
}

export async function ask_patches(
  door: Door,
  query: { name?: string; withdrawn?: string },
): Promise<ShownPatch[]> {
  const { items } = await ask_lines<ShownPatch>(door, { method: "GET", path: "/v1/patches", query });
  const patches: ShownPatch[] = [];
  for await (const patch of items) patches.push(patch);
  return patches;
}

/** Those that NAME or NAME@BUILDID means, on a release and arch where they are given. Throws Problem for none. */
export async function find_patches(
  door: Door,
  text: string,
  { release, arch }: IdentityOptions,
  withdrawn?: boolean,
): Promise<ShownPatch[]> {
  const { name, build_id } = parse_candidate(text, "patch");
  const query = { name, ...(withdrawn !== undefined && { withdrawn: String(withdrawn) }) };
  const found = (await ask_patches(door, query)).filter(
    ({ manifest }) =>
      (build_id === undefined || manifest.build_id === build_id) &&
      (release === undefined || manifest.kernel_release === release) &&
      (arch === undefined || manifest.arch === arch),
  );
  if (found.length > 0) return found;
  const kernel = [release, arch].filter((part) => part !== undefined).join(" ");
  throw new Problem(
    "not_found",
    `patch: ${shorten(text)}${kernel === "" ? "" : ` for ${kernel}`} is not in the catalog; klpstate patch list shows what is`,
    { field: "patch", value: shorten(text) },
  );
}
