/** What is said of a file that cannot be read as a livepatch module: `says` and, where it helps, what to do. */
import { Problem } from "../../events/problem.js";

export function bad_module(says: string, limit?: string): Problem {
  return new Problem("bad_input", limit === undefined ? says : `${says}; ${limit}`, {
    ...(limit !== undefined && { limit }),
  });
}
