// Whether the server on this machine answers for partitions: exits with 0 or 1, for a container's healthcheck. Not curl,
// which the image has no other use for.
import { readFileSync } from "node:fs";

const [url = "http://127.0.0.1:7350"] = process.argv.slice(2);
const { KLPSTATE_TOKEN, KLPSTATE_TOKEN_FILE } = process.env;
const token =
  KLPSTATE_TOKEN ?? (KLPSTATE_TOKEN_FILE && readFileSync(KLPSTATE_TOKEN_FILE, "latin1").trimEnd());
try {
  const headers = token ? { authorization: `Bearer ${token}` } : {};
  const response = await fetch(`${url}/readyz`, { headers, signal: AbortSignal.timeout(5_000) });
  console.log(await response.text());
  process.exitCode = response.ok ? 0 : 1;
} catch (error) {
  console.log(String(error.cause ?? error));
  process.exitCode = 1;
}
