/* SPDX-License-Identifier: MIT
 * Encoders that look for the best scales: text of every encode_*.c, behind simd_search.h. First the scales of sixteen
 * sub-blocks are searched as real numbers; then they become what the format can hold (half precision, or small
 * integers under a common half-precision scale, of which the neighbours are tried too); then codes are chosen for the
 * scales as they were stored. Rows of constants say what differs between types; below them is how each is packed.
 *
 * Input must be finite and within +-65504; weights finite and not negative. */

/* ---- codes and scales worth trying ---- */

/* How far the extreme is put, in codes; a negative number makes the scale negative for a positive extreme. */
static const float tries_q4[] = {-8, 8, -7.6f, 7.6f, -7.2f, 7.2f, -8.5f, -6.8f, 6.8f, -9, 6.4f, -6.4f};
static const float tries_q5[] = {-16, 15.5f, -15.5f, -15, 15, -16.5f, -14.5f, 14.5f, -17};
static const float tries_q8[] = {-127, -126, -125, -124};
static const float tries_q3k[] = {-4, 4, -3.7f, 3.7f, -3.4f, 3.4f, -4.3f, -3.1f, 3.1f, 2.8f, -2.8f, 2.5f, -4.6f};
static const float tries_q6k[] = {-32, 31.5f, -31.5f, -31, 31, -30.5f, -30, 30, -32.5f, -29, 29};
static const float tries_iq4[] = {-127, 113, -121, 119, -115, 107, -109, 101, -133, 125, -103, 95, -97, 89};
static const float tries_ternary[] = {1, 0.9f, 1.1f, 1.3f, 1.5f, 1.75f, 2, 2.25f, 2.5f, 2.75f, 3, 3.3f, 3.6f, 4, 4.5f};
static const float tries_q4_1[] = {15, 14.5f, 15.5f, 16.2f, 17, 18, 19.5f};
static const float tries_q5_1[] = {31, 30.5f, 31.7f, 32.5f, 34, 36};
static const float tries_q2k[] = {3, 2.7f, 3.3f, 3.7f, 4.2f, 4.8f, 5.5f};

/* The lowest and the highest code; types that share a range share the tries. */
#define RANGE(lo, hi, tries) {lo, hi, tries, sizeof(tries) / sizeof *(tries)}
static const struct code_range range_q4 = RANGE(-8, 7, tries_q4), range_q5 = RANGE(-16, 15, tries_q5);
static const struct code_range range_q8 = RANGE(-127, 127, tries_q8), range_q3k = RANGE(-4, 3, tries_q3k);
static const struct code_range range_q6k = RANGE(-32, 31, tries_q6k), range_iq4 = RANGE(-127, 113, tries_iq4);
static const struct code_range range_ternary = RANGE(-1, 1, tries_ternary), range_q4_1 = RANGE(0, 15, tries_q4_1);
static const struct code_range range_q5_1 = RANGE(0, 31, tries_q5_1), range_q2k = RANGE(0, 3, tries_q2k);

/* ---- numbers ---- */

/* Little-endian, as all two-byte fields of blocks. */
static void put_f16(uint8_t field[2], float value)
{
    const uint16_t half = slm_f32_to_f16(value);
    field[0] = (uint8_t)(half & 255);
    field[1] = (uint8_t)(half >> 8);
}

/* What the decoder will see of a scale. */
static float as_f16(float value) { return slm_f16_to_f32(slm_f32_to_f16(value)); }

/* The code of element j of sub-block s, moved up so that the lowest one is 0 (or in two's complement, where lo is 0).
 */
ALWAYS_INLINE uint32_t code_at(const struct group *g, size_t s, size_t j, float lo)
{
    return (uint32_t)(int32_t)(g->q[j][s] - lo);
}

/* Codes of all sub-blocks, one after the other: [LANES][len], as words in which every lane packs four neighbours. */
ALWAYS_INLINE void codes_of(const struct group *g, size_t len, float lo, uint8_t *codes)
{
    uint32_t *words = (uint32_t *)(void *)codes;
    for (size_t i = 0; i < len / 4; i++) {
        uint32_t row[LANES] = {0};
        for (size_t k = 0; k < 4; k++)
            for (size_t s = 0; s < LANES; s++) row[s] |= (code_at(g, s, 4 * i + k, lo) & 255) << 8 * k;
        for (size_t s = 0; s < LANES; s++) words[s * (len / 4) + i] = row[s];
    }
}

/* Where 32 codes of 4 or 5 bits stand in a block: elements j and j + 16 share a byte of nibbles[], the fifth bit of
 * element j is bit j of fifth. Each lane packs its own. */
struct packed { uint32_t nibbles[4][LANES], fifth[LANES]; };

ALWAYS_INLINE void pack_lanes(const struct group *g, float lo, struct packed *out)
{
    memset(out, 0, sizeof *out);
    for (size_t j = 0; j < SLM_BLOCK; j++)
        for (size_t s = 0; s < LANES; s++) {
            const uint32_t code = code_at(g, s, j, lo);
            out->nibbles[j % 16 / 4][s] |= (code & 15) << (j % 4 * 8 + j / 16 * 4);
            out->fifth[s] |= code >> 4 << j;
        }
}

/* Levels of IQ4 become their numbers. */
static void levels_of(const struct group *g, size_t len, uint8_t *codes)
{
    uint8_t number[256] = {0};
    for (unsigned i = 0; i < 16; i++) number[(uint8_t)slm_quant_iq4_values[i]] = (uint8_t)i;
    for (size_t s = 0; s < LANES; s++)
        for (size_t j = 0; j < len; j++) codes[s * len + j] = number[(uint8_t)(int8_t)(int)g->q[j][s]];
}

/* ---- blocks of 32 with half-precision scales ---- */

/* Scales d and mins m of 16 blocks and their codes, in one arrangement or the other. */
struct simple { uint16_t d[LANES], m[LANES]; struct packed packed; _Alignas(4) uint8_t codes[LANES * 32]; };

/* Scales become halves, and what the decoder will see of them. */
ALWAYS_INLINE void store_halves(float *scales, uint16_t *halves)
{
    for (size_t at = 0; at < LANES; at += VEC_LANES) {
        vec_store_f16(halves + at, vec_load(scales + at));
        vec_store(scales + at, vec_load_f16(halves + at));
    }
}

/* n blocks from x, at most LANES; codes are left in g. */
ALWAYS_INLINE void encode_simple(struct group *g, const float *x, const float *w, size_t n,
                                 const struct code_range *r, bool affine, bool levels, struct simple *out)
{
    float d[LANES], m[LANES];
    gather(g, x, w, n, 32);
    if (affine) search_affine(g, 32, r, false, d, m);
    else search_scale(g, 32, r, levels, d);
    store_halves(d, out->d);
    if (affine) store_halves(m, out->m);
    assign_codes(g, 32, d, affine ? m : NULL, r, levels);
}

/* Elements j and j + 16 share a byte. */
ALWAYS_INLINE void pack_nibbles(uint8_t qs[16], const uint8_t *codes)
{
    for (int j = 0; j < 16; j++) qs[j] = (uint8_t)((codes[j] & 15) | (codes[j + 16] & 15) << 4);
}

/* Those of lane s. */
ALWAYS_INLINE void store_nibbles(uint8_t qs[16], const struct packed *packed, size_t s)
{
    for (size_t i = 0; i < 4; i++) memcpy(qs + 4 * i, &packed->nibbles[i][s], 4);
}

/* for (each group of up to 16 blocks) { encode; arrange; for (each block s of it) pack } */
#define SIMPLE_ENCODER(NAME, type, range, affine, levels, arrange, pack)                                    \
    static void encode_##NAME(const float *x, const float *w, void *dst, size_t n)                 \
    {                                                                                              \
        struct type *b = dst;                                                                      \
        struct group g;                                                                            \
        struct simple o;                                                                           \
        for (size_t n_blocks = n / SLM_BLOCK, k; n_blocks > 0; n_blocks -= k) {                    \
            k = n_blocks < LANES ? n_blocks : LANES;                                               \
            encode_simple(&g, x, w, k, &range, affine, levels, &o);                                \
            arrange                                                                                \
            for (size_t s = 0; s < k; s++, b++) {                                                  \
                memcpy(b->d, &o.d[s], sizeof b->d);                                                \
                pack                                                                               \
            }                                                                                      \
            x += k * SLM_BLOCK;                                                                    \
            w = w ? w + k * SLM_BLOCK : NULL;                                                      \
        }                                                                                          \
    }

/* The layouts are those of quant/block.h. */
#define NIBBLES store_nibbles(b->qs, &o.packed, s);
#define FIFTH memcpy(b->qh, &o.packed.fifth[s], sizeof b->qh);
#define MIN memcpy(b->m, &o.m[s], sizeof b->m);
SIMPLE_ENCODER(Q4_0, slm_block_q4_0, range_q4, false, false, pack_lanes(&g, -8, &o.packed);, NIBBLES)
SIMPLE_ENCODER(Q5_0, slm_block_q5_0, range_q5, false, false, pack_lanes(&g, -16, &o.packed);, NIBBLES FIFTH)
SIMPLE_ENCODER(Q4_1, slm_block_q4_1, range_q4_1, true, false, pack_lanes(&g, 0, &o.packed);, MIN NIBBLES)
SIMPLE_ENCODER(Q5_1, slm_block_q5_1, range_q5_1, true, false, pack_lanes(&g, 0, &o.packed);, MIN NIBBLES FIFTH)
SIMPLE_ENCODER(Q8_0, slm_block_q8_0, range_q8, false, false, codes_of(&g, SLM_BLOCK, 0, o.codes);,
               memcpy(b->qs, o.codes + s * SLM_BLOCK, SLM_BLOCK);)
SIMPLE_ENCODER(IQ4_NL, slm_block_iq4_nl, range_iq4, false, true, levels_of(&g, SLM_BLOCK, o.codes);,
               pack_nibbles(b->qs, o.codes + s * SLM_BLOCK);)
#undef NIBBLES
#undef FIFTH
#undef MIN

/* ---- superblocks: integer scales under a half-precision one ---- */

/* n_sub sub-blocks a superblock; d = super * scale with scale in lo..hi, and so the mins (0..hi). */
struct two_levels { size_t len, n_sub; int lo, hi; };

struct super {
    float d[LANES], m[LANES];         /* of each sub-block, as searched, then as stored */
    float super_d[2], super_m[2];     /* at most two superblocks a group */
    int scale[LANES], min[LANES];
    _Alignas(4) uint8_t codes[LANES * 32];
};

/* To nearest, halves to even; NaN gives lo. */
static int round_within(float x, int lo, int hi)
{
    const float r = x > (float)lo ? (x < (float)hi ? x : (float)hi) : (float)lo;
    return (int)(r + 0x1.8p+23f - 0x1.8p+23f);
}

/* The common scale is such that the greatest fits; then every sub-block's integer. */
static void integer_scales(const float *d, size_t n_sub, int lo, int hi, float *common, int *scale)
{
    float most = 0, value = 0;
    for (size_t s = 0; s < n_sub; s++)
        if (fabsf(d[s]) > most) most = fabsf(d[s]), value = d[s];
    *common = as_f16(value / (float)(lo < 0 ? lo : hi));
    for (size_t s = 0; s < n_sub; s++) scale[s] = *common != 0 ? round_within(d[s] / *common, lo, hi) : 0;
}

/* Which neighbours of some lanes' integer scales (and mins) leave the least error; what is there first wins a tie.
 * d = unit * scale, m = unit_min * min. */
ALWAYS_INLINE void try_neighbours(const struct group *g, size_t at, const struct two_levels *t,
                                  const struct code_range *r, bool affine, bool levels, vec unit, vec unit_min,
                                  vec *scale, vec *min)
{
    const vec lo = vec_set1((float)t->lo), hi = vec_set1((float)t->hi), first = *scale, first_min = *min;
    vec best = error_of(g, at, t->len, vec_mul(unit, first), vec_mul(unit_min, first_min), r, levels);
    for (int step = 1; step < (affine ? 9 : 3); step++) {
        /* 0, +1, -1 of the scale, and for each the same of the min */
        const float up = (float)((step % 3 + 1) % 3 - 1), up_min = (float)((step / 3 + 1) % 3 - 1);
        const vec a = vec_min(vec_max(vec_add(first, vec_set1(up)), lo), hi);
        const vec b = affine ? vec_min(vec_max(vec_add(first_min, vec_set1(up_min)), lo), hi) : first_min;
        const vec error = error_of(g, at, t->len, vec_mul(unit, a), vec_mul(unit_min, b), r, levels);
        *scale = vec_where_less(error, best, a, *scale);
        *min = vec_where_less(error, best, b, *min);
        best = vec_where_less(error, best, error, best);
    }
}

/* Integer scales and mins as they will be stored, and what they stand for. */
ALWAYS_INLINE void refine(const struct group *g, const struct two_levels *t, const struct code_range *r, bool affine,
                          bool levels, struct super *o)
{
    float unit[LANES], unit_min[LANES], scale[LANES], min[LANES];
    for (size_t s = 0; s < LANES; s++) {
        unit[s] = o->super_d[s / t->n_sub];
        unit_min[s] = affine ? -o->super_m[s / t->n_sub] : 0;
        scale[s] = (float)o->scale[s];
        min[s] = affine ? (float)o->min[s] : 0;
    }
    for (size_t at = 0; at < LANES; at += VEC_LANES) {
        const vec u = vec_load(unit + at), u_min = vec_load(unit_min + at);
        vec a = vec_load(scale + at), b = vec_load(min + at);
        try_neighbours(g, at, t, r, affine, levels, u, u_min, &a, &b);
        vec_store(o->d + at, vec_mul(u, a));
        vec_store(o->m + at, vec_mul(u_min, b));
        vec_store(scale + at, a);
        vec_store(min + at, b);
    }
    for (size_t s = 0; s < LANES; s++) o->scale[s] = (int)scale[s], o->min[s] = (int)min[s];
}

/* n_super superblocks from x, as many as sixteen lanes hold: one of sub-blocks of 16, two of sub-blocks of 32. Mins are
 * positive in the file and subtracted, so the search may not use others. */
ALWAYS_INLINE void encode_super(struct group *g, const float *x, const float *w, size_t n_super,
                                const struct two_levels *t, const struct code_range *r, bool affine, bool levels,
                                struct super *o)
{
    gather(g, x, w, n_super * t->n_sub, t->len);
    if (affine) search_affine(g, t->len, r, true, o->d, o->m);
    else search_scale(g, t->len, r, levels, o->d);
    for (size_t i = 0; i < LANES / t->n_sub; i++) {
        const size_t at = i * t->n_sub;
        integer_scales(o->d + at, t->n_sub, t->lo, t->hi, &o->super_d[i], o->scale + at);
        if (!affine) continue;
        for (size_t s = 0; s < t->n_sub; s++) o->m[at + s] = -o->m[at + s];
        integer_scales(o->m + at, t->n_sub, t->lo, t->hi, &o->super_m[i], o->min + at);
    }
    refine(g, t, r, affine, levels, o);
    assign_codes(g, t->len, o->d, affine ? o->m : NULL, r, levels);
    if (levels) levels_of(g, t->len, o->codes);
    else codes_of(g, t->len, r->lo, o->codes);
}

/* Bits [shift, shift + 2) of 128 codes, four to a byte: byte j of the half holds elements j, j + 32, j + 64, j + 96. */
ALWAYS_INLINE void pack_pairs(uint8_t dst[32], const uint8_t *codes, int shift)
{
    for (int j = 0; j < 32; j++) {
        unsigned byte = 0;
        for (int k = 0; k < 4; k++) byte |= (unsigned)((codes[j + 32 * k] >> shift) & 3) << (2 * k);
        dst[j] = (uint8_t)byte;
    }
}

/* One bit of 256 codes: bit t of byte j is that of element 32 * t + j. */
ALWAYS_INLINE void pack_bits(uint8_t dst[32], const uint8_t *codes, int shift)
{
    for (int j = 0; j < 32; j++) {
        unsigned byte = 0;
        for (int t = 0; t < 8; t++) byte |= (unsigned)((codes[j + 32 * t] >> shift) & 1) << t;
        dst[j] = (uint8_t)byte;
    }
}

/* Low nibbles of 64 codes to 32 bytes. */
ALWAYS_INLINE void pack_nibbles_64(uint8_t dst[32], const uint8_t *codes, int apart)
{
    for (int j = 0; j < 32; j++) dst[j] = (uint8_t)((codes[j] & 15) | (codes[j + apart] & 15) << 4);
}

/* See slm_block_scale_min. */
static void pack_scales_mins(uint8_t packed[12], const int *scale, const int *min)
{
    for (int j = 0; j < 4; j++) {
        packed[j] = (uint8_t)(scale[j] | (scale[j + 4] >> 4) << 6);
        packed[j + 4] = (uint8_t)(min[j] | (min[j + 4] >> 4) << 6);
        packed[j + 8] = (uint8_t)((scale[j + 4] & 15) | (min[j + 4] & 15) << 4);
    }
}

/* Superblock i of the group; the layouts are those of quant/block.h and of the decoders, field by field. */
static void pack_q2_k(struct slm_block_q2_k *b, const struct super *o, size_t i)
{
    const size_t at = i * 16;
    const uint8_t *codes = o->codes + i * SLM_SUPERBLOCK;
    for (size_t s = 0; s < 16; s++) b->scales[s] = (uint8_t)(o->scale[at + s] | o->min[at + s] << 4);
    for (int half = 0; half < 2; half++) pack_pairs(b->qs + 32 * half, codes + 128 * half, 0);
    put_f16(b->d, o->super_d[i]);
    put_f16(b->dmin, o->super_m[i]);
}

/* Six bits a scale: low nibbles first, then the upper two bits of four scales a byte (slm_block_scale_q3_k). */
static void pack_q3_k(struct slm_block_q3_k *b, const struct super *o, size_t i)
{
    const int *scale = o->scale + i * 16;
    const uint8_t *codes = o->codes + i * SLM_SUPERBLOCK;
    pack_bits(b->hmask, codes, 2);
    for (int half = 0; half < 2; half++) pack_pairs(b->qs + 32 * half, codes + 128 * half, 0);
    for (int j = 0; j < 8; j++) b->scales[j] = (uint8_t)(((scale[j] + 32) & 15) | ((scale[j + 8] + 32) & 15) << 4);
    for (int j = 0; j < 4; j++) {
        unsigned byte = 0;
        for (int k = 0; k < 4; k++) byte |= (unsigned)((scale[j + 4 * k] + 32) >> 4) << (2 * k);
        b->scales[8 + j] = (uint8_t)byte;
    }
    put_f16(b->d, o->super_d[i]);
}

static void pack_q4_k(struct slm_block_q4_k *b, const struct super *o, size_t i)
{
    const uint8_t *codes = o->codes + i * SLM_SUPERBLOCK;
    put_f16(b->d, o->super_d[i]);
    put_f16(b->dmin, o->super_m[i]);
    pack_scales_mins(b->scales, o->scale + 8 * i, o->min + 8 * i);
    for (int j = 0; j < 4; j++) pack_nibbles_64(b->qs + 32 * j, codes + 64 * j, 32);
}

static void pack_q5_k(struct slm_block_q5_k *b, const struct super *o, size_t i)
{
    const uint8_t *codes = o->codes + i * SLM_SUPERBLOCK;
    put_f16(b->d, o->super_d[i]);
    put_f16(b->dmin, o->super_m[i]);
    pack_scales_mins(b->scales, o->scale + 8 * i, o->min + 8 * i);
    pack_bits(b->qh, codes, 4);
    for (int j = 0; j < 4; j++) pack_nibbles_64(b->qs + 32 * j, codes + 64 * j, 32);
}

/* Each half of 128 by itself: four bits of an element in ql, two in qh. */
static void pack_q6_k(struct slm_block_q6_k *b, const struct super *o, size_t i)
{
    for (int half = 0; half < 2; half++) {
        const uint8_t *codes = o->codes + i * SLM_SUPERBLOCK + 128 * half;
        pack_nibbles_64(b->ql + 64 * half, codes, 64);
        pack_nibbles_64(b->ql + 64 * half + 32, codes + 32, 64);
        pack_pairs(b->qh + 32 * half, codes, 4);
    }
    for (size_t s = 0; s < 16; s++) b->scales[s] = (int8_t)o->scale[16 * i + s];
    put_f16(b->d, o->super_d[i]);
}

static void pack_iq4_xs(struct slm_block_iq4_xs *b, const struct super *o, size_t i)
{
    memset(b, 0, sizeof *b);
    put_f16(b->d, o->super_d[i]);
    for (int s = 0; s < 8; s++) {
        const unsigned scale = (unsigned)(o->scale[8 * i + (size_t)s] + 32);
        b->scales_l[s / 2] = (uint8_t)(b->scales_l[s / 2] | (scale & 15) << (4 * (s % 2)));
        b->scales_h[s / 4] = (uint8_t)(b->scales_h[s / 4] | (scale >> 4) << (2 * (s % 4)));
        pack_nibbles(b->qs + 16 * s, o->codes + i * SLM_SUPERBLOCK + 32 * s);
    }
}

/* Sub-block, sub-blocks a superblock, range of the integer scales. */
static const struct two_levels levels_q2k = {16, 16, 0, 15}, levels_q3k = {16, 16, -32, 31};
static const struct two_levels levels_q45k = {32, 8, 0, 63}, levels_q6k = {16, 16, -128, 127};
static const struct two_levels levels_iq4xs = {32, 8, -32, 31};

/* As many superblocks at once as sixteen lanes hold. */
#define SUPER_ENCODER(NAME, name, two, range, affine, levels)                                      \
    static void encode_##NAME(const float *x, const float *w, void *dst, size_t n)                 \
    {                                                                                              \
        struct slm_block_##name *b = dst;                                                          \
        struct group g;                                                                            \
        struct super o;                                                                            \
        for (size_t n_super = n / SLM_SUPERBLOCK, k; n_super > 0; n_super -= k) {                  \
            k = n_super < LANES / two.n_sub ? n_super : LANES / two.n_sub;                         \
            encode_super(&g, x, w, k, &two, &range, affine, levels, &o);                           \
            for (size_t i = 0; i < k; i++) pack_##name(b++, &o, i);                                \
            x += k * SLM_SUPERBLOCK;                                                               \
            w = w ? w + k * SLM_SUPERBLOCK : NULL;                                                 \
        }                                                                                          \
    }

SUPER_ENCODER(Q2_K, q2_k, levels_q2k, range_q2k, true, false)
SUPER_ENCODER(Q3_K, q3_k, levels_q3k, range_q3k, false, false)
SUPER_ENCODER(Q4_K, q4_k, levels_q45k, range_q4_1, true, false)
SUPER_ENCODER(Q5_K, q5_k, levels_q45k, range_q5_1, true, false)
SUPER_ENCODER(Q6_K, q6_k, levels_q6k, range_q6k, false, false)
SUPER_ENCODER(IQ4_XS, iq4_xs, levels_iq4xs, range_iq4, false, true)

/* ---- ternary: one scale for 256 ---- */

/* What the lanes found together, in an order that is the same for every width. */
static float sum_lanes(float *lanes)
{
    for (int n = LANES / 2; n > 0; n /= 2)
        for (int i = 0; i < n; i++) lanes[i] += lanes[i + n];
    return lanes[0];
}

/* What n scales would keep of a superblock: all that is greater than cut[i] becomes the scale with a sign. Where the
 * best fit to that explains more than *gain, *gain and *d become the fit's. Comparing is half the work of rounding. */
enum { CUTS_ABREAST = 3 };
_Static_assert(sizeof tries_ternary / sizeof *tries_ternary % CUTS_ABREAST == 0, "tries fill whole rows");
ALWAYS_INLINE void try_cuts(const struct group *g, const float *cut, size_t n, float *gain, float *d)
{
    const vec zero = vec_set1(0), one = vec_set1(1);
    float xq[CUTS_ABREAST][LANES], qq[CUTS_ABREAST][LANES];
    for (size_t at = 0; at < LANES; at += VEC_LANES) {
        vec sum_xq[CUTS_ABREAST], sum_qq[CUTS_ABREAST];
        UNROLL for (size_t i = 0; i < n; i++) sum_xq[i] = sum_qq[i] = zero;
        for (size_t j = 0; j < 16; j++) {
            const vec a = vec_abs(vec_load(&g->x[j][at])), wa = weigh(g, j, at, a), w = weigh(g, j, at, one);
            UNROLL for (size_t i = 0; i < n; i++) {
                sum_xq[i] = vec_add(sum_xq[i], vec_where_less(vec_set1(cut[i]), a, wa, zero));
                sum_qq[i] = vec_add(sum_qq[i], vec_where_less(vec_set1(cut[i]), a, w, zero));
            }
        }
        UNROLL for (size_t i = 0; i < n; i++) {
            vec_store(xq[i] + at, sum_xq[i]);
            vec_store(qq[i] + at, sum_qq[i]);
        }
    }
    for (size_t i = 0; i < n; i++) {
        const float top = sum_lanes(xq[i]), bottom = sum_lanes(qq[i]), fit = bottom > 0 ? top / bottom : 0;
        if (fit * top > *gain) *gain = fit * top, *d = fit;
    }
}

/* The scale of a superblock laid out as sixteen lanes; codes in g->q. */
ALWAYS_INLINE float search_ternary(struct group *g)
{
    float gain = 0, d = 0, scales[LANES], cut[CUTS_ABREAST], most = 0;
    vec max = vec_set1(0);
    for (size_t at = 0; at < LANES; at += VEC_LANES)
        for (size_t j = 0; j < 16; j++) max = vec_max(vec_abs(vec_load(&g->x[j][at])), max);
    vec_store(scales, max);
    for (size_t i = 0; i < VEC_LANES; i++) most = scales[i] > most ? scales[i] : most;
    for (size_t i = 0; i < range_ternary.n_tries && most > 0; i += CUTS_ABREAST) {
        for (size_t k = 0; k < CUTS_ABREAST; k++) cut[k] = 0.5f * most / range_ternary.tries[i + k];
        try_cuts(g, cut, CUTS_ABREAST, &gain, &d);
    }
    for (int i = 0; i < 2; i++) {
        cut[0] = 0.5f * d;
        try_cuts(g, cut, 1, &gain, &d);
    }
    d = as_f16(d);
    for (int s = 0; s < LANES; s++) scales[s] = d;
    assign_codes(g, 16, scales, NULL, &range_ternary, false);
    return d;
}

/* Five digits of base 3 in the byte that gives each back by a multiplication: ceil(256 * v / 243). */
static uint8_t pack_digits(const uint8_t *codes, int n, int apart)
{
    unsigned v = 0;
    for (int k = 0; k < 5; k++) v = v * 3 + (k < n ? codes[k * apart] : 0);
    return (uint8_t)((v * 256 + 242) / 243);
}

/* Which elements share a byte follows the decoder: 32 apart, then 16, then 4. */
static void pack_tq1_0(struct slm_block_tq1_0 *b, const uint8_t *codes, float d)
{
    for (int j = 0; j < 32; j++) b->qs[j] = pack_digits(codes + j, 5, 32);
    for (int j = 0; j < 16; j++) b->qs[32 + j] = pack_digits(codes + 160 + j, 5, 16);
    for (int j = 0; j < 4; j++) b->qh[j] = pack_digits(codes + 240 + j, 4, 4);
    put_f16(b->d, d);
}

static void pack_tq2_0(struct slm_block_tq2_0 *b, const uint8_t *codes, float d)
{
    for (int half = 0; half < 2; half++) pack_pairs(b->qs + 32 * half, codes + 128 * half, 0);
    put_f16(b->d, d);
}

/* The lanes are sixteenths of one superblock here. */
#define TERNARY_ENCODER(NAME, name)                                                                \
    static void encode_##NAME(const float *x, const float *w, void *dst, size_t n)                 \
    {                                                                                              \
        struct slm_block_##name *b = dst;                                                          \
        struct group g;                                                                            \
        _Alignas(4) uint8_t codes[SLM_SUPERBLOCK];                                                             \
        for (size_t i = 0; i < n / SLM_SUPERBLOCK; i++, x += SLM_SUPERBLOCK) {                     \
            gather(&g, x, w ? w + i * SLM_SUPERBLOCK : NULL, LANES, 16);                           \
            const float d = search_ternary(&g);                                                    \
            codes_of(&g, 16, -1, codes);                                                           \
            pack_##name(b++, codes, d);                                                            \
        }                                                                                          \
    }
TERNARY_ENCODER(TQ1_0, tq1_0)
TERNARY_ENCODER(TQ2_0, tq2_0)

/* The rows of the table that this text has. */
static void fill_encoders(struct slm_encoders *table)
{
#define X(NAME) table->encode[SLM_DTYPE_##NAME] = encode_##NAME;
    X(Q4_0) X(Q4_1) X(Q5_0) X(Q5_1) X(Q8_0) X(IQ4_NL) X(Q2_K) X(Q3_K) X(Q4_K) X(Q5_K) X(Q6_K) X(IQ4_XS) X(TQ1_0)
    X(TQ2_0)
#undef X
}
