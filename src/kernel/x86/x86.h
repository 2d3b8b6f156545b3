/* SPDX-License-Identifier: MIT
 * The kernel files of x86-64. Each is compiled with the flags of its suffix and must run only on a CPU that has
 * them. */
#ifndef SLM_KERNEL_X86_X86_H
#define SLM_KERNEL_X86_X86_H
#include "kernel/kernel.h"
void slm_kernels_fill_avx2(struct slm_kernels *table);   /* AVX2, FMA, F16C */
void slm_kernels_fill_avx512(struct slm_kernels *table); /* AVX-512 F, BW, DQ, VL and the above */
/* Only the slots of int8: with the instructions of the level of floats, or better ones. */
void slm_kernels_fill_int8_avx2(struct slm_kernels *table);
void slm_kernels_fill_int8_avx512(struct slm_kernels *table);
void slm_kernels_fill_avxvnni(struct slm_kernels *table);
void slm_kernels_fill_avx512vnni(struct slm_kernels *table);
void slm_kernels_fill_amx(struct slm_kernels *table); /* AMX-INT8 and AVX-512 VNNI */
#endif
