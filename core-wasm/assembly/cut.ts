// The way in: judges a batch whole and cuts it into records, one partition each, of at most 16 KiB unless one event
// is larger. Keeps nothing between calls. Events are copied byte for byte.
import { Event, EVENT_STRIDE, EVENTS_MAX, read_record, RECORD_BYTES_MAX } from "./record";
import { take_pages } from "./memory";
import { NONE } from "./hosts";

const CUT_BYTES: u32 = 16 * 1024;
/** At most five bytes of length and one of tag an event. */
const OVERHEAD_BYTES_MAX: u32 = 6;

/** A record that was cut: where its bytes are, and how many events it has. */
@unmanaged
class Cut {
  at: u32;
  bytes: u32;
  partition: u32;
  count: u32;
}

let events: usize = 0;
let out: usize = 0;
export let cuts: usize = 0;
export let cut_count: u32 = 0;
/** For each event of the batch: u32 partition, u32 address of its host id, u32 length of it. */
export let cut_hosts: usize = 0;

// Next event of the same partition, and the first and last of each: a list threaded through the events.
let following: usize = 0;
let heads: usize = 0;
const PARTITIONS_MAX: u32 = 4096;

export function start_cut(): bool {
  events = take_pages((<u32>EVENT_STRIDE * (EVENTS_MAX + 1)) / 65536 + 1);
  out = take_pages((RECORD_BYTES_MAX + OVERHEAD_BYTES_MAX * EVENTS_MAX) / 65536 + 1);
  cuts = take_pages((16 * (EVENTS_MAX + 1)) / 65536 + 1);
  cut_hosts = take_pages((12 * (EVENTS_MAX + 1)) / 65536 + 1);
  following = take_pages((4 * (EVENTS_MAX + 1)) / 65536 + 1);
  heads = take_pages((8 * PARTITIONS_MAX) / 65536 + 1);
  return events != 0 && out != 0 && cuts != 0 && cut_hosts != 0 && following != 0 && heads != 0;
}

function put_size(at: usize, size: u32): usize {
  while (size >= 128) {
    store<u8>(at++, <u8>(size | 128));
    size >>= 7;
  }
  store<u8>(at++, <u8>size);
  return at;
}

/** Number of events; 0 where the batch is not good (`record_error`, `error_index`), and then nothing was cut. */
export function cut_batch(from: usize, length: u32, partitions: u32): u32 {
  cut_count = 0;
  const count = read_record(from, length, events, NONE, partitions, 0);
  if (count == 0) return 0;
  memory.fill(heads, 0xff, <usize>partitions << 3);
  for (let i: u32 = 0; i < count; i++) {
    const event = changetype<Event>(events + <usize>i * EVENT_STRIDE);
    const list = heads + (<usize>event.partition << 3);
    const last = load<u32>(list, 4);
    if (last == NONE) store<u32>(list, i);
    else store<u32>(following + (<usize>last << 2), i);
    store<u32>(following + (<usize>i << 2), NONE);
    store<u32>(list, i, 4);
    const host = cut_hosts + <usize>i * 12;
    store<u32>(host, event.partition);
    store<u32>(host, event.host_id, 4);
    store<u32>(host, event.host_id_bytes, 8);
  }
  let at = out;
  for (let partition: u32 = 0; partition < partitions; partition++) {
    let cut = changetype<Cut>(cuts);
    let open = false;
    let i = load<u32>(heads + (<usize>partition << 3));
    for (; i != NONE; i = load<u32>(following + (<usize>i << 2))) {
      const event = changetype<Event>(events + <usize>i * EVENT_STRIDE);
      if (open && cut.bytes + event.length + OVERHEAD_BYTES_MAX > CUT_BYTES) open = false;
      if (!open) {
        cut = changetype<Cut>(cuts + (<usize>(cut_count++) << 4));
        cut.at = <u32>at;
        cut.partition = partition;
        cut.count = 0;
        open = true;
      }
      store<u8>(at++, (1 << 3) | 2);
      at = put_size(at, event.length);
      memory.copy(at, event.bytes, event.length);
      at += event.length;
      cut.bytes = <u32>at - cut.at;
      cut.count++;
    }
  }
  return count;
}
