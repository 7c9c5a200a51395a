/*
 * Preloaded into a server: a disk that stalls, is slow or is full, and a wall clock that jumps.
 *
 * What it does is read from a small file that the test has mapped too, at each call: see shim.py for its fields.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

struct control {
    int64_t stalled;     /* fsync waits while this is not 0 */
    int64_t slow_us;     /* each fsync takes so much longer */
    int64_t full;        /* regular files cannot be written while this is not 0 */
    int64_t shift_ns;    /* added to the wall clock */
    int64_t syncs;       /* how many calls have synced; written here */
};

static volatile struct control *control;

__attribute__((constructor)) static void begin(void)
{
    const char *path = getenv("ATTACK_SHIM");
    int file = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (file < 0)
        return;
    void *mapped = mmap(NULL, sizeof(struct control), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    if (mapped != MAP_FAILED)
        control = mapped;
}

static void wait_for_disk(void)
{
    if (!control)
        return;
    __atomic_add_fetch(&control->syncs, 1, __ATOMIC_RELAXED);
    if (control->slow_us)
        usleep((useconds_t)control->slow_us);
    while (control->stalled)
        usleep(5000);
}

static int is_full(int file)
{
    struct stat found;
    return control && control->full && file > 2 && fstat(file, &found) == 0 && S_ISREG(found.st_mode);
}

#define NEXT(name) static __typeof__(&name) next; if (!next) next = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

int fsync(int file) { NEXT(fsync); wait_for_disk(); return next(file); }
int fdatasync(int file) { NEXT(fdatasync); wait_for_disk(); return next(file); }

#define WRITE(name, offset_type) \
    ssize_t name(int file, const void *data, size_t size, offset_type at) \
    { \
        NEXT(name); \
        if (is_full(file)) { errno = ENOSPC; return -1; } \
        return next(file, data, size, at); \
    }
WRITE(pwrite, off_t)
WRITE(pwrite64, off64_t)

ssize_t write(int file, const void *data, size_t size)
{
    NEXT(write);
    if (is_full(file)) { errno = ENOSPC; return -1; }
    return next(file, data, size);
}

int clock_gettime(clockid_t clock, struct timespec *now)
{
    NEXT(clock_gettime);
    int status = next(clock, now);
    if (status == 0 && control && control->shift_ns && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) {
        int64_t shifted = now->tv_sec * 1000000000LL + now->tv_nsec + control->shift_ns;
        now->tv_sec = shifted / 1000000000LL;
        now->tv_nsec = shifted % 1000000000LL;
    }
    return status;
}

time_t time(time_t *out)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (out)
        *out = now.tv_sec;
    return now.tv_sec;
}

int gettimeofday(struct timeval *out, void *zone)
{
    struct timespec now;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &now);
    out->tv_sec = now.tv_sec;
    out->tv_usec = now.tv_nsec / 1000;
    return 0;
}
