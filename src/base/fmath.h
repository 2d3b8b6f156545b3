/* SPDX-License-Identifier: MIT
 * Elementary functions with one definition on every CPU: sequences of IEEE operations (fma
 * included), no libm, so results are the same bits everywhere. Vector kernels repeat exactly these
 * sequences. Max error 2 ulp on the stated range.
 *
 * slm_expf is inline because it *is* the contract that src/kernel mirrors lane by lane: the
 * sequence is written out in its comment. It assumes round-to-nearest and gives the same bits with
 * and without flush-to-zero: no intermediate of a result in range is subnormal except r and its
 * products when |x| is tiny, and those vanish when added to 1. */
#ifndef SLM_BASE_FMATH_H
#define SLM_BASE_FMATH_H
#include <stdint.h>
#include <string.h>

static inline uint32_t slm_f32_bits(float f)
{
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    return bits;
}
static inline float slm_bits_f32(uint32_t bits)
{
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

/* Constants of slm_expf, for the vector forms. */
#define SLM_EXPF_MIN (-87.33f)           /* at or below: 0. Above it the result is a normal number */
#define SLM_EXPF_MAX 88.72f              /* at or above: +inf */
#define SLM_EXPF_LOG2E 0x1.715476p+0f    /* 1/ln 2 */
#define SLM_EXPF_MAGIC 0x1.8p+23f        /* adding it rounds to an integer, left in the low bits */
#define SLM_EXPF_LN2_HI 0x1.62e43p-1f    /* ln 2 = hi + lo */
#define SLM_EXPF_LN2_LO (-0x1.05c61p-29f)
#define SLM_EXPF_C6 0x1.6a4ce4p-10f      /* minimax of e^r on |r| <= ln2/2, relative error 3.2e-9, with */
#define SLM_EXPF_C5 0x1.123988p-7f       /* c0 = c1 = 1 */
#define SLM_EXPF_C4 0x1.5558bp-5f
#define SLM_EXPF_C3 0x1.555492p-3f
#define SLM_EXPF_C2 0x1.fffffcp-2f

/* e^x. x <= -87.33 gives +0 (also -inf), x >= 88.72 gives +inf, NaN gives that NaN; at most 1 ulp
 * between. The sequence:
 *   t = fma(x, LOG2E, MAGIC); n = t - MAGIC                    n = round(x / ln 2), -126 .. 128
 *   r = fma(n, -LN2_HI, x); r = fma(n, -LN2_LO, r)             x = n ln 2 + r
 *   p = C6; p = fma(p, r, C5) ... C4, C3, C2; p = fma(p, r, 1); p = fma(p, r, 1)
 *   y = bits(p) + (bits(t) << 23)                              p * 2^n, as an integer add on the exponent: exact,
 *                                                              since p is in [0.70, 1.42] and the bounds keep the
 *                                                              exponent of the sum within 1..254 (p >= 1 at
 *                                                              n = -126, p < 1 at n = 128)
 *   then select, in this order of precedence: x unordered -> x; x >= MAX -> +inf; x <= MIN -> +0; else y. */
static inline float slm_expf(float x)
{
    float t = __builtin_fmaf(x, SLM_EXPF_LOG2E, SLM_EXPF_MAGIC);
    float n = t - SLM_EXPF_MAGIC;
    float r = __builtin_fmaf(n, -SLM_EXPF_LN2_HI, x);
    r = __builtin_fmaf(n, -SLM_EXPF_LN2_LO, r);
    float p = SLM_EXPF_C6;
    p = __builtin_fmaf(p, r, SLM_EXPF_C5);
    p = __builtin_fmaf(p, r, SLM_EXPF_C4);
    p = __builtin_fmaf(p, r, SLM_EXPF_C3);
    p = __builtin_fmaf(p, r, SLM_EXPF_C2);
    p = __builtin_fmaf(p, r, 1.0f);
    p = __builtin_fmaf(p, r, 1.0f);
    float y = slm_bits_f32(slm_f32_bits(p) + (slm_f32_bits(t) << 23));
    if (x != x) return x;
    if (x >= SLM_EXPF_MAX) return __builtin_inff();
    if (x <= SLM_EXPF_MIN) return 0.0f;
    return y;
}

/* tanh(x) = 1 - 2 / (e^2x + 1), odd by construction; for |x| < 2^-6 the series x - x^3/3, where that would cancel. */
static inline float slm_tanhf(float x)
{
    const float a = x < 0.0f ? -x : x;
    if (a < 0.015625f) return x - x * x * x * (1.0f / 3.0f);
    const float t = 1.0f - 2.0f / (slm_expf(2.0f * a) + 1.0f);
    return x < 0.0f ? -t : t;
}
/* sin and cos of angle (radians, |angle| <= 2^30), computed in double, rounded once. NaN outside the range. */
void slm_sincosf(float angle, float *sin_out, float *cos_out);
/* base^exponent in double, base > 0 and finite, relative error below 1e-15: for RoPE frequencies
 * and penalties, not for inner loops. Overflow gives +inf, underflow 0; NaN for any other base or a
 * non-finite exponent. */
double slm_pow(double base, double exponent);
/* Natural logarithm in double; NaN unless x is positive and finite. */
double slm_ln(double x);
/* IEEE half / bfloat16 <-> float, round to nearest even. A NaN becomes quiet and keeps its upper payload bits, as
 * the hardware does. */
float slm_f16_to_f32(uint16_t h);
uint16_t slm_f32_to_f16(float f);
static inline float slm_bf16_to_f32(uint16_t h) /* of whole matrices, element by element */
{
    const uint32_t bits = (uint32_t)h << 16, quiet = (bits & 0x7FFFFFFFu) > 0x7F800000u ? 0x400000u : 0;
    return slm_bits_f32(bits | quiet);
}
uint16_t slm_f32_to_bf16(float f);
#endif
