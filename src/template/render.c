/* SPDX-License-Identifier: MIT
 * One rendering, from the caller's arguments to the text: limits, variables, errors.
 *
 * A template and its input are untrusted. Four budgets bound what they can do: fuel (steps, and bytes moved), depth
 * (of calls and nesting, so of the C stack), bytes of output and of any one string, and memory in all. Running out of
 * one is an ordinary error that names the place in the template. */
#include <stdio.h>
#include "base/os.h"
#include "template/eval.h"

enum { DEFAULT_FUEL = 5000000, DEFAULT_OUTPUT = 16 << 20, EVAL_LEVELS = 2 };

/* The first error stays: what fails because of it says less. */
struct value slm_jinja_fail(struct render *r, slm_status status, const char *format, ...)
{
    char where[128], message[sizeof r->error->message];
    if (r->status != SLM_OK) return v_fail(); /* the first error is the cause */
    if (r->at) slm_jinja_where(r->tmpl, r->at->offset, where, sizeof where);
    else snprintf(where, sizeof where, "%s", r->tmpl->where);
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    r->status = slm_fail(r->error, status, where, "%s", message);
    return v_fail();
}

/* Out of line, for it happens once. */
bool slm_jinja_burn_slow(struct render *r)
{
    r->fuel = 0;
    slm_jinja_fail(r, SLM_ERR_LIMIT, "the template takes too many steps");
    return false;
}

/* Levels of the evaluator, of calls and of nested values share one count, because they share one
 * stack. */
bool slm_jinja_enter(struct render *r)
{
    if (r->depth < r->max_depth && r->status == SLM_OK) {
        r->depth++;
        return true;
    }
    slm_jinja_fail(r, SLM_ERR_LIMIT, "nested deeper than %u levels (calls and values count)", r->max_depth);
    return false;
}

/* Nothing is freed before the end, so what a rendering may use in all is what bounds it. */
void *slm_jinja_alloc(struct render *r, size_t n, size_t size)
{
    size_t left = r->max_memory > r->arena.used_bytes ? r->max_memory - r->arena.used_bytes : 0;
    if (r->status != SLM_OK) return NULL;
    if (n > left / size) {
        slm_jinja_fail(r, SLM_ERR_LIMIT, "the template needs more than the %zu bytes of memory allowed", r->max_memory);
        return NULL;
    }
    void *memory = slm_arena_alloc(&r->arena, n, size, r->tmpl->where, r->error);
    if (!memory) r->status = SLM_ERR_MEMORY;
    return memory;
}

/* A variable the template may read, if it does. */
static bool set_variable(struct render *r, struct slm_str name, struct value v)
{
    if (v.kind == V_FAIL) return false;
    for (uint32_t i = 0; i < r->tmpl->n_names; i++)
        if (slm_str_equal(text_str(r->tmpl->names[i]), name)) r->names[i] = v;
    return true;
}

static bool set_text(struct render *r, const char *name, const char *text)
{
    return !text || set_variable(r, slm_str(name), slm_jinja_str(r, text, strlen(text)));
}

/* First, so that variables of the same name hide them. */
static bool set_globals(struct render *r)
{
    for (uint32_t i = 0; i < r->tmpl->n_names; i++) {
        const struct builtin *b = slm_jinja_find_global(text_str(r->tmpl->names[i]));
        r->names[i] = b ? (struct value){.kind = V_FUNCTION, .function = b} : v_missing();
    }
    return true;
}

/* Last, so that the caller can replace any of the others. */
static bool set_extra(struct render *r, const char *json)
{
    struct value extra = slm_jinja_from_json(r, json, "the template's variables");
    if (extra.kind != V_DICT) {
        if (extra.kind != V_FAIL) TYPE_ERROR(r, "the template's variables must be a JSON object");
        return false;
    }
    for (uint32_t i = 0; i < r->tmpl->n_names; i++) {
        struct value v = slm_jinja_dict_get(r, extra.dict, v_text(r->tmpl->names[i]));
        if (v.kind == V_FAIL) return false;
        if (v.kind != V_MISSING) r->names[i] = v;
    }
    return true;
}

/* messages and tools are arrays, or the caller made a mistake. */
static struct value array(struct render *r, const char *json, const char *what)
{
    struct value v = slm_jinja_from_json(r, json, what);
    return v.kind == V_FAIL || v.kind == V_LIST ? v : TYPE_ERROR(r, "%s must be a JSON array", what);
}

/* The variables transformers passes: tools and documents are none when there are none, not undefined. */
static bool set_variables(struct render *r, const struct slm_template_args *args)
{
    return set_globals(r) && set_text(r, "bos_token", args->bos_token) && set_text(r, "eos_token", args->eos_token) &&
           set_variable(r, slm_str("documents"), v_none()) &&
           set_variable(r, slm_str("tools"), args->tools_json ? array(r, args->tools_json, "tools") : v_none()) &&
           set_variable(r, slm_str("messages"), array(r, args->messages_json ? args->messages_json : "[]",
               "messages")) &&
           set_variable(r, slm_str("add_generation_prompt"), v_bool(args->add_generation_prompt)) &&
           (!args->extra_json || set_extra(r, args->extra_json));
}

/* Variables, then the body. */
static slm_status run(struct render *r, const struct slm_template_args *args)
{
    if (!(r->names = slm_jinja_alloc(r, r->tmpl->n_names + 1, sizeof *r->names)) || !set_variables(r, args))
        return r->status;
    slm_jinja_exec(r, NULL, r->tmpl->body);
    return r->status;
}

/* The text is gathered in a buffer of the rendering and reaches the caller's only as a whole. */
slm_status slm_template_render(const struct slm_template *tmpl, const struct slm_template_args *args,
                               const struct slm_template_limits *limits, struct slm_buf *out, struct slm_error *error)
{
    static const struct slm_template_limits none;
    const struct slm_template_limits *l = limits ? limits : &none;
    size_t max_source = l->max_source ? l->max_source : TEMPLATE_MAX_SOURCE;
    unsigned max_depth = l->max_depth ? l->max_depth : TEMPLATE_MAX_DEPTH;
    if (tmpl->source_bytes > max_source || tmpl->depth > max_depth)
        return slm_fail(error, SLM_ERR_LIMIT, tmpl->where, "the template has %zu bytes, %u levels; allowed are %zu "
            "and %u",
                        tmpl->source_bytes, tmpl->depth, max_source, max_depth);
    struct render r = {.tmpl = tmpl, .error = error};
    r.fuel = l->fuel ? l->fuel : DEFAULT_FUEL;
    r.max_string = l->max_output ? l->max_output : DEFAULT_OUTPUT;
    r.max_memory = 3 * r.max_string + (1 << 20);
    r.max_depth = EVAL_LEVELS * max_depth;
    r.out.limit = r.max_string;
    r.now_unix_s = args->now_unix_s ? args->now_unix_s : slm_os()->unix_ns() / 1000000000;
    slm_status status = run(&r, args);
    if (status == SLM_OK && r.out.len > 0 && !slm_buf_add(out, r.out.data, r.out.len))
        status = slm_buf_status(out, tmpl->where, error);
    slm_buf_release(&r.out);
    slm_arena_release(&r.arena);
    return status;
}
