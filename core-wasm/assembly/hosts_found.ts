// After a check: which hosts have an outcome that is wanted, as a list or as a bitmap. Those last heard of before
// `aged_minute` are `unknown: stale`, whatever their outcome: of them `aged_wanted` says whether they are. Minute 0: none.
import { by_configuration, outcome_of_configuration, paged } from "./check";
import { BLOCK_SHIFT, heads_of } from "./columns";
import { configuration_count } from "./configurations";
import { gather_bytes } from "./gather";
import { column_block, configuration_of, host_count, HOSTS_PER_BLOCK, minute_block, minute_of_host } from "./hosts";
import { four_aged } from "./hosts_aged";
import { take_pages } from "./memory";

// By configuration: the highest bit where its outcome is wanted.
let wanted_configurations: usize = 0;
let wanted_pages: u32 = 0;

export function start_hosts_found(): void {
  wanted_configurations = 0;
  wanted_pages = 0;
}

export let page_next: u32 = 0;

/**
 * Writes pairs (host, outcome) from host `first` on, of hosts whose outcome has a 1 in the bytes at `wanted`, at most
 * `count_max`; the number of pairs. `page_next` says where to go on.
 */
export function put_hosts_page(
  first: u32,
  count_max: u32,
  wanted: usize,
  aged_minute: u32,
  aged_wanted: bool,
  into: usize,
): u32 {
  let count: u32 = 0;
  let i = first;
  for (; i < host_count && count < count_max; i++) {
    const outcome = outcome_of_configuration(configuration_of(i));
    if (!(minute_of_host(i) < aged_minute ? aged_wanted : <bool>load<u8>(wanted + outcome))) continue;
    store<u32>(into + (<usize>count << 3), i);
    store<u32>(into + (<usize>count << 3), outcome, 4);
    count++;
  }
  page_next = i;
  return count;
}

/** Takes over which outcomes are wanted, a byte each, 0 or 1; false where there is no room. */
export function want_outcomes(wanted: usize): bool {
  const pages = (configuration_count + 65535) >> 16;
  if (wanted_pages < pages) {
    const taken = max(pages, 2 * wanted_pages);
    wanted_configurations = take_pages(taken);
    wanted_pages = wanted_configurations == 0 ? 0 : taken;
    if (wanted_configurations == 0) return false;
  }
  for (let from: u32 = 0; from < configuration_count; from += 1 << BLOCK_SHIFT) {
    const placed = paged(by_configuration, from);
    const heads = heads_of(from >> BLOCK_SHIFT);
    const to = min(configuration_count, from + (1 << BLOCK_SHIFT));
    for (let id = from; id < to; id++) {
      const is_there = load<u32>(heads + (<usize>(id - from) << 2)) != 0;
      const is_wanted = is_there ? load<u8>(wanted + load<u32>(placed + (<usize>(id - from) << 2))) : 0;
      store<u8>(wanted_configurations + id, is_wanted << 7);
    }
  }
  return true;
}

/**
 * A bit for each host of a block, the lowest of a byte first; bits behind the last host are 0. After `want_outcomes`.
 * The bytes written: none behind the last block.
 */
export function put_hosts_bitmap(block: u32, aged_minute: u32, aged_wanted: bool, into: usize): u32 {
  const from = block * HOSTS_PER_BLOCK;
  if (from >= host_count) return 0;
  const count = min(host_count - from, HOSTS_PER_BLOCK);
  const column = column_block(block);
  const of_hosts = minute_block(block);
  const bytes = (count + 7) >> 3;
  const minutes = i32x4.splat(aged_minute);
  const of_aged: u32 = aged_wanted ? 255 : 0;
  for (let byte: u32 = 0; byte < bytes; byte++) {
    let bits = <u32>i8x16.bitmask(gather_bytes(wanted_configurations, column + (<usize>byte << 5)));
    if (aged_minute != 0) {
      const told = of_hosts + (<usize>byte << 5);
      const aged = <u32>i32x4.bitmask(four_aged(told, minutes)) | (<u32>i32x4.bitmask(four_aged(told + 16, minutes)) << 4);
      bits = (bits & ~aged) | (of_aged & aged);
    }
    store<u8>(into + byte, bits);
  }
  // Behind the last host the column says 0, which may be a configuration, and is a minute.
  const rest = count & 7;
  if (rest != 0) store<u8>(into + bytes - 1, <u8>(<u32>load<u8>(into + bytes - 1) & ((1 << rest) - 1)));
  return bytes;
}
