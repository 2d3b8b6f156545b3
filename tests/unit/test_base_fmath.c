/* SPDX-License-Identifier: MIT
 * Elementary functions against libm in higher precision, conversions against the compiler's
 * _Float16, and the promise that the results are the same bits everywhere (a checksum every machine
 * must reproduce). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include "base/fmath.h"

/* Error of y in units of the last place of the float nearest to the true value. */
static double ulps(float y, double truth)
{
    int e = 0;
    (void)frexp(truth, &e);
    if (e < -125) e = -125; /* subnormal spacing */
    return fabs((double)y - truth) / ldexp(1.0, e - 24);
}

static void test_expf_accuracy(void **state)
{
    (void)state;
    double worst = 0, worst_near_one = 0;
    float at = 0;
    size_t n = 0;
    for (uint32_t bits = 0; bits <= 0x42B17000u; bits += 997) { /* up to 88.72 */
        for (int sign = 0; sign < 2; sign++) {
            float x = slm_bits_f32(bits | (uint32_t)sign << 31);
            if (x <= SLM_EXPF_MIN || x >= SLM_EXPF_MAX) continue;
            float y = slm_expf(x);
            double error = ulps(y, exp((double)x));
            if (!(error <= worst)) worst = error, at = x;
            if (fabsf(x) < 1e-3f && error > worst_near_one) worst_near_one = error;
            n++;
        }
    }
    print_message("expf: %.4f ulp at %a over %zu values (%.4f near 0)\n", worst, (double)at, n, worst_near_one);
    assert_true(worst <= 1.0);
}

static void test_expf_edges(void **state)
{
    (void)state;
    assert_true(slm_expf(0.0f) == 1.0f && slm_expf(-0.0f) == 1.0f);
    assert_true(slm_expf(1e-45f) == 1.0f && slm_expf(-1e-45f) == 1.0f);
    const float inf = __builtin_inff();
    assert_true(slm_expf(inf) == inf && slm_expf(88.72f) == inf && slm_expf(3e38f) == inf);
    assert_int_equal(slm_f32_bits(slm_expf(-inf)), 0);
    assert_int_equal(slm_f32_bits(slm_expf(-87.33f)), 0);
    assert_int_equal(slm_f32_bits(slm_expf(-3e38f)), 0);
    assert_true(isnan(slm_expf(__builtin_nanf(""))));
    /* Just inside: normal, finite, accurate. */
    float low = nextafterf(-87.33f, 0), high = nextafterf(88.72f, 0);
    assert_true(slm_expf(low) >= 0x1p-126f && ulps(slm_expf(low), exp((double)low)) <= 1.0);
    assert_true(slm_expf(high) < inf && ulps(slm_expf(high), exp((double)high)) <= 1.0);
    /* The softmax needs: never above 1 for x <= 0, never falling as x rises. */
    float before = 0;
    for (uint32_t bits = 0xC2AEA8F5u; bits >= 0x80000000u; bits -= 997) {
        float y = slm_expf(slm_bits_f32(bits));
        assert_true(y >= before && y <= 1.0f);
        before = y;
    }
}

static void test_sincosf(void **state)
{
    (void)state;
    double worst = 0;
    size_t n = 0;
    for (uint32_t bits = 0; bits <= 0x4E800000u; bits += 2003) { /* up to 2^30 */
        for (int sign = 0; sign < 2; sign++) {
            float x = slm_bits_f32(bits | (uint32_t)sign << 31), s, c;
            slm_sincosf(x, &s, &c);
            double es = ulps(s, sin((double)x)), ec = ulps(c, cos((double)x));
            if (!(es <= worst)) worst = es;
            if (!(ec <= worst)) worst = ec;
            n++;
        }
    }
    for (int64_t k = 1; k < 600000000; k += 1 + k / 200) { /* the floats next to multiples of pi/2: cancellation */
        float x = (float)((double)k * 1.5707963267948966);
        for (int d = -1; d <= 1; d++, n++) {
            float v = d < 0 ? nextafterf(x, 0) : d > 0 ? nextafterf(x, 2 * x) : x, s, c;
            slm_sincosf(v, &s, &c);
            double es = ulps(s, sin((double)v)), ec = ulps(c, cos((double)v));
            if (!(es <= worst)) worst = es;
            if (!(ec <= worst)) worst = ec;
        }
    }
    print_message("sincosf: %.7f ulp over %zu angles\n", worst, n);
    assert_true(worst <= 0.50001); /* rounded once */
    float s, c;
    slm_sincosf(-0.0f, &s, &c);
    assert_true(s == 0.0f && signbit(s) && c == 1.0f);
    slm_sincosf(nextafterf(0x1p30f, 2e9f), &s, &c);
    assert_true(isnan(s) && isnan(c));
    slm_sincosf(__builtin_nanf(""), &s, &c);
    assert_true(isnan(s) && isnan(c));
}

static void test_pow(void **state)
{
    (void)state;
    double worst = 0, worst_rope = 0;
    for (int i = 0; i < 400; i++) {
        double base = ldexp(1.0 + i * 0.00251, i * 7 % 600 - 300);
        for (int k = -60; k <= 60; k++) {
            double exponent = k * k * k * 0.0037 + k * 0.01;
            long double truth = powl((long double)base, (long double)exponent);
            if (!(truth < 1e307L && truth > 1e-307L)) continue;
            double error = (double)fabsl(((long double)slm_pow(base, exponent) - truth) / truth);
            if (!(error <= worst)) worst = error;
        }
    }
    static const double thetas[] = {1e4, 1e5, 5e5, 1e6, 1e7};
    for (int t = 0; t < 5; t++)
        for (int dim = 32; dim <= 256; dim *= 2)
            for (int i = 0; i < dim; i += 2) {
                double y = slm_pow(thetas[t], -(double)i / dim);
                long double truth = powl((long double)thetas[t], (long double)(-(double)i / dim));
                double error = (double)fabsl(((long double)y - truth) / truth);
                if (!(error <= worst_rope)) worst_rope = error;
            }
    print_message("pow: relative error %.3g, of RoPE frequencies %.3g\n", worst, worst_rope);
    assert_true(worst < 1e-15 && worst_rope < 3e-16);
}

static void test_pow_edges(void **state)
{
    (void)state;
    assert_true(slm_pow(1.0, 1e308) == 1.0 && slm_pow(7.5, 0.0) == 1.0 && slm_pow(7.5, 1.0) == 7.5);
    assert_true(slm_pow(2.0, 1023.0) == 0x1p1023 && slm_pow(2.0, -1074.0) == 0x1p-1074);
    assert_true(slm_pow(2.0, -1022.0) == 0x1p-1022);
    assert_true(slm_pow(3.0, 4.0) == 81.0 && slm_pow(0x1p-1074, 1.0) == 0x1p-1074);
    assert_true(isinf(slm_pow(2.0, 1024.0)) && isinf(slm_pow(1e300, 1e300)) && slm_pow(1e300, -1e300) == 0.0);
    assert_true(slm_pow(0.5, 1e308) == 0.0 && isinf(slm_pow(0.5, -1e308)));
    assert_true(isnan(slm_pow(0.0, 1.0)) && isnan(slm_pow(-2.0, 2.0)) && isnan(slm_pow(__builtin_inf(), 1.0)));
    assert_true(isnan(slm_pow(2.0, __builtin_nan(""))) && isnan(slm_pow(2.0, __builtin_inf())));
}

static void test_half(void **state)
{
    (void)state;
    for (uint32_t h = 0; h < 65536; h++) { /* every half */
        _Float16 half;
        uint16_t bits = (uint16_t)h;
        memcpy(&half, &bits, sizeof half);
        float f = slm_f16_to_f32(bits);
        if (isnan(f)) {
            assert_true((h & 0x7C00) == 0x7C00 && (h & 0x3FF) != 0);
            assert_int_equal(slm_f32_bits(f), (h & 0x8000) << 16 | 0x7FC00000u | (h & 0x3FF) << 13);
            assert_int_equal(slm_f32_to_f16(f), h | 0x200);
        } else {
            assert_int_equal(slm_f32_bits(f), slm_f32_bits((float)half));
            assert_int_equal(slm_f32_to_f16(f), h);
        }
    }
    /* Rounding changes only at the middle between two halves, so those and their neighbours decide everything. */
    for (uint32_t h = 0; h <= 0x7BFF; h++) {
        float a = slm_f16_to_f32((uint16_t)h), b = h == 0x7BFF ? 65536.0f : slm_f16_to_f32((uint16_t)(h + 1));
        uint32_t middle = slm_f32_bits((a + b) / 2);
        for (uint32_t bits = middle - 1; bits <= middle + 1; bits++)
            for (uint32_t sign = 0; sign <= 0x80000000u; sign += 0x80000000u) {
                _Float16 half = (_Float16)slm_bits_f32(bits | sign);
                uint16_t expected;
                memcpy(&expected, &half, sizeof half);
                if (slm_f32_to_f16(slm_bits_f32(bits | sign)) != expected) fail_msg("%08x", bits | sign);
                if (sign) break;
            }
    }
    for (uint64_t bits = 0; bits <= UINT32_MAX; bits += 50021) { /* and a walk over everything */
        float f = slm_bits_f32((uint32_t)bits);
        _Float16 half = (_Float16)f;
        uint16_t expected;
        memcpy(&expected, &half, sizeof half);
        if (!isnan(f) && slm_f32_to_f16(f) != expected) fail_msg("%08x", (uint32_t)bits);
    }
}

static void test_bfloat16(void **state)
{
    (void)state;
    for (uint32_t h = 0; h < 65536; h++) {
        float f = slm_bf16_to_f32((uint16_t)h);
        if (isnan(f)) {
            assert_int_equal(slm_f32_to_bf16(f), h | 0x40);
            continue;
        }
        assert_int_equal(slm_f32_bits(f), h << 16);
        assert_int_equal(slm_f32_to_bf16(f), h);
        if ((h & 0x7FFF) >= 0x7F7F) continue; /* beyond it lies inf */
        /* Between this one and the next: nearest, and on a tie the even one. The distance decides, in double. */
        double here = (double)f, next = (double)slm_bf16_to_f32((uint16_t)(h + 1));
        static const uint32_t lows[] = {1, 0x7FFF, 0x8000, 0x8001, 0xFFFF};
        for (int i = 0; i < 5; i++) {
            double v = (double)slm_bits_f32(h << 16 | lows[i]), to_here = fabs(v - here), to_next = fabs(next - v);
            uint32_t expected = to_here < to_next ? h : to_here > to_next ? h + 1 : h + (h & 1);
            assert_int_equal(slm_f32_to_bf16((float)v), expected);
        }
    }
    assert_int_equal(slm_f32_to_bf16(0x1.fffffep+127f), 0x7F80); /* FLT_MAX rounds to inf */
    assert_int_equal(slm_f32_to_bf16(slm_bits_f32(0x7F800001u)), 0x7FC0); /* stays a NaN, quiet */
}

/* The accuracy tests above say that the values are right; this one that they are the same
 * everywhere. A new constant is fine when a formula changes on purpose, and then it must again be
 * the same on every machine and compiler. */
static void test_same_bits_everywhere(void **state)
{
    (void)state;
    uint64_t sum = 0;
#define ADD(word) (sum = (sum ^ (uint64_t)(word)) * UINT64_C(0x9E3779B97F4A7C15), sum ^= sum >> 29)
    for (uint32_t bits = 0; bits <= 0x4E800000u; bits += 4099) {
        float x = slm_bits_f32(bits), s, c;
        slm_sincosf(x, &s, &c);
        ADD(slm_f32_bits(slm_expf(x)));
        ADD(slm_f32_bits(slm_expf(-x)));
        ADD(slm_f32_bits(s));
        ADD(slm_f32_bits(c));
    }
    for (int i = 1; i < 100000; i++) {
        double p = slm_pow(1.0 + i * 0.37, i % 37 * 0.25 - 4.0);
        uint64_t word;
        memcpy(&word, &p, sizeof word);
        ADD(word);
    }
    print_message("checksum %016llx\n", (unsigned long long)sum);
    assert_true(sum == UINT64_C(0x19f058fc8bf4e787));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_expf_accuracy), cmocka_unit_test(test_expf_edges), cmocka_unit_test(test_sincosf),
        cmocka_unit_test(test_pow),           cmocka_unit_test(test_pow_edges),  cmocka_unit_test(test_half),
        cmocka_unit_test(test_bfloat16),      cmocka_unit_test(test_same_bits_everywhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
