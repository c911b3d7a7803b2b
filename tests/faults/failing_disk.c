/* A disk that fails: preloaded (LD_PRELOAD) into a command and everything it starts.

   Calls that write below FAILING_DISK_UNDER are counted, over all processes, in the file
   FAILING_DISK_COUNTER. From call number FAILING_DISK_AT on, FAILING_DISK_CALLS of them fail with the
   error number FAILING_DISK_ERROR; if that is below zero the process ends there, by that signal. A full disk
   (ENOSPC) refuses what needs room; a broken one (EIO) also what syncs, shortens or removes. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

static const char *under;
static long *counter;
static long at, calls;
static int error_number;

__attribute__((constructor)) static void prepare(void) {
    const char *file = getenv("FAILING_DISK_COUNTER");
    under = getenv("FAILING_DISK_UNDER");
    if (!file || !under)
        return;
    at = atol(getenv("FAILING_DISK_AT"));
    calls = atol(getenv("FAILING_DISK_CALLS"));
    error_number = atoi(getenv("FAILING_DISK_ERROR"));
    int (*really_open)(const char *, int, ...) = dlsym(RTLD_NEXT, "open");
    int fd = really_open(file, O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return;
    void *place = mmap(NULL, sizeof(long), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    counter = place == MAP_FAILED ? NULL : place;
}

static int fails(const char *path, int needs_room) {
    if (!counter || !path || strncmp(path, under, strlen(under)) != 0)
        return 0;
    if (error_number == ENOSPC && !needs_room)
        return 0;
    long number = __atomic_add_fetch(counter, 1, __ATOMIC_SEQ_CST);
    if (number < at || number >= at + calls)
        return 0;
    if (error_number < 0)
        raise(-error_number);
    errno = error_number;
    return 1;
}

static int path_fails(int folder, const char *path, int needs_room) {
    char whole[2 * PATH_MAX], link[64];
    if (!counter || !path)
        return 0;
    if (path[0] == '/')
        return fails(path, needs_room);
    ssize_t length;
    if (folder == AT_FDCWD)
        length = getcwd(whole, PATH_MAX) ? (ssize_t)strlen(whole) : -1;
    else {
        snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
        length = readlink(link, whole, PATH_MAX - 1);
    }
    if (length < 0 || length + strlen(path) + 2 > sizeof whole)
        return 0;
    whole[length] = '/';
    strcpy(whole + length + 1, path);
    return fails(whole, needs_room);
}

static int fd_fails(int fd, int needs_room) {
    char link[64], path[PATH_MAX];
    if (!counter)
        return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0)
        return 0;
    path[length] = 0;
    return fails(path, needs_room);
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
#define FD_CALL(type, name, fd, room, parameters, arguments)                                       \
    type name parameters {                                                                         \
        static __typeof__(&name) real;                                                             \
        if (!real)                                                                                 \
            real = REAL(name);                                                                     \
        return fd_fails(fd, room) ? -1 : real arguments;                                           \
    }
#define PATH_CALL(name, folder, path, room, parameters, arguments)                                 \
    int name parameters {                                                                          \
        static __typeof__(&name) real;                                                             \
        if (!real)                                                                                 \
            real = REAL(name);                                                                     \
        return path_fails(folder, path, room) ? -1 : real arguments;                               \
    }
#define OPEN_CALL(name, folder, parameters, arguments)                                             \
    int name parameters {                                                                          \
        static __typeof__(&name) real;                                                             \
        if (!real)                                                                                 \
            real = REAL(name);                                                                     \
        mode_t mode = 0;                                                                           \
        if (flags & (O_CREAT | O_TMPFILE)) {                                                       \
            va_list rest;                                                                          \
            va_start(rest, flags);                                                                 \
            mode = va_arg(rest, mode_t);                                                           \
            va_end(rest);                                                                          \
            if ((flags & O_CREAT) && path_fails(folder, path, 1))                                  \
                return -1;                                                                         \
        }                                                                                          \
        return real arguments;                                                                     \
    }

FD_CALL(ssize_t, write, fd, 1, (int fd, const void *data, size_t size), (fd, data, size))
FD_CALL(ssize_t, writev, fd, 1, (int fd, const struct iovec *parts, int count), (fd, parts, count))
FD_CALL(ssize_t, pwrite, fd, 1, (int fd, const void *data, size_t size, off_t place),
        (fd, data, size, place))
FD_CALL(ssize_t, pwrite64, fd, 1, (int fd, const void *data, size_t size, off64_t place),
        (fd, data, size, place))
FD_CALL(ssize_t, sendfile, to, 1, (int to, int from, off_t *place, size_t size),
        (to, from, place, size))
FD_CALL(ssize_t, sendfile64, to, 1, (int to, int from, off64_t *place, size_t size),
        (to, from, place, size))
FD_CALL(ssize_t, copy_file_range, to, 1,
        (int from, off64_t *in, int to, off64_t *out, size_t size, unsigned flags),
        (from, in, to, out, size, flags))
FD_CALL(int, fsync, fd, 0, (int fd), (fd))
FD_CALL(int, fdatasync, fd, 0, (int fd), (fd))
FD_CALL(int, ftruncate, fd, 0, (int fd, off_t size), (fd, size))
FD_CALL(int, ftruncate64, fd, 0, (int fd, off64_t size), (fd, size))
PATH_CALL(mkdir, AT_FDCWD, path, 1, (const char *path, mode_t mode), (path, mode))
PATH_CALL(mkdirat, folder, path, 1, (int folder, const char *path, mode_t mode),
          (folder, path, mode))
PATH_CALL(symlink, AT_FDCWD, path, 1, (const char *to, const char *path), (to, path))
PATH_CALL(link, AT_FDCWD, path, 1, (const char *from, const char *path), (from, path))
PATH_CALL(linkat, folder, path, 1,
          (int other, const char *from, int folder, const char *path, int flags),
          (other, from, folder, path, flags))
PATH_CALL(rename, AT_FDCWD, path, 1, (const char *from, const char *path), (from, path))
PATH_CALL(renameat, folder, path, 1, (int other, const char *from, int folder, const char *path),
          (other, from, folder, path))
PATH_CALL(unlink, AT_FDCWD, path, 0, (const char *path), (path))
PATH_CALL(unlinkat, folder, path, 0, (int folder, const char *path, int flags),
          (folder, path, flags))
PATH_CALL(rmdir, AT_FDCWD, path, 0, (const char *path), (path))
OPEN_CALL(open, AT_FDCWD, (const char *path, int flags, ...), (path, flags, mode))
OPEN_CALL(open64, AT_FDCWD, (const char *path, int flags, ...), (path, flags, mode))
OPEN_CALL(openat, folder, (int folder, const char *path, int flags, ...),
          (folder, path, flags, mode))
OPEN_CALL(openat64, folder, (int folder, const char *path, int flags, ...),
          (folder, path, flags, mode))
