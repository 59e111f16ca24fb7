/** The answers that every route has beside its own. */
import { PROBLEM_MEDIA_TYPE, ProblemDocument } from "./problem_document.js";

const problem = (description: string) => ({
  description,
  content: { [PROBLEM_MEDIA_TYPE]: { schema: ProblemDocument } },
});

export const PROBLEM_RESPONSES = {
  "4XX": problem("The question cannot be answered as it stands; RFC 9457"),
  "5XX": problem("Not now; RFC 9457"),
};
