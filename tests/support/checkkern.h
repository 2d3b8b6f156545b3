/* SPDX-License-Identifier: MIT
 * What kernel tests need: buffers that notice a byte too many, numbers that hurt, and comparison of bits with a
 * message that lets one repeat the case. The idea is checkasm's (VideoLAN): every variant against the C
 * definition, on random and on pathological input, and the same program measures. Knows nothing of the slots of
 * the table. */
#ifndef SLM_TESTS_CHECKKERN_H
#define SLM_TESTS_CHECKKERN_H
#include "base/rng.h"
#include "kernel/kernel.h"

struct checkkern {
    const struct slm_kernels *ref, *test; /* the definition, and the variant under test */
    const char *slot;
    enum slm_dtype type;                  /* for the unpack slots */
    struct slm_rng rng;
    char note[160];                       /* the case being tried, for the message of a failure */
};

void checkkern_note(struct checkkern *ck, const char *format, ...) __attribute__((format(printf, 2, 3)));
size_t checkkern_below(struct checkkern *ck, size_t limit); /* uniform in [0, limit), limit >= 1 */

/* Buffer `index` (0..5), at most 1 MiB, ending right before an unreadable page or starting right after one, by
 * chance; its other side carries a pattern. With bytes a multiple of the element, pointers are aligned to
 * elements and no more. */
void *checkkern_buffer(struct checkkern *ck, int index, size_t bytes);
/* Fails the test when the pattern around a buffer, or in the stretch [offset, offset + bytes) of it, was written. */
void checkkern_margins(struct checkkern *ck, int index);
void checkkern_untouched(struct checkkern *ck, int index, size_t offset, size_t bytes);

/* Sizes worth trying: 0..130 and some larger ones. */
enum { CHECKKERN_N_SIZES = 138 };
size_t checkkern_size(size_t i);

/* Kinds of numbers: plain, wide range, any bits, special values only, plain with a special one here and there,
 * products that underflow (positive; negative), huge. */
enum { CHECKKERN_N_KINDS = 8 };
void checkkern_floats(struct checkkern *ck, float *dst, size_t n, int kind);
void checkkern_halves(struct checkkern *ck, uint16_t *dst, size_t n, int kind);
/* Kinds of blocks: any bytes, all 0, all 0xff, any with special halves as first and last two bytes of each block. */
enum { CHECKKERN_N_BLOCK_KINDS = 4 };
void checkkern_blocks(struct checkkern *ck, uint8_t *dst, size_t n_blocks, size_t block_bytes, int kind);

/* The same bits, or NaN on both sides. */
bool checkkern_equal_f32(float a, float b);
void checkkern_same_f32(struct checkkern *ck, const char *what, const float *want, const float *got, size_t n);
void checkkern_same_f16(struct checkkern *ck, const char *what, const uint16_t *want, const uint16_t *got, size_t n);

/* Kernels for AMX whose instructions are plain C, on top of those for AVX-512 VNNI. x86-64 alone has them. */
void slm_test_fill_amx_emulated(struct slm_kernels *table);

/* Nanoseconds of one call, the best of several rounds. */
double checkkern_time_ns(void (*call)(void *arg), void *arg);
#endif
