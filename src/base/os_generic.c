/* SPDX-License-Identifier: MIT
 *
 * What os_linux.c does, for other POSIX systems (macOS, BSD) with nothing but POSIX: parking on a
 * small table of condition variables chosen by address, the online CPUs, no memory figure. */
#if !defined(__linux__)
#include "base/os_host.h"

#include <pthread.h>
#include <unistd.h>

enum { N_LOTS = 16 };
static struct lot { pthread_mutex_t mutex; pthread_cond_t wake; } lots[N_LOTS] = {
#define LOT {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER}
    LOT, LOT, LOT, LOT, LOT, LOT, LOT, LOT, LOT, LOT, LOT, LOT, LOT, LOT, LOT, LOT,
#undef LOT
};

static struct lot *lot_of(volatile uint32_t *word) { return &lots[((uintptr_t)word >> 7) % N_LOTS]; }

void slm_host_park(volatile uint32_t *word, uint32_t while_equal)
{
    struct lot *lot = lot_of(word);
    pthread_mutex_lock(&lot->mutex);
    /* Words sharing a lot wake each other early; the contract allows it. */
    if (__atomic_load_n(word, __ATOMIC_SEQ_CST) == while_equal) pthread_cond_wait(&lot->wake, &lot->mutex);
    pthread_mutex_unlock(&lot->mutex);
}

void slm_host_unpark(volatile uint32_t *word)
{
    struct lot *lot = lot_of(word);
    pthread_mutex_lock(&lot->mutex);
    pthread_cond_broadcast(&lot->wake);
    pthread_mutex_unlock(&lot->mutex);
}

unsigned slm_host_n_cpus(void)
{
    long n = sysconf(_SC_NPROCESSORS_ONLN);
    return n < 1 ? 1 : (unsigned)n;
}

uint64_t slm_host_memory_available(void) { return 0; }

size_t slm_host_energy(struct slm_energy out[SLM_MAX_PACKAGES]) { return slm_host_read_energy("", out); }

size_t slm_host_read_energy(const char *root, struct slm_energy out[SLM_MAX_PACKAGES])
{
    (void)root, (void)out;
    return 0;
}

void slm_host_want_huge_pages(void *memory, size_t bytes) { (void)memory, (void)bytes; }

struct slm_host_limits slm_host_read_limits(const char *root)
{
    (void)root;
    return (struct slm_host_limits){0, UINT64_MAX};
}
#else
typedef int slm_os_generic_is_not_used; /* ISO C wants something in every file */
#endif
