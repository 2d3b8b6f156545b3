/* SPDX-License-Identifier: MIT
 * Anthropic's messages: content in blocks, and streams that open, fill and close each block.
 *
 * The order of events is what its clients build messages from: message_start, for each block
 * content_block_start, deltas, content_block_stop, then message_delta with the reason and the counts,
 * message_stop. Blocks are text, thinking, or the use of a tool; one is open at a time.
 *
 * Deliberately not here: storing files, caching by mark (every prompt is cached), tools that the
 * server runs. */
#include <stdio.h>
#include "base/os.h"
#include "serve/api_openai.h"
#include "serve/api_rows.h"
#include "serve/api_write.h"

static const struct { int status; const char *type; } error_types[] = {
    {400, "invalid_request_error"}, {401, "authentication_error"}, {403, "permission_error"}, {404,
                                                                                               "not_found_error"},
    {413, "request_too_large"}, {415, "invalid_request_error"}, {429, "rate_limit_error"}, {503, "overloaded_error"},
    {504, "timeout_error"}, {529, "overloaded_error"},
};

/* {"type": "error", "error": {"type", "message"}}: the type follows from
 * the status, and clients make exceptions of the status. */
static void write_error(struct slm_buf *out, int status, const struct slm_error *error)
{
    const char *type = status < 500 ? "invalid_request_error" : "api_error";
    struct slm_buf message = {0};
    for (size_t i = 0; i < sizeof error_types / sizeof *error_types; i++)
        if (error_types[i].status == status) type = error_types[i].type;
    slm_buf_printf(&message, "%s%s%s", error->where, *error->where ? ": " : "", error->message);
    slm_write_begin(out, NULL, '{');
    slm_write_text(out, "type", "error");
    slm_write_begin(out, "error", '{');
    slm_write_text(out, "type", type);
    slm_write_str(out, "message", (struct slm_str){message.data, message.len});
    slm_write_end(out, '}');
    slm_write_end(out, '}');
    slm_buf_release(&message);
}

/* The whole reply, for errors before anything was sent. */
static void anthropic_error(struct slm_reply *reply, int status, const struct slm_error *error)
{
    struct slm_buf out = {0};
    write_error(&out, status, error);
    slm_reply_json(reply, status, &out);
    slm_buf_release(&out);
}

/* An error in the middle of a stream is an event of its own name. */
static void broken(struct slm_call *call, const struct slm_error *error)
{
    write_error(&call->out, slm_call_status(error), error);
    slm_call_event(call, "error");
}

/* ---- fields ---------------------------------------------------------------------------------------------------- */


/* What counting tokens and answering have in common. */
static const struct slm_field chat_rows[] = {
    NEEDED_TEXT("model", model, "name of the model"),
    NEEDED_JSON("messages", messages,
                "roles user and assistant; content: text, or blocks text, tool_use, tool_result, thinking"),
    JSON("system", prompt, "text, or blocks of it"),
    JSON("tools", tools, "name, description, input_schema; at most 128"),
    JSON("tool_choice", tool_choice, "type auto, any, none or tool with name; disable_parallel_tool_use"),
    JSON("thinking", think, "type enabled, adaptive or disabled; budget_tokens has no effect"),
    JSON("output_config", structured, "effort; format: {\"type\": \"json_schema\", \"schema\": ...}"),
    JSON("output_format", format, "{\"type\": \"json_schema\", \"schema\": ...}"),
    ONLY("mcp_servers", "[]", "not supported"), ONLY("container", "", "not supported"),
    ONLY("context_management", "", "not supported"), HINT("cache_control", "accepted: every prompt is cached"),
    HINT("betas", "accepted, without effect"),
};
/* Of answers alone. */
static const struct slm_field answer_rows[] = {
    {.name = "max_tokens", .kind = SLM_FIELD_INT, .offset = SLM_ASK(n_predict), .min = 1, .max = 2147483647,
     .needed = true, .help = "most tokens of the answer"},
    BOOL("stream", stream, "server-sent events"),
    FLOAT("temperature", temperature, 0, 2, "0 is greedy; default: the model's own"),
    FLOAT("top_p", top_p, 0, 1, ""),
    INT("top_k", top_k, 0, 1e9, "0: off"),
    JSON("stop_sequences", stop, "up to 16 texts that end the answer"),
    HINT("metadata", "accepted, without effect"),
    ONLY("service_tier", "\"auto\"|\"standard_only\"", "there is one tier"),
    ONLY("inference_geo", "", "it is computed here"),
};
static const struct slm_field_set message_sets[] = {SLM_FIELDS(chat_rows), SLM_FIELDS(answer_rows), {NULL, 0}};
static const struct slm_field_set count_sets[] = {SLM_FIELDS(chat_rows), {NULL, 0}};

/* Inside of output_config. */
struct output_config { const json_t *format; const char *effort; };
static const struct slm_field config_rows[] = {
    {.name = "format", .kind = SLM_FIELD_JSON, .offset = offsetof(struct output_config, format), .help = ""},
    {.name = "effort", .kind = SLM_FIELD_TEXT, .offset = offsetof(struct output_config, effort), .help = ""},
};
static const struct slm_field_set config_sets[] = {SLM_FIELDS(config_rows), {NULL, 0}};

/* ---- reading --------------------------------------------------------------------------------------------------- */

/* jansson gives no reasons: when it fails, memory is out. */
static slm_status no_memory(struct slm_error *error) { return slm_fail_memory(error, "messages", 0); }

/* What the blocks of one message become: results of tools first, each a message of its own, then the rest. */
struct turn { json_t *messages, *message; struct slm_buf text, thinking, part; const char *role; };

/* A result of a tool becomes a message of the role tool in front of what
 * else the turn says, as templates want it. is_error has no counterpart
 * there: what went wrong is in the text. */
static slm_status add_result(struct turn *turn, const json_t *block, const char *path, struct slm_error *error)
{
    const char *id = json_string_value(json_object_get(block, "tool_use_id"));
    if (!id) return slm_fail(error, SLM_ERR_ARGUMENT, slm_path("%s.tool_use_id", path).text, "is required");
    SLM_TRY(slm_content_text(json_object_get(block, "content"), slm_path("%s.content", path).text, &turn->part,
                             error));
    json_t *message = slm_messages_add(turn->messages, "tool", &turn->part);
    return message && json_object_set_new(message, "tool_call_id", json_string(id)) == 0 ? SLM_OK : no_memory(error);
}

/* Further text of a turn; several blocks are paragraphs. */
static slm_status add_text(struct slm_buf *to, const json_t *block, const char *field, const char *path,
                           struct slm_error *error)
{
    const json_t *text = json_object_get(block, field);
    if (!json_is_string(text))
        return slm_fail(error, SLM_ERR_ARGUMENT, slm_path("%s.%s", path, field).text, "must be a string");
    if (to->len) slm_buf_add(to, "\n", 1);
    slm_buf_add(to, json_string_value(text), json_string_length(text));
    return slm_buf_status(to, path, error);
}

/* Each type of block belongs to one side: calls and thinking are the
 * assistant's, results the user's. */
static slm_status add_block(struct turn *turn, json_t *calls, const json_t *block, const char *path,
                            struct slm_error *error)
{
    const char *type = json_string_value(json_object_get(block, "type"));
    const bool is_assistant = strcmp(turn->role, "assistant") == 0;
    if (!type) return slm_fail(error, SLM_ERR_ARGUMENT, slm_path("%s.type", path).text, "is required");
    if (strcmp(type, "text") == 0) return add_text(&turn->text, block, "text", path, error);
    if (strcmp(type, "thinking") == 0 && is_assistant)
        return add_text(&turn->thinking, block, "thinking", path, error);
    if (strcmp(type, "tool_result") == 0 && !is_assistant) return add_result(turn, block, path, error);
    if (strcmp(type, "tool_use") != 0 || !is_assistant)
        return slm_fail(error, SLM_ERR_UNSUPPORTED, slm_path("%s.type", path).text,
                        "'%.40s' is not supported here: text%s", type,
                        is_assistant ? ", thinking and tool_use are" : " and tool_result are");
    const char *name = json_string_value(json_object_get(block, "name"));
    if (!name) return slm_fail(error, SLM_ERR_ARGUMENT, slm_path("%s.name", path).text, "is required");
    return slm_messages_add_call(calls, json_string_value(json_object_get(block, "id")), name,
                             json_object_get(block, "input"), slm_path("%s.input", path).text, error);
}

/* One message of the request becomes one for the template, or several when
 * it brings results of tools. */
static slm_status read_turn(struct turn *turn, const json_t *message, const char *path, struct slm_error *error)
{
    const json_t *content = json_object_get(message, "content");
    turn->role = json_string_value(json_object_get(message, "role"));
    if (!turn->role || (strcmp(turn->role, "user") != 0 && strcmp(turn->role, "assistant") != 0))
        return slm_fail(error, SLM_ERR_ARGUMENT, slm_path("%s.role", path).text, "must be user or assistant");
    if (!json_is_array(content)) {
        if (!json_is_string(content))
            return slm_fail(error, SLM_ERR_ARGUMENT, slm_path("%s.content", path).text,
                            "must be text or an array of blocks");
        SLM_TRY(slm_content_text(content, path, &turn->text, error));
        return slm_messages_add(turn->messages, turn->role, &turn->text) ? SLM_OK : no_memory(error);
    }
    json_t *calls = json_object(); /* a message that holds nothing but calls so far */
    slm_status status = calls ? SLM_OK : no_memory(error);
    for (size_t i = 0; i < json_array_size(content) && status == SLM_OK; i++)
        status = add_block(turn, calls, json_array_get(content, i), slm_path("%s.content[%zu]", path, i).text, error);
    json_t *list = json_object_get(calls, "tool_calls");
    const bool only_results = strcmp(turn->role, "user") == 0 && turn->text.len == 0 && json_array_size(content) > 0;
    if (status == SLM_OK && !only_results) {
        json_t *out = slm_messages_add(turn->messages, turn->role, &turn->text);
        if (out && list) json_object_set(out, "tool_calls", list);
        if (out && turn->thinking.len)
            json_object_set_new(out, "reasoning_content", json_stringn(turn->thinking.data, turn->thinking.len));
        if (!out) status = no_memory(error);
    }
    json_decref(calls);
    return status;
}

/* The system prompt stands beside the messages in this API, and in front
 * of them in templates. */
static slm_status read_messages(struct slm_call *call, json_t *out, struct slm_error *error)
{
    const json_t *in = call->ask.messages;
    struct turn turn = {.messages = out};
    slm_status status = SLM_OK;
    if (call->ask.prompt) {
        status = slm_content_text(call->ask.prompt, "system", &turn.text, error);
        if (status == SLM_OK && !slm_messages_add(out, "system", &turn.text)) status = no_memory(error);
    }
    if (status == SLM_OK && (!json_is_array(in) || json_array_size(in) == 0))
        status = slm_fail(error, SLM_ERR_ARGUMENT, "messages", "must be an array of at least one message");
    for (size_t i = 0; status == SLM_OK && i < json_array_size(in); i++) {
        slm_buf_clear(&turn.text);
        slm_buf_clear(&turn.thinking);
        status = read_turn(&turn, json_array_get(in, i), slm_path("messages[%zu]", i).text, error);
    }
    slm_buf_release(&turn.text);
    slm_buf_release(&turn.thinking);
    slm_buf_release(&turn.part);
    return status;
}

/* Tools in this API's shape, and which of them may, must or must not be
 * called. */
static slm_status read_tools(struct slm_call *call, struct slm_chat_ask *chat, struct slm_error *error)
{
    const json_t *tools = call->ask.tools;
    if (tools && !json_is_array(tools))
        return slm_fail(error, SLM_ERR_ARGUMENT, "tools", "must be an array, not %s", slm_json_kind(tools));
    if (json_array_size(tools) > 0) chat->tools = json_array();
    for (size_t i = 0; i < json_array_size(tools); i++) {
        const json_t *tool = json_array_get(tools, i), *type = json_object_get(tool, "type");
        if (type && !(json_is_string(type) && strcmp(json_string_value(type), "custom") == 0))
            return slm_fail(error, SLM_ERR_UNSUPPORTED, slm_path("tools[%zu].type", i).text,
                            "must be \"custom\": tools are called by the client");
        SLM_TRY(slm_tools_add(chat->tools, tool, "input_schema", slm_path("tools[%zu]", i).text, error));
    }
    const json_t *choice = call->ask.tool_choice;
    if (!choice) return SLM_OK;
    const char *type = json_string_value(json_object_get(choice, "type"));
    const char *name = json_string_value(json_object_get(choice, "name"));
    if (json_is_true(json_object_get(choice, "disable_parallel_tool_use"))) call->ask.parallel = 0;
    if (type && strcmp(type, "auto") == 0) return SLM_OK;
    if (type && strcmp(type, "none") == 0) {
        chat->no_tools = true;
        return SLM_OK;
    }
    if (type && strcmp(type, "any") == 0) return slm_call_force(call, chat, "", error);
    if (type && strcmp(type, "tool") == 0 && name) return slm_call_force(call, chat, name, error);
    return slm_fail(error, SLM_ERR_ARGUMENT, "tool_choice.type", "must be auto, any, none, or tool with a name");
}

/* Whether to think, and how much: the budget in tokens is a hint that no
 * template has a place for. */
static slm_status read_thinking(struct slm_call *call, struct slm_chat_ask *chat, struct slm_error *error)
{
    struct output_config config = {0};
    const char *type = json_string_value(json_object_get(call->ask.think, "type"));
    if (call->ask.structured) {
        SLM_TRY(slm_read_fields(call->ask.structured, "output_config.", config_sets, &config, error));
        call->ask.structured = NULL;
        if (config.format) call->ask.format = config.format;
        chat->effort = config.effort;
    }
    if (!call->ask.think) return SLM_OK;
    if (type && (strcmp(type, "enabled") == 0 || strcmp(type, "adaptive") == 0))
        chat->think = 1;
    else if (type && strcmp(type, "disabled") == 0)
        chat->think = 0;
    else
        return slm_fail(error, SLM_ERR_ARGUMENT, "thinking.type", "must be enabled, adaptive or disabled");
    return SLM_OK;
}

/* Everything but the sampler: what counting tokens and answering have in
 * common. */
static slm_status make_chat(struct slm_call *call, enum slm_chat_use use, struct slm_error *error)
{
    struct slm_chat_ask chat = {.messages = json_array(), .think = SLM_ABSENT_BOOL};
    slm_status status = chat.messages ? read_messages(call, chat.messages, error) : no_memory(error);
    if (status == SLM_OK) status = read_tools(call, &chat, error);
    if (status == SLM_OK) status = read_thinking(call, &chat, error);
    if (status == SLM_OK) return slm_call_chat(call, &chat, use, error);
    json_decref(chat.messages);
    json_decref(chat.tools);
    return status;
}

/* The message's id is known before its first event. */
static slm_status prepare(struct slm_call *call, struct slm_error *error)
{
    slm_call_new_id(call->id, sizeof call->id, "msg_");
    return make_chat(call, SLM_CHAT_JOB, error);
}

/* The same prompt, only counted: no context is checked, for a client may
 * want to know how far it is over. */
static slm_status prepare_count(struct slm_call *call, struct slm_error *error)
{
    return make_chat(call, SLM_CHAT_IDS, error);
}

/* ---- writing --------------------------------------------------------------------------------------------------- */

enum { NO_BLOCK, TEXT_BLOCK, THINKING_BLOCK };

/* Tokens from the cache are not input tokens here: the three together are
 * the prompt. */
static void write_usage(struct slm_buf *out, size_t n_prompt, size_t n_cached, size_t n_generated)
{
    slm_write_begin(out, "usage", '{');
    slm_write_int(out, "input_tokens", (int64_t)(n_prompt - n_cached));
    slm_write_int(out, "cache_creation_input_tokens", 0);
    slm_write_int(out, "cache_read_input_tokens", (int64_t)n_cached);
    slm_write_int(out, "output_tokens", (int64_t)n_generated);
    slm_write_end(out, '}');
}

/* A cut answer is cut even when it called tools before. */
static const char *stop_reason(const struct slm_choice_state *choice)
{
    if (choice->finish == SLM_FINISH_STOP) return "stop_sequence";
    if (choice->finish == SLM_FINISH_LENGTH || choice->finish == SLM_FINISH_TIMEOUT) return "max_tokens";
    return choice->n_calls > 0 ? "tool_use" : "end_turn";
}

/* What the message begins with, in streams and whole. */
static void write_head(struct slm_call *call)
{
    slm_write_text(&call->out, "id", call->id);
    slm_write_text(&call->out, "type", "message");
    slm_write_text(&call->out, "role", "assistant");
    slm_write_text(&call->out, "model", slm_host_model_name(call->model));
}

/* message_start has the whole message without content, then a ping, as
 * clients of streams know it. */
static void begin(struct slm_call *call)
{
    struct slm_buf *out = &call->out;
    slm_write_begin(out, NULL, '{');
    slm_write_text(out, "type", "message_start");
    slm_write_begin(out, "message", '{');
    write_head(call);
    slm_write_begin(out, "content", '[');
    slm_write_end(out, ']');
    slm_write_null(out, "stop_reason");
    slm_write_null(out, "stop_sequence");
    write_usage(out, call->n_prompt, 0, 0);
    slm_write_end(out, '}');
    slm_write_end(out, '}');
    slm_call_event(call, "message_start");
    slm_write_begin(out, NULL, '{');
    slm_write_text(out, "type", "ping");
    slm_write_end(out, '}');
    slm_call_event(call, "ping");
}

/* {"type": ..., "index": of the block: open */
static void begin_event(struct slm_call *call, const struct slm_choice_state *choice, const char *type)
{
    slm_write_begin(&call->out, NULL, '{');
    slm_write_text(&call->out, "type", type);
    slm_write_int(&call->out, "index", (int64_t)choice->n_blocks - 1);
}

/* Closes the event; its name is its type once more. */
static void end_event(struct slm_call *call, const char *type)
{
    slm_write_end(&call->out, '}');
    slm_call_event(call, type);
}

/* One block is open at a time: kinds of text alternate. */
static void close_block(struct slm_call *call, struct slm_choice_state *choice)
{
    if (choice->open == NO_BLOCK) return;
    begin_event(call, choice, "content_block_stop");
    end_event(call, "content_block_stop");
    choice->open = NO_BLOCK;
}

/* field: of a block of text, which it begins empty. */
static void open_block(struct slm_call *call, struct slm_choice_state *choice, int kind)
{
    static const char *const types[] = {"", "text", "thinking"};
    if (choice->open == kind) return;
    close_block(call, choice);
    choice->open = kind;
    choice->n_blocks++;
    begin_event(call, choice, "content_block_start");
    slm_write_begin(&call->out, "content_block", '{');
    slm_write_text(&call->out, "type", types[kind]);
    slm_write_text(&call->out, types[kind], "");
    if (kind == THINKING_BLOCK) slm_write_text(&call->out, "signature", "");
    slm_write_end(&call->out, '}');
    end_event(call, "content_block_start");
}

/* content_block_delta: text of the block that is open. */
static void write_delta(struct slm_call *call, const struct slm_choice_state *choice, const char *type,
                        const char *field, struct slm_str text)
{
    begin_event(call, choice, "content_block_delta");
    slm_write_begin(&call->out, "delta", '{');
    slm_write_text(&call->out, "type", type);
    slm_write_str(&call->out, field, text);
    slm_write_end(&call->out, '}');
    end_event(call, "content_block_delta");
}

/* A call is complete when it comes: its block opens, gets all its
 * arguments at once, and closes. */
static void stream_tool(struct slm_call *call, struct slm_choice_state *choice)
{
    const struct slm_tool_call *tool = &choice->calls[choice->n_calls - 1];
    close_block(call, choice);
    choice->n_blocks++;
    begin_event(call, choice, "content_block_start");
    slm_write_begin(&call->out, "content_block", '{');
    slm_write_text(&call->out, "type", "tool_use");
    slm_write_text(&call->out, "id", tool->id);
    slm_write_text(&call->out, "name", tool->name);
    slm_write_json(&call->out, "input", slm_str("{}"));
    slm_write_end(&call->out, '}');
    end_event(call, "content_block_start");
    write_delta(call, choice, "input_json_delta", "partial_json", slm_str(tool->arguments));
    begin_event(call, choice, "content_block_stop");
    end_event(call, "content_block_stop");
}

/* Texts open a block of their kind where none is open; answers that are no
 * streams are kept by the call. */
static void part(struct slm_call *call, struct slm_choice_state *choice, const struct slm_event *event)
{
    const struct slm_str text = {event->part.text, event->part.text_bytes};
    if (!call->streaming) return;
    if (event->part.kind == SLM_PART_TOOL_CALL) {
        stream_tool(call, choice);
    } else if (text.len > 0 && event->part.kind == SLM_PART_THINKING) {
        open_block(call, choice, THINKING_BLOCK);
        write_delta(call, choice, "thinking_delta", "thinking", text);
    } else if (text.len > 0) {
        open_block(call, choice, TEXT_BLOCK);
        write_delta(call, choice, "text_delta", "text", text);
    }
}

/* What the answer came to, and the end. Counts are those of the whole
 * message. */
static void end_stream(struct slm_call *call, struct slm_choice_state *choice)
{
    struct slm_buf *out = &call->out;
    close_block(call, choice);
    slm_write_begin(out, NULL, '{');
    slm_write_text(out, "type", "message_delta");
    slm_write_begin(out, "delta", '{');
    slm_write_text(out, "stop_reason", stop_reason(choice));
    slm_write_text(out, "stop_sequence", choice->stop_string);
    slm_write_end(out, '}');
    write_usage(out, call->usage.n_prompt, call->usage.n_cached, call->usage.n_generated);
    end_event(call, "message_delta");
    slm_write_begin(out, NULL, '{');
    slm_write_text(out, "type", "message_stop");
    end_event(call, "message_stop");
}

/* A block of text or thinking, left out when empty. Signatures prove
 * nothing here but clients expect the field. */
static void write_block(struct slm_buf *out, const char *type, const struct slm_buf *text)
{
    if (text->len == 0) return;
    slm_write_begin(out, NULL, '{');
    slm_write_text(out, "type", type);
    slm_write_str(out, type, (struct slm_str){text->data, text->len});
    if (strcmp(type, "thinking") == 0) slm_write_text(out, "signature", "");
    slm_write_end(out, '}');
}

/* The whole message: thinking, text, calls, in this order. */
static void end(struct slm_call *call)
{
    struct slm_buf *out = &call->out;
    struct slm_choice_state *choice = call->choices;
    if (call->streaming) {
        end_stream(call, choice);
        return;
    }
    slm_write_begin(out, NULL, '{');
    write_head(call);
    slm_write_begin(out, "content", '[');
    write_block(out, "thinking", &choice->thinking);
    write_block(out, "text", &choice->content);
    for (size_t i = 0; i < choice->n_calls; i++) {
        slm_write_begin(out, NULL, '{');
        slm_write_text(out, "type", "tool_use");
        slm_write_text(out, "id", choice->calls[i].id);
        slm_write_text(out, "name", choice->calls[i].name);
        slm_write_json(out, "input", slm_str(choice->calls[i].arguments));
        slm_write_end(out, '}');
    }
    slm_write_end(out, ']');
    slm_write_text(out, "stop_reason", stop_reason(choice));
    slm_write_text(out, "stop_sequence", choice->stop_string);
    write_usage(out, call->usage.n_prompt, call->usage.n_cached, call->usage.n_generated);
    slm_write_end(out, '}');
    slm_call_send(call, 200);
}

/* {"input_tokens": n} */
static void end_count(struct slm_call *call)
{
    slm_write_begin(&call->out, NULL, '{');
    slm_write_int(&call->out, "input_tokens", (int64_t)call->n_ids);
    slm_write_end(&call->out, '}');
    slm_call_send(call, 200);
}

/* ---- routes ---------------------------------------------------------------------------------------------------- */

const struct slm_call_kind slm_anthropic_messages = {
    .method = "POST", .path = "/v1/messages", .sets = message_sets, .table = &slm_api_anthropic, .busy_status = 529,
    .prepare = prepare, .begin = begin, .part = part, .end = end, .broken = broken};
const struct slm_call_kind slm_anthropic_count = {
    .method = "POST", .path = "/v1/messages/count_tokens", .sets = count_sets, .table = &slm_api_anthropic,
    .prepare = prepare_count, .end = end_count, .broken = broken};

/* The handlers only name their rows. */
static void post_message(void *app, const struct slm_http_request *request, struct slm_reply *reply)
{
    slm_call_start(app, request, reply, &slm_anthropic_messages);
}
static void post_count(void *app, const struct slm_http_request *request, struct slm_reply *reply)
{
    slm_call_start(app, request, reply, &slm_anthropic_count);
}
static const struct slm_http_route routes[] = {
    {"POST", "/v1/messages", post_message, 0},
    {"POST", "/v1/messages/count_tokens", post_count, 0},
    {NULL, NULL, NULL, 0},
};
const struct slm_http_table slm_api_anthropic = {.prefix = "/v1/messages", .routes = routes,
                                                 .error = anthropic_error};
