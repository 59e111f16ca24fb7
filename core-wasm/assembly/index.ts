// The core's exports: what services/core/ binds to. An instance is one partition (`start`) or the stateless way in
// (`start_way_in`). It knows bytes and numbers; it has no clock, no I/O, and makes no strings.
import {
  check_batch as run_batch,
  codes as batch_code_table,
  start_batch,
  tally as batch_tally_table,
} from "./batch";
import { manifest_count as manifests, put_manifest as add_manifest, start_catalog, withdraw_manifest } from "./catalog";
import {
  check as run_check,
  outcome_count as check_outcomes,
  outcome_of_configuration,
  outcomes as check_outcome_table,
  place_outcomes as put_outcomes,
  start_check,
} from "./check";
import {
  entries as chain_entry_table,
  entry_count as chain_entries_made,
  frame_count as chain_frames_made,
  frames as chain_frame_table,
  record_count as chain_records_made,
  records as chain_record_table,
} from "./chain";
import {
  configuration_count as configuration_ids,
  configurations_live as live_configurations,
  keep_configurations,
  open_configuration,
  serial_of as configuration_serial,
  start_configurations,
  words_of,
} from "./configurations";
import {
  cut_batch as cut,
  cut_count as cuts_made,
  cuts as cut_table,
  part_count as parts_made,
  parts as part_table,
  start_cut,
} from "./cut";
import { put_host_states as write_host_states, states_written as host_states_written } from "./digest";
import {
  anomaly_count,
  events_folded as folded,
  fold_frames as frames,
  fold_record as record,
  folded_to as folded_to_address,
  judge_record as judge,
  keep_fold,
  measure_record as measure,
  measured_unreadable as unreadable_measured,
  log_time_ms as log_time,
  marks_full as no_room_for_marks,
  next_offset as next,
  outcome_count as fold_outcomes,
  outcomes as fold_outcome_table,
  quarantined as quarantine_table,
  quarantined_count as quarantine_entries,
  records_quarantined as quarantined_total,
  room_for as has_room_for,
  start_fold,
  stopped_at as stopped,
} from "./fold";
import { tag_of } from "./hash";
import { keep_hash_indexes } from "./hash_index";
import { put_host_facts } from "./host_facts";
import { lines_next, lines_written, put_host_lines } from "./host_lines";
import { previous_holder as find_previous_holder, version_at as find_version } from "./host_states";
import { count_aged, start_hosts_aged } from "./hosts_aged";
import { page_next, put_hosts_bitmap, put_hosts_page, start_hosts_found, want_outcomes as want_hosts_of } from "./hosts_found";
import { configuration_of, find_host_from, host_count as hosts_known, host_slot, keep_hosts, start_hosts } from "./hosts";
import { begin_keeping, kept_to } from "./kept";
import { is_uncertain as is_host_uncertain, keep_losses, mark_losses, start_losses, uncertain_count as uncertain } from "./losses";
import {
  buffers_to_here,
  own_from_here,
  owned_from_page,
  owned_to_page,
  room_bytes,
  start_memory,
  static_pages,
  take_pages,
  take_pages_to,
  used_bytes,
} from "./memory";
import { hosts_before_minute as count_hosts_before, keep_minutes } from "./minutes";
import { error_index as batch_error_index, record_error as batch_error } from "./record";
import { keep_tables, start_tables, strings } from "./tables";
import { start_transitions, untouched_bytes } from "./transitions";
import { view as view_buffer, view_configuration as show_configuration, view_host as show_host, view_installed as show_installed } from "./view";

/** Of the fold: what the same events become. Changes only with a change of RULES F. */
export function fold_version(): u32 {
  return 1;
}

/** Where callers put what they hand over, and how much fits. */
const INPUT_BYTES: u32 = 4 << 20;
let input_address: usize = 0;
/** Where lists are written. */
const OUTPUT_BYTES: u32 = 1 << 20;
let output_address: usize = 0;

export function input(): usize {
  return input_address;
}
export function input_bytes(): u32 {
  return INPUT_BYTES;
}
export function output(): usize {
  return output_address;
}
export function output_bytes(): u32 {
  return OUTPUT_BYTES;
}

function start_buffers(): bool {
  input_address = take_pages(INPUT_BYTES / 65536);
  output_address = take_pages(OUTPUT_BYTES / 65536);
  return input_address != 0 && output_address != 0;
}

/**
 * Makes the instance a partition's core. `partition` is 2^32-1 where hosts of any partition belong. `seed` spreads
 * the tables; it changes no answer. An instance may be started again, for another history.
 */
export function start(partition: u32, partitions: u32, limit_pages: u32, seed: u64): bool {
  start_memory(limit_pages);
  // What a call leaves behind comes first, so that the pages of the fold are one stretch.
  if (!start_buffers() || !start_fold(partition, partitions) || !start_transitions()) return false;
  buffers_to_here();
  if (!start_check() || !start_hosts_aged()) return false;
  start_hosts_found();
  start_batch();
  own_from_here();
  return (
    start_tables(seed) && start_configurations() && start_hosts() && start_losses() && start_catalog(seed)
  );
}

/** Makes the instance one that only cuts batches. */
export function start_way_in(seed: u64): bool {
  start_memory(65536);
  return start_buffers() && start_cut(seed);
}

// The way in.

/** Cuts the batch in the input; the number of its events, 0 where it is refused (`batch_error`). */
export function cut_batch(length: u32, partitions: u32): u32 {
  return cut(input_address, length, partitions);
}
export function cut_count(): u32 {
  return cuts_made;
}
export function cuts(): usize {
  return cut_table;
}
export function part_count(): u32 {
  return parts_made;
}
export function parts(): usize {
  return part_table;
}
export function record_error(): u32 {
  return batch_error;
}
export function error_index(): u32 {
  return batch_error_index;
}

// The fold.

/** Folds the frames at an address within the input; `wanted` as in fold.ts. */
export function fold_frames(at: usize, length: u32, wanted: u32, up_to_ms: u64, doubt_ms: u64): u32 {
  return frames(at, length, wanted, up_to_ms, doubt_ms);
}
/** Where the last call of `fold_frames` ended. */
export function folded_to(): usize {
  return folded_to_address;
}
/** The tables of the last call with the chain; `chain_entries` also takes what a fold as of an instant is given. */
export function chain_frames(): usize {
  return chain_frame_table;
}
export function chain_frame_count(): u32 {
  return chain_frames_made;
}
export function chain_records(): usize {
  return chain_record_table;
}
export function chain_record_count(): u32 {
  return chain_records_made;
}
export function chain_entries(): usize {
  return chain_entry_table;
}
export function chain_entry_count(): u32 {
  return chain_entries_made;
}
/** Folds the record in the input as if it stood at (offset, index). */
export function fold_record(length: u32, offset: u64, index: u32, log_time_ms: u64): u32 {
  return record(input_address, length, offset, index, log_time_ms);
}
/** Whether the record in the input would be applied: 0, or what is wrong with it. */
export function judge_record(length: u32): u32 {
  return judge(input_address, length);
}
export function outcomes(): usize {
  return fold_outcome_table;
}
export function outcome_count(): u32 {
  return fold_outcomes;
}
export function quarantined(): usize {
  return quarantine_table;
}
export function quarantined_count(): u32 {
  return quarantine_entries;
}
export function next_offset(): u64 {
  return next;
}
export function log_time_ms(): u64 {
  return log_time;
}
export function stopped_at(): u64 {
  return stopped;
}
export function events_folded(): u64 {
  return folded;
}
export function records_quarantined(): u64 {
  return quarantined_total;
}
/** How often the anomaly of that bit was seen. */
export function anomalies_seen(bit: u32): u64 {
  return anomaly_count(bit);
}
/** How many events the record in the input has; 0: it would not be applied. */
export function measure_record(length: u32): u32 {
  return measure(input_address, length);
}
/** Of the record measured last, events that say UNREADABLE. */
export function measured_unreadable(): u32 {
  return unreadable_measured;
}
export function room_for(events: u32, unreadable: u32, record_bytes: u32, new_hosts: bool): bool {
  return has_room_for(events, unreadable, record_bytes, new_hosts);
}
export function memory_used(): u64 {
  return used_bytes() - untouched_bytes();
}
export function memory_room(): u64 {
  return room_bytes();
}

// Doubt (RULES F8).

/** Marks the hosts that a loss told earlier puts in doubt, and no others; false where not all is known of them. */
export function mark_doubt(instant_ms: u64): bool {
  return mark_losses(instant_ms);
}
export function marks_full(): bool {
  return no_room_for_marks;
}
export function uncertain_count(): u32 {
  return uncertain;
}
export function is_uncertain(host: u32): bool {
  return is_host_uncertain(host);
}

// Images: all that the fold knows, as pages and counters, of a core that was given no manifest. `start` is the same
// every time, so that an address in an image is good in every core of the same binary.

export function image_static_pages(): u32 {
  return static_pages();
}
export function image_from_page(): u32 {
  return owned_from_page();
}
export function image_to_page(): u32 {
  return owned_to_page();
}
/** Makes room in a core that was just started; false at the limit. */
export function image_room(to_page: u32): bool {
  return take_pages_to(to_page);
}
/** Writes the counters to the output, or takes them from there; the bytes that they are. */
export function image_counters(restore: bool): u32 {
  begin_keeping(output_address, restore);
  keep_hash_indexes();
  keep_tables();
  keep_configurations();
  keep_hosts();
  keep_minutes();
  keep_losses();
  keep_fold();
  return <u32>(kept_to() - output_address);
}

// Look-ups.

export function host_count(): u32 {
  return hosts_known;
}
/** Number of the host whose id is in the input; 2^32-1 where there is none. */
export function find_host(length: u32): u32 {
  const tag = tag_of(input_address, length, strings.seed);
  return find_host_from(host_slot(tag), tag, input_address, length);
}
/** Writes what is known of the `count` hosts of the input's list to the output (host_facts.ts has both layouts). */
export function host_facts(count: u32): void {
  put_host_facts(input_address, count, output_address);
}
export function view(): usize {
  return view_buffer;
}
export function view_host(host: u32): void {
  show_host(host);
}
export function view_configuration(configuration: u32): bool {
  return show_configuration(configuration);
}
export function view_installed(installed: u32): void {
  show_installed(installed);
}
export function configuration_count(): u32 {
  return configuration_ids;
}
export function configurations_live(): u32 {
  return live_configurations;
}
export function is_live(configuration: u32): bool {
  return words_of(configuration) != 0;
}
/** Tells a configuration from all others that had its number; 0: nothing does. */
export function serial_of(configuration: u32): u32 {
  return configuration_serial(configuration);
}
export function hosts_before_minute(minute: u32): u32 {
  return count_hosts_before(minute);
}
/** klp_get_state of the patch at a position of the host's stack; -1 where it does not have the state. */
export function version_at(host: u32, position: u32, id: u64): i64 {
  open_configuration(configuration_of(host));
  return find_version(position, id);
}
/** klp_get_prev_state for the patch at a position: the position of the earlier holder; -1 where there is none. */
export function previous_holder(host: u32, position: u32, id: u64): i32 {
  open_configuration(configuration_of(host));
  return find_previous_holder(position, id);
}
/** Writes canonical states to the output; the bytes written. */
export function put_host_states(first_host: u32): u32 {
  return write_host_states(first_host, output_address, OUTPUT_BYTES);
}
export function states_written(): u32 {
  return host_states_written;
}

// The catalog.

/** Adds the manifest in the input (catalog.ts has its layout); its number, 2^32-1 where there is no room. */
export function put_manifest(): u32 {
  return add_manifest(input_address);
}
export function withdraw(manifest: u32): void {
  withdraw_manifest(manifest);
}
export function manifest_count(): u32 {
  return manifests;
}

// Checks.

/** Checks the candidate in the input, its name and behind it its build id; the number of outcomes. */
export function check(name_bytes: u32, build_id_bytes: u32): u32 {
  return run_check(input_address, name_bytes, input_address + name_bytes, build_id_bytes);
}
/**
 * Checks up to 128 candidates in the input (batch.ts has its layout), over the hosts last heard of before the minute, or
 * with 0 over all; the number of codes in the table. 2^32-1: they are to be checked one by one.
 */
export function check_batch(count: u32, before_minute: u32): u32 {
  return run_batch(count, input_address, before_minute);
}
/** u32 each: verdict, reason and warnings in its lower three bytes. */
export function batch_codes(): usize {
  return batch_code_table;
}
/** By code u32 hosts of each of 128 candidates. */
export function batch_tally(): usize {
  return batch_tally_table;
}
/** Before hosts of the last check are asked for; false where there is no room. */
export function place_outcomes(): bool {
  return put_outcomes();
}
/** After `place_outcomes`. */
export function check_age(minute: u32): void {
  count_aged(minute);
}
export function check_outcome_count(): u32 {
  return check_outcomes;
}
export function check_outcome_at(): usize {
  return check_outcome_table;
}
export function outcome_of_host(host: u32): u32 {
  return outcome_of_configuration(configuration_of(host));
}

/** After `place_outcomes` (hosts_found.ts has the rest): pairs to the output, of outcomes with a 1 in the input's bytes. */
export function hosts_page(first: u32, count_max: u32, aged_minute: u32, aged_wanted: bool): u32 {
  return put_hosts_page(first, count_max, input_address, aged_minute, aged_wanted, output_address);
}
export function hosts_page_next(): u32 {
  return page_next;
}
/** After `place_outcomes` (host_lines.ts has the rest, and what is in the input): lines to the output; their bytes. */
export function host_lines(first: u32, count_max: u32, aged_minute: u32, stale_minute: u32): u32 {
  return put_host_lines(first, count_max, aged_minute, stale_minute, input_address, output_address, OUTPUT_BYTES);
}
export function host_line_count(): u32 {
  return lines_written;
}
export function host_lines_next(): u32 {
  return lines_next;
}
/** After `place_outcomes`: takes a byte for each outcome from the input, for `hosts_bitmap`; false where there is no room. */
export function want_outcomes(): bool {
  return want_hosts_of(input_address);
}
/** Hosts from block `first` on, of 16,384 each, as bits in the output; how many bytes. */
export function hosts_bitmap(first: u32, blocks: u32, aged_minute: u32, aged_wanted: bool): u32 {
  let bytes: u32 = 0;
  for (let i: u32 = 0; i < blocks; i++) {
    bytes += put_hosts_bitmap(first + i, aged_minute, aged_wanted, output_address + bytes);
  }
  return bytes;
}
