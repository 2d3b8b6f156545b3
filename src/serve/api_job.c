/* SPDX-License-Identifier: MIT
 * From what was asked to jobs: tokens, sampler, stop strings, biases, in one way for all APIs. Runs on
 * threads of the pool, for prompts may be long. Limits are here, not in rows, where they hold for
 * elements of lists: how many stop strings, biases and inputs a request may have, how long a stop
 * string may be. Deliberately not here: chats (api_chat.c), and what the fields are called. */
#include "serve/api_call.h"

#include <inttypes.h>
#include "base/os.h"
#include "base/rng.h"
#include "model/model.h"
#include "serve/api_chat.h"

/* Each of these costs time for every token, or memory for every request: they are far above what any
 * client was seen to use. */
enum { MAX_STOP = 16, MAX_STOP_BYTES = 4096, MAX_BIAS = 1024 };

/* For templates and tokens; lives as long as the call holds its host
 * model. */
const struct slm_model *slm_call_model(const struct slm_call *call) { return slm_host_model(call->model); }

/* NUL-terminated, whatever the text was. */
char *slm_call_copy(struct slm_str text, struct slm_error *error)
{
    char *copy = slm_alloc(text.len + 1, 1, "request", error);
    if (copy && text.len) memcpy(copy, text.ptr, text.len);
    return copy;
}

/* ---- tokens ---------------------------------------------------------------------------------------------------- */

/* Measured first, so that the memory is exactly what is needed. */
slm_status slm_call_tokenize(struct slm_call *call, struct slm_str text, unsigned flags, int32_t **ids, size_t *n,
                             struct slm_error *error)
{
    const struct slm_model *model = slm_call_model(call);
    size_t count = 0;
    SLM_TRY(slm_tokenize(model, text.len ? text.ptr : "", text.len, flags, NULL, 0, &count, error));
    int32_t *all = slm_alloc(count + 1, sizeof *all, "tokens", error);
    if (!all) return SLM_ERR_MEMORY;
    const slm_status status = slm_tokenize(model, text.len ? text.ptr : "", text.len, flags, all, count, n, error);
    if (status == SLM_OK)
        *ids = all;
    else
        slm_release(all);
    return status;
}

/* Ids come from outside: each is checked against the vocabulary, and the
 * first wrong one is named. */
slm_status slm_call_read_ids(struct slm_call *call, const json_t *array, const char *path, int32_t **ids, size_t *n,
                             struct slm_error *error)
{
    const size_t count = json_array_size(array);
    const int32_t n_vocab = slm_model_info(slm_call_model(call)).n_vocab;
    int32_t *all = slm_alloc(count + 1, sizeof *all, "tokens", error);
    if (!all) return SLM_ERR_MEMORY;
    for (size_t i = 0; i < count; i++) {
        const json_t *value = json_array_get(array, i);
        const json_int_t id = json_is_integer(value) ? json_integer_value(value) : -1;
        if (id >= 0 && id < n_vocab) {
            all[i] = (int32_t)id;
            continue;
        }
        slm_release(all);
        if (!json_is_integer(value))
            return slm_fail(error, SLM_ERR_ARGUMENT, slm_path("%s[%zu]", path, i).text, "must be a token id, not %s",
                            slm_json_kind(value));
        return slm_fail(error, SLM_ERR_ARGUMENT, slm_path("%s[%zu]", path, i).text,
                        "token ids of this model are from 0 to %" PRId32, n_vocab - 1);
    }
    *ids = all;
    *n = count;
    return SLM_OK;
}

/* The piece as it stands in the vocabulary, so that pieces of a text, one
 * after the other, are the text. */
void slm_call_token_text(const struct slm_call *call, int32_t id, struct slm_buf *out)
{
    const struct slm_tokenizer *tokenizer = slm_call_model(call)->tokenizer;
    if (tokenizer) slm_buf_add_str(out, slm_tokenizer_piece(tokenizer, id, true));
}

/* Both numbers are in the message: clients and people need them to shorten
 * the right thing. */
slm_status slm_call_check_context(struct slm_call *call, size_t n_prompt, struct slm_error *error)
{
    const size_t n_ctx = slm_host_model_n_ctx(call->model);
    if (n_prompt < n_ctx) return SLM_OK;
    return slm_fail(error, SLM_ERR_CONTEXT, call->ask.messages ? "messages" : call->ask.input ? "input" : "prompt",
                    "the prompt has %zu tokens, but the model's context holds %zu with at least one for the answer; "
                    "shorten the prompt or serve the model with a larger --ctx", n_prompt, n_ctx);
}

/* ---- the sampler ----------------------------------------------------------------------------------------------- */

/* What was not asked for stays as the model has it. */
static void set_float(float *to, double value)
{
    if (!slm_is_absent(value)) *to = (float)value;
}

static void set_int(int32_t *to, int64_t value)
{
    if (value != SLM_ABSENT_INT) *to = (int32_t)value;
}

/* Without a seed every request draws anew, so that asking again is worth something. */
static uint64_t fresh_seed(void)
{
    uint32_t random[4];
    slm_rng_block((uint64_t)slm_os()->unix_ns(), slm_os()->now_ns(), 0, random);
    return (uint64_t)random[0] << 32 | random[1];
}

/* The model's own defaults, then what was asked for. Ranges were checked
 * by the rows. */
struct slm_sampler_params slm_call_sampler(const struct slm_call *call)
{
    const struct slm_ask *ask = &call->ask;
    struct slm_sampler_params params = slm_sampler_defaults(slm_call_model(call));
    set_float(&params.temperature, ask->temperature);
    set_float(&params.top_p, ask->top_p);
    set_float(&params.min_p, ask->min_p);
    set_float(&params.typical_p, ask->typical_p);
    set_float(&params.repeat_penalty, ask->repeat_penalty);
    set_float(&params.frequency_penalty, ask->frequency_penalty);
    set_float(&params.presence_penalty, ask->presence_penalty);
    set_int(&params.top_k, ask->top_k);
    if (params.top_k < 0) params.top_k = 0; /* some APIs turn it off so */
    set_int(&params.penalty_last_n, ask->penalty_last_n);
    params.seed = ask->seed == SLM_ABSENT_INT || ask->seed == -1 ? fresh_seed() : (uint64_t)ask->seed;
    return params;
}

/* A string, or an array of them. */
static slm_status add_stops(struct slm_job *job, const json_t *stop, struct slm_error *error)
{
    const size_t n = !stop ? 0 : json_is_array(stop) ? json_array_size(stop) : 1;
    if (n > MAX_STOP)
        return slm_fail(error, SLM_ERR_LIMIT, "stop", "has %zu strings, at most %d are allowed", n, MAX_STOP);
    job->stop = slm_alloc(n + 1, sizeof *job->stop, "stop", error);
    if (!job->stop) return SLM_ERR_MEMORY;
    for (size_t i = 0; i < n; i++) {
        const json_t *one = json_is_array(stop) ? json_array_get(stop, i) : stop;
        const struct slm_path path = json_is_array(stop) ? slm_path("stop[%zu]", i) : slm_path("stop");
        const char *text = slm_read_text(one, path.text, error);
        if (!text) return SLM_ERR_ARGUMENT;
        if (!*text || strlen(text) > MAX_STOP_BYTES)
            return slm_fail(error, SLM_ERR_ARGUMENT, path.text, "must have from 1 to %d bytes", MAX_STOP_BYTES);
        job->stop[i] = slm_call_copy(slm_str(text), error);
        if (!job->stop[i]) return SLM_ERR_MEMORY;
        job->n_stop = i + 1;
    }
    return SLM_OK;
}

/* {"id": bias} as OpenAI has it, or [[id, bias]]; false instead of a bias bans the token. */
static slm_status read_bias(const json_t *id, const json_t *value, int32_t n_vocab, struct slm_logit_bias *out,
                            struct slm_error *error)
{
    char *end = NULL;
    const char *text = json_string_value(id);
    const long long number = text ? strtoll(text, &end, 10) : json_is_integer(id) ? json_integer_value(id) : -1;
    if (number < 0 || number >= n_vocab || (text && (*end || !*text)))
        return slm_fail(error, SLM_ERR_ARGUMENT, "logit_bias",
                        "keys must be token ids of this model, from 0 to %" PRId32,
                        n_vocab - 1);
    const bool banned = json_is_false(value);
    if (!banned && !json_is_number(value))
        return slm_fail(error, SLM_ERR_ARGUMENT, "logit_bias", "the bias of token %lld must be a number", number);
    const double bias = banned ? -1e9 : json_number_value(value);
    if (!banned && (bias < -100 || bias > 100))
        return slm_fail(error, SLM_ERR_ARGUMENT, "logit_bias", "the bias of token %lld must be from -100 to 100",
                        number);
    *out = (struct slm_logit_bias){.id = (int32_t)number, .bias = (float)bias};
    return SLM_OK;
}

/* Both shapes have the same entries. A ban is a bias that no logit
 * outweighs. */
static slm_status add_biases(struct slm_call *call, struct slm_job *job, struct slm_error *error)
{
    json_t *bias = (json_t *)(uintptr_t)call->ask.logit_bias;
    const int32_t n_vocab = slm_model_info(slm_call_model(call)).n_vocab;
    if (!bias) return SLM_OK;
    if (!json_is_object(bias) && !json_is_array(bias))
        return slm_fail(error, SLM_ERR_ARGUMENT, "logit_bias", "must be an object, not %s", slm_json_kind(bias));
    const size_t n = json_is_object(bias) ? json_object_size(bias) : json_array_size(bias);
    if (n > MAX_BIAS)
        return slm_fail(error, SLM_ERR_LIMIT, "logit_bias", "has %zu entries, at most %d are allowed", n, MAX_BIAS);
    job->logit_bias = slm_alloc(n + 1, sizeof *job->logit_bias, "logit_bias", error);
    if (!job->logit_bias) return SLM_ERR_MEMORY;
    void *member = json_is_object(bias) ? json_object_iter(bias) : NULL;
    for (size_t i = 0; i < n; i++) {
        const json_t *pair = json_is_array(bias) ? json_array_get(bias, i) : NULL;
        json_t *key = member ? json_string(json_object_iter_key(member)) : NULL;
        slm_status status = SLM_OK;
        if (pair && (!json_is_array(pair) || json_array_size(pair) != 2))
            status = slm_fail(error, SLM_ERR_ARGUMENT, slm_path("logit_bias[%zu]", i).text,
                              "must be [token id, bias]");
        if (status == SLM_OK)
            status = read_bias(member ? key : json_array_get(pair, 0),
                               member ? json_object_iter_value(member) : json_array_get(pair, 1), n_vocab,
                               &job->logit_bias[i], error);
        json_decref(key);
        if (status != SLM_OK) return status;
        if (member) member = json_object_iter_next(bias, member);
    }
    job->sampler.n_logit_bias = n;
    return SLM_OK;
}

/* ---- jobs ------------------------------------------------------------------------------------------------------ */

/* Jobs and what is said in front of their answers grow side by side. Takes
 * the job, also when it fails. */
static slm_status append(struct slm_call *call, struct slm_job *job, struct slm_error *error)
{
    struct slm_job **jobs = slm_realloc(call->jobs, call->n_jobs + 1, sizeof *jobs, "jobs", error);
    if (jobs) call->jobs = jobs;
    char **echoes = jobs ? slm_realloc(call->echoes, call->n_jobs + 1, sizeof *echoes, "jobs", error) : NULL;
    if (echoes) call->echoes = echoes;
    if (!jobs || !echoes) {
        slm_job_free(job);
        return SLM_ERR_MEMORY;
    }
    jobs[call->n_jobs++] = job;
    job->timeout_ms = call->ask.limit_ms != SLM_ABSENT_INT ? (uint64_t)call->ask.limit_ms : call->api->timeout_ms;
    job->priority = call->ask.priority != SLM_ABSENT_INT ? (int32_t)call->ask.priority : 0;
    memcpy(job->tenant, call->tenant, sizeof job->tenant);
    memcpy(job->request_id, call->request_id, sizeof job->request_id);
    return SLM_OK;
}

/* Takes the prompt, also when it fails. What an API has no word for stays
 * absent and thus at its default. */
slm_status slm_call_add_job(struct slm_call *call, int32_t *prompt, size_t n_prompt, enum slm_job_split split,
                            struct slm_error *error)
{
    const struct slm_ask *ask = &call->ask;
    struct slm_job *job = slm_job_new(error);
    if (!job) {
        slm_release(prompt);
        return SLM_ERR_MEMORY;
    }
    job->prompt = prompt;
    job->n_prompt = n_prompt;
    job->sampler = slm_call_sampler(call);
    job->n_predict = ask->n_predict > 0 ? (int32_t)ask->n_predict : 0;
    job->only_prompt = ask->n_predict == 0;
    job->n_choices = ask->n_choices > 0 ? (int32_t)ask->n_choices : 1;
    job->ignore_eog = ask->ignore_eog == 1;
    job->n_top = ask->n_top != SLM_ABSENT_INT ? (int32_t)ask->n_top : -1;
    job->split = split;
    job->tools = call->tools_json != NULL;
    job->no_cache = ask->no_cache == 1 || ask->cache == 0;
    job->shift = ask->shift == 1;
    job->n_keep = ask->n_keep > 0 ? (int32_t)ask->n_keep : 0;
    job->slot = ask->slot > 0 ? (int32_t)ask->slot : 0;
    job->prompt_logprobs = ask->echo == 1 && ask->n_top != SLM_ABSENT_INT;
    call->n_prompt += n_prompt;
    slm_status status = n_prompt > 0 ? slm_call_check_context(call, n_prompt, error)
                                     : slm_fail(error, SLM_ERR_ARGUMENT, "prompt", "has no tokens");
    if (status == SLM_OK) status = add_stops(job, ask->stop, error);
    if (status == SLM_OK) status = add_biases(call, job, error);
    if (status == SLM_OK) status = slm_call_add_grammar(call, job, error);
    if (status == SLM_OK) return append(call, job, error);
    slm_job_free(job);
    return status;
}

/* For the APIs that have a suffix and nothing else of it. */
slm_status slm_call_infill(struct slm_call *call, const char *prefix, struct slm_error *error)
{
    int32_t *ids = NULL;
    size_t n = 0;
    const struct slm_infill infill = {.prefix = prefix, .suffix = call->ask.suffix};
    SLM_TRY(slm_infill_encode(slm_call_model(call), &infill, &ids, &n, error));
    return slm_call_add_job(call, ids, n, SLM_SPLIT_NONE, error);
}

/* Without a prompt: the runner knows the slot's tokens. Nothing is generated
 * either, so the request's sampler and limits are left as they come. */
slm_status slm_call_add_slot_job(struct slm_call *call, int32_t slot, enum slm_slot_action action, const char *path,
                                 struct slm_error *error)
{
    struct slm_job *job = slm_job_new(error);
    if (!job) return SLM_ERR_MEMORY;
    job->slot = slot;
    job->slot_action = action;
    if (path) job->slot_path = slm_call_copy(slm_str(path), error);
    if (!path || job->slot_path) return append(call, job, error);
    slm_job_free(job);
    return SLM_ERR_MEMORY;
}

/* One text or one array of ids. Texts stay texts: the embedder knows what
 * special tokens they get. */
static slm_status add_input(struct slm_call *call, const json_t *one, const char *path, struct slm_job *job,
                            struct slm_error *error)
{
    struct slm_embed_input *input = &job->embed[job->n_embed];
    int32_t *ids = NULL;
    if (json_is_string(one) && call->ask.truncate == 1) {
        /* Cut to what fits; a token that ends texts stays at the end. */
        const struct slm_str text = {json_string_value(one), json_string_length(one)};
        const size_t n_ctx = slm_host_model_n_ctx(call->model);
        SLM_TRY(slm_call_tokenize(call, text, SLM_TOKENIZE_ADD_SPECIAL, &ids, &input->n_ids, error));
        if (input->n_ids > n_ctx) {
            ids[n_ctx - 1] = slm_token_is_eog(slm_call_model(call), ids[input->n_ids - 1]) ? ids[input->n_ids - 1]
                                                                                          : ids[n_ctx - 1];
            input->n_ids = n_ctx;
        }
        input->ids = ids;
    } else if (json_is_string(one)) {
        const struct slm_str text = {json_string_value(one), json_string_length(one)};
        char *copy = slm_call_copy(text, error);
        if (!copy) return SLM_ERR_MEMORY;
        input->text = copy;
        input->text_bytes = text.len;
    } else if (json_is_array(one)) {
        SLM_TRY(slm_call_read_ids(call, one, path, &ids, &input->n_ids, error));
        input->ids = ids;
    } else {
        return slm_fail(error, SLM_ERR_ARGUMENT, path, "must be a string or an array of token ids, not %s",
                        slm_json_kind(one));
    }
    job->n_embed++;
    size_t n = input->n_ids;
    if (!input->ids)
        SLM_TRY(slm_tokenize(slm_call_model(call), input->text, input->text_bytes, SLM_TOKENIZE_ADD_SPECIAL, NULL,
                             0, &n,
                             error));
    call->n_prompt += n;
    return SLM_OK;
}

/* Dimensions, truncation and counting are their maker's business: nothing here looks at a text, so that what comes from
 * another way of making inputs is taken as it is. */
slm_status slm_call_add_embed(struct slm_call *call, struct slm_embed_input *inputs, size_t n, struct slm_error *error)
{
    struct slm_job *job = slm_job_new(error);
    if (!job) {
        for (size_t i = 0; i < n; i++) {
            slm_release((char *)(uintptr_t)inputs[i].text);
            slm_release((int32_t *)(uintptr_t)inputs[i].ids);
        }
        slm_release(inputs);
        return SLM_ERR_MEMORY;
    }
    job->embed = inputs;
    job->n_embed = n;
    call->n_inputs = n;
    return append(call, job, error);
}

/* All inputs are one job, so that they are computed together. */
slm_status slm_call_embed(struct slm_call *call, const json_t *input, const char *path, struct slm_error *error)
{
    /* An array of integers is one input of tokens. */
    const bool many = json_is_array(input) && !json_is_integer(json_array_get(input, 0));
    const size_t n = many ? json_array_size(input) : 1;
    if (n == 0 || n > SLM_MAX_INPUTS || (json_is_array(input) && json_array_size(input) == 0))
        return slm_fail(error, SLM_ERR_ARGUMENT, path, "must have from 1 to %d inputs", SLM_MAX_INPUTS);
    struct slm_job *job = slm_job_new(error);
    if (!job) return SLM_ERR_MEMORY;
    job->embed = slm_alloc(n, sizeof *job->embed, "input", error);
    job->embed_dims = call->ask.dims != SLM_ABSENT_INT ? (int32_t)call->ask.dims : 0;
    slm_status status = job->embed ? SLM_OK : SLM_ERR_MEMORY;
    for (size_t i = 0; i < n && status == SLM_OK; i++) {
        const struct slm_path at = many ? slm_path("%s[%zu]", path, i) : slm_path("%s", path);
        status = add_input(call, many ? json_array_get(input, i) : input, at.text, job, error);
    }
    call->n_inputs = n;
    if (status == SLM_OK) return append(call, job, error);
    slm_job_free(job);
    return status;
}
