/** Manifests for people: a line each, or one in full. */
import { format_time } from "../../events/time.js";
import type { ShownManifest, ShownPatch } from "../catalog_question.js";
import type { Paint } from "../terminal.js";
import { counted, plain, reference, states, table } from "./text.js";

export function patches_text(patches: ShownPatch[]): string {
  if (patches.length === 0) return "the catalog has no manifest\n";
  const rows = patches.map(({ manifest, withdrawn }) => [
    reference(manifest),
    plain(manifest.kernel_release),
    plain(manifest.arch),
    manifest.replace ? "yes" : "no",
    states_text(manifest),
    withdrawn === null ? "" : `withdrawn: ${plain(withdrawn.reason)}`,
  ]);
  const titles = ["PATCH", "KERNEL", "ARCH", "REPLACE", "STATES (id:version)", ""];
  return table(
    titles.map((title) => ({ title })),
    rows,
  );
}

export function patch_text({ manifest, time, offset, withdrawn, refused }: ShownPatch, paint: Paint): string {
  const lines = [
    ...manifest_lines(manifest),
    `published  ${time}, offset ${offset}`,
    ...refused.map((other) => `refused    ${other.time}: another manifest of the same identity`),
    ...(withdrawn === null
      ? []
      : [`withdrawn  ${withdrawn.time} by ${plain(withdrawn.by)}: ${plain(withdrawn.reason)}`]),
  ];
  const title = `${paint("bold", plain(manifest.name))}${withdrawn === null ? "" : ` ${paint("red", "WITHDRAWN")}`}`;
  return `${title}\n${lines.map((line) => `  ${line}\n`).join("")}`;
}

/** A manifest that is in no catalog yet, with every function that it patches. */
export function manifest_text(manifest: ShownManifest, paint: Paint): string {
  const { functions = [] } = manifest;
  const patched = functions.map(({ object = "vmlinux", name, position }) => {
    return `  ${plain(object)}:${plain(name)}${position === undefined ? "" : `,${position}`}`;
  });
  const lines = [...manifest_lines(manifest), ...patched];
  return `${paint("bold", plain(manifest.name))}\n${lines.map((line) => `  ${line}\n`).join("")}`;
}

function manifest_lines(manifest: ShownManifest): string[] {
  const { advisories = [], functions = [], irreversible, notes, signature, builder, vermagic } = manifest;
  return [
    `kernel     ${plain(manifest.kernel_release)} ${plain(manifest.arch)}`,
    `build id   ${manifest.build_id ?? "none"}`,
    `replace    ${replace_words(manifest)}`,
    `states     ${states_text(manifest)}`,
    ...(vermagic ? [`vermagic   ${plain(vermagic.trimEnd())}`] : []),
    ...(builder ? [`builder    ${BUILDER_WORDS[builder] ?? plain(builder)}`] : []),
    ...(signature ? [`signature  ${signature_words(signature)}`] : []),
    ...(builder && !manifest.has_exit ? ["exit       none: once loaded it cannot be removed"] : []),
    ...(advisories.length > 0 ? [`advisories ${advisories.map(plain).join(", ")}`] : []),
    ...(manifest.released_unix_s
      ? [`released   ${format_time(BigInt(manifest.released_unix_s) * 1_000n)}`]
      : []),
    ...(irreversible ? [`irreversible: ${plain(irreversible)}`] : []),
    ...(notes ? [`notes      ${plain(notes)}`] : []),
    ...(functions.length > 0 ? [`functions  ${counted(functions.length, "function")}`] : []),
  ];
}

/** JSON has it wherever it was told of a patch whose code alone says it. */
function replace_words({ replace, builder }: ShownManifest): string {
  if (replace) return "yes: it takes the place of every earlier patch";
  const is_told = replace === false || builder === undefined || builder === "static";
  return is_told ? "no" : "not told: it is in the module's code only";
}

const BUILDER_WORDS: Record<string, string> = {
  static: "none: klp_patch is in the file",
  kpatch_build: "kpatch-build",
  klp_build: "klp-build",
  other: "not known",
};

function signature_words({ present, signer, digest }: NonNullable<ShownManifest["signature"]>): string {
  if (!present) return "none";
  return `by ${signer === undefined ? "somebody" : plain(signer)}, ${digest === undefined ? "digest not known" : plain(digest)}`;
}

function states_text(manifest: ShownManifest): string {
  return manifest.states_unknown ? "not known" : states(manifest.states ?? []);
}
