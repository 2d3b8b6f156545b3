/* SPDX-License-Identifier: MIT
 * What each architecture's file offers to cpu.c. Private to the cpu files. */
#ifndef SLM_BASE_CPU_HOST_H
#define SLM_BASE_CPU_HOST_H
#include <stdint.h>
uint64_t slm_cpu_detect(void);
#endif
