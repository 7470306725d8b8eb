/* A GPU made of the host's memory, behind the part of CUDA's driver API that edgead calls.
 *
 * It is as strict as the real one where mistakes hide: a call without a current context fails, work
 * in a stream happens only when someone waits for it, copies are checked against the allocations
 * they touch, asynchronous ones need page-locked memory, memory runs out, and a stream that records
 * a graph does nothing. What is still alive can be counted.
 */
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { OK = 0, INVALID_VALUE = 1, OUT_OF_MEMORY = 2, NO_DEVICE = 100, INVALID_CONTEXT = 201,
       NOT_READY = 600, CAPTURE_UNSUPPORTED = 900 };

typedef struct Block { uintptr_t at; size_t size; struct Block *next; } Block;
typedef struct Event { double seconds; } Event;
typedef struct Op { int kind; void *to; const void *from; size_t size; void (*call)(void *);
                    void *data; Event *event; struct Graph *graph; struct Op *next; } Op;
typedef struct Graph { Op *first, **last; } Graph;
typedef struct Stream { Op *first, **last; Graph *recording; int broken; } Stream;
enum { COPY, CALL, MARK, RUN };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static Block *device_blocks, *pinned_blocks;
static size_t used, total = (size_t)4 << 30;
static int devices = 1, major = 8, minor = 7, multiprocessors = 16, can_record = 1;
static char device_name[64] = "Orin";
static int retained, streams, events, graphs;
static _Thread_local int depth;
static int primary;

void fake_set(const char *what, long value) {
    if (!strcmp(what, "total")) total = (size_t)value;
    if (!strcmp(what, "devices")) devices = (int)value;
    if (!strcmp(what, "major")) major = (int)value;
    if (!strcmp(what, "minor")) minor = (int)value;
    if (!strcmp(what, "multiprocessors")) multiprocessors = (int)value;
    if (!strcmp(what, "can_record")) can_record = (int)value;
}
void fake_name(const char *name) { strncpy(device_name, name, sizeof device_name - 1); }
long fake_alive(const char *what) {
    long count = 0;
    if (!strcmp(what, "contexts")) return retained;
    if (!strcmp(what, "streams")) return streams;
    if (!strcmp(what, "events")) return events;
    if (!strcmp(what, "graphs")) return graphs;
    if (!strcmp(what, "pushed")) return depth;
    for (Block *b = strcmp(what, "pinned") ? device_blocks : pinned_blocks; b; b = b->next) count++;
    return count;
}

static int no_context(void) { return !depth || !retained; }
static void add(Block **list, uintptr_t at, size_t size) {
    Block *block = malloc(sizeof *block);
    pthread_mutex_lock(&lock);
    block->at = at; block->size = size; block->next = *list; *list = block;
    pthread_mutex_unlock(&lock);
}
static long take(Block **list, uintptr_t at) {
    long size = -1;
    pthread_mutex_lock(&lock);
    for (Block **b = list; *b; b = &(*b)->next)
        if ((*b)->at == at) { Block *gone = *b; size = (long)gone->size; *b = gone->next; free(gone); break; }
    pthread_mutex_unlock(&lock);
    return size;
}
static int inside(Block *list, uintptr_t at, size_t size) {
    int found = 0;
    pthread_mutex_lock(&lock);
    for (Block *b = list; b; b = b->next) found |= at >= b->at && at + size <= b->at + b->size;
    pthread_mutex_unlock(&lock);
    return found;
}

int cuInit(unsigned flags) { (void)flags; return devices ? OK : NO_DEVICE; }
int cuDriverGetVersion(int *version) { *version = 12060; return OK; }
int cuDeviceGetCount(int *count) { *count = devices; return OK; }
int cuDeviceGet(int *device, int index) { *device = index; return index < devices ? OK : NO_DEVICE; }
int cuDeviceGetName(char *name, int size, int device) { (void)device; strncpy(name, device_name, (size_t)size); return OK; }
int cuDeviceGetAttribute(int *value, int what, int device) {
    (void)device;
    *value = what == 75 ? major : what == 76 ? minor : what == 16 ? multiprocessors : 0;
    return OK;
}
int cuDeviceComputeCapability(int *major_, int *minor_, int device) {
    (void)device;
    *major_ = major; *minor_ = minor;
    return OK;
}
int cuGetErrorName(int code, const char **name) {
    *name = code == INVALID_VALUE ? "CUDA_ERROR_INVALID_VALUE" : code == OUT_OF_MEMORY ? "CUDA_ERROR_OUT_OF_MEMORY"
          : code == NO_DEVICE ? "CUDA_ERROR_NO_DEVICE" : code == INVALID_CONTEXT ? "CUDA_ERROR_INVALID_CONTEXT"
          : code == NOT_READY ? "CUDA_ERROR_NOT_READY"
          : code == CAPTURE_UNSUPPORTED ? "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED" : "CUDA_ERROR_NOT_SUPPORTED";
    return OK;
}
int cuGetErrorString(int code, const char **text) { return cuGetErrorName(code, text); }
int cuDevicePrimaryCtxRetain(void **context, int device) { (void)device; __atomic_add_fetch(&retained, 1, 5); *context = &primary; return OK; }
int cuDevicePrimaryCtxRelease_v2(int device) { (void)device; if (!retained) return INVALID_CONTEXT; __atomic_sub_fetch(&retained, 1, 5); return OK; }
int cuCtxPushCurrent_v2(void *context) { if (context != &primary || !retained) return INVALID_CONTEXT; depth++; return OK; }
int cuCtxPopCurrent_v2(void **context) { if (!depth) return INVALID_CONTEXT; depth--; *context = &primary; return OK; }
int cuCtxGetCurrent(void **context) { *context = depth ? &primary : 0; return OK; }
int cuCtxGetDevice(int *device) { *device = 0; return no_context() ? INVALID_CONTEXT : OK; }
int cuCtxSynchronize(void) { return no_context() ? INVALID_CONTEXT : OK; }
int cuMemGetInfo_v2(size_t *free_, size_t *total_) { if (no_context()) return INVALID_CONTEXT; *free_ = total - used; *total_ = total; return OK; }

int cuMemAlloc_v2(uintptr_t *address, size_t size) {
    if (no_context()) return INVALID_CONTEXT;
    if (!size) return INVALID_VALUE;
    if (used + size > total) return OUT_OF_MEMORY;
    *address = (uintptr_t)malloc(size);
    memset((void *)*address, 0xA5, size);
    __atomic_add_fetch(&used, size, 5);
    add(&device_blocks, *address, size);
    return OK;
}
int cuMemFree_v2(uintptr_t address) {
    if (no_context()) return INVALID_CONTEXT;
    long size = take(&device_blocks, address);
    if (size < 0) return INVALID_VALUE;
    __atomic_sub_fetch(&used, (size_t)size, 5);
    memset((void *)address, 0x5A, (size_t)size);
    free((void *)address);
    return OK;
}
int cuMemHostAlloc(void **address, size_t size, unsigned flags) {
    (void)flags;
    if (no_context()) return INVALID_CONTEXT;
    *address = malloc(size);
    add(&pinned_blocks, (uintptr_t)*address, size);
    return OK;
}
int cuMemFreeHost(void *address) {
    if (no_context()) return INVALID_CONTEXT;
    if (take(&pinned_blocks, (uintptr_t)address) < 0) return INVALID_VALUE;
    free(address);
    return OK;
}

int cuStreamCreate(Stream **stream, unsigned flags) {
    (void)flags;
    if (no_context()) return INVALID_CONTEXT;
    *stream = calloc(1, sizeof **stream);
    (*stream)->last = &(*stream)->first;
    __atomic_add_fetch(&streams, 1, 5);
    return OK;
}
static void queue(Stream *stream, Op op) {
    Op *copy = malloc(sizeof op), ***last = stream->recording ? &stream->recording->last : &stream->last;
    *copy = op; copy->next = 0;
    **last = copy; *last = &copy->next;
}
static void do_op(const Op *op) {
    struct timespec now;
    switch (op->kind) {
    case COPY: memcpy(op->to, op->from, op->size); break;
    case CALL: op->call(op->data); break;
    case MARK: clock_gettime(CLOCK_MONOTONIC, &now); op->event->seconds = (double)now.tv_sec + 1e-9 * (double)now.tv_nsec; break;
    case RUN: for (Op *o = op->graph->first; o; o = o->next) do_op(o); break;
    }
}
int cuStreamSynchronize(Stream *stream) {
    if (no_context()) return INVALID_CONTEXT;
    if (stream->recording) { stream->broken = 1; return CAPTURE_UNSUPPORTED; }
    while (stream->first) {
        Op *op = stream->first;
        stream->first = op->next;
        if (!stream->first) stream->last = &stream->first;
        do_op(op);
        free(op);
    }
    return OK;
}
int cuStreamDestroy_v2(Stream *stream) {
    int code = cuStreamSynchronize(stream);
    if (code == INVALID_CONTEXT) return code;
    free(stream);
    __atomic_sub_fetch(&streams, 1, 5);
    return OK;
}
int cuStreamIsCapturing(Stream *stream, int *status) { *status = stream->recording != 0; return OK; }

int cuMemcpyHtoD_v2(uintptr_t to, const void *from, size_t size) {
    if (no_context()) return INVALID_CONTEXT;
    if (!inside(device_blocks, to, size)) return INVALID_VALUE;
    memcpy((void *)to, from, size);
    return OK;
}
int cuMemcpyHtoDAsync_v2(uintptr_t to, const void *from, size_t size, Stream *stream) {
    if (no_context()) return INVALID_CONTEXT;
    if (!inside(device_blocks, to, size) || !inside(pinned_blocks, (uintptr_t)from, size)) return INVALID_VALUE;
    queue(stream, (Op){.kind = COPY, .to = (void *)to, .from = from, .size = size});
    return OK;
}
int cuMemcpyDtoHAsync_v2(void *to, uintptr_t from, size_t size, Stream *stream) {
    if (no_context()) return INVALID_CONTEXT;
    if (!inside(device_blocks, from, size) || !inside(pinned_blocks, (uintptr_t)to, size)) return INVALID_VALUE;
    queue(stream, (Op){.kind = COPY, .to = to, .from = (void *)from, .size = size});
    return OK;
}
int cuLaunchHostFunc(Stream *stream, void (*call)(void *), void *data) {
    if (no_context()) return INVALID_CONTEXT;
    queue(stream, (Op){.kind = CALL, .call = call, .data = data});
    return OK;
}

int cuEventCreate(Event **event, unsigned flags) {
    (void)flags;
    if (no_context()) return INVALID_CONTEXT;
    *event = calloc(1, sizeof **event);
    __atomic_add_fetch(&events, 1, 5);
    return OK;
}
int cuEventDestroy_v2(Event *event) { if (no_context()) return INVALID_CONTEXT; free(event); __atomic_sub_fetch(&events, 1, 5); return OK; }
int cuEventRecord(Event *event, Stream *stream) {
    if (no_context()) return INVALID_CONTEXT;
    event->seconds = 0;
    queue(stream, (Op){.kind = MARK, .event = event});
    return OK;
}
int cuEventElapsedTime(float *milliseconds, Event *from, Event *to) {
    if (!from->seconds || !to->seconds) return NOT_READY;
    *milliseconds = (float)(1e3 * (to->seconds - from->seconds));
    return OK;
}
int cuEventElapsedTime_v2(float *milliseconds, Event *from, Event *to) { return cuEventElapsedTime(milliseconds, from, to); }

int cuStreamBeginCapture_v2(Stream *stream, int mode) {
    (void)mode;
    if (no_context()) return INVALID_CONTEXT;
    if (!can_record) return CAPTURE_UNSUPPORTED;
    stream->recording = calloc(1, sizeof(Graph));
    stream->recording->last = &stream->recording->first;
    stream->broken = 0;
    return OK;
}
int cuStreamEndCapture(Stream *stream, Graph **graph) {
    *graph = stream->broken ? 0 : stream->recording;
    if (*graph) __atomic_add_fetch(&graphs, 1, 5);
    stream->recording = 0;
    return stream->broken ? CAPTURE_UNSUPPORTED : OK;
}
int cuGraphInstantiateWithFlags(Graph **ready, Graph *graph, unsigned long long flags) {
    (void)flags;
    *ready = malloc(sizeof **ready);
    **ready = *graph; /* the operations live on with it */
    __atomic_add_fetch(&graphs, 1, 5);
    return OK;
}
int cuGraphDestroy(Graph *graph) { free(graph); __atomic_sub_fetch(&graphs, 1, 5); return OK; }
int cuGraphExecDestroy(Graph *graph) { free(graph); __atomic_sub_fetch(&graphs, 1, 5); return OK; }
int cuGraphLaunch(Graph *graph, Stream *stream) {
    if (no_context()) return INVALID_CONTEXT;
    queue(stream, (Op){.kind = RUN, .graph = graph});
    return OK;
}
