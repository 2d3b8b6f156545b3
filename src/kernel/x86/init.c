/* SPDX-License-Identifier: MIT
 * Which kernel files a given x86-64 CPU may use. Compiled without ISA flags: this code runs everywhere. */
#include "base/cpu.h"
#include "kernel/x86/x86.h"

static const uint64_t avx2_level = SLM_CPU(AVX) | SLM_CPU(AVX2) | SLM_CPU(FMA) | SLM_CPU(F16C);

void slm_kernels_init_x86(struct slm_kernels *table, uint64_t features)
{
    if ((features & avx2_level) != avx2_level) return;
    slm_kernels_fill_avx2(table);
    slm_kernels_fill_int8_avx2(table);
    if (features & SLM_CPU(AVXVNNI)) slm_kernels_fill_avxvnni(table);
    if (!(features & SLM_CPU(AVX512))) return;
    slm_kernels_fill_avx512(table);
    slm_kernels_fill_int8_avx512(table);
    if (!(features & SLM_CPU(AVX512VNNI))) return;
    slm_kernels_fill_avx512vnni(table);
    if (features & SLM_CPU(AMXINT8)) slm_kernels_fill_amx(table);
}
