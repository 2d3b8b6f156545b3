/* SPDX-License-Identifier: MIT
 *
 * /save and /load: a conversation as JSON,
 *   {"format": "slm-chat", "version": 1, "model": NAME, "system": TEXT or null,
 *    "parameters": {NAME: VALUE, ...}, "messages": [{"role": "user" | "assistant", "content": TEXT}, ...]}
 * with only those parameters that a person chose. It holds text, not the session's KV cache: it is readable,
 * small and not bound to a model; what the text means to the model is computed again on the next turn.
 *
 * Loading trusts nothing: a file is checked whole before the chat is touched. */
#include <jansson.h>
#include <math.h>
#include <unistd.h>

#include "base/os.h"
#include "cli/chat.h"

enum { MAX_FILE_BYTES = 64 << 20, MAX_MESSAGES = 100000 };

/* ---- save ------------------------------------------------------------------------------------ */

/* Row i, if a person chose it. Rows without a key (logit bias, --ignore-eos) belong to a run, not to a
 * conversation. */
static void add_parameter(struct slm_buf *out, const struct slm_chat *chat, size_t i)
{
    const struct slm_option *row = &slm_sampling_rows[i];
    const char *at = (const char *)&chat->sampling + row->offset;
    if (!row->key || !(chat->sampling.seen >> i & 1)) return;
    if (row->kind == SLM_OPTION_INT) {
        int32_t value;
        memcpy(&value, at, sizeof value);
        slm_json_i64(out, row->key, value);
    } else if (row->kind == SLM_OPTION_FLOAT) {
        float value;
        memcpy(&value, at, sizeof value);
        slm_json_key(out, row->key);
        slm_json_float(out, value);
    } else if (row->kind == SLM_OPTION_U64) {
        uint64_t value;
        char text[24]; /* as text: JSON readers lose the low bits of large numbers */
        memcpy(&value, at, sizeof value);
        snprintf(text, sizeof text, "%llu", (unsigned long long)value);
        slm_json_text(out, row->key, text);
    } else if (row->kind == SLM_OPTION_LIST) {
        slm_json_key(out, row->key);
        slm_buf_puts(out, "[");
        for (size_t s = 0; s < chat->sampling.stop.n; s++) {
            if (s) slm_buf_puts(out, ",");
            slm_buf_add_json_string(out, slm_str(chat->sampling.stop.items[s]));
        }
        slm_buf_puts(out, "]");
    }
}

/* One message a line, so that the file can be read and compared. */
static void add_chat(struct slm_buf *out, const struct slm_chat *chat)
{
    slm_buf_puts(out, "{");
    slm_json_text(out, "format", "slm-chat");
    slm_json_i64(out, "version", 1);
    slm_json_text(out, "model", slm_model_info(chat->model).name);
    slm_json_text(out, "system", chat->system);
    slm_json_key(out, "parameters");
    slm_buf_puts(out, "{");
    for (size_t i = 0; i < SLM_SAMPLING_ROWS; i++) add_parameter(out, chat, i);
    slm_buf_puts(out, "}");
    slm_json_key(out, "messages");
    slm_buf_puts(out, "[");
    for (size_t i = 0; i < chat->n_messages; i++) {
        slm_buf_puts(out, i ? ",\n{" : "\n{");
        slm_json_text(out, "role", chat->messages[i].role);
        slm_json_text(out, "content", chat->messages[i].content);
        slm_buf_puts(out, "}");
    }
    slm_buf_puts(out, "]}\n");
}

/* Temporary file, fsync, rename: an older file of that name stays whole until the new one is. The process id in
 * the name keeps two programs apart. */
static slm_status write_file(const char *path, const struct slm_buf *text, struct slm_error *error)
{
    const struct slm_os *os = slm_os();
    struct slm_file *file;
    struct slm_buf temp = {0};
    slm_buf_printf(&temp, "%s.%d.tmp", path, (int)getpid());
    slm_status status = slm_buf_status(&temp, path, error);
    if (status == SLM_OK) status = os->create(temp.data, &file, error);
    if (status == SLM_OK) {
        status = os->write(file, text->data, text->len, error);
        if (status == SLM_OK) status = os->sync(file, error);
        slm_status closed = os->close(file, status == SLM_OK ? error : NULL);
        if (status == SLM_OK) status = closed;
        if (status == SLM_OK) status = os->rename(temp.data, path, error);
        if (status != SLM_OK) os->remove(temp.data, NULL);
    }
    slm_buf_release(&temp);
    return status;
}

slm_status slm_chat_save(const struct slm_chat *chat, const char *path, struct slm_error *error)
{
    struct slm_buf text = {0};
    add_chat(&text, chat);
    slm_status status = slm_buf_status(&text, path, error);
    if (status == SLM_OK) status = write_file(path, &text, error);
    slm_buf_release(&text);
    return status;
}

/* ---- load ------------------------------------------------------------------------------------ */

/* i counts from 0, as JSON tools do. */
static slm_status check_message(const json_t *message, size_t i, const char *path, struct slm_error *error)
{
    const char *role = json_string_value(json_object_get(message, "role"));
    if (!role || (strcmp(role, "user") != 0 && strcmp(role, "assistant") != 0))
        return slm_fail(error, SLM_ERR_FORMAT, path, "message %zu has no role \"user\" or \"assistant\"", i);
    if (!json_is_string(json_object_get(message, "content")))
        return slm_fail(error, SLM_ERR_FORMAT, path, "message %zu has no text as its content", i);
    return SLM_OK;
}

/* Shape and types of everything that is read later; unknown fields are let pass. */
static slm_status check_chat(const json_t *root, const char *path, struct slm_error *error)
{
    const char *format = json_string_value(json_object_get(root, "format"));
    const json_t *messages = json_object_get(root, "messages");
    const json_t *system = json_object_get(root, "system"), *parameters = json_object_get(root, "parameters");
    if (!format || strcmp(format, "slm-chat") != 0 || json_integer_value(json_object_get(root, "version")) != 1)
        return slm_fail(error, SLM_ERR_FORMAT, path, "is not a saved conversation of version 1");
    if (!json_is_array(messages) || json_array_size(messages) > MAX_MESSAGES)
        return slm_fail(error, SLM_ERR_FORMAT, path, "'messages' is not an array of at most %d messages",
                        MAX_MESSAGES);
    if (system && !json_is_null(system) && !json_is_string(system))
        return slm_fail(error, SLM_ERR_FORMAT, path, "'system' is neither a text nor null");
    if (parameters && !json_is_object(parameters))
        return slm_fail(error, SLM_ERR_FORMAT, path, "'parameters' is not an object");
    for (size_t i = 0; i < json_array_size(messages); i++)
        SLM_TRY(check_message(json_array_get(messages, i), i, path, error));
    return SLM_OK;
}

/* One value goes the way of `/set parameter`, as text, and so through the same checks. */
static slm_status load_value(struct slm_chat *chat, const char *name, const json_t *value, const char *path,
                             struct slm_error *error)
{
    char number[64];
    if (json_is_string(value)) return slm_chat_set_parameter(chat, name, json_string_value(value), error);
    if (json_is_integer(value))
        snprintf(number, sizeof number, "%lld", (long long)json_integer_value(value));
    else if (json_is_real(value))
        snprintf(number, sizeof number, "%.9g", json_real_value(value));
    else
        return slm_fail(error, SLM_ERR_FORMAT, path, "parameter '%s' is neither a number nor a text", name);
    return slm_chat_set_parameter(chat, name, number, error);
}

/* Names and ranges are checked by the option rows; the caller restores the old settings on failure. */
static slm_status load_parameters(struct slm_chat *chat, json_t *parameters, const char *path,
                                  struct slm_error *error)
{
    const char *name;
    json_t *value;
    json_object_foreach(parameters, name, value) {
        if (!json_is_array(value)) {
            SLM_TRY(load_value(chat, name, value, path, error));
            continue;
        }
        chat->sampling.stop.n = 0; /* the only list that can be set */
        for (size_t i = 0; i < json_array_size(value); i++)
            SLM_TRY(load_value(chat, name, json_array_get(value, i), path, error));
    }
    return SLM_OK;
}

/* No text has a NUL character: the parser refuses it, and messages are C strings. */
static slm_status load_messages(struct slm_chat *chat, const json_t *messages, struct slm_error *error)
{
    for (size_t i = 0; i < json_array_size(messages); i++) {
        const json_t *message = json_array_get(messages, i), *content = json_object_get(message, "content");
        const char *role = json_string_value(json_object_get(message, "role"));
        SLM_TRY(slm_chat_add(chat, role[0] == 'u' ? "user" : "assistant",
                             slm_str(json_string_value(content)), error));
    }
    return SLM_OK;
}

slm_status slm_chat_load(struct slm_chat *chat, const char *path, struct slm_error *error)
{
    struct slm_buf text = {0};
    json_error_t json_error;
    json_t *root = NULL;
    struct slm_sampling before = chat->sampling; /* given back when a parameter is refused */
    if (!chat->has_template)
        return slm_fail(error, SLM_ERR_UNSUPPORTED, "/load",
                        "this model has no chat template to carry a conversation");
    slm_status status = slm_cli_read(path, MAX_FILE_BYTES, &text, error);
    if (status != SLM_OK) goto out;
    root = json_loadb(text.data ? text.data : "", text.len, JSON_REJECT_DUPLICATES, &json_error);
    if (!root) {
        status = slm_fail(error, SLM_ERR_FORMAT, path, "line %d, column %d: %s", json_error.line, json_error.column,
                          json_error.text);
        goto out;
    }
    status = check_chat(root, path, error);
    if (status == SLM_OK) status = load_parameters(chat, json_object_get(root, "parameters"), path, error);
    if (status != SLM_OK) {
        chat->sampling = before;
        goto out;
    }
    /* From here on only memory can fail. */
    slm_chat_clear(chat);
    const char *system = json_string_value(json_object_get(root, "system"));
    status = slm_chat_set_system(chat, system ? system : "", error);
    if (status == SLM_OK) status = load_messages(chat, json_object_get(root, "messages"), error);
out:
    json_decref(root);
    slm_buf_release(&text);
    return status;
}
