#define _GNU_SOURCE
#include "include/CLinux.h"
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

int clinux_accept(int listener) {
    int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

static int unix_address(const char *path, struct sockaddr_un *address) {
    memset(address, 0, sizeof *address);
    address->sun_family = AF_UNIX;
    if (strlen(path) >= sizeof address->sun_path) return -ENAMETOOLONG;
    strcpy(address->sun_path, path);
    return 0;
}

int clinux_listen_unix(const char *path, unsigned mode, int backlog) {
    struct sockaddr_un address;
    int failed = unix_address(path, &address);
    if (failed) return failed;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) return -errno;
    if (bind(fd, (struct sockaddr *)&address, sizeof address) < 0 || chmod(path, mode) < 0 ||
        listen(fd, backlog) < 0) {
        int error = errno;
        close(fd);
        return -error;
    }
    return fd;
}

int clinux_connect_unix(const char *path, int milliseconds) {
    struct sockaddr_un address;
    int failed = unix_address(path, &address);
    if (failed) return failed;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return -errno;
    // The limit of sending also holds for a connection that waits for room in the listener's queue.
    struct timeval limit = {.tv_sec = milliseconds / 1000, .tv_usec = milliseconds % 1000 * 1000L}, none = {0};
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    if (connect(fd, (struct sockaddr *)&address, sizeof address) < 0) {
        int error = errno;
        close(fd);
        return -error;
    }
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &none, sizeof none);
    return fd;
}

int clinux_probe_unix(const char *path) {
    struct sockaddr_un address;
    int failed = unix_address(path, &address);
    if (failed) return failed;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) return -errno;
    int error = connect(fd, (struct sockaddr *)&address, sizeof address) < 0 ? errno : 0;
    close(fd);
    if (error == 0 || error == EAGAIN || error == EINPROGRESS) return 1;
    return error == ECONNREFUSED ? 0 : -error;
}

int clinux_peer_credentials(int fd, uint32_t *uid, uint32_t *gid, int32_t *pid) {
    struct ucred peer;
    socklen_t length = sizeof peer;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) < 0) return -errno;
    *uid = peer.uid;
    *gid = peer.gid;
    *pid = peer.pid;
    return 0;
}

int clinux_peer_groups(int fd, uint32_t *groups, int capacity) {
    socklen_t length = (socklen_t)((size_t)capacity * sizeof *groups);
    if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &length) < 0) return -errno;
    return (int)(length / sizeof *groups);
}

void clinux_name_thread(const char *name) {
    char kept[16] = {0};
    strncpy(kept, name, sizeof kept - 1);
    pthread_setname_np(pthread_self(), kept);
}

void clinux_trim_heap(void) { malloc_trim(0); }

/// True if the loader wrote into the object's code: those pages are not in its file as they are in memory.
static bool has_text_relocations(const struct dl_phdr_info *object) {
    for (ElfW(Half) index = 0; index < object->dlpi_phnum; index++) {
        if (object->dlpi_phdr[index].p_type != PT_DYNAMIC) continue;
        const ElfW(Dyn) *entry = (const ElfW(Dyn) *)(object->dlpi_addr + object->dlpi_phdr[index].p_vaddr);
        for (; entry->d_tag != DT_NULL; entry++)
            if (entry->d_tag == DT_TEXTREL || (entry->d_tag == DT_FLAGS && entry->d_un.d_val & DF_TEXTREL)) return true;
    }
    return false;
}

static int release_code_of(struct dl_phdr_info *object, size_t size, void *data) {
    (void)size, (void)data;
    // The vDSO is the kernel's own, and has no path.
    if (object->dlpi_name[0] != '\0' && object->dlpi_name[0] != '/') return 0;
    if (has_text_relocations(object)) return 0;
    const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    for (ElfW(Half) index = 0; index < object->dlpi_phnum; index++) {
        const ElfW(Phdr) *part = &object->dlpi_phdr[index];
        // Never written, so the file holds all of it. Constants that the loader relocates are in other segments.
        if (part->p_type != PT_LOAD || part->p_flags != (PF_R | PF_X)) continue;
        uintptr_t begin = (object->dlpi_addr + part->p_vaddr + page - 1) & ~(page - 1);
        uintptr_t end = (object->dlpi_addr + part->p_vaddr + part->p_filesz) & ~(page - 1);
        // Refused where pages are locked into memory, which is as well.
        if (begin < end) madvise((void *)begin, end - begin, MADV_DONTNEED);
    }
    return 0;
}

void clinux_release_code(void) { dl_iterate_phdr(release_code_of, NULL); }

int clinux_start_timer(clockid_t clock, int signal, uint64_t nanoseconds, timer_t *timer) {
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = signal};
    if (timer_create(clock, &event, timer) < 0) return -errno;
    struct timespec step = {(time_t)(nanoseconds / 1000000000), (long)(nanoseconds % 1000000000)};
    struct itimerspec setting = {step, step};
    if (timer_settime(*timer, 0, &setting, NULL) == 0) return 0;
    int error = errno;
    timer_delete(*timer);
    return -error;
}

static void sleep_for_ever(int signal) {
    (void)signal;
    // Nothing but calls that are safe in a handler; all signals are blocked in it.
    for (;;) pause();
}

int clinux_freeze_thread(pthread_t thread) {
    // SIGPROF: nobody else in the process uses it, and no thread blocks it.
    struct sigaction action = {.sa_handler = sleep_for_ever, .sa_flags = SA_RESTART};
    sigfillset(&action.sa_mask);
    if (sigaction(SIGPROF, &action, NULL) < 0) return -errno;
    return -pthread_kill(thread, SIGPROF);
}

int clinux_eventfd(void) {
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return fd < 0 ? -errno : fd;
}

int clinux_poll(struct pollfd *fds, unsigned count, int milliseconds, const sigset_t *mask) {
    struct timespec limit = {.tv_sec = milliseconds / 1000, .tv_nsec = milliseconds % 1000 * 1000000L};
    int ready = ppoll(fds, count, milliseconds < 0 ? NULL : &limit, mask);
    return ready < 0 ? -errno : ready;
}
