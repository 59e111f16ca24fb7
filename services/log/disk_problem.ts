/** What a disk says when a registry is opened, as a Problem: the message says what to do about it. */
import { Problem } from "../events/problem.js";
import { error_code, is_out_of_room } from "./disk.js";

/** `what` was not possible. An error that is none of a disk's is given back as it is. */
export function disk_problem(error: unknown, what: string): unknown {
  const code = error_code(error);
  // Node's own mistakes have codes like ERR_OUT_OF_RANGE, problems have names.
  if (!(error instanceof Error) || !/^E[A-Z0-9]+$/.test(code)) return error;
  const { path = "" } = error as NodeJS.ErrnoException;
  if (["EACCES", "EPERM", "EROFS"].includes(code)) {
    const may_not = `${path === "" ? "it" : path} may not be written (${code})`;
    return new Problem("bad_input", `${what}: ${may_not}; run as the user that owns the registry`, {
      value: path,
    });
  }
  const full = is_out_of_room(error);
  return new Problem(
    full ? "disk_full" : "unavailable",
    `${what}: ${full ? `no room on the disk (${code})` : error.message}`,
    { value: path },
  );
}
