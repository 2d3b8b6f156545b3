/* SPDX-License-Identifier: MIT
 * Elementary functions with one definition on every CPU: sequences of IEEE operations (fma included), no libm, so
 * results are the same bits everywhere. Vector kernels repeat exactly these sequences. Max error 2 ulp on the stated range. */
#ifndef SLM_BASE_FMATH_H
#define SLM_BASE_FMATH_H
#include <stdint.h>
/* e^x. x <= -87.33 gives 0 (also for -inf), x >= 88.72 gives +inf, NaN gives NaN. */
float slm_expf(float x);
/* sin and cos of angle (radians, |angle| <= 2^30), computed in double, rounded once. */
void slm_sincosf(float angle, float *sin_out, float *cos_out);
/* base^exponent in double, base > 0: for RoPE frequencies and penalties, not for inner loops. */
double slm_pow(double base, double exponent);
/* IEEE half / bfloat16 <-> float, round to nearest even, NaN kept quiet. */
float slm_f16_to_f32(uint16_t h);
uint16_t slm_f32_to_f16(float f);
float slm_bf16_to_f32(uint16_t h);
uint16_t slm_f32_to_bf16(float f);
#endif
