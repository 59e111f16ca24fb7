/** Ports that stay one process's while it is down: below those that the system gives to connections that go out. */
import { createServer } from "node:net";

const FIRST = Number(process.env.KLPSTATE_TEST_PORT ?? 19_700);
const END = FIRST + 300;
let next = FIRST;

export async function free_port(): Promise<number> {
  for (; next < END; next++) {
    if (await is_free(next)) return next++;
  }
  throw new Error(`no port is free from ${FIRST} to ${END - 1}; say with KLPSTATE_TEST_PORT where to begin`);
}

function is_free(port: number): Promise<boolean> {
  const server = createServer();
  return new Promise((resolve) => {
    server.once("error", () => resolve(false));
    server.listen(port, "127.0.0.1", () => server.close(() => resolve(true)));
  });
}
