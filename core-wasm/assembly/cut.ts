// The way in: judges a batch whole and cuts it into records, one partition each, of at most 16 KiB unless one event
// is larger. Beside its records each partition gets the list of its hosts, each once. Keeps nothing between calls.
// Events are copied byte for byte.
import { Event, EVENT_STRIDE, EVENTS_MAX, read_record, RECORD_BYTES_MAX, SAYS_UNREADABLE } from "./record";
import { same_bytes, take_pages } from "./memory";
import { NONE } from "./hosts";

const CUT_BYTES: u32 = 16 * 1024;
/** At most five bytes of length and one of tag an event. */
const OVERHEAD_BYTES_MAX: u32 = 6;

/** A record that was cut: where its bytes are, and how many events it has. */
@unmanaged
class Cut {
  at: u32;
  bytes: u32;
  count: u32;
  padding: u32;
}

/** A partition of the batch: its records, one behind the other, and its hosts: a length byte, then the id. */
@unmanaged
class Part {
  partition: u32;
  at: u32;
  bytes: u32;
  cut_count: u32;
  hosts: u32;
  hosts_bytes: u32;
  host_count: u32;
  /** Events that say UNREADABLE. */
  unreadable: u32;
}
const PART_BYTES: usize = 32;

let events: usize = 0;
let out: usize = 0;
let hosts_out: usize = 0;
/** In the order of their partitions. */
export let cuts: usize = 0;
export let cut_count: u32 = 0;
export let parts: usize = 0;
export let part_count: u32 = 0;

// The batch's hosts by tag: index of the first event of each, plus one; 0: empty. Half full at most.
const HOST_SLOTS: u32 = 1 << 15;
let host_slots: usize = 0;
let host_seed: u64 = 0;

// Next event of the same partition, and the first and last of each: a list threaded through the events.
let following: usize = 0;
let heads: usize = 0;
const PARTITIONS_MAX: u32 = 4096;

export function start_cut(seed: u64): bool {
  host_seed = seed;
  events = take_pages((<u32>EVENT_STRIDE * (EVENTS_MAX + 1)) / 65536 + 1);
  out = take_pages((RECORD_BYTES_MAX + OVERHEAD_BYTES_MAX * EVENTS_MAX) / 65536 + 1);
  // An id's length takes a byte here as it does, at least, in the batch.
  hosts_out = take_pages(RECORD_BYTES_MAX / 65536 + 1);
  cuts = take_pages((16 * (EVENTS_MAX + 1)) / 65536 + 1);
  parts = take_pages((<u32>PART_BYTES * PARTITIONS_MAX) / 65536 + 1);
  host_slots = take_pages((4 * HOST_SLOTS) / 65536);
  following = take_pages((4 * (EVENTS_MAX + 1)) / 65536 + 1);
  heads = take_pages((8 * PARTITIONS_MAX) / 65536 + 1);
  return (
    events != 0 &&
    out != 0 &&
    hosts_out != 0 &&
    cuts != 0 &&
    parts != 0 &&
    host_slots != 0 &&
    following != 0 &&
    heads != 0
  );
}

@inline
function event_at(i: u32): Event {
  return changetype<Event>(events + <usize>i * EVENT_STRIDE);
}

/** Whether no event before it was of its host. */
function is_first_of_host(i: u32): bool {
  const event = event_at(i);
  let slot = event.tag;
  while (true) {
    const at = host_slots + (<usize>(slot++ & (HOST_SLOTS - 1)) << 2);
    const value = load<u32>(at);
    if (value == 0) {
      store<u32>(at, i + 1);
      return true;
    }
    const other = event_at(value - 1);
    if (other.tag != event.tag || other.host_id_bytes != event.host_id_bytes) continue;
    if (same_bytes(other.host_id, event.host_id, event.host_id_bytes)) return false;
  }
}

function put_size(at: usize, size: u32): usize {
  while (size >= 128) {
    store<u8>(at++, <u8>(size | 128));
    size >>= 7;
  }
  store<u8>(at++, <u8>size);
  return at;
}

/** Lists the events of each partition in the batch's order. */
function thread_partitions(count: u32, partitions: u32): void {
  memory.fill(heads, 0xff, <usize>partitions << 3);
  for (let i: u32 = 0; i < count; i++) {
    const list = heads + (<usize>event_at(i).partition << 3);
    const last = load<u32>(list, 4);
    if (last == NONE) store<u32>(list, i);
    else store<u32>(following + (<usize>last << 2), i);
    store<u32>(following + (<usize>i << 2), NONE);
    store<u32>(list, i, 4);
  }
}

/** Writes the part that begins with event `i`. */
function put_part(part: Part, i: u32): void {
  part.cut_count = 0;
  part.host_count = 0;
  part.unreadable = 0;
  let at: usize = part.at;
  let hosts: usize = part.hosts;
  let cut = changetype<Cut>(0);
  for (; i != NONE; i = load<u32>(following + (<usize>i << 2))) {
    const event = event_at(i);
    if (part.cut_count == 0 || cut.bytes + event.length + OVERHEAD_BYTES_MAX > CUT_BYTES) {
      cut = changetype<Cut>(cuts + (<usize>(cut_count++) << 4));
      cut.at = <u32>at;
      cut.count = 0;
      part.cut_count++;
    }
    store<u8>(at++, (1 << 3) | 2);
    at = put_size(at, event.length);
    memory.copy(at, event.bytes, event.length);
    at += event.length;
    cut.bytes = <u32>at - cut.at;
    cut.count++;
    if (event.flags & SAYS_UNREADABLE) part.unreadable++;
    if (!is_first_of_host(i)) continue;
    part.host_count++;
    store<u8>(hosts, <u8>event.host_id_bytes);
    memory.copy(hosts + 1, event.host_id, event.host_id_bytes);
    hosts += 1 + event.host_id_bytes;
  }
  part.bytes = <u32>at - part.at;
  part.hosts_bytes = <u32>hosts - part.hosts;
}

/** Number of events; 0 where the batch is not good (`record_error`, `error_index`), and then nothing was cut. */
export function cut_batch(from: usize, length: u32, partitions: u32): u32 {
  cut_count = 0;
  part_count = 0;
  const count = read_record(from, length, events, NONE, partitions, host_seed);
  if (count == 0) return 0;
  thread_partitions(count, partitions);
  memory.fill(host_slots, 0, <usize>HOST_SLOTS << 2);
  let at = <u32>out;
  let hosts = <u32>hosts_out;
  for (let partition: u32 = 0; partition < partitions; partition++) {
    const first = load<u32>(heads + (<usize>partition << 3));
    if (first == NONE) continue;
    const part = changetype<Part>(parts + <usize>(part_count++) * PART_BYTES);
    part.partition = partition;
    part.at = at;
    part.hosts = hosts;
    put_part(part, first);
    at += part.bytes;
    hosts += part.hosts_bytes;
  }
  return count;
}
