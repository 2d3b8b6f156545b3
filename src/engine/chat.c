/* SPDX-License-Identifier: MIT
 * From chat messages to a prompt: the model's template, fed as JSON. */
#include "base/os.h"
#include "model/model.h"
#include "template/template.h"

static bool messages_to_json(const struct slm_chat_message *messages, size_t n, struct slm_buf *json)
{
    slm_buf_puts(json, "[");
    for (size_t i = 0; i < n; i++) {
        slm_buf_puts(json, i ? ",{\"role\":" : "{\"role\":");
        slm_buf_add_json_string(json, slm_str(messages[i].role));
        slm_buf_puts(json, ",\"content\":");
        slm_buf_add_json_string(json, slm_str(messages[i].content));
        slm_buf_puts(json, "}");
    }
    return slm_buf_puts(json, "]");
}

/* Text of a special token as a NUL-terminated string in *out; NULL stays NULL for -1. */
static const char *special_text(const struct slm_tokenizer *tokenizer, int32_t id, struct slm_buf *out)
{
    if (!tokenizer || id < 0) return NULL;
    return slm_buf_add_str(out, slm_tokenizer_piece(tokenizer, id, true)) ? out->data : NULL;
}

slm_status slm_chat_render(const struct slm_model *model, const struct slm_chat_message *messages, size_t n_messages,
                           bool add_generation_prompt, char **out, size_t *out_bytes, struct slm_error *error)
{
    const char *where = slm_gguf_name(model->gguf);
    if (!model->chat_template)
        return slm_fail(error, SLM_ERR_UNSUPPORTED, where, "the model has no chat template");
    struct slm_buf json = {0}, bos = {0}, eos = {0}, text = {0};
    struct slm_template *tmpl = NULL;
    messages_to_json(messages, n_messages, &json);
    slm_status status = slm_buf_status(&json, "chat", error);
    if (status == SLM_OK) status = slm_template_parse(slm_str(model->chat_template), "chat template", &tmpl, error);
    if (status == SLM_OK) {
        const struct slm_template_args args = {
            .messages_json = json.data, .add_generation_prompt = add_generation_prompt,
            .bos_token = special_text(model->tokenizer, slm_tokenizer_bos(model->tokenizer), &bos),
            .eos_token = special_text(model->tokenizer, slm_tokenizer_eos(model->tokenizer), &eos)};
        status = slm_template_render(tmpl, &args, NULL, &text, error);
    }
    if (status == SLM_OK) {
        if (!text.data) slm_buf_puts(&text, "");
        *out = slm_alloc(text.len + 1, 1, "chat", error);
        if (*out) {
            if (text.len) memcpy(*out, text.data, text.len);
            *out_bytes = text.len;
        } else {
            status = SLM_ERR_MEMORY;
        }
    }
    slm_template_free(tmpl);
    slm_buf_release(&json);
    slm_buf_release(&bos);
    slm_buf_release(&eos);
    slm_buf_release(&text);
    return status;
}

void slm_free(void *memory) { slm_release(memory); }
