// What the events of a block will need is read ahead (read_ahead.ts), one kind after the other: where each is, the one
// before it says. Nothing depends on it but time: a guess may be wrong, and a host may change within its block.
import { host_cell } from "./columns";
import { configurations_live, entry_place, words_of } from "./configurations";
import { likely_end, slot_value } from "./hash_index";
import { configuration_of, configuration_place, host, host_slot, minute_place, seek_slot } from "./hosts";
import { list_place, places, PLACES_MAX, read_places } from "./read_ahead";
import { Event, EVENT_STRIDE } from "./record";
import { likely_transition, number_of_step, set_of } from "./transitions";

/** Events of a block: enough to overlap misses, few enough for all that they need to stay in the first-level cache. */
export const BLOCK: u32 = PLACES_MAX / 3;

/** Where they are fewer, they are near anyway. */
const MANY_CONFIGURATIONS: u32 = 2048;

@inline
function event_at(block: usize, i: u32): Event {
  return changetype<Event>(block + <usize>i * EVENT_STRIDE);
}

/** Of `count` events, at most BLOCK; leaves with each its slot, and the number of its step where its host is known. */
export function read_block_ahead(block: usize, count: u32): void {
  let end = places;
  for (let i: u32 = 0; i < count; i++) {
    const event = event_at(block, i);
    event.slot = <u32>host_slot(event.tag);
    end = list_place(end, event.slot);
    end = list_place(end, likely_end(event.slot));
  }
  read_places(end);
  end = places;
  for (let i: u32 = 0; i < count; i++) {
    const event = event_at(block, i);
    // To the tag's own slot: a third of all hosts are not where their probe begins.
    event.slot = <u32>seek_slot(event.slot, event.tag);
    const value = slot_value(event.slot);
    if (value == 0) continue;
    end = list_place(end, changetype<usize>(host(value - 1)));
    end = list_place(end, configuration_place(value - 1));
    end = list_place(end, minute_place(value - 1));
  }
  read_places(end);
  end = places;
  for (let i: u32 = 0; i < count; i++) {
    const event = event_at(block, i);
    const value = slot_value(event.slot);
    if (value == 0) continue;
    // An id may lie in two cache lines.
    const id: usize = host(value - 1).id;
    end = list_place(end, id);
    end = list_place(end, id + event.host_id_bytes);
    event.step = number_of_step(event);
  }
  read_places(end);
  if (configurations_live >= MANY_CONFIGURATIONS) read_configurations_ahead(block, count);
}

/** What a step leads from, and to by what it led to before. */
function read_configurations_ahead(block: usize, count: u32): void {
  let end = places;
  for (let i: u32 = 0; i < count; i++) {
    const event = event_at(block, i);
    const value = slot_value(event.slot);
    if (value == 0) continue;
    const before = configuration_of(value - 1);
    end = list_place(end, entry_place(before));
    end = list_place(end, host_cell(before));
    if (event.step != 0) end = list_place(end, set_of(before, event));
  }
  read_places(end);
  end = places;
  for (let i: u32 = 0; i < count; i++) {
    const event = event_at(block, i);
    const value = slot_value(event.slot);
    if (value == 0 || event.step == 0) continue;
    const before = configuration_of(value - 1);
    const step = likely_transition(set_of(before, event), before, event);
    if (step !== null) {
      end = list_place(end, entry_place(step.after));
      end = list_place(end, host_cell(step.after));
    } else end = list_place(end, words_of(before));
  }
  read_places(end);
}
