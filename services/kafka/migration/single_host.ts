/** Which host a record is about, if it is one: the record's key in Kafka (docs/formats.md). */
import protobuf from "protobufjs/minimal.js";
import { batch_spans } from "../../events/codec.js";

const { Reader } = protobuf;

/** HostEvent.host_id, length-delimited. */
const HOST_ID_TAG = (1 << 3) | 2;

/** UTF-8; null: it is about several hosts, about none, or is no batch of events. */
export function single_host(record: Uint8Array): Buffer | null {
  try {
    let only: Buffer | null = null;
    for (const { start, end } of batch_spans(record)) {
      const host_id = host_id_of(record.subarray(start, end));
      if (host_id === null || (only !== null && !only.equals(host_id))) return null;
      only = host_id;
    }
    return only;
  } catch {
    // Whatever stands in a log is copied, also what no fold takes.
    return null;
  }
}

function host_id_of(event: Uint8Array): Buffer | null {
  const reader = Reader.create(event);
  while (reader.pos < reader.len) {
    const tag = reader.uint32();
    if (tag === HOST_ID_TAG) return Buffer.from(reader.bytes());
    reader.skipType(tag & 7);
  }
  return null;
}
