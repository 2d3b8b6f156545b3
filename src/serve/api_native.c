/* SPDX-License-Identifier: MIT
 * The endpoints of llama.cpp's server that its own clients use: tokens, templates, raw completions,
 * embeddings, what the server is.
 *
 * A completion here is text that goes on: no template, nothing told apart, special tokens of the
 * beginning as the model asks for them. A stream is an event for each piece and one at the end that
 * has everything else: why it stopped, settings, timings. There is no "[DONE]".
 *
 * What that server has and slm has not comes in two kinds. Samplers and slots have rows with the one
 * value that changes nothing, because clients send all of their settings always; anything else that
 * is asked for is refused. Filling in text is a completion whose prompt has more than one part; a model that lacks the
 * tokens for it says so.
 *
 * Nothing here is cheap to compute but tokens and templates, so those run on threads of the pool like
 * every prompt does. Deliberately not here: /health and /metrics (server.c),
 * ranking (api_rerank.c). */
#include <math.h>
#include <stdio.h>
#include "base/os.h"
#include "base/utf8.h"
#include "serve/api_chat.h"
#include "serve/api_native.h"
#include "serve/api_openai.h"
#include "serve/api_rows.h"
#include "serve/api_write.h"

/* Types of errors by status. */
static const struct { int status; const char *type; } error_types[] = {
    {400, "invalid_request_error"}, {401, "authentication_error"}, {403, "permission_error"},
    {404, "not_found_error"}, {501, "not_supported_error"}, {503, "unavailable_error"}, {429, "unavailable_error"},
    {504, "timeout_error"},
};

/* {"error": {"code", "message", "type"}}, the code being the status. */
static void write_error(struct slm_buf *out, int status, const struct slm_error *error)
{
    const char *type = status >= 500 ? "server_error" : "invalid_request_error";
    struct slm_buf message = {0};
    for (size_t i = 0; i < sizeof error_types / sizeof *error_types; i++)
        if (error_types[i].status == status) type = error_types[i].type;
    if (error->status == SLM_ERR_CONTEXT) type = "exceed_context_size_error";
    if (error->status == SLM_ERR_DEAD_END) type = "grammar_dead_end";
    slm_buf_printf(&message, "%s%s%s", error->where, *error->where ? ": " : "", error->message);
    slm_write_begin(out, NULL, '{');
    slm_write_begin(out, "error", '{');
    slm_write_int(out, "code", status);
    slm_write_str(out, "message", (struct slm_str){message.data, message.len});
    slm_write_text(out, "type", type);
    slm_write_end(out, '}');
    slm_write_end(out, '}');
    slm_buf_release(&message);
}

/* The whole reply, for errors before anything was sent. */
static void native_error(struct slm_reply *reply, int status, const struct slm_error *error)
{
    struct slm_buf out = {0};
    write_error(&out, status, error);
    slm_reply_json(reply, status, &out);
    slm_buf_release(&out);
}

/* In a stream the same object is an event. */
static void broken(struct slm_call *call, const struct slm_error *error)
{
    write_error(&call->out, slm_call_status(error), error);
    slm_call_event(call, NULL);
}

/* ---- fields ---------------------------------------------------------------------------------------------------- */


/* Of every request: that server has one model, so its clients rarely say which. */
static const struct slm_field model_rows[] = {
    TEXT("model", model, "name of the model; absent: the one that was served first"),
};
/* Samplers that slm does not have are accepted where they are turned off. */
/* Apart, for a text that is filled in has parts instead. */
static const struct slm_field prompt_rows[] = {
    NEEDED_JSON("prompt", prompt,
                "text, token ids, an array that mixes both, or an array of such prompts without bare ids"),
};
static const struct slm_field completion_rows[] = {
    BOOL("stream", stream, "server-sent events as the text grows"),
    INT("n_predict", n_predict, -1, 2147483647,
        "most tokens; -1: until the context is full; 0: none, the prompt is cached"),
    INT("max_tokens", n_predict_new, -1, 2147483647, "the same"),
    INT("n_keep", n_keep, -1, 2147483647, "tokens at the beginning that context_shift keeps"),
    BOOL("context_shift", shift, "true: when the context is full the oldest tokens are forgotten"),
    FLOAT("temperature", temperature, 0, 100, "0 is greedy; default: the model's own"),
    INT("top_k", top_k, -1, 1e9, "0: off"),
    FLOAT("top_p", top_p, 0, 1, "1: off"),
    FLOAT("min_p", min_p, 0, 1, "0: off"),
    FLOAT("typical_p", typical_p, 0, 1, "1: off"),
    FLOAT("repeat_penalty", repeat_penalty, 0.01, 100, "1: off"),
    INT("repeat_last_n", penalty_last_n, -1, 1e9, "tokens the penalties look back; -1: all"),
    FLOAT("presence_penalty", presence_penalty, -2, 2, ""),
    FLOAT("frequency_penalty", frequency_penalty, -2, 2, ""),
    INT("seed", seed, -1, 9007199254740992.0, "same request, same text; absent or -1: drawn anew"),
    JSON("stop", stop, "a string or up to 16 that end the text"),
    BOOL("ignore_eos", ignore_eog, "go on past the model's end of answer"),
    JSON("logit_bias", logit_bias, "[[token id, bias]] or {id: bias}; false bans"),
    INT("n_probs", n_top, 0, 20, "log-probabilities of that many of the likeliest tokens"),
    BOOL("cache_prompt", cache, "false: neither use nor leave computed prompts"),
    BOOL("return_tokens", tokens, "the ids of the tokens too"),
    INT("t_max_predict_ms", limit_ms, 1, 1e9, "most time for the whole request"),
    TEXT("grammar", grammar, "a GBNF grammar the text must match"),
    JSON("json_schema", schema, "a JSON Schema the text must match"),
    ONLY("dynatemp_range", "0|0.0", "not supported"), ONLY("xtc_probability", "0|0.0", "not supported"),
    ONLY("dry_multiplier", "0|0.0", "not supported"), ONLY("mirostat", "0", "not supported"),
    ONLY("samplers", "", "the order of samplers is fixed"), ONLY("lora", "[]", "adapters are the server's"),
    INT("id_slot", slot, -1, 4095, "where its tokens are kept for `/slots/:id` (--slot-save-path); -1, the default: 0"),
    ONLY("n_indent", "0", "not supported"),
    ONLY("min_keep", "0", "not supported"), ONLY("post_sampling_probs", "false", "not supported"),
    ONLY("response_fields", "", "not supported"), ONLY("timings_per_token", "false", "timings come at the end"),
    ONLY("return_progress", "false", "not supported"), ONLY("n_cache_reuse", "0", "not supported"),
    ONLY("n_discard", "0", "not supported"), ONLY("n_cmpl", "1", "use /v1/completions with n"),
    ONLY("image_data", "[]", "images are not supported"),
};
/* The small ones. Places in the struct are borrowed from fields of other requests. */
static const struct slm_field tokenize_rows[] = {
    NEEDED_JSON("content", input, "text"),
    BOOL("add_special", add_special, "BOS and EOS as the model asks; default false"),
    BOOL("parse_special", parse_special, "texts of special tokens become these; default true"),
    BOOL("with_pieces", with_pieces, "the text of each token, as bytes where it is no UTF-8"),
};
static const struct slm_field detokenize_rows[] = {NEEDED_JSON("tokens", input, "token ids")};
static const struct slm_field template_rows[] = {
    NEEDED_JSON("messages", messages, "as in /v1/chat/completions"),
    JSON("tools", tools, "as in /v1/chat/completions"),
    JSON("chat_template_kwargs", variables, "variables of the chat template"),
    BOOL("add_generation_prompt", add_prompt, "false: without the beginning of the answer"),
};
static const struct slm_field embedding_rows[] = {
    JSON("content", input, "text, token ids, or an array of either"),
    JSON("input", prompt, "the same by another name"),
    INT("embd_normalize", n_keep, 2, 2, "only 2, the Euclidean norm, which is the default"),
};
static const struct slm_field infill_rows[] = {
    NEEDED_TEXT("input_prefix", system, "text before"), NEEDED_TEXT("input_suffix", suffix, "text behind"),
    TEXT("prompt", query, "the beginning of what is wanted, behind input_prefix"),
    JSON("input_extra", documents, "files of the same project: [{`filename`, `text`}], at most 64"),
};
static const struct slm_field no_rows[] = {HINT("", "")};
static const struct slm_field_set completion_sets[] = {SLM_FIELDS(prompt_rows), SLM_FIELDS(completion_rows),
                                                       SLM_FIELDS(model_rows), {NULL, 0}};
static const struct slm_field_set infill_sets[] = {SLM_FIELDS(infill_rows), SLM_FIELDS(completion_rows),
                                                   SLM_FIELDS(model_rows), {NULL, 0}};
static const struct slm_field_set tokenize_sets[] = {SLM_FIELDS(tokenize_rows), SLM_FIELDS(model_rows), {NULL, 0}};
static const struct slm_field_set detokenize_sets[] = {SLM_FIELDS(detokenize_rows), SLM_FIELDS(model_rows), {NULL,
                                                                                                             0}};
static const struct slm_field_set template_sets[] = {SLM_FIELDS(template_rows), SLM_FIELDS(model_rows), {NULL, 0}};
static const struct slm_field_set embedding_sets[] = {SLM_FIELDS(embedding_rows), SLM_FIELDS(model_rows), {NULL, 0}};
static const struct slm_field_set no_sets[] = {SLM_FIELDS(no_rows), {NULL, 0}};

/* ---- completion ------------------------------------------------------------------------------------------------ */

/* Two names for one number, zero for "none": what this API says in several
 * ways becomes one. */
static slm_status check_completion(struct slm_call *call, struct slm_error *error)
{
    struct slm_ask *ask = &call->ask;
    if (ask->n_predict == SLM_ABSENT_INT) ask->n_predict = ask->n_predict_new;
    if (ask->n_keep < 0) ask->n_keep = SLM_ABSENT_INT;
    if (ask->n_top == 0) ask->n_top = SLM_ABSENT_INT;
    ask->logprobs = ask->n_top != SLM_ABSENT_INT;
    if (ask->tokens == 1 && ask->n_top == SLM_ABSENT_INT) ask->n_top = 0; /* tokens come with their logprobs */
    (void)error;
    return SLM_OK;
}

/* Appends tokens of a text, or one token. Special tokens around are those of the first text. */
static slm_status add_ids(struct slm_call *call, const json_t *part, const char *path, bool first, int32_t **ids,
                          size_t *n, struct slm_error *error)
{
    int32_t *more = NULL;
    size_t n_more = 0;
    if (json_is_string(part)) {
        const struct slm_str text = {json_string_value(part), json_string_length(part)};
        SLM_TRY(slm_call_tokenize(call, text, first ? SLM_TOKENIZE_ADD_SPECIAL : 0, &more, &n_more, error));
    } else {
        json_t *one = json_array();
        json_array_append(one, (json_t *)(uintptr_t)part);
        const slm_status status = slm_call_read_ids(call, one, path, &more, &n_more, error);
        json_decref(one);
        if (status != SLM_OK) return status;
    }
    int32_t *all = slm_realloc(*ids, *n + n_more + 1, sizeof *all, "prompt", error);
    if (all && n_more) memcpy(all + *n, more, n_more * sizeof *more);
    slm_release(more);
    if (!all) return SLM_ERR_MEMORY;
    *ids = all;
    *n += n_more;
    return SLM_OK;
}

/* A prompt may mix texts and ids; only the first text gets the special tokens of a beginning. */
static slm_status add_prompt(struct slm_call *call, const json_t *prompt, const char *path, struct slm_error *error)
{
    int32_t *ids = NULL;
    size_t n = 0;
    slm_status status = SLM_OK;
    if (!json_is_array(prompt)) {
        if (!json_is_string(prompt))
            return slm_fail(error, SLM_ERR_ARGUMENT, path, "must be text or an array, not %s", slm_json_kind(prompt));
        status = add_ids(call, prompt, path, true, &ids, &n, error);
    }
    for (size_t i = 0; i < json_array_size(prompt) && status == SLM_OK; i++)
        status = add_ids(call, json_array_get(prompt, i), slm_path("%s[%zu]", path, i).text, i == 0, &ids, &n, error);
    if (status == SLM_OK) return slm_call_add_job(call, ids, n, SLM_SPLIT_NONE, error);
    slm_release(ids);
    return status;
}

/* An array in which no id stands bare is several prompts: so does llama-server tell them apart. */
static bool is_many(const json_t *prompt)
{
    for (size_t i = 0; i < json_array_size(prompt); i++)
        if (json_is_number(json_array_get(prompt, i))) return false;
    return json_array_size(prompt) > 0;
}

/* One of them, or the only one. */
static const json_t *prompt_of(const struct slm_call *call, size_t i)
{
    return is_many(call->ask.prompt) ? json_array_get(call->ask.prompt, i) : call->ask.prompt;
}

static slm_status prepare_completion(struct slm_call *call, struct slm_error *error)
{
    const json_t *prompt = call->ask.prompt;
    if (!is_many(prompt)) return add_prompt(call, prompt, "prompt", error);
    if (json_array_size(prompt) > SLM_MAX_PROMPTS)
        return slm_fail(error, SLM_ERR_LIMIT, "prompt", "has %zu prompts, at most %d are allowed in one request",
                        json_array_size(prompt), SLM_MAX_PROMPTS);
    for (size_t i = 0; i < json_array_size(prompt); i++)
        SLM_TRY(add_prompt(call, json_array_get(prompt, i), slm_path("prompt[%zu]", i).text, error));
    return SLM_OK;
}

/* As newer versions have it: the list that chats have too. */
static void write_probs(struct slm_call *call, struct slm_buf *out, const char *name, const struct slm_buf *list)
{
    if (call->ask.logprobs != 1) return;
    slm_write_begin(out, name, '[');
    if (list->len) slm_buf_add(out, list->data, list->len);
    slm_write_end(out, ']');
}

/* Tokens and probabilities of a stream go out with their piece and are
 * forgotten. */
static void part(struct slm_call *call, struct slm_choice_state *choice, const struct slm_event *event)
{
    struct slm_buf *out = &call->out;
    slm_openai_write_logprobs(call, &choice->logprobs, event);
    for (size_t i = 0; i < event->n_tokens; i++) slm_write_int(&choice->tokens, NULL, event->tokens[i].id);
    if (!call->streaming || (event->part.text_bytes == 0 && event->n_tokens == 0)) return;
    slm_write_begin(out, NULL, '{');
    slm_write_int(out, "index", choice - call->choices);
    slm_write_str(out, "content", (struct slm_str){event->part.text, event->part.text_bytes});
    slm_write_begin(out, "tokens", '[');
    if (call->ask.tokens == 1 && choice->tokens.len) slm_buf_add(out, choice->tokens.data, choice->tokens.len);
    slm_write_end(out, ']');
    write_probs(call, out, "completion_probabilities", &choice->logprobs);
    slm_write_bool(out, "stop", false);
    slm_write_int(out, "id_slot", call->ask.slot > 0 ? call->ask.slot : 0);
    slm_write_end(out, '}');
    slm_buf_clear(&choice->tokens);
    slm_buf_clear(&choice->logprobs);
    slm_call_event(call, NULL);
}

/* Milliseconds and rates of the two phases. Tokens from the cache are not
 * counted as computed. */
static void write_timings(struct slm_buf *out, const struct slm_usage *usage)
{
    const double n_prompt = (double)(usage->n_prompt - usage->n_cached), n = (double)usage->n_generated;
    const double prompt_ms = usage->prompt_s * 1e3, ms = usage->generate_s * 1e3;
    slm_write_begin(out, "timings", '{');
    slm_write_int(out, "cache_n", (int64_t)usage->n_cached);
    slm_write_int(out, "prompt_n", (int64_t)n_prompt);
    slm_write_float(out, "prompt_ms", prompt_ms);
    slm_write_float(out, "prompt_per_token_ms", n_prompt > 0 ? prompt_ms / n_prompt : 0);
    slm_write_float(out, "prompt_per_second", prompt_ms > 0 ? n_prompt / prompt_ms * 1e3 : 0);
    slm_write_int(out, "predicted_n", (int64_t)usage->n_generated);
    slm_write_float(out, "predicted_ms", ms);
    slm_write_float(out, "predicted_per_token_ms", n > 0 ? ms / n : 0);
    slm_write_float(out, "predicted_per_second", ms > 0 ? n / ms * 1e3 : 0);
    slm_write_end(out, '}');
}

/* The sampler as it was used, for clients that show it. */
static void write_settings(struct slm_buf *out, const char *name, const struct slm_sampler_params *params,
                           int64_t n_predict, size_t n_ctx)
{
    slm_write_begin(out, name, '{');
    slm_write_int(out, "n_ctx", (int64_t)n_ctx);
    slm_write_int(out, "n_predict", n_predict);
    slm_write_float(out, "temperature", (double)params->temperature);
    slm_write_int(out, "top_k", params->top_k);
    slm_write_float(out, "top_p", (double)params->top_p);
    slm_write_float(out, "min_p", (double)params->min_p);
    slm_write_float(out, "typical_p", (double)params->typical_p);
    slm_write_float(out, "repeat_penalty", (double)params->repeat_penalty);
    slm_write_int(out, "repeat_last_n", params->penalty_last_n);
    slm_write_float(out, "presence_penalty", (double)params->presence_penalty);
    slm_write_float(out, "frequency_penalty", (double)params->frequency_penalty);
    slm_write_end(out, '}');
}

/* All of one answer but the text, which a stream has already sent. */
static void write_answer(struct slm_call *call, struct slm_choice_state *choice)
{
    static const char *const types[] = {[SLM_FINISH_EOG] = "eos", [SLM_FINISH_STOP] = "word",
                                        [SLM_FINISH_LENGTH] = "limit", [SLM_FINISH_TIMEOUT] = "limit"};
    struct slm_buf *out = &call->out;
    const size_t index = (size_t)(choice - call->choices);
    const json_t *prompt = prompt_of(call, index);
    const char *type = (size_t)choice->finish < sizeof types / sizeof *types ? types[choice->finish] : NULL;
    const struct slm_sampler_params params = slm_call_sampler(call);
    slm_write_begin(out, NULL, '{');
    slm_write_int(out, "index", (int64_t)index);
    slm_write_str(out, "content", (struct slm_str){choice->content.data, choice->content.len});
    slm_write_begin(out, "tokens", '[');
    if (call->ask.tokens == 1 && choice->tokens.len) slm_buf_add(out, choice->tokens.data, choice->tokens.len);
    slm_write_end(out, ']');
    slm_write_int(out, "id_slot", call->ask.slot > 0 ? call->ask.slot : 0);
    slm_write_bool(out, "stop", true);
    slm_write_text(out, "model", slm_host_model_name(call->model));
    slm_write_int(out, "tokens_predicted", (int64_t)choice->usage.n_generated);
    slm_write_int(out, "tokens_evaluated", (int64_t)choice->usage.n_prompt);
    slm_write_int(out, "tokens_cached", (int64_t)choice->usage.n_cached);
    write_settings(out, "generation_settings", &params, call->ask.n_predict >= 0 ? call->ask.n_predict : -1,
                   slm_host_model_n_ctx(call->model));
    if (json_is_string(prompt)) slm_write_text(out, "prompt", json_string_value(prompt));
    slm_write_text(out, "stop_type", type ? type : "none");
    slm_write_text(out, "stopping_word", choice->stop_string ? choice->stop_string : "");
    slm_write_bool(out, "truncated", false);
    /* Streams have sent these with the pieces. */
    if (!call->streaming) write_probs(call, out, "completion_probabilities", &choice->logprobs);
    write_timings(out, &choice->usage);
    slm_write_end(out, '}');
}

/* Answers to several prompts end at different times, and each says so when it does: a stream knows them apart by their
 * index alone. */
static void finished(struct slm_call *call, struct slm_choice_state *choice, const struct slm_event *event)
{
    (void)event;
    if (!call->streaming) return;
    write_answer(call, choice);
    slm_call_event(call, NULL);
}

/* An array when there are several, as clients of llama-server expect. */
static void end_completion(struct slm_call *call)
{
    const bool many = call->n_jobs > 1;
    if (call->streaming) return;
    if (many) slm_write_begin(&call->out, NULL, '[');
    for (size_t i = 0; i < call->n_jobs; i++) write_answer(call, &call->choices[i]);
    if (many) slm_write_end(&call->out, ']');
    slm_call_send(call, 200);
}

/* ---- tokens and templates -------------------------------------------------------------------------------------- */

/* Special tokens in the text are tokens here by default: it is a tool for
 * whoever writes prompts. */
static slm_status prepare_tokenize(struct slm_call *call, struct slm_error *error)
{
    const json_t *content = call->ask.input;
    const unsigned flags = (call->ask.add_special == 1 ? SLM_TOKENIZE_ADD_SPECIAL : 0u) |
                           (call->ask.parse_special != 0 ? SLM_TOKENIZE_PARSE_SPECIAL : 0u);
    if (!json_is_string(content))
        return slm_fail(error, SLM_ERR_ARGUMENT, "content", "must be text, not %s", slm_json_kind(content));
    return slm_call_tokenize(call, (struct slm_str){json_string_value(content), json_string_length(content)}, flags,
                             &call->ids, &call->n_ids, error);
}

/* A piece may be a part of a character: then it is its bytes. */
static void write_piece(struct slm_buf *out, struct slm_str piece)
{
    if (slm_utf8_valid_prefix(piece.ptr, piece.len) == piece.len) {
        slm_write_str(out, "piece", piece);
        return;
    }
    slm_write_begin(out, "piece", '[');
    for (size_t i = 0; i < piece.len; i++) slm_write_int(out, NULL, (unsigned char)piece.ptr[i]);
    slm_write_end(out, ']');
}

/* {"tokens": [id ...]} or [{"id", "piece"} ...] */
static void end_tokenize(struct slm_call *call)
{
    struct slm_buf *out = &call->out, piece = {0};
    slm_write_begin(out, NULL, '{');
    slm_write_begin(out, "tokens", '[');
    for (size_t i = 0; i < call->n_ids; i++) {
        if (call->ask.with_pieces != 1) {
            slm_write_int(out, NULL, call->ids[i]);
            continue;
        }
        slm_buf_clear(&piece);
        slm_call_token_text(call, call->ids[i], &piece);
        slm_write_begin(out, NULL, '{');
        slm_write_int(out, "id", call->ids[i]);
        write_piece(out, (struct slm_str){piece.data ? piece.data : "", piece.len});
        slm_write_end(out, '}');
    }
    slm_buf_release(&piece);
    slm_write_end(out, ']');
    slm_write_end(out, '}');
    slm_call_send(call, 200);
}

/* Special tokens are spelled out, so that the text can be tokenized again. */
static slm_status prepare_detokenize(struct slm_call *call, struct slm_error *error)
{
    if (!json_is_array(call->ask.input))
        return slm_fail(error, SLM_ERR_ARGUMENT, "tokens", "must be an array, not %s",
                        slm_json_kind(call->ask.input));
    SLM_TRY(slm_call_read_ids(call, call->ask.input, "tokens", &call->ids, &call->n_ids, error));
    size_t bytes = 0;
    const struct slm_model *model = slm_call_model(call);
    SLM_TRY(slm_detokenize(model, call->ids, call->n_ids, true, NULL, 0, &bytes, error));
    char *text = slm_alloc(bytes + 1, 1, "text", error);
    if (!text) return SLM_ERR_MEMORY;
    const slm_status status = slm_detokenize(model, call->ids, call->n_ids, true, text, bytes, &bytes, error);
    if (status == SLM_OK) slm_buf_add(&call->extra, text, bytes);
    slm_release(text);
    return status;
}

/* The text that was prepared, as the only field. */
static void send_text(struct slm_call *call, const char *name)
{
    slm_write_begin(&call->out, NULL, '{');
    slm_write_str(&call->out, name, (struct slm_str){call->extra.data, call->extra.len});
    slm_write_end(&call->out, '}');
    slm_call_send(call, 200);
}

static void end_detokenize(struct slm_call *call) { send_text(call, "content"); }
static void end_template(struct slm_call *call) { send_text(call, "prompt"); }
/* The prompt a chat would get, without computing anything. */
static slm_status prepare_template(struct slm_call *call, struct slm_error *error)
{
    return slm_openai_chat(call, SLM_CHAT_TEXT, error);
}

/* ---- embeddings ------------------------------------------------------------------------------------------------ */

/* Both names that versions of this API had. */
static slm_status prepare_embedding(struct slm_call *call, struct slm_error *error)
{
    const json_t *input = call->ask.input ? call->ask.input : call->ask.prompt;
    if (!input) return slm_fail(error, SLM_ERR_ARGUMENT, "content", "is required");
    return slm_call_embed(call, input, "content", error);
}

/* One vector an input, in an array of its own: other poolings have
 * several. */
static void embedded(struct slm_call *call, const struct slm_event *event)
{
    slm_write_begin(&call->out, NULL, '[');
    for (size_t i = 0; i < call->n_inputs; i++) {
        slm_write_begin(&call->out, NULL, '{');
        slm_write_int(&call->out, "index", (int64_t)i);
        slm_write_begin(&call->out, "embedding", '[');
        slm_write_vector(&call->out, NULL, event->vectors + i * event->n_dims, event->n_dims);
        slm_write_end(&call->out, ']');
        slm_write_end(&call->out, '}');
    }
    slm_write_end(&call->out, ']');
}

static void end_embedding(struct slm_call *call) { slm_call_send(call, 200); }

/* ---- filling in ------------------------------------------------------------------------------------------------ */

enum { MAX_FILES = 64 }; /* more of a project than any context holds */

/* [{"filename", "text"}]; the first may be left out. Texts stay in the request's tree, which outlives this. */
static slm_status read_files(const json_t *list, struct slm_infill_file *files, size_t *n, struct slm_error *error)
{
    *n = json_array_size(list);
    if (list && (!json_is_array(list) || *n > MAX_FILES))
        return slm_fail(error, SLM_ERR_ARGUMENT, "input_extra", "must be an array of at most %d objects", MAX_FILES);
    for (size_t i = 0; i < *n; i++) {
        const json_t *one = json_array_get(list, i), *name = json_object_get(one, "filename");
        const json_t *text = json_object_get(one, "text");
        if (!json_is_object(one) || json_object_size(one) != 1u + (name != NULL) || !text)
            return slm_fail(error, SLM_ERR_ARGUMENT, slm_path("input_extra[%zu]", i).text,
                            "must be an object with text, perhaps filename, and nothing else");
        files[i].text = slm_read_text(text, slm_path("input_extra[%zu].text", i).text, error);
        files[i].name = name ? slm_read_text(name, slm_path("input_extra[%zu].filename", i).text, error) : NULL;
        if (!files[i].text || (name && !files[i].name)) return SLM_ERR_ARGUMENT;
    }
    return SLM_OK;
}

/* From here on it is a completion like any other. */
static slm_status prepare_infill(struct slm_call *call, struct slm_error *error)
{
    const struct slm_ask *ask = &call->ask;
    struct slm_infill_file files[MAX_FILES];
    struct slm_infill infill = {.prefix = ask->system, .suffix = ask->suffix, .prompt = ask->query, .files = files};
    int32_t *ids = NULL;
    size_t n = 0;
    /* Places of other requests' fields, as its rows have them. */
    SLM_TRY(read_files(ask->documents, files, &infill.n_files, error));
    SLM_TRY(slm_infill_encode(slm_call_model(call), &infill, &ids, &n, error));
    return slm_call_add_job(call, ids, n, SLM_SPLIT_NONE, error);
}

/* ---- the server ------------------------------------------------------------------------------------------------ */

/* What a client wants to know before it asks: context, template, defaults
 * of the sampler. */
static void end_props(struct slm_call *call)
{
    struct slm_buf *out = &call->out;
    const struct slm_model *model = slm_call_model(call);
    const struct slm_sampler_params params = slm_sampler_defaults(model);
    const char *text = slm_model_chat_template(model);
    slm_write_begin(out, NULL, '{');
    slm_write_begin(out, "default_generation_settings", '{');
    write_settings(out, "params", &params, -1, slm_host_model_n_ctx(call->model));
    slm_write_int(out, "n_ctx", (int64_t)slm_host_model_n_ctx(call->model));
    slm_write_end(out, '}');
    slm_write_int(out, "total_slots", 1);
    slm_write_text(out, "model_path", slm_host_model_name(call->model));
    slm_write_text(out, "chat_template", text ? text : "");
    slm_write_begin(out, "modalities", '{');
    slm_write_bool(out, "vision", false);
    slm_write_bool(out, "audio", false);
    slm_write_end(out, '}');
    slm_buf_printf(out, ",\"build_info\":\"slm %s\"", slm_version());
    slm_write_end(out, '}');
    slm_call_send(call, 200);
}

/* There are no slots that requests are bound to; each running sequence looks like one that is busy. */
static void get_slots(void *app, const struct slm_http_request *request, struct slm_reply *reply)
{
    const struct slm_api *api = app;
    struct slm_host_counts counts;
    struct slm_buf out = {0};
    (void)request;
    slm_host_counts(api->host, &counts);
    slm_write_begin(&out, NULL, '[');
    for (size_t i = 0; i < counts.n_running; i++) {
        slm_write_begin(&out, NULL, '{');
        slm_write_int(&out, "id", (int64_t)i);
        slm_write_bool(&out, "is_processing", true);
        slm_write_end(&out, '}');
    }
    slm_write_end(&out, ']');
    slm_reply_json(reply, 200, &out);
    slm_buf_release(&out);
}

/* ---- routes ---------------------------------------------------------------------------------------------------- */

#define KIND(verb, where, fields, ...) \
    {.method = (verb), .path = (where), .sets = (fields), .table = &slm_api_native, .broken = broken, __VA_ARGS__}
/* A row an endpoint; handlers and documents find them by these names. */
enum { COMPLETION, TOKENIZE, DETOKENIZE, TEMPLATE, EMBEDDING, INFILL, PROPS, N_KINDS };
const struct slm_call_kind slm_native_kinds[N_KINDS + 1] = {
    [COMPLETION] = KIND("POST", "/completion", completion_sets, .check = check_completion,
                        .prepare = prepare_completion, .part = part, .finished = finished, .end = end_completion),
    [TOKENIZE] = KIND("POST", "/tokenize", tokenize_sets, .prepare = prepare_tokenize, .end = end_tokenize),
    [DETOKENIZE] = KIND("POST", "/detokenize", detokenize_sets, .prepare = prepare_detokenize, .end = end_detokenize),
    [TEMPLATE] = KIND("POST", "/apply-template", template_sets, .prepare = prepare_template, .end = end_template),
    [EMBEDDING] = KIND("POST", "/embedding", embedding_sets, .prepare = prepare_embedding, .embedded = embedded,
                       .end = end_embedding),
    [INFILL] = KIND("POST", "/infill", infill_sets, .check = check_completion, .prepare = prepare_infill, .part = part,
                    .finished = finished, .end = end_completion),
    [PROPS] = KIND("GET", "/props", no_sets, .end = end_props),
};

#define HANDLER(name, kind) \
    static void name(void *app, const struct slm_http_request *request, struct slm_reply *reply) \
    { \
        slm_call_start(app, request, reply, &slm_native_kinds[kind]); \
    }
HANDLER(post_completion, COMPLETION)
HANDLER(post_tokenize, TOKENIZE)
HANDLER(post_detokenize, DETOKENIZE)
HANDLER(post_template, TEMPLATE)
HANDLER(post_embedding, EMBEDDING)
HANDLER(post_infill, INFILL)
HANDLER(get_props, PROPS)

/* Several paths for one thing: that server has had most of its endpoints under more than one name. */
static const struct slm_http_route routes[] = {
    {"POST", "/completion", post_completion, 0},  {"POST", "/completions", post_completion, 0},
    {"POST", "/tokenize", post_tokenize, 0},      {"POST", "/detokenize", post_detokenize, 0},
    {"POST", "/apply-template", post_template, 0}, {"POST", "/embedding", post_embedding, 0},
    {"POST", "/embeddings", post_embedding, 0},   {"POST", "/infill", post_infill, 0},
    {"POST", "/rerank", slm_native_post_rerank, 0},    {"POST", "/v1/rerank", slm_native_post_rerank, 0},
    {"POST", "/reranking", slm_native_post_rerank, 0}, {"POST", "/v1/reranking", slm_native_post_rerank, 0},
    {"GET", "/props", get_props, 0},              {"GET", "/slots", get_slots, 0},
    {NULL, NULL, NULL, 0},
};
const struct slm_http_table slm_api_native = {.prefix = "/", .routes = routes, .error = native_error};
