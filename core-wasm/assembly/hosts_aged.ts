// Hosts that were last heard of too long ago, of all hosts: a compare of minutes, and a look-up only around those.
import { outcome, outcome_count, outcome_of_configuration, OUTCOMES_MAX } from "./check";
import { configuration_count } from "./configurations";
import { column_block, configuration_of, host_count, HOSTS_PER_BLOCK, minute_block, minute_of_host } from "./hosts";
import { take_pages } from "./memory";

// Four counts a row: neighbours often count in the same row, and a count must not wait for the one before it. Rows are of
// configurations where these are few, which spares the look-up of each host's outcome; else of outcomes.
let counts: usize = 0;
const COUNTS_SHIFT: u32 = 4;
const ROWS_MAX: u32 = OUTCOMES_MAX;

/** Hosts that are passed over where none of them is too old: the more, the seldomer the processor guesses wrong. */
const HOSTS_PER_STEP: u32 = 32;
const STEP_BYTES: usize = <usize>HOSTS_PER_STEP << 2;

export function start_hosts_aged(): bool {
  counts = take_pages((ROWS_MAX << COUNTS_SHIFT) / 65536);
  return counts != 0;
}

/** All ones in each lane whose minute, of the four at `at`, is before the given one. */
@inline
export function four_aged(at: usize, minutes: v128): v128 {
  return i32x4.lt_u(v128.load(at), minutes);
}

/** Of a host in the lane: its count goes up by one where the mask says so, without a branch. */
@inline
function count_lane(configuration: u32, mask: u32, lane: u32, few: bool): void {
  const row = few ? configuration : outcome_of_configuration(configuration);
  const at = counts + (<usize>row << COUNTS_SHIFT) + (lane << 2);
  store<u32>(at, load<u32>(at) - mask);
}

@inline
function count_four(at: usize, aged: v128, few: bool): void {
  count_lane(load<u32>(at), <u32>i32x4.extract_lane(aged, 0), 0, few);
  count_lane(load<u32>(at, 4), <u32>i32x4.extract_lane(aged, 1), 1, few);
  count_lane(load<u32>(at, 8), <u32>i32x4.extract_lane(aged, 2), 2, few);
  count_lane(load<u32>(at, 12), <u32>i32x4.extract_lane(aged, 3), 3, few);
}

@inline
function count_all(minute: u32, few: bool): void {
  const minutes = i32x4.splat(minute);
  const whole = host_count & ~(HOSTS_PER_STEP - 1);
  for (let from: u32 = 0; from < whole; from += HOSTS_PER_BLOCK) {
    const configurations = column_block(from / HOSTS_PER_BLOCK);
    const of_hosts = minute_block(from / HOSTS_PER_BLOCK);
    const bytes = <usize>min(whole - from, HOSTS_PER_BLOCK) << 2;
    for (let at: usize = 0; at < bytes; at += STEP_BYTES) {
      let any = i32x4.splat(0);
      for (let four = at; four < at + STEP_BYTES; four += 16) any = v128.or(any, four_aged(of_hosts + four, minutes));
      if (!v128.any_true(any)) continue;
      for (let four = at; four < at + STEP_BYTES; four += 16) {
        count_four(configurations + four, four_aged(of_hosts + four, minutes), few);
      }
    }
  }
  for (let i = whole; i < host_count; i++) count_lane(configuration_of(i), minute_of_host(i) < minute ? -1 : 0, 0, few);
}

/** Counts, beside each outcome, its hosts that were last heard of before `minute`. After `place_outcomes`. */
export function count_aged(minute: u32): void {
  const few = configuration_count <= ROWS_MAX;
  const rows = few ? configuration_count : outcome_count;
  memory.fill(counts, 0, <usize>rows << COUNTS_SHIFT);
  if (few) count_all(minute, true);
  else count_all(minute, false);
  for (let i: u32 = 0; i < outcome_count; i++) outcome(i).aged = 0;
  for (let row: u32 = 0; row < rows; row++) {
    const at = counts + (<usize>row << COUNTS_SHIFT);
    const aged = load<u32>(at) + load<u32>(at, 4) + load<u32>(at, 8) + load<u32>(at, 12);
    // A configuration that has no hosts has no outcome.
    if (aged != 0) outcome(few ? outcome_of_configuration(row) : row).aged += aged;
  }
}
