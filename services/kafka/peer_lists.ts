/** Lists of hosts that another node reads page by page. One that nobody reads any more is closed. */
import { Problem } from "../events/problem.js";
import type { HostOutcome } from "../registry/shard_protocol.js";

const PAGE_HOSTS = 4096;
const LISTS_MAX = 64;
const IDLE_MS = 60_000;

interface OpenList {
  hosts: AsyncIterator<HostOutcome>;
  idle: NodeJS.Timeout;
}

export class OpenHostLists {
  readonly #lists = new Map<number, OpenList>();
  #next_id = 1;

  open(hosts: AsyncIterable<HostOutcome>): number {
    if (this.#lists.size >= LISTS_MAX) {
      throw new Problem("busy", `${LISTS_MAX} lists of hosts are being read by other nodes; ask again later`);
    }
    const list = this.#next_id++;
    const idle = setTimeout(() => void this.cancel(list), IDLE_MS).unref();
    this.#lists.set(list, { hosts: hosts[Symbol.asyncIterator](), idle });
    return list;
  }

  async pull(list: number): Promise<{ items: HostOutcome[]; done: boolean }> {
    const open = this.#lists.get(list);
    if (open === undefined) throw new Problem("unavailable", "the list of hosts was closed; ask again");
    open.idle.refresh();
    const items: HostOutcome[] = [];
    while (items.length < PAGE_HOSTS) {
      const { value, done } = await open.hosts.next();
      if (done) {
        await this.cancel(list);
        return { items, done: true };
      }
      items.push(value);
    }
    return { items, done: false };
  }

  async cancel(list: number): Promise<void> {
    const open = this.#lists.get(list);
    if (open === undefined) return;
    this.#lists.delete(list);
    clearTimeout(open.idle);
    await open.hosts.return?.();
  }

  close(): void {
    for (const list of [...this.#lists.keys()]) void this.cancel(list);
  }
}
