// Many hosts at once: what an acknowledgement tells of each, looked up by their ids. Staged like the fold, and for the
// same reason: the cache misses of a block's hosts overlap.
import { KNOWLEDGE_SHIFT, words_of } from "./configurations";
import { tag_of } from "./hash";
import { slot_value } from "./hash_index";
import { configuration_place, configuration_of, effective_time, find_host_from, Host, host, host_slot, NONE, seek_slot } from "./hosts";
import { list_place, places, PLACES_MAX, read_places } from "./read_ahead";
import { strings } from "./tables";

const BLOCK: u32 = PLACES_MAX / 3;

/** The host id that stands in the list, and where its look-up has come to. */
@unmanaged
class Asked {
  id: u32;
  tag: u32;
  slot: u32;
  host: u32;
}
const ASKED_BYTES: usize = 16;
const asked: usize = memory.data(16 * 64, 8);

@inline
function asked_at(i: u32): Asked {
  return changetype<Asked>(asked + <usize>i * ASKED_BYTES);
}

/** The next `count` ids of the list at `at`, found as far as they are; where the list goes on. */
function find_block(at: usize, count: u32): usize {
  let end = places;
  for (let i: u32 = 0; i < count; i++) {
    const entry = asked_at(i);
    const length = <u32>load<u8>(at);
    entry.id = <u32>at;
    entry.tag = tag_of(at + 1, length, strings.seed);
    entry.slot = <u32>host_slot(entry.tag);
    end = list_place(end, entry.slot);
    at += 1 + length;
  }
  read_places(end);
  end = places;
  for (let i: u32 = 0; i < count; i++) {
    const entry = asked_at(i);
    entry.slot = <u32>seek_slot(entry.slot, entry.tag);
    const value = slot_value(entry.slot);
    if (value == 0) continue;
    end = list_place(end, changetype<usize>(host(value - 1)));
    end = list_place(end, configuration_place(value - 1));
  }
  read_places(end);
  for (let i: u32 = 0; i < count; i++) {
    const entry = asked_at(i);
    const id: usize = entry.id;
    entry.host = find_host_from(entry.slot, entry.tag, id + 1, load<u8>(id));
  }
  return at;
}

/**
 * Of each of `count` ids (a length byte, then the id) 16 bytes: u64 effective time, u32 sequence, u32 knowledge, which
 * is 0 for a host that is not known.
 */
export function put_host_facts(ids: usize, count: u32, rows: usize): void {
  for (let done: u32 = 0; done < count; done += BLOCK) {
    const block = min(BLOCK, count - done);
    ids = find_block(ids, block);
    for (let i: u32 = 0; i < block; i++, rows += 16) {
      const found = asked_at(i).host;
      if (found == NONE) {
        store<u64>(rows, 0);
        store<u64>(rows, 0, 8);
        continue;
      }
      const record: Host = host(found);
      store<u64>(rows, effective_time(record));
      store<u32>(rows, record.sequence, 8);
      store<u32>(rows, load<u32>(words_of(configuration_of(found)), 4) >> KNOWLEDGE_SHIFT, 12);
    }
  }
}
