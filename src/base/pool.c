/* SPDX-License-Identifier: MIT
 *
 * The SPMD pool: n threads run the same function and meet at barriers. A forward pass of a small
 * model is a few hundred short phases, so what counts is the cost of starting a run and of a
 * barrier (well under a microsecond when the threads are hot), and that waiting threads get out of
 * the way when the machine is needed for something else.
 *
 * How it works: slm_pool_run writes fn and arg and raises `epoch`; workers waiting on it run fn,
 * and count themselves in `arrived`. The last to arrive resets the count and raises `release`, on
 * which the others (of a barrier) or the caller (of the end of a run) wait. Both words only ever go
 * up, one step at a time, so "has it changed" is the whole question. Each word has 128 bytes to
 * itself: x86 prefetches cache lines in pairs.
 *
 * Waiting: look at the word as fast as possible for about 2 us, then with CPU pauses for about 50
 * us, then park on the system. With more threads than CPUs only parking helps: what is waited for
 * cannot happen while we spin.
 *
 * Deliberately not here: task queues, work stealing (callers claim work with an atomic counter),
 * pinning to CPUs (it hurts whenever anything else runs on the machine). */
#include "base/pool.h"

#include <stdalign.h>
#include <string.h>

#include "base/os.h"

enum { LINE = 128 };

/* A word to wait for, and how many are parked on it. */
struct gate {
    alignas(LINE) _Atomic uint32_t value;
    alignas(LINE) _Atomic uint32_t n_parked;
};

struct worker {
    struct slm_pool *pool;
    struct slm_thread *thread;
    unsigned rank;
};

struct slm_pool {
    struct gate epoch;   /* raised once a run */
    struct gate release; /* raised once a barrier */
    alignas(LINE) _Atomic uint32_t arrived; /* threads at the current barrier */
    alignas(LINE) void (*fn)(void *arg, unsigned rank, unsigned n); /* NULL: workers leave */
    void *arg;
    size_t bytes;       /* of this allocation */
    unsigned n;
    bool may_spin;      /* every thread can have a CPU of its own */
    _Atomic bool running;
    struct worker workers[]; /* [n]; 0 is the caller and unused */
};

static inline void cpu_pause(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("isb" ::: "memory"); /* `yield` is a no-op on most cores; isb waits about as long as x86's pause */
#else
    atomic_signal_fence(memory_order_seq_cst);
#endif
}

enum { HOT_LOADS = 2000, PAUSES_PER_LOOK = 32 };
static const uint64_t pause_ns = 50000;

/* The operating system knows no _Atomic; the word is the same. */
_Static_assert(sizeof(_Atomic uint32_t) == sizeof(uint32_t), "an atomic word is a plain word");
static volatile uint32_t *futex_word(struct gate *gate) { return (volatile uint32_t *)(uintptr_t)&gate->value; }

/* Parks until the gate's value is no longer `old`. The count goes up before the value is looked at
 * again, and the opener looks at the count after it changed the value; both in the single order of
 * seq_cst operations, so one of the two sees the other. */
static void gate_park(struct gate *gate, uint32_t old)
{
    atomic_fetch_add(&gate->n_parked, 1);
    while (atomic_load(&gate->value) == old) slm_os()->park(futex_word(gate), old);
    atomic_fetch_sub(&gate->n_parked, 1);
}

static void gate_wait(struct gate *gate, uint32_t old, bool may_spin)
{
    if (may_spin) {
        for (int i = 0; i < HOT_LOADS; i++)
            if (atomic_load_explicit(&gate->value, memory_order_acquire) != old) return;
        uint64_t until = slm_os()->now_ns() + pause_ns;
        do {
            for (int i = 0; i < PAUSES_PER_LOOK; i++) {
                if (atomic_load_explicit(&gate->value, memory_order_acquire) != old) return;
                cpu_pause();
            }
        } while (slm_os()->now_ns() < until);
    }
    if (atomic_load_explicit(&gate->value, memory_order_acquire) != old) return;
    gate_park(gate, old);
}

/* Only one thread opens a gate at a time. Everything it did before is visible to those who pass. */
static void gate_open(struct gate *gate)
{
    uint32_t next = atomic_load_explicit(&gate->value, memory_order_relaxed) + 1;
    atomic_store(&gate->value, next);
    if (atomic_load(&gate->n_parked) != 0) slm_os()->unpark(futex_word(gate));
}

/* Counts the caller in. The last one opens the gate for all. */
static void arrive(struct slm_pool *pool)
{
    uint32_t before = atomic_fetch_add_explicit(&pool->arrived, 1, memory_order_acq_rel);
    if (before + 1 < pool->n) return;
    /* Nobody counts again before passing the gate, so the reset cannot be missed. */
    atomic_store_explicit(&pool->arrived, 0, memory_order_relaxed);
    gate_open(&pool->release);
}

static uint32_t release_now(struct slm_pool *pool)
{
    /* Between two barriers nobody can raise it: that takes all threads, the asking one included. */
    return atomic_load_explicit(&pool->release.value, memory_order_relaxed);
}

static void worker_main(void *opaque)
{
    struct worker *worker = opaque;
    struct slm_pool *pool = worker->pool;
    for (uint32_t seen = 0;; seen++) {
        gate_wait(&pool->epoch, seen, pool->may_spin);
        if (pool->fn == NULL) return;
        pool->fn(pool->arg, worker->rank, pool->n);
        arrive(pool); /* not a barrier: the next thing to wait for is the next run */
    }
}

slm_status slm_pool_open(unsigned n_threads, struct slm_pool **out, struct slm_error *error)
{
    if (n_threads < 1 || n_threads > 4096)
        return slm_fail(error, SLM_ERR_ARGUMENT, "threads", "%u threads were asked for, 1 to 4096 are allowed",
                        n_threads);
    size_t bytes = sizeof(struct slm_pool) + n_threads * sizeof(struct worker);
    struct slm_pool *pool = slm_os()->alloc(bytes, LINE);
    if (pool == NULL) return slm_fail_memory(error, "thread pool", bytes);
    memset(pool, 0, bytes);
    pool->bytes = bytes;
    pool->may_spin = n_threads <= slm_os()->n_cpus();
    pool->n = n_threads;
    for (unsigned rank = 1; rank < n_threads; rank++) {
        struct worker *worker = &pool->workers[rank];
        *worker = (struct worker){.pool = pool, .rank = rank};
        slm_status status = slm_os()->thread_start(worker_main, worker, &worker->thread, error);
        if (status != SLM_OK) {
            slm_pool_close(pool); /* joins those that did start */
            return status;
        }
    }
    *out = pool;
    return SLM_OK;
}

void slm_pool_close(struct slm_pool *pool)
{
    if (pool == NULL) return;
    pool->fn = NULL;
    gate_open(&pool->epoch);
    for (unsigned rank = 1; rank < pool->n; rank++)
        if (pool->workers[rank].thread != NULL) slm_os()->thread_join(pool->workers[rank].thread);
    slm_os()->release(pool, pool->bytes);
}

unsigned slm_pool_size(const struct slm_pool *pool) { return pool->n; }

void slm_pool_run(struct slm_pool *pool, void (*fn)(void *arg, unsigned rank, unsigned n), void *arg)
{
    SLM_ASSERT(fn != NULL);
    SLM_ASSERT(!atomic_exchange_explicit(&pool->running, true, memory_order_acquire));
    if (pool->n == 1) {
        fn(arg, 0, 1);
    } else {
        pool->fn = fn;
        pool->arg = arg;
        gate_open(&pool->epoch);
        fn(arg, 0, pool->n);
        slm_pool_barrier(pool, 0);
    }
    atomic_store_explicit(&pool->running, false, memory_order_release);
}

void slm_pool_barrier(struct slm_pool *pool, unsigned rank)
{
    SLM_ASSERT(rank < pool->n);
    if (pool->n == 1) return;
    uint32_t before = release_now(pool);
    arrive(pool);
    gate_wait(&pool->release, before, pool->may_spin);
}
