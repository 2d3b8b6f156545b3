/* SPDX-License-Identifier: MIT
 * The kernel files of aarch64. Each is compiled with the flags of its suffix and must run only on a CPU that
 * has them. */
#ifndef SLM_KERNEL_ARM_ARM_H
#define SLM_KERNEL_ARM_ARM_H
#include "kernel/kernel.h"
void slm_kernels_fill_neon(struct slm_kernels *table); /* Advanced SIMD: every aarch64 CPU that runs an OS */
/* Only the slots of int8. */
void slm_kernels_fill_int8_neon(struct slm_kernels *table);
void slm_kernels_fill_dotprod(struct slm_kernels *table); /* FEAT_DotProd */
void slm_kernels_fill_i8mm(struct slm_kernels *table);    /* FEAT_I8MM and the above */
#endif
