/* Streams raw samples from standard input through a model of jouled; prints one JSON line per window.
 *
 *   cc -O2 -Wall -Wextra -o stream docs/clients/stream.c
 *   arecord -q -t raw -f S16_LE -r 16000 | ./stream silero-vad 16000
 *
 * C library only, little-endian machines only. */
#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { DATA = 1, END = 4, RESULT = 16, NOTICE = 17, ERROR = 18 };
struct header { uint32_t length; uint16_t type, flags; uint64_t index, time; };

static void fail(const char *what) { fprintf(stderr, "stream: %s\n", what); exit(1); }

static int take(int fd, void *to, size_t count) { /* all of it, or 0 at the end */
    for (char *at = to; count > 0;) {
        ssize_t got = read(fd, at, count);
        if (got <= 0) return 0;
        at += got, count -= (size_t)got;
    }
    return 1;
}

static void give(int fd, const void *from, size_t count) {
    for (const char *at = from; count > 0;) {
        ssize_t sent = send(fd, at, count, MSG_NOSIGNAL);
        if (sent <= 0) fail("jouled closed the connection");
        at += sent, count -= (size_t)sent;
    }
}

static void frame(int fd, uint16_t type, uint64_t index, const void *samples, uint32_t length) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    struct header header = {length, type, 0, index, (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec};
    give(fd, &header, sizeof header);
    give(fd, samples, length);
}

static void show(int fd) { /* one frame from jouled; the end of the stream ends the program */
    static char payload[(1 << 20) + 1];
    struct header header;
    if (!take(fd, &header, sizeof header)) exit(0);
    if (header.length >= sizeof payload || !take(fd, payload, header.length)) fail("the stream broke off");
    payload[header.length] = 0;
    if (header.type == ERROR) fail(payload);
    if (header.type == NOTICE) fprintf(stderr, "%s\n", payload);
    if (header.type != RESULT) return;
    uint16_t variant; uint32_t count; double joules; float value;
    memcpy(&variant, payload, 2), memcpy(&count, payload + 4, 4), memcpy(&joules, payload + 8, 8);
    printf("{\"end\":%llu,\"variant\":%u,\"joules\":%g,\"values\":[", (unsigned long long)header.index, variant, joules);
    for (uint32_t at = 0; at < count; at++) memcpy(&value, payload + 16 + 4 * at, 4), printf(at ? ",%.9g" : "%.9g", value);
    puts("]}");
}

int main(int argc, char **argv) {
    if (argc < 3) fail("usage: stream MODEL RATE_HZ [s16le|f32le] [SOCKET]");
    const char *format = argc > 3 ? argv[3] : "s16le", *path = argc > 4 ? argv[4] : "/run/jouled/jouled.sock";
    size_t size = strcmp(format, "f32le") ? 2 : 4, held = 0;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof address.sun_path) fail("the socket's path is too long");
    strcpy(address.sun_path, path);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    if (connect(fd, (struct sockaddr *)&address, sizeof address) < 0) fail("jouled cannot be reached");
    char text[65536];
    int length = snprintf(text, sizeof text, "{\"method\":\"io.jouled.Streams.Open\",\"upgrade\":true,\"parameters\":"
        "{\"model\":\"%s\",\"sampleRateHz\":%d,\"format\":\"%s\"}}", argv[1], atoi(argv[2]), format);
    give(fd, text, (size_t)length + 1); /* a call ends with its NUL */
    for (length = 0; length < (int)sizeof text - 1 && take(fd, text + length, 1) && text[length]; length++) {} /* byte by byte: frames follow */
    text[length] = 0;
    fprintf(stderr, "%s\n", text); /* the contract: labels of the values, names of the variants */
    if (length == 0 || strstr(text, "\"error\"") == text + 1) return 1;

    setvbuf(stdout, NULL, _IOLBF, 0); /* a result is of use when it comes */
    uint64_t index = 0;
    struct pollfd ready[] = {{.fd = fd, .events = POLLIN}, {.fd = STDIN_FILENO, .events = POLLIN}};
    while (poll(ready, 2, -1) > 0) {
        if (ready[0].revents) show(fd);
        if (ready[0].revents || !ready[1].revents) continue; /* results first: unread ones hold the stream up */
        ssize_t got = read(STDIN_FILENO, text + held, 4096);
        held += got > 0 ? (size_t)got : 0;
        size_t whole = held - held % size;
        if (whole) frame(fd, DATA, index, text, (uint32_t)whole);
        index += whole / size, held -= whole, memmove(text, text + whole, held);
        if (got <= 0) frame(fd, END, index, "", 0), ready[1].fd = -1;
    }
}
