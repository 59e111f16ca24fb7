// The floors of the check where every host has a configuration of its own: five patches of one state each.
//
//   check STACKS HOSTS     STACKS: five columns, one behind the other, of u16: state - 1 << 8 | version
//                          stdin: "NAME REPLACE V1 V2 ... V64" (a version offered for each state, 0: none)
//                          stdout: seconds, seconds of processor, hosts that are refused
//
// NAME is what is measured:
//   read     a sum over the effective vectors: five columns of a u32 for the state and a u32 for the version
//   bytes    a sum over as many bytes as the core reads: seven columns of u32 (five of patches, heads, hosts)
//   column   a sum over one of those: a u32 for each host
//   columns  the rule over the effective vectors, without branches
//   lists    the rule as the kernel goes: a list of patches, each with its array of states, every piece allocated by
//            itself in a random order
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;

enum { STACK = 5, STATES = 64, CORE_COLUMNS = 7 };

static void stop(const char *why) {
  fprintf(stderr, "check.c: %s\n", why);
  exit(1);
}

static void *room(size_t bytes) {
  void *at = malloc(bytes);
  if (!at) stop("no memory");
  return at;
}

// ---- Effective vectors ----

static u32 hosts;
// State in the high half, version in the low one.
static u64 *columns[STACK];
static u32 *core_columns[CORE_COLUMNS];

// By state: the highest version that may be held + 1; 0: none may, of a state that a replacing candidate lacks.
static u64 limits[STATES];

static u32 run_read(void) {
  u64 sum = 0;
  for (u32 k = 0; k < STACK; k++) {
    const u64 *column = columns[k];
    for (u32 i = 0; i < hosts; i++) sum += column[i];
  }
  return (u32)sum;
}

static u32 run_column(void) {
  u32 sum = 0;
  for (u32 i = 0; i < hosts; i++) sum += core_columns[0][i];
  return sum;
}

static u32 run_bytes(void) {
  u32 sum = 0;
  for (u32 k = 0; k < CORE_COLUMNS; k++) {
    const u32 *column = core_columns[k];
    for (u32 i = 0; i < hosts; i++) sum += column[i];
  }
  return sum;
}

static u32 run_columns(void) {
  u32 refused = 0;
  for (u32 i = 0; i < hosts; i++) {
    u32 any = 0;
    for (u32 k = 0; k < STACK; k++) {
      u64 entry = columns[k][i];
      any |= (u32)entry >= limits[entry >> 32];
    }
    refused += any;
  }
  return refused;
}

// ---- Lists, as struct klp_patch and struct klp_state are ----

struct state {
  u64 id;
  u32 version;
  void *data;
};

struct patch {
  struct patch *next;
  struct state *states;
  bool replace;
  void *more[6];
};

static struct patch **heads;
static bool replaces;
// The candidate's array, which ends at id 0.
static struct state offered[STATES + 1];

static const struct state *get_state(const struct state *states, u64 id) {
  for (; states->id; states++)
    if (states->id == id) return states;
  return NULL;
}

static u32 run_lists(void) {
  u32 refused = 0;
  for (u32 i = 0; i < hosts; i++) {
    bool is_compatible = true;
    for (const struct patch *patch = heads[i]; patch && is_compatible; patch = patch->next) {
      for (const struct state *held = patch->states; held->id; held++) {
        const struct state *state = get_state(offered, held->id);
        if (state ? state->version < held->version : replaces) {
          is_compatible = false;
          break;
        }
      }
    }
    refused += !is_compatible;
  }
  return refused;
}

static void make_lists(void) {
  size_t count = (size_t)hosts * STACK;
  u32 *order = room(count * sizeof *order);
  for (size_t i = 0; i < count; i++) order[i] = (u32)i;
  u64 random = 88172645463325252;
  for (size_t i = count - 1; i > 0; i--) {
    random ^= random << 13, random ^= random >> 7, random ^= random << 17;
    size_t j = random % (i + 1);
    u32 kept = order[i];
    order[i] = order[j], order[j] = kept;
  }
  struct patch **patches = room(count * sizeof *patches);
  for (size_t i = 0; i < count; i++) {
    struct patch *patch = room(sizeof *patch);
    patch->states = room(2 * sizeof *patch->states);
    u64 entry = columns[order[i] % STACK][order[i] / STACK];
    memset(patch->states, 0, 2 * sizeof *patch->states);
    patch->states[0].id = (entry >> 32) + 1;
    patch->states[0].version = (u32)entry;
    patch->replace = false;
    patches[order[i]] = patch;
  }
  heads = room(hosts * sizeof *heads);
  for (u32 i = 0; i < hosts; i++) {
    heads[i] = patches[(size_t)i * STACK];
    for (u32 k = 0; k < STACK; k++) {
      patches[(size_t)i * STACK + k]->next = k + 1 < STACK ? patches[(size_t)i * STACK + k + 1] : NULL;
    }
  }
  free(order);
  free(patches);
}

// ---- Input ----

static void read_stacks(const char *path) {
  FILE *file = fopen(path, "rb");
  if (!file) stop("the stacks cannot be read");
  u16 *column = room(hosts * sizeof *column);
  for (u32 k = 0; k < STACK; k++) {
    if (fread(column, sizeof *column, hosts, file) != hosts) stop("the stacks end early");
    columns[k] = room(hosts * sizeof **columns);
    for (u32 i = 0; i < hosts; i++) columns[k][i] = (u64)(column[i] >> 8) << 32 | (column[i] & 255);
  }
  for (u32 k = 0; k < CORE_COLUMNS; k++) {
    core_columns[k] = room(hosts * sizeof **core_columns);
    for (u32 i = 0; i < hosts; i++) core_columns[k][i] = i + k;
  }
  free(column);
  fclose(file);
}

static void read_candidate(char *text) {
  replaces = strtoul(text, &text, 10) != 0;
  u32 count = 0;
  for (u32 i = 0; i < STATES; i++) {
    u32 version = (u32)strtoul(text, &text, 10);
    limits[i] = version ? (u64)version + 1 : replaces ? 0 : UINT64_MAX;
    if (!version) continue;
    offered[count].id = i + 1;
    offered[count++].version = version;
  }
  offered[count].id = 0;
}

static double seconds(clockid_t clock) {
  struct timespec now;
  clock_gettime(clock, &now);
  return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

int main(int count, char **arguments) {
  if (count != 3) stop("usage: check STACKS HOSTS");
  hosts = (u32)strtoul(arguments[2], NULL, 10);
  read_stacks(arguments[1]);
  char line[1024];
  while (fgets(line, sizeof line, stdin)) {
    char *rest = strchr(line, ' ');
    if (!rest) stop("NAME REPLACE VERSIONS");
    *rest = 0;
    read_candidate(rest + 1);
    u32 (*run)(void) = !strcmp(line, "read")      ? run_read
                       : !strcmp(line, "bytes")   ? run_bytes
                       : !strcmp(line, "column")  ? run_column
                       : !strcmp(line, "columns") ? run_columns
                                                  : run_lists;
    if (run == run_lists && !heads) make_lists();
    double wall = seconds(CLOCK_MONOTONIC), cpu = seconds(CLOCK_PROCESS_CPUTIME_ID);
    u32 refused = run();
    printf("%.9f %.9f %u\n", seconds(CLOCK_MONOTONIC) - wall, seconds(CLOCK_PROCESS_CPUTIME_ID) - cpu, refused);
    fflush(stdout);
  }
  return 0;
}
