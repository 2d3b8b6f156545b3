/* SPDX-License-Identifier: MIT
 * Activations to A8 with AVX-512, four blocks at a time: the greatest magnitudes and the sums of codes are found for
 * four blocks with the shuffles that one would take, and four scales with one division. The same bits as encode_block()
 * of simd_int8.h, which does what is left over. Part of the text of files that include that one. */

/* Blocks [b, b + 4) of the row. */
ALWAYS_INLINE void encode_four_blocks(const struct slm_a8 *row, size_t b, const float *x)
{
    __m512 v[8];
    __m512i most[4], bytes[2], sums[2];
    UNROLL for (int i = 0; i < 8; i++) v[i] = _mm512_loadu_ps(x + 16 * i);
    UNROLL for (int i = 0; i < 4; i++)
        most[i] = ivec_max32(ivec_magnitude(v[2 * i]), ivec_magnitude(v[2 * i + 1]));
    UNROLL for (int i = 0; i < 4; i += 2) /* halves of two registers, then quarters of four: a block a quarter */
        most[i] = ivec_max32(_mm512_shuffle_i32x4(most[i], most[i + 1], 0x44),
                             _mm512_shuffle_i32x4(most[i], most[i + 1], 0xee));
    __m512i all =
        ivec_max32(_mm512_shuffle_i32x4(most[0], most[2], 0x88), _mm512_shuffle_i32x4(most[0], most[2], 0xdd));
    all = ivec_max32(all, _mm512_shuffle_epi32(all, 0x4e));
    all = ivec_max32(all, _mm512_shuffle_epi32(all, 0xb1));
    const __m512i quarters = _mm512_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28, 0, 0, 0, 0, 0, 0, 0, 0);
    const __m128i bits = _mm512_castsi512_si128(_mm512_permutexvar_epi32(quarters, all));
    const __m128 greatest = _mm_castsi128_ps(bits), limit = _mm_set1_ps(127.0f);
    const __mmask8 finite = _mm_cmplt_epu32_mask(bits, _mm_set1_epi32(SLM_F32_INF_BITS));
    const __mmask8 coded = finite & _mm_cmpge_epu32_mask(bits, _mm_set1_epi32(SLM_A8_LEAST));
    const __m128 d = _mm_mask_mov_ps(_mm_maskz_div_ps(coded, greatest, limit), (__mmask8)~finite, _mm_set1_ps(NAN));
    float by[4];
    _mm_storeu_ps(by, _mm_maskz_div_ps(coded, limit, greatest));
    __m512i q[8];
    UNROLL for (int i = 0; i < 8; i++) {
        const __mmask16 keep = (__mmask16)(0u - (coded >> (i / 2) & 1u));
        q[i] = _mm512_maskz_cvtps_epi32(keep, _mm512_mul_ps(v[i], _mm512_set1_ps(by[i / 2])));
    }
    const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    UNROLL for (int i = 0; i < 2; i++) {
        const __m512i *four = q + 4 * i;
        bytes[i] = _mm512_packs_epi16(_mm512_packs_epi32(four[0], four[1]), _mm512_packs_epi32(four[2], four[3]));
        bytes[i] = _mm512_permutexvar_epi32(order, bytes[i]);
        _mm512_storeu_si512(row->q + b * BLOCK + 64 * (size_t)i, bytes[i]);
        sums[i] = _mm512_madd_epi16(_mm512_maddubs_epi16(_mm512_set1_epi8(1), bytes[i]), _mm512_set1_epi16(1));
        sums[i] = _mm512_add_epi32(sums[i], _mm512_shuffle_epi32(sums[i], 0x4e));
        sums[i] = _mm512_add_epi32(sums[i], _mm512_shuffle_epi32(sums[i], 0xb1));
    }
    const __m256i z16 = _mm512_castsi512_si256(_mm512_permutex2var_epi32(sums[0], quarters, sums[1]));
    const __m256 d16 = _mm256_permutevar8x32_ps(_mm256_castps128_ps256(d), _mm256_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3));
    const __m128i z = _mm_hadd_epi32(_mm256_castsi256_si128(z16), _mm256_extracti128_si256(z16, 1));
    _mm_storeu_ps(row->d + b, d);
    _mm_storeu_si128((__m128i *)(void *)(row->z + b), z);
    _mm_storeu_ps(row->s + b, _mm_mul_ps(d, _mm_cvtepi32_ps(z)));
    _mm256_storeu_si256((__m256i *)(void *)(row->z16 + 2 * b), z16);
    _mm256_storeu_ps(row->s16 + 2 * b, _mm256_mul_ps(d16, _mm256_cvtepi32_ps(z16)));
}

static void encode_a8_by_four(void *row, const float *x, size_t first, size_t n, size_t k)
{
    const struct slm_a8 a = slm_a8_row(row, k);
    const size_t n_blocks = n / BLOCK;
    size_t b = 0;
    for (; b + 4 <= n_blocks; b += 4) encode_four_blocks(&a, first / BLOCK + b, x + b * BLOCK);
    for (; b < n_blocks; b++) encode_block(&a, first / BLOCK + b, x + b * BLOCK, false);
}
