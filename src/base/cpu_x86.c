/* SPDX-License-Identifier: MIT
 *
 * x86-64: cpuid says what the CPU has, xgetbv which registers the system saves on a context switch.
 * Both must agree: AVX-512 on a system that does not save zmm registers would be corrupted at the
 * next switch. AMX needs a third yes: Linux grants its 8 KiB of tile registers to a process only
 * when asked. */
#if defined(__x86_64__) || defined(__i386__)
#include "base/cpu.h"

#include <cpuid.h>
#include <pthread.h>
#include <string.h>
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

#include "base/cpu_host.h"

struct regs { unsigned a, b, c, d; };

static struct regs cpuid(unsigned leaf, unsigned sub)
{
    struct regs r = {0};
    (void)__get_cpuid_count(leaf, sub, &r.a, &r.b, &r.c, &r.d); /* all 0 when the leaf does not exist */
    return r;
}

static uint64_t saved_state(void)
{
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (uint64_t)high << 32 | low;
}

static int tiles_granted(void)
{
#if defined(__linux__)
    enum { REQUEST_PERMISSION = 0x1023, TILE_DATA = 18 }; /* ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA */
    return syscall(SYS_arch_prctl, REQUEST_PERMISSION, TILE_DATA) == 0;
#else
    return 0;
#endif
}

enum word { L1C, L7B, L7C, L7D, L71A, N_WORD };
enum state { S_SSE, S_AVX, S_AVX512, N_STATE };

/* One row a feature: all bits of `mask` in that cpuid word, and that register state. */
static const struct row { uint64_t feature; enum word word; unsigned mask; enum state state; } rows[] = {
    {SLM_CPU(SSE42), L1C, 1u << 20, S_SSE},
    {SLM_CPU(AVX), L1C, 1u << 28, S_AVX},
    {SLM_CPU(F16C), L1C, 1u << 29, S_AVX},
    {SLM_CPU(FMA), L1C, 1u << 12, S_AVX},
    {SLM_CPU(AVX2), L7B, 1u << 5, S_AVX},
    {SLM_CPU(AVX512), L7B, 1u << 16 | 1u << 17 | 1u << 30 | 1u << 31, S_AVX512}, /* F, DQ, BW, VL */
    {SLM_CPU(AVX512VNNI), L7C, 1u << 11, S_AVX512},
    {SLM_CPU(AVX512BF16), L71A, 1u << 5, S_AVX512},
    {SLM_CPU(AVXVNNI), L71A, 1u << 4, S_AVX},
    {SLM_CPU(AVX512VBMI), L7C, 1u << 1, S_AVX512},
    {SLM_CPU(AVX512FP16), L7D, 1u << 23, S_AVX512},
};

uint64_t slm_cpu_detect(void)
{
    struct regs one = cpuid(1, 0), seven = cpuid(7, 0);
    unsigned words[N_WORD] = {[L1C] = one.c, [L7B] = seven.b, [L7C] = seven.c, [L7D] = seven.d};
    if (seven.a >= 1) words[L71A] = cpuid(7, 1).a;
    uint64_t saved = one.c & 1u << 27 ? saved_state() : 0; /* OSXSAVE: may xgetbv be asked at all */
    const int state[N_STATE] = {1, (saved & 0x6) == 0x6, (saved & 0xE6) == 0xE6};
    uint64_t features = 0;
    for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
        if ((words[rows[i].word] & rows[i].mask) == rows[i].mask && state[rows[i].state]) features |= rows[i].feature;
    }
    const unsigned amx_tile = 1u << 24, amx_int8 = 1u << 25;
    if ((seven.d & amx_tile) && (seven.d & amx_int8) && (saved & 0x60000) == 0x60000 && tiles_granted())
        features |= SLM_CPU(AMXINT8);
    return features;
}

static char model[49] = "unknown";

static void read_model(void)
{
    if (__get_cpuid_max(0x80000000u, NULL) < 0x80000004u) return;
    char brand[49] = {0};
    for (unsigned i = 0; i < 3; i++) {
        struct regs r = cpuid(0x80000002u + i, 0);
        memcpy(brand + 16 * i, &r, sizeof r);
    }
    size_t start = strspn(brand, " "), end = strlen(brand);
    while (end > start && brand[end - 1] == ' ') end--;
    if (start == end) return;
    memcpy(model, brand + start, end - start);
    model[end - start] = '\0';
}

const char *slm_cpu_model(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    (void)pthread_once(&once, read_model);
    return model;
}
#else
typedef int slm_cpu_x86_is_not_used; /* ISO C wants something in every file */
#endif
