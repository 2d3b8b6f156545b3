/* SPDX-License-Identifier: MIT
 * Messages, tools and thinking of chats: from JSON that clients send to JSON that templates were
 * written for. Everything that cannot be carried over is an error with its path, for a message that
 * lost something on the way would be answered as if it had never been said. Deliberately not here:
 * messages of Anthropic and of OpenAI's responses, which their own files turn into these. */
#include "serve/api_chat.h"

#include "base/os.h"

enum { MAX_TOOLS = 128, MAX_NAME = 128 };

/* jansson gives no reasons: when it fails, memory is out. */
static slm_status no_memory(struct slm_error *error) { return slm_fail_memory(error, "chat", 0); }

/* ---- content --------------------------------------------------------------------------------------------------- */

/* Parts of content by type; those without a field are refused, naming what they would have been. */
static const struct part_type { const char *type, *field, *what; } part_types[] = {
    {"text", "text", NULL},           {"input_text", "text", NULL}, {"output_text", "text", NULL},
    {"refusal", "refusal", NULL},     {"image_url", NULL, "images"}, {"input_image", NULL, "images"},
    {"image", NULL, "images"},        {"input_audio", NULL, "audio"}, {"video_url", NULL, "video"},
    {"file", NULL, "files"},          {"input_file", NULL, "files"}, {"document", NULL, "documents"},
};

/* Appends one part. A type without a field is one that other servers know:
 * the error says what it would have been. */
static slm_status add_part(const json_t *part, const char *path, struct slm_buf *out, struct slm_error *error)
{
    const char *type = json_string_value(json_object_get(part, "type"));
    if (!type)
        return slm_fail(error, SLM_ERR_ARGUMENT, slm_path("%s.type", path).text,
                        "is required, for each part of a content");
    for (size_t i = 0; i < sizeof part_types / sizeof *part_types; i++) {
        const struct part_type *row = &part_types[i];
        if (strcmp(row->type, type) != 0) continue;
        if (!row->field)
            return slm_fail(error, SLM_ERR_UNSUPPORTED, path, "%s are not supported (type '%s'), only text is",
                            row->what, type);
        const json_t *text = json_object_get(part, row->field);
        if (!json_is_string(text))
            return slm_fail(error, SLM_ERR_ARGUMENT, slm_path("%s.%s", path, row->field).text, "must be a string");
        if (out->len) slm_buf_add(out, "\n", 1); /* parts are paragraphs */
        slm_buf_add(out, json_string_value(text), json_string_length(text));
        return slm_buf_status(out, path, error);
    }
    return slm_fail(error, SLM_ERR_UNSUPPORTED, slm_path("%s.type", path).text, "'%s' is not supported, only text is",
                    type);
}

/* Templates of text models take a string; what parts said one after the
 * other becomes paragraphs of it. */
slm_status slm_content_text(const json_t *content, const char *path, struct slm_buf *out, struct slm_error *error)
{
    slm_buf_clear(out);
    slm_buf_puts(out, "");
    if (!content || json_is_null(content)) return slm_buf_status(out, path, error);
    if (json_is_string(content)) {
        slm_buf_add(out, json_string_value(content), json_string_length(content));
        return slm_buf_status(out, path, error);
    }
    if (!json_is_array(content))
        return slm_fail(error, SLM_ERR_ARGUMENT, path, "must be a string or an array of parts, not %s",
                        slm_json_kind(content));
    for (size_t i = 0; i < json_array_size(content); i++)
        SLM_TRY(add_part(json_array_get(content, i), slm_path("%s[%zu]", path, i).text, out, error));
    return SLM_OK;
}

/* ---- messages -------------------------------------------------------------------------------------------------- */

/* A message with the two fields that all have; more are added by the
 * caller. */
json_t *slm_messages_add(json_t *messages, const char *role, const struct slm_buf *text)
{
    json_t *message = json_object();
    json_t *content = json_stringn(text->data ? text->data : "", text->len);
    json_object_set_new(message, "role", json_string(role));
    json_object_set_new(message, "content", content);
    /* What failed on the way shows here: a message without content was never added. */
    return content && json_array_append_new(messages, message) == 0 ? message : NULL;
}

/* OpenAI sends arguments as JSON in a string, the others as an object;
 * templates want the object, which they write in their own way. So text
 * that is no object is an error here and not in the model's prompt. */
slm_status slm_messages_add_call(json_t *message, const char *id, const char *name, const json_t *arguments,
                             const char *path, struct slm_error *error)
{
    json_t *object = NULL;
    if (json_is_object(arguments)) {
        object = json_incref((json_t *)(uintptr_t)arguments);
    } else if (json_is_string(arguments) && json_string_length(arguments) > 0) {
        struct slm_error bad;
        const struct slm_str text = {json_string_value(arguments), json_string_length(arguments)};
        if (slm_read_body(text, &object, &bad) != SLM_OK)
            return slm_fail(error, SLM_ERR_ARGUMENT, path, "must be a JSON object: %s", bad.message);
    } else if (!arguments || json_is_null(arguments) || json_is_string(arguments)) {
        object = json_object();
    } else {
        return slm_fail(error, SLM_ERR_ARGUMENT, path, "must be a JSON object, not %s", slm_json_kind(arguments));
    }
    json_t *calls = json_object_get(message, "tool_calls");
    if (!calls) {
        calls = json_array();
        json_object_set_new(message, "tool_calls", calls);
    }
    json_t *call = json_object(), *function = json_object();
    if (id) json_object_set_new(call, "id", json_string(id));
    json_object_set_new(call, "type", json_string("function"));
    json_object_set_new(function, "name", json_string(name));
    json_object_set_new(function, "arguments", object);
    json_object_set_new(call, "function", function);
    return json_array_append_new(calls, call) == 0 ? SLM_OK : no_memory(error);
}

struct message {
    const char *role, *name, *tool_call_id, *tool_name, *thinking, *reasoning, *reasoning_content;
    const json_t *content, *tool_calls, *refusal;
};
#define AT(field) offsetof(struct message, field)
static const struct slm_field message_rows[] = {
    {.name = "role", .kind = SLM_FIELD_TEXT, .offset = AT(role), .needed = true,
     .help = "system, developer (the same), user, assistant or tool"},
    {.name = "content", .kind = SLM_FIELD_JSON, .offset = AT(content),
     .help = "text, or an array of parts of type text"},
    {.name = "name", .kind = SLM_FIELD_TEXT, .offset = AT(name), .help = "passed to the template"},
    {.name = "tool_calls", .kind = SLM_FIELD_JSON, .offset = AT(tool_calls),
     .help = "calls the assistant made: `id`, `function.name`, `function.arguments` (JSON text or an object)"},
    {.name = "tool_call_id", .kind = SLM_FIELD_TEXT, .offset = AT(tool_call_id),
     .help = "which call a tool message answers"},
    {.name = "tool_name", .kind = SLM_FIELD_TEXT, .offset = AT(tool_name),
     .help = "the tool's name, as Ollama has it"},
    {.name = "reasoning_content", .kind = SLM_FIELD_TEXT, .offset = AT(reasoning_content),
     .help = "earlier thinking of the assistant, passed to the template"},
    {.name = "reasoning", .kind = SLM_FIELD_TEXT, .offset = AT(reasoning), .help = "the same"},
    {.name = "thinking", .kind = SLM_FIELD_TEXT, .offset = AT(thinking), .help = "the same, as Ollama has it"},
    {.name = "refusal", .kind = SLM_FIELD_HINT, .help = "what clients send back of an answer; without effect"},
    {.name = "annotations", .kind = SLM_FIELD_HINT, .help = "what clients send back of an answer; without effect"},
    {.name = "audio", .kind = SLM_FIELD_ONLY, .only = "", .help = "audio is not supported"},
    {.name = "images", .kind = SLM_FIELD_ONLY, .only = "[]", .help = "images are not supported"},
    {.name = "function_call", .kind = SLM_FIELD_ONLY, .only = "", .help = "replaced by tool_calls"},
};
#undef AT
const struct slm_field_set slm_message_fields[] = {SLM_FIELDS(message_rows), {NULL, 0}};

/* The calls of an assistant's message, each with its name and arguments. */
static slm_status add_calls(json_t *message, const json_t *calls, const char *path, struct slm_error *error)
{
    if (!json_is_array(calls))
        return slm_fail(error, SLM_ERR_ARGUMENT, path, "must be an array, not %s", slm_json_kind(calls));
    for (size_t i = 0; i < json_array_size(calls); i++) {
        const json_t *call = json_array_get(calls, i), *function = json_object_get(call, "function");
        const char *name = json_string_value(json_object_get(function, "name"));
        if (!name)
            return slm_fail(error, SLM_ERR_ARGUMENT, slm_path("%s[%zu].function.name", path, i).text, "is required");
        SLM_TRY(slm_messages_add_call(message, json_string_value(json_object_get(call, "id")), name,
                                  json_object_get(function, "arguments"),
                                  slm_path("%s[%zu].function.arguments", path, i).text, error));
    }
    return SLM_OK;
}

/* Roles that templates know; developer is what OpenAI calls system now. */
static const char *template_role(const char *role)
{
    static const char *const roles[] = {"system", "user", "assistant", "tool"};
    if (strcmp(role, "developer") == 0) return "system";
    for (size_t i = 0; i < sizeof roles / sizeof *roles; i++)
        if (strcmp(role, roles[i]) == 0) return roles[i];
    return NULL;
}

/* One message by the rows above. Names and ids go along for templates that
 * print them. */
static slm_status add_message(json_t *messages, const json_t *json, const char *path, struct slm_buf *text,
                              struct slm_error *error)
{
    struct message in = {0};
    SLM_TRY(slm_read_fields(json, slm_path("%s.", path).text, slm_message_fields, &in, error));
    const char *role = template_role(in.role);
    if (!role)
        return slm_fail(error, SLM_ERR_ARGUMENT, slm_path("%s.role", path).text,
                        "must be system, developer, user, assistant or tool, not '%.40s'", in.role);
    const bool may_lack = strcmp(role, "assistant") == 0; /* calls and thinking may be all there is */
    if (!in.content && !may_lack)
        return slm_fail(error, SLM_ERR_ARGUMENT, slm_path("%s.content", path).text, "is required");
    SLM_TRY(slm_content_text(in.content, slm_path("%s.content", path).text, text, error));
    json_t *message = slm_messages_add(messages, role, text);
    if (!message) return no_memory(error);
    const char *thinking = in.reasoning_content ? in.reasoning_content : in.reasoning ? in.reasoning : in.thinking;
    const char *name = in.name ? in.name : in.tool_name;
    if (name) json_object_set_new(message, "name", json_string(name));
    if (in.tool_call_id) json_object_set_new(message, "tool_call_id", json_string(in.tool_call_id));
    if (thinking) json_object_set_new(message, "reasoning_content", json_string(thinking));
    if (!in.tool_calls || (json_is_array(in.tool_calls) && json_array_size(in.tool_calls) == 0)) return SLM_OK;
    if (strcmp(role, "assistant") != 0)
        return slm_fail(error, SLM_ERR_ARGUMENT, slm_path("%s.tool_calls", path).text, "are the assistant's alone");
    return add_calls(message, in.tool_calls, slm_path("%s.tool_calls", path).text, error);
}

/* All messages; the first error ends it, and its place is the message's
 * index. */
slm_status slm_messages_read(const json_t *array, const char *path, json_t **out, struct slm_error *error)
{
    if (!json_is_array(array) || json_array_size(array) == 0)
        return slm_fail(error, SLM_ERR_ARGUMENT, path, "must be an array of at least one message");
    json_t *messages = json_array();
    struct slm_buf text = {0};
    slm_status status = messages ? SLM_OK : no_memory(error);
    for (size_t i = 0; i < json_array_size(array) && status == SLM_OK; i++)
        status = add_message(messages, json_array_get(array, i), slm_path("%s[%zu]", path, i).text, &text, error);
    slm_buf_release(&text);
    if (status == SLM_OK)
        *out = messages;
    else
        json_decref(messages);
    return status;
}

/* ---- tools ----------------------------------------------------------------------------------------------------- */

/* Names appear in prompts, grammars and replies: letters that mean nothing
 * in any of them. */
static bool name_ok(const char *name)
{
    const size_t n = strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.:/");
    return n > 0 && n <= MAX_NAME && name[n] == 0;
}

/* The description may be missing, the schema too: then the tool takes no
 * arguments. */
slm_status slm_tools_add(json_t *tools, const json_t *function, const char *schema_name, const char *path,
                             struct slm_error *error)
{
    const json_t *name = json_object_get(function, "name"), *about = json_object_get(function, "description");
    json_t *schema = json_object_get(function, schema_name);
    if (!json_is_string(name) || !name_ok(json_string_value(name)))
        return slm_fail(error, SLM_ERR_ARGUMENT, slm_path("%s.name", path).text,
                        "must have from 1 to %d letters, digits, or any of _-.:/", MAX_NAME);
    if (about && !json_is_null(about) && !json_is_string(about))
        return slm_fail(error, SLM_ERR_ARGUMENT, slm_path("%s.description", path).text, "must be a string");
    if (schema && !json_is_null(schema) && !json_is_object(schema))
        return slm_fail(error, SLM_ERR_ARGUMENT, slm_path("%s.%s", path, schema_name).text,
                        "must be a JSON Schema object, not %s", slm_json_kind(schema));
    if (json_array_size(tools) == MAX_TOOLS)
        return slm_fail(error, SLM_ERR_LIMIT, "tools", "has more than the allowed %d tools", MAX_TOOLS);
    json_t *tool = json_object(), *inner = json_object();
    json_object_set_new(tool, "type", json_string("function"));
    json_object_set_new(inner, "name", json_string(json_string_value(name)));
    if (json_is_string(about)) json_object_set(inner, "description", (json_t *)(uintptr_t)about);
    if (json_is_object(schema))
        json_object_set(inner, "parameters", schema);
    else
        json_object_set_new(inner, "parameters", json_pack("{s:s, s:{}}", "type", "object", "properties"));
    json_object_set_new(tool, "function", inner);
    return json_array_append_new(tools, tool) == 0 ? SLM_OK : no_memory(error);
}

/* An empty array is no tools, as some clients always send one. */
slm_status slm_tools_read(const json_t *array, json_t **out, struct slm_error *error)
{
    if (!array || (json_is_array(array) && json_array_size(array) == 0)) return SLM_OK;
    if (!json_is_array(array))
        return slm_fail(error, SLM_ERR_ARGUMENT, "tools", "must be an array, not %s", slm_json_kind(array));
    json_t *tools = json_array();
    slm_status status = tools ? SLM_OK : no_memory(error);
    for (size_t i = 0; i < json_array_size(array) && status == SLM_OK; i++) {
        const json_t *tool = json_array_get(array, i), *type = json_object_get(tool, "type");
        if (type && !(json_is_string(type) && strcmp(json_string_value(type), "function") == 0))
            status = slm_fail(error, SLM_ERR_UNSUPPORTED, slm_path("tools[%zu].type", i).text,
                              "must be \"function\": tools are called by the client");
        else
            status = slm_tools_add(tools, json_object_get(tool, "function"), "parameters",
                                       slm_path("tools[%zu].function", i).text, error);
    }
    if (status == SLM_OK)
        *out = tools;
    else
        json_decref(tools);
    return status;
}

/* The tool must be among those that were offered, or there must be some at
 * all. */
slm_status slm_call_force(struct slm_call *call, const struct slm_chat_ask *chat, const char *name,
                          struct slm_error *error)
{
    bool found = !*name && chat->tools;
    for (size_t i = 0; chat->tools && !found && i < json_array_size(chat->tools); i++) {
        const json_t *function = json_object_get(json_array_get(chat->tools, i), "function");
        found = strcmp(json_string_value(json_object_get(function, "name")), name) == 0;
    }
    if (!found)
        return slm_fail(error, SLM_ERR_ARGUMENT, "tool_choice", "%s%s%s",
                        *name ? "there is no tool '" : "there are no tools",
                        name, *name ? "' among the tools" : " to be called");
    call->forced = slm_call_copy(slm_str(name), error);
    return call->forced ? SLM_OK : SLM_ERR_MEMORY;
}

/* ---- the prompt ------------------------------------------------------------------------------------------------ */

/* A template that speaks of thinking has a switch for it; no family is
 * known by its name. */
bool slm_model_can_think(const struct slm_model *model)
{
    static const char *const signs[] = {"enable_thinking", "reasoning_effort", "<think>", "[THINK]"};
    const char *text = slm_model_chat_template(model);
    for (size_t i = 0; text && i < sizeof signs / sizeof *signs; i++)
        if (strstr(text, signs[i])) return true;
    return false;
}

/* The same for tools. */
bool slm_model_can_call(const struct slm_model *model)
{
    const char *text = slm_model_chat_template(model);
    return text && strstr(text, "tools");
}

/* Variables of the template: the client's own, and what it asked about thinking. */
static slm_status make_variables(struct slm_call *call, const struct slm_chat_ask *chat, struct slm_buf *out,
                                 struct slm_error *error)
{
    const json_t *given = call->ask.variables;
    if (given && !json_is_object(given))
        return slm_fail(error, SLM_ERR_ARGUMENT, "chat_template_kwargs", "must be an object, not %s",
                        slm_json_kind(given));
    if (chat->think == 1 && !slm_model_can_think(slm_call_model(call)))
        return slm_fail(error, SLM_ERR_UNSUPPORTED, "think", "\"%s\" does not support thinking",
                        slm_host_model_name(call->model));
    json_t *all = given ? json_copy((json_t *)(uintptr_t)given) : json_object();
    if (chat->think != SLM_ABSENT_BOOL && !json_object_get(all, "enable_thinking"))
        json_object_set_new(all, "enable_thinking", json_boolean(chat->think));
    if (chat->effort && !json_object_get(all, "reasoning_effort"))
        json_object_set_new(all, "reasoning_effort", json_string(chat->effort));
    if (json_object_size(all) > 0) slm_json_write(out, all);
    json_decref(all);
    return slm_buf_status(out, "variables", error);
}

/* Tools that must not be called are not shown: a model that never sees
 * them cannot call them. */
static slm_status write_tools(struct slm_call *call, const struct slm_chat_ask *chat, struct slm_error *error)
{
    struct slm_buf tools = {0};
    if (!chat->tools || chat->no_tools) return SLM_OK;
    slm_json_write(&tools, chat->tools);
    const slm_status status = slm_buf_status(&tools, "tools", error);
    if (status == SLM_OK)
        call->tools_json = tools.data;
    else
        slm_buf_release(&tools);
    return status;
}

/* Forgets the oldest message that is no system message, and the answers of tools that now answer nothing. False when
 * only the last is left. */
static bool drop_oldest(json_t *messages)
{
    const char *role = json_string_value(json_object_get(json_array_get(messages, 0), "role"));
    const size_t first = role && strcmp(role, "system") == 0;
    if (json_array_size(messages) <= first + 1) return false;
    do {
        json_array_remove(messages, first);
        role = json_string_value(json_object_get(json_array_get(messages, first), "role"));
    } while (json_array_size(messages) > first + 1 && role && strcmp(role, "tool") == 0);
    return true;
}

/* Tokens of the chat, of as much of it as fits where truncation was asked for. */
static slm_status encode(struct slm_call *call, struct slm_chat_ask *chat, const struct slm_chat_options *options,
                         int32_t **ids, size_t *n, struct slm_error *error)
{
    for (;;) {
        struct slm_buf messages = {0};
        slm_json_write(&messages, chat->messages);
        slm_status status = slm_buf_status(&messages, "messages", error);
        if (status == SLM_OK)
            status = slm_chat_encode_json(slm_call_model(call), messages.data, options, ids, n, error);
        slm_buf_release(&messages);
        if (status != SLM_OK) return status;
        const bool fits = *n < slm_host_model_n_ctx(call->model);
        if (fits || call->ask.truncate != 1 || !drop_oldest(chat->messages)) return SLM_OK;
        slm_free(*ids);
    }
}

/* The prompt as text, with special tokens spelled out, for /apply-
 * template. */
static slm_status render(struct slm_call *call, const struct slm_chat_ask *chat,
                         const struct slm_chat_options *options,
                         struct slm_error *error)
{
    struct slm_buf messages = {0};
    char *text = NULL;
    size_t n = 0;
    slm_json_write(&messages, chat->messages);
    slm_status status = slm_buf_status(&messages, "messages", error);
    if (status == SLM_OK)
        status = slm_chat_render_json(slm_call_model(call), messages.data, options, &text, &n, error);
    if (text) slm_buf_add(&call->extra, text, n);
    slm_free(text);
    slm_buf_release(&messages);
    return status;
}

/* The one way from a chat to a prompt, for all APIs. */
slm_status slm_call_chat(struct slm_call *call, struct slm_chat_ask *chat, enum slm_chat_use use,
                         struct slm_error *error)
{
    struct slm_buf variables = {0};
    int32_t *ids = NULL;
    size_t n = 0;
    slm_status status = make_variables(call, chat, &variables, error);
    if (status == SLM_OK) status = write_tools(call, chat, error);
    const struct slm_chat_options options = {.tools_json = call->tools_json, .variables_json = variables.data,
                                             .no_generation_prompt = chat->continues};
    if (status == SLM_OK)
        status = use == SLM_CHAT_TEXT ? render(call, chat, &options, error)
                                      : encode(call, chat, &options, &ids, &n, error);
    slm_buf_release(&variables);
    if (use == SLM_CHAT_IDS) {
        call->ids = ids;
        call->n_ids = n;
    }
    /* Memory of the library's ids is slm_alloc's: the job may have it. */
    call->tools = chat->tools;
    call->thinks = chat->think == 1 ? slm_model_chat_template(slm_call_model(call)) : NULL;
    if (status == SLM_OK && use == SLM_CHAT_JOB)
        status = slm_call_add_job(call, ids, n, SLM_SPLIT_PARTS, error);
    call->tools = NULL;
    json_decref(chat->messages);
    json_decref(chat->tools);
    chat->messages = chat->tools = NULL;
    return status;
}
