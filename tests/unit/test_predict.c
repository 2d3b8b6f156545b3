/* SPDX-License-Identifier: MIT
 * Predictions of shapes against what their makers state (parameters, size of a token's keys and values), and choices
 * against what they are defined to be. That predicted sizes are those of files is tested end to end. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "base/os.h"
#include "tune/compare.h"
#include "tune/recommend.h"

/* From the models' cards and config.json: parameters in millions, bytes a token takes in an f16 cache. */
static const struct stated { const char *name; double millions; uint64_t token_bytes; } stated[] = {
    {"llama-3.2-1b", 1236, 16 * 2 * 8 * 64 * 2}, {"llama-3.2-3b", 3213, 28 * 2 * 8 * 128 * 2},
    {"llama-3.1-8b", 8030, 32 * 2 * 8 * 128 * 2}, {"qwen3-0.6b", 596, 28 * 2 * 8 * 128 * 2},
    {"qwen3-1.7b", 1721, 28 * 2 * 8 * 128 * 2}, {"qwen3-4b", 4022, 36 * 2 * 8 * 128 * 2},
    {"qwen3-8b", 8191, 36 * 2 * 8 * 128 * 2}, {"phi-4-mini", 3836, 32 * 2 * 8 * 128 * 2},
    {"gemma-3-1b", 1000, 26 * 2 * 1 * 256 * 2}, {"bitnet-2b4t", 2413, 30 * 2 * 5 * 128 * 2},
};

static void shapes_are_as_stated(void **state)
{
    struct slm_sizes *sizes;
    size_t found = 0;
    (void)state;
    for (size_t i = 0;; i++) {
        assert_int_equal(slm_sizes_open_shape(i, &sizes, NULL), SLM_OK);
        if (!sizes) break;
        const struct slm_model *model = slm_sizes_model(sizes);
        for (size_t k = 0; k < sizeof stated / sizeof *stated; k++) {
            if (strcmp(model->name, stated[k].name) != 0) continue;
            const struct slm_session_options session = {.n_ctx = 4096, .n_threads = 1};
            struct slm_work work;
            struct slm_memory memory;
            found++;
            assert_true(fabs((double)model->n_params / 1e6 / stated[k].millions - 1) < 0.005);
            assert_int_equal(slm_sizes_in(sizes, "F16", &work, NULL), SLM_OK);
            assert_int_equal(slm_memory_predict(model, &work, &session, &memory, NULL), SLM_OK);
            assert_int_equal(memory.kv_bytes, 4096 * stated[k].token_bytes);
            /* Two bytes a weight, vectors four. */
            assert_true(work.weight_bytes >= 2 * model->n_params);
            assert_true((double)work.weight_bytes < 2.01 * (double)model->n_params);
            assert_int_equal(slm_sizes_ternary(sizes), strncmp(model->name, "bitnet", 6) == 0);
        }
        slm_sizes_close(sizes);
    }
    assert_int_equal(found, sizeof stated / sizeof *stated);
}

static void unknown_types_are_refused(void **state)
{
    struct slm_sizes *sizes;
    struct slm_work work;
    struct slm_error error;
    (void)state;
    assert_int_equal(slm_sizes_open_shape(0, &sizes, NULL), SLM_OK);
    assert_int_equal(slm_sizes_in(sizes, "Q9", &work, &error), SLM_ERR_ARGUMENT);
    assert_non_null(strstr(error.message, "Q4_K_M"));
    slm_sizes_close(sizes);
}

/* Each number of the machine bounds what it should, and twice of all is twice as fast. */
static void speed_follows_the_machine(void **state)
{
    const struct slm_work work = {.weight_bytes = 500, .token_bytes = 400, .int8_macs = 1000, .float_macs = 10};
    const struct slm_machine slow = {1e9, 1e12, 1e12}, wide = {2e9, 1e12, 1e12}, twice = {2e9, 2e12, 2e12};
    const struct slm_speed a = slm_speed_predict(&slow, &work, 1 << 20), b = slm_speed_predict(&wide, &work, 1 << 20),
                           c = slm_speed_predict(&twice, &work, 1 << 20), d = slm_speed_predict(&slow, &work, 0);
    (void)state;
    assert_true(a.decode < 1e9 / 400 && a.prefill < 1e12 / 1000 && a.decode_full < a.decode);
    assert_true(fabs(b.decode / a.decode - 2) < 1e-9 && fabs(b.prefill / a.prefill - 1) < 1e-9);
    assert_true(fabs(c.prefill / a.prefill - 2) < 1e-9 && fabs(c.decode_full / a.decode_full - 2) < 1e-9);
    assert_true(fabs(d.decode_full / d.decode - 1) < 1e-9);
}

static void best_loses_least_of_what_fits(void **state)
{
    struct slm_choice c[] = {
        {.type = "A", .kl = 0.0, .fits = false, .fast = true, .memory = {.weight_bytes = 9}},
        {.type = "B", .kl = 0.1, .fits = true, .fast = false, .memory = {.weight_bytes = 8}},
        {.type = "C", .kl = 0.3, .fits = true, .fast = true, .memory = {.weight_bytes = 7}},
        {.type = "D", .kl = 0.2, .fits = true, .fast = true, .memory = {.weight_bytes = 6}},
        {.type = "E", .kl = 0.2, .fits = true, .fast = true, .memory = {.weight_bytes = 5}},
    };
    (void)state;
    assert_ptr_equal(slm_recommend_best(c, 5), &c[4]); /* the smaller of equals */
    assert_ptr_equal(slm_recommend_best(c, 4), &c[3]);
    assert_null(slm_recommend_best(c, 2));
    c[0].fits = true;
    assert_ptr_equal(slm_recommend_best(c, 5), &c[0]);
}

/* Every choice of a shape against the wish it was made for. */
static void lists_keep_their_word(void **state)
{
    const struct slm_machine machine = {5e10, 4e11, 1e12};
    struct slm_choice choices[SLM_MAX_CHOICES];
    struct slm_sizes *sizes;
    size_t n;
    (void)state;
    for (size_t i = 0; slm_sizes_open_shape(i, &sizes, NULL) == SLM_OK && sizes; i++) {
        const struct slm_wish wish = {.ram_bytes = UINT64_C(2000000000), .min_speed = 12,
                                      .session = {.n_ctx = 2048, .n_threads = 2}};
        assert_int_equal(slm_recommend_list(sizes, false, &wish, &machine, choices, &n, NULL), SLM_OK);
        assert_in_range(n, 2, SLM_MAX_CHOICES);
        for (size_t k = 0; k < n; k++) {
            assert_int_equal(choices[k].fits, slm_memory_total(&choices[k].memory) <= wish.ram_bytes);
            assert_int_equal(choices[k].fast, choices[k].speed.decode_full >= wish.min_speed);
            if (k > 0) assert_true(choices[k].kl >= choices[k - 1].kl);
        }
        slm_sizes_close(sizes);
    }
}

static void front_is_what_nobody_beats(void **state)
{
    const struct slm_cost costs[] = {{{1, 9, 9}}, {{2, 2, 2}}, {{2, 2, 3}}, {{9, 1, 9}}, {{2, 2, 2}}, {{9, 9, 0}}};
    const bool front[] = {true, true, false, true, true, true};
    (void)state;
    for (size_t i = 0; i < 6; i++) assert_int_equal(slm_compare_is_front(costs, 6, i), front[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shapes_are_as_stated), cmocka_unit_test(unknown_types_are_refused),
        cmocka_unit_test(speed_follows_the_machine), cmocka_unit_test(best_loses_least_of_what_fits),
        cmocka_unit_test(lists_keep_their_word), cmocka_unit_test(front_is_what_nobody_beats),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
