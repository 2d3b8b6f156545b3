/* SPDX-License-Identifier: MIT
 * Shapes of released models: walking a family's tensor rows with a shape's sizes must come to the number of parameters
 * that was published, and wrong names are refused in full sentences. That files of shapes open and run is
 * e2e/test_bench.py's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>
#include "families/families.h"
#include "tune/shape.h"

/* From the models' cards and the sums of their published tensors, as in e2e/test_published_sizes.py. */
static const struct { const char *name; uint64_t n_params; } published[] = {
    {"qwen3-0.6b", 596049920},    {"qwen3-1.7b", 1720574976},   {"qwen3-4b", 4022468096},
    {"qwen3-8b", 8190735360},     {"llama-3.2-1b", 1235814400}, {"llama-3.2-3b", 3212749824},
    {"llama-3.1-8b", 8030261248}, {"phi-4-mini", 3836021760},   {"gemma-3-1b", 999885952},
    {"bitnet-2b4t", 2412820480},
};

static uint64_t count(const struct slm_family *family, const struct slm_shape *shape)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < family->n_tensors; i++) {
        const struct slm_tensor_row *row = &family->tensors[i];
        const bool head = !(row->flags & SLM_TENSOR_LAYER) && row->field == offsetof(struct slm_globals, output);
        if (head ? !shape->untied : (row->flags & SLM_TENSOR_OPTIONAL) != 0) continue;
        const uint64_t n = row->flags & SLM_TENSOR_LAYER ? shape->hparams.n_layer : 1;
        sum += n * slm_dim_size(&shape->hparams, row->n_in) * slm_dim_size(&shape->hparams, row->n_out);
    }
    return sum;
}

static void every_shape_has_its_published_parameters(void **state)
{
    (void)state;
    const struct slm_family *family;
    size_t n = 0;
    for (const struct slm_shape *shape; (shape = slm_family_shape_at(n, &family)); n++) {
        size_t at = 0;
        while (at < sizeof published / sizeof *published && strcmp(published[at].name, shape->name) != 0) at++;
        assert_true(at < sizeof published / sizeof *published);
        assert_int_equal(count(family, shape), published[at].n_params);
    }
    assert_int_equal(n, sizeof published / sizeof *published);
}

static void unknown_names_are_refused(void **state)
{
    (void)state;
    struct slm_error error;
    const char *path = "/no/such/folder/x.gguf";
    assert_int_equal(slm_shape_write("qwen9-1b", path, &error), SLM_ERR_ARGUMENT);
    assert_non_null(strstr(error.message, "'qwen9-1b'"));
    for (size_t i = 0; i < sizeof published / sizeof *published; i++)
        assert_non_null(strstr(error.message, published[i].name));
    static const char *const types[] = {"qwen3-0.6b:q9", "qwen3-0.6b:i2_s", "qwen3-0.6b:u4", "qwen3-0.6b:"};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        assert_int_equal(slm_shape_write(types[i], path, &error), SLM_ERR_ARGUMENT);
        assert_non_null(strstr(error.message, "q4_k_m"));
    }
    assert_int_equal(slm_shape_write("qwen3-0.6b:q4_0", path, &error), SLM_ERR_IO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_shape_has_its_published_parameters),
        cmocka_unit_test(unknown_names_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
