/** The registry outside: what the agent's lines make of the guest, and what is asked of it. */
import { NDJSON_MEDIA_TYPE } from "../../services/api/lists.js";
import { ask_document, ask_lines } from "../../services/cli/ask.js";
import type { Door } from "../../services/cli/door.js";
import { open_own_registry } from "../../services/cli/own_registry.js";
import type { HistoryEntry, HostAnswer, HostVerdict } from "../../services/registry/answers.js";
import type { ManifestDocument } from "./manifests.js";

export const HOST = "guest";

export class Witness {
  readonly #door: Door;
  readonly #record: (line: string) => void;
  #stored: Promise<unknown> = Promise.resolve();
  #refused: Error | null = null;
  #waiting: string[] = [];
  /** Lines that came, for the report. */
  lines = 0;

  private constructor(door: Door, record: (line: string) => void) {
    this.#door = door;
    this.#record = record;
  }

  /** `record`: takes each line beside. */
  static async open(directory: string, record: (line: string) => void): Promise<Witness> {
    const door = await open_own_registry(directory, (message) => {
      throw new Error(`the registry: ${message}`);
    });
    return new Witness(door, record);
  }

  async close(): Promise<void> {
    await this.#stored;
    await this.#door.close();
  }

  async publish(manifest: ManifestDocument): Promise<void> {
    await ask_document(this.#door, {
      method: "POST",
      path: "/v1/patches",
      content_type: "application/json",
      body: JSON.stringify(manifest),
    });
  }

  /** An event of the agent's. What came while another request ran is the next request. */
  take(line: string): void {
    this.lines += 1;
    this.#record(line);
    this.#waiting.push(line);
    if (this.#waiting.length > 1) return;
    this.#stored = this.#stored.then(() => this.#store());
  }

  async #store(): Promise<void> {
    const lines = this.#waiting;
    this.#waiting = [];
    try {
      await ask_document(this.#door, {
        method: "POST",
        path: "/v1/events",
        content_type: NDJSON_MEDIA_TYPE,
        body: `${lines.join("\n")}\n`,
      });
    } catch (error) {
      this.#refused = new Error(`the registry refuses what the agent wrote: ${error}\n${lines.join("\n")}`);
    }
  }

  /** `as_of`: RFC 3339. Null while the host is not known. Throws where an event was refused. */
  async host(as_of?: string): Promise<HostAnswer | null> {
    if (this.#refused) throw this.#refused;
    if (this.lines === 0) return null;
    await this.#stored;
    return ask_document<HostAnswer>(this.#door, {
      method: "GET",
      path: `/v1/hosts/${HOST}`,
      query: { as_of },
    });
  }

  /** What `klpstate check NAME@BUILDID --host` asks. */
  async verdict({ name, build_id }: ManifestDocument): Promise<HostVerdict> {
    const { hosts } = await ask_document<{ hosts: HostVerdict[] }>(this.#door, {
      method: "POST",
      path: "/v1/checks",
      content_type: "application/json",
      body: JSON.stringify({ patch: `${name}@${build_id}`, hosts: true, host_id: HOST }),
    });
    return hosts[0]!;
  }

  async history(): Promise<HistoryEntry[]> {
    await this.#stored;
    const { items } = await ask_lines<HistoryEntry>(this.#door, {
      method: "GET",
      path: `/v1/hosts/${HOST}/history`,
    });
    const entries: HistoryEntry[] = [];
    for await (const entry of items) entries.push(entry);
    return entries;
  }
}
