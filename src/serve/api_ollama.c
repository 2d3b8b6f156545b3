/* SPDX-License-Identifier: MIT
 * Ollama's API: generate, chat and embeddings, as lines of JSON that end in counts and durations.
 *
 * A stream is the default: one object a line, each with the time it was written and "done": false,
 * and a last one with "done": true, the reason, and how long it all took in nanoseconds. Without a
 * stream that last object has the text too. Calls of tools come whole, with arguments as an object.
 *
 * A request without a prompt or messages only loads its model, or lets it go with keep_alive 0; how
 * long a model stays after an answer is said by each request, in seconds or as Go writes durations.
 *
 * Options are an object of their own with a sampler's settings. Those of hardware are accepted and
 * do nothing, for they are the server's to decide; unknown ones are errors here, where Ollama has a
 * line in a log that nobody reads. Its default is to cut prompts that are too long; here they are
 * errors unless "truncate": true is said, because an answer to half a question looks like an answer.
 *
 * Deliberately not here: what is known about models (api_ollama_models.c). */
#include "serve/api_ollama.h"

#include <math.h>
#include <stdio.h>
#include "base/os.h"
#include "serve/api_chat.h"
#include "serve/api_openai.h"
#include "serve/api_rows.h"
#include "serve/api_write.h"

/* {"error": "..."}: clients show the sentence and look at the status. */
void slm_ollama_error(struct slm_reply *reply, int status, const struct slm_error *error)
{
    struct slm_buf out = {0}, message = {0};
    const bool is_model = status == 404 || strcmp(error->where, "think") == 0; /* sentences that clients know */
    slm_buf_printf(&message, "%s%s%s", is_model ? "" : error->where, *error->where && !is_model ? ": " : "",
                   error->message);
    if (status == 503) slm_buf_puts(&message, " (server busy, please try again)");
    slm_write_begin(&out, NULL, '{');
    slm_write_str(&out, "error", (struct slm_str){message.data, message.len});
    slm_write_end(&out, '}');
    slm_reply_json(reply, status, &out);
    slm_buf_release(&message);
    slm_buf_release(&out);
}

/* In a stream the same object is a line. */
static void broken(struct slm_call *call, const struct slm_error *error)
{
    slm_write_begin(&call->out, NULL, '{');
    slm_write_text(&call->out, "error", error->message);
    slm_write_end(&call->out, '}');
    slm_call_line(call);
}

/* ---- fields ---------------------------------------------------------------------------------------------------- */

#define OF_SERVER "accepted: the server decides this for all requests"

/* Of every request. */
static const struct slm_field base_rows[] = {
    NEEDED_TEXT("model", model, "name of the model"),
    JSON("options", options, "see below"),
    JSON("keep_alive", keep_alive,
         "how long the model stays after this: seconds, or as \"5m\"; negative: for ever; 0: leaves"),
};
/* Of requests that are answered with text. */
static const struct slm_field answer_rows[] = {
    BOOL("stream", stream, "lines of JSON as the answer grows; default true"),
    JSON("format", format, "\"json\", or a JSON Schema the answer must match"),
    JSON("think", think, "true, false, or how much: \"low\", \"medium\", \"high\", \"max\""),
    BOOL("truncate", truncate, "true: a chat that is too long loses its oldest messages; default: an error"),
    BOOL("shift", shift, "true: when the context is full the oldest tokens are forgotten; default: the answer ends"),
    BOOL("logprobs", logprobs, "the log-probability of each token"),
    INT("top_logprobs", n_top, 0, 20, "that many of the likeliest beside it"),
};
static const struct slm_field generate_rows[] = {
    TEXT("prompt", query, "text; empty: the model is only loaded (or unloaded, with keep_alive 0)"),
    TEXT("suffix", suffix, "what follows after the text: the answer is what is between, of models with tokens for it"),
    TEXT("system", system, "a system message"),
    BOOL("raw", raw, "the prompt as it is, without the chat template"),
    ONLY("template", "\"\"", "the model's own template is used"),
    ONLY("context", "[]", "earlier tokens are not taken; use /api/chat"),
    ONLY("images", "[]", "images are not supported"),
};
static const struct slm_field chat_rows[] = {
    JSON("messages", messages, "see below; none: the model is only loaded (or unloaded, with keep_alive 0)"),
    JSON("tools", tools, "functions the model may call, at most 128"),
};
/* Inside of options. */
static const struct slm_field option_rows[] = {
    FLOAT("temperature", temperature, 0, 100, "0 is greedy; default: the model's own"),
    INT("top_k", top_k, -1, 1e9, "0 or -1: off"),
    FLOAT("top_p", top_p, 0, 1, ""),
    FLOAT("min_p", min_p, 0, 1, ""),
    FLOAT("typical_p", typical_p, 0, 1, ""),
    FLOAT("repeat_penalty", repeat_penalty, 0.01, 100, "1: off"),
    FLOAT("presence_penalty", presence_penalty, -2, 2, ""),
    FLOAT("frequency_penalty", frequency_penalty, -2, 2, ""),
    INT("repeat_last_n", penalty_last_n, -1, 1e9, "tokens the penalties look back; -1: all"),
    INT("seed", seed, -1, 9007199254740992.0, "same request, same answer; absent or -1: drawn anew"),
    INT("num_predict", n_predict, -2, 2147483647, "most tokens; 0 or less: until the context is full"),
    INT("num_keep", n_keep, 0, 2147483647, "tokens at the beginning that shifting keeps"),
    INT("num_ctx", n_ctx, 1, 2147483647, "at most what the server was started with, which it has either way"),
    JSON("stop", stop, "a string or up to 16 that end the answer"),
    HINT("num_batch", OF_SERVER), HINT("num_gpu", OF_SERVER), HINT("main_gpu", OF_SERVER),
    HINT("num_thread", OF_SERVER), HINT("use_mmap", OF_SERVER), HINT("use_mlock", OF_SERVER),
    HINT("low_vram", OF_SERVER), HINT("numa", OF_SERVER), HINT("f16_kv", OF_SERVER),
    ONLY("mirostat", "0", "not supported"), ONLY("tfs_z", "1|1.0", "not supported"),
    ONLY("penalize_newline", "true", "not supported"), ONLY("draft_num_predict", "0",
                                                            "the server speculates by itself"),
};
static const struct slm_field embed_rows[] = {
    NEEDED_JSON("input", input, "a string or an array of them"),
    BOOL("truncate", truncate, "true: an input that is too long is cut; default: an error"),
    INT("dimensions", dims, 1, 65536, "keep the first so many numbers, then normalise"),
};
static const struct slm_field embedding_rows[] = {
    NEEDED_JSON("prompt", input, "a string"),
};
static const struct slm_field_set generate_sets[] =
    {SLM_FIELDS(generate_rows), SLM_FIELDS(answer_rows), SLM_FIELDS(base_rows), {NULL, 0}};
static const struct slm_field_set chat_sets[] =
    {SLM_FIELDS(chat_rows), SLM_FIELDS(answer_rows), SLM_FIELDS(base_rows), {NULL, 0}};
static const struct slm_field_set embed_sets[] = {SLM_FIELDS(embed_rows), SLM_FIELDS(base_rows), {NULL, 0}};
static const struct slm_field_set embedding_sets[] = {SLM_FIELDS(embedding_rows), SLM_FIELDS(base_rows), {NULL, 0}};
const struct slm_field_set slm_ollama_option_sets[] = {SLM_FIELDS(option_rows), {NULL, 0}};

/* ---- reading --------------------------------------------------------------------------------------------------- */

/* A duration as Go writes it: "1h30m", "-1s", "300ms"; or seconds. */
slm_status slm_ollama_duration(const json_t *value, double *seconds, struct slm_error *error)
{
    static const struct { const char *unit; double seconds; } units[] = {
        {"ms", 1e-3}, {"us", 1e-6}, {"ns", 1e-9}, {"h", 3600}, {"m", 60}, {"s", 1}};
    if (json_is_number(value)) {
        *seconds = json_number_value(value);
        return SLM_OK;
    }
    const char *at = json_string_value(value);
    const double sign = at && *at == '-' ? -1 : 1;
    double sum = 0;
    bool ok = at && (*at == '-' || *at == '+' ? at[1] : at[0]);
    if (ok && (*at == '-' || *at == '+')) at++;
    while (ok && *at) {
        char *end;
        const bool digit = (*at >= '0' && *at <= '9') || *at == '.';
        const double number = digit ? strtod(at, &end) : 0;
        size_t i = 0;
        if (digit)
            while (i < sizeof units / sizeof *units && strncmp(end, units[i].unit, strlen(units[i].unit)) != 0) i++;
        /* A number alone counts seconds. */
        const bool alone = digit && !*end;
        ok = digit && (alone || i < sizeof units / sizeof *units);
        if (!ok) break;
        sum += number * (alone ? 1 : units[i].seconds);
        at = alone ? end : end + strlen(units[i].unit);
    }
    if (!ok)
        return slm_fail(error, SLM_ERR_ARGUMENT, "keep_alive",
                        "must be seconds, or a duration as \"5m\" or \"1h30m\"");
    *seconds = sign * sum;
    return SLM_OK;
}

/* What generate, chat and embeddings have in common: options, a duration,
 * a form. */
static slm_status check(struct slm_call *call, struct slm_error *error)
{
    struct slm_ask *ask = &call->ask;
    double seconds;
    if (ask->keep_alive) SLM_TRY(slm_ollama_duration(ask->keep_alive, &seconds, error));
    if (ask->options) SLM_TRY(slm_read_fields(ask->options, "options.", slm_ollama_option_sets, ask, error));
    if (ask->logprobs == 1 && ask->n_top == SLM_ABSENT_INT) ask->n_top = 0;
    if (ask->n_predict == 0) ask->n_predict = -1; /* no limit, as there */
    if (ask->logprobs != 1 && ask->n_top > 0)
        return slm_fail(error, SLM_ERR_ARGUMENT, "top_logprobs", "needs logprobs to be true");
    if (json_is_string(ask->format) && strcmp(json_string_value(ask->format), "json") == 0)
        ask->any_json = 1;
    else if (json_is_object(ask->format))
        ask->schema = ask->format;
    else if (ask->format && !(json_is_string(ask->format) && json_string_length(ask->format) == 0))
        return slm_fail(error, SLM_ERR_ARGUMENT, "format", "must be \"json\" or a JSON Schema");
    ask->format = NULL;
    return SLM_OK;
}

/* Raw prompts stand for themselves: there is no place for a system message
 * in them. */
static slm_status check_generate(struct slm_call *call, struct slm_error *error)
{
    if (call->ask.raw == 1 && call->ask.system)
        return slm_fail(error, SLM_ERR_ARGUMENT, "raw", "raw mode does not support template, system, or context");
    return check(call, error);
}

/* true, false, or how much; the words are handed to the template as they
 * are. */
static slm_status read_think(const json_t *think, struct slm_chat_ask *chat, struct slm_error *error)
{
    static const char *const words[] = {"low", "medium", "high", "max"};
    if (!think) return SLM_OK;
    if (json_is_boolean(think)) {
        chat->think = json_is_true(think);
        return SLM_OK;
    }
    for (size_t i = 0; json_is_string(think) && i < sizeof words / sizeof *words; i++) {
        if (strcmp(words[i], json_string_value(think)) != 0) continue;
        chat->think = 1;
        chat->effort = words[i];
        return SLM_OK;
    }
    return slm_fail(error, SLM_ERR_ARGUMENT, "think",
                    "must be true, false, \"low\", \"medium\", \"high\" or \"max\"");
}

/* The context was fixed when the model was loaded: a larger one cannot be
 * had, a smaller one is had anyway. */
static slm_status check_model(struct slm_call *call, struct slm_error *error)
{
    const size_t n_ctx = slm_host_model_n_ctx(call->model);
    if (call->ask.n_ctx != SLM_ABSENT_INT && (uint64_t)call->ask.n_ctx > n_ctx)
        return slm_fail(error, SLM_ERR_LIMIT, "options.num_ctx",
                        "the server was started for %zu tokens a request; slm serve --ctx sets it", n_ctx);
    return SLM_OK;
}

/* One turn of a chat, unless it is raw or the model has no template. */
static slm_status prepare_generate(struct slm_call *call, struct slm_error *error)
{
    const struct slm_ask *ask = &call->ask;
    const struct slm_str prompt = slm_str(ask->query ? ask->query : "");
    struct slm_chat_ask chat = {.think = SLM_ABSENT_BOOL};
    SLM_TRY(check_model(call, error));
    if (prompt.len == 0) return SLM_OK; /* load, or unload */
    if (ask->suffix && *ask->suffix) {
        if (ask->system) return slm_fail(error, SLM_ERR_ARGUMENT, "system", "has no place beside suffix");
        return slm_call_infill(call, ask->query, error);
    }
    if (ask->raw == 1 || !slm_model_chat_template(slm_call_model(call))) {
        int32_t *ids;
        size_t n;
        if (ask->system)
            return slm_fail(error, SLM_ERR_UNSUPPORTED, "system", "the model has no chat template to put it in");
        SLM_TRY(slm_call_tokenize(call, prompt, SLM_TOKENIZE_ADD_SPECIAL, &ids, &n, error));
        return slm_call_add_job(call, ids, n, SLM_SPLIT_NONE, error);
    }
    SLM_TRY(read_think(ask->think, &chat, error));
    chat.messages = json_array();
    if (ask->system)
        json_array_append_new(chat.messages, json_pack("{s:s, s:s}", "role", "system", "content", ask->system));
    json_t *message = json_pack("{s:s, s:s}", "role", "user", "content", prompt.ptr);
    if (json_array_append_new(chat.messages, message) != 0) {
        json_decref(chat.messages);
        return slm_fail_memory(error, "prompt", prompt.len);
    }
    return slm_call_chat(call, &chat, SLM_CHAT_JOB, error);
}

/* Without messages there is nothing to answer: the model is loaded, which
 * was all that was asked. */
static slm_status prepare_chat(struct slm_call *call, struct slm_error *error)
{
    const struct slm_ask *ask = &call->ask;
    struct slm_chat_ask chat = {.think = SLM_ABSENT_BOOL};
    SLM_TRY(check_model(call, error));
    if (!ask->messages || (json_is_array(ask->messages) && json_array_size(ask->messages) == 0)) return SLM_OK;
    SLM_TRY(read_think(ask->think, &chat, error));
    slm_status status = slm_messages_read(ask->messages, "messages", &chat.messages, error);
    if (status == SLM_OK) status = slm_tools_read(ask->tools, &chat.tools, error);
    if (status == SLM_OK) return slm_call_chat(call, &chat, SLM_CHAT_JOB, error);
    json_decref(chat.messages);
    return status;
}

/* Only texts, unlike in OpenAI's API. An empty array is an answer without
 * vectors. */
static slm_status prepare_embed(struct slm_call *call, struct slm_error *error)
{
    const bool is_list = json_is_array(call->ask.input);
    if (!is_list && !json_is_string(call->ask.input))
        return slm_fail(error, SLM_ERR_ARGUMENT, "input", "invalid input type");
    for (size_t i = 0; is_list && i < json_array_size(call->ask.input); i++)
        if (!json_is_string(json_array_get(call->ask.input, i)))
            return slm_fail(error, SLM_ERR_ARGUMENT, "input", "invalid input type");
    SLM_TRY(check_model(call, error));
    if (is_list && json_array_size(call->ask.input) == 0) return SLM_OK;
    return slm_call_embed(call, call->ask.input, "input", error);
}

/* ---- writing --------------------------------------------------------------------------------------------------- */

static bool is_chat(const struct slm_call *call);

/* Counted from the end of this answer on. */
static void keep_model(struct slm_call *call)
{
    double seconds = 0;
    if (!call->ask.keep_alive || slm_ollama_duration(call->ask.keep_alive, &seconds, NULL) != SLM_OK) return;
    slm_host_keep(call->model, seconds < 0 ? -1 : seconds > 1e15 ? -1 : (int64_t)seconds);
}

/* The time is that of each line, not of the request. */
static void write_head(struct slm_call *call)
{
    slm_write_begin(&call->out, NULL, '{');
    slm_write_text(&call->out, "model", call->ask.model);
    slm_write_text(&call->out, "created_at", slm_timestamp(slm_os()->unix_ns()).text);
}

/* Arguments are an object in this API. Calls before `from` were sent in
 * earlier lines. */
static void write_calls(struct slm_buf *out, const struct slm_choice_state *choice, size_t from)
{
    if (from == choice->n_calls) return;
    slm_write_begin(out, "tool_calls", '[');
    for (size_t i = from; i < choice->n_calls; i++) {
        const struct slm_tool_call *call = &choice->calls[i];
        slm_write_begin(out, NULL, '{');
        slm_write_text(out, "id", call->id);
        slm_write_begin(out, "function", '{');
        slm_write_int(out, "index", (int64_t)i);
        slm_write_text(out, "name", call->name);
        slm_write_json(out, "arguments", slm_str(call->arguments));
        slm_write_end(out, '}');
        slm_write_end(out, '}');
    }
    slm_write_end(out, ']');
}

/* "message": {...} of a chat, "response" of the other. */
static void write_texts(struct slm_call *call, struct slm_str content, struct slm_str thinking,
                        const struct slm_choice_state *choice, size_t first_call)
{
    struct slm_buf *out = &call->out;
    const bool chat = is_chat(call);
    if (chat) {
        slm_write_begin(out, "message", '{');
        slm_write_text(out, "role", "assistant");
    }
    slm_write_str(out, chat ? "content" : "response", content);
    if (thinking.len) slm_write_str(out, "thinking", thinking);
    if (chat && choice) write_calls(out, choice, first_call);
    if (chat) slm_write_end(out, '}');
}

/* One line a part; parts without text matter only for their probabilities. */
static void part(struct slm_call *call, struct slm_choice_state *choice, const struct slm_event *event)
{
    const struct slm_part *it = &event->part;
    const struct slm_str text = {it->text, it->text_bytes}, none = {NULL, 0};
    const bool is_call = it->kind == SLM_PART_TOOL_CALL;
    if (!call->streaming) {
        slm_openai_write_logprobs(call, &choice->logprobs, event);
        return;
    }
    if (!is_call && text.len == 0 && event->n_tokens == 0) return;
    write_head(call);
    write_texts(call, it->kind == SLM_PART_CONTENT ? text : none, it->kind == SLM_PART_THINKING ? text : none, choice,
                is_call ? choice->n_calls - 1 : choice->n_calls);
    slm_write_bool(&call->out, "done", false);
    if (event->n_tokens > 0) {
        slm_write_begin(&call->out, "logprobs", '[');
        slm_openai_write_logprobs(call, &call->out, event);
        slm_write_end(&call->out, ']');
    }
    slm_write_end(&call->out, '}');
    slm_call_line(call);
}

/* Nanoseconds, never none: clients divide by them. */
static int64_t ns(double seconds) { return seconds > 0 ? (int64_t)(seconds * 1e9) + 1 : 1; }

/* Durations of the phases; together they are less than the whole, which
 * includes waiting. */
static void write_counts(struct slm_call *call)
{
    struct slm_buf *out = &call->out;
    slm_write_int(out, "total_duration", (int64_t)(slm_os()->now_ns() - call->start_ns));
    slm_write_int(out, "load_duration", call->load_ns + 1);
    slm_write_int(out, "prompt_eval_count", (int64_t)call->usage.n_prompt);
    slm_write_int(out, "prompt_eval_duration", ns(call->usage.prompt_s));
    slm_write_int(out, "eval_count", (int64_t)call->usage.n_generated);
    slm_write_int(out, "eval_duration", ns(call->usage.generate_s));
}

/* The last line: why it ended, and the counts. Without a job it says what
 * became of the model. */
static void end(struct slm_call *call)
{
    const struct slm_str none = {NULL, 0};
    struct slm_buf *out = &call->out;
    keep_model(call);
    write_head(call);
    if (call->n_jobs == 0) { /* only to load, or to leave */
        double seconds = 1;
        if (call->ask.keep_alive) (void)slm_ollama_duration(call->ask.keep_alive, &seconds, NULL);
        write_texts(call, none, none, NULL, 0);
        slm_write_bool(out, "done", true);
        slm_write_text(out, "done_reason", seconds > 0 || seconds < 0 ? "load" : "unload");
        slm_write_end(out, '}');
        slm_call_send(call, 200);
        return;
    }
    struct slm_choice_state *choice = call->choices;
    const struct slm_str content = {choice->content.data, choice->content.len};
    const struct slm_str thinking = {choice->thinking.data, choice->thinking.len};
    write_texts(call, call->streaming ? none : content, call->streaming ? none : thinking, choice,
                call->streaming ? choice->n_calls : 0);
    slm_write_bool(out, "done", true);
    slm_write_text(out, "done_reason",
                   choice->finish == SLM_FINISH_LENGTH || choice->finish == SLM_FINISH_TIMEOUT ? "length" : "stop");
    if (!call->streaming && call->ask.logprobs == 1) {
        slm_write_begin(out, "logprobs", '[');
        slm_buf_add(out, choice->logprobs.data, choice->logprobs.len);
        slm_write_end(out, ']');
    }
    write_counts(call);
    slm_write_end(out, '}');
    if (call->streaming)
        slm_call_line(call);
    else
        slm_call_send(call, 200);
}

/* The older endpoint has one vector, the newer a list. */
static void embedded(struct slm_call *call, const struct slm_event *event)
{
    const bool one = strcmp(call->kind->path, "/api/embeddings") == 0;
    slm_write_begin(&call->out, NULL, '{');
    if (!one) slm_write_text(&call->out, "model", call->ask.model);
    if (!one) slm_write_begin(&call->out, "embeddings", '[');
    for (size_t i = 0; i < call->n_inputs; i++)
        slm_write_vector(&call->out, one ? "embedding" : NULL, event->vectors + i * event->n_dims, event->n_dims);
    if (!one) slm_write_end(&call->out, ']');
}

/* The older endpoint has no counts. */
static void end_embed(struct slm_call *call)
{
    keep_model(call);
    if (call->n_jobs == 0) {
        slm_write_begin(&call->out, NULL, '{');
        slm_write_text(&call->out, "model", call->ask.model);
        slm_write_begin(&call->out, "embeddings", '[');
        slm_write_end(&call->out, ']');
    }
    if (strcmp(call->kind->path, "/api/embed") == 0) {
        slm_write_int(&call->out, "total_duration", (int64_t)(slm_os()->now_ns() - call->start_ns));
        slm_write_int(&call->out, "load_duration", call->load_ns + 1);
        slm_write_int(&call->out, "prompt_eval_count", (int64_t)call->n_prompt);
    }
    slm_write_end(&call->out, '}');
    slm_call_send(call, 200);
}

/* ---- routes ---------------------------------------------------------------------------------------------------- */

const struct slm_call_kind slm_ollama_generate = {
    .method = "POST", .path = "/api/generate", .sets = generate_sets, .table = &slm_api_ollama, .streams = true,
    .busy_status = 503, .check = check_generate, .prepare = prepare_generate, .part = part, .end = end,
    .broken = broken};
const struct slm_call_kind slm_ollama_chat = {
    .method = "POST", .path = "/api/chat", .sets = chat_sets, .table = &slm_api_ollama, .streams = true,
    .busy_status = 503, .check = check, .prepare = prepare_chat, .part = part, .end = end, .broken = broken};
const struct slm_call_kind slm_ollama_embed = {
    .method = "POST", .path = "/api/embed", .sets = embed_sets, .table = &slm_api_ollama, .busy_status = 503,
    .check = check, .prepare = prepare_embed, .embedded = embedded, .end = end_embed, .broken = broken};
const struct slm_call_kind slm_ollama_embedding = {
    .method = "POST", .path = "/api/embeddings", .sets = embedding_sets, .table = &slm_api_ollama, .busy_status = 503,
    .check = check, .prepare = prepare_embed, .embedded = embedded, .end = end_embed, .broken = broken};

/* Two endpoints share everything but what the text is called. */
static bool is_chat(const struct slm_call *call) { return call->kind == &slm_ollama_chat; }

/* The handlers only name their rows. */
void slm_ollama_post_generate(void *app, const struct slm_http_request *request, struct slm_reply *reply)
{
    slm_call_start(app, request, reply, &slm_ollama_generate);
}
void slm_ollama_post_chat(void *app, const struct slm_http_request *request, struct slm_reply *reply)
{
    slm_call_start(app, request, reply, &slm_ollama_chat);
}
void slm_ollama_post_embed(void *app, const struct slm_http_request *request, struct slm_reply *reply)
{
    slm_call_start(app, request, reply, &slm_ollama_embed);
}
void slm_ollama_post_embedding(void *app, const struct slm_http_request *request, struct slm_reply *reply)
{
    slm_call_start(app, request, reply, &slm_ollama_embedding);
}
