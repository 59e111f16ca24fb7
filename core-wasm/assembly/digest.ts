// A host's state as the canonical protobuf message klpstate.v1.HostState (RULES F9): fields in order, defaults left
// out. Who asks hashes the bytes; equal bytes mean equal states on every machine.
import {
  flags,
  FORCED,
  FTRACE_OFF,
  kernel_id,
  knowledge,
  lingering_count,
  lingering_word,
  LIVEPATCHING_MASK,
  MODULES_DISABLED,
  open_configuration,
  POLICY_MASK,
  SIGNATURE_REQUIRED,
  stack_count,
  stack_word,
} from "./configurations";
import { configuration_of, host, host_count } from "./hosts";
import { string_at, string_bytes } from "./strings";
import { installed_patch, kernel, strings } from "./tables";

/** 64 stack and 256 lingering entries of at most 131 bytes, and the rest. */
const STATE_BYTES_MAX: u32 = 44 * 1024;

let at: usize = 0;

@inline
function put_byte(value: u32): void {
  store<u8>(at++, <u8>value);
}

function put_varint(value: u64): void {
  while (value >= 128) {
    put_byte(<u32>value | 128);
    value >>= 7;
  }
  put_byte(<u32>value);
}

function put_text(tag: u32, from: usize, length: u32): void {
  if (length == 0) return;
  put_byte(tag);
  put_varint(length);
  memory.copy(at, from, length);
  at += length;
}

@inline
function put_string(tag: u32, id: u32): void {
  if (id != 0) put_text(tag, string_at(strings, id), string_bytes(strings, id));
}

function put_number(tag: u32, value: u64): void {
  if (value == 0) return;
  put_byte(tag);
  put_varint(value);
}

@inline
function text_bytes(id: u32): u32 {
  // Names and build ids are below 128 bytes: one byte of length.
  return id == 0 ? 0 : 2 + string_bytes(strings, id);
}

/** An entry of stack or lingering: field 1 the patch, field 2 the phase or whether it is pinned. */
function put_entry(tag: u32, installed: u32, value: u32): void {
  const reference = installed_patch(installed);
  const patch_bytes = text_bytes(reference.name) + text_bytes(reference.build_id);
  put_byte(tag);
  put_varint(2 + patch_bytes + (patch_bytes >= 128 ? 1 : 0) + (value != 0 ? 2 : 0));
  put_byte((1 << 3) | 2);
  put_varint(patch_bytes);
  put_string((1 << 3) | 2, reference.name);
  put_string((2 << 3) | 2, reference.build_id);
  put_number(2 << 3, value);
}

function put_host(i: u32): void {
  const record = host(i);
  open_configuration(configuration_of(i));
  const id: usize = record.id;
  put_text((1 << 3) | 2, id + 1, load<u8>(id));
  put_byte((2 << 3) | 1);
  store<u64>(at, record.stream);
  at += 8;
  put_number(3 << 3, record.sequence);
  put_string((4 << 3) | 2, kernel(kernel_id).release);
  put_string((5 << 3) | 2, kernel(kernel_id).arch);
  put_number(6 << 3, flags & LIVEPATCHING_MASK);
  if (flags & POLICY_MASK) {
    put_byte((7 << 3) | 2);
    put_varint(2 * popcnt(flags & POLICY_MASK));
    put_number(1 << 3, flags & MODULES_DISABLED ? 1 : 0);
    put_number(2 << 3, flags & SIGNATURE_REQUIRED ? 1 : 0);
    put_number(3 << 3, flags & FTRACE_OFF ? 1 : 0);
  }
  for (let n: u32 = 0; n < stack_count; n++) put_entry((8 << 3) | 2, stack_word(n) >> 2, stack_word(n) & 3);
  for (let n: u32 = 0; n < lingering_count; n++) {
    put_entry((9 << 3) | 2, lingering_word(n) >> 1, lingering_word(n) & 1);
  }
  put_number(10 << 3, flags & FORCED ? 1 : 0);
  put_number(11 << 3, knowledge());
}

/** How many hosts the last `put_host_states` wrote. */
export let states_written: u32 = 0;

/** Writes states of hosts from `first` on, each behind its u32 length, while there is room; returns the bytes. */
export function put_host_states(first: u32, into: usize, room: u32): u32 {
  at = into;
  states_written = 0;
  for (let i = first; i < host_count && at + STATE_BYTES_MAX < into + room; i++) {
    const length = at;
    at += 4;
    put_host(i);
    store<u32>(length, <u32>(at - length) - 4);
    states_written++;
  }
  return <u32>(at - into);
}
