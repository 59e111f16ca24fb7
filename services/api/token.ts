/** The one token of a server: whoever shows it may read and write. */
import { createHash, timingSafeEqual } from "node:crypto";
import { Problem } from "../events/problem.js";

const TOKEN_BYTES_MIN = 16;
/** Node takes 16 KiB of headers in all; a longer one is a file of something else. */
const TOKEN_BYTES_MAX = 1024;

const WHERE = "KLPSTATE_TOKEN, KLPSTATE_TOKEN_FILE or --token-file";

/** `source` is the variable or option, `shown` tells more of it. Throws Problem, which never has the token's text. */
export function parse_token(text: string, source: string, shown = source): string {
  const limit = `${TOKEN_BYTES_MIN} to ${TOKEN_BYTES_MAX} visible ASCII characters`;
  const refuse = (says: string) =>
    new Problem("bad_input", `${shown}: the token ${says}; write ${limit}`, { field: source, limit });
  if (text === "") throw refuse("is empty");
  if (/[^\x21-\x7e]/.test(text)) throw refuse("has white space, control characters or what is not ASCII");
  if (text.length < TOKEN_BYTES_MIN) throw refuse(`has only ${text.length} bytes`);
  if (text.length > TOKEN_BYTES_MAX) throw refuse(`has ${text.length} bytes`);
  return text;
}

/** Says why a request may not pass; null: it may. */
export type Guard = (request: Request) => Problem | null;

/**
 * Whether the process answers is no secret, and who watches it should not need the token. The URL as it came: parsed,
 * other texts would become this path, of which the router may think otherwise.
 */
const OPEN_URL = /^https?:\/\/[^/?#]+\/healthz(\?|$)/;

export function guard_of(token: string): Guard {
  const wanted = digest_of(token);
  return (request) => {
    if (OPEN_URL.test(request.url)) return null;
    const given = /^bearer +(\S+) *$/i.exec(request.headers.get("authorization") ?? "")?.[1];
    if (given === undefined) {
      return new Problem(
        "unauthorized",
        `this server wants a token, "Authorization: Bearer TOKEN"; ${advice()}`,
      );
    }
    // Of equal length whatever was given, so that the time tells neither the token's length nor where it differs.
    if (timingSafeEqual(digest_of(given), wanted)) return null;
    return new Problem("unauthorized", `the token is not this server's; ${advice()}`);
  };
}

function advice(): string {
  return `klpstate takes it from ${WHERE}`;
}

function digest_of(token: string): Buffer {
  return createHash("sha256").update(token).digest();
}
