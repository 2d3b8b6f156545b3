/* SPDX-License-Identifier: MIT
 * What differs between POSIX systems, behind one name each: os_linux.c or os_generic.c fills these,
 * os_posix.c puts them into the table. Private to the os files and their tests. */
#ifndef SLM_BASE_OS_HOST_H
#define SLM_BASE_OS_HOST_H
#include "base/os.h"

void slm_host_park(volatile uint32_t *word, uint32_t while_equal);
void slm_host_unpark(volatile uint32_t *word);
unsigned slm_host_n_cpus(void);
uint64_t slm_host_memory_available(void);
void slm_host_want_huge_pages(void *memory, size_t bytes);
size_t slm_host_energy(struct slm_energy out[SLM_MAX_PACKAGES]);
/* The same below `root`, as for the limits. */
size_t slm_host_read_energy(const char *root, struct slm_energy out[SLM_MAX_PACKAGES]);

/* The two limits that containers set, read below `root` ("" is the real machine; tests build a tree
 * of their own): root/proc/self/cgroup names the group, and every group from there up to the top
 * may limit. */
struct slm_host_limits {
    double cpus;     /* CPU quota in CPUs; 0 = none */
    uint64_t memory; /* bytes this process may still take; UINT64_MAX = no limit */
};
struct slm_host_limits slm_host_read_limits(const char *root);
#endif
