/* SPDX-License-Identifier: MIT
 * What an answer must be: a JSON object of any kind, or of a schema, a regular expression, one of some texts, a
 * grammar,
 * a call of a tool. Each API has its own fields for it; here they become one wish. Deliberately not here:
 * compiling and
 * enforcing it. */
#include "base/os.h"
#include "engine/grammar.h"
#include "engine/parts.h"
#include "grammar/grammar.h"
#include "serve/api_chat.h"

struct wish {
    const json_t *schema, *choices;
    const char *regex, *gbnf;
    int any_json; /* 1: an object of any kind */
    size_t n;     /* wishes read: one at most may be */
};

#define AT(field) offsetof(struct wish, field)
static const struct slm_field structured_rows[] = {
    {.name = "json", .kind = SLM_FIELD_JSON, .offset = AT(schema), .help = "a JSON Schema"},
    {.name = "regex", .kind = SLM_FIELD_TEXT, .offset = AT(regex), .help = "a regular expression"},
    {.name = "choice", .kind = SLM_FIELD_JSON, .offset = AT(choices), .help = "an array of strings"},
    {.name = "grammar", .kind = SLM_FIELD_TEXT, .offset = AT(gbnf), .help = "a GBNF grammar"},
    {.name = "json_object", .kind = SLM_FIELD_BOOL, .offset = AT(any_json),
     .help = "true: a JSON object of any kind"},
};
#undef AT
static const struct slm_field_set structured_sets[] = {SLM_FIELDS(structured_rows), {NULL, 0}};

/* {"type": "json_schema", "json_schema": {"schema": ...}} of chats; responses have the schema beside the type. */
static slm_status read_format(const json_t *format, struct wish *wish, struct slm_error *error)
{
    const char *type = json_string_value(json_object_get(format, "type"));
    if (!type)
        return slm_fail(error, SLM_ERR_ARGUMENT, "response_format.type", "must be text, json_object or json_schema");
    if (strcmp(type, "text") == 0) return SLM_OK;
    const json_t *inner = json_object_get(format, "json_schema");
    const json_t *schema = json_object_get(inner ? inner : format, "schema");
    if (strcmp(type, "json_object") == 0 && !schema) {
        wish->any_json = 1;
        return SLM_OK;
    }
    if (strcmp(type, "json_schema") != 0 && strcmp(type, "json_object") != 0)
        return slm_fail(error, SLM_ERR_ARGUMENT, "response_format.type",
                        "must be text, json_object or json_schema, not '%.40s'", type);
    if (!json_is_object(schema) && !json_is_boolean(schema))
        return slm_fail(error, SLM_ERR_ARGUMENT, "response_format.json_schema.schema", "is required: a JSON Schema");
    wish->schema = schema;
    return SLM_OK;
}

/* Counts what was asked for: two forms at once cannot both be held to, so
 * they are an error and not a guess. */
static slm_status read_wish(const struct slm_ask *ask, struct wish *wish, struct slm_error *error)
{
    if (ask->structured)
        SLM_TRY(slm_read_fields(ask->structured, "structured_outputs.", structured_sets, wish, error));
    wish->any_json = wish->any_json == 1;
    const bool structured = ask->structured != NULL;
    if (ask->format) SLM_TRY(read_format(ask->format, wish, error));
    if (ask->schema) wish->schema = ask->schema;
    if (ask->choice_list) wish->choices = ask->choice_list;
    if (ask->regex) wish->regex = ask->regex;
    if (ask->grammar) wish->gbnf = ask->grammar;
    if (ask->any_json == 1) wish->any_json = 1;
    const size_t given = (size_t)structured + (ask->format != NULL && (wish->schema || wish->any_json)) +
                         (ask->schema != NULL) + (ask->choice_list != NULL) + (ask->regex != NULL) +
                         (ask->grammar != NULL) + (ask->any_json == 1);
    wish->n = (size_t)(wish->schema != NULL) + (wish->choices != NULL) + (wish->regex != NULL) +
              (wish->gbnf != NULL) + (size_t)wish->any_json;
    if (given > 1 || wish->n > 1)
        return slm_fail(error, SLM_ERR_ARGUMENT, "response_format",
                        "more than one form is asked of the answer: give one");
    return SLM_OK;
}

/* ---- calls that must be made ----------------------------------------------------------------------------------- */

/* Definitions move to the root of the whole, where references look for them. */
static slm_status hoist(json_t *root, json_t *schema, const char *name, struct slm_error *error)
{
    json_t *from = json_object_get(schema, name), *to = json_object_get(root, name);
    if (!json_is_object(from)) return SLM_OK;
    if (!to) {
        to = json_object();
        json_object_set_new(root, name, to);
    }
    for (void *i = json_object_iter(from); i; i = json_object_iter_next(from, i)) {
        const json_t *other = json_object_get(to, json_object_iter_key(i));
        if (other && !json_equal(other, json_object_iter_value(i)))
            return slm_fail(error, SLM_ERR_UNSUPPORTED, "tools", "two tools define '%.60s' differently",
                            json_object_iter_key(i));
        json_object_set(to, json_object_iter_key(i), json_object_iter_value(i));
    }
    json_object_del(schema, name);
    return SLM_OK;
}

/* {"name": this tool's, "arguments": its schema}; the latter by the name that the model knows. */
static slm_status add_call_schema(json_t *root, json_t *list, const json_t *function, const char *key,
                                  struct slm_error *error)
{
    json_t *given = json_object_get(function, "parameters");
    json_t *arguments = given ? json_copy(given) : json_pack("{s:s}", "type", "object");
    slm_status status = hoist(root, arguments, "$defs", error);
    if (status == SLM_OK) status = hoist(root, arguments, "definitions", error);
    /* Arguments are an object even where a schema forgets to say so. */
    if (!json_object_get(arguments, "type")) json_object_set_new(arguments, "type", json_string("object"));
    json_t *call = json_pack("{s:s, s:{s:{s:O}, s:o}, s:[s, s], s:b}", "type", "object", "properties", "name",
                             "const",
                             json_object_get(function, "name"), key, arguments, "required", "name", key,
                             "additionalProperties", 0);
    if (json_array_append_new(list, call) != 0 && status == SLM_OK) status = slm_fail_memory(error, "tools", 0);
    return status;
}

/* The schema of one call of the tools that may be called, or of an array of such calls. */
static slm_status write_calls(const struct slm_call *call, const struct slm_call_form *form, bool one,
                              struct slm_buf *out, struct slm_error *error)
{
    json_t *root = json_object(), *list = json_array();
    slm_status status = root && list ? SLM_OK : slm_fail_memory(error, "tools", 0);
    for (size_t i = 0; status == SLM_OK && i < json_array_size(call->tools); i++) {
        const json_t *function = json_object_get(json_array_get(call->tools, i), "function");
        const char *name = json_string_value(json_object_get(function, "name"));
        if (!call->forced || !*call->forced || strcmp(name, call->forced) == 0)
            status = add_call_schema(root, list, function, form->arguments, error);
    }
    json_t *item = json_array_size(list) == 1 ? json_incref(json_array_get(list, 0))
                                              : json_pack("{s:O}", "anyOf", list);
    /* An array is a schema around it; one call is the root itself. */
    if (form->is_list) {
        json_object_set_new(root, "type", json_string("array"));
        json_object_set_new(root, "minItems", json_integer(1));
        if (one) json_object_set_new(root, "maxItems", json_integer(1));
        json_object_set_new(root, "items", item);
    } else {
        json_object_update_new(root, item);
    }
    slm_json_write(out, root);
    json_decref(list);
    json_decref(root);
    return status == SLM_OK ? slm_buf_status(out, "tools", error) : status;
}

/* The text is an array of calls, where the model has no way of its own that
 * its parts know; or the beginning of it when it was cut. */
slm_status slm_forced_calls(const char *text, size_t n_bytes, slm_status (*each)(void *user, const char *name,
                            struct slm_str arguments, struct slm_error *error), void *user, struct slm_error *error)
{
    json_error_t bad;
    json_t *calls = json_loadb(text, n_bytes, JSON_ALLOW_NUL, &bad);
    slm_status status = json_is_array(calls) ? SLM_OK : SLM_ERR_FORMAT;
    for (size_t i = 0; status == SLM_OK && i < json_array_size(calls); i++) {
        const json_t *call = json_array_get(calls, i);
        struct slm_buf arguments = {0};
        slm_json_write(&arguments, json_object_get(call, "arguments"));
        status = slm_buf_status(&arguments, "tools", error);
        if (status == SLM_OK)
            status = each(user, json_string_value(json_object_get(call, "name")),
                          (struct slm_str){arguments.data, arguments.len}, error);
        slm_buf_release(&arguments);
    }
    json_decref(calls);
    return status;
}

/* ---- the grammar ----------------------------------------------------------------------------------------------- */

/* An answer that begins inside of thinking has its form from the end of it on. */
static const char *trigger_of(const struct slm_call *call, const struct slm_job *job)
{
    static const struct { const char *open, *close; } marks[] = {{"<think>", "</think>"}, {"[THINK]", "[/THINK]"}};
    enum { LAST = 16 };
    struct slm_buf end = {0};
    const char *found = NULL;
    if (job->split == SLM_SPLIT_NONE && !call->forced) return NULL;
    for (size_t i = job->n_prompt > LAST ? job->n_prompt - LAST : 0; i < job->n_prompt; i++)
        slm_call_token_text(call, job->prompt[i], &end);
    for (size_t i = 0; end.len && !found && i < sizeof marks / sizeof *marks; i++) {
        const char *open = NULL;
        for (const char *at = end.data; (at = strstr(at, marks[i].open)) != NULL; at++) open = at;
        if ((open && !strstr(open, marks[i].close)) || (call->thinks && strstr(call->thinks, marks[i].open)))
            found = marks[i].close;
    }
    slm_buf_release(&end);
    return found;
}

/* Compiling is the model's business: tokens and special tokens are its
 * own. Errors name the place in the schema. */
static slm_status open_grammar(const struct slm_call *call, enum slm_grammar_kind kind, struct slm_str text,
                               struct slm_job *job, struct slm_error *error)
{
    const char *trigger = trigger_of(call, job);
    if (trigger && !(job->grammar_trigger = slm_call_copy(slm_str(trigger), error))) return SLM_ERR_MEMORY;
    return slm_grammar_open(slm_call_model(call), kind, text.ptr, text.len, &job->grammar, error);
}

/* How the model writes calls, by its template; else as an array, which slm_forced_calls reads. */
static slm_status find_form(const struct slm_call *call, const struct slm_job *job, struct slm_call_form *form,
                            bool *is_own, struct slm_error *error)
{
    struct slm_parts *parts;
    SLM_TRY(slm_parts_open(slm_call_model(call), job->prompt, job->n_prompt, true, &parts, error));
    *is_own = job->split == SLM_SPLIT_PARTS && slm_parts_call_form(parts, form);
    if (!*is_own) *form = (struct slm_call_form){.arguments = "arguments", .is_list = true};
    slm_parts_close(parts);
    return SLM_OK;
}

/* Calls that must be made, from the answer's start (or the end of thinking) on; or, where the model may choose, from
 * the mark of a call on, that it then keeps to: no call of a tool that was not offered, no arguments of another
 * shape. */
static slm_status add_call_grammar(const struct slm_call *call, struct slm_job *job, struct slm_error *error)
{
    struct slm_call_form form;
    struct slm_buf schema = {0};
    bool is_own;
    SLM_TRY(find_form(call, job, &form, &is_own, error));
    if (!call->forced && (!is_own || !form.open)) return SLM_OK; /* nothing says that a call begins */
    const bool one = form.is_alone || (call->forced && *call->forced) || call->ask.parallel == 0;
    const char *trigger = call->forced ? trigger_of(call, job) : form.open;
    const struct slm_grammar_frame frame = {.open = form.open, .close = form.close,
                                            .most = one || form.is_list ? 1 : UINT32_MAX,
                                            .line_ends = form.open && !form.is_list,
                                            .opened = !call->forced, /* what triggers is the mark */
                                            .after_text = call->forced && trigger};
    slm_status status = write_calls(call, &form, one, &schema, error);
    if (status == SLM_OK && trigger && !(job->grammar_trigger = slm_call_copy(slm_str(trigger), error)))
        status = SLM_ERR_MEMORY;
    job->trigger_in_content = !call->forced;
    if (status == SLM_OK)
        status = slm_model_grammar_framed(slm_call_model(call), &frame, (struct slm_str){schema.data, schema.len},
                                          &job->grammar, error);
    slm_buf_release(&schema);
    return status;
}

/* Does the request want the schema of a tool kept to, whatever it takes? The
 * word stands in the function or, flat, beside its name; models never see it. */
static bool is_strict(const json_t *tools)
{
    for (size_t i = 0; i < json_array_size(tools); i++) {
        const json_t *tool = json_array_get(tools, i), *function = json_object_get(tool, "function");
        if (json_is_true(json_object_get(function ? function : tool, "strict"))) return true;
    }
    return false;
}

/* At most one of: a form the answer was asked to have, calls it must
 * consist of. Tools that may be called and whose schemas cannot be enforced
 * are described to the model and no more, unless they are strict. */
slm_status slm_call_add_grammar(struct slm_call *call, struct slm_job *job, struct slm_error *error)
{
    struct wish wish = {0};
    struct slm_buf text = {0};
    SLM_TRY(read_wish(&call->ask, &wish, error));
    if (wish.n > 0 && call->forced)
        return slm_fail(error, SLM_ERR_ARGUMENT, "tool_choice",
                        "a tool must be called, so the answer cannot have a form too");
    if (wish.n == 0 && call->tools_json && call->tools) {
        const slm_status status = add_call_grammar(call, job, error);
        if (status == SLM_OK || call->forced || status == SLM_ERR_MEMORY || is_strict(call->ask.tools)) return status;
        slm_release((char *)(uintptr_t)job->grammar_trigger);
        job->grammar_trigger = NULL;
        return SLM_OK;
    }
    if (wish.n == 0) return SLM_OK;
    const enum slm_grammar_kind kind = wish.any_json ? SLM_GRAMMAR_JSON_OBJECT : wish.regex ? SLM_GRAMMAR_REGEX
                                     : wish.choices ? SLM_GRAMMAR_CHOICE : wish.gbnf ? SLM_GRAMMAR_GBNF
                                     : SLM_GRAMMAR_JSON_SCHEMA;
    slm_status status = SLM_OK;
    if (wish.schema || wish.choices)
        slm_json_write(&text, wish.schema ? wish.schema : wish.choices);
    else if (wish.regex || wish.gbnf)
        slm_buf_puts(&text, wish.regex ? wish.regex : wish.gbnf);
    status = slm_buf_status(&text, "response_format", error);
    if (status == SLM_OK)
        status = open_grammar(call, kind, (struct slm_str){text.data ? text.data : "", text.len}, job, error);
    slm_buf_release(&text);
    return status;
}
