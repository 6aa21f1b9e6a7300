/* The part of NVML that Dask and hpcflow ask for, with HPCFLOW_STUB_GPUS devices (4) of 16 GiB that do nothing. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef int status; /* nvmlReturn_t */
enum { OK = 0, INVALID = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6 };
typedef struct { unsigned long long total, free, used; } memory;
typedef struct { unsigned version; unsigned long long total, reserved, free, used; } memory_v2;
typedef struct { unsigned gpu, memory; } utilization;

static const unsigned long long TOTAL = 16ull << 30;

static unsigned number(void) {
    const char *text = getenv("HPCFLOW_STUB_GPUS");
    return text ? (unsigned)atoi(text) : 4;
}

/* A handle is the device's index, counted from 1. */
static unsigned index_of(void *device) { return (unsigned)(size_t)device - 1; }

status nvmlInit_v2(void) { return OK; }
status nvmlInitWithFlags(unsigned flags) { (void)flags; return OK; }
status nvmlShutdown(void) { return OK; }
const char *nvmlErrorString(status code) { (void)code; return "stub"; }

status nvmlSystemGetDriverVersion(char *text, unsigned size) {
    snprintf(text, size, "575.00");
    return OK;
}

status nvmlDeviceGetCount_v2(unsigned *count) {
    *count = number();
    return OK;
}

status nvmlDeviceGetHandleByIndex_v2(unsigned index, void **device) {
    if (index >= number()) return INVALID;
    *device = (void *)(size_t)(index + 1);
    return OK;
}

status nvmlDeviceGetUUID(void *device, char *text, unsigned size) {
    snprintf(text, size, "GPU-00000000-0000-0000-0000-%012u", index_of(device));
    return OK;
}

status nvmlDeviceGetHandleByUUID(const char *uuid, void **device) {
    char own[96];
    for (unsigned i = 0; i < number(); i++) {
        nvmlDeviceGetUUID((void *)(size_t)(i + 1), own, sizeof own);
        if (strcmp(own, uuid) == 0) return nvmlDeviceGetHandleByIndex_v2(i, device);
    }
    return NOT_FOUND;
}

status nvmlDeviceGetIndex(void *device, unsigned *index) {
    *index = index_of(device);
    return OK;
}

status nvmlDeviceGetName(void *device, char *text, unsigned size) {
    snprintf(text, size, "Stub %u", index_of(device));
    return OK;
}

status nvmlDeviceGetMemoryInfo(void *device, memory *out) {
    (void)device;
    *out = (memory){TOTAL, TOTAL, 0};
    return OK;
}

status nvmlDeviceGetMemoryInfo_v2(void *device, memory_v2 *out) {
    (void)device;
    *out = (memory_v2){out->version, TOTAL, 0, TOTAL, 0};
    return OK;
}

status nvmlDeviceGetUtilizationRates(void *device, utilization *out) {
    (void)device;
    *out = (utilization){0, 0};
    return OK;
}

status nvmlDeviceGetCudaComputeCapability(void *device, int *major, int *minor) {
    (void)device;
    *major = 9;
    *minor = 0;
    return OK;
}

status nvmlDeviceGetMigMode(void *device, unsigned *now, unsigned *later) {
    (void)device, (void)now, (void)later;
    return NOT_SUPPORTED;
}

/* Every device is beside core 0. */
status nvmlDeviceGetCpuAffinity(void *device, unsigned words, unsigned long *mask) {
    (void)device;
    memset(mask, 0, words * sizeof *mask);
    mask[0] = 1;
    return OK;
}

status nvmlDeviceGetComputeRunningProcesses_v2(void *device, unsigned *count, void *out) {
    (void)device, (void)out;
    *count = 0;
    return OK;
}

status nvmlDeviceGetComputeRunningProcesses_v3(void *device, unsigned *count, void *out) {
    (void)device, (void)out;
    *count = 0;
    return OK;
}
