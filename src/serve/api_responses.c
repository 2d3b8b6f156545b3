/* SPDX-License-Identifier: MIT
 * OpenAI's responses: items instead of messages, and streams of events with numbers. Nothing is
 * stored, so a request carries its whole conversation.
 *
 * An answer is a list of items: reasoning, a message, calls of functions. A stream announces each of
 * them: output_item.added, then for a message content_part.added; deltas of its text; then the same
 * in reverse, *.done, content_part.done, output_item.done, each with all of the text once more. The
 * response itself is the first event (created), the second (in_progress) and the last (completed, or
 * incomplete when it was cut). Numbers begin at 0 and have no gaps: clients check them.
 *
 * The state of a choice is the item that is open and the JSON of those that are complete; an answer
 * that is not streamed goes the same way and leaves out the events, so that both are the same.
 *
 * In templates there are no items: reasoning and calls in a row become one turn of the assistant, and
 * a function's output a message of the role tool. Deliberately not here: tools that the server runs
 * (web search, files, code), which are refused by their type. */
#include <math.h>
#include <stdio.h>
#include "base/os.h"
#include "serve/api_openai.h"
#include "serve/api_rows.h"
#include "serve/api_write.h"

#define STORES_NOT "nothing is stored: send the whole conversation as input"

/* What is stored at OpenAI is refused here, each time with the way around it. */
static const struct slm_field rows[] = {
    TEXT("model", model, "name of the model; absent: the first"),
    NEEDED_JSON("input", input, "text, or items: messages, function_call, function_call_output, reasoning"),
    TEXT("instructions", system, "a system message in front"),
    BOOL("stream", stream, "server-sent events"),
    INT("max_output_tokens", n_predict, 1, 2147483647, "absent: until the context is full"),
    FLOAT("temperature", temperature, 0, 100, "0 is greedy; default: the model's own"),
    FLOAT("top_p", top_p, 0, 1, ""),
    INT("seed", seed, -1, 9007199254740992.0, "same request, same answer (not of OpenAI)"),
    JSON("tools", tools, "type function, name, description, parameters; at most 128"),
    JSON("tool_choice", tool_choice, "auto, none, required, or {\"type\": \"function\", \"name\": ...}"),
    BOOL("parallel_tool_calls", parallel, "false: at most one call"),
    JSON("text", structured, "{\"format\": ...}: type text, json_object, or json_schema with schema"),
    JSON("reasoning", think, "{\"effort\": ...}: for models that think"),
    ONLY("truncation", "\"disabled\"", "a prompt that is too long is an error"),
    ONLY("previous_response_id", "", STORES_NOT), ONLY("conversation", "", STORES_NOT), ONLY("prompt", "",
                                                                                             STORES_NOT),
    ONLY("store", "false", STORES_NOT), ONLY("background", "false", STORES_NOT),
    ONLY("include", "[]|[\"reasoning.encrypted_content\"]", "not supported"),
    ONLY("max_tool_calls", "", "tools are called by the client"), ONLY("top_logprobs", "0", "not supported"),
    ONLY("service_tier", "\"auto\"|\"default\"", "there is one tier"),
    ONLY("stream_options", "{}|{\"include_obfuscation\":false}", "not supported"),
    HINT("metadata", "comes back in the response"), HINT("user", "accepted, without effect"),
    HINT("safety_identifier", "accepted, without effect"), HINT("prompt_cache_key",
                                                                "accepted: prompts are cached by content"),
    HINT("prompt_cache_retention", "accepted, without effect"),
};
static const struct slm_field_set sets[] = {SLM_FIELDS(rows), {NULL, 0}};

/* What stands inside of "text" and "reasoning". */
struct inner { const json_t *format; const char *effort; };
static const struct slm_field text_rows[] = {
    {.name = "format", .kind = SLM_FIELD_JSON, .offset = offsetof(struct inner, format), .help = ""},
    ONLY("verbosity", "\"medium\"", "not supported"),
};
static const struct slm_field reasoning_rows[] = {
    {.name = "effort", .kind = SLM_FIELD_TEXT, .offset = offsetof(struct inner, effort), .help = ""},
    HINT("summary", "thinking comes whole"), HINT("generate_summary", "thinking comes whole"),
};
static const struct slm_field_set text_sets[] = {SLM_FIELDS(text_rows), {NULL, 0}};
static const struct slm_field_set reasoning_sets[] = {SLM_FIELDS(reasoning_rows), {NULL, 0}};

/* ---- reading --------------------------------------------------------------------------------------------------- */

/* jansson gives no reasons: when it fails, memory is out. */
static slm_status no_memory(struct slm_error *error) { return slm_fail_memory(error, "input", 0); }

/* The message that calls and answers of one turn are put together in, or a new one. */
static json_t *assistant_turn(json_t *messages)
{
    const size_t n = json_array_size(messages);
    json_t *last = n ? json_array_get(messages, n - 1) : NULL;
    const char *role = json_string_value(json_object_get(last, "role"));
    if (role && strcmp(role, "assistant") == 0) return last;
    const struct slm_buf none = {0};
    return slm_messages_add(messages, "assistant", &none);
}

/* A message item; parts of it may be input_text or output_text. */
static slm_status add_message(json_t *messages, const json_t *item, const char *path, struct slm_buf *text,
                              struct slm_error *error)
{
    const char *role = json_string_value(json_object_get(item, "role"));
    const bool is_assistant = role && strcmp(role, "assistant") == 0;
    if (!role || !(is_assistant || !strcmp(role, "user") || !strcmp(role, "system") || !strcmp(role, "developer")))
        return slm_fail(error, SLM_ERR_ARGUMENT, slm_path("%s.role", path).text,
                        "must be user, assistant, system or developer");
    SLM_TRY(slm_content_text(json_object_get(item, "content"), slm_path("%s.content", path).text, text, error));
    if (!is_assistant)
        return slm_messages_add(messages, strcmp(role, "developer") == 0 ? "system" : role, text) ? SLM_OK
                                                                                              : no_memory(error);
    /* Reasoning comes as an item of its own in front of the answer it belongs to. */
    json_t *turn = assistant_turn(messages);
    const char *before = json_string_value(json_object_get(turn, "content"));
    if (before && *before) turn = slm_messages_add(messages, "assistant", text);
    else if (turn) json_object_set_new(turn, "content", json_stringn(text->data, text->len));
    return turn ? SLM_OK : no_memory(error);
}

/* Thinking that a client sends back, from where it was put: content, or
 * else the summary. */
static slm_status add_reasoning(json_t *messages, const json_t *item, struct slm_error *error)
{
    static const char *const places[] = {"content", "summary"};
    struct slm_buf text = {0};
    for (size_t k = 0; k < 2 && text.len == 0; k++) {
        const json_t *parts = json_object_get(item, places[k]);
        for (size_t i = 0; i < json_array_size(parts); i++) {
            const char *part = json_string_value(json_object_get(json_array_get(parts, i), "text"));
            if (part) slm_buf_puts(&text, part);
        }
    }
    json_t *turn = text.len ? assistant_turn(messages) : NULL;
    if (turn) json_object_set_new(turn, "reasoning_content", json_stringn(text.data, text.len));
    const slm_status status = text.len && !turn ? no_memory(error) : SLM_OK;
    slm_buf_release(&text);
    return status;
}

/* Calls and their outputs are items beside messages; in templates calls
 * are part of the assistant's turn. */
static slm_status add_item(json_t *messages, const json_t *item, const char *path, struct slm_buf *text,
                           struct slm_error *error)
{
    const char *type = json_string_value(json_object_get(item, "type"));
    const char *id = json_string_value(json_object_get(item, "call_id"));
    const char *name = json_string_value(json_object_get(item, "name"));
    if (!type || strcmp(type, "message") == 0) return add_message(messages, item, path, text, error);
    if (strcmp(type, "reasoning") == 0) return add_reasoning(messages, item, error);
    const bool is_call = strcmp(type, "function_call") == 0;
    if (!is_call && strcmp(type, "function_call_output") != 0)
        return slm_fail(error, SLM_ERR_UNSUPPORTED, slm_path("%s.type", path).text,
                        "'%.40s' is not supported: message, "
                        "reasoning, function_call and function_call_output are", type);
    if (!id || (is_call && !name))
        return slm_fail(error, SLM_ERR_ARGUMENT, slm_path("%s.%s", path, id ? "name" : "call_id").text,
                        "is required");
    if (is_call) {
        json_t *turn = assistant_turn(messages);
        return !turn ? no_memory(error)
                     : slm_messages_add_call(turn, id, name, json_object_get(item, "arguments"),
                                         slm_path("%s.arguments", path).text, error);
    }
    SLM_TRY(slm_content_text(json_object_get(item, "output"), slm_path("%s.output", path).text, text, error));
    json_t *message = slm_messages_add(messages, "tool", text);
    return message && json_object_set_new(message, "tool_call_id", json_string(id)) == 0 ? SLM_OK : no_memory(error);
}

/* Instructions are the system message of this request alone. */
static slm_status read_items(struct slm_call *call, json_t *messages, struct slm_error *error)
{
    const json_t *input = call->ask.input;
    struct slm_buf text = {0};
    slm_status status = SLM_OK;
    if (call->ask.system) {
        slm_buf_puts(&text, call->ask.system);
        if (!slm_messages_add(messages, "system", &text)) status = no_memory(error);
    }
    if (status == SLM_OK && json_is_string(input)) {
        status = slm_content_text(input, "input", &text, error);
        if (status == SLM_OK && !slm_messages_add(messages, "user", &text)) status = no_memory(error);
    } else if (status == SLM_OK && (!json_is_array(input) || json_array_size(input) == 0)) {
        status = slm_fail(error, SLM_ERR_ARGUMENT, "input", "must be text or an array of at least one item");
    }
    for (size_t i = 0; json_is_array(input) && status == SLM_OK && i < json_array_size(input); i++)
        status = add_item(messages, json_array_get(input, i), slm_path("input[%zu]", i).text, &text, error);
    slm_buf_release(&text);
    return status;
}

/* Functions stand flat here: name and parameters beside the type. */
static slm_status read_tools(struct slm_call *call, struct slm_chat_ask *chat, struct slm_error *error)
{
    const json_t *tools = call->ask.tools;
    if (tools && !json_is_array(tools))
        return slm_fail(error, SLM_ERR_ARGUMENT, "tools", "must be an array, not %s", slm_json_kind(tools));
    if (json_array_size(tools) > 0) chat->tools = json_array();
    for (size_t i = 0; i < json_array_size(tools); i++) {
        const json_t *tool = json_array_get(tools, i);
        const char *type = json_string_value(json_object_get(tool, "type"));
        if (!type || strcmp(type, "function") != 0)
            return slm_fail(error, SLM_ERR_UNSUPPORTED, slm_path("tools[%zu].type", i).text,
                            "must be \"function\": tools are called by the client");
        SLM_TRY(slm_tools_add(chat->tools, tool, "parameters", slm_path("tools[%zu]", i).text, error));
    }
    return SLM_OK;
}

/* Settings inside of objects are moved to where the other APIs have them. */
static slm_status check(struct slm_call *call, struct slm_error *error)
{
    struct inner inner = {0};
    slm_call_new_id(call->id, sizeof call->id, "resp_");
    if (call->ask.structured) {
        SLM_TRY(slm_read_fields(call->ask.structured, "text.", text_sets, &inner, error));
        call->ask.format = inner.format;
        call->ask.structured = NULL;
    }
    if (call->ask.think) {
        SLM_TRY(slm_read_fields(call->ask.think, "reasoning.", reasoning_sets, &inner, error));
        call->ask.effort = inner.effort;
    }
    return SLM_OK;
}

/* From here on it is a chat like any other. */
static slm_status prepare(struct slm_call *call, struct slm_error *error)
{
    struct slm_chat_ask chat = {.messages = json_array(), .think = SLM_ABSENT_BOOL};
    slm_status status = chat.messages ? read_items(call, chat.messages, error) : no_memory(error);
    if (status == SLM_OK) status = read_tools(call, &chat, error);
    if (status == SLM_OK) return slm_openai_use_chat(call, &chat, SLM_CHAT_JOB, error);
    json_decref(chat.messages);
    json_decref(chat.tools);
    return status;
}

/* ---- items ----------------------------------------------------------------------------------------------------- */

/* What may be open. Calls are not among them: they come whole. */
enum { NO_ITEM, MESSAGE, REASONING };
static const struct item_kind { const char *type, *prefix, *part, *event; } kinds[] = {
    [MESSAGE] = {"message", "msg_", "output_text", "response.output_text"},
    [REASONING] = {"reasoning", "rs_", "reasoning_text", "response.reasoning_text"},
};

/* {"type": ..., "sequence_number": ...: open */
static void begin_event(struct slm_call *call, const char *type)
{
    slm_write_begin(&call->out, NULL, '{');
    slm_write_text(&call->out, "type", type);
    slm_write_int(&call->out, "sequence_number", (int64_t)call->n_events);
}

/* Numbers count the events that were sent, so they are in order and
 * without gaps. */
static void end_event(struct slm_call *call, const char *type)
{
    slm_write_end(&call->out, '}');
    slm_call_event(call, type);
}

/* The same with what most events say: which item, which part of it. */
static void begin_item_event(struct slm_call *call, const struct slm_choice_state *choice, const char *type,
                             bool part)
{
    begin_event(call, type);
    slm_write_text(&call->out, "item_id", choice->item_id);
    slm_write_int(&call->out, "output_index", (int64_t)choice->n_blocks - 1);
    if (part) slm_write_int(&call->out, "content_index", 0);
}

/* The content part of an item of text; what clients expect beside the text
 * is empty. */
static void write_part(struct slm_buf *out, const char *name, int kind, struct slm_str text)
{
    slm_write_begin(out, name, '{');
    slm_write_text(out, "type", kinds[kind].part);
    slm_write_str(out, "text", text);
    if (kind == MESSAGE) slm_write_json(out, "annotations", slm_str("[]"));
    if (kind == MESSAGE) slm_write_json(out, "logprobs", slm_str("[]"));
    slm_write_end(out, '}');
}

/* An item of text; without text it is one that has just begun. */
static void write_text_item(struct slm_buf *out, const char *name, const struct slm_choice_state *choice, int kind,
                            const struct slm_buf *text)
{
    slm_write_begin(out, name, '{');
    slm_write_text(out, "id", choice->item_id);
    slm_write_text(out, "type", kinds[kind].type);
    slm_write_text(out, "status", text ? "completed" : "in_progress");
    if (kind == MESSAGE) slm_write_text(out, "role", "assistant");
    if (kind == REASONING) slm_write_json(out, "summary", slm_str("[]"));
    slm_write_begin(out, "content", '[');
    if (text) write_part(out, NULL, kind, (struct slm_str){text->data, text->len});
    slm_write_end(out, ']');
    slm_write_end(out, '}');
}

/* What is complete is kept for the final response, and in streams
 * announced part by part. */
static void close_item(struct slm_call *call, struct slm_choice_state *choice)
{
    const int kind = choice->open;
    if (kind == NO_ITEM) return;
    struct slm_buf *text = kind == MESSAGE ? &choice->content : &choice->thinking;
    char name[64];
    choice->open = NO_ITEM;
    write_text_item(&choice->top, NULL, choice, kind, text); /* top: the items that are complete */
    if (!call->streaming) return;
    (void)snprintf(name, sizeof name, "%s.done", kinds[kind].event);
    begin_item_event(call, choice, name, true);
    slm_write_str(&call->out, "text", (struct slm_str){text->data, text->len});
    if (kind == MESSAGE) slm_write_json(&call->out, "logprobs", slm_str("[]"));
    end_event(call, name);
    if (kind == MESSAGE) {
        begin_item_event(call, choice, "response.content_part.done", true);
        write_part(&call->out, "part", kind, (struct slm_str){text->data, text->len});
        end_event(call, "response.content_part.done");
    }
    begin_event(call, "response.output_item.done");
    slm_write_int(&call->out, "output_index", (int64_t)choice->n_blocks - 1);
    write_text_item(&call->out, "item", choice, kind, text);
    end_event(call, "response.output_item.done");
}

/* Kinds alternate: a new item begins where the kind changes. */
static void open_item(struct slm_call *call, struct slm_choice_state *choice, int kind)
{
    if (choice->open == kind) return;
    close_item(call, choice);
    choice->open = kind;
    choice->n_blocks++;
    slm_call_new_id(choice->item_id, sizeof choice->item_id, kinds[kind].prefix);
    if (!call->streaming) return;
    begin_event(call, "response.output_item.added");
    slm_write_int(&call->out, "output_index", (int64_t)choice->n_blocks - 1);
    write_text_item(&call->out, "item", choice, kind, NULL);
    end_event(call, "response.output_item.added");
    if (kind != MESSAGE) return;
    begin_item_event(call, choice, "response.content_part.added", true);
    write_part(&call->out, "part", kind, (struct slm_str){NULL, 0});
    end_event(call, "response.content_part.added");
}

/* call_id is what the output refers to, id names the item. */
static void write_call(struct slm_buf *out, const char *name, const struct slm_choice_state *choice,
                       const struct slm_tool_call *tool, bool whole)
{
    slm_write_begin(out, name, '{');
    slm_write_text(out, "id", choice->item_id);
    slm_write_text(out, "type", "function_call");
    slm_write_text(out, "status", whole ? "completed" : "in_progress");
    slm_write_text(out, "call_id", tool->id);
    slm_write_text(out, "name", tool->name);
    slm_write_text(out, "arguments", whole ? tool->arguments : "");
    slm_write_end(out, '}');
}

/* A call is complete when it comes: all its events follow one another. */
static void add_call(struct slm_call *call, struct slm_choice_state *choice)
{
    struct slm_buf *out = &call->out;
    const struct slm_tool_call *tool = &choice->calls[choice->n_calls - 1];
    close_item(call, choice);
    choice->n_blocks++;
    slm_call_new_id(choice->item_id, sizeof choice->item_id, "fc_");
    write_call(&choice->top, NULL, choice, tool, true);
    if (!call->streaming) return;
    begin_event(call, "response.output_item.added");
    slm_write_int(out, "output_index", (int64_t)choice->n_blocks - 1);
    write_call(out, "item", choice, tool, false);
    end_event(call, "response.output_item.added");
    begin_item_event(call, choice, "response.function_call_arguments.delta", false);
    slm_write_text(out, "delta", tool->arguments);
    end_event(call, "response.function_call_arguments.delta");
    begin_item_event(call, choice, "response.function_call_arguments.done", false);
    slm_write_text(out, "name", tool->name);
    slm_write_text(out, "arguments", tool->arguments);
    end_event(call, "response.function_call_arguments.done");
    begin_event(call, "response.output_item.done");
    slm_write_int(out, "output_index", (int64_t)choice->n_blocks - 1);
    write_call(out, "item", choice, tool, true);
    end_event(call, "response.output_item.done");
}

/* Texts go to the item of their kind; calls are items of their own. */
static void part(struct slm_call *call, struct slm_choice_state *choice, const struct slm_event *event)
{
    const struct slm_part *it = &event->part;
    if (it->kind == SLM_PART_TOOL_CALL) {
        add_call(call, choice);
        return;
    }
    if (it->text_bytes == 0) return;
    const int kind = it->kind == SLM_PART_THINKING ? REASONING : MESSAGE;
    char name[64];
    open_item(call, choice, kind);
    if (!call->streaming) return;
    (void)snprintf(name, sizeof name, "%s.delta", kinds[kind].event);
    begin_item_event(call, choice, name, true);
    slm_write_str(&call->out, "delta", (struct slm_str){it->text, it->text_bytes});
    if (kind == MESSAGE) slm_write_json(&call->out, "logprobs", slm_str("[]"));
    end_event(call, name);
}

/* ---- responses ------------------------------------------------------------------------------------------------- */

/* Echoes what was asked for; not given is null. */
static void write_number(struct slm_buf *out, const char *name, double number)
{
    slm_write_float(out, name, number); /* not given: null */
}

/* Other names for the same counts. */
static void write_usage(struct slm_buf *out, const struct slm_usage *usage)
{
    slm_write_begin(out, "usage", '{');
    slm_write_int(out, "input_tokens", (int64_t)usage->n_prompt);
    slm_write_begin(out, "input_tokens_details", '{');
    slm_write_int(out, "cached_tokens", (int64_t)usage->n_cached);
    slm_write_end(out, '}');
    slm_write_int(out, "output_tokens", (int64_t)usage->n_generated);
    slm_write_begin(out, "output_tokens_details", '{');
    slm_write_int(out, "reasoning_tokens", (int64_t)usage->n_thinking);
    slm_write_end(out, '}');
    slm_write_int(out, "total_tokens", (int64_t)(usage->n_prompt + usage->n_generated));
    slm_write_end(out, '}');
}

/* JSON of the request comes back as it was, else as it would have been. */
static void write_given(struct slm_buf *out, const char *name, const json_t *value, const char *otherwise)
{
    struct slm_buf json = {0};
    if (value) slm_json_write(&json, value);
    slm_write_json(out, name, value && json.data ? (struct slm_str){json.data, json.len} : slm_str(otherwise));
    slm_buf_release(&json);
}

/* status NULL: it has only begun. */
static void write_response(struct slm_call *call, const char *name, const char *status)
{
    struct slm_buf *out = &call->out;
    const struct slm_choice_state *choice = call->choices;
    slm_write_begin(out, name, '{');
    slm_write_text(out, "id", call->id);
    slm_write_text(out, "object", "response");
    slm_write_int(out, "created_at", call->created_ns / 1000000000);
    slm_write_text(out, "status", status ? status : "in_progress");
    slm_write_null(out, "error");
    if (status && strcmp(status, "incomplete") == 0)
        slm_write_json(out, "incomplete_details", slm_str("{\"reason\":\"max_output_tokens\"}"));
    else
        slm_write_null(out, "incomplete_details");
    slm_write_text(out, "instructions", call->ask.system);
    if (call->ask.n_predict != SLM_ABSENT_INT) slm_write_int(out, "max_output_tokens", call->ask.n_predict);
    slm_write_text(out, "model", slm_host_model_name(call->model));
    slm_write_begin(out, "output", '[');
    if (status && choice->top.len) slm_buf_add(out, choice->top.data, choice->top.len);
    slm_write_end(out, ']');
    slm_write_bool(out, "parallel_tool_calls", call->ask.parallel != 0);
    slm_write_null(out, "previous_response_id");
    slm_write_bool(out, "store", false);
    write_number(out, "temperature", call->ask.temperature);
    write_number(out, "top_p", call->ask.top_p);
    write_given(out, "tool_choice", call->ask.tool_choice, "\"auto\"");
    write_given(out, "tools", call->ask.tools, "[]");
    slm_write_text(out, "truncation", "disabled");
    slm_write_begin(out, "text", '{');
    write_given(out, "format", call->ask.format, "{\"type\":\"text\"}");
    slm_write_end(out, '}');
    write_given(out, "metadata", json_object_get(call->body, "metadata"), "{}");
    if (status) write_usage(out, &call->usage);
    slm_write_end(out, '}');
}

/* Events of the whole response have it in their one field. */
static void send_response(struct slm_call *call, const char *type, const char *status)
{
    begin_event(call, type);
    write_response(call, "response", status);
    end_event(call, type);
}

/* Two events that say the same: clients wait for either. */
static void begin(struct slm_call *call)
{
    send_response(call, "response.created", NULL);
    send_response(call, "response.in_progress", NULL);
}

/* The last item has no successor that would close it. */
static void finished(struct slm_call *call, struct slm_choice_state *choice, const struct slm_event *event)
{
    (void)event;
    close_item(call, choice);
}

/* An answer that was cut is incomplete, which is not an error. */
static void end(struct slm_call *call)
{
    const enum slm_finish finish = call->choices->finish;
    const bool cut = finish == SLM_FINISH_LENGTH || finish == SLM_FINISH_TIMEOUT;
    const char *status = cut ? "incomplete" : "completed";
    if (call->streaming) {
        send_response(call, cut ? "response.incomplete" : "response.completed", status);
        return;
    }
    write_response(call, NULL, status);
    slm_call_send(call, 200);
}

/* An error in a stream is an event of its own. */
static void broken(struct slm_call *call, const struct slm_error *error)
{
    begin_event(call, "error");
    slm_write_text(&call->out, "code", error->status == SLM_ERR_DEAD_END ? "grammar_dead_end" : "server_error");
    slm_write_text(&call->out, "message", error->message);
    slm_write_null(&call->out, "param");
    end_event(call, "error");
}

/* ---- routes ---------------------------------------------------------------------------------------------------- */

const struct slm_call_kind slm_openai_responses = {
    .method = "POST", .path = "/v1/responses", .sets = sets, .table = &slm_api_responses, .keeps = true,
    .check = check, .prepare = prepare, .begin = begin, .part = part, .finished = finished, .end = end,
    .broken = broken};

/* The handlers only name their rows. */
static void post_response(void *app, const struct slm_http_request *request, struct slm_reply *reply)
{
    slm_call_start(app, request, reply, &slm_openai_responses);
}
/* Nothing is stored, so there is nothing to get or delete. */
static void no_store(void *app, const struct slm_http_request *request, struct slm_reply *reply)
{
    struct slm_error error;
    (void)app;
    (void)request;
    slm_fail(&error, SLM_ERR_UNSUPPORTED, "", STORES_NOT);
    slm_openai_error(reply, 501, &error);
}
static const struct slm_http_route routes[] = {
    {"POST", "/v1/responses", post_response, 0},
    {"GET", "/v1/responses/:id", no_store, 0},
    {"DELETE", "/v1/responses/:id", no_store, 0},
    {NULL, NULL, NULL, 0},
};
const struct slm_http_table slm_api_responses = {.prefix = "/v1/responses", .routes = routes,
                                                 .error = slm_openai_error};
