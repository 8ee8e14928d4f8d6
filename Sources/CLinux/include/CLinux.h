// The few calls that Glibc's Swift module lacks because they need _GNU_SOURCE, are variadic, or are macros.
#pragma once
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

/// accept4 with SOCK_NONBLOCK | SOCK_CLOEXEC. Returns the new descriptor or -errno.
int clinux_accept(int listener);
/// A bound, listening Unix stream socket, non-blocking and close-on-exec. Returns the descriptor or -errno.
int clinux_listen_unix(const char *path, unsigned mode, int backlog);
/// Connects to a Unix stream socket, close-on-exec. Returns the descriptor or -errno: -EAGAIN if its queue stayed full for `milliseconds`.
int clinux_connect_unix(const char *path, int milliseconds);
/// Asks without waiting whether anybody listens on a Unix socket: 1 yes (or busy), 0 no, -errno if it cannot be told.
int clinux_probe_unix(const char *path);
/// Credentials of the peer of a Unix socket. Returns 0 or -errno.
int clinux_peer_credentials(int fd, uint32_t *uid, uint32_t *gid, int32_t *pid);
/// Supplementary groups of the peer of a Unix socket, at most `capacity` of them. Returns their number or -errno.
int clinux_peer_groups(int fd, uint32_t *groups, int capacity);
/// Names the calling thread (at most 15 bytes are kept).
void clinux_name_thread(const char *name);
/// Returns freed heap pages to the kernel (malloc_trim(0)).
void clinux_trim_heap(void);
/// Takes the code of the program and of its libraries out of this process's memory; what is used comes back by itself, page by page.
void clinux_release_code(void);
/// Sends this process `signal` whenever `clock` has gone on by `nanoseconds`. Returns 0 or -errno; the timer is in `timer`.
int clinux_start_timer(clockid_t clock, int signal, uint64_t nanoseconds, timer_t *timer);
/// Stops a thread for good where it is, by a signal whose handler never returns. Locks that it holds stay held. Returns 0 or -errno.
int clinux_freeze_thread(pthread_t thread);
/// poll(2) for at most `milliseconds` (-1: for ever), during which alone the signals outside of `mask` are delivered. Returns what poll returns, or -errno.
int clinux_poll(struct pollfd *fds, unsigned count, int milliseconds, const sigset_t *mask);
/// A non-blocking, close-on-exec eventfd. Returns the descriptor or -errno.
int clinux_eventfd(void);
