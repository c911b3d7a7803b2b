/* Preloaded before libfaketime: sleeping goes by the system's monotonic clock.

   libfaketime 0.9.10 (Debian 12), told to leave that clock alone, refuses every sleep until a point in
   time with EINVAL, and Python's time.sleep is one. */

#include <errno.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int clock_nanosleep(clockid_t clock, int flags, const struct timespec *wanted,
                    struct timespec *left) {
    return syscall(SYS_clock_nanosleep, clock, flags, wanted, left) == 0 ? 0 : errno;
}
