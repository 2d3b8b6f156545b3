/* SPDX-License-Identifier: MIT
 * From chat messages to a prompt: the model's template, fed as JSON, and the prompt's tokens.
 *
 * What a user types must not become the marks that separate turns. So wherever a message spells a control token, a
 * guard (tokenizer.h) goes behind its first character before the template sees it: templates treat the message as
 * ever, the tokenizer finds no control token there and drops the guard. Tools and variables are the program's own and
 * are passed on as they are. Deliberately not here: which template a model has (model_open.c), and what an answer means
 * (parts.c). */
#include "base/os.h"
#include "model/model.h"
#include "template/template.h"

/* Marks behind[i] where a guard must follow byte i: after the first character of each control token in the text. */
static void find_forgeries(const struct slm_tokenizer *tokenizer, struct slm_str text, unsigned char *behind)
{
    for (size_t id = 0; id < slm_tokenizer_n_vocab(tokenizer); id++) {
        if (slm_tokenizer_type(tokenizer, (int32_t)id) != SLM_TOKEN_CONTROL) continue;
        const struct slm_str token = slm_tokenizer_piece(tokenizer, (int32_t)id, true);
        if (token.len < 2) continue; /* one byte has no inside for a guard, and separates no turns */
        size_t first = 1; /* bytes of its first character */
        while (first < token.len && ((unsigned char)token.ptr[first] & 0xC0) == 0x80) first++;
        const char *end = text.ptr + text.len, *hit = text.ptr;
        while ((hit = memmem(hit, (size_t)(end - hit), token.ptr, token.len)) != NULL) {
            behind[(size_t)(hit - text.ptr) + first - 1] = 1;
            hit += token.len;
        }
    }
}

/* The message without guards of its own: they are no characters, and dropping one later could make a token. */
static void drop_guards(struct slm_str text, struct slm_buf *out)
{
    enum { GUARD = sizeof SLM_TOKENIZER_GUARD - 1 };
    for (const char *hit; (hit = memmem(text.ptr, text.len, SLM_TOKENIZER_GUARD, GUARD)) != NULL;) {
        const size_t n = (size_t)(hit - text.ptr);
        slm_buf_add(out, text.ptr, n);
        text = (struct slm_str){hit + GUARD, text.len - n - GUARD};
    }
    slm_buf_add_str(out, text);
}

/* Appends the message's text with a guard in every control token it spells. */
static slm_status add_guarded(const struct slm_tokenizer *tokenizer, struct slm_str text, struct slm_buf *out,
                              struct slm_error *error)
{
    struct slm_buf plain = {0};
    drop_guards(text, &plain);
    unsigned char *behind = slm_alloc(plain.len + 1, 1, "chat", error);
    slm_status status = behind ? slm_buf_status(&plain, "chat", error) : SLM_ERR_MEMORY;
    if (status == SLM_OK && plain.len) find_forgeries(tokenizer, (struct slm_str){plain.data, plain.len}, behind);
    for (size_t i = 0; status == SLM_OK && i < plain.len; i++) {
        slm_buf_add(out, plain.data + i, 1);
        if (behind[i]) slm_buf_puts(out, SLM_TOKENIZER_GUARD);
    }
    slm_release(behind);
    slm_buf_release(&plain);
    return status == SLM_OK ? slm_buf_status(out, "chat", error) : status;
}

/* Some templates (Phi-4-mini's) look for the tools in the system message, as text. */
static bool takes_tools_in_messages(const char *template_text)
{
    static const char *const ways[] = {"message['tools']", "message[\"tools\"]", "message.tools"};
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++)
        if (strstr(template_text, ways[i])) return true;
    return false;
}

static void add_tools(const char *tools, struct slm_buf *json)
{
    slm_buf_puts(json, ",\"tools\":");
    slm_buf_add_json_string(json, slm_str(tools));
}

/* guard: the tokenizer whose control tokens are to be kept out of the messages; NULL leaves them as they are. tools:
 * for the system message, which there is then; or NULL. */
static slm_status messages_to_json(const struct slm_chat_message *messages, size_t n, const char *tools,
                                   const struct slm_tokenizer *guard, struct slm_buf *json, struct slm_error *error)
{
    struct slm_buf content = {0};
    slm_status status = SLM_OK;
    const bool has_system = n && strcmp(messages[0].role, "system") == 0;
    slm_buf_puts(json, "[");
    if (tools && !has_system) {
        slm_buf_puts(json, "{\"role\":\"system\",\"content\":\"\"");
        add_tools(tools, json);
        slm_buf_puts(json, n ? "}," : "}");
    }
    for (size_t i = 0; i < n && status == SLM_OK; i++) {
        slm_buf_clear(&content);
        if (guard) status = add_guarded(guard, slm_str(messages[i].content), &content, error);
        slm_buf_puts(json, i ? ",{\"role\":" : "{\"role\":");
        slm_buf_add_json_string(json, slm_str(messages[i].role));
        slm_buf_puts(json, ",\"content\":");
        slm_buf_add_json_string(json,
                                guard ? (struct slm_str){content.data, content.len} : slm_str(messages[i].content));
        if (tools && has_system && i == 0) add_tools(tools, json);
        slm_buf_puts(json, "}");
    }
    slm_buf_puts(json, "]");
    slm_buf_release(&content);
    return status == SLM_OK ? slm_buf_status(json, "chat", error) : status;
}

/* Text of a special token as a NUL-terminated string in *out; NULL stays NULL for -1. */
static const char *special_text(const struct slm_tokenizer *tokenizer, int32_t id, struct slm_buf *out)
{
    if (!tokenizer || id < 0) return NULL;
    return slm_buf_add_str(out, slm_tokenizer_piece(tokenizer, id, true)) ? out->data : NULL;
}

/* Appends the prompt to *text. A template is parsed anew each time: it is short beside the prompt it makes, and a model
 * stays immutable. */
static slm_status render(const struct slm_model *model, const struct slm_chat_message *messages, size_t n_messages,
                         const struct slm_chat_options *options, const struct slm_tokenizer *guard,
                         struct slm_buf *text, struct slm_error *error)
{
    if (!model->chat_template)
        return slm_fail(error, SLM_ERR_UNSUPPORTED, slm_gguf_name(model->gguf), "the model has no chat template");
    /* Most templates would pass over them in silence, and the model would never know of them. */
    if (options && options->tools_json && !strstr(model->chat_template, "tools"))
        return slm_fail(error, SLM_ERR_UNSUPPORTED, slm_gguf_name(model->gguf),
                        "the model's chat template has no place for tools");
    struct slm_buf json = {0}, bos = {0}, eos = {0};
    struct slm_template *tmpl = NULL;
    const char *tools = options && takes_tools_in_messages(model->chat_template) ? options->tools_json : NULL;
    slm_status status = messages_to_json(messages, n_messages, tools, guard, &json, error);
    if (status == SLM_OK) status = slm_template_parse(slm_str(model->chat_template), "chat template", &tmpl, error);
    if (status == SLM_OK) {
        const struct slm_template_args args = {
            .messages_json = json.data, .add_generation_prompt = !options || !options->no_generation_prompt,
            .tools_json = options ? options->tools_json : NULL,
            .extra_json = options ? options->variables_json : NULL,
            .bos_token = special_text(model->tokenizer, slm_tokenizer_bos(model->tokenizer), &bos),
            .eos_token = special_text(model->tokenizer, slm_tokenizer_eos(model->tokenizer), &eos)};
        status = slm_template_render(tmpl, &args, NULL, text, error);
    }
    slm_template_free(tmpl);
    slm_buf_release(&json);
    slm_buf_release(&bos);
    slm_buf_release(&eos);
    return status;
}

slm_status slm_chat_render(const struct slm_model *model, const struct slm_chat_message *messages, size_t n_messages,
                           const struct slm_chat_options *options, char **out, size_t *out_bytes,
                           struct slm_error *error)
{
    struct slm_buf text = {0};
    slm_status status = render(model, messages, n_messages, options, NULL, &text, error);
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

/* The template decides about BOS as about every mark: transformers adds nothing to a rendered conversation either. */
static slm_status encode(const struct slm_tokenizer *tokenizer, struct slm_str text, int32_t **ids, size_t *n_ids,
                         struct slm_error *error)
{
    const unsigned flags = SLM_TOKENIZE_PARSE_SPECIAL | SLM_TOKENIZE_GUARDED;
    size_t n = 0;
    SLM_TRY(slm_tokenizer_encode(tokenizer, text.ptr, text.len, flags, NULL, 0, &n, error));
    int32_t *all = slm_alloc(n + 1, sizeof *all, "chat", error); /* + 1: an empty prompt is owned memory too */
    if (!all) return SLM_ERR_MEMORY;
    const slm_status status = slm_tokenizer_encode(tokenizer, text.ptr, text.len, flags, all, n, n_ids, error);
    if (status == SLM_OK)
        *ids = all;
    else
        slm_release(all);
    return status;
}

slm_status slm_chat_encode(const struct slm_model *model, const struct slm_chat_message *messages, size_t n_messages,
                           const struct slm_chat_options *options, int32_t **ids, size_t *n_ids,
                           struct slm_error *error)
{
    if (!model->tokenizer)
        return slm_fail(error, SLM_ERR_UNSUPPORTED, slm_gguf_name(model->gguf), "the file has no tokenizer");
    struct slm_buf text = {0};
    slm_status status = render(model, messages, n_messages, options, model->tokenizer, &text, error);
    if (status == SLM_OK)
        status = encode(model->tokenizer, (struct slm_str){text.len ? text.data : "", text.len}, ids, n_ids, error);
    slm_buf_release(&text);
    return status;
}

void slm_free(void *memory) { slm_release(memory); }
