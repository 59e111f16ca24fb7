/** What bites later: facts about a patch, alone and beside those of a catalog, that no kernel refuses when it is built. */
import { count_unseen } from "../catalog/module/livepatch.js";
import type { Manifest } from "../events/codec.js";
import { u64_to_decimal } from "../events/u64.js";
import { is_replace_untold, type ManifestInput, REPLACE_NOT_TOLD } from "./manifest_input.js";
import { reference } from "./render/text.js";
import { verdicts_over } from "./stack_verdict.js";

export type FindingCode =
  | "id_twice"
  | "id_0_inside"
  | "no_callbacks"
  | "no_exit"
  | "not_marked"
  | "no_objects"
  | "states_unknown"
  | "replace_not_told"
  | "drops_state"
  | "lowers_version"
  | "not_cumulative"
  | "name_taken";

export interface Finding {
  code: FindingCode;
  /** The catalog's patch that it is about, as NAME@BUILDID in full; null: none. */
  against: string | null;
  says: string;
}

/** A manifest in JSON does not tell all of it. */
export function findings_alone(input: ManifestInput): Finding[] {
  const { manifest, reading } = input;
  const findings: Finding[] = [];
  const find = (code: FindingCode, says: string) => findings.push({ code, against: null, says });
  const ids = (manifest.states ?? []).map(({ id }) => u64_to_decimal(id));
  for (const id of new Set(ids.filter((id, at) => ids.indexOf(id) !== at)))
    find(
      "id_twice",
      `state ${id} is more than once in the array: its first version is offered, every one is demanded of the next patch`,
    );
  if (manifest.states_unknown)
    find("states_unknown", "its states are not known, so no check of it will be sure: publish them as JSON");
  if (is_replace_untold(input))
    find(
      "replace_not_told",
      `${REPLACE_NOT_TOLD}, and patch add wants to know: say replace: true or replace: false in its .yaml`,
    );
  if (reading === null) return findings;
  const { unseen_states, has_callbacks, is_marked, objects } = reading;
  if (unseen_states.length > 0)
    find(
      "id_0_inside",
      `an id 0 ends the array for the kernel: ${count_unseen(unseen_states)} of its states are not seen`,
    );
  if (ids.length > 0 && !has_callbacks)
    find("no_callbacks", "it has states, and no callback that would make or take over what they stand for");
  if (!manifest.has_exit)
    find("no_exit", "it has no module_exit: once loaded it cannot be removed, nor its name used again");
  if (!is_marked)
    find(
      "not_marked",
      'its modinfo has no livepatch=Y: every kernel refuses it; add MODULE_INFO(livepatch, "Y")',
    );
  if (objects.length === 0 && !manifest.states_unknown)
    find("no_objects", "it patches no object: every kernel refuses it");
  return findings;
}

/** Beside the other patches of its kernel; `catalog` may have those of others too. */
export function findings_beside(input: ManifestInput, catalog: Manifest[]): Finding[] {
  const { manifest } = input;
  const same_kernel = catalog.filter(
    ({ kernel_release, arch }) => kernel_release === manifest.kernel_release && arch === manifest.arch,
  );
  const is_itself = ({ name, build_id }: Manifest) => {
    return (
      name === manifest.name &&
      Buffer.compare(build_id ?? Buffer.of(), manifest.build_id ?? Buffer.of()) === 0
    );
  };
  const others = same_kernel.filter((other) => !is_itself(other));
  const findings: Finding[] = [];
  const find = (code: FindingCode, other: Manifest, says: string) =>
    findings.push({ code, against: full_reference_of(other), says });
  // Names that no module has: its own may be on the stack, and one without a build id could mean any build of its name.
  const verdicts = verdicts_over(
    others.map((other, at) => [{ ...other, name: `${at}?` }]),
    { ...manifest, name: "?" },
  );
  others.forEach((other, at) => {
    const shown = reference_of(other);
    if (other.name === manifest.name)
      find(
        "name_taken",
        other,
        `${shown} is another build of that name: where it is loaded, this one is refused`,
      );
    if (!input.replace_is_told) return;
    const { conflict } = verdicts[at]!;
    if (conflict?.offered === null)
      find(
        "drops_state",
        other,
        `${shown} holds state ${conflict.state}, and this one replaces it without that state: refused`,
      );
    else if (conflict)
      find(
        "lowers_version",
        other,
        `${shown} holds state ${conflict.state} at version ${conflict.held}, this one offers ${conflict.offered}: refused`,
      );
  });
  const cumulative = others.findLast(({ replace }) => replace);
  if (cumulative !== undefined && input.replace_is_told && !manifest.replace)
    find(
      "not_cumulative",
      cumulative,
      `it does not replace, and ${reference_of(cumulative)} of the same kernel does: the next such patch takes it away`,
    );
  return findings;
}

function reference_of({ name, build_id }: Manifest): string {
  return reference({ name: name ?? "", build_id: Buffer.from(build_id ?? []).toString("hex") });
}

function full_reference_of({ name, build_id }: Manifest): string {
  return build_id?.length ? `${name}@${Buffer.from(build_id).toString("hex")}` : (name ?? "");
}
