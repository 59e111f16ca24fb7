/*
 * Preloaded into a process: its wall clock is the machine's plus the nanoseconds that stand in the file which
 * KLPSTATE_TEST_CLOCK names. The file is mapped, so that a clock steps at once and between any two reads of it.
 * Monotonic clocks are the machine's: a step of the wall clock leaves them alone, and so does this.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static const int64_t NS_PER_S = 1000000000;
static const volatile int64_t *offset_ns;

__attribute__((constructor)) static void follow(void) {
  const char *path = getenv("KLPSTATE_TEST_CLOCK");
  int file = path == NULL ? -1 : open(path, O_RDONLY | O_CLOEXEC);
  void *page = file < 0 ? MAP_FAILED : mmap(NULL, sizeof *offset_ns, PROT_READ, MAP_SHARED, file, 0);
  /* A process whose clock does not step where it should would pass for one that bears it. */
  if (page == MAP_FAILED) abort();
  close(file);
  offset_ns = page;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
  /* The call itself: what would be looked up by name is this function. */
  long failed = syscall(SYS_clock_gettime, clock, now);
  if (failed != 0) return -1;
  if (offset_ns == NULL || (clock != CLOCK_REALTIME && clock != CLOCK_REALTIME_COARSE)) return 0;
  int64_t ns = (int64_t)now->tv_sec * NS_PER_S + now->tv_nsec + *offset_ns;
  now->tv_sec = ns / NS_PER_S;
  now->tv_nsec = ns % NS_PER_S;
  return 0;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
  (void)zone;
  struct timespec exact;
  if (clock_gettime(CLOCK_REALTIME, &exact) != 0) return -1;
  now->tv_sec = exact.tv_sec;
  now->tv_usec = exact.tv_nsec / 1000;
  return 0;
}

time_t time(time_t *now) {
  struct timespec exact;
  if (clock_gettime(CLOCK_REALTIME, &exact) != 0) return -1;
  if (now != NULL) *now = exact.tv_sec;
  return exact.tv_sec;
}
