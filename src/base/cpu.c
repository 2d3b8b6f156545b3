/* SPDX-License-Identifier: MIT
 *
 * The names of the CPU features and the one-time detection; cpu_x86.c, cpu_arm.c or cpu_none.c
 * looks at the machine. */
#include "base/cpu.h"

#include <stdatomic.h>
#include <stddef.h>

#include "base/cpu_host.h"

uint64_t slm_cpu_features(void)
{
    /* Detection always finds the same, so two threads racing here do no harm. The top bit says "done". */
    static _Atomic uint64_t cached;
    const uint64_t done = UINT64_C(1) << 63;
    uint64_t features = atomic_load_explicit(&cached, memory_order_relaxed);
    if (features == 0) {
        features = slm_cpu_detect() | done;
        atomic_store_explicit(&cached, features, memory_order_relaxed);
    }
    return features & ~done;
}

const char *slm_cpu_feature_name(unsigned bit)
{
    static const char *const names[64] = {
#define X(name, bit_, text) [bit_] = text,
        SLM_CPU_FEATURES(X)
#undef X
    };
    return bit < 64 ? names[bit] : NULL;
}
