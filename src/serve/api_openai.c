/* SPDX-License-Identifier: MIT
 * OpenAI's chat completions and completions, with what vLLM adds to them, as their clients read them.
 *
 * A chat that is streamed is a chunk for each choice that says who speaks, then a chunk for each
 * piece: text as "content", thinking as "reasoning_content", a call of a tool whole in "tool_calls".
 * A chunk with an empty delta brings the reason why a choice ended; with include_usage one more, and
 * without choices, brings the counts; "[DONE]" is the last event. All chunks have the same id.
 *
 * Logprobs of chats are a list of objects, those of completions four lists side by side; both come
 * with the piece of text that their tokens made, which may be empty where a character is not whole.
 * A completion may have several prompts: each is a job of its own, and choices count through them.
 *
 * Several names of one thing (max_tokens and max_completion_tokens) lead to one place; what OpenAI
 * has and slm has not (stored answers, audio, web search) has rows too, so that it is refused with a
 * reason instead of as an unknown word. Deliberately not here: models and embeddings (api_models.c),
 * responses (api_responses.c). */
#include "serve/api_openai.h"

#include <math.h>
#include <stdio.h>
#include "base/os.h"
#include "serve/api_chat.h"
#include "serve/api_rows.h"
#include "serve/api_write.h"

/* ---- errors ---------------------------------------------------------------------------------------------------- */

/* What clients make exceptions of: status, type, code. */
static const struct error_row { int status; const char *type, *code; } error_rows[] = {
    {400, "invalid_request_error", NULL},        {401, "invalid_request_error", "invalid_api_key"},
    {403, "permission_error", NULL},             {404, "invalid_request_error", "not_found"},
    {405, "invalid_request_error", "method_not_allowed"}, {413, "invalid_request_error", "request_too_large"},
    {415, "invalid_request_error", "unsupported_media_type"},
    {429, "rate_limit_error", "rate_limit_exceeded"}, {501, "invalid_request_error", "not_implemented"},
    {503, "server_error", "unavailable"}, {504, "timeout_error", "request_timeout"},
};

/* The code is what programs look at: it follows from the kind of error
 * before it follows from the status. */
void slm_openai_write_error(struct slm_buf *out, int status, const struct slm_error *error)
{
    static const struct error_row other = {500, "server_error", "server_error"};
    const struct error_row *row = &other;
    for (size_t i = 0; i < sizeof error_rows / sizeof *error_rows; i++)
        if (error_rows[i].status == status) row = &error_rows[i];
    const bool is_model = status == 404 && strcmp(error->where, "model") == 0;
    const char *code = is_model ? "model_not_found"
                     : error->status == SLM_ERR_CONTEXT ? "context_length_exceeded"
                     : error->status == SLM_ERR_DEAD_END ? "grammar_dead_end"
                     : error->status == SLM_ERR_UNSUPPORTED && status == 400 ? "unsupported_parameter" : row->code;
    slm_write_begin(out, NULL, '{');
    slm_write_begin(out, "error", '{');
    struct slm_buf message = {0};
    slm_buf_printf(&message, "%s%s%s", error->where, *error->where ? ": " : "", error->message);
    slm_write_str(out, "message", (struct slm_str){message.data, message.len});
    slm_buf_release(&message);
    slm_write_text(out, "type", row->type);
    slm_write_text(out, "param", status < 500 && *error->where ? error->where : NULL);
    slm_write_text(out, "code", code);
    slm_write_end(out, '}');
    slm_write_end(out, '}');
}

/* The whole reply, for errors before anything was sent. */
void slm_openai_error(struct slm_reply *reply, int status, const struct slm_error *error)
{
    struct slm_buf out = {0};
    slm_openai_write_error(&out, status, error);
    slm_reply_json(reply, status, &out);
    slm_buf_release(&out);
}

/* In a stream the same object is an event; no [DONE] follows. */
void slm_openai_broken(struct slm_call *call, const struct slm_error *error)
{
    slm_openai_write_error(&call->out, slm_call_status(error), error);
    slm_call_event(call, NULL);
}

/* ---- fields ---------------------------------------------------------------------------------------------------- */

#define NOT_HERE "not supported"

/* Of chats and completions alike. Words of other servers for the same are here too (vLLM, llama.cpp):
 * their clients send them to any address that looks like OpenAI's. */
const struct slm_field slm_openai_sampler_rows[] = {
    TEXT("model", model, "name of the model; absent: the one that was served first"),
    BOOL("stream", stream, "server-sent events as the answer grows"),
    FLOAT("temperature", temperature, 0, 100, "0 is greedy; default: the model's own"),
    FLOAT("top_p", top_p, 0, 1, "default: the model's own"),
    INT("top_k", top_k, -1, 1e9, "0 or -1: off"),
    FLOAT("min_p", min_p, 0, 1, "least probability beside the likeliest token's"),
    FLOAT("typical_p", typical_p, 0, 1, "locally typical sampling"),
    FLOAT("repetition_penalty", repeat_penalty, 0.01, 100, "1: off"),
    FLOAT("repeat_penalty", repeat_penalty, 0.01, 100, "the same by another name: give one of the two"),
    FLOAT("presence_penalty", presence_penalty, -2, 2, ""),
    FLOAT("frequency_penalty", frequency_penalty, -2, 2, ""),
    INT("seed", seed, -1, 9007199254740992.0, "same request, same answer; absent or -1: drawn anew"),
    JSON("stop", stop, "a string or up to 16 that end the answer"),
    BOOL("ignore_eos", ignore_eog, "go on past the model's end of answer"),
    JSON("logit_bias", logit_bias, "token id to bias from -100 to 100"),
    INT("n", n_choices, 1, 8, "choices; choice i draws with seed + i"),
    JSON("stream_options", stream_options, "{\"include_usage\": true}: a last event with the usage"),
    INT("priority", priority, -1000000, 1000000, "higher first"),
    BOOL("cache_prompt", cache, "false: neither use nor leave computed prompts"),
    JSON("guided_json", schema, "a JSON Schema the answer must match"),
    TEXT("guided_grammar", grammar, "a GBNF grammar the answer must match"),
    TEXT("guided_regex", regex, "a regular expression the answer must match"),
    JSON("guided_choice", choice_list, "strings, one of which the answer must be"),
    JSON("structured_outputs", structured, "one of json, regex, choice, grammar, json_object"),
    HINT("user", "accepted, without effect"),
    HINT("metadata", "accepted, without effect"),
    HINT("safety_identifier", "accepted, without effect"),
    HINT("prompt_cache_key", "accepted: prompts are cached by content"),
    HINT("prompt_cache_retention", "accepted, without effect"),
    ONLY("store", "false", "answers are not stored"),
    ONLY("service_tier", "\"auto\"|\"default\"", "there is one tier"),
    ONLY("best_of", "1", NOT_HERE),
    ONLY("cache_salt", "", "prompts are cached for all clients"),
    ONLY("min_tokens", "0", NOT_HERE),
    ONLY("stop_token_ids", "[]", "use stop"),
    ONLY("use_beam_search", "false", NOT_HERE),
    ONLY("length_penalty", "1|1.0", NOT_HERE),
    ONLY("skip_special_tokens", "true", NOT_HERE),
    ONLY("spaces_between_special_tokens", "true", NOT_HERE),
    ONLY("include_stop_str_in_output", "false", NOT_HERE),
    ONLY("truncate_prompt_tokens", "", "a prompt that is too long is an error"),
    ONLY("prompt_logprobs", "", NOT_HERE),
};
const size_t slm_openai_n_sampler_rows = sizeof slm_openai_sampler_rows / sizeof *slm_openai_sampler_rows;
#define SAMPLER_SET {slm_openai_sampler_rows, sizeof slm_openai_sampler_rows / sizeof *slm_openai_sampler_rows}

/* Of chats alone. max_tokens is the older name; the newer one counts. */
static const struct slm_field chat_rows[] = {
    NEEDED_JSON("messages", messages, "see below"),
    INT("max_tokens", n_predict, 1, 2147483647, "most tokens of a choice; absent: until the context is full"),
    INT("max_completion_tokens", n_predict_new, 1, 2147483647, "the same; the one that counts when both are given"),
    BOOL("logprobs", logprobs, "the log-probability of each token"),
    INT("top_logprobs", n_top, 0, 20, "that many of the likeliest beside it; needs logprobs"),
    JSON("response_format", format,
         "{\"type\": \"text\"}, \"json_object\", or \"json_schema\" with json_schema.schema"),
    JSON("tools", tools, "functions the model may call, at most 128"),
    JSON("tool_choice", tool_choice,
         "auto, none, required, or {\"type\": \"function\", \"function\": {\"name\": ...}}"),
    BOOL("parallel_tool_calls", parallel, "false: at most one call"),
    TEXT("reasoning_effort", effort, "none, minimal, low, medium, high, xhigh or max: for models that think"),
    JSON("chat_template_kwargs", variables, "variables of the chat template, as {\"enable_thinking\": false}"),
    BOOL("add_generation_prompt", add_prompt, "false: the last message is continued as it stands"),
    ONLY("modalities", "[\"text\"]", "only text is supported"),
    ONLY("audio", "", NOT_HERE), ONLY("prediction", "", NOT_HERE), ONLY("web_search_options", "", NOT_HERE),
    ONLY("functions", "", "replaced by tools"), ONLY("function_call", "", "replaced by tool_choice"),
    ONLY("verbosity", "\"medium\"", NOT_HERE),
    ONLY("continue_final_message", "false", NOT_HERE), ONLY("echo", "false", NOT_HERE),
    ONLY("add_special_tokens", "false", "the template has them"), ONLY("chat_template", "", NOT_HERE),
    ONLY("reasoning_format", "\"auto\"|\"deepseek\"", "thinking is reasoning_content"),
};
static const struct slm_field_set chat_sets[] = {SLM_FIELDS(chat_rows), SAMPLER_SET, {NULL, 0}};

/* Of completions alone. */
static const struct slm_field completion_rows[] = {
    NEEDED_JSON("prompt", prompt, "a string, token ids, or an array of either: at most 64"),
    INT("max_tokens", n_predict, 0, 2147483647, "most tokens of a choice; default 16; 0: none, for echo or the cache"),
    BOOL("echo", echo, "the prompt comes first, with its logprobs when those are asked for"),
    INT("logprobs", n_top, 0, 20, "log-probabilities, and that many of the likeliest"),
    TEXT("suffix", suffix, "what follows after the text: for models with tokens to fill in"),
    JSON("response_format", format, "as in chats"),
    ONLY("add_special_tokens", "true", NOT_HERE),
};
static const struct slm_field_set completion_sets[] = {SLM_FIELDS(completion_rows), SAMPLER_SET, {NULL, 0}};

/* Inside of stream_options. */
static const struct slm_field stream_rows[] = {
    BOOL("include_usage", include_usage, ""),
    HINT("include_obfuscation", ""),
    ONLY("continuous_usage_stats", "false", NOT_HERE),
};
static const struct slm_field_set stream_sets[] = {SLM_FIELDS(stream_rows), {NULL, 0}};

/* ---- chats: reading -------------------------------------------------------------------------------------------- */

/* Options of a stream make no sense without one: likely a mistake, so it
 * is said. */
static slm_status check_stream(struct slm_call *call, struct slm_error *error)
{
    if (!call->ask.stream_options) return SLM_OK;
    if (!call->streaming)
        return slm_fail(error, SLM_ERR_ARGUMENT, "stream_options", "is for streams: set stream to true");
    return slm_read_fields(call->ask.stream_options, "stream_options.", stream_sets, &call->ask, error);
}

/* What rows cannot say: fields that need each other, and two names for one
 * number. */
static slm_status check_chat(struct slm_call *call, struct slm_error *error)
{
    struct slm_ask *ask = &call->ask;
    if (ask->n_top != SLM_ABSENT_INT && ask->logprobs != 1)
        return slm_fail(error, SLM_ERR_ARGUMENT, "top_logprobs", "needs logprobs to be true");
    if (ask->logprobs == 1 && ask->n_top == SLM_ABSENT_INT) ask->n_top = 0;
    if (ask->n_predict_new != SLM_ABSENT_INT) ask->n_predict = ask->n_predict_new;
    slm_call_new_id(call->id, sizeof call->id, "chatcmpl-");
    return check_stream(call, error);
}

/* auto, none, required, or a function by name, nested as chats have it or flat as responses do. */
static slm_status read_tool_choice(struct slm_call *call, struct slm_chat_ask *chat, struct slm_error *error)
{
    const json_t *choice = call->ask.tool_choice;
    if (!choice) return SLM_OK;
    if (json_is_string(choice)) {
        const char *word = json_string_value(choice);
        if (strcmp(word, "auto") == 0) return SLM_OK;
        if (strcmp(word, "none") == 0) {
            chat->no_tools = true;
            return SLM_OK;
        }
        if (strcmp(word, "required") == 0) return slm_call_force(call, chat, "", error);
        return slm_fail(error, SLM_ERR_ARGUMENT, "tool_choice",
                        "must be auto, none, required or a function, not '%.40s'",
                        word);
    }
    const json_t *function = json_object_get(choice, "function");
    const char *type = json_string_value(json_object_get(choice, "type"));
    const char *name = json_string_value(json_object_get(function ? function : choice, "name"));
    if (!type || strcmp(type, "function") != 0 || !name)
        return slm_fail(error, SLM_ERR_ARGUMENT, "tool_choice", "must be auto, none, required or a function by name");
    return slm_call_force(call, chat, name, error);
}

/* Words of OpenAI's and others'; none is the one that turns thinking off. */
static slm_status read_effort(const char *effort, struct slm_chat_ask *chat, struct slm_error *error)
{
    static const char *const words[] = {"none", "minimal", "low", "medium", "high", "xhigh", "max"};
    if (!effort) return SLM_OK;
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (strcmp(words[i], effort) != 0) continue;
        chat->think = i > 0;
        chat->effort = i > 0 ? effort : NULL;
        return SLM_OK;
    }
    return slm_fail(error, SLM_ERR_ARGUMENT, "reasoning_effort",
                    "must be none, minimal, low, medium, high, xhigh or max, not '%.40s'", effort);
}

/* Tools are known here, so the choice among them can be checked. */
slm_status slm_openai_use_chat(struct slm_call *call, struct slm_chat_ask *chat, enum slm_chat_use use,
                               struct slm_error *error)
{
    slm_status status = read_tool_choice(call, chat, error);
    if (status == SLM_OK) status = read_effort(call->ask.effort, chat, error);
    if (status == SLM_OK) return slm_call_chat(call, chat, use, error);
    json_decref(chat->messages);
    json_decref(chat->tools);
    return status;
}

/* From the two arrays of the request to whatever the chat is used for. */
slm_status slm_openai_chat(struct slm_call *call, enum slm_chat_use use, struct slm_error *error)
{
    struct slm_chat_ask chat = {.think = SLM_ABSENT_BOOL, .continues = call->ask.add_prompt == 0};
    SLM_TRY(slm_messages_read(call->ask.messages, "messages", &chat.messages, error));
    const slm_status status = slm_tools_read(call->ask.tools, &chat.tools, error);
    if (status == SLM_OK) return slm_openai_use_chat(call, &chat, use, error);
    json_decref(chat.messages);
    return status;
}

/* An answer: one job of the call's choices. */
static slm_status prepare_chat(struct slm_call *call, struct slm_error *error)
{
    return slm_openai_chat(call, SLM_CHAT_JOB, error);
}

/* ---- chats: writing -------------------------------------------------------------------------------------------- */

/* An answer that was cut is cut, also when it called tools before. */
const char *slm_openai_finish(const struct slm_choice_state *choice)
{
    if (choice->n_calls > 0 && choice->finish != SLM_FINISH_LENGTH) return "tool_calls";
    return choice->finish == SLM_FINISH_LENGTH || choice->finish == SLM_FINISH_TIMEOUT ? "length" : "stop";
}

/* Counts of all choices together; the prompt counts once, as it is
 * computed once. */
void slm_openai_write_usage(struct slm_buf *out, const char *name, const struct slm_usage *usage)
{
    slm_write_begin(out, name, '{');
    slm_write_int(out, "prompt_tokens", (int64_t)usage->n_prompt);
    slm_write_int(out, "completion_tokens", (int64_t)usage->n_generated);
    slm_write_int(out, "total_tokens", (int64_t)(usage->n_prompt + usage->n_generated));
    slm_write_begin(out, "prompt_tokens_details", '{');
    slm_write_int(out, "cached_tokens", (int64_t)usage->n_cached);
    slm_write_end(out, '}');
    slm_write_begin(out, "completion_tokens_details", '{');
    slm_write_int(out, "reasoning_tokens", (int64_t)usage->n_thinking);
    slm_write_end(out, '}');
    slm_write_end(out, '}');
}

/* A token may be a part of a character: its bytes are exact, its text has
 * a replacement then. */
static void write_token(struct slm_buf *out, struct slm_str piece, double logprob)
{
    slm_write_str(out, "token", piece);
    slm_write_float(out, "logprob", logprob);
    slm_write_begin(out, "bytes", '[');
    for (size_t i = 0; i < piece.len; i++) slm_write_int(out, NULL, (unsigned char)piece.ptr[i]);
    slm_write_end(out, ']');
}

/* One object a token, with its alternatives likeliest first. */
void slm_openai_write_logprobs(struct slm_call *call, struct slm_buf *out, const struct slm_event *event)
{
    for (size_t i = 0; i < event->n_tokens; i++) {
        const struct slm_job_token *token = &event->tokens[i];
        struct slm_buf piece = {0};
        slm_write_begin(out, NULL, '{');
        write_token(out, token->piece, (double)token->logprob);
        slm_write_begin(out, "top_logprobs", '[');
        for (size_t k = 0; k < token->n_top; k++) {
            slm_buf_clear(&piece);
            slm_call_token_text(call, token->top[k].id, &piece);
            slm_write_begin(out, NULL, '{');
            write_token(out, (struct slm_str){piece.data, piece.len}, (double)token->top[k].logprob);
            slm_write_end(out, '}');
        }
        slm_write_end(out, ']');
        slm_write_end(out, '}');
        slm_buf_release(&piece);
    }
}

/* What every object of an answer begins with; the id is the same in all
 * chunks of a stream. */
static void write_head(struct slm_call *call, const char *object)
{
    slm_write_begin(&call->out, NULL, '{');
    slm_write_text(&call->out, "id", call->id);
    slm_write_text(&call->out, "object", object);
    slm_write_int(&call->out, "created", call->created_ns / 1000000000);
    slm_write_text(&call->out, "model", slm_host_model_name(call->model));
    slm_write_text(&call->out, "system_fingerprint", "fp_slm");
}

/* Choices are counted through all prompts of a request. */
static int64_t index_of(const struct slm_call *call, const struct slm_choice_state *choice)
{
    return choice - call->choices;
}

/* {..., "choices": [{"index": 0, "delta": { : open; end_chunk closes and sends. */
static void begin_chunk(struct slm_call *call, const struct slm_choice_state *choice)
{
    write_head(call, "chat.completion.chunk");
    slm_write_begin(&call->out, "choices", '[');
    slm_write_begin(&call->out, NULL, '{');
    slm_write_int(&call->out, "index", index_of(call, choice));
    slm_write_begin(&call->out, "delta", '{');
}

/* event: with the probabilities of the tokens that this piece came with,
 * or NULL. */
static void end_chunk(struct slm_call *call, const struct slm_event *event, const char *finish)
{
    slm_write_end(&call->out, '}');
    if (event && event->n_tokens > 0) {
        slm_write_begin(&call->out, "logprobs", '{');
        slm_write_begin(&call->out, "content", '[');
        slm_openai_write_logprobs(call, &call->out, event);
        slm_write_end(&call->out, ']');
        slm_write_null(&call->out, "refusal");
        slm_write_end(&call->out, '}');
    } else {
        slm_write_null(&call->out, "logprobs");
    }
    slm_write_text(&call->out, "finish_reason", finish);
    slm_write_end(&call->out, '}');
    slm_write_end(&call->out, ']');
    if (call->ask.include_usage == 1) slm_write_null(&call->out, "usage");
    slm_write_end(&call->out, '}');
    slm_call_event(call, NULL);
}

/* The first chunk of each choice says who speaks. */
static void begin_chat(struct slm_call *call)
{
    for (size_t i = 0; i < call->n_jobs * call->n_per_job; i++) {
        begin_chunk(call, &call->choices[i]);
        slm_write_text(&call->out, "role", "assistant");
        slm_write_text(&call->out, "content", "");
        end_chunk(call, NULL, NULL);
    }
}

/* index: in streams, where calls of several chunks belong together; -1
 * elsewhere. */
static void write_tool_call(struct slm_buf *out, const struct slm_tool_call *tool, int64_t index)
{
    slm_write_begin(out, NULL, '{');
    if (index >= 0) slm_write_int(out, "index", index);
    slm_write_text(out, "id", tool->id);
    slm_write_text(out, "type", "function");
    slm_write_begin(out, "function", '{');
    slm_write_text(out, "name", tool->name);
    slm_write_text(out, "arguments", tool->arguments);
    slm_write_end(out, '}');
    slm_write_end(out, '}');
}

/* A piece of one kind is a delta of that field. Pieces without text may
 * still have tokens. */
static void part_chat(struct slm_call *call, struct slm_choice_state *choice, const struct slm_event *event)
{
    const struct slm_part *part = &event->part;
    const bool is_call = part->kind == SLM_PART_TOOL_CALL;
    if (!call->streaming) {
        slm_openai_write_logprobs(call, &choice->logprobs, event);
        return;
    }
    if (!is_call && part->text_bytes == 0 && event->n_tokens == 0) return;
    begin_chunk(call, choice);
    if (is_call) {
        slm_write_begin(&call->out, "tool_calls", '[');
        write_tool_call(&call->out, &choice->calls[choice->n_calls - 1], (int64_t)choice->n_calls - 1);
        slm_write_end(&call->out, ']');
    } else if (part->text_bytes > 0) {
        slm_write_str(&call->out, part->kind == SLM_PART_THINKING ? "reasoning_content" : "content",
                      (struct slm_str){part->text, part->text_bytes});
    }
    end_chunk(call, event, NULL);
}

/* An empty delta with the reason, for each choice when it ends. */
static void finished_chat(struct slm_call *call, struct slm_choice_state *choice, const struct slm_event *event)
{
    (void)event;
    if (!call->streaming) return;
    begin_chunk(call, choice);
    end_chunk(call, NULL, slm_openai_finish(choice));
}

/* The end of a stream of either kind. */
static void end_stream(struct slm_call *call, const char *object)
{
    if (call->ask.include_usage == 1) {
        write_head(call, object);
        slm_write_begin(&call->out, "choices", '[');
        slm_write_end(&call->out, ']');
        slm_openai_write_usage(&call->out, "usage", &call->usage);
        slm_write_end(&call->out, '}');
        slm_call_event(call, NULL);
    }
    slm_buf_puts(&call->out, "[DONE]");
    slm_call_event(call, NULL);
}

/* content is null beside calls when there is no text, as clients expect
 * it. */
static void write_message(struct slm_call *call, struct slm_choice_state *choice)
{
    struct slm_buf *out = &call->out;
    slm_write_begin(out, "message", '{');
    slm_write_text(out, "role", "assistant");
    if (choice->content.len == 0 && choice->n_calls > 0)
        slm_write_null(out, "content");
    else
        slm_write_str(out, "content", (struct slm_str){choice->content.data, choice->content.len});
    slm_write_null(out, "refusal");
    if (choice->thinking.len)
        slm_write_str(out, "reasoning_content", (struct slm_str){choice->thinking.data, choice->thinking.len});
    if (choice->n_calls > 0) {
        slm_write_begin(out, "tool_calls", '[');
        for (size_t i = 0; i < choice->n_calls; i++) write_tool_call(out, &choice->calls[i], -1);
        slm_write_end(out, ']');
    }
    slm_write_end(out, '}');
}

/* The whole answer: choices in their order, whichever ended first. */
static void end_chat(struct slm_call *call)
{
    struct slm_buf *out = &call->out;
    if (call->streaming) {
        end_stream(call, "chat.completion.chunk");
        return;
    }
    write_head(call, "chat.completion");
    slm_write_begin(out, "choices", '[');
    for (size_t i = 0; i < call->n_jobs * call->n_per_job; i++) {
        struct slm_choice_state *choice = &call->choices[i];
        slm_write_begin(out, NULL, '{');
        slm_write_int(out, "index", (int64_t)i);
        write_message(call, choice);
        if (call->ask.logprobs == 1) {
            slm_write_begin(out, "logprobs", '{');
            slm_write_begin(out, "content", '[');
            slm_buf_add(out, choice->logprobs.data, choice->logprobs.len);
            slm_write_end(out, ']');
            slm_write_null(out, "refusal");
            slm_write_end(out, '}');
        } else {
            slm_write_null(out, "logprobs");
        }
        slm_write_text(out, "finish_reason", slm_openai_finish(choice));
        slm_write_end(out, '}');
    }
    slm_write_end(out, ']');
    slm_openai_write_usage(out, "usage", &call->usage);
    slm_write_end(out, '}');
    slm_call_send(call, 200);
}

/* ---- completions: reading -------------------------------------------------------------------------------------- */

/* Sixteen tokens, as OpenAI has it: who wants more says so. */
static slm_status check_completion(struct slm_call *call, struct slm_error *error)
{
    if (call->ask.n_predict == SLM_ABSENT_INT) call->ask.n_predict = 16;
    slm_call_new_id(call->id, sizeof call->id, "cmpl-");
    if (call->ask.suffix && *call->ask.suffix && (!json_is_string(call->ask.prompt) || call->ask.echo == 1))
        return slm_fail(error, SLM_ERR_ARGUMENT, "suffix", "needs a prompt that is one text, and no echo");
    return check_stream(call, error);
}

/* What a prompt is echoed as: the text that was given, or that of the tokens. */
static char *echo_of(struct slm_call *call, const json_t *prompt, const int32_t *ids, size_t n,
                     struct slm_error *error)
{
    size_t bytes = 0;
    if (json_is_string(prompt)) return slm_call_copy(slm_str(json_string_value(prompt)), error);
    if (slm_detokenize(slm_call_model(call), ids, n, true, NULL, 0, &bytes, error) != SLM_OK) return NULL;
    char *text = slm_alloc(bytes + 1, 1, "echo", error);
    if (text) (void)slm_detokenize(slm_call_model(call), ids, n, true, text, bytes, &bytes, error);
    return text;
}

/* One prompt: text or tokens. */
static slm_status add_prompt(struct slm_call *call, const json_t *prompt, const char *path, struct slm_error *error)
{
    int32_t *ids = NULL;
    size_t n = 0;
    if (call->ask.suffix && *call->ask.suffix) /* prompt is one text: checked */
        return slm_call_infill(call, json_string_value(prompt), error);
    if (json_is_string(prompt)) {
        const struct slm_str text = {json_string_value(prompt), json_string_length(prompt)};
        SLM_TRY(slm_call_tokenize(call, text, SLM_TOKENIZE_ADD_SPECIAL, &ids, &n, error));
    } else if (json_is_array(prompt)) {
        SLM_TRY(slm_call_read_ids(call, prompt, path, &ids, &n, error));
    } else {
        return slm_fail(error, SLM_ERR_ARGUMENT, path, "must be a string or an array of token ids, not %s",
                        slm_json_kind(prompt));
    }
    char *text = call->ask.echo == 1 ? echo_of(call, prompt, ids, n, error) : NULL;
    const slm_status status = slm_call_add_job(call, ids, n, SLM_SPLIT_NONE, error);
    if (status == SLM_OK)
        call->echoes[call->n_jobs - 1] = text;
    else
        slm_release(text);
    return status == SLM_OK && call->ask.echo == 1 && !text ? SLM_ERR_MEMORY : status;
}

/* A string, an array of ids, or an array of either: what the first element
 * is decides. */
static slm_status prepare_completion(struct slm_call *call, struct slm_error *error)
{
    const json_t *prompt = call->ask.prompt;
    const json_t *first = json_is_array(prompt) ? json_array_get(prompt, 0) : NULL;
    if (!first || json_is_integer(first)) return add_prompt(call, prompt, "prompt", error);
    if (json_array_size(prompt) > SLM_MAX_PROMPTS)
        return slm_fail(error, SLM_ERR_LIMIT, "prompt", "has %zu prompts, at most %d are allowed",
                        json_array_size(prompt), SLM_MAX_PROMPTS);
    for (size_t i = 0; i < json_array_size(prompt); i++)
        SLM_TRY(add_prompt(call, json_array_get(prompt, i), slm_path("prompt[%zu]", i).text, error));
    return SLM_OK;
}

/* ---- completions: writing -------------------------------------------------------------------------------------- */

/* Logprobs of completions are lists side by side: they grow in buffers of the choice. */
static void add_logprobs(struct slm_call *call, struct slm_choice_state *choice, const struct slm_event *event,
                         size_t text_offset)
{
    for (size_t i = 0; i < event->n_tokens; i++) {
        const struct slm_job_token *token = &event->tokens[i];
        struct slm_buf piece = {0};
        /* The first token of all has no probability: nothing was before it. */
        const bool first = event->kind == SLM_EVENT_PROMPT && choice->tokens.len == 0;
        slm_write_str(&choice->tokens, NULL, token->piece);
        slm_write_float(&choice->token_logprobs, NULL, first ? (double)NAN : (double)token->logprob);
        slm_write_int(&choice->text_offsets, NULL, (int64_t)text_offset);
        if (token->n_top == 0 || first) {
            slm_write_null(&choice->top, NULL);
        } else {
            slm_write_begin(&choice->top, NULL, '{');
            for (size_t k = 0; k < token->n_top; k++) {
                slm_buf_clear(&piece);
                slm_call_token_text(call, token->top[k].id, &piece);
                slm_buf_puts(&piece, "");
                slm_write_float(&choice->top, piece.data, (double)token->top[k].logprob);
            }
            slm_write_end(&choice->top, '}');
        }
        text_offset += token->piece.len;
        slm_buf_release(&piece);
    }
}

/* Writes the lists and empties them, so that a stream sends each entry
 * once. */
static void write_logprobs(struct slm_call *call, struct slm_choice_state *choice)
{
    struct slm_buf *out = &call->out;
    if (call->ask.n_top == SLM_ABSENT_INT) {
        slm_write_null(out, "logprobs");
        return;
    }
    const struct { const char *name; struct slm_buf *list; } rows[] = {
        {"text_offset", &choice->text_offsets}, {"tokens", &choice->tokens},
        {"token_logprobs", &choice->token_logprobs}, {"top_logprobs", &choice->top}};
    slm_write_begin(out, "logprobs", '{');
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        slm_write_begin(out, rows[i].name, '[');
        if (rows[i].list->len) slm_buf_add(out, rows[i].list->data, rows[i].list->len);
        slm_write_end(out, ']');
        slm_buf_clear(rows[i].list);
    }
    slm_write_end(out, '}');
}

/* finish NULL: more follows. */
static void write_choice(struct slm_call *call, struct slm_choice_state *choice, struct slm_str text,
                         const char *finish)
{
    struct slm_buf *out = &call->out;
    slm_write_begin(out, NULL, '{');
    slm_write_int(out, "index", index_of(call, choice));
    slm_write_str(out, "text", text);
    write_logprobs(call, choice);
    slm_write_text(out, "finish_reason", finish);
    slm_write_end(out, '}');
}

/* A chunk is shaped like an answer, with a piece for its text. */
static void completion_chunk(struct slm_call *call, struct slm_choice_state *choice, struct slm_str text,
                             const char *finish)
{
    write_head(call, "text_completion");
    slm_write_begin(&call->out, "choices", '[');
    write_choice(call, choice, text, finish);
    slm_write_end(&call->out, ']');
    if (call->ask.include_usage == 1) slm_write_null(&call->out, "usage");
    slm_write_end(&call->out, '}');
    slm_call_event(call, NULL);
}

/* An echo is the first piece of a stream. */
static void begin_completion(struct slm_call *call)
{
    for (size_t i = 0; call->ask.echo == 1 && i < call->n_jobs * call->n_per_job; i++)
        completion_chunk(call, &call->choices[i], slm_str(call->echoes[i / call->n_per_job]), NULL);
}

/* All text is content here: nothing is told apart. */
static void part_completion(struct slm_call *call, struct slm_choice_state *choice, const struct slm_event *event)
{
    const struct slm_str text = {event->part.text, event->part.text_bytes};
    add_logprobs(call, choice, event, choice->n_text);
    if (event->kind == SLM_EVENT_PROMPT) /* its text was echoed as it was given */
        for (size_t i = 0; i < event->n_tokens; i++) choice->n_text += event->tokens[i].piece.len;
    if (call->streaming && (text.len > 0 || event->n_tokens > 0)) completion_chunk(call, choice, text, NULL);
}

/* An empty piece with the reason. */
static void finished_completion(struct slm_call *call, struct slm_choice_state *choice, const struct slm_event *event)
{
    (void)event;
    if (call->streaming) completion_chunk(call, choice, (struct slm_str){NULL, 0}, slm_openai_finish(choice));
}

/* The whole answer; choices of the first prompt first. */
static void end_completion(struct slm_call *call)
{
    if (call->streaming) {
        end_stream(call, "text_completion");
        return;
    }
    write_head(call, "text_completion");
    slm_write_begin(&call->out, "choices", '[');
    for (size_t i = 0; i < call->n_jobs * call->n_per_job; i++) {
        struct slm_choice_state *choice = &call->choices[i];
        struct slm_buf text = {0};
        if (call->ask.echo == 1) slm_buf_puts(&text, call->echoes[i / call->n_per_job]);
        slm_buf_add(&text, choice->content.data, choice->content.len);
        write_choice(call, choice, (struct slm_str){text.data, text.len}, slm_openai_finish(choice));
        slm_buf_release(&text);
    }
    slm_write_end(&call->out, ']');
    slm_openai_write_usage(&call->out, "usage", &call->usage);
    slm_write_end(&call->out, '}');
    slm_call_send(call, 200);
}

/* ---- routes ---------------------------------------------------------------------------------------------------- */

const struct slm_call_kind slm_openai_chats = {
    .method = "POST", .path = "/v1/chat/completions", .sets = chat_sets, .table = &slm_api_openai,
    .check = check_chat, .prepare = prepare_chat, .begin = begin_chat, .part = part_chat, .finished = finished_chat,
    .end = end_chat, .broken = slm_openai_broken};
const struct slm_call_kind slm_openai_completions = {
    .method = "POST", .path = "/v1/completions", .sets = completion_sets, .table = &slm_api_openai,
    .check = check_completion, .prepare = prepare_completion, .begin = begin_completion, .part = part_completion,
    .finished = finished_completion, .end = end_completion, .broken = slm_openai_broken};

/* The handlers only name their rows. */
static void post_chat(void *app, const struct slm_http_request *request, struct slm_reply *reply)
{
    slm_call_start(app, request, reply, &slm_openai_chats);
}

static void post_completion(void *app, const struct slm_http_request *request, struct slm_reply *reply)
{
    slm_call_start(app, request, reply, &slm_openai_completions);
}

/* Embeddings and models are answered by api_models.c. */
static const struct slm_http_route routes[] = {
    {"POST", "/v1/chat/completions", post_chat, 0},
    {"POST", "/chat/completions", post_chat, 0},
    {"POST", "/v1/completions", post_completion, 0},
    {"POST", "/v1/embeddings", slm_openai_post_embeddings, 0},
    {"GET", "/v1/models", slm_openai_get_models, 0},
    {"GET", "/v1/models/:model", slm_openai_get_model, 0},
    {NULL, NULL, NULL, 0},
};
const struct slm_http_table slm_api_openai = {.prefix = "/v1/", .routes = routes, .error = slm_openai_error};
