// What RULES F8 calls uncertain. An instant is in doubt for a host where a change may have happened on either side of
// it, or where an Observed says that something was lost around it. Events in doubt are marked as they come by; losses
// that reach beyond the log time at which they were told (a clock that runs ahead) are kept, so that a fold that begins
// at a snapshot knows of them: nothing else that a snapshot has folded can put a later instant in doubt.
import { kept } from "./kept";
import { host_count } from "./hosts";
import { Event, OBSERVED } from "./record";
import { page_for } from "./tables";
import { take_directory } from "./memory";
import { at, BYTES, end, enter, leave, read_size, read_tag, read_varint, skip_field, start_reading, VARINT } from "./wire";

/** A loss that reaches beyond its log time. */
@unmanaged
class Loss {
  from_ms: u64;
  to_ms: u64;
  host: u32;
  reserved: u32;
  reserved_end: u64;
}
/** 2,048 of 32 bytes a page. Beyond this many, snapshots are no start for the past any more, until some have passed. */
export const LOSSES_MAX: u32 = 1 << 14;
const LOSSES_PER_PAGE_SHIFT: u32 = 11;
/** A bit for each host: 2^19 of them a page. */
const BITS_PER_PAGE_SHIFT: u32 = 19;
const HOSTS_SHIFT: u32 = 26;

let losses: usize = 0;
let loss_count: u32 = 0;
/** The latest end of a loss that found no place; 0: none. */
let left_out_to_ms: u64 = 0;
let marks: usize = 0;
export let uncertain_count: u32 = 0;

export function start_losses(): bool {
  losses = take_directory(LOSSES_MAX >> LOSSES_PER_PAGE_SHIFT);
  marks = take_directory(1 << (HOSTS_SHIFT - BITS_PER_PAGE_SHIFT));
  loss_count = 0;
  left_out_to_ms = 0;
  uncertain_count = 0;
  return losses != 0 && marks != 0;
}

export function keep_losses(): void {
  loss_count = <u32>kept(loss_count);
  left_out_to_ms = kept(left_out_to_ms);
}

@inline
function loss(i: u32): Loss {
  return changetype<Loss>(
    <usize>load<u32>(losses + (<usize>(i >> LOSSES_PER_PAGE_SHIFT) << 2)) +
      (<usize>(i & ((1 << LOSSES_PER_PAGE_SHIFT) - 1)) << 5),
  );
}

// The loss that was read last.
let loss_from_ms: u64 = 0;
let loss_to_ms: u64 = 0;

/** The next loss of the Observed that is being read; false after the last one. */
function next_loss(): bool {
  while (at < end) {
    const tag = read_tag();
    if (tag != ((9 << 3) | BYTES)) {
      skip_field(tag, 2);
      continue;
    }
    loss_from_ms = 0;
    loss_to_ms = 0;
    const outer = enter(read_size());
    while (at < end) {
      const inner = read_tag();
      if (inner == ((2 << 3) | VARINT)) loss_from_ms = read_varint();
      else if (inner == ((3 << 3) | VARINT)) loss_to_ms = read_varint();
      else skip_field(inner, 3);
    }
    leave(outer);
    return true;
  }
  return false;
}

/** Takes the losses of an Observed that was applied; the earliest instant that one of them begins at. */
export function take_losses(event: Event, host: u32): u64 {
  let lowest = u64.MAX_VALUE;
  start_reading(event.body, event.body + event.body_bytes);
  while (next_loss()) {
    lowest = min(lowest, loss_from_ms);
    if (loss_to_ms > event.log_time_ms && loss_from_ms <= loss_to_ms) keep_loss(host, event.log_time_ms);
  }
  return lowest;
}

function keep_loss(host: u32, log_time_ms: u64): void {
  if (loss_count == LOSSES_MAX) drop_passed(log_time_ms);
  if (loss_count == LOSSES_MAX || !page_for(losses, loss_count, LOSSES_PER_PAGE_SHIFT)) {
    left_out_to_ms = max(left_out_to_ms, loss_to_ms);
    return;
  }
  const fresh = loss(loss_count++);
  fresh.from_ms = loss_from_ms;
  fresh.to_ms = loss_to_ms;
  fresh.host = host;
}

/** Those that end before the log's time say nothing of what is asked of a snapshot made from now on. */
function drop_passed(log_time_ms: u64): void {
  let left: u32 = 0;
  for (let i: u32 = 0; i < loss_count; i++) {
    if (loss(i).to_ms <= log_time_ms) continue;
    if (i != left) memory.copy(changetype<usize>(loss(left)), changetype<usize>(loss(i)), offsetof<Loss>());
    left++;
  }
  loss_count = left;
}

/** Whether the event leaves it open on which side of the instant something happened. */
export function casts_doubt(event: Event, instant_ms: u64): bool {
  const not_before = event.not_before_ms;
  if (not_before != 0 && not_before < instant_ms && instant_ms <= min(event.time_ms, event.log_time_ms)) return true;
  if (event.change != OBSERVED) return false;
  start_reading(event.body, event.body + event.body_bytes);
  while (next_loss()) if (loss_from_ms <= instant_ms && instant_ms <= loss_to_ms) return true;
  return false;
}

@inline
function mark_at(host: u32): usize {
  const page: usize = load<u32>(marks + (<usize>(host >> BITS_PER_PAGE_SHIFT) << 2));
  return page == 0 ? 0 : page + ((host & ((1 << BITS_PER_PAGE_SHIFT) - 1)) >> 3);
}

/** False where there is no room for the mark. */
export function mark_uncertain(host: u32): bool {
  if (!page_for(marks, host, BITS_PER_PAGE_SHIFT)) return false;
  const byte = mark_at(host);
  const bit: u32 = 1 << (host & 7);
  const before = load<u8>(byte);
  if (!(before & bit)) uncertain_count++;
  store<u8>(byte, <u8>(before | bit));
  return true;
}

export function is_uncertain(host: u32): bool {
  const byte = mark_at(host);
  return byte != 0 && (load<u8>(byte) & (1 << (host & 7))) != 0;
}

/**
 * Takes all marks away, and marks the hosts that a kept loss puts in doubt at the instant. False where the kept ones
 * do not tell: some found no place, or there is no room for the marks.
 */
export function mark_losses(instant_ms: u64): bool {
  for (let host: u32 = 0; host < host_count && uncertain_count != 0; host += 1 << BITS_PER_PAGE_SHIFT) {
    const page: usize = load<u32>(marks + (<usize>(host >> BITS_PER_PAGE_SHIFT) << 2));
    if (page != 0) memory.fill(page, 0, 1 << (BITS_PER_PAGE_SHIFT - 3));
  }
  uncertain_count = 0;
  for (let i: u32 = 0; i < loss_count; i++) {
    const known = loss(i);
    if (known.from_ms <= instant_ms && instant_ms <= known.to_ms && !mark_uncertain(known.host)) return false;
  }
  return left_out_to_ms == 0 || instant_ms > left_out_to_ms;
}
