/* SPDX-License-Identifier: MIT
 * Packed files: whatever a model's type, its packed form gives the same numbers as the plain one, bit for bit, in int8
 * and in f32, and takes no memory of its own. That bad ones are refused is in test_gguf_bad.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "slm.h"
#include "base/os.h"
#include "effort.h"
#include "engine/weights.h"
#include "quant/panel.h"
#include "tiny_model.h"

enum { TOKENS = 9 };
static char tied[256], untied[256], plain[256], packed[256];
static float reference[TOKENS * TINY_VOCAB], other[TOKENS * TINY_VOCAB];
static struct slm_error error;
static struct slm_os counting_os;
static size_t page_bytes;

static void must(slm_status status)
{
    if (status != SLM_OK) fail_msg("%s: %s", error.where, error.message);
}

static int set_up(void **state)
{
    (void)state;
    struct tiny_spec spec = tiny_spec_default("qwen3", SLM_DTYPE_F32);
    snprintf(tied, sizeof tied, "%s", tiny_path("tied.gguf"));
    snprintf(untied, sizeof untied, "%s", tiny_path("untied.gguf"));
    snprintf(plain, sizeof plain, "%s", tiny_path("plain.gguf"));
    snprintf(packed, sizeof packed, "%s", tiny_path("packed.gguf"));
    spec.n_embd = 256, spec.n_ff = 512, spec.n_head = 8;
    tiny_model_write(tied, &spec);
    spec.untied = true;
    tiny_model_write(untied, &spec);
    return 0;
}

static void quantize(const char *in, const char *out, struct slm_quantize_options options)
{
    must(slm_quantize(in, out, &options, NULL, &error));
}

static void *count_pages(size_t bytes)
{
    page_bytes += bytes;
    return slm_os_posix()->alloc_pages(bytes);
}

/* Logits of all tokens; counts what is allocated in pages, as weights are. */
static void compute(const char *path, enum slm_activations activations, int32_t n_batch, float *logits)
{
    static const int32_t ids[TOKENS] = {3, 1, 4, 1, 5, 9, 2, 6, 39};
    const struct slm_session_options options = {.n_ctx = 32, .n_threads = 2, .n_batch = n_batch,
                                                .activations = activations};
    struct slm_model *model;
    struct slm_session *session;
    counting_os = *slm_os_posix();
    counting_os.alloc_pages = count_pages;
    page_bytes = 0;
    slm_os_replace(&counting_os);
    must(slm_model_open(path, NULL, &model, &error));
    must(slm_session_open(model, &options, &session, &error));
    must(slm_session_eval_all(session, ids, TOKENS, logits, &error));
    slm_session_close(session);
    slm_model_close(model);
    slm_os_replace(NULL);
}

static uint64_t packed_bytes(const char *path)
{
    struct slm_gguf *gguf;
    uint64_t bytes = 0;
    must(slm_gguf_open(path, NULL, &gguf, &error));
    for (size_t i = 0; i < slm_gguf_n_tensors(gguf); i++)
        if (slm_gguf_tensor_at(gguf, i)->packed) bytes += slm_gguf_tensor_at(gguf, i)->bytes;
    slm_gguf_close(gguf);
    return bytes;
}

static void same_numbers(const char *what)
{
    static const struct { enum slm_activations activations; int32_t n_batch; } ways[] = {
        {SLM_ACTIVATIONS_INT8, 32}, {SLM_ACTIVATIONS_INT8, 2}, {SLM_ACTIVATIONS_F32, 4}};
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        compute(plain, ways[i].activations, ways[i].n_batch, reference);
        const size_t before = page_bytes;
        compute(packed, ways[i].activations, ways[i].n_batch, other);
        if (memcmp(reference, other, sizeof other) != 0) fail_msg("%s, way %zu: other logits", what, i);
        if (ways[i].activations == SLM_ACTIVATIONS_INT8) /* the panels are the file's */
            assert_int_equal(before - page_bytes, packed_bytes(packed));
    }
}

static void every_type_gives_the_same_bits(void **state)
{
    (void)state;
    static const char *const types[] = {"q4_0", "q4_1", "q5_0", "q5_1", "q8_0", "q2_k", "q3_k_m", "q4_k_m", "q5_k_m",
                                        "q6_k", "iq4_nl", "iq4_xs"};
    for (size_t i = 0; i < sizeof types / sizeof *types; i += test_is_far_too_slow() ? 3 : 1) {
        const char *in = i % 2 ? tied : untied;
        quantize(in, plain, (struct slm_quantize_options){.type = types[i]});
        quantize(in, packed, (struct slm_quantize_options){.type = types[i], .pack = true});
        assert_true(packed_bytes(packed) > 0 && packed_bytes(plain) == 0);
        same_numbers(types[i]);
    }
}

/* Matrices that are multiplied with, and no others; the same bytes from any threads, and from the file as from its
 * source. */
static void what_is_packed(void **state)
{
    (void)state;
    char again[256];
    snprintf(again, sizeof again, "%s", tiny_path("again.gguf"));
    quantize(untied, plain, (struct slm_quantize_options){.type = "q4_0"});
    quantize(untied, packed, (struct slm_quantize_options){.type = "q4_0", .pack = true, .n_threads = 1});
    must(slm_convert(plain, again, &(struct slm_convert_options){.pack = true, .n_threads = 3}, NULL, &error));
    struct slm_gguf *a, *b, *c;
    must(slm_gguf_open(plain, NULL, &a, &error));
    must(slm_gguf_open(packed, NULL, &b, &error));
    must(slm_gguf_open(again, NULL, &c, &error));
    assert_int_equal(slm_gguf_file_bytes(b), slm_gguf_file_bytes(c));
    float *rows[2] = {calloc(TINY_VOCAB * 512, sizeof(float)), calloc(TINY_VOCAB * 512, sizeof(float))};
    for (size_t i = 0; i < slm_gguf_n_tensors(a); i++) {
        const struct slm_gguf_tensor *t = slm_gguf_tensor_at(a, i), *p = slm_gguf_find_tensor(b, t->name),
                                     *q = slm_gguf_find_tensor(c, t->name);
        assert_int_equal(p->dtype, t->dtype);
        assert_int_equal(p->packed, t->n_dims == 2 && !slm_str_is(t->name, "token_embd.weight"));
        assert_memory_equal(p->data, q->data, p->bytes);
        assert_int_equal((uintptr_t)p->data % 64, 0);
        slm_tensor_read_rows(t, 0, t->dims[1], rows[0]);
        slm_tensor_read_rows(p, 0, t->dims[1], rows[1]);
        assert_memory_equal(rows[0], rows[1], t->n_elements * sizeof(float));
    }
    free(rows[0]);
    free(rows[1]);
    slm_gguf_close(a);
    slm_gguf_close(b);
    slm_gguf_close(c);
    quantize(untied, packed, (struct slm_quantize_options){.type = "tq2_0", .pack = true});
    quantize(untied, plain, (struct slm_quantize_options){.type = "tq2_0"});
    same_numbers("tq2_0, whose head alone is packed");
}

/* Rows that fill no panel, and a row longer than what is encoded at a time. */
static void odd_shapes(void **state)
{
    (void)state;
    static const uint64_t dims[][2] = {{32, 1}, {96, 17}, {1 << 17, 3}, {64, 5000}};
    for (size_t i = 0; i < sizeof dims / sizeof *dims; i++) {
        const size_t n = (size_t)(dims[i][0] * dims[i][1]);
        float *values = malloc(n * sizeof *values), *row = malloc(dims[i][0] * sizeof *row);
        for (size_t e = 0; e < n; e++) values[e] = (float)((e * 2654435761u >> 8) % 2001) / 1000.0f - 1.0f;
        struct slm_gguf_writer *w;
        must(slm_gguf_writer_open(plain, 0, &w, &error));
        must(slm_gguf_declare_tensor(w, slm_str("blk.0.t.weight"), SLM_DTYPE_F32, dims[i], 2, &error));
        must(slm_gguf_write_data(w, values, n * sizeof *values, &error));
        must(slm_gguf_writer_finish(w, &error));
        must(slm_convert(plain, packed, &(struct slm_convert_options){.type = "q8_0", .pack = true}, NULL, &error));
        struct slm_gguf *gguf;
        must(slm_gguf_open(packed, NULL, &gguf, &error));
        const struct slm_gguf_tensor *t = slm_gguf_tensor_at(gguf, 0);
        assert_true(t->packed);
        for (uint64_t r = 0; r < dims[i][1]; r++) {
            slm_tensor_read_rows(t, r, 1, row);
            for (uint64_t e = 0; e < dims[i][0]; e++) {
                const float off = row[e] - values[r * dims[i][0] + e];
                assert_true(off < 0.0045f && off > -0.0045f);
            }
        }
        slm_gguf_close(gguf);
        free(values);
        free(row);
    }
}

/* The first pass leaves the weights in the file, the second packs them; both compute the same. */
static void packing_waits_for_the_second_pass(void **state)
{
    (void)state;
    static const int32_t ids[] = {3, 1, 4, 1, 5, 9};
    enum { N = sizeof ids / sizeof *ids };
    struct slm_model *model;
    struct slm_session *session;
    quantize(untied, plain, (struct slm_quantize_options){.type = "q5_k_m"});
    must(slm_model_open(plain, NULL, &model, &error));
    must(slm_session_open(model, &(struct slm_session_options){.n_ctx = 32, .n_threads = 2}, &session, &error));
    float *logits[] = {reference, other};
    for (int pass = 0; pass < 2; pass++) {
        assert_false(slm_prepared_ready(model));
        must(slm_session_truncate(session, 0, &error));
        must(slm_session_eval_all(session, ids, N, logits[pass], &error));
        assert_int_equal(slm_prepared_ready(model), pass);
    }
    assert_memory_equal(reference, other, (size_t)N * TINY_VOCAB * sizeof(float));
    slm_session_close(session);
    slm_model_close(model);
}

/* Who packs, who waits and who reads the file meanwhile is chance; what they compute is not. */
struct user {
    struct slm_session *session;
    float last[TINY_VOCAB];
};
static void use(void *arg)
{
    struct user *u = arg;
    static const int32_t ids[] = {2, 7, 1, 8};
    for (int pass = 0; pass < 3; pass++) {
        struct slm_error mine;
        if (slm_session_truncate(u->session, 0, &mine) != SLM_OK) abort();
        if (slm_session_eval(u->session, ids, 4, &mine) != SLM_OK) abort();
    }
    memcpy(u->last, slm_session_logits(u->session), sizeof u->last);
}

static void several_sessions_may_pack(void **state)
{
    (void)state;
    enum { USERS = 3 };
    static struct user users[USERS];
    struct slm_thread *threads[USERS];
    struct slm_model *model;
    quantize(tied, plain, (struct slm_quantize_options){.type = "q6_k"});
    must(slm_model_open(plain, NULL, &model, &error));
    for (int i = 0; i < USERS; i++)
        must(slm_session_open(model, &(struct slm_session_options){.n_ctx = 32, .n_threads = 2}, &users[i].session,
                              &error));
    for (int i = 0; i < USERS; i++) must(slm_os()->thread_start(use, &users[i], &threads[i], &error));
    for (int i = 0; i < USERS; i++) slm_os()->thread_join(threads[i]);
    assert_true(slm_prepared_ready(model));
    for (int i = 0; i < USERS; i++) {
        assert_memory_equal(users[i].last, users[0].last, sizeof users[0].last);
        slm_session_close(users[i].session);
    }
    slm_model_close(model);
}

static void packed_files_are_not_converted(void **state)
{
    (void)state;
    quantize(tied, packed, (struct slm_quantize_options){.type = "q4_0", .pack = true});
    assert_int_equal(slm_convert(packed, plain, NULL, NULL, &error), SLM_ERR_UNSUPPORTED);
    assert_non_null(strstr(error.message, "is packed; convert the file that this one was made from"));
    assert_int_equal(slm_quantize(packed, plain, &(struct slm_quantize_options){.type = "q8_0"}, NULL, &error),
                     SLM_ERR_UNSUPPORTED);
}

/* What backends reserve is for the panels of Q8_0, whatever the type. */
static void no_panel_is_larger_than_that_of_bytes(void **state)
{
    (void)state;
    for (int type = 0; type < SLM_DTYPE_COUNT; type++)
        if (slm_pack_has((enum slm_dtype)type))
            assert_true(slm_pack_panel_bytes((enum slm_dtype)type, 512) <= slm_pack_panel_bytes(SLM_DTYPE_Q8_0, 512));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_type_gives_the_same_bits),
        cmocka_unit_test(what_is_packed),
        cmocka_unit_test(odd_shapes),
        cmocka_unit_test(packing_waits_for_the_second_pass),
        cmocka_unit_test(several_sessions_may_pack),
        cmocka_unit_test(packed_files_are_not_converted),
        cmocka_unit_test(no_panel_is_larger_than_that_of_bytes),
    };
    return cmocka_run_group_tests(tests, set_up, NULL);
}
