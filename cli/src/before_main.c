/* What has to happen before `main`. */

/* Keeps a standard stream that the caller has closed an error to use.
 *
 * Before `main`, Rust's runtime opens /dev/null in the place of each of the descriptors 0 to 2 that
 * is closed. Writing to it succeeds, and after that nothing tells it from a /dev/null that the
 * caller has chosen: subprocess.DEVNULL of Python and "ignore" of Node.js open it the same way, for
 * reading and writing. So `mp-manager queue get jobs >&-` would take an item that nobody sees.
 *
 * This runs earlier, and opens /dev/null for the wrong direction: the place is taken, so that no
 * file or socket gets the number, and each read or write fails with EBADF. Rust cannot do it without
 * `unsafe`, which this workspace forbids; it is in C as it is in GNU's programs ("stdopen"). */

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <unistd.h>

__attribute__((constructor)) static void keep_closed_streams_unusable(void)
{
    for (int stream = STDIN_FILENO; stream <= STDERR_FILENO; stream++) {
        if (fcntl(stream, F_GETFD) == -1 && errno == EBADF) {
            /* The lowest free number is this one. If it cannot be opened, Rust's runtime tries. */
            (void)!open("/dev/null", stream == STDIN_FILENO ? O_WRONLY : O_RDONLY);
        }
    }
}

/* Undoes what the caller has done to signals that we need.
 *
 * A process inherits its signal mask, and which signals are ignored. The system keeps no exit status of a child
 * for a parent that ignores SIGCHLD, and a signal that is blocked never comes: `serve` would not end by SIGTERM.
 * Callers block signals for threads of their own that wait for them, and ignore SIGCHLD to be rid of zombies;
 * neither is meant for us, nor for the commands that we start: Rust's standard library starts those with an
 * empty mask as well. What else is ignored stays so, as `nohup` means it.
 *
 * It happens before there is a second thread, as each has a mask of its own. */

__attribute__((constructor)) static void hear_signals(void)
{
    struct sigaction child;
    if (sigaction(SIGCHLD, NULL, &child) == 0 && (child.sa_handler == SIG_IGN || child.sa_flags & SA_NOCLDWAIT)) {
        (void)signal(SIGCHLD, SIG_DFL);
    }
    sigset_t none;
    sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
}

/* Gives memory back to the system.
 *
 * With each large block that is freed, glibc raises the size from which it maps blocks, up to 32 MiB: the next
 * ones come from the heap, and stay there. A fixed size turns that off: a block of 4 MiB or more is mapped, grows
 * in place, and is unmapped when it is freed. The heap keeps smaller blocks for others of them; jemalloc returns
 * those too, by a thread of its own, which `serve` starts. */

#ifdef JEMALLOC
const char *_rjem_malloc_conf = "dirty_decay_ms:2000,muzzy_decay_ms:0";
#elif defined(__GLIBC__)
#include <malloc.h>

__attribute__((constructor)) static void return_large_blocks(void)
{
    mallopt(M_MMAP_THRESHOLD, 4 << 20);
    mallopt(M_TRIM_THRESHOLD, 16 << 20);
}
#endif
