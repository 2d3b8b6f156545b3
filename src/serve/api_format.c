/* SPDX-License-Identifier: MIT
 * What an answer must be: a JSON object of any kind, or of a schema, a regular expression, one of some texts, a
 * grammar,
 * a call of a tool. Each API has its own fields for it; here they become one wish. Deliberately not here:
 * compiling and
 * enforcing it. */
#include "base/os.h"
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

/* {"name": this tool's, "arguments": its schema} */
static slm_status add_call_schema(json_t *root, json_t *list, const json_t *function, struct slm_error *error)
{
    json_t *given = json_object_get(function, "parameters");
    json_t *arguments = given ? json_copy(given) : json_pack("{s:s}", "type", "object");
    slm_status status = hoist(root, arguments, "$defs", error);
    if (status == SLM_OK) status = hoist(root, arguments, "definitions", error);
    /* Arguments are an object even where a schema forgets to say so. */
    if (!json_object_get(arguments, "type")) json_object_set_new(arguments, "type", json_string("object"));
    json_t *call = json_pack("{s:s, s:{s:{s:O}, s:o}, s:[s, s], s:b}", "type", "object", "properties", "name",
                             "const",
                             json_object_get(function, "name"), "arguments", arguments, "required", "name",
                             "arguments", "additionalProperties", 0);
    if (json_array_append_new(list, call) != 0 && status == SLM_OK) status = slm_fail_memory(error, "tools", 0);
    return status;
}

/* The schema of an answer that calls tools and does nothing else: an array of calls, of one of them by name, or of
   any;
 * one call alone where no more are wanted. */
static slm_status write_forced(const struct slm_call *call, const json_t *tools, struct slm_buf *out,
                               struct slm_error *error)
{
    json_t *root = json_object(), *list = json_array();
    slm_status status = root && list ? SLM_OK : slm_fail_memory(error, "tools", 0);
    for (size_t i = 0; status == SLM_OK && i < json_array_size(tools); i++) {
        const json_t *function = json_object_get(json_array_get(tools, i), "function");
        const char *name = json_string_value(json_object_get(function, "name"));
        if (!*call->forced || strcmp(name, call->forced) == 0) status = add_call_schema(root, list, function, error);
    }
    const bool one = *call->forced || call->ask.parallel == 0;
    json_object_set_new(root, "type", json_string("array"));
    json_object_set_new(root, "minItems", json_integer(1));
    if (one) json_object_set_new(root, "maxItems", json_integer(1));
    json_object_set_new(root, "items", json_array_size(list) == 1 ? json_incref(json_array_get(list, 0))
                                                                  : json_pack("{s:O}", "anyOf", list));
    slm_json_write(out, root);
    json_decref(list);
    json_decref(root);
    return status == SLM_OK ? slm_buf_status(out, "tools", error) : status;
}

/* The text is JSON of the schema that write_forced made, or the beginning
 * of it when it was cut. */
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

/* At most one of: a form the answer was asked to have, calls it must
 * consist of. */
slm_status slm_call_add_grammar(struct slm_call *call, struct slm_job *job, struct slm_error *error)
{
    struct wish wish = {0};
    struct slm_buf text = {0};
    SLM_TRY(read_wish(&call->ask, &wish, error));
    if (wish.n == 0 && !call->forced) return SLM_OK;
    if (wish.n > 0 && call->forced)
        return slm_fail(error, SLM_ERR_ARGUMENT, "tool_choice",
                        "a tool must be called, so the answer cannot have a form too");
    const enum slm_grammar_kind kind = wish.any_json ? SLM_GRAMMAR_JSON_OBJECT : wish.regex ? SLM_GRAMMAR_REGEX
                                     : wish.choices ? SLM_GRAMMAR_CHOICE : wish.gbnf ? SLM_GRAMMAR_GBNF
                                     : SLM_GRAMMAR_JSON_SCHEMA;
    slm_status status = SLM_OK;
    if (call->forced)
        status = write_forced(call, call->tools, &text, error);
    else if (wish.schema || wish.choices)
        slm_json_write(&text, wish.schema ? wish.schema : wish.choices);
    else if (wish.regex || wish.gbnf)
        slm_buf_puts(&text, wish.regex ? wish.regex : wish.gbnf);
    if (status == SLM_OK) status = slm_buf_status(&text, "response_format", error);
    if (status == SLM_OK)
        status = open_grammar(call, kind, (struct slm_str){text.data ? text.data : "", text.len}, job, error);
    slm_buf_release(&text);
    return status;
}
