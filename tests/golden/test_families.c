/* SPDX-License-Identifier: MIT
 * Every family against Hugging Face transformers: tests/golden/families/NAME holds a tiny random model and what
 * transformers makes of it, written by tools/golden/families.py (which says what is in the files).
 *
 * Three tests a family. Taps: the values inside the model, layer by layer in the order they are computed, so that a
 * failure names the first one that differs, and the logits of every token. Greedy: the ids that follow, decoded one by
 * one behind a prompt that came in chunks. Changes: each number of config.json that the fixture is there to test is
 * changed in turn, and the comparison must notice: a fixture in which a rule does not show proves nothing about it.
 *
 * Deliberately not here: random hyper-parameters and other weight types (tests/oracle), real models (test_models.c). */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "engine/session.h"
#include "format/hf_folder.h"
#include "shared.h"
#include "slm.h"
#include "tiny_model.h"

#define FIXTURES SLM_SOURCE_DIR "/tests/golden/families/"
/* Of the largest element of a tap. The reference is f64; f32 sums of these widths are good to about a millionth. */
#define TOLERANCE 1e-5
#define MAX_IDS 64
#define MAX_CHANGES 8

struct change { const char *from, *to; }; /* in the text of config.json */
struct fixture {
    const char *family;
    int n_runs;
    struct change changes[MAX_CHANGES];
};

#define EPS {"\"rms_norm_eps\": 0.01", "\"rms_norm_eps\": 0.011"}
#define WINDOW_7 {"\"sliding_window\": 7", "\"sliding_window\": 8"}
#define THETA_1000 {"\"rope_theta\": 1000.0", "\"rope_theta\": 1001.0"}

static const struct fixture fixtures[] = {
    {"llama", 1,
     {EPS, {"\"rope_theta\": 100.0", "\"rope_theta\": 100.1"}, {"\"factor\": 8.0", "\"factor\": 8.1"},
      {"\"low_freq_factor\": 1.0", "\"low_freq_factor\": 1.01"},
      {"\"high_freq_factor\": 4.0", "\"high_freq_factor\": 4.01"},
      {"\"original_max_position_embeddings\": 32", "\"original_max_position_embeddings\": 31"},
      {"\"llama3\"", "\"default\""}}},
    {"mistral", 1, {EPS, WINDOW_7, {"\"rope_theta\": 10000.0", "\"rope_theta\": 10100.0"}}},
    {"qwen2", 1, {EPS, THETA_1000}},
    {"qwen3", 1, {EPS, THETA_1000}},
    {"smollm3", 1, {EPS, THETA_1000, {"  1,\n  0\n", "  0,\n  1\n"}}},
    {"phi3", 2,
     {EPS, THETA_1000, {"\"sliding_window\": 23", "\"sliding_window\": 24"}, {"1.1,\n   1.2", "1.1,\n   1.21"},
      {"2.08", "2.09"}, {"\"max_position_embeddings\": 256", "\"max_position_embeddings\": 255"},
      {"\"longrope\"", "\"default\""}}},
    {"gemma2", 1,
     {EPS, THETA_1000, WINDOW_7, {"\"attn_logit_softcapping\": 4.0", "\"attn_logit_softcapping\": 4.01"},
      {"\"final_logit_softcapping\": 10.0", "\"final_logit_softcapping\": 10.1"},
      {"\"query_pre_attn_scalar\": 20", "\"query_pre_attn_scalar\": 21"},
      {"\"sliding_attention\",\n  \"full_attention\"", "\"full_attention\",\n  \"sliding_attention\""}}},
    {"gemma3", 1,
     {EPS, WINDOW_7, {"\"rope_theta\": 100.0", "\"rope_theta\": 100.1"}, {"\"factor\": 8.0", "\"factor\": 8.1"},
      {"\"rope_theta\": 10000.0", "\"rope_theta\": 10100.0"},
      {"\"query_pre_attn_scalar\": 10", "\"query_pre_attn_scalar\": 11"},
      {"\"sliding_attention\",\n  \"full_attention\"", "\"full_attention\",\n  \"sliding_attention\""}}},
    {"bitnet", 1,
     {EPS, {"\"rope_theta\": 100.0", "\"rope_theta\": 100.5"}, {"\"relu2\"", "\"silu\""},
      {"\"autobitlinear\"", "\"bitlinear\""}}},
};
enum { N_FIXTURES = sizeof fixtures / sizeof *fixtures };

/* What the taps tests found, for the table at the end. */
static struct { int taps; size_t values; double worst; char where[96]; } found[N_FIXTURES];

/* ---- reading a fixture ----------------------------------------------------------------------------------------- */

struct expected {
    char *file;
    struct slm_gguf_tensor *rows;
    size_t n_rows;
};

static struct expected expected_open(const char *family)
{
    char path[512];
    size_t bytes;
    struct expected e = {0};
    struct slm_error error;
    snprintf(path, sizeof path, FIXTURES "%s/expected.safetensors", family);
    e.file = shared_read(path, &bytes);
    assert_non_null(e.file);
    if (slm_safetensors_parse((struct slm_str){e.file, bytes}, path, &e.rows, &e.n_rows, &error) != SLM_OK)
        fail_msg("%s: %s", error.where, error.message);
    return e;
}

static void expected_close(struct expected *e)
{
    slm_release(e->rows);
    free(e->file);
}

static const struct slm_gguf_tensor *expected_find(const struct expected *e, const char *name)
{
    for (size_t i = 0; i < e->n_rows; i++)
        if (slm_str_is(e->rows[i].name, name)) return &e->rows[i];
    return NULL;
}

static float element(const struct slm_gguf_tensor *tensor, size_t i)
{
    float value;
    memcpy(&value, tensor->data + i * sizeof value, sizeof value); /* files do not align */
    return value;
}

/* ids or greedy of a run; how many. */
static size_t expected_ids(const struct expected *e, int run, const char *what, int32_t ids[MAX_IDS])
{
    char name[64];
    snprintf(name, sizeof name, "run%d.%s", run, what);
    const struct slm_gguf_tensor *tensor = expected_find(e, name);
    assert_non_null(tensor);
    assert_true(tensor->n_elements > 0 && tensor->n_elements <= MAX_IDS);
    for (size_t i = 0; i < tensor->n_elements; i++) ids[i] = (int32_t)element(tensor, i);
    return tensor->n_elements;
}

/* ---- comparing ------------------------------------------------------------------------------------------------- */

struct comparison {
    const struct expected *expected;
    int run, taps;
    size_t values;
    double worst;
    char where[96];      /* of the worst error */
    char difference[256]; /* the first tap that is too far off; empty: none */
};

/* max |mine - reference| / max |reference|, and where. A NaN is infinitely wrong. */
static double error_of(const struct slm_gguf_tensor *reference, const float *mine, size_t *at)
{
    double scale = 0, worst = -1;
    for (size_t i = 0; i < reference->n_elements; i++) scale = fmax(scale, fabs((double)element(reference, i)));
    for (size_t i = 0; i < reference->n_elements; i++) {
        const double off = fabs((double)mine[i] - (double)element(reference, i));
        if (!(off <= worst)) {
            worst = isnan(off) ? INFINITY : off;
            *at = i;
        }
    }
    return worst / scale;
}

static void compare(struct comparison *c, const char *name, const float *mine, size_t n_rows, size_t width)
{
    const struct slm_gguf_tensor *reference = expected_find(c->expected, name);
    if (!reference || c->difference[0]) return;
    if (reference->dims[0] != width || reference->dims[1] != n_rows) {
        snprintf(c->difference, sizeof c->difference, "%s: has %zu rows of %zu, expected %llu of %llu", name, n_rows,
                 width, (unsigned long long)reference->dims[1], (unsigned long long)reference->dims[0]);
        return;
    }
    size_t at = 0;
    const double error = error_of(reference, mine, &at);
    c->taps++;
    c->values += n_rows * width;
    if (error > c->worst) {
        c->worst = error;
        snprintf(c->where, sizeof c->where, "%s", name);
    }
    if (!(error <= TOLERANCE))
        snprintf(c->difference, sizeof c->difference,
                 "%s is the first tap that differs: token %zu, element %zu is %.9g, expected %.9g; the error is %.2g of "
                 "the largest value, allowed is %.0e",
                 name, at / width, at % width, (double)mine[at], (double)element(reference, at), error, TOLERANCE);
}

static void tap(void *user, const struct slm_value *value, const float *data, size_t n_rows)
{
    struct comparison *c = user;
    char name[96];
    if (!value->name) return;
    if (value->layer < 0) snprintf(name, sizeof name, "run%d.%s", c->run, value->name);
    else snprintf(name, sizeof name, "run%d.layers.%d.%s", c->run, value->layer, value->name);
    compare(c, name, data, n_rows, value->width);
}

static struct slm_model *open_model(const char *folder)
{
    struct slm_model *model;
    struct slm_error error = {0};
    if (slm_model_open(folder, NULL, &model, &error) != SLM_OK) fail_msg("%s: %s", error.where, error.message);
    return model;
}

/* A context that just holds the run: LongRoPE decides by it. */
static struct slm_session *open_session(const struct slm_model *model, size_t n_ctx, int32_t n_batch,
                                        struct comparison *c)
{
    struct slm_session *session;
    struct slm_error error = {0};
    const struct slm_session_options options = {.n_ctx = (int32_t)n_ctx, .n_batch = n_batch, .kv_type = SLM_KV_F32,
                                                .n_threads = 2};
    if (slm_session_open_tapped(model, &options, c ? tap : NULL, c, &session, &error) != SLM_OK)
        fail_msg("%s: %s", error.where, error.message);
    return session;
}

/* Evaluates the prompt of a run in one step and compares all there is. */
static void compare_run(const struct slm_model *model, struct comparison *c)
{
    int32_t ids[MAX_IDS], greedy[MAX_IDS];
    const size_t n = expected_ids(c->expected, c->run, "ids", ids);
    const size_t n_ctx = n + expected_ids(c->expected, c->run, "greedy", greedy);
    const size_t n_vocab = (size_t)slm_model_info(model).n_vocab;
    struct slm_session *session = open_session(model, n_ctx, 0, c);
    float *logits = calloc(n * n_vocab, sizeof *logits);
    assert_non_null(logits);
    assert_int_equal(slm_session_eval_all(session, ids, n, logits, NULL), SLM_OK);
    char name[64];
    snprintf(name, sizeof name, "run%d.logits", c->run);
    compare(c, name, logits, n, n_vocab);
    free(logits);
    slm_session_close(session);
}

/* ---- the tests ------------------------------------------------------------------------------------------------- */

static void taps_and_logits_match(void **state)
{
    const struct fixture *fixture = *state;
    const size_t number = (size_t)(fixture - fixtures);
    struct expected expected = expected_open(fixture->family);
    char folder[512];
    snprintf(folder, sizeof folder, FIXTURES "%s", fixture->family);
    struct slm_model *model = open_model(folder);
    for (int run = 0; run < fixture->n_runs; run++) {
        struct comparison c = {.expected = &expected, .run = run};
        compare_run(model, &c);
        if (c.difference[0]) fail_msg("%s: %s", fixture->family, c.difference);
        /* Embedding, three a layer, last norm, and the logits: as a tap and as handed out. */
        assert_int_equal(c.taps, 3 * slm_model_info(model).n_layer + 4);
        found[number].taps += c.taps;
        found[number].values += c.values;
        if (c.worst > found[number].worst) {
            found[number].worst = c.worst;
            snprintf(found[number].where, sizeof found[number].where, "%s", c.where);
        }
    }
    /* Nothing of the file was left out. */
    assert_int_equal(expected.n_rows, (size_t)(found[number].taps + fixture->n_runs));
    slm_model_close(model);
    expected_close(&expected);
}

static int32_t argmax(const float *x, int32_t n)
{
    int32_t best = 0;
    for (int32_t i = 1; i < n; i++)
        if (x[i] > x[best]) best = i;
    return best;
}

static void greedy_ids_match(void **state)
{
    const struct fixture *fixture = *state;
    struct expected expected = expected_open(fixture->family);
    char folder[512];
    snprintf(folder, sizeof folder, FIXTURES "%s", fixture->family);
    struct slm_model *model = open_model(folder);
    for (int run = 0; run < fixture->n_runs; run++) {
        int32_t ids[MAX_IDS], greedy[MAX_IDS];
        const size_t n = expected_ids(&expected, run, "ids", ids);
        const size_t n_greedy = expected_ids(&expected, run, "greedy", greedy);
        struct slm_session *session = open_session(model, n + n_greedy, 7, NULL);
        assert_int_equal(slm_session_eval(session, ids, n, NULL), SLM_OK);
        for (size_t i = 0; i < n_greedy; i++) {
            const int32_t id = argmax(slm_session_logits(session), slm_model_info(model).n_vocab);
            if (id != greedy[i]) fail_msg("%s run%d: greedy id %zu is %d, expected %d", fixture->family, run, i, id,
                                          greedy[i]);
            assert_int_equal(slm_session_eval(session, &id, 1, NULL), SLM_OK);
        }
        slm_session_close(session);
    }
    slm_model_close(model);
    expected_close(&expected);
}

static void put(const char *folder, const char *name, const char *data, size_t bytes)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, bytes, file), bytes);
    fclose(file);
}

/* The fixture in a folder of its own, without its config.json. */
static const char *copy_of(const char *family)
{
    char path[512];
    size_t bytes;
    snprintf(path, sizeof path, FIXTURES "%s/model.safetensors", family);
    char *weights = shared_read(path, &bytes);
    assert_non_null(weights);
    const char *folder = tiny_path(family);
    mkdir(folder, 0700);
    put(folder, "model.safetensors", weights, bytes);
    free(weights);
    return folder;
}

static void changed_configurations_are_noticed(void **state)
{
    const struct fixture *fixture = *state;
    struct expected expected = expected_open(fixture->family);
    char path[512];
    snprintf(path, sizeof path, FIXTURES "%s/config.json", fixture->family);
    char *config = shared_read(path, NULL);
    assert_non_null(config);
    const char *folder = copy_of(fixture->family);
    for (const struct change *change = fixture->changes;
         change < fixture->changes + MAX_CHANGES && change->from; change++) {
        const char *at = strstr(config, change->from);
        if (!at) fail_msg("%s: config.json has no %s", fixture->family, change->from);
        char changed[4096];
        const int n = snprintf(changed, sizeof changed, "%.*s%s%s", (int)(at - config), config, change->to,
                               at + strlen(change->from));
        assert_true(n > 0 && (size_t)n < sizeof changed);
        put(folder, "config.json", changed, (size_t)n);
        struct slm_model *model = open_model(folder);
        bool noticed = false;
        for (int run = 0; run < fixture->n_runs; run++) {
            struct comparison c = {.expected = &expected, .run = run};
            compare_run(model, &c);
            noticed |= c.difference[0] != 0;
        }
        if (!noticed) fail_msg("%s: %s instead of %s makes no difference", fixture->family, change->to, change->from);
        slm_model_close(model);
    }
    free(config);
    expected_close(&expected);
}

/* tests/run.py shows lines that begin with "report: ". */
static int print_table(void **state)
{
    (void)state;
    print_message("report: family oracle (transformers, tests/golden/families): taps, values, worst error, where\n");
    for (size_t i = 0; i < N_FIXTURES; i++)
        print_message("report:   %-10s %3d taps %7zu values   %.1e   %s\n", fixtures[i].family, found[i].taps,
                      found[i].values, found[i].worst, found[i].where);
    return 0;
}

int main(void)
{
    static const struct { const char *name; void (*run)(void **state); } kinds[] = {
        {"taps_and_logits_match", taps_and_logits_match},
        {"greedy_ids_match", greedy_ids_match},
        {"changed_configurations_are_noticed", changed_configurations_are_noticed},
    };
    enum { N_KINDS = sizeof kinds / sizeof *kinds };
    static char names[N_FIXTURES * N_KINDS][64];
    struct CMUnitTest tests[N_FIXTURES * N_KINDS];
    for (size_t i = 0; i < N_FIXTURES * N_KINDS; i++) {
        const struct fixture *fixture = &fixtures[i / N_KINDS];
        snprintf(names[i], sizeof names[i], "%s_%s", fixture->family, kinds[i % N_KINDS].name);
        tests[i] = (struct CMUnitTest){names[i], kinds[i % N_KINDS].run, NULL, NULL, (void *)(uintptr_t)fixture};
    }
    return cmocka_run_group_tests_name("families", tests, NULL, print_table);
}
