// The chain: what a log's own bytes do not say of its events, found while they are folded and kept beside the log, so
// that one host's history is a walk from event to event and a past instant needs no second fold to know what counts.
//
//   frame  40 bytes: u64 first offset, u64 lowest instant (effective times, not_before, losses), u64 log time,
//                    u32 position in what was folded, u32 checksum, u32 records before it, u32 events before it
//   record  8 bytes: u32 offset less the frame's first, u32 events before it in the frame
//   event  16 bytes: u64 position of the host's event before it (NO_POSITION: none), u64 effective time in 48 bits with
//                    the effect above it
//
// services/log/chain_block.ts has the same layout: these tables are written to files as they are.
import { take_pages } from "./memory";
import { Event, EVENT_STRIDE } from "./record";

// Effects (RULES F1, F3).
export const APPLIED: u32 = 0;
export const REPEATED: u32 = 1;
export const STALE_EFFECT: u32 = 2;
export const FOREIGN: u32 = 3;
export const EFFECT_SHIFT: u64 = 48;
/** Instants are kept in 48 bits, which reach to the year 10889. */
export const TIME_MAX: u64 = (1 << 48) - 1;

const FRAME_ENTRY_BYTES: u32 = 40;
const FRAMES_MAX: u32 = 8192;
const RECORDS_MAX: u32 = 32768;
const EVENTS_MAX: u32 = 65536;
/** The shortest event: a host id of one byte, a stream and a sequence, with its tag and length. */
const EVENT_BYTES_MIN: u32 = 16;

export let frames: usize = 0;
export let records: usize = 0;
export let entries: usize = 0;
export let frame_count: u32 = 0;
export let record_count: u32 = 0;
export let entry_count: u32 = 0;
// Of the frame that is being read.
let frame_first_offset: u64 = 0;
let frame_first_entry: u32 = 0;

export function start_chain(): bool {
  frames = take_pages((FRAMES_MAX * FRAME_ENTRY_BYTES) / 65536);
  records = take_pages((RECORDS_MAX << 3) / 65536);
  entries = take_pages((EVENTS_MAX << 4) / 65536);
  begin_chain();
  return frames != 0 && records != 0 && entries != 0;
}

export function begin_chain(): void {
  frame_count = 0;
  record_count = 0;
  entry_count = 0;
}

/** Whether a frame of so many records and bytes fits. */
export function chain_has_room(records_in_frame: u32, bytes: u32): bool {
  return (
    frame_count < FRAMES_MAX &&
    records_in_frame <= RECORDS_MAX - record_count &&
    bytes / EVENT_BYTES_MIN < EVENTS_MAX - entry_count
  );
}

@inline
function frame_at(i: u32): usize {
  return frames + <usize>i * FRAME_ENTRY_BYTES;
}

/** The frame at `frame` begins; `from` is where the folded bytes do. */
export function chain_frame(frame: usize, from: usize): void {
  const at = frame_at(frame_count++);
  frame_first_offset = load<u64>(frame, 24);
  frame_first_entry = entry_count;
  store<u64>(at, frame_first_offset);
  store<u64>(at, u64.MAX_VALUE, 8);
  store<u64>(at, load<u64>(frame, 32), 16);
  store<u32>(at, <u32>(frame - from), 24);
  store<u32>(at, load<u32>(frame, 8), 28);
  store<u32>(at, record_count, 32);
  store<u32>(at, entry_count, 36);
}

/** A record of the frame, with its events: each gets its frame and its entry. */
export function chain_record(events: usize, count: u32, offset: u64): void {
  const at = records + (<usize>(record_count++) << 3);
  store<u32>(at, <u32>(offset - frame_first_offset));
  store<u32>(at, entry_count - frame_first_entry, 4);
  for (let i: u32 = 0; i < count; i++) {
    const event = changetype<Event>(events + <usize>i * EVENT_STRIDE);
    event.frame = frame_count - 1;
    event.entry = entry_count++;
    if (event.not_before_ms != 0) chain_lowest(frame_count - 1, event.not_before_ms);
  }
}

@inline
export function chain_lowest(frame: u32, instant_ms: u64): void {
  const at = frame_at(frame);
  if (instant_ms < load<u64>(at, 8)) store<u64>(at, instant_ms, 8);
}

@inline
export function chain_event(entry: u32, frame: u32, previous: u64, effective_ms: u64, effect: u32): void {
  const at = entries + (<usize>entry << 4);
  store<u64>(at, previous);
  store<u64>(at, effective_ms | (<u64>effect << EFFECT_SHIFT), 8);
  chain_lowest(frame, effective_ms);
}

/** Of entries that were given: the next event's effective time and effect. */
export function chain_entry(): u64 {
  return load<u64>(entries + (<usize>(entry_count++) << 4), 8);
}
