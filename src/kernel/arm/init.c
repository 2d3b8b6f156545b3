/* SPDX-License-Identifier: MIT
 * Which kernel files a given aarch64 CPU may use. Advanced SIMD is part of the architecture, but the mask
 * decides here too, so that a test or a user can ask for the scalar definitions. */
#include "base/cpu.h"
#include "kernel/arm/arm.h"

void slm_kernels_init_arm(struct slm_kernels *table, uint64_t features)
{
    if (!(features & SLM_CPU(NEON))) return;
    slm_kernels_fill_neon(table);
    slm_kernels_fill_int8_neon(table);
    if (!(features & SLM_CPU(DOTPROD))) return;
    slm_kernels_fill_dotprod(table);
    if (features & SLM_CPU(I8MM)) slm_kernels_fill_i8mm(table);
}
