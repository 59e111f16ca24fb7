// What JavaScript reads of hosts and configurations: words in a buffer, texts as address and length. No strings are
// made here.
import { built_for_other_kernel, resolve_all, resolved } from "./catalog";
import {
  flags,
  hosts_of,
  kernel_id,
  KNOWLEDGE_SHIFT,
  lingering_count,
  lingering_word,
  open_configuration,
  stack_count,
  stack_word,
  words_of,
} from "./configurations";
import { configuration_of, effective_time, Host, host, stream_start } from "./hosts";
import { string_at, string_bytes } from "./strings";
import { installed_patch, kernel, strings } from "./tables";

/** 16 words of head, 8 of each of at most 64 + 256 entries. */
export const view: usize = memory.data(4 * (16 + 8 * 320), 8);

@inline
function put_text(word: usize, id: u32): void {
  store<u32>(word, id == 0 ? 0 : <u32>string_at(strings, id));
  store<u32>(word, id == 0 ? 0 : string_bytes(strings, id), 4);
}

/**
 * u64 stream, u64 effective time, u64 position, u64 start of the stream, u32 sequence, u32 configuration, u32 address
 * and u32 length of the id, u32 knowledge.
 */
export function view_host(i: u32): void {
  const record: Host = host(i);
  const id: usize = record.id;
  store<u64>(view, record.stream);
  store<u64>(view, effective_time(record), 8);
  store<u64>(view, record.position, 16);
  store<u64>(view, stream_start(record), 24);
  store<u32>(view, record.sequence, 32);
  store<u32>(view, configuration_of(i), 36);
  store<u32>(view, <u32>id + 1, 40);
  store<u32>(view, <u32>load<u8>(id), 44);
  store<u32>(view, load<u32>(words_of(configuration_of(i)), 4) >> KNOWLEDGE_SHIFT, 48);
}

function put_entry(at: usize, installed: u32, value: u32): void {
  const reference = installed_patch(installed);
  put_text(at, reference.name);
  put_text(at + 8, reference.build_id);
  store<u32>(at, value, 16);
  store<u32>(at, installed, 20);
  store<u32>(at, resolved(installed), 24);
  store<u32>(at, built_for_other_kernel(installed) ? 1 : 0, 28);
}

/**
 * Head: release (address, length), arch (address, length), flags, hosts, stack count, lingering count. Entries, stack
 * first: name, build id (address, length each), phase or pinned, installed patch, manifest, built for other kernel.
 */
export function view_configuration(id: u32): bool {
  if (!resolve_all()) return false;
  open_configuration(id);
  put_text(view, kernel(kernel_id).release);
  put_text(view + 8, kernel(kernel_id).arch);
  store<u32>(view, flags, 16);
  store<u32>(view, hosts_of(id), 20);
  store<u32>(view, stack_count, 24);
  store<u32>(view, lingering_count, 28);
  let at = view + 64;
  for (let i: u32 = 0; i < stack_count; i++, at += 32) put_entry(at, stack_word(i) >> 2, stack_word(i) & 3);
  for (let i: u32 = 0; i < lingering_count; i++, at += 32) put_entry(at, lingering_word(i) >> 1, lingering_word(i) & 1);
  return true;
}

/** One installed patch as an entry of a configuration. After a check, or another view of a configuration. */
export function view_installed(installed: u32): void {
  put_entry(view, installed, 0);
}
