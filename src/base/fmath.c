/* SPDX-License-Identifier: MIT
 *
 * Elementary functions that give the same bits on every machine. libm's do not: glibc, musl and
 * Apple round differently, and glibc itself picks variants by CPU; one differing bit in a RoPE
 * angle changes a generation.
 *
 * Everything here is + - * / and fma of IEEE double in a fixed order (the build forbids
 * contraction), plus integer work on the bits. slm_expf lives in fmath.h, because kernels mirror
 * it. Where fma is used, a machine without the instruction gets it from libm, correctly rounded by
 * the standard, only slower.
 *
 * Deliberately not here: speed (these run when tables are made) and general special-case semantics
 * of C's libm. */
#include "base/fmath.h"

#include <math.h>

static uint64_t f64_bits(double f)
{
    uint64_t bits;
    memcpy(&bits, &f, sizeof bits);
    return bits;
}

static double bits_f64(uint64_t bits)
{
    double f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

/* ---- sin, cos -------------------------------------------------------------------------------- */

/* pi/2 in three parts. The first two have 23 bits, so that n * part is exact for |n| < 2^30 without fma. */
static const double pio2_1 = 0x1.921fb4p+0, pio2_2 = 0x1.4442dp-24, pio2_3 = 0x1.8469898cc517p-48;
static const double two_over_pi = 0x1.45f306dc9c883p-1;
static const double round_magic = 0x1.8p+52; /* adding it rounds to an integer, left in the low bits */

/* Taylor series on |r| <= pi/4: the first term left out is below 2^-54 of the result. */
static double sin_poly(double r)
{
    double z = r * r;
    double p = -1.0 / 1307674368000.0; /* -1/15! */
    p = p * z + 1.0 / 6227020800.0;
    p = p * z - 1.0 / 39916800.0;
    p = p * z + 1.0 / 362880.0;
    p = p * z - 1.0 / 5040.0;
    p = p * z + 1.0 / 120.0;
    p = p * z - 1.0 / 6.0;
    return r * (1.0 + z * p); /* in this form sin(-0) is -0 */
}

static double cos_poly(double r)
{
    double z = r * r;
    double p = 1.0 / 20922789888000.0; /* 1/16! */
    p = p * z - 1.0 / 87178291200.0;
    p = p * z + 1.0 / 479001600.0;
    p = p * z - 1.0 / 3628800.0;
    p = p * z + 1.0 / 40320.0;
    p = p * z - 1.0 / 720.0;
    p = p * z + 1.0 / 24.0;
    p = p * z - 1.0 / 2.0;
    return 1.0 + z * p;
}

void slm_sincosf(float angle, float *sin_out, float *cos_out)
{
    double x = (double)angle;
    if (!(x >= -0x1p30 && x <= 0x1p30)) {
        *sin_out = *cos_out = __builtin_nanf("");
        return;
    }
    double t = x * two_over_pi + round_magic;
    double n = t - round_magic;
    /* The first two differences are exact: the terms are multiples of a common power of two that the result fits. */
    double r = x - n * pio2_1;
    r = r - n * pio2_2;
    r = r - n * pio2_3;
    double s = sin_poly(r), c = cos_poly(r);
    switch (f64_bits(t) & 3) { /* the quadrant; two's complement, so negative n works too */
    case 0: *sin_out = (float)s; *cos_out = (float)c; break;
    case 1: *sin_out = (float)c; *cos_out = (float)-s; break;
    case 2: *sin_out = (float)-s; *cos_out = (float)-c; break;
    default: *sin_out = (float)-c; *cos_out = (float)s; break;
    }
}

/* ---- pow ------------------------------------------------------------------------------------- */

struct dd { double hi, lo; }; /* an unevaluated sum, |lo| <= ulp(hi) / 2 */

static struct dd dd_fast_sum(double a, double b) /* |a| >= |b| or a == 0 */
{
    double s = a + b;
    return (struct dd){s, b - (s - a)};
}

static struct dd dd_sum(double a, double b)
{
    double s = a + b, bb = s - a;
    return (struct dd){s, (a - (s - bb)) + (b - bb)};
}

static struct dd dd_mul(struct dd a, struct dd b)
{
    double p = a.hi * b.hi;
    double e = fma(a.hi, b.hi, -p);
    e += a.hi * b.lo + a.lo * b.hi;
    return dd_fast_sum(p, e);
}

/* log2(x) of a positive finite x to about 2^-60: x = m 2^e with m in [sqrt 1/2, sqrt 2), ln m = 2
 * atanh(s) = 2 (s + s^3/3 + s^5/5 ...), s = (m - 1) / (m + 1), |s| < 0.172. s is kept as a pair,
 * the rest of the series, a hundred times smaller, is plain double. */
static struct dd log2_dd(double x)
{
    static const struct dd inv_ln2_2 = {0x1.71547652b82fep+1, 0x1.777d0ffda0d24p-55}; /* 2 / ln 2 */
    int e = 0;
    double m = frexp(x, &e); /* exact: only moves the exponent */
    if (m < 0.70710678118654752) {
        m *= 2.0;
        e -= 1;
    }
    double f = m - 1.0;               /* exact (Sterbenz) */
    struct dd d = dd_sum(2.0, f);     /* m + 1 */
    double s = f / d.hi;
    double s_lo = (fma(-s, d.hi, f) - s * d.lo) / d.hi;
    double z = s * s;
    double p = 1.0 / 27.0;
    for (int k = 25; k >= 3; k -= 2) p = p * z + 1.0 / k;
    struct dd sum = dd_fast_sum(s, s_lo + s * (z * p));
    struct dd log2_m = dd_mul(sum, inv_ln2_2);
    struct dd r = dd_sum((double)e, log2_m.hi);
    return dd_fast_sum(r.hi, r.lo + log2_m.lo);
}

/* 2^(y.hi + y.lo) */
static double exp2_dd(struct dd y)
{
    static const double ln2 = 0x1.62e42fefa39efp-1;
    if (y.hi >= 1025.0) return __builtin_inf();
    if (y.hi <= -1080.0) return 0.0;
    double n = (y.hi + round_magic) - round_magic;
    double r = ((y.hi - n) + y.lo) * ln2; /* |r| <= 0.347 */
    double p = 1.0 / 87178291200.0;       /* 1/14!; the next term is below 1e-19 */
    static const double inverse_factorial[] = {1.0 / 6227020800.0, 1.0 / 479001600.0, 1.0 / 39916800.0, 1.0 / 3628800.0,
                                               1.0 / 362880.0, 1.0 / 40320.0, 1.0 / 5040.0, 1.0 / 720.0, 1.0 / 120.0,
                                               1.0 / 24.0, 1.0 / 6.0, 0.5};
    for (int i = 0; i < 12; i++) p = p * r + inverse_factorial[i];
    p = 1.0 + (r + r * (r * p));
    /* In two halves, because 2^n alone may be out of range where p 2^n is not; at most the last product rounds. */
    int half = (int)n / 2, rest = (int)n - half;
    return p * bits_f64((uint64_t)(1023 + half) << 52) * bits_f64((uint64_t)(1023 + rest) << 52);
}

double slm_pow(double base, double exponent)
{
    if (!(base > 0.0 && base <= __DBL_MAX__)) return __builtin_nan("");
    if (!(exponent >= -__DBL_MAX__ && exponent <= __DBL_MAX__)) return __builtin_nan("");
    if (exponent == 0.0 || base == 1.0) return 1.0;
    struct dd l = log2_dd(base);
    double estimate = l.hi * exponent; /* far out of range: dd_mul would make inf - inf of it */
    if (estimate >= 1100.0) return __builtin_inf();
    if (estimate <= -1100.0) return 0.0;
    return exp2_dd(dd_mul(l, (struct dd){exponent, 0.0}));
}

double slm_ln(double x)
{
    if (!(x > 0.0 && x <= __DBL_MAX__)) return __builtin_nan("");
    const struct dd ln2 = {0x1.62e42fefa39efp-1, 0x1.abc9e3b39803fp-56};
    const struct dd l = dd_mul(log2_dd(x), ln2);
    return l.hi + l.lo;
}

/* ---- half and bfloat16 ----------------------------------------------------------------------- */

float slm_f16_to_f32(uint16_t h)
{
    uint32_t sign = (uint32_t)(h & 0x8000u) << 16, exponent = h >> 10 & 0x1Fu, mantissa = h & 0x3FFu;
    if (exponent == 31) return slm_bits_f32(sign | 0x7F800000u | mantissa << 13 | (mantissa ? 0x400000u : 0));
    if (exponent != 0) return slm_bits_f32(sign | (exponent + 112) << 23 | mantissa << 13);
    float magnitude = (float)mantissa * 0x1p-24f; /* subnormal half: exact in f32 */
    return slm_bits_f32(sign | slm_f32_bits(magnitude));
}

uint16_t slm_f32_to_f16(float f)
{
    uint32_t bits = slm_f32_bits(f), sign = bits >> 16 & 0x8000u, magnitude = bits & 0x7FFFFFFFu;
    if (magnitude > 0x7F800000u) return (uint16_t)(sign | 0x7E00u | (magnitude >> 13 & 0x3FFu));
    if (magnitude >= 0x477FF000u) return (uint16_t)(sign | 0x7C00u); /* 65520 and up round to inf */
    uint32_t shift, value;
    if (magnitude >= 0x38800000u) { /* normal half: rebias the exponent, drop 13 bits */
        shift = 13;
        value = magnitude - (112u << 23);
    } else {
        if (magnitude < 0x33000000u) return (uint16_t)sign; /* below half of the smallest subnormal */
        shift = 126u - (magnitude >> 23);
        value = (magnitude & 0x7FFFFFu) | 0x800000u;
    }
    /* Nearest even: add just under half, plus one when the kept part is odd. A carry into the exponent is right. */
    uint32_t odd = value >> shift & 1u;
    return (uint16_t)(sign | ((value + (1u << (shift - 1)) - 1u + odd) >> shift));
}

uint16_t slm_f32_to_bf16(float f)
{
    uint32_t bits = slm_f32_bits(f);
    if ((bits & 0x7FFFFFFFu) > 0x7F800000u) return (uint16_t)(bits >> 16 | 0x40u);
    return (uint16_t)((bits + 0x7FFFu + (bits >> 16 & 1u)) >> 16);
}
