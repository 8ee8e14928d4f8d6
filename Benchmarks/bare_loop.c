// The least that inference can cost: ONNX Runtime's C ABI in a loop, without sockets, sessions or decisions.
//
// usage: bare_loop LIBRARY MODEL.onnx SAMPLES.s16le SECONDS PERIOD_MS STREAMS
// Runs the silero graph over the samples with carried state. PERIOD_MS 0 runs hot; otherwise it wakes once per period and runs
// the windows that are due, for all streams back to back. Prints CPU seconds per audio second and stream.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "COnnxRuntime.h"

enum { WINDOW = 512, CONTEXT = 64, HIDDEN = 128, RATE = 16000 };
static const OrtApi *api;

static void check(OrtStatus *status) {
    if (!status) return;
    fprintf(stderr, "bare_loop: %s\n", api->GetErrorMessage(status));
    exit(1);
}

static double cpu_seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

typedef struct {
    float input[CONTEXT + WINDOW], h[HIDDEN], c[HIDDEN], probability[1], hn[HIDDEN], cn[HIDDEN];
    OrtValue *in[3], *out[3];
} Stream;

static OrtValue *tensor(OrtMemoryInfo *memory, float *data, size_t count, const int64_t *shape, size_t rank) {
    OrtValue *value = NULL;
    check(api->CreateTensorWithDataAsOrtValue(memory, data, count * sizeof(float), shape, rank, 1, &value));
    return value;
}

int main(int argc, char **argv) {
    if (argc != 7) {
        fprintf(stderr, "usage: bare_loop LIBRARY MODEL SAMPLES SECONDS PERIOD_MS STREAMS\n");
        return 64;
    }
    setenv("ORT_DISABLE_TELEMETRY", "1", 1);
    double seconds = atof(argv[4]), period_ms = atof(argv[5]);
    int streams = atoi(argv[6]);
    void *library = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
    void *symbol = library ? dlsym(library, "OrtGetApiBase") : NULL;
    if (!symbol) {
        fprintf(stderr, "bare_loop: %s\n", dlerror());
        return 1;
    }
    api = ort_call_get_api_base(symbol)->GetApi(24);

    FILE *file = fopen(argv[3], "rb");
    if (!file) { perror(argv[3]); return 1; }
    static short samples[RATE * 60];
    size_t total = fread(samples, 2, sizeof samples / 2, file);
    fclose(file);

    OrtEnv *env;
    OrtSessionOptions *options;
    OrtSession *session;
    OrtMemoryInfo *memory;
    check(api->CreateEnv(3, "bare", &env));
    check(api->CreateSessionOptions(&options));
    check(api->SetIntraOpNumThreads(options, 1));
    check(api->SetInterOpNumThreads(options, 1));
    check(api->SetSessionExecutionMode(options, 0));
    check(api->AddSessionConfigEntry(options, "session.intra_op.allow_spinning", "0"));
    check(api->CreateSession(env, argv[2], options, &session));
    check(api->CreateCpuMemoryInfo(0, 0, &memory));

    const int64_t input_shape[] = {1, CONTEXT + WINDOW}, state_shape[] = {1, 1, HIDDEN}, output_shape[] = {1};
    Stream *all = calloc((size_t)streams, sizeof *all);
    for (int i = 0; i < streams; i++) {
        Stream *s = &all[i];
        s->in[0] = tensor(memory, s->input, CONTEXT + WINDOW, input_shape, 2);
        s->in[1] = tensor(memory, s->h, HIDDEN, state_shape, 3);
        s->in[2] = tensor(memory, s->c, HIDDEN, state_shape, 3);
        s->out[0] = tensor(memory, s->probability, 1, output_shape, 1);
        s->out[1] = tensor(memory, s->hn, HIDDEN, state_shape, 3);
        s->out[2] = tensor(memory, s->cn, HIDDEN, state_shape, 3);
    }
    const char *in_names[] = {"input", "h", "c"}, *out_names[] = {"speech_probs", "hn", "cn"};

    struct timespec wake;
    clock_gettime(CLOCK_MONOTONIC, &wake);
    long long windows = (long long)(seconds * RATE / WINDOW), done = 0;
    int per_wake = period_ms > 0 ? (int)(period_ms * RATE / 1000 / WINDOW + 0.5) : 1;
    if (per_wake < 1) per_wake = 1;
    double sum = 0, before = cpu_seconds();
    while (done < windows) {
        if (period_ms > 0) {
            long long next = wake.tv_nsec + (long long)(per_wake * (WINDOW * 1e9 / RATE));
            wake.tv_sec += next / 1000000000;
            wake.tv_nsec = next % 1000000000;
            clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &wake, NULL);
        }
        for (int i = 0; i < streams; i++) {
            Stream *s = &all[i];
            for (int k = 0; k < per_wake; k++) {
                size_t start = (size_t)(((done + k) * WINDOW) % (long long)(total - WINDOW));
                memmove(s->input, s->input + WINDOW, CONTEXT * sizeof(float));
                for (int n = 0; n < WINDOW; n++) s->input[CONTEXT + n] = (float)samples[start + (size_t)n] / 32768.0f;
                check(api->Run(session, NULL, in_names, (const OrtValue *const *)s->in, 3, out_names, 3, s->out));
                memcpy(s->h, s->hn, sizeof s->h);
                memcpy(s->c, s->cn, sizeof s->c);
                sum += s->probability[0];
            }
        }
        done += per_wake;
    }
    double used = cpu_seconds() - before;
    double audio = (double)done * WINDOW / RATE * streams;
    printf("{\"cpu_per_audio_second\": %.9f, \"windows\": %lld, \"mean\": %.6f}\n", used / audio, done * streams, sum / (double)(done * streams));
    return 0;
}
