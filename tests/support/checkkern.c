/* SPDX-License-Identifier: MIT
 * See checkkern.h. Buffers are page-backed once and reused, so that thousands of cases cost no system calls. */
#include "checkkern.h"
#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <cmocka.h>
#include "base/fmath.h"
#include "base/os.h"

enum { N_BUFFERS = 6, CAPACITY = 1 << 20, MARGIN = 256, PATTERN = 0xA5 };

static struct buffer {
    unsigned char *pages; /* CAPACITY bytes between two unreadable pages */
    unsigned char *data;
    size_t bytes;
} buffers[N_BUFFERS];

void checkkern_note(struct checkkern *ck, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(ck->note, sizeof(ck->note), format, args);
    va_end(args);
}

size_t checkkern_below(struct checkkern *ck, size_t limit) { return (size_t)(slm_rng_next(&ck->rng) % limit); }

static unsigned char *guarded_pages(void)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    unsigned char *all = mmap(NULL, CAPACITY + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (all == MAP_FAILED || mprotect(all + page, CAPACITY, PROT_READ | PROT_WRITE) != 0) fail_msg("mmap failed");
    memset(all + page, PATTERN, CAPACITY);
    return all + page;
}

void *checkkern_buffer(struct checkkern *ck, int index, size_t bytes)
{
    struct buffer *b = &buffers[index];
    if (!b->pages) b->pages = guarded_pages();
    if (bytes > CAPACITY) fail_msg("buffer of %zu bytes", bytes);
    if (b->data) memset(b->data, PATTERN, b->bytes); /* what the last case left */
    b->data = checkkern_below(ck, 2) ? b->pages + (CAPACITY - bytes) : b->pages;
    b->bytes = bytes;
    return b->data;
}

static void expect_pattern(struct checkkern *ck, const unsigned char *p, size_t bytes, const char *where, int index)
{
    for (size_t i = 0; i < bytes; i++)
        if (p[i] != PATTERN)
            fail_msg("%s %s: wrote %s buffer %d, byte %zu (%s)", ck->test->level, ck->slot, where, index, i, ck->note);
}

void checkkern_margins(struct checkkern *ck, int index)
{
    const struct buffer *b = &buffers[index];
    size_t before = (size_t)(b->data - b->pages), after = CAPACITY - before - b->bytes;
    size_t low = before < MARGIN ? before : MARGIN, high = after < MARGIN ? after : MARGIN;
    expect_pattern(ck, b->data - low, low, "before", index);
    expect_pattern(ck, b->data + b->bytes, high, "after", index);
}

void checkkern_untouched(struct checkkern *ck, int index, size_t offset, size_t bytes)
{
    expect_pattern(ck, buffers[index].data + offset, bytes, "a gap of", index);
}

size_t checkkern_size(size_t i)
{
    static const size_t more[] = {255, 256, 257, 511, 1000, 1536, 2053};
    return i <= 130 ? i : more[i - 131];
}

static const uint32_t special_bits[] = {
    0x00000000, 0x80000000, 0x00000001, 0x80000001, 0x007fffff, 0x807fffff, 0x00800000, 0x80800000, /* zeros, small */
    0x3f800000, 0xbf800000, 0x3f7fffff, 0x34000000, 0x7f7fffff, 0xff7fffff, 0x7f000000,             /* one, huge */
    0x7f800000, 0xff800000, 0x7fc00000, 0xffc00001, 0x7f800001,                                     /* inf, NaN */
    0x42b17217, 0x42b17218, 0xc2aeac4f, 0xc2aeac50, 0xc2aea8f6, 0x42b170a4, 0x42b170a3,             /* ends of exp */
    0x477fe000, 0x477ff000, 0x477fefff, 0x38800000, 0x387fc000, 0x33800000, 0x33000000, 0x33000001, /* ends of f16 */
};

static float scaled(struct checkkern *ck, int exponent_low, int exponent_high)
{
    uint64_t r = slm_rng_next(&ck->rng);
    float mantissa = 1.0f + (float)(r & 0x7fffff) * 0x1p-23f;
    int exponent = exponent_low + (int)((r >> 23) % (uint64_t)(exponent_high - exponent_low + 1));
    return ldexpf(r >> 63 ? -mantissa : mantissa, exponent);
}

static float special(struct checkkern *ck)
{
    return slm_bits_f32(special_bits[checkkern_below(ck, sizeof(special_bits) / sizeof(special_bits[0]))]);
}

static float number(struct checkkern *ck, int kind)
{
    switch (kind) {
    case 1: return scaled(ck, -30, 20);
    case 2: return slm_bits_f32((uint32_t)slm_rng_next(&ck->rng));
    case 3: return special(ck);
    case 4: return checkkern_below(ck, 16) ? scaled(ck, -10, 2) : special(ck);
    case 5: return fabsf(scaled(ck, -90, -75));
    case 6: return -fabsf(scaled(ck, -90, -75));
    case 7: return scaled(ck, 60, 127);
    default: return scaled(ck, -3, 1);
    }
}

void checkkern_floats(struct checkkern *ck, float *dst, size_t n, int kind)
{
    for (size_t i = 0; i < n; i++) dst[i] = number(ck, kind);
}

void checkkern_halves(struct checkkern *ck, uint16_t *dst, size_t n, int kind)
{
    for (size_t i = 0; i < n; i++)
        dst[i] = kind == 2 ? (uint16_t)slm_rng_next(&ck->rng) : slm_f32_to_f16(number(ck, kind));
}

void checkkern_blocks(struct checkkern *ck, uint8_t *dst, size_t n_blocks, size_t block_bytes, int kind)
{
    static const uint16_t halves[] = {0x0000, 0x8000, 0x0001, 0x8001, 0x03ff, 0x0400, 0x3c00, 0xbc00,
                                      0x7bff, 0xfbff, 0x7c00, 0xfc00, 0x7e00, 0x7d00, 0xfe01, 0x2e66};
    size_t bytes = n_blocks * block_bytes;
    if (kind == 1 || kind == 2) {
        memset(dst, kind == 1 ? 0 : 0xff, bytes);
        return;
    }
    for (size_t i = 0; i < bytes; i++) dst[i] = (uint8_t)slm_rng_next(&ck->rng);
    for (size_t b = 0; kind == 3 && block_bytes > 1 && b < n_blocks; b++) { /* where a scale may be */
        memcpy(dst + b * block_bytes, &halves[checkkern_below(ck, 16)], 2);
        memcpy(dst + (b + 1) * block_bytes - 2, &halves[checkkern_below(ck, 16)], 2);
    }
}

bool checkkern_equal_f32(float a, float b)
{
    return slm_f32_bits(a) == slm_f32_bits(b) || (isnan(a) && isnan(b));
}

void checkkern_same_f32(struct checkkern *ck, const char *what, const float *want, const float *got, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!checkkern_equal_f32(want[i], got[i]))
            fail_msg("%s %s: %s[%zu] of %zu is %a (0x%08x), defined as %a (0x%08x); %s; --seed %llu", ck->test->level,
                     ck->slot, what, i, n, (double)got[i], slm_f32_bits(got[i]), (double)want[i],
                     slm_f32_bits(want[i]), ck->note, (unsigned long long)ck->rng.seed);
}

void checkkern_same_f16(struct checkkern *ck, const char *what, const uint16_t *want, const uint16_t *got, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        bool both_nan = (want[i] & 0x7fff) > 0x7c00 && (got[i] & 0x7fff) > 0x7c00;
        if (want[i] != got[i] && !both_nan)
            fail_msg("%s %s: %s[%zu] of %zu is 0x%04x, defined as 0x%04x; %s; --seed %llu", ck->test->level, ck->slot,
                     what, i, n, got[i], want[i], ck->note, (unsigned long long)ck->rng.seed);
    }
}

double checkkern_time_ns(void (*call)(void *arg), void *arg)
{
    const uint64_t round_ns = 400000; /* short, so that some rounds are not interrupted on a busy machine */
    double best = 0;
    size_t calls = 1;
    for (int round = 0; round < 60; round++) {
        uint64_t start = slm_os()->now_ns();
        for (size_t i = 0; i < calls; i++) call(arg);
        uint64_t ns = slm_os()->now_ns() - start;
        if (ns < round_ns / 2) { /* too short to measure: more calls, and the round again */
            calls = ns < round_ns / 64 ? calls * 16 : calls * 2;
            round--;
            continue;
        }
        double each = (double)ns / (double)calls;
        if (best == 0 || each < best) best = each;
    }
    return best;
}
