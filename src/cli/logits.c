/* SPDX-License-Identifier: MIT
 *
 * `slm logits`: the model's raw answer to a row of token ids, before any sampling: for comparing with other
 * programs and for tests. JSON carries every logit with enough digits to read back the same float. */
#include "base/os.h"
#include "cli/cli.h"
#include "cli/commands.h"

/* Filled by the rows below; zero means not given. */
struct logits_options {
    uint64_t seen;
    const char *ids;
    bool all, json;
    int32_t top, greedy;
    struct slm_model_choice model;
};

#define AT(field) offsetof(struct logits_options, field)
static const struct slm_option logits_rows[] = {
    {.name = "ids", .kind = SLM_OPTION_TEXT, .offset = AT(ids), .arg = "IDS",
     .help = "the tokens, numbers between spaces or commas"},
    {.name = "all", .kind = SLM_OPTION_FLAG, .offset = AT(all),
     .help = "logits after every token (default: after the last)"},
    {.name = "json", .kind = SLM_OPTION_FLAG, .offset = AT(json),
     .help = "{\"n_vocab\": N, \"logits\": [[...], ...]} (default: the likeliest tokens as text)"},
    {.name = "greedy", .kind = SLM_OPTION_INT, .offset = AT(greedy), .arg = "N", .min = 1, .max = INT32_MAX,
     .help = "first extend the tokens N times by the likeliest one; shows which"},
    {.name = "top", .kind = SLM_OPTION_INT, .offset = AT(top), .arg = "K", .min = 1, .max = 1000,
     .help = "tokens to show as text (default: 10)"},
};
#undef AT
/* The model options matter here: --kv f32 takes the rounding of the cache out of a comparison, and activations are f32
 * unless asked for otherwise. */
static const struct slm_option_group logits_groups[] = {
    {"Options", logits_rows, sizeof logits_rows / sizeof logits_rows[0], 0},
    SLM_MODEL_GROUP(struct logits_options, model),
};

/* The rows of one evaluation and what follows them. */
struct answer {
    float *logits;                 /* [n_rows, n_vocab] owned */
    size_t n_rows, n_vocab, first; /* first: position of row 0 */
    int32_t *greedy;               /* [n_greedy] owned */
    size_t n_greedy;
};

/* All rows, every logit with nine digits. */
static void add_json(struct slm_buf *out, const struct answer *answer)
{
    slm_buf_puts(out, "{");
    slm_json_i64(out, "n_vocab", (int64_t)answer->n_vocab);
    slm_json_key(out, "logits");
    slm_buf_puts(out, "[");
    for (size_t r = 0; r < answer->n_rows; r++) {
        slm_buf_puts(out, r ? ",[" : "[");
        for (size_t i = 0; i < answer->n_vocab; i++) {
            if (i) slm_buf_puts(out, ",");
            slm_json_float(out, answer->logits[r * answer->n_vocab + i]);
        }
        slm_buf_puts(out, "]");
    }
    slm_buf_puts(out, "]");
    if (answer->n_greedy > 0) {
        slm_json_key(out, "greedy");
        slm_buf_puts(out, "[");
        for (size_t i = 0; i < answer->n_greedy; i++) slm_buf_printf(out, i ? ",%d" : "%d", answer->greedy[i]);
        slm_buf_puts(out, "]");
    }
    slm_buf_puts(out, "}\n");
}

/* "position  id  logit  text" of the k likeliest, by repeated search: k is small and this is for eyes. */
static void add_top(struct slm_buf *out, const struct slm_model *model, const float *row, size_t n_vocab, size_t k,
                    size_t position)
{
    /* The last one shown: what is greater, or equal with a lower id, was shown before it. */
    float bar = 0;
    size_t last = n_vocab;
    for (size_t n = 0; n < k && n < n_vocab; n++) {
        size_t best = n_vocab;
        for (size_t i = 0; i < n_vocab; i++) {
            bool taken = last < n_vocab && (row[i] > bar || (row[i] == bar && i <= last));
            if (!taken && (best == n_vocab || row[i] > row[best])) best = i;
        }
        if (best == n_vocab) return;
        bar = row[best];
        last = best;
        slm_buf_printf(out, "%zu\t%zu\t%.6f\t", position, best, (double)bar);
        slm_buf_add_json_string(out, slm_cli_piece(model, (int32_t)best));
        slm_buf_puts(out, "\n");
    }
}

/* For people: the rows, then one line of ids. */
static void add_text(struct slm_buf *out, const struct slm_model *model, const struct answer *answer, size_t top)
{
    for (size_t r = 0; r < answer->n_rows; r++)
        add_top(out, model, answer->logits + r * answer->n_vocab, answer->n_vocab, top, answer->first + r);
    for (size_t i = 0; i < answer->n_greedy; i++) slm_buf_printf(out, i ? " %d" : "greedy\t%d", answer->greedy[i]);
    if (answer->n_greedy > 0) slm_buf_puts(out, "\n");
}

/* The likeliest token again and again; nothing but the logits decides, whatever the model file recommends. rows is
 * where the logits after each go, NULL for nowhere. */
static slm_status continue_greedily(struct slm_session *session, const struct answer *answer, float *rows,
                                    struct slm_error *error)
{
    const struct slm_sampler_params params = {.temperature = 0, .top_p = 1, .typical_p = 1, .repeat_penalty = 1};
    for (size_t i = 0; i < answer->n_greedy; i++) {
        SLM_TRY(slm_sample(session, &params, &answer->greedy[i], error));
        SLM_TRY(slm_session_eval(session, &answer->greedy[i], 1, error));
        if (rows) memcpy(rows + i * answer->n_vocab, slm_session_logits(session), answer->n_vocab * sizeof(float));
    }
    return SLM_OK;
}

/* One evaluation from an empty timeline. With --all the rows are n_vocab floats a token, which is why it is not the
 * default. */
static slm_status evaluate(struct slm_session *session, const struct logits_options *options, const int32_t *ids,
                           size_t n_ids, struct answer *answer, struct slm_error *error)
{
    answer->n_greedy = (size_t)options->greedy;
    answer->n_rows = options->all ? n_ids + answer->n_greedy : 1;
    answer->first = n_ids + answer->n_greedy - answer->n_rows;
    answer->logits = slm_alloc(answer->n_rows, answer->n_vocab * sizeof(float), "logits", error);
    answer->greedy = slm_alloc(answer->n_greedy ? answer->n_greedy : 1, sizeof(int32_t), "greedy", error);
    if (!answer->logits || !answer->greedy) return SLM_ERR_MEMORY;
    if (options->all) {
        SLM_TRY(slm_session_eval_all(session, ids, n_ids, answer->logits, error));
        return continue_greedily(session, answer, answer->logits + n_ids * answer->n_vocab, error);
    }
    SLM_TRY(slm_session_eval(session, ids, n_ids, error));
    SLM_TRY(continue_greedily(session, answer, NULL, error));
    memcpy(answer->logits, slm_session_logits(session), answer->n_vocab * sizeof(float));
    return SLM_OK;
}

/* The answer is formatted while the model is still open: text needs its tokens. */
static int logits_main(void *opaque, int n_args, char **args)
{
    struct logits_options *options = opaque;
    struct slm_model *model = NULL;
    struct slm_session *session = NULL;
    struct slm_buf out = {0};
    struct slm_error error;
    int32_t *ids = NULL;
    size_t n_ids = 0;
    struct answer answer = {0};
    if (n_args > 0) options->model.path = args[0];
    if (!options->ids)
        return slm_cli_usage("logits", "--ids is needed: the tokens to evaluate, as in --ids \"1 2 3\"");
    /* Each step only when the one before it worked; the end releases whatever there is. */
    slm_status status = slm_cli_open_model(&options->model, false, &model, &error);
    if (status != SLM_OK) goto out;
    answer.n_vocab = (size_t)slm_model_info(model).n_vocab;
    status = slm_cli_parse_ids(options->ids, slm_model_info(model).n_vocab, &ids, &n_ids, &error);
    if (status != SLM_OK) goto out;
    /* A context exactly as long as the text: models whose rotation depends on it then see what the text needs. */
    if (options->model.n_ctx == 0 && n_ids <= (size_t)(INT32_MAX - options->greedy))
        options->model.n_ctx = (int32_t)n_ids + options->greedy;
    /* What the file's numbers say, unless the fast way is what one wants to look at. */
    if (options->model.activations == SLM_ACTIVATIONS_DEFAULT) options->model.activations = SLM_ACTIVATIONS_F32;
    if (n_ids == 0) status = slm_fail(&error, SLM_ERR_ARGUMENT, "ids", "at least one token id is needed");
    if (status == SLM_OK) status = slm_cli_open_session(model, &options->model, &session, &error);
    if (status == SLM_OK) status = evaluate(session, options, ids, n_ids, &answer, &error);
    if (status != SLM_OK) goto out;
    if (options->json) add_json(&out, &answer);
    else add_text(&out, model, &answer, options->top > 0 ? (size_t)options->top : 10);
out:
    slm_session_close(session);
    slm_model_close(model);
    slm_release(ids);
    slm_release(answer.logits);
    slm_release(answer.greedy);
    if (status == SLM_OK) return slm_cli_emit(&out);
    slm_buf_release(&out);
    return slm_cli_fail(&error);
}

/* Sampling has no part in this: no sampling options. */
const struct slm_command slm_command_logits = {
    .name = "logits",
    .args = "[MODEL] --ids \"1 2 3\"",
    .summary = "Shows a model's logits after given tokens",
    .groups = logits_groups,
    .n_groups = sizeof logits_groups / sizeof logits_groups[0],
    .options_bytes = sizeof(struct logits_options),
    .max_args = 1,
    .run = logits_main,
};
