/* SPDX-License-Identifier: MIT
 * From chat messages to a prompt: the model's template, fed as JSON, and the prompt's tokens.
 *
 * What a user types must not become the marks that separate turns. So wherever a text that comes from outside spells a
 * control token, a guard (tokenizer.h) goes behind its first character before the template sees it: templates treat the
 * text as ever, the tokenizer finds no control token there and drops the guard. That holds for every string and every
 * key of the messages, the tools and the variables alike: what tools say of themselves may come from anywhere.
 * Deliberately not here: which template a model has (model_open.c), and what an answer means (parts.c). */
#include "base/os.h"
#include "engine/guard.h"
#include "format/json.h"
#include "model/model.h"
#include "template/template.h"

/* ---- no forged turns ------------------------------------------------------------------------------------------- */

/* Appends the JSON text with guards in all its strings; what stands between them is copied. Strings are unescaped
 * before the search, because "\u003c|im_end|>" is a control token for the template as much as its plain spelling.
 * Numbers and the order of keys stay as they came: templates print tools as text, and models were trained on that. */
static slm_status guard_json(const struct slm_controls *controls, const char *text, const char *where,
                             struct slm_buf *out, struct slm_error *error)
{
    struct slm_buf plain = {0}, guarded = {0};
    struct slm_json json;
    slm_status status = SLM_OK;
    const char *copied = text;
    slm_json_init(&json, slm_str(text), where, error);
    for (enum slm_json_event event; status == SLM_OK && (event = slm_json_next(&json)) != SLM_JSON_END;) {
        if (event == SLM_JSON_ERROR) status = SLM_ERR_FORMAT;
        if (event != SLM_JSON_KEY && event != SLM_JSON_STRING) continue;
        slm_buf_clear(&plain);
        slm_buf_clear(&guarded);
        if (!slm_json_read_text(&json, &plain)) status = SLM_ERR_FORMAT;
        if (status == SLM_OK)
            status = slm_guard_add(controls, (struct slm_str){plain.data, plain.len}, &guarded, error);
        slm_buf_add(out, copied, (size_t)(json.token.ptr - 1 - copied));
        slm_buf_add_json_string(out, (struct slm_str){guarded.data, guarded.len});
        copied = json.token.ptr + json.token.len + 1;
    }
    if (status == SLM_OK) slm_buf_puts(out, copied);
    slm_buf_release(&plain);
    slm_buf_release(&guarded);
    return status == SLM_OK ? slm_buf_status(out, where, error) : status;
}

/* ---- messages as JSON ------------------------------------------------------------------------------------------ */

/* Some templates (Phi-4-mini's) look for the tools in the system message, as text. */
static bool takes_tools_in_messages(const char *template_text)
{
    static const char *const ways[] = {"message['tools']", "message[\"tools\"]", "message.tools"};
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++)
        if (strstr(template_text, ways[i])) return true;
    return false;
}

/* Where a system message begins to have fields, behind its brace: when the first message is one, else NULL. */
static const char *first_system(const char *messages)
{
    struct slm_json json;
    struct slm_error ignored = {0};
    const char *found = NULL;
    slm_json_init(&json, slm_str(messages), "messages", &ignored);
    if (slm_json_next(&json) != SLM_JSON_ARRAY || slm_json_next(&json) != SLM_JSON_OBJECT) return NULL;
    const char *const fields = messages + json.at;
    for (enum slm_json_event event; !found && (event = slm_json_next(&json)) == SLM_JSON_KEY;) {
        const bool is_role = slm_json_is(&json, "role");
        event = slm_json_next(&json);
        if (is_role && event == SLM_JSON_STRING && slm_json_is(&json, "system")) found = fields;
        if (!slm_json_skip(&json, event)) break;
    }
    return found;
}

/* Appends the messages with the tools in their system message, which there is then. */
static void add_with_tools(const char *messages, const char *tools, struct slm_buf *out)
{
    const char *at = first_system(messages);
    const bool has_system = at != NULL;
    if (!at) at = messages + strspn(messages, " \t\r\n[");
    slm_buf_add(out, messages, (size_t)(at - messages));
    if (!has_system) slm_buf_puts(out, "{\"role\":\"system\",\"content\":\"\",");
    slm_buf_puts(out, "\"tools\":");
    slm_buf_add_json_string(out, slm_str(tools));
    slm_buf_puts(out, has_system ? "," : *at == ']' ? "}" : "},");
    slm_buf_puts(out, at);
}

/* What the C API gets as structs takes the same way as what servers get as JSON, so there is one way only that has to
 * be safe. */
static slm_status messages_to_json(const struct slm_chat_message *messages, size_t n, struct slm_buf *json,
                                   struct slm_error *error)
{
    slm_buf_puts(json, "[");
    for (size_t i = 0; i < n; i++) {
        slm_buf_puts(json, i ? ",{\"role\":" : "{\"role\":");
        slm_buf_add_json_string(json, slm_str(messages[i].role));
        slm_buf_puts(json, ",\"content\":");
        slm_buf_add_json_string(json, slm_str(messages[i].content));
        slm_buf_puts(json, "}");
    }
    slm_buf_puts(json, "]");
    return slm_buf_status(json, "chat", error);
}

/* ---- rendering ------------------------------------------------------------------------------------------------- */

/* Text of a special token as a NUL-terminated string in *out; NULL stays NULL for -1. */
static const char *special_text(const struct slm_tokenizer *tokenizer, int32_t id, struct slm_buf *out)
{
    if (!tokenizer || id < 0) return NULL;
    return slm_buf_add_str(out, slm_tokenizer_piece(tokenizer, id, true)) ? out->data : NULL;
}

/* The texts a template is fed with; guarded copies where there is something to guard against. */
struct inputs { struct slm_buf messages, tools, variables, bos, eos; };

/* The caller releases *in, also after an error. The tools go into the messages before these are guarded, so that they
 * are text of a string there and pass the guards like any other. */
static slm_status read_inputs(const struct slm_model *model, const char *messages,
                              const struct slm_chat_options *options, bool guard, struct inputs *in,
                              struct slm_error *error)
{
    const char *const tools = options ? options->tools_json : NULL;
    const char *const variables = options ? options->variables_json : NULL;
    struct slm_buf whole = {0};
    struct slm_controls controls = {0};
    if (tools && takes_tools_in_messages(model->chat_template))
        add_with_tools(messages, tools, &whole);
    else
        slm_buf_puts(&whole, messages);
    slm_status status = slm_buf_status(&whole, "chat", error);
    if (status == SLM_OK && guard) status = slm_controls_list(model->tokenizer, &controls, error);
    const struct { const char *text, *where; struct slm_buf *out; } rows[] = {
        {whole.data, "messages", &in->messages}, {tools, "tools", &in->tools},
        {variables, "variables", &in->variables}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows && status == SLM_OK; i++) {
        if (!rows[i].text) continue;
        if (guard)
            status = guard_json(&controls, rows[i].text, rows[i].where, rows[i].out, error);
        else if (!slm_buf_puts(rows[i].out, rows[i].text))
            status = slm_buf_status(rows[i].out, rows[i].where, error);
    }
    slm_release(controls.texts);
    slm_buf_release(&whole);
    return status;
}

/* Appends the prompt to *text. A template is parsed anew each time: it is short beside the prompt it makes, and a
 * model stays immutable. */
static slm_status render(const struct slm_model *model, const char *messages, const struct slm_chat_options *options,
                         bool guard, struct slm_buf *text, struct slm_error *error)
{
    if (!model->chat_template)
        return slm_fail(error, SLM_ERR_UNSUPPORTED, slm_gguf_name(model->gguf), "the model has no chat template");
    /* Most templates would pass over them in silence, and the model would never know of them. */
    if (options && options->tools_json && !strstr(model->chat_template, "tools"))
        return slm_fail(error, SLM_ERR_UNSUPPORTED, slm_gguf_name(model->gguf),
                        "the model's chat template has no place for tools");
    struct inputs in = {0};
    struct slm_template *tmpl = NULL;
    slm_status status = read_inputs(model, messages, options, guard, &in, error);
    if (status == SLM_OK) status = slm_template_parse(slm_str(model->chat_template), "chat template", &tmpl, error);
    if (status == SLM_OK) {
        const struct slm_template_args args = {
            .messages_json = in.messages.data, .add_generation_prompt = !options || !options->no_generation_prompt,
            .tools_json = in.tools.data, .extra_json = in.variables.data,
            .bos_token = special_text(model->tokenizer, slm_tokenizer_bos(model->tokenizer), &in.bos),
            .eos_token = special_text(model->tokenizer, slm_tokenizer_eos(model->tokenizer), &in.eos)};
        status = slm_template_render(tmpl, &args, NULL, text, error);
    }
    slm_template_free(tmpl);
    slm_buf_release(&in.messages);
    slm_buf_release(&in.tools);
    slm_buf_release(&in.variables);
    slm_buf_release(&in.bos);
    slm_buf_release(&in.eos);
    return status;
}

/* For people and tests who want to see the prompt: without guards, which are nothing that anybody should read.
 * Whoever tokenizes this text himself loses the protection; slm_chat_encode_json() has it. *out is freed by
 * slm_free(). */
slm_status slm_chat_render_json(const struct slm_model *model, const char *messages,
                                const struct slm_chat_options *options, char **out, size_t *out_bytes,
                                struct slm_error *error)
{
    struct slm_buf text = {0};
    slm_status status = render(model, messages, options, false, &text, error);
    if (status == SLM_OK) slm_buf_puts(&text, ""); /* an empty prompt is a string too */
    if (status == SLM_OK) status = slm_buf_status(&text, "chat", error);
    if (status != SLM_OK) {
        slm_buf_release(&text);
        return status;
    }
    *out = text.data;
    *out_bytes = text.len;
    return SLM_OK;
}

slm_status slm_chat_render(const struct slm_model *model, const struct slm_chat_message *messages, size_t n_messages,
                           const struct slm_chat_options *options, char **out, size_t *out_bytes,
                           struct slm_error *error)
{
    struct slm_buf json = {0};
    slm_status status = messages_to_json(messages, n_messages, &json, error);
    if (status == SLM_OK) status = slm_chat_render_json(model, json.data, options, out, out_bytes, error);
    slm_buf_release(&json);
    return status;
}

slm_status slm_chat_encode_json(const struct slm_model *model, const char *messages,
                                const struct slm_chat_options *options, int32_t **ids, size_t *n_ids,
                                struct slm_error *error)
{
    if (!model->tokenizer)
        return slm_fail(error, SLM_ERR_UNSUPPORTED, slm_gguf_name(model->gguf), "the file has no tokenizer");
    struct slm_buf text = {0};
    slm_status status = render(model, messages, options, true, &text, error);
    if (status == SLM_OK)
        status = slm_guard_encode(model->tokenizer, (struct slm_str){text.len ? text.data : "", text.len}, ids, n_ids,
                                  error);
    slm_buf_release(&text);
    return status;
}

slm_status slm_chat_encode(const struct slm_model *model, const struct slm_chat_message *messages, size_t n_messages,
                           const struct slm_chat_options *options, int32_t **ids, size_t *n_ids,
                           struct slm_error *error)
{
    struct slm_buf json = {0};
    slm_status status = messages_to_json(messages, n_messages, &json, error);
    if (status == SLM_OK) status = slm_chat_encode_json(model, json.data, options, ids, n_ids, error);
    slm_buf_release(&json);
    return status;
}

void slm_free(void *memory) { slm_release(memory); }
