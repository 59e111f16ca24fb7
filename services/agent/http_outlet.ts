/** Batches over HTTP to a registry: what its answers mean to a sender. The network is the caller's. */
import { decode_event, encode_batch } from "../events/codec.js";
import { parse_time } from "../events/time.js";
import type { Acknowledged, Delivery, Outlet } from "./sender.js";
import type { SpooledEvent } from "./spool.js";

/** Between two sends of a batch that has not been answered. */
export const ANSWER_MS_MAX = 60_000;
const RETRY_AFTER_S_MAX = 300;

export interface Posted {
  status: number;
  text: string;
  /** The header, if there is one. */
  retry_after: string | undefined;
}

/** Sends an EventBatch to /v1/events. Rejects where there is no answer, or none within ANSWER_MS_MAX. */
export type Post = (body: Uint8Array) => Promise<Posted>;

interface Ack {
  hosts: AckedHost[];
}

type AckedHost =
  | { host_id: string; next_sequence: string; knowledge: string; effective_time: string }
  | { host_id: string; next_sequence: null; knowledge: null; effective_time: null };

/** Status codes that say something of the events: those that no later try changes. */
const REFUSED_STATUS = [400, 413, 422];

export function http_outlet(post: Post): Outlet {
  return {
    async deliver(events) {
      try {
        return read_answer(events, await post(encode_batch(events.map(({ bytes }) => bytes))));
      } catch (error) {
        return { later: (error as Error).message };
      }
    },
  };
}

function read_answer(events: readonly SpooledEvent[], { status, text, retry_after }: Posted): Delivery {
  if (status === 200) return { taken: acknowledged(events, JSON.parse(text) as Ack) };
  const why = `status ${status}: ${detail_of(text)}`;
  if (REFUSED_STATUS.includes(status)) return { refused: why };
  const seconds = /^[0-9]{1,9}$/.test(retry_after ?? "") ? Number(retry_after) : 0;
  return { later: why, after_ms: 1_000 * Math.min(seconds, RETRY_AFTER_S_MAX) };
}

/** Null where the host's facts were not told in time. Throws where it does not say what an acknowledgement has to. */
function acknowledged(events: readonly SpooledEvent[], ack: Ack): Acknowledged | null {
  const { host_id } = decode_event(events.at(-1)!.bytes);
  const host = ack.hosts.find((host) => host.host_id === host_id);
  if (host === undefined) throw new Error("the acknowledgement does not tell of this host");
  if (host.next_sequence === null) return null;
  return {
    next_sequence: Number(host.next_sequence),
    knowledge: host.knowledge,
    effective_unix_ms: parse_time(host.effective_time, "effective_time"),
  };
}

function detail_of(text: string): string {
  try {
    const { detail } = JSON.parse(text) as { detail?: unknown };
    if (typeof detail === "string") return detail;
  } catch {
    // A proxy's page, perhaps.
  }
  return text.slice(0, 200);
}
