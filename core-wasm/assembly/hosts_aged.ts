// Hosts that were last heard of too long ago, of all hosts: a compare of minutes, and a look-up only around those.
import { outcome, outcome_count, outcome_of_configuration, OUTCOMES_MAX } from "./check";
import { column_block, configuration_of, host_count, HOSTS_PER_BLOCK, HOSTS_PER_LINE, MINUTES_AT, minute_of_host } from "./hosts";
import { take_pages } from "./memory";

// By outcome, four counts: neighbours often have the same outcome, and a count must not wait for the one before it.
let counts: usize = 0;
const COUNTS_SHIFT: u32 = 4;

export function start_hosts_aged(): bool {
  counts = take_pages((OUTCOMES_MAX << COUNTS_SHIFT) / 65536);
  return counts != 0;
}

/** All ones in each lane whose host of the four at `at` was last heard of before that minute. */
@inline
export function four_aged(at: usize, minutes: v128): v128 {
  return i32x4.lt_u(v128.load(at, MINUTES_AT), minutes);
}

/** Of a host in the lane: its count goes up by one where the mask says so, without a branch. */
@inline
function count_lane(configuration: u32, mask: u32, lane: u32): void {
  const at = counts + (<usize>outcome_of_configuration(configuration) << COUNTS_SHIFT) + (lane << 2);
  store<u32>(at, load<u32>(at) - mask);
}

@inline
function count_four(at: usize, aged: v128): void {
  count_lane(load<u32>(at), <u32>i32x4.extract_lane(aged, 0), 0);
  count_lane(load<u32>(at, 4), <u32>i32x4.extract_lane(aged, 1), 1);
  count_lane(load<u32>(at, 8), <u32>i32x4.extract_lane(aged, 2), 2);
  count_lane(load<u32>(at, 12), <u32>i32x4.extract_lane(aged, 3), 3);
}

/** Counts, beside each outcome, its hosts that were last heard of before `minute`. After `place_outcomes`. */
export function count_aged(minute: u32): void {
  memory.fill(counts, 0, <usize>outcome_count << COUNTS_SHIFT);
  const minutes = i32x4.splat(minute);
  const whole = host_count & ~(HOSTS_PER_LINE - 1);
  for (let from: u32 = 0; from < whole; from += HOSTS_PER_BLOCK) {
    const lines = min(whole - from, HOSTS_PER_BLOCK) / HOSTS_PER_LINE;
    let at = column_block(from / HOSTS_PER_BLOCK);
    for (const end = at + (<usize>lines << 6); at < end; at += 64) {
      const low = four_aged(at, minutes);
      const high = four_aged(at + 16, minutes);
      if (!v128.any_true(v128.or(low, high))) continue;
      count_four(at, low);
      count_four(at + 16, high);
    }
  }
  for (let i = whole; i < host_count; i++) count_lane(configuration_of(i), minute_of_host(i) < minute ? -1 : 0, 0);
  for (let i: u32 = 0; i < outcome_count; i++) {
    const at = counts + (<usize>i << COUNTS_SHIFT);
    outcome(i).aged = load<u32>(at) + load<u32>(at, 4) + load<u32>(at, 8) + load<u32>(at, 12);
  }
}
