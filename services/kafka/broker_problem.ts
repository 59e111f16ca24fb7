/** What went wrong between a client and its brokers, for a person: whom it asked, and what they said. */
import { Problem } from "../events/problem.js";
import type { KafkaSettings } from "./settings.js";

/** A broker that is spoken to in another protocol than its own hangs up, or gives no answer. */
const HUNG_UP = /closed connection|ECONNRESET|timed? ?out|disconnected|wrong version|SASL state/i;
const WITHOUT_TLS = "that port may want TLS (KLPSTATE_KAFKA_TLS=on), or SASL, or no SASL";
const WITH_TLS = "that port may have no TLS, or want SASL or a client certificate";

/** A Problem stays what it is. */
export function unavailable(error: unknown, { brokers, sasl, tls }: KafkaSettings): Problem {
  if (error instanceof Problem) return error;
  const whom = `the brokers at ${brokers.join(", ")}`;
  const { name, message } = innermost(error);
  if (name === "KafkaJSSASLAuthenticationError") {
    const who = sasl === null ? "this client" : `${sasl.username} by ${sasl.mechanism}`;
    return new Problem("unavailable", `${whom} do not let ${who} in: ${message}`);
  }
  const advice = HUNG_UP.test(message) ? `; ${tls === null ? WITHOUT_TLS : WITH_TLS}` : "";
  return new Problem("unavailable", `${whom} cannot be asked: ${message}${advice}`);
}

function innermost(error: unknown): Error {
  let inner = error instanceof Error ? error : new Error(String(error));
  while (inner.cause instanceof Error) inner = inner.cause;
  return inner;
}
