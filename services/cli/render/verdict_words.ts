/** What each verdict means to the person who asked, and what to do about it. */
import type { Conflict, HostVerdict, VerdictName } from "../../registry/answers.js";
import { plain, reference } from "./text.js";

/** In the order in which people read them: what may be done, what stands in the way, what is not known. */
export const VERDICT_ORDER: VerdictName[] = [
  "ok",
  "done",
  "busy",
  "incompatible",
  "name_taken",
  "blocked",
  "other_kernel",
  "unsupported",
  "unknown",
];

/** The kernel, or what it was told, would say no, and waiting alone does not change it. */
export const REFUSED: VerdictName[] = [
  "incompatible",
  "name_taken",
  "blocked",
  "other_kernel",
  "unsupported",
];

export const VERDICT_WORDS: Record<VerdictName, string> = {
  ok: "the kernel would take it",
  done: "it is enabled already",
  busy: "another transition runs (EBUSY): try again when it has ended",
  incompatible: "a state on the stack is newer or would be lost (EINVAL): see the conflicts",
  name_taken: "a module of that name is loaded (EEXIST)",
  blocked: "the host's policy forbids it",
  other_kernel: "no manifest of it for this kernel release and arch (ENOEXEC)",
  unsupported: "the kernel has no livepatching",
  unknown: "nothing certain can be said",
};

const REASON_WORDS: Record<string, string> = {
  no_baseline: "its stream began without a full observation: let the publisher send an observed event",
  disputed: "two publishers write for it, or its clock fell back: let one of them begin a new stream",
  unreadable: "its publisher may not read the kernel's state: run it with the rights to",
  gap: "events are missing since the last full observation: let the publisher send an observed event",
  ambiguous: "several manifests fit: name the build, as in NAME@BUILDID",
  manifest: "the catalog does not know the states of a patch: add its manifest",
  not_told: "its events are stored, and whoever serves it was not heard in time: `klpstate host` tells",
  stale: "it was not heard of for longer than --max-age",
  modules_disabled: "modules are disabled until reboot (EPERM)",
  unsigned:
    "only signed modules are taken, and it is not known to be signed (EKEYREJECTED): add its manifest from the signed file",
  ftrace_off: "ftrace is off (EBUSY): kernel.ftrace_enabled=1",
  in_transition: "it is on the stack, in transition",
  other_build: "another build of it is enabled: disable that one and remove its module first",
  lingering: "its module is still loaded: remove it first",
  pinned: "its module is loaded and cannot be removed: only a reboot frees the name",
};

export function reason_words(reason: string): string {
  return REASON_WORDS[reason] ?? plain(reason);
}

/** `state 1: kp_3 holds version 2, kp_9 offers 1` */
export function conflict_words(conflict: Conflict, candidate: string): string {
  const { state, holder, held, offered, transient, first } = conflict;
  const offers =
    offered === null ? `${candidate} replaces it and lacks the state` : `${candidate} offers ${offered}`;
  const notes = [
    ...(transient ? [`${plain(holder)} is leaving: try again later`] : []),
    ...(first ? [] : ["a patch before it is not in the catalog: there may be an earlier conflict"]),
  ];
  return `state ${state}: ${plain(holder)} holds version ${held}, ${offers}${notes.map((note) => ` (${note})`).join("")}`;
}

/** Why a host has its verdict, in one line. */
export function why(
  { verdict, reason, conflict, unresolved, replaces }: HostVerdict,
  candidate: string,
): string {
  if (conflict !== null) return conflict_words(conflict, candidate);
  if (unresolved !== null) return `${reference(unresolved)}: ${unresolved_words(unresolved.manifest)}`;
  if (reason !== null) return reason_words(reason);
  if (verdict === "ok" && replaces.length > 0) return `would replace ${replaces.map(plain).join(", ")}`;
  return VERDICT_WORDS[verdict];
}

export function unresolved_words(manifest: "missing" | "ambiguous" | "states_unknown"): string {
  switch (manifest) {
    case "missing":
      return "not in the catalog";
    case "ambiguous":
      return "several manifests of it fit, and its build id is not known";
    case "states_unknown":
      return "its manifest does not tell its states";
  }
}
