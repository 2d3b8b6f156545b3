/* SPDX-License-Identifier: MIT
 * Choosing kernels: the table starts as the scalar definitions and each architecture overwrites upward what the
 * given features allow. Kept apart from detection (base/cpu.h) so that a caller, a test or a fuzzer may ask for
 * less than the CPU can do. Deliberately not here: a global table; whoever runs kernels owns one. */
#include "kernel/kernel.h"

/* The one place that knows which architecture folder the build compiled; elsewhere the scalar table stands. */
static void init_arch(struct slm_kernels *table, uint64_t features)
{
#if defined(__x86_64__)
    slm_kernels_init_x86(table, features);
#elif defined(__aarch64__)
    slm_kernels_init_arm(table, features);
#else
    (void)table, (void)features;
#endif
}

void slm_kernels_init(struct slm_kernels *table, uint64_t features)
{
    slm_kernels_init_ref(table);
    slm_kernels_init_ref_int8(table);
    table->features = features;
    init_arch(table, features);
}
