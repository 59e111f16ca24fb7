/** Manifests for people: a line each, or one in full. */
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
  const { advisories = [], functions = [], irreversible, notes } = manifest;
  const lines = [
    `kernel     ${plain(manifest.kernel_release)} ${plain(manifest.arch)}`,
    `build id   ${manifest.build_id ?? "none"}`,
    `replace    ${manifest.replace ? "yes: it takes the place of every earlier patch" : "no"}`,
    `states     ${states_text(manifest)}`,
    ...(functions.length > 0 ? [`functions  ${counted(functions.length, "function")}`] : []),
    ...(advisories.length > 0 ? [`advisories ${advisories.map(plain).join(", ")}`] : []),
    ...(irreversible ? [`irreversible: ${plain(irreversible)}`] : []),
    ...(notes ? [`notes      ${plain(notes)}`] : []),
    `published  ${time}, offset ${offset}`,
    ...refused.map((other) => `refused    ${other.time}: another manifest of the same identity`),
    ...(withdrawn === null
      ? []
      : [`withdrawn  ${withdrawn.time} by ${plain(withdrawn.by)}: ${plain(withdrawn.reason)}`]),
  ];
  const title = `${paint("bold", plain(manifest.name))}${withdrawn === null ? "" : ` ${paint("red", "WITHDRAWN")}`}`;
  return `${title}\n${lines.map((line) => `  ${line}\n`).join("")}`;
}

function states_text(manifest: ShownManifest): string {
  return manifest.states_unknown ? "not known" : states(manifest.states ?? []);
}
