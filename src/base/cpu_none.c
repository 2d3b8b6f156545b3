/* SPDX-License-Identifier: MIT
 *
 * Architectures without kernels of their own: no features, so the scalar definitions run. */
#if !defined(__x86_64__) && !defined(__i386__) && !defined(__aarch64__)
#include "base/cpu.h"
#include "base/cpu_host.h"

uint64_t slm_cpu_detect(void) { return 0; }
const char *slm_cpu_model(void) { return "unknown"; }
#else
typedef int slm_cpu_none_is_not_used; /* ISO C wants something in every file */
#endif
