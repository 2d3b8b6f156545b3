/* SPDX-License-Identifier: MIT
 * A lock for what is written rarely and quickly: one word, parked on only when another thread holds it. A zeroed struct
 * is free. Not recursive, and no fairness: for caches, not for queues. */
#ifndef SLM_BASE_LOCK_H
#define SLM_BASE_LOCK_H
#include <stdatomic.h>
#include "base/os.h"

struct slm_lock { _Atomic uint32_t word; }; /* 0 free, 1 held, 2 held and waited for */

static inline volatile uint32_t *slm_lock_word(struct slm_lock *lock)
{
    return (volatile uint32_t *)(uintptr_t)&lock->word;
}

static inline void slm_lock_take(struct slm_lock *lock)
{
    uint32_t seen = 0;
    if (atomic_compare_exchange_strong(&lock->word, &seen, 1)) return;
    /* From here on whoever takes it says that others may wait, which costs the last of them one needless call. */
    while (atomic_exchange(&lock->word, 2) != 0) slm_os()->park(slm_lock_word(lock), 2);
}

static inline void slm_lock_give(struct slm_lock *lock)
{
    if (atomic_exchange(&lock->word, 0) == 2) slm_os()->unpark(slm_lock_word(lock));
}
#endif
