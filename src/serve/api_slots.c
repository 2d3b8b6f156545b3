/* SPDX-License-Identifier: MIT
 * llama-server's POST /slots/{id}?action=save|restore|erase: a slot's conversation to a file of one folder and back.
 * The folder is the server's choice (--slot-save-path), the client names a file in it and can name nothing else.
 *
 * Deliberately not here: what a slot is (slots.h); GET /slots (api_native.c). */
#include <inttypes.h>
#include <sys/stat.h>

#include "base/os.h"
#include "serve/api_openai.h"
#include "serve/api_rows.h"
#include "serve/api_write.h"

/* Places in the struct are borrowed from fields of other requests. */
static const struct slm_field file_rows[] = {
    NEEDED_TEXT("filename", suffix, "a file in the folder of --slot-save-path; no path"),
    TEXT("model", model, "the name of a model; absent or \"\": the first"),
};
static const struct slm_field erase_rows[] = {TEXT("model", model, "the name of a model; absent or \"\": the first")};
static const struct slm_field_set file_sets[] = {SLM_FIELDS(file_rows), {NULL, 0}};
static const struct slm_field_set erase_sets[] = {SLM_FIELDS(erase_rows), {NULL, 0}};

/* The number in the path. */
static slm_status read_slot(const struct slm_call *call, int32_t *slot, struct slm_error *error)
{
    const char *text = call->wild;
    const size_t n = strspn(text, "0123456789");
    if (n == 0 || n > 6 || text[n])
        return slm_fail(error, SLM_ERR_ARGUMENT, "id_slot", "'%.40s' is no number of a slot", text);
    *slot = (int32_t)strtol(text, NULL, 10);
    return SLM_OK;
}

/* A name alone: nothing that leads elsewhere, nothing hidden, nothing that would look like something else in a list. */
static slm_status check_name(const char *name, struct slm_error *error)
{
    bool is_plain = *name && *name != '.' && strlen(name) <= 200;
    for (const unsigned char *c = (const unsigned char *)name; *c; c++)
        if (*c < ' ' || *c == 0x7f || strchr("/\\:*?\"<>|", *c)) is_plain = false;
    if (is_plain) return SLM_OK;
    return slm_fail(error, SLM_ERR_ARGUMENT, "filename",
                    "must be the name of a file: up to 200 bytes, not beginning with a dot, without / \\ : * ? \" < > "
                    "|");
}

/* Before a model is loaded for it. */
static slm_status check(struct slm_call *call, struct slm_error *error)
{
    int32_t slot = 0;
    SLM_TRY(read_slot(call, &slot, error));
    return call->ask.suffix ? check_name(call->ask.suffix, error) : SLM_OK;
}

/* The one way of all three; erasing has no file. */
static slm_status prepare(struct slm_call *call, enum slm_slot_action action, struct slm_error *error)
{
    struct slm_buf path = {0};
    int32_t slot = 0;
    SLM_TRY(read_slot(call, &slot, error));
    slm_status status = SLM_OK;
    if (call->ask.suffix) {
        slm_buf_printf(&path, "%s/%s", call->api->slots_folder, call->ask.suffix);
        status = slm_buf_status(&path, "filename", error);
    }
    if (status == SLM_OK) status = slm_call_add_slot_job(call, slot, action, path.data, error);
    slm_buf_release(&path);
    return status;
}

/* Rows have no place for an argument. */
static slm_status prepare_save(struct slm_call *call, struct slm_error *error)
{
    return prepare(call, SLM_SLOT_SAVE, error);
}

static slm_status prepare_restore(struct slm_call *call, struct slm_error *error)
{
    return prepare(call, SLM_SLOT_RESTORE, error);
}

static slm_status prepare_erase(struct slm_call *call, struct slm_error *error)
{
    return prepare(call, SLM_SLOT_ERASE, error);
}

/* What it is called in the answer differs by the action. Its size is that of the file: the runner, which wrote or read
 * it, tells only tokens. */
static void write_end(struct slm_call *call, const char *n_tokens, const char *n_bytes, const char *ms)
{
    struct slm_buf *out = &call->out, path = {0};
    struct stat st = {.st_size = 0};
    slm_write_begin(out, NULL, '{');
    slm_write_int(out, "id_slot", strtol(call->wild, NULL, 10));
    if (n_bytes) {
        slm_write_text(out, "filename", call->ask.suffix);
        slm_write_int(out, n_tokens, (int64_t)call->usage.n_prompt);
        if (slm_buf_printf(&path, "%s/%s", call->api->slots_folder, call->ask.suffix)) (void)stat(path.data, &st);
        slm_write_int(out, n_bytes, (int64_t)st.st_size);
        slm_write_begin(out, "timings", '{');
        slm_write_float(out, ms, (double)(slm_os()->now_ns() - call->start_ns) * 1e-6);
        slm_write_end(out, '}');
    } else {
        slm_write_int(out, n_tokens, (int64_t)call->usage.n_prompt);
    }
    slm_write_end(out, '}');
    slm_buf_release(&path);
    slm_call_send(call, 200);
}

/* Names as that server's clients read them. */
static void end_save(struct slm_call *call) { write_end(call, "n_saved", "n_written", "save_ms"); }
static void end_restore(struct slm_call *call) { write_end(call, "n_restored", "n_read", "restore_ms"); }
static void end_erase(struct slm_call *call) { write_end(call, "n_erased", NULL, NULL); }

/* As documents and the fuzzer see them too. */
enum { SAVE, RESTORE, ERASE, N_KINDS };
#define KIND(action, fields, ...) {.method = "POST", .path = "/slots/:id?action=" action, .sets = (fields), \
                                   .table = &slm_api_slots, .check = check, __VA_ARGS__}
const struct slm_call_kind slm_slot_kinds[N_KINDS] = {
    [SAVE] = KIND("save", file_sets, .prepare = prepare_save, .end = end_save),
    [RESTORE] = KIND("restore", file_sets, .prepare = prepare_restore, .end = end_restore),
    [ERASE] = KIND("erase", erase_sets, .no_body = true, .prepare = prepare_erase, .end = end_erase),
};

/* The action is in the query, where no route can see it. */
static void post_slot(void *app, const struct slm_http_request *request, struct slm_reply *reply)
{
    static const char *const actions[N_KINDS] = {"action=save", "action=restore", "action=erase"};
    const struct slm_api *api = app;
    struct slm_error error;
    if (!api->slots_folder) {
        slm_fail(&error, SLM_ERR_UNSUPPORTED, "slots", "this server keeps none: start it with --slot-save-path FOLDER");
        slm_api_native.error(reply, 501, &error);
        return;
    }
    for (size_t i = 0; i < N_KINDS; i++)
        if (slm_str_is(request->query, actions[i])) {
            slm_call_start(app, request, reply, &slm_slot_kinds[i]);
            return;
        }
    slm_fail(&error, SLM_ERR_ARGUMENT, "action", "must be save, restore or erase");
    slm_api_native.error(reply, 400, &error);
}

/* By name: the other table is no constant. */
static void error_as_native(struct slm_reply *reply, int status, const struct slm_error *error)
{
    slm_api_native.error(reply, status, error);
}

static const struct slm_http_route routes[] = {{"POST", "/slots/:id", post_slot, 0}, {NULL, NULL, NULL, 0}};
const struct slm_http_table slm_api_slots = {.prefix = "/slots/", .routes = routes, .error = error_as_native};
