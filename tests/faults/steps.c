/* A preloaded library that counts, and can stop at, each step a process takes on a file tree.
 *
 * A step is a call into libc that changes files or folders at or below one root folder, or forces
 * them to disk. Belongs here: seeing these calls, numbering them, killing the process before one
 * of them, and refusing space. Does not belong here: what is tested (see stepper.py).
 *
 * Steps are taken one at a time: the lock is held over the number and the call, so that when step
 * k kills the process, all the steps before k are done and none after k has begun.
 *
 * Not seen: writes through mmap, io_uring, libc's own files (what fwrite, mkstemp do inside libc),
 * changes of owners, times and extended attributes, and other processes (a forked child counts
 * nothing).
 */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

#define PATH_SIZE (PATH_MAX + 64)

static atomic_int armed;
static pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER;
static char root[2 * PATH_SIZE];
static size_t root_length;
static long count, kill_at, fail_at;
static int log_fd = -1;

/* The function of this name that the process would have called without this library. */
#define REAL(name)                                                                                 \
    ({                                                                                             \
        static _Atomic(void *) found;                                                              \
        void *at = atomic_load_explicit(&found, memory_order_acquire);                             \
        if (!at) {                                                                                 \
            at = dlsym(RTLD_NEXT, #name);                                                          \
            if (!at) abort();                                                                      \
            atomic_store_explicit(&found, at, memory_order_release);                               \
        }                                                                                          \
        (__typeof__(&name))at;                                                                     \
    })

/* ---- Where a call points ---------------------------------------------------------------- */

static int below(const char *path) {
    return strncmp(path, root, root_length) == 0 &&
           (path[root_length] == '/' || path[root_length] == '\0');
}

static int path_of_fd(int fd, char *out) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, out, PATH_SIZE - 1);
    if (length <= 0) return 0;
    out[length] = '\0';
    return out[0] == '/'; /* pipes and sockets have names such as pipe:[1] */
}

/* The absolute path of an entry, free of symbolic links but for the last name unless `follow`.
 * Gives 0 when the folder does not exist: the call will fail and changes nothing. */
static int resolve(int folder, const char *path, int follow, char *out) {
    char full[2 * PATH_SIZE], real[PATH_SIZE];
    if (!path || !path[0]) return 0;
    if (path[0] == '/' || folder == AT_FDCWD) {
        if (strlen(path) >= PATH_MAX) return 0;
        strcpy(full, path);
    } else {
        if (!path_of_fd(folder, real) || strlen(path) >= PATH_MAX) return 0;
        snprintf(full, sizeof full, "%s/%s", real, path);
    }
    size_t length = strlen(full);
    while (length > 1 && full[length - 1] == '/') full[--length] = '\0';
    char *slash = strrchr(full, '/');
    const char *name = slash ? slash + 1 : full;
    if (follow || !name[0] || !strcmp(name, ".") || !strcmp(name, "..")) {
        if (realpath(full, real)) {
            strcpy(out, real);
            return 1;
        }
        if (!follow) return 0;
    }
    if (slash == full) {
        strcpy(real, "");
    } else {
        if (slash) *slash = '\0';
        if (!realpath(slash ? full : ".", real)) return 0;
        if (!strcmp(real, "/")) real[0] = '\0';
    }
    if (strlen(real) + strlen(name) + 2 > PATH_SIZE) return 0;
    snprintf(out, 2 * PATH_SIZE, "%s/%s", real, name);
    return 1;
}

/* ---- Counting --------------------------------------------------------------------------- */

enum verdict { OUTSIDE, GO, REFUSED };

static const char *shown(const char *path) {
    if (!below(path)) return path;
    return path[root_length] ? path + root_length + 1 : ".";
}

static void write_log(const char *call, const char *path, const char *other) {
    char line[5 * PATH_SIZE];
    int head = snprintf(line, sizeof line, "%ld\t%s\t", count, call);
    int length = head + snprintf(line + head, sizeof line - head, "%s%s%s\n", shown(path),
                                 other ? " -> " : "", other ? shown(other) : "");
    for (int i = head; i < length - 1; i++)
        if (line[i] == '\n' || line[i] == '\t') line[i] = '?';
    REAL(syscall)(SYS_write, log_fd, line, (size_t)length);
}

/* Number a call and say whether to do it. After GO the lock is held until `done`. */
static enum verdict step(const char *call, int needs_space, const char *path, const char *other) {
    if (!below(path) && !(other && below(other))) return OUTSIDE;
    int before = errno;
    pthread_mutex_lock(&turn);
    if (!atomic_load(&armed)) {
        pthread_mutex_unlock(&turn);
        return OUTSIDE;
    }
    count++;
    if (log_fd >= 0) write_log(call, path, other);
    if (count == kill_at) {
        REAL(syscall)(SYS_kill, (long)getpid(), (long)SIGKILL);
        for (;;) pause();
    }
    if (needs_space && fail_at && count >= fail_at) {
        pthread_mutex_unlock(&turn);
        errno = ENOSPC;
        return REFUSED;
    }
    errno = before;
    return GO;
}

static void done(enum verdict verdict) {
    if (verdict == GO) pthread_mutex_unlock(&turn);
}

#define WHEN_ARMED(expression) (atomic_load(&armed) ? (expression) : OUTSIDE)

/* Do the call unless space is refused; the lock, if held, is given back with errno kept. */
#define TAKE(type, verdict_, call)                                                                 \
    do {                                                                                           \
        enum verdict taken = (verdict_);                                                           \
        if (taken == REFUSED) return (type) - 1;                                                   \
        type given = (call);                                                                       \
        int error = errno;                                                                         \
        done(taken);                                                                               \
        errno = error;                                                                             \
        return given;                                                                              \
    } while (0)

static int exists(const char *path) {
    struct stat found;
    return lstat(path, &found) == 0;
}

/* ---- Steps by path ---------------------------------------------------------------------- */

static enum verdict opening(int folder, const char *path, int flags) {
    char at[2 * PATH_SIZE];
    int before = errno;
    enum verdict verdict = OUTSIDE;
    if ((flags & O_TMPFILE) == O_TMPFILE) {
        if (resolve(folder, path, 1, at)) verdict = step("create", 1, at, NULL);
    } else if (flags & (O_CREAT | O_TRUNC)) {
        if (resolve(folder, path, !(flags & O_NOFOLLOW), at)) {
            struct stat found;
            if (lstat(at, &found) != 0) {
                if (flags & O_CREAT) verdict = step("create", 1, at, NULL);
            } else if ((flags & O_TRUNC) && !((flags & O_CREAT) && (flags & O_EXCL)) &&
                       S_ISREG(found.st_mode)) {
                verdict = step("truncate", 0, at, NULL);
            }
        }
    }
    if (verdict != REFUSED) errno = before;
    return verdict;
}

/* A call that makes `path` (and counts only if nothing is there). */
static enum verdict making(const char *call, int folder, const char *path) {
    char at[2 * PATH_SIZE];
    if (!resolve(folder, path, 0, at) || exists(at)) return OUTSIDE;
    return step(call, 1, at, NULL);
}

/* A call that changes or removes `path` (and counts only if something is there). */
static enum verdict changing(const char *call, int folder, const char *path, int follow) {
    char at[2 * PATH_SIZE];
    if (!resolve(folder, path, follow, at) || !exists(at)) return OUTSIDE;
    return step(call, 0, at, NULL);
}

static enum verdict moving(int from_folder, const char *from, int to_folder, const char *to) {
    char source[2 * PATH_SIZE], target[2 * PATH_SIZE];
    if (!resolve(from_folder, from, 0, source) || !exists(source)) return OUTSIDE;
    if (!resolve(to_folder, to, 0, target)) return OUTSIDE;
    return step("rename", 0, source, target);
}

static enum verdict linking(int from_folder, const char *from, int to_folder, const char *to,
                            int follow) {
    char source[2 * PATH_SIZE], target[2 * PATH_SIZE];
    if (!resolve(to_folder, to, 0, target) || exists(target)) return OUTSIDE;
    /* Without a source path it is a file without a name that gets one. */
    if (!resolve(from_folder, from, follow, source)) return step("link", 1, target, NULL);
    return step("link", 1, source, target);
}

/* ---- Steps by file descriptor ----------------------------------------------------------- */

static enum verdict writing(const char *call, int fd, int needs_space) {
    char at[PATH_SIZE];
    int before = errno;
    struct stat found;
    enum verdict verdict = OUTSIDE;
    if (fstat(fd, &found) == 0 && S_ISREG(found.st_mode) && path_of_fd(fd, at))
        verdict = step(call, needs_space, at, NULL);
    if (verdict != REFUSED) errno = before;
    return verdict;
}

static enum verdict on_fd(const char *call, int fd) {
    char at[PATH_SIZE];
    int before = errno;
    enum verdict verdict = path_of_fd(fd, at) ? step(call, 0, at, NULL) : OUTSIDE;
    errno = before;
    return verdict;
}

static int grows(int fd, off_t length) {
    struct stat found;
    return fstat(fd, &found) == 0 && length > found.st_size;
}

/* ---- The calls -------------------------------------------------------------------------- */

#define MODE(flags)                                                                                \
    ({                                                                                             \
        mode_t given_mode = 0;                                                                     \
        if ((flags) & (O_CREAT | __O_TMPFILE)) {                                                   \
            va_list rest;                                                                          \
            va_start(rest, flags);                                                                 \
            given_mode = va_arg(rest, mode_t);                                                     \
            va_end(rest);                                                                          \
        }                                                                                          \
        given_mode;                                                                                \
    })

int open(const char *path, int flags, ...) {
    mode_t mode = MODE(flags);
    TAKE(int, WHEN_ARMED(opening(AT_FDCWD, path, flags)), REAL(open)(path, flags, mode));
}

int open64(const char *path, int flags, ...) {
    mode_t mode = MODE(flags);
    TAKE(int, WHEN_ARMED(opening(AT_FDCWD, path, flags)), REAL(open64)(path, flags, mode));
}

int openat(int folder, const char *path, int flags, ...) {
    mode_t mode = MODE(flags);
    TAKE(int, WHEN_ARMED(opening(folder, path, flags)), REAL(openat)(folder, path, flags, mode));
}

int openat64(int folder, const char *path, int flags, ...) {
    mode_t mode = MODE(flags);
    TAKE(int, WHEN_ARMED(opening(folder, path, flags)), REAL(openat64)(folder, path, flags, mode));
}

/* The names that programs built with _FORTIFY_SOURCE call. */
int __open_2(const char *path, int flags) { return open(path, flags); }
int __open64_2(const char *path, int flags) { return open64(path, flags); }
int __openat_2(int folder, const char *path, int flags) { return openat(folder, path, flags); }
int __openat64_2(int folder, const char *path, int flags) { return openat64(folder, path, flags); }

int creat(const char *path, mode_t mode) { return open(path, O_CREAT | O_WRONLY | O_TRUNC, mode); }
int creat64(const char *path, mode_t mode) {
    return open64(path, O_CREAT | O_WRONLY | O_TRUNC, mode);
}

static enum verdict opening_stream(const char *path, const char *mode) {
    int flags = mode[0] == 'w' ? O_CREAT | O_TRUNC : mode[0] == 'a' ? O_CREAT : 0;
    if (strchr(mode, 'x')) flags |= O_EXCL;
    return opening(AT_FDCWD, path, flags);
}

FILE *fopen(const char *path, const char *mode) {
    enum verdict verdict = WHEN_ARMED(opening_stream(path, mode));
    if (verdict == REFUSED) return NULL;
    FILE *given = REAL(fopen)(path, mode);
    int error = errno;
    done(verdict);
    errno = error;
    return given;
}

FILE *fopen64(const char *path, const char *mode) {
    enum verdict verdict = WHEN_ARMED(opening_stream(path, mode));
    if (verdict == REFUSED) return NULL;
    FILE *given = REAL(fopen64)(path, mode);
    int error = errno;
    done(verdict);
    errno = error;
    return given;
}

ssize_t write(int fd, const void *data, size_t size) {
    TAKE(ssize_t, WHEN_ARMED(writing("write", fd, 1)), REAL(write)(fd, data, size));
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t at) {
    TAKE(ssize_t, WHEN_ARMED(writing("pwrite", fd, 1)), REAL(pwrite)(fd, data, size, at));
}

ssize_t pwrite64(int fd, const void *data, size_t size, off64_t at) {
    TAKE(ssize_t, WHEN_ARMED(writing("pwrite", fd, 1)), REAL(pwrite64)(fd, data, size, at));
}

ssize_t writev(int fd, const struct iovec *parts, int number) {
    TAKE(ssize_t, WHEN_ARMED(writing("writev", fd, 1)), REAL(writev)(fd, parts, number));
}

ssize_t pwritev(int fd, const struct iovec *parts, int number, off_t at) {
    TAKE(ssize_t, WHEN_ARMED(writing("pwritev", fd, 1)), REAL(pwritev)(fd, parts, number, at));
}

ssize_t pwritev64(int fd, const struct iovec *parts, int number, off64_t at) {
    TAKE(ssize_t, WHEN_ARMED(writing("pwritev", fd, 1)), REAL(pwritev64)(fd, parts, number, at));
}

ssize_t pwritev2(int fd, const struct iovec *parts, int number, off_t at, int flags) {
    TAKE(ssize_t, WHEN_ARMED(writing("pwritev", fd, 1)),
         REAL(pwritev2)(fd, parts, number, at, flags));
}

ssize_t pwritev64v2(int fd, const struct iovec *parts, int number, off64_t at, int flags) {
    TAKE(ssize_t, WHEN_ARMED(writing("pwritev", fd, 1)),
         REAL(pwritev64v2)(fd, parts, number, at, flags));
}

ssize_t copy_file_range(int from, off64_t *from_at, int to, off64_t *to_at, size_t size,
                        unsigned flags) {
    TAKE(ssize_t, WHEN_ARMED(writing("copy_file_range", to, 1)),
         REAL(copy_file_range)(from, from_at, to, to_at, size, flags));
}

ssize_t sendfile(int to, int from, off_t *from_at, size_t size) {
    TAKE(ssize_t, WHEN_ARMED(writing("sendfile", to, 1)),
         REAL(sendfile)(to, from, from_at, size));
}

ssize_t sendfile64(int to, int from, off64_t *from_at, size_t size) {
    TAKE(ssize_t, WHEN_ARMED(writing("sendfile", to, 1)),
         REAL(sendfile64)(to, from, from_at, size));
}

int ftruncate(int fd, off_t length) {
    TAKE(int, WHEN_ARMED(writing("ftruncate", fd, grows(fd, length))),
         REAL(ftruncate)(fd, length));
}

int ftruncate64(int fd, off64_t length) {
    TAKE(int, WHEN_ARMED(writing("ftruncate", fd, grows(fd, length))),
         REAL(ftruncate64)(fd, length));
}

static enum verdict truncating(const char *path, off_t length) {
    char at[2 * PATH_SIZE];
    struct stat found;
    if (!resolve(AT_FDCWD, path, 1, at) || stat(at, &found) != 0) return OUTSIDE;
    return step("truncate", length > found.st_size, at, NULL);
}

int truncate(const char *path, off_t length) {
    TAKE(int, WHEN_ARMED(truncating(path, length)), REAL(truncate)(path, length));
}

int truncate64(const char *path, off64_t length) {
    TAKE(int, WHEN_ARMED(truncating(path, length)), REAL(truncate64)(path, length));
}

int fallocate(int fd, int mode, off_t at, off_t length) {
    TAKE(int, WHEN_ARMED(writing("fallocate", fd, !(mode & FALLOC_FL_PUNCH_HOLE))),
         REAL(fallocate)(fd, mode, at, length));
}

int fallocate64(int fd, int mode, off64_t at, off64_t length) {
    TAKE(int, WHEN_ARMED(writing("fallocate", fd, !(mode & FALLOC_FL_PUNCH_HOLE))),
         REAL(fallocate64)(fd, mode, at, length));
}

/* These two give the error number back and leave errno alone. */
int posix_fallocate(int fd, off_t at, off_t length) {
    enum verdict verdict = WHEN_ARMED(writing("fallocate", fd, 1));
    if (verdict == REFUSED) return ENOSPC;
    int given = REAL(posix_fallocate)(fd, at, length);
    done(verdict);
    return given;
}

int posix_fallocate64(int fd, off64_t at, off64_t length) {
    enum verdict verdict = WHEN_ARMED(writing("fallocate", fd, 1));
    if (verdict == REFUSED) return ENOSPC;
    int given = REAL(posix_fallocate64)(fd, at, length);
    done(verdict);
    return given;
}

int fsync(int fd) { TAKE(int, WHEN_ARMED(on_fd("fsync", fd)), REAL(fsync)(fd)); }

int fdatasync(int fd) { TAKE(int, WHEN_ARMED(on_fd("fdatasync", fd)), REAL(fdatasync)(fd)); }

int rename(const char *from, const char *to) {
    TAKE(int, WHEN_ARMED(moving(AT_FDCWD, from, AT_FDCWD, to)), REAL(rename)(from, to));
}

int renameat(int from_folder, const char *from, int to_folder, const char *to) {
    TAKE(int, WHEN_ARMED(moving(from_folder, from, to_folder, to)),
         REAL(renameat)(from_folder, from, to_folder, to));
}

int renameat2(int from_folder, const char *from, int to_folder, const char *to, unsigned flags) {
    TAKE(int, WHEN_ARMED(moving(from_folder, from, to_folder, to)),
         REAL(renameat2)(from_folder, from, to_folder, to, flags));
}

int unlink(const char *path) {
    TAKE(int, WHEN_ARMED(changing("unlink", AT_FDCWD, path, 0)), REAL(unlink)(path));
}

int unlinkat(int folder, const char *path, int flags) {
    const char *call = flags & AT_REMOVEDIR ? "rmdir" : "unlink";
    TAKE(int, WHEN_ARMED(changing(call, folder, path, 0)), REAL(unlinkat)(folder, path, flags));
}

int rmdir(const char *path) {
    TAKE(int, WHEN_ARMED(changing("rmdir", AT_FDCWD, path, 0)), REAL(rmdir)(path));
}

int remove(const char *path) {
    struct stat found;
    int folder = lstat(path, &found) == 0 && S_ISDIR(found.st_mode);
    return folder ? rmdir(path) : unlink(path);
}

int link(const char *from, const char *to) {
    TAKE(int, WHEN_ARMED(linking(AT_FDCWD, from, AT_FDCWD, to, 0)), REAL(link)(from, to));
}

int linkat(int from_folder, const char *from, int to_folder, const char *to, int flags) {
    TAKE(int,
         WHEN_ARMED(linking(from_folder, from, to_folder, to, !!(flags & AT_SYMLINK_FOLLOW))),
         REAL(linkat)(from_folder, from, to_folder, to, flags));
}

int symlink(const char *target, const char *path) {
    TAKE(int, WHEN_ARMED(making("symlink", AT_FDCWD, path)), REAL(symlink)(target, path));
}

int symlinkat(const char *target, int folder, const char *path) {
    TAKE(int, WHEN_ARMED(making("symlink", folder, path)), REAL(symlinkat)(target, folder, path));
}

int mkdir(const char *path, mode_t mode) {
    TAKE(int, WHEN_ARMED(making("mkdir", AT_FDCWD, path)), REAL(mkdir)(path, mode));
}

int mkdirat(int folder, const char *path, mode_t mode) {
    TAKE(int, WHEN_ARMED(making("mkdir", folder, path)), REAL(mkdirat)(folder, path, mode));
}

int chmod(const char *path, mode_t mode) {
    TAKE(int, WHEN_ARMED(changing("chmod", AT_FDCWD, path, 1)), REAL(chmod)(path, mode));
}

int fchmod(int fd, mode_t mode) {
    TAKE(int, WHEN_ARMED(on_fd("chmod", fd)), REAL(fchmod)(fd, mode));
}

int fchmodat(int folder, const char *path, mode_t mode, int flags) {
    TAKE(int, WHEN_ARMED(changing("chmod", folder, path, !(flags & AT_SYMLINK_NOFOLLOW))),
         REAL(fchmodat)(folder, path, mode, flags));
}

/* Rust's standard library makes some calls by number. Six arguments are passed on whatever the
 * call takes; the kernel ignores the rest. */
long syscall(long number, ...) {
    long a, b, c, d, e, f;
    va_list rest;
    va_start(rest, number);
    a = va_arg(rest, long), b = va_arg(rest, long), c = va_arg(rest, long);
    d = va_arg(rest, long), e = va_arg(rest, long), f = va_arg(rest, long);
    va_end(rest);
    enum verdict verdict = OUTSIDE;
    if (atomic_load_explicit(&armed, memory_order_relaxed)) {
        switch (number) {
        case SYS_openat: verdict = opening((int)a, (const char *)b, (int)c); break;
        case SYS_write: verdict = writing("write", (int)a, 1); break;
        case SYS_pwrite64: verdict = writing("pwrite", (int)a, 1); break;
        case SYS_writev: verdict = writing("writev", (int)a, 1); break;
        case SYS_pwritev:
        case SYS_pwritev2: verdict = writing("pwritev", (int)a, 1); break;
        case SYS_copy_file_range: verdict = writing("copy_file_range", (int)c, 1); break;
        case SYS_sendfile: verdict = writing("sendfile", (int)a, 1); break;
        case SYS_ftruncate: verdict = writing("ftruncate", (int)a, grows((int)a, b)); break;
        case SYS_fallocate:
            verdict = writing("fallocate", (int)a, !(b & FALLOC_FL_PUNCH_HOLE));
            break;
        case SYS_fsync: verdict = on_fd("fsync", (int)a); break;
        case SYS_fdatasync: verdict = on_fd("fdatasync", (int)a); break;
        case SYS_renameat2:
            verdict = moving((int)a, (const char *)b, (int)c, (const char *)d);
            break;
        case SYS_unlinkat:
            verdict = changing(c & AT_REMOVEDIR ? "rmdir" : "unlink", (int)a, (const char *)b, 0);
            break;
        case SYS_mkdirat: verdict = making("mkdir", (int)a, (const char *)b); break;
        }
    }
    TAKE(long, verdict, REAL(syscall)(number, a, b, c, d, e, f));
}

/* ---- What the test tool calls ------------------------------------------------------------- */

void steps_disarm(void) {
    pthread_mutex_lock(&turn);
    atomic_store(&armed, 0);
    if (log_fd >= 0) close(log_fd);
    log_fd = -1;
    pthread_mutex_unlock(&turn);
}

/* Begin to count calls at or below `folder`. Gives 0, or the error number.
 *
 * kill_step: the step before which the process kills itself; 0 for never.
 * fail_step: the step from which on calls that need space fail with ENOSPC; 0 for never.
 * log_path: a file to which each step is added before it is done; NULL for none. */
int steps_arm(const char *folder, long kill_step, long fail_step, const char *log_path) {
    steps_disarm();
    /* A folder that the action itself will make has no real path yet. */
    if (!resolve(AT_FDCWD, folder, 1, root)) return ENOENT;
    root_length = strlen(root);
    if (root_length < 2) return EINVAL;
    if (log_path) {
        log_fd = (int)REAL(syscall)(SYS_openat, AT_FDCWD, log_path,
                                    O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
        if (log_fd < 0) return errno;
    }
    count = 0;
    kill_at = kill_step;
    fail_at = fail_step;
    atomic_store(&armed, 1);
    return 0;
}

long steps_count(void) {
    pthread_mutex_lock(&turn);
    long counted = count;
    pthread_mutex_unlock(&turn);
    return counted;
}

static void in_forked_child(void) {
    /* Another thread may have held the lock when the process was forked. */
    pthread_mutex_init(&turn, NULL);
    atomic_store(&armed, 0);
    log_fd = -1;
}

__attribute__((constructor)) static void at_load(void) {
    pthread_atfork(NULL, NULL, in_forked_child);
}
