/* A wrong wall clock for one process (LD_PRELOAD): adds the seconds that stand in the file $CLOCK_SHIM (a 64-bit number)
 * to what the system says, also while the process runs. The monotonic clock is left as it is, as with a real jump.
 *
 *     cc -shared -fPIC -O1 -o clock_shim.so clock_shim.c
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static volatile int64_t *shared;

__attribute__((constructor)) static void map_file(void) {
    const char *path = getenv("CLOCK_SHIM");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (file < 0)
        return;
    void *at = mmap(NULL, sizeof *shared, PROT_READ, MAP_SHARED, file, 0);
    close(file);
    if (at != MAP_FAILED)
        shared = at;
}

static int64_t offset(void) { return shared ? *shared : 0; }

int clock_gettime(clockid_t id, struct timespec *now) {
    int result = syscall(SYS_clock_gettime, id, now);
    if (result == 0 && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE))
        now->tv_sec += offset();
    return result;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    int result = syscall(SYS_gettimeofday, now, zone);
    if (result == 0)
        now->tv_sec += offset();
    return result;
}

time_t time(time_t *out) {
    struct timespec now;
    syscall(SYS_clock_gettime, CLOCK_REALTIME, &now);
    now.tv_sec += offset();
    if (out)
        *out = now.tv_sec;
    return now.tv_sec;
}

typedef int (*timedwait)(pthread_cond_t *, pthread_mutex_t *, const struct timespec *);

static int is_before(const struct timespec *one, const struct timespec *other) {
    return one->tv_sec < other->tv_sec || (one->tv_sec == other->tv_sec && one->tv_nsec < other->tv_nsec);
}

/* The system's own wait knows nothing of the wrong clock, so it waits in steps of 20 ms of the right one. */
int pthread_cond_timedwait(pthread_cond_t *restrict cond, pthread_mutex_t *restrict mutex,
                           const struct timespec *restrict until) {
    static timedwait real;
    if (!real) {
        real = (timedwait)dlvsym(RTLD_NEXT, "pthread_cond_timedwait", "GLIBC_2.3.2");
        if (!real)
            real = (timedwait)dlsym(RTLD_NEXT, "pthread_cond_timedwait");
    }
    for (;;) {
        struct timespec end = *until, step;
        end.tv_sec -= offset();
        syscall(SYS_clock_gettime, CLOCK_REALTIME, &step);
        step.tv_nsec += 20000000;
        if (step.tv_nsec >= 1000000000) {
            step.tv_nsec -= 1000000000;
            step.tv_sec++;
        }
        int last = is_before(&end, &step);
        int result = real(cond, mutex, last ? &end : &step);
        if (last || result != ETIMEDOUT)
            return result;
    }
}
