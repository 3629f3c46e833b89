/* Loaded into a process before its libraries: its time of day is off by HUNT_CLOCK_FIRST seconds, and from
 * HUNT_CLOCK_AFTER milliseconds of its life on by HUNT_CLOCK_THEN. What measures how long something takes is left
 * alone. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static long long begun;

static long long number(const char *name) {
    const char *text = getenv(name);
    return text ? atoll(text) : 0;
}

static long long lived(void) {
    struct timespec now;
    syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

__attribute__((constructor)) static void begin(void) { begun = lived(); }

int clock_gettime(clockid_t clock, struct timespec *out) {
    int failed = (int)syscall(SYS_clock_gettime, clock, out);
    if (!failed && clock == CLOCK_REALTIME) {
        int jumped = lived() - begun >= number("HUNT_CLOCK_AFTER");
        out->tv_sec += number(jumped ? "HUNT_CLOCK_THEN" : "HUNT_CLOCK_FIRST");
    }
    return failed;
}
