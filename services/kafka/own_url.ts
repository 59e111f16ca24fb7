/** Under which address other nodes ask this one, and whether it is safe to be asked there. */
import { isIP } from "node:net";
import { Problem } from "../events/problem.js";
import { allowed_addresses } from "./peer_client.js";
import type { KafkaSettings } from "./settings.js";

const ANYWHERE = new Set(["0.0.0.0", "[::]"]);
const LOOPBACK = allowed_addresses(["127.0.0.0/8", "::1/128"]);

/** `listens`: where the server is. Throws Problem. */
export function own_url({ advertise, cluster_secret }: KafkaSettings, listens: string): string {
  const url = new URL(advertise ?? listens);
  const refuse = (field: string, says: string) => new Problem("bad_input", `${field} ${says}`, { field });
  if (url.protocol !== "http:") {
    throw refuse(
      "KLPSTATE_ADVERTISE",
      "must be http://HOST:PORT: nodes sign what they tell each other, and speak no TLS",
    );
  }
  if (ANYWHERE.has(url.hostname)) {
    throw refuse(
      "KLPSTATE_ADVERTISE",
      `is not set, and nobody finds this node under ${listens}; set it to http://HOST:PORT, as other nodes reach this one`,
    );
  }
  if (cluster_secret === null && !is_loopback(url.hostname)) {
    throw refuse(
      "KLPSTATE_CLUSTER_SECRET",
      `is not set, and other nodes are to reach this one under ${url.origin}: anybody could ask what only nodes may; ` +
        "set the same secret on all nodes",
    );
  }
  return url.origin;
}

function is_loopback(host: string): boolean {
  const address = host.replace(/^\[|\]$/g, "");
  const family = isIP(address);
  return host === "localhost" || (family !== 0 && LOOPBACK.check(address, family === 6 ? "ipv6" : "ipv4"));
}
