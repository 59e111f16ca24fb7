/** What a load that failed says: kmod's words back to the kernel's errno, and whether the kernel's log told of it. */
import { NOTHING_UNFINISHED, read_facts } from "./facts.js";
import type { KmsgRead } from "./kmsg.js";

/** mod_strerror of kmod's tools/insmod.c, moderror of busybox, and strerror of both C libraries. */
const WORDS: [RegExp, string][] = [
  [/invalid module format|exec format error/i, "ENOEXEC"],
  [/unknown symbol in module/i, "ENOENT"],
  [/module has wrong symbol version/i, "ESRCH"],
  [/invalid parameters|invalid argument/i, "EINVAL"],
  [/file exists/i, "EEXIST"],
  [/device or resource busy|resource busy/i, "EBUSY"],
  [/operation not permitted/i, "EPERM"],
  [/permission denied/i, "EACCES"],
  [/key was rejected by service/i, "EKEYREJECTED"],
  [/required key not available/i, "ENOKEY"],
  [/bad message/i, "EBADMSG"],
  [/cannot allocate memory|out of memory/i, "ENOMEM"],
  [/no such device/i, "ENODEV"],
];

/** `said`: insmod's standard error in the C locale. Null where it says nothing known. */
export function errno_of_insmod(said: string): string | null {
  const last = said.trim().split("\n").at(-1) ?? "";
  // Behind the file's name, which may say anything.
  const reason = last.slice(last.lastIndexOf(": ") + 2);
  return WORDS.find(([words]) => words.test(reason))?.[1] ?? null;
}

/** Of these the kernel prints nothing where the name is taken, modules are disabled or another transition runs. */
const MOSTLY_SILENT = ["EEXIST", "EPERM", "EBUSY"];

/** Whether nobody but the loader can tell of the refusal. `log`: what the kernel said meanwhile. */
export function is_silent_refusal(errno: string, { lines, errno: unreadable }: KmsgRead): boolean {
  if (unreadable !== null) return MOSTLY_SILENT.includes(errno);
  const { facts } = read_facts(lines, NOTHING_UNFINISHED, null, null);
  return !facts.some(({ kind }) => kind === "refused");
}
