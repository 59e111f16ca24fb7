// The floor of the fold: what a plain C program with the core's layout (64-byte host records, 8-byte slots, a u32
// configuration and a u32 minute a host as columns, interned configurations, kept transitions) makes of the same bytes. It judges and applies what
// the benchmark's data has, and stops at anything else. Blocks are staged as in the core, with prefetches in place of
// reads.
//
//   fold BASELINE EVENTS HOSTS PARTITIONS     stdin: "run" folds both files anew, "facts" prints the result
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;

enum { BLOCK = 128, EVENTS_MAX = 10000, WORDS_MAX = 1024, NONE = 0xffffffff };
enum { VARINT = 0, FIXED64 = 1, BYTES = 2 };
enum { OBSERVED = 16, LOADING = 17, LOADED = 18, DISABLING = 20, DISABLED = 21, REMOVED = 25 };
enum { PHASE_ENABLING = 1, PHASE_ENABLED = 2, PHASE_DISABLING = 3 };
enum { COMPLETE = 1, GAP = 2, NO_BASELINE = 4, DISPUTED = 5, KNOWLEDGE_SHIFT = 6 };
static const u64 TIME_MAX = ((u64)1 << 48) - 1;

static void stop(const char *why) {
  fprintf(stderr, "fold.c: %s\n", why);
  exit(1);
}

static void *room(size_t count, size_t size) {
  void *at = calloc(count, size);
  if (!at) stop("no memory");
  return at;
}

// ---- Tables ----

typedef struct {
  u64 stream, previous_stream, event_hash, boot_hash, position;
  u32 sequence, previous_sequence, id, start_low, effective_low;
  u16 start_high, effective_high;
} Host;
_Static_assert(sizeof(Host) == 64, "a host is a cache line");

// Value + 1; 0: empty.
typedef struct { u32 tag, value; } Slot;
typedef struct { Slot *slots; u32 mask; } Index;

typedef struct { u32 at, length; } Text;
typedef struct { u32 name, build_id, kernel; } Installed;
typedef struct { u32 release, arch; } Kernel;
typedef struct { u32 *words; u32 hosts, tag; } Configuration;

enum { STRINGS_MAX = 1 << 16, TABLE_MAX = 1 << 14, CONFIGURATIONS_MAX = 1 << 16, MINUTES_MAX = 1 << 27 };
static u32 partitions, hosts_max, host_count;
static Host *hosts;
static u32 *column, *minute_column;
static u8 *ids;
static u32 ids_at;
static u32 *minutes;
static Index host_index, string_index, installed_index, configuration_index;
static u8 *string_bytes;
static u32 string_at, string_count, kernel_count, installed_count, configuration_count;
static Text strings[STRINGS_MAX];
static Kernel kernels[TABLE_MAX];
static Installed installed[TABLE_MAX];
static Configuration configurations[CONFIGURATIONS_MAX];
static u64 anomalies, repeated, next_offset, log_time;

// What changes made of configurations lately, as the core keeps it. A free entry has no body.
enum { TRANSITIONS = 4096, BODY_MAX = 104 };
typedef struct {
  u32 before, after, change, body_length;
  u8 body[BODY_MAX];
} Transition;
static Transition transitions[TRANSITIONS] __attribute__((aligned(64)));

static void start_index(Index *index, u32 entries) {
  u32 size = 1024;
  while (size < entries + entries / 3) size *= 2;
  index->slots = room(size, sizeof(Slot));
  index->mask = size - 1;
}

static void clear_index(Index *index) {
  memset(index->slots, 0, ((size_t)index->mask + 1) * sizeof(Slot));
}

static void start(u32 host_limit) {
  hosts_max = host_limit;
  // calloc does not align to cache lines, and a record that lies in two costs two misses.
  if (posix_memalign((void **)&hosts, 4096, (size_t)hosts_max * sizeof(Host))) stop("no memory");
  column = room(hosts_max, 4);
  minute_column = room(hosts_max, 4);
  ids = room(hosts_max, 32);
  minutes = room(MINUTES_MAX, 4);
  string_bytes = room(STRINGS_MAX, 64);
  start_index(&host_index, hosts_max);
  start_index(&string_index, STRINGS_MAX);
  start_index(&installed_index, TABLE_MAX);
  start_index(&configuration_index, CONFIGURATIONS_MAX);
}

static void restart(void) {
  memset(hosts, 0, (size_t)hosts_max * sizeof(Host));
  clear_index(&host_index);
  clear_index(&string_index);
  clear_index(&installed_index);
  clear_index(&configuration_index);
  memset(transitions, 0, sizeof transitions);
  for (u32 i = 0; i < configuration_count; i++) free(configurations[i].words);
  for (u32 i = 0; i < MINUTES_MAX; i++)
    if (minutes[i]) minutes[i] = 0;
  host_count = ids_at = string_at = installed_count = configuration_count = 0;
  string_count = kernel_count = 1;
  anomalies = repeated = next_offset = log_time = 0;
}

static inline Slot *first(const Index *index, u32 tag) { return &index->slots[tag & index->mask]; }

static inline Slot *next(const Index *index, Slot *slot) {
  return slot == index->slots + index->mask ? index->slots : slot + 1;
}

// Where a value under the tag may be; the empty slot that ends the probe where there is none.
static inline Slot *seek(const Index *index, u32 tag) {
  Slot *slot = first(index, tag);
  while (slot->value && slot->tag != tag) slot = next(index, slot);
  return slot;
}

static void insert(Index *index, u32 tag, u32 value) {
  Slot *slot = first(index, tag);
  while (slot->value) slot = next(index, slot);
  *slot = (Slot){tag, value + 1};
}

// ---- Hashes and text ----

static inline u32 load32(const u8 *at) { u32 value; memcpy(&value, at, 4); return value; }
static inline u64 load64(const u8 *at) { u64 value; memcpy(&value, at, 8); return value; }

static u32 murmur2(const u8 *at, u32 length) {
  const u32 M = 0x5bd1e995;
  u32 h = 0x9747b28c ^ length;
  for (; length >= 4; at += 4, length -= 4) {
    u32 k = load32(at) * M;
    k ^= k >> 24;
    h = (h * M) ^ (k * M);
  }
  switch (length) {
    case 3: h ^= (u32)at[2] << 16; // fall through
    case 2: h ^= (u32)at[1] << 8; // fall through
    case 1: h = (h ^ at[0]) * M;
  }
  h ^= h >> 13;
  h *= M;
  return h ^ (h >> 15);
}

static u64 murmur64(const u8 *at, u32 length, u64 seed) {
  const u64 M = 0xc6a4a7935bd1e995;
  u64 h = seed ^ (length * M);
  for (; length >= 8; at += 8, length -= 8) {
    u64 k = load64(at) * M;
    k ^= k >> 47;
    h = (h ^ (k * M)) * M;
  }
  if (length) {
    u64 tail = 0;
    for (u32 i = 0; i < length; i++) tail |= (u64)at[i] << (8 * i);
    h = (h ^ tail) * M;
  }
  h ^= h >> 47;
  h *= M;
  return h ^ (h >> 47);
}

static inline u32 tag_of(const void *at, u32 length) { return (u32)(murmur64(at, length, 0) >> 32); }

static bool is_utf8(const u8 *at, u32 length) {
  const u8 *end = at + length;
  while (end - at >= 8 && !(load64(at) & 0x8080808080808080)) at += 8;
  while (at < end) {
    u32 lead = *at, more, lowest = 0x80, highest = 0xbf;
    if (lead < 0x80) { at++; continue; }
    if (lead >= 0xc2 && lead <= 0xdf) more = 1;
    else if (lead >= 0xe0 && lead <= 0xef) {
      more = 2;
      if (lead == 0xe0) lowest = 0xa0;
      if (lead == 0xed) highest = 0x9f;
    } else if (lead >= 0xf0 && lead <= 0xf4) {
      more = 3;
      if (lead == 0xf0) lowest = 0x90;
      if (lead == 0xf4) highest = 0x8f;
    } else return false;
    if (end - at <= more || at[1] < lowest || at[1] > highest) return false;
    for (u32 i = 2; i <= more; i++) if ((at[i] & 0xc0) != 0x80) return false;
    at += more + 1;
  }
  return true;
}

static bool has_control(const u8 *at, u32 length) {
  for (u32 i = 0; i < length; i++) {
    if (at[i] < 0x20 || at[i] == 0x7f) return true;
    if (at[i] == 0xc2 && at[i + 1] < 0xa0) return true;
  }
  return false;
}

static u32 find_string(const u8 *at, u32 length, u32 tag) {
  Slot *slot = first(&string_index, tag);
  for (; slot->value; slot = next(&string_index, slot)) {
    if (slot->tag != tag) continue;
    const Text *known = &strings[slot->value - 1];
    if (known->length == length && !memcmp(string_bytes + known->at, at, length)) return slot->value - 1;
  }
  return 0;
}

static u32 intern(const u8 *at, u32 length) {
  if (!length) return 0;
  u32 tag = tag_of(at, length), known = find_string(at, length, tag);
  if (known) return known;
  if (string_count == STRINGS_MAX) stop("too many strings");
  strings[string_count] = (Text){string_at, length};
  memcpy(string_bytes + string_at, at, length);
  string_at += length;
  insert(&string_index, tag, string_count);
  return string_count++;
}

static u32 intern_kernel(u32 release, u32 arch) {
  for (u32 i = 1; i < kernel_count; i++) if (kernels[i].release == release && kernels[i].arch == arch) return i;
  if (kernel_count == TABLE_MAX) stop("too many kernels");
  kernels[kernel_count] = (Kernel){release, arch};
  return kernel_count++;
}

static u32 intern_installed(u32 name, u32 build_id, u32 kernel) {
  Installed wanted = {name, build_id, kernel};
  u32 tag = tag_of(&wanted, sizeof wanted);
  for (Slot *slot = first(&installed_index, tag); slot->value; slot = next(&installed_index, slot)) {
    if (slot->tag == tag && !memcmp(&installed[slot->value - 1], &wanted, sizeof wanted)) return slot->value - 1;
  }
  if (installed_count == TABLE_MAX) stop("too many patches");
  installed[installed_count] = wanted;
  insert(&installed_index, tag, installed_count);
  return installed_count++;
}

// ---- Decoding ----

typedef struct {
  u64 stream, time, hash, log_time, position;
  const u8 *host_id, *body, *name, *build_id;
  u32 host_id_length, body_length, name_length, build_id_length, sequence, change, tag, found;
} Event;

static const u8 *at, *end;
static Event events[EVENTS_MAX];

static u64 read_varint(void) {
  u64 value = 0;
  for (u32 shift = 0; shift < 70; shift += 7) {
    if (at == end) break;
    u64 byte = *at++;
    value |= (byte & 127) << shift;
    if (byte < 128) return value;
  }
  stop("a varint does not end");
  return 0;
}

static u32 read_length(void) {
  u64 length = read_varint();
  if (length > (u64)(end - at)) stop("a field is longer than what is left");
  return (u32)length;
}

static u32 read_text(void) {
  u32 length = read_length();
  if (!is_utf8(at, length)) stop("text that is not UTF-8");
  return length;
}

static inline u32 once(u32 seen, u32 field) {
  if (seen & (1u << field)) stop("a field is given twice");
  return seen | (1u << field);
}

static const u8 *enter(void) {
  u32 length = read_length();
  const u8 *outer = end;
  end = at + length;
  return outer;
}

static void read_patch(const u8 **name, u32 *name_length, const u8 **build_id, u32 *build_id_length) {
  const u8 *outer = enter();
  u32 seen = 0;
  *name_length = *build_id_length = 0;
  while (at < end) {
    u64 tag = read_varint();
    if (tag == (1 << 3 | BYTES)) {
      seen = once(seen, 1);
      *name_length = read_text();
      *name = at;
      at += *name_length;
    } else if (tag == (2 << 3 | BYTES)) {
      seen = once(seen, 2);
      *build_id_length = read_length();
      *build_id = at;
      at += *build_id_length;
    } else stop("a patch has a field that the data does not have");
  }
  end = outer;
  if (*name_length == 0 || *name_length > 55 || *build_id_length > 64) stop("a patch is not one");
}

// An entry of the stack or of the lingering set; `value` is its phase or whether it is pinned.
static void read_entry(Event *entry, u32 *value) {
  const u8 *outer = enter();
  u32 seen = 0;
  *value = 0;
  while (at < end) {
    u64 tag = read_varint();
    if (tag == (1 << 3 | BYTES)) {
      seen = once(seen, 1);
      read_patch(&entry->name, &entry->name_length, &entry->build_id, &entry->build_id_length);
    } else if (tag == (2 << 3 | VARINT)) {
      seen = once(seen, 2);
      *value = (u32)read_varint();
    } else stop("an entry has a field that the data does not have");
  }
  end = outer;
}

static void judge_observed(void) {
  Event entry = {0};
  const u8 *names[64];
  u32 lengths[64], count = 0, seen = 0, value;
  while (at < end) {
    u64 tag = read_varint();
    if (tag == (1 << 3 | BYTES) || tag == (2 << 3 | BYTES)) {
      seen = once(seen, (u32)tag >> 3);
      u32 length = read_text();
      if (length == 0 || length > 64) stop("a kernel is not one");
      at += length;
    } else if (tag == (3 << 3 | BYTES)) {
      seen = once(seen, 3);
      u32 length = read_length();
      if (length != 16) stop("a boot id is not one");
      at += length;
    } else if (tag == (5 << 3 | VARINT)) {
      seen = once(seen, 5);
      if (read_varint() != 1) stop("livepatching is not supported there");
    } else if (tag == (6 << 3 | BYTES) || tag == (7 << 3 | BYTES)) {
      read_entry(&entry, &value);
      if (tag == (6 << 3 | BYTES) && (value < 1 || value > 3)) stop("a phase is not one");
      for (u32 i = 0; i < count; i++) {
        if (lengths[i] == entry.name_length && !memcmp(names[i], entry.name, lengths[i])) stop("a name comes twice");
      }
      if (count == 64) stop("too many entries");
      names[count] = entry.name;
      lengths[count++] = entry.name_length;
    } else stop("an observation has a field that the data does not have");
  }
  if ((seen & 6) != 6) stop("an observation without kernel");
}

static void judge_change(Event *event) {
  u32 seen = 0;
  while (at < end) {
    u64 tag = read_varint();
    if (tag == (1 << 3 | BYTES)) {
      seen = once(seen, 1);
      read_patch(&event->name, &event->name_length, &event->build_id, &event->build_id_length);
    } else stop("a change has a field that the data does not have");
  }
  if (!seen) stop("a change without patch");
}

static void read_event(Event *event) {
  u32 seen = 0;
  u64 sequence = 0;
  event->stream = 0;
  event->host_id_length = event->change = 0;
  while (at < end) {
    u64 tag = read_varint();
    switch (tag) {
      case 1 << 3 | BYTES:
        seen = once(seen, 1);
        event->host_id_length = read_text();
        event->host_id = at;
        at += event->host_id_length;
        break;
      case 2 << 3 | FIXED64:
        seen = once(seen, 2);
        if (end - at < 8) stop("a stream is cut");
        event->stream = load64(at);
        at += 8;
        break;
      case 3 << 3 | VARINT:
        seen = once(seen, 3);
        sequence = read_varint();
        break;
      case 4 << 3 | VARINT:
        seen = once(seen, 4);
        event->time = read_varint();
        break;
      default: {
        u64 field = tag >> 3;
        if ((tag & 7) != BYTES || field < OBSERVED || field > REMOVED) stop("an event has a field that is not known");
        seen = once(seen, 6);
        const u8 *outer = enter();
        event->change = (u32)field;
        event->body = at;
        event->body_length = (u32)(end - at);
        if (field == OBSERVED) judge_observed();
        else judge_change(event);
        end = outer;
      }
    }
  }
  u32 length = event->host_id_length;
  if (length == 0 || length > 255 || has_control(event->host_id, length)) stop("a host id is not one");
  if (event->stream == 0 || sequence == 0 || sequence > 0xffffffff) stop("a stream or a sequence is not one");
  event->sequence = (u32)sequence;
}

static u32 read_record(const u8 *from, u32 length, u64 offset) {
  u32 count = 0;
  at = from;
  end = from + length;
  while (at < end) {
    if (read_varint() != (1 << 3 | BYTES)) stop("a batch has a field that is not known");
    if (count == EVENTS_MAX) stop("too many events");
    Event *event = &events[count];
    const u8 *outer = enter(), *begin = at;
    read_event(event);
    event->hash = murmur64(begin, (u32)(end - begin), 0);
    event->tag = tag_of(event->host_id, event->host_id_length);
    if ((murmur2(event->host_id, event->host_id_length) & 0x7fffffff) % partitions != 0) stop("a host of another partition");
    event->log_time = log_time;
    event->position = offset << 14 | count;
    end = outer;
    count++;
  }
  return count;
}

// ---- Configurations ----

static u32 kernel_id, flags, stack_count, lingering_count;
static u32 stack[WORDS_MAX], lingering[WORDS_MAX], packed[2 * WORDS_MAX];

static void open_configuration(u32 id) {
  const u32 *words = configurations[id].words;
  kernel_id = words[0];
  flags = words[1];
  stack_count = words[2] & 0xffff;
  lingering_count = words[2] >> 16;
  memcpy(stack, words + 3, 4 * stack_count);
  memcpy(lingering, words + 3 + stack_count, 4 * lingering_count);
}

// Hosts leave configurations without freeing them: the data has no churn.
static u32 close_configuration(void) {
  packed[0] = kernel_id;
  packed[1] = flags;
  packed[2] = stack_count | lingering_count << 16;
  memcpy(packed + 3, stack, 4 * stack_count);
  memcpy(packed + 3 + stack_count, lingering, 4 * lingering_count);
  u32 bytes = 4 * (3 + stack_count + lingering_count), tag = tag_of(packed, bytes);
  for (Slot *slot = first(&configuration_index, tag); slot->value; slot = next(&configuration_index, slot)) {
    if (slot->tag != tag) continue;
    Configuration *known = &configurations[slot->value - 1];
    if (known->words[2] != packed[2] || memcmp(known->words, packed, bytes)) continue;
    known->hosts++;
    return slot->value - 1;
  }
  if (configuration_count == CONFIGURATIONS_MAX) stop("too many configurations");
  u32 *words = room(1, bytes);
  memcpy(words, packed, bytes);
  configurations[configuration_count] = (Configuration){words, 1, tag};
  insert(&configuration_index, tag, configuration_count);
  return configuration_count++;
}

static void know(u32 knowledge) { flags = (flags & 63) | knowledge << KNOWLEDGE_SHIFT; }

static int find_on_stack(u32 name) {
  for (u32 i = 0; i < stack_count; i++) if (installed[stack[i] >> 2].name == name) return (int)i;
  return -1;
}

static int find_lingering(u32 name) {
  for (u32 i = 0; i < lingering_count; i++) if (installed[lingering[i] >> 1].name == name) return (int)i;
  return -1;
}

static void take_lingering(u32 i) {
  memmove(lingering + i, lingering + i + 1, 4 * (lingering_count - i - 1));
  lingering_count--;
}

static void take_stacked(u32 i) {
  memmove(stack + i, stack + i + 1, 4 * (stack_count - i - 1));
  stack_count--;
}

static void add_lingering(u32 patch, u32 pinned) {
  const Text *name = &strings[installed[patch].name];
  u32 i = lingering_count++;
  for (; i > 0; i--) {
    const Text *before = &strings[installed[lingering[i - 1] >> 1].name];
    u32 shared = before->length < name->length ? before->length : name->length;
    int order = memcmp(string_bytes + before->at, string_bytes + name->at, shared);
    if (order < 0 || (order == 0 && before->length <= name->length)) break;
    lingering[i] = lingering[i - 1];
  }
  lingering[i] = patch << 1 | pinned;
}

// ---- Transitions ----

static Transition *transition_of(u32 before, const Event *event) {
  u64 hash;
  if (event->name_length < 8) hash = load64(event->name) & ~(~(u64)0 << (8 * event->name_length));
  else hash = (load64(event->name) * 0xc2b2ae3d27d4eb4f) ^ load64(event->name + event->name_length - 8);
  hash = (hash ^ ((u64)before << 32 | event->change)) * 0x9e3779b97f4a7c15;
  return &transitions[hash >> 52];
}

// Configurations stay here, so that their numbers tell them apart.
static bool is_known(const Transition *entry, u32 before, const Event *event) {
  return entry->before == before && entry->change == event->change && entry->body_length == event->body_length &&
         !memcmp(entry->body, event->body, event->body_length);
}

static void keep_transition(Transition *entry, u32 before, const Event *event, u32 after) {
  *entry = (Transition){.before = before, .after = after, .change = event->change, .body_length = event->body_length};
  memcpy(entry->body, event->body, event->body_length);
}

// ---- Applying ----

static u64 observe(const Event *event) {
  Event entry;
  u32 release = 0, arch = 0, value;
  u64 boot_hash = 0;
  at = event->body;
  end = at + event->body_length;
  stack_count = lingering_count = 0;
  while (at < end) {
    u64 tag = read_varint();
    if (tag == (5 << 3 | VARINT)) {
      flags = (flags & ~3u) | (u32)read_varint();
      continue;
    }
    if (tag == (6 << 3 | BYTES) || tag == (7 << 3 | BYTES)) {
      // The data has the kernel before the entries.
      if (kernel_id == 0 || !release) kernel_id = intern_kernel(release, arch);
      read_entry(&entry, &value);
      u32 name = intern(entry.name, entry.name_length);
      u32 patch = intern_installed(name, intern(entry.build_id, entry.build_id_length), kernel_id);
      if (tag == (6 << 3 | BYTES)) stack[stack_count++] = patch << 2 | value;
      else add_lingering(patch, value);
      continue;
    }
    u32 length = read_length();
    if (tag == (1 << 3 | BYTES)) release = intern(at, length);
    if (tag == (2 << 3 | BYTES)) {
      arch = intern(at, length);
      kernel_id = intern_kernel(release, arch);
    }
    if (tag == (3 << 3 | BYTES)) boot_hash = murmur64(at, length, 0) | 1;
    at += length;
  }
  know(COMPLETE);
  return boot_hash;
}

static void change_stack(const Event *event) {
  u32 change = event->change, name = intern(event->name, event->name_length);
  int i = find_on_stack(name), lingers;
  if (i < 0) {
    if (change == LOADING || change == LOADED) {
      lingers = find_lingering(name);
      if (lingers >= 0) {
        anomalies++;
        take_lingering((u32)lingers);
      }
      u32 patch = intern_installed(name, intern(event->build_id, event->build_id_length), kernel_id);
      stack[stack_count++] = patch << 2 | (change == LOADING ? PHASE_ENABLING : PHASE_ENABLED);
    } else if (change == REMOVED && (lingers = find_lingering(name)) >= 0) take_lingering((u32)lingers);
    else anomalies++;
    return;
  }
  u32 phase = stack[i] & 3;
  if (event->build_id_length) stop("the data has no build ids");
  if (change == LOADING) anomalies++;
  else if (change == REMOVED) {
    take_stacked((u32)i);
    anomalies++;
  } else if (change == LOADED) {
    if (phase != PHASE_ENABLING) anomalies++;
    stack[i] = (stack[i] & ~3u) | PHASE_ENABLED;
  } else if (change == DISABLING) {
    if (phase == PHASE_ENABLING) anomalies++;
    stack[i] = (stack[i] & ~3u) | PHASE_DISABLING;
  } else if (change == DISABLED) {
    if (phase == PHASE_ENABLING) anomalies++;
    u32 patch = stack[i] >> 2;
    take_stacked((u32)i);
    add_lingering(patch, 0);
  } else stop("a change that the data does not have");
}

static u64 effective_time(const Host *host) { return host->effective_low | (u64)host->effective_high << 32; }

static u32 minute_of(u64 time) {
  u64 minute = time / 60000;
  return minute < MINUTES_MAX ? (u32)minute : MINUTES_MAX - 1;
}

static u32 add_host(const Event *event, u64 time) {
  if (host_count == hosts_max) stop("more hosts than were said");
  u32 i = host_count++;
  Host *host = &hosts[i];
  if (event->host_id_length > 31) stop("a host id is longer than the data's");
  ids[ids_at] = (u8)event->host_id_length;
  memcpy(ids + ids_at + 1, event->host_id, event->host_id_length);
  host->id = ids_at;
  ids_at += event->host_id_length + 1;
  host->position = ~(u64)0;
  host->effective_low = (u32)time;
  host->effective_high = (u16)(time >> 32);
  minutes[minute_of(time)]++;
  minute_column[i] = minute_of(time);
  insert(&host_index, event->tag, i);
  kernel_id = stack_count = lingering_count = 0;
  flags = NO_BASELINE << KNOWLEDGE_SHIFT;
  column[i] = close_configuration();
  return i;
}

static u32 find_host(const Event *event) {
  for (Slot *slot = first(&host_index, event->tag); slot->value; slot = next(&host_index, slot)) {
    if (slot->tag != event->tag) continue;
    const u8 *id = ids + hosts[slot->value - 1].id;
    if (*id == event->host_id_length && !memcmp(id + 1, event->host_id, *id)) return slot->value - 1;
  }
  return NONE;
}

static void dispute(u32 i) {
  u32 before = column[i];
  anomalies++;
  open_configuration(before);
  know(DISPUTED);
  column[i] = close_configuration();
  configurations[before].hosts--;
}

static void take_effect(u32 i, const Event *event, u64 time) {
  Host *host = &hosts[i];
  host->sequence = event->sequence;
  host->event_hash = event->hash;
  u64 known = effective_time(host);
  if (time <= known) return;
  host->effective_low = (u32)time;
  host->effective_high = (u16)(time >> 32);
  if (minute_of(time) == minute_of(known)) return;
  minutes[minute_of(known)]--;
  minutes[minute_of(time)]++;
  minute_column[i] = minute_of(time);
}

static void apply(const Event *event) {
  u64 time = event->time < event->log_time ? event->time : event->log_time;
  if (time > TIME_MAX) time = TIME_MAX;
  u32 i = find_host(event);
  bool fresh = i == NONE;
  if (fresh) i = add_host(event, time);
  Host *host = &hosts[i];
  bool begins = false;
  host->position = event->position;
  if (host->stream == event->stream) {
    if (event->sequence <= host->sequence) {
      repeated++;
      if (event->sequence == host->sequence && event->hash != host->event_hash) dispute(i);
      return;
    }
  } else if (host->previous_stream == event->stream) {
    if (event->sequence > host->previous_sequence) dispute(i);
    return;
  } else if (!fresh && time < (host->start_low | (u64)host->start_high << 32)) {
    anomalies++;
    return;
  } else begins = true;

  u32 before = column[i];
  bool is_next = !begins && event->sequence == host->sequence + 1;
  bool is_transition = is_next && event->change != OBSERVED && event->body_length <= BODY_MAX;
  Transition *transition = is_transition ? transition_of(before, event) : NULL;
  if (is_transition && is_known(transition, before, event)) {
    take_effect(i, event, time);
    configurations[transition->after].hosts++;
    column[i] = transition->after;
    configurations[before].hosts--;
    return;
  }
  open_configuration(before);
  if (begins) {
    host->previous_stream = host->stream;
    host->previous_sequence = host->sequence;
    host->stream = event->stream;
    host->start_low = (u32)time;
    host->start_high = (u16)(time >> 32);
    know(NO_BASELINE);
    if (event->change != OBSERVED) stack_count = lingering_count = host->boot_hash = 0;
  } else if (!is_next) {
    anomalies++;
    if (flags >> KNOWLEDGE_SHIFT < GAP) know(GAP);
  }
  if (event->change == OBSERVED) host->boot_hash = observe(event);
  else change_stack(event);
  take_effect(i, event, time);
  column[i] = close_configuration();
  configurations[before].hosts--;
  if (is_transition) keep_transition(transition, before, event, column[i]);
}

static void fold_record(const u8 *from, u32 length, u64 offset) {
  u32 count = read_record(from, length, offset);
  for (u32 block = 0; block < count; block += BLOCK) {
    u32 to = block + BLOCK < count ? block + BLOCK : count;
    for (u32 i = block; i < to; i++) __builtin_prefetch(first(&host_index, events[i].tag));
    for (u32 i = block; i < to; i++) {
      u32 found = events[i].found = seek(&host_index, events[i].tag)->value;
      if (!found) continue;
      __builtin_prefetch(&hosts[found - 1], 1);
      __builtin_prefetch(&column[found - 1], 1);
      __builtin_prefetch(&minute_column[found - 1], 1);
    }
    for (u32 i = block; i < to; i++) {
      if (!events[i].found) continue;
      // An id may lie in two cache lines.
      const u8 *id = ids + hosts[events[i].found - 1].id;
      __builtin_prefetch(id);
      __builtin_prefetch(id + events[i].host_id_length);
    }
    for (u32 i = block; i < to; i++) apply(&events[i]);
  }
  next_offset = offset + 1;
}

static void fold(const u8 *from, size_t length) {
  const u8 *to = from + length;
  while (from < to) {
    const u8 *record = from + 40, *frame_end = from + load32(from + 4);
    if (to - from < 40 || frame_end > to || frame_end < record) stop("a frame is not one");
    u64 time = load64(from + 32);
    if (time > log_time) log_time = time;
    for (u32 i = load32(from + 12); i > 0; i--) {
      u64 offset = load64(from + 24) + load32(record);
      u32 bytes = load32(record + 4);
      record += 8;
      if (bytes > (u64)(frame_end - record)) stop("a record is longer than its frame");
      if (offset >= next_offset) fold_record(record, bytes, offset);
      record += bytes;
    }
    from = frame_end;
  }
}

// ---- The program ----

static double seconds(clockid_t clock) {
  struct timespec now;
  clock_gettime(clock, &now);
  return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static u8 *read_file(const char *path, size_t *length) {
  FILE *file = fopen(path, "rb");
  if (!file || fseek(file, 0, SEEK_END)) stop(path);
  *length = (size_t)ftell(file);
  u8 *bytes = room(*length + 8, 1);
  rewind(file);
  if (fread(bytes, 1, *length, file) != *length) stop(path);
  fclose(file);
  return bytes;
}

static void print_name(u32 patch) {
  const Text *name = &strings[installed[patch].name];
  printf("%.*s", (int)name->length, string_bytes + name->at);
}

static void print_facts(void) {
  static const char *const PHASES[] = {"", "enabling", "enabled", "disabling"};
  static const char *const KNOWLEDGE[] = {"", "complete", "gap", "unreadable", "no_baseline", "disputed"};
  for (u32 id = 0; id < configuration_count; id++) {
    if (!configurations[id].hosts) continue;
    open_configuration(id);
    const Text *release = &strings[kernels[kernel_id].release], *arch = &strings[kernels[kernel_id].arch];
    printf("%.*s|%.*s|%s||", (int)release->length, string_bytes + release->at, (int)arch->length,
           string_bytes + arch->at, KNOWLEDGE[flags >> KNOWLEDGE_SHIFT]);
    for (u32 i = 0; i < stack_count; i++) {
      if (i) putchar(',');
      print_name(stack[i] >> 2);
      printf(":%s", PHASES[stack[i] & 3]);
    }
    putchar('|');
    for (u32 i = 0; i < lingering_count; i++) {
      if (i) putchar(',');
      print_name(lingering[i] >> 1);
    }
    printf("|%u\n", configurations[id].hosts);
  }
  u32 sum = 0;
  for (u32 i = 0; i < host_count; i++) {
    const Host *host = &hosts[i];
    const u8 *id = ids + host->id;
    u32 hash = 0x811c9dc5;
    for (u32 each = 1; each <= *id; each++) hash = (hash ^ id[each]) * 0x01000193;
    u32 words[] = {host->sequence, (u32)effective_time(host), (u32)(host->position >> 14), host->position & 16383};
    for (u32 each = 0; each < 4; each++) hash = (hash ^ words[each]) * 0x01000193;
    sum += hash;
  }
  printf("hosts %u sum %u\n\n", host_count, sum);
}

int main(int count, char **arguments) {
  if (count != 5) stop("usage: fold BASELINE EVENTS HOSTS PARTITIONS");
  size_t baseline_length, events_length;
  u8 *baseline = read_file(arguments[1], &baseline_length);
  u8 *changes = read_file(arguments[2], &events_length);
  start((u32)strtoul(arguments[3], NULL, 10));
  // An argument, so that no compiler knows it: with one partition every hash would be left out.
  partitions = (u32)strtoul(arguments[4], NULL, 10);
  char line[16];
  while (fgets(line, sizeof line, stdin)) {
    if (!strcmp(line, "facts\n")) print_facts();
    else {
      restart();
      double wall[3], cpu[3];
      wall[0] = seconds(CLOCK_MONOTONIC), cpu[0] = seconds(CLOCK_PROCESS_CPUTIME_ID);
      fold(baseline, baseline_length);
      wall[1] = seconds(CLOCK_MONOTONIC), cpu[1] = seconds(CLOCK_PROCESS_CPUTIME_ID);
      fold(changes, events_length);
      wall[2] = seconds(CLOCK_MONOTONIC), cpu[2] = seconds(CLOCK_PROCESS_CPUTIME_ID);
      if (anomalies) stop("the data has anomalies");
      printf("%.9f %.9f %.9f %.9f\n", wall[1] - wall[0], cpu[1] - cpu[0], wall[2] - wall[1], cpu[2] - cpu[1]);
    }
    fflush(stdout);
  }
  return 0;
}
