// A library to preload (LD_PRELOAD) that sets a process's wall clock wrong by what a file says; for tests.
#ifndef CCLOCKSKEW_H
#define CCLOCKSKEW_H

#include <time.h>

/// As clock_gettime(2). CLOCK_REALTIME is off by the signed nanoseconds in the first 8 bytes of the file that the
/// environment variable CLOCK_SKEW_FILE names, in the machine's byte order; they may change at any time.
int clock_gettime(clockid_t clock, struct timespec *now);

#endif
