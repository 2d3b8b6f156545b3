/* SPDX-License-Identifier: MIT
 *
 * Typed access to GGUF metadata. Writers disagree about integer widths and signs, so any integer type is an integer
 * here and both float types are floats; but nothing is guessed across kinds: a string is never a number, a float never
 * an integer. Every refusal names file, key, what was found and what is allowed.
 * Deliberately not here: which keys exist and what they mean. */
#include <math.h>
#include <stdio.h>

#include "format/gguf_part.h"

/* A little-endian number of 1 to 8 bytes at any address. */
static uint64_t load(const unsigned char *p, size_t bytes)
{
    uint64_t value = 0;
    for (size_t i = 0; i < bytes; i++) value |= (uint64_t)p[i] << (8 * i);
    return value;
}

/* Element i of a fixed-size type and how many bytes it has. */
static const unsigned char *element(const struct slm_gguf_kv *kv, uint64_t i, size_t *bytes)
{
    *bytes = slm_gguf_value_types[kv->array_type].bytes;
    SLM_ASSERT(*bytes > 0 && i < kv->n);
    return kv->data + i * *bytes;
}

static uint64_t unsigned_at(const struct slm_gguf_kv *kv, uint64_t i)
{
    size_t bytes;
    const unsigned char *p = element(kv, i, &bytes);
    return load(p, bytes);
}

/* Sign extension without shifting negative numbers. */
static int64_t signed_at(const struct slm_gguf_kv *kv, uint64_t i)
{
    size_t bytes;
    const unsigned char *p = element(kv, i, &bytes);
    uint64_t sign = UINT64_C(1) << (8 * bytes - 1);
    return (int64_t)((load(p, bytes) ^ sign) - sign);
}

/* FLOAT32 is exact in double, so ranges are compared as the file states them. */
static double float_at(const struct slm_gguf_kv *kv, uint64_t i)
{
    size_t bytes;
    const unsigned char *p = element(kv, i, &bytes);
    if (bytes == sizeof(double)) {
        double d;
        memcpy(&d, p, sizeof d);
        return d;
    }
    float f;
    memcpy(&f, p, sizeof f);
    return (double)f;
}

int64_t slm_gguf_i64_at(const struct slm_gguf_kv *kv, uint64_t i)
{
    switch (slm_gguf_value_types[kv->array_type].kind) {
    case SLM_GGUF_SIGNED: return signed_at(kv, i);
    case SLM_GGUF_FLOAT: {
        double d = float_at(kv, i);
        if (isnan(d)) return 0; /* a cast of NaN, or of what does not fit, is undefined */
        return d >= 0x1p63 ? INT64_MAX : d < -0x1p63 ? INT64_MIN : (int64_t)d;
    }
    default: { /* unsigned numbers and BOOL */
        uint64_t u = unsigned_at(kv, i);
        return u > INT64_MAX ? INT64_MAX : (int64_t)u;
    }
    }
}

double slm_gguf_f64_at(const struct slm_gguf_kv *kv, uint64_t i)
{
    switch (slm_gguf_value_types[kv->array_type].kind) {
    case SLM_GGUF_SIGNED: return (double)signed_at(kv, i);
    case SLM_GGUF_FLOAT: return float_at(kv, i);
    default: return (double)unsigned_at(kv, i);
    }
}

bool slm_gguf_next_string(const struct slm_gguf_kv *kv, size_t *cursor, struct slm_str *out)
{
    SLM_ASSERT(kv->array_type == SLM_GGUF_STRING && *cursor <= kv->bytes);
    if (*cursor == kv->bytes) return false;
    size_t length = (size_t)load(kv->data + *cursor, 8); /* was checked when the file was opened */
    *out = (struct slm_str){(const char *)kv->data + *cursor + 8, length};
    *cursor += 8 + length;
    return true;
}

/* ---- getters ------------------------------------------------------------------------------------------------- */

/* Every getter: look up, check the type, check the range, only then touch *out.
 * Finds key. Absent: *kv = NULL and SLM_OK if the caller asked (found), else an error. */
static slm_status look_up(const struct slm_gguf *gguf, const char *key, bool *found, const struct slm_gguf_kv **kv,
                          struct slm_error *error)
{
    *kv = slm_gguf_find(gguf, key);
    if (found != NULL) {
        *found = *kv != NULL;
        return SLM_OK;
    }
    if (*kv != NULL) return SLM_OK;
    char where[SLM_GGUF_WHERE_BYTES]; /* file and key, cut to fit */
    slm_gguf_where(where, slm_gguf_name(gguf), "key", slm_str(key));
    return slm_fail(error, SLM_ERR_FORMAT, where, "is missing; this file needs it");
}

/* What was found and what is wanted, in words. */
static slm_status wrong_type(const struct slm_gguf *gguf, const struct slm_gguf_kv *kv, const char *wanted,
                             struct slm_error *error)
{
    char where[SLM_GGUF_WHERE_BYTES], text[48];
    slm_gguf_where(where, slm_gguf_name(gguf), "key", kv->key);
    slm_gguf_describe(text, kv);
    return slm_fail(error, SLM_ERR_FORMAT, where, "is %s; it must be %s", text, wanted);
}

slm_status slm_gguf_get_i64(const struct slm_gguf *gguf, const char *key, int64_t min, int64_t max, int64_t *out,
                            bool *found, struct slm_error *error)
{
    const struct slm_gguf_kv *kv;
    SLM_TRY(look_up(gguf, key, found, &kv, error));
    if (kv == NULL) return SLM_OK;
    int kind = slm_gguf_value_types[kv->type].kind;
    if (kind != SLM_GGUF_UNSIGNED && kind != SLM_GGUF_SIGNED) return wrong_type(gguf, kv, "an integer", error);
    char where[SLM_GGUF_WHERE_BYTES];
    slm_gguf_where(where, slm_gguf_name(gguf), "key", kv->key);
    /* Above INT64_MAX no range can hold it; said apart, because int64_t could not show the value. */
    if (kind == SLM_GGUF_UNSIGNED && unsigned_at(kv, 0) > INT64_MAX)
        return slm_fail(error, SLM_ERR_FORMAT, where, "is %llu; allowed are %lld to %lld",
                        (unsigned long long)unsigned_at(kv, 0), (long long)min, (long long)max);
    int64_t value = slm_gguf_i64_at(kv, 0);
    if (value < min || value > max)
        return slm_fail(error, SLM_ERR_FORMAT, where, "is %lld; allowed are %lld to %lld", (long long)value,
                        (long long)min, (long long)max);
    *out = value;
    return SLM_OK;
}

slm_status slm_gguf_get_f64(const struct slm_gguf *gguf, const char *key, double min, double max, double *out,
                            bool *found, struct slm_error *error)
{
    const struct slm_gguf_kv *kv;
    SLM_TRY(look_up(gguf, key, found, &kv, error));
    if (kv == NULL) return SLM_OK;
    const int kind = slm_gguf_value_types[kv->type].kind;
    const bool json_integer = gguf->from_hf && kind == SLM_GGUF_SIGNED; /* JSON writers drop ".0" */
    if (kind != SLM_GGUF_FLOAT && !json_integer) return wrong_type(gguf, kv, "FLOAT32 or FLOAT64", error);
    const double value = slm_gguf_f64_at(kv, 0);
    if (!(value >= min && value <= max)) { /* this way round, NaN is refused */
        char where[SLM_GGUF_WHERE_BYTES];
        slm_gguf_where(where, slm_gguf_name(gguf), "key", kv->key);
        return slm_fail(error, SLM_ERR_FORMAT, where, "is %g; allowed are %g to %g", value, min, max);
    }
    *out = value;
    return SLM_OK;
}

slm_status slm_gguf_get_bool(const struct slm_gguf *gguf, const char *key, bool *out, bool *found,
                             struct slm_error *error)
{
    const struct slm_gguf_kv *kv;
    SLM_TRY(look_up(gguf, key, found, &kv, error));
    if (kv == NULL) return SLM_OK;
    if (kv->type != SLM_GGUF_BOOL) return wrong_type(gguf, kv, "BOOL", error);
    *out = kv->data[0] != 0; /* only 0 and 1 have passed the parser */
    return SLM_OK;
}

slm_status slm_gguf_get_str(const struct slm_gguf *gguf, const char *key, struct slm_str *out, bool *found,
                            struct slm_error *error)
{
    const struct slm_gguf_kv *kv;
    SLM_TRY(look_up(gguf, key, found, &kv, error));
    if (kv == NULL) return SLM_OK;
    if (kv->type != SLM_GGUF_STRING) return wrong_type(gguf, kv, "STRING", error);
    size_t cursor = 0;
    (void)slm_gguf_next_string(kv, &cursor, out); /* a single string is a list of one */
    return SLM_OK;
}

slm_status slm_gguf_get_array(const struct slm_gguf *gguf, const char *key, enum slm_gguf_type element_type,
                              const struct slm_gguf_kv **out, bool *found, struct slm_error *error)
{
    const struct slm_gguf_kv *kv;
    SLM_TRY(look_up(gguf, key, found, &kv, error));
    if (kv == NULL) return SLM_OK;
    SLM_ASSERT(element_type < SLM_GGUF_TYPE_COUNT && element_type != SLM_GGUF_ARRAY);
    /* Callers may read the bytes directly, so the width must be as asked; the sign of integers is open. */
    const struct slm_gguf_value_type *wanted = &slm_gguf_value_types[element_type];
    const struct slm_gguf_value_type *is = &slm_gguf_value_types[kv->array_type];
    bool both_integers = wanted->kind <= SLM_GGUF_SIGNED && is->kind <= SLM_GGUF_SIGNED;
    if (kv->type != SLM_GGUF_ARRAY || wanted->bytes != is->bytes || (wanted->kind != is->kind && !both_integers)) {
        char text[32];
        (void)snprintf(text, sizeof text, "an array of %s", wanted->name);
        return wrong_type(gguf, kv, text, error);
    }
    *out = kv;
    return SLM_OK;
}
