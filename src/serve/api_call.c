/* SPDX-License-Identifier: MIT
 * The way of a call, the same for all APIs. Three things may be under way when a client goes: a model being loaded, a
 * prompt being made, jobs being computed. The first two always come back, and free the call then; jobs are cancelled.
 *
 * Deliberately not here: making jobs from what was asked (api_job.c), what is written (api_*.c). */
#include "serve/api_call.h"

#include "base/os.h"
#include "base/rng.h"
#include "serve/api_chat.h"
#include "serve/api_write.h"

/* What a choice kept, whether it was finished or not. */
static void free_choice(struct slm_choice_state *choice)
{
    for (size_t i = 0; i < choice->n_calls; i++) {
        slm_release(choice->calls[i].name);
        slm_release(choice->calls[i].arguments);
    }
    slm_release(choice->calls);
    slm_release(choice->stop_string);
    struct slm_buf *const bufs[] = {&choice->content, &choice->thinking, &choice->logprobs, &choice->text_offsets,
                                    &choice->tokens, &choice->token_logprobs, &choice->top, &choice->held};
    for (size_t i = 0; i < sizeof bufs / sizeof *bufs; i++) slm_buf_release(bufs[i]);
}

/* Everything that a call holds. Nobody must call back any more: neither
 * jobs nor models nor the pool. */
static void free_call(struct slm_call *call)
{
    if (call->next) call->next->previous = call->previous;
    if (call->previous) call->previous->next = call->next;
    else call->api->calls = call->next;
    for (size_t i = 0; i < call->n_jobs; i++) {
        slm_job_free(call->jobs[i]);
        slm_release(call->echoes[i]);
    }
    for (size_t i = 0; call->choices && i < call->n_jobs * call->n_per_job; i++) free_choice(&call->choices[i]);
    slm_release(call->jobs);
    slm_release(call->runs);
    slm_release(call->choices);
    slm_release(call->echoes);
    slm_release(call->tools_json);
    slm_release(call->variables_json);
    slm_release(call->forced);
    slm_release(call->ids);
    slm_buf_release(&call->out);
    slm_buf_release(&call->extra);
    if (call->model) slm_host_release(call->model);
    json_decref(call->body);
    slm_release(call);
}

/* Tickets are gone once they are cancelled; events that were under way do
 * not arrive. */
static void cancel_jobs(struct slm_call *call)
{
    for (size_t i = 0; call->runs && i < call->n_jobs; i++) {
        if (call->runs[i].ticket) slm_host_cancel(call->runs[i].ticket);
        call->runs[i].ticket = NULL;
    }
    call->n_open = 0;
}

/* The client has gone. */
static void gone(void *user)
{
    struct slm_call *call = user;
    call->reply = NULL;
    cancel_jobs(call);
    if (!call->waiting) free_call(call);
}

/* ---- errors ---------------------------------------------------------------------------------------------------- */

int slm_call_status(const struct slm_error *error)
{
    static const int statuses[SLM_STATUS_COUNT] = {
        [SLM_ERR_ARGUMENT] = 400, [SLM_ERR_FORMAT] = 400, [SLM_ERR_UNSUPPORTED] = 400, [SLM_ERR_LIMIT] = 400,
        [SLM_ERR_CONTEXT] = 400,  [SLM_ERR_MEMORY] = 503, [SLM_ERR_IO] = 500,          [SLM_ERR_NUMERIC] = 500,
        [SLM_ERR_CANCELLED] = 503, [SLM_ERR_TIMEOUT] = 504, [SLM_ERR_DEAD_END] = 400};
    return statuses[error->status] ? statuses[error->status] : 500;
}

/* Ends the call with an error: a status while nothing was sent, else however the API says it in a stream. */
static void fail(struct slm_call *call, int status, const struct slm_error *why)
{
    const struct slm_error copy = *why, *error = &copy; /* it may be the call's own */
    cancel_jobs(call);
    if (call->reply && !call->begun && (status == 503 || status == 429 || status == call->kind->busy_status)) {
        char seconds[16]; /* all of these pass */
        (void)snprintf(seconds, sizeof seconds, "%d", call->retry_after_s > 0 ? call->retry_after_s : 1);
        slm_reply_header(call->reply, "Retry-After", seconds);
    }
    /* Clients that repeat what failed by themselves are told not to: it would take as long again. */
    if (call->reply && !call->begun && status == 504) slm_reply_header(call->reply, "X-Should-Retry", "false");
    if (call->reply && call->begun) {
        slm_buf_clear(&call->out);
        call->kind->broken(call, error);
        slm_reply_end(call->reply);
    } else if (call->reply) {
        call->kind->table->error(call->reply, status, error);
    }
    call->reply = NULL;
    if (!call->waiting) free_call(call);
}

/* The next call is taken before this one is gone; those that wait are
 * freed when they come back. */
void slm_api_fail(struct slm_api *api, const struct slm_error *why)
{
    for (struct slm_call *call = api->calls, *next; call; call = next) {
        next = call->next;
        if (call->reply) fail(call, 503, why);
    }
}

void slm_api_end(struct slm_api *api)
{
    struct slm_error error;
    slm_fail(&error, SLM_ERR_CANCELLED, "server", "it is shutting down");
    slm_api_fail(api, &error);
}

/* ---- events ---------------------------------------------------------------------------------------------------- */

static void add_usage(struct slm_usage *sum, const struct slm_usage *one)
{
    sum->n_prompt += one->n_prompt;
    sum->n_cached += one->n_cached;
    sum->n_generated += one->n_generated;
    sum->n_thinking += one->n_thinking;
    if (one->queue_s > sum->queue_s) sum->queue_s = one->queue_s;
    if (one->prompt_s > sum->prompt_s) sum->prompt_s = one->prompt_s;
    if (one->generate_s > sum->generate_s) sum->generate_s = one->generate_s;
    sum->speculation.n_steps += one->speculation.n_steps;
    sum->speculation.n_guessed += one->speculation.n_guessed;
    sum->speculation.n_accepted += one->speculation.n_accepted;
}

/* All jobs have ended: the last bytes are written and the reply is over. */
static void complete(struct slm_call *call)
{
    if (call->reply) slm_reply_tokens(call->reply, call->usage.n_prompt, call->usage.n_generated);
    call->kind->end(call);
    if (call->streaming && call->reply && call->begun) slm_reply_end(call->reply);
    SLM_ASSERT(call->begun || call->sent);
    call->reply = NULL;
    free_call(call);
}

/* A call of a tool that a choice made, kept with an id of its own. */
static slm_status keep_tool_call(struct slm_choice_state *choice, const char *name, struct slm_str arguments,
                                 struct slm_error *error)
{
    struct slm_tool_call *calls =
        slm_realloc(choice->calls, choice->n_calls + 1, sizeof *calls, "calls of tools", error);
    if (!calls) return SLM_ERR_MEMORY;
    choice->calls = calls;
    struct slm_tool_call *call = &calls[choice->n_calls++];
    *call = (struct slm_tool_call){0};
    slm_call_new_id(call->id, sizeof call->id, "call_");
    call->name = slm_call_copy(slm_str(name), error);
    call->arguments = slm_call_copy(arguments, error);
    return call->name && call->arguments ? SLM_OK : SLM_ERR_MEMORY;
}

/* The part of an event goes where it belongs, then to whoever writes it. False: memory is out. */
static bool take_part(struct slm_call *call, struct slm_choice_state *choice, const struct slm_event *event)
{
    const struct slm_part *part = &event->part;
    slm_status status = SLM_OK;
    if (part->kind == SLM_PART_TOOL_CALL) {
        if (call->ask.parallel == 0 && choice->n_calls > 0) return true; /* one call alone was asked for */
        status = keep_tool_call(choice, part->name, (struct slm_str){part->text, part->text_bytes}, &call->error);
    } else if (call->forced && part->kind == SLM_PART_CONTENT) {
        slm_buf_add(&choice->held, part->text, part->text_bytes); /* it becomes calls when it is whole */
        return slm_buf_status(&choice->held, "answer", &call->error) == SLM_OK;
    } else if (!call->streaming || call->kind->keeps) {
        struct slm_buf *text = part->kind == SLM_PART_THINKING ? &choice->thinking : &choice->content;
        slm_buf_add(text, part->text, part->text_bytes);
        status = slm_buf_status(text, "answer", &call->error);
    }
    if (status == SLM_OK && call->kind->part) call->kind->part(call, choice, event);
    if (part->kind == SLM_PART_CONTENT) choice->n_text += part->text_bytes;
    return status == SLM_OK;
}

struct forced { struct slm_call *call; struct slm_choice_state *choice; int32_t index; };

/* One of the calls that an answer was made to consist of, as if the model
 * had called in its own way. */
static slm_status emit_forced(void *user, const char *name, struct slm_str arguments, struct slm_error *error)
{
    const struct forced *to = user;
    const struct slm_event event = {.kind = SLM_EVENT_PART, .choice = to->index,
                                    .part = {.kind = SLM_PART_TOOL_CALL, .name = name, .text = arguments.ptr,
                                             .text_bytes = arguments.len}};
    SLM_TRY(keep_tool_call(to->choice, name, arguments, error));
    to->call->kind->part(to->call, to->choice, &event);
    return SLM_OK;
}

/* An answer that had to call tools is over. One that was cut is no call: it is content, as far as it goes. */
static void finish_forced(struct slm_call *call, struct slm_choice_state *choice, int32_t index)
{
    struct forced to = {.call = call, .choice = choice, .index = index};
    const struct slm_str text = {choice->held.data, choice->held.len};
    if (!call->forced || text.len == 0 || slm_forced_calls(text.ptr, text.len, emit_forced, &to,
                                                           NULL) == SLM_OK) return;
    const struct slm_event event = {.kind = SLM_EVENT_PART, .choice = index,
                                    .part = {.kind = SLM_PART_CONTENT, .text = text.ptr, .text_bytes = text.len}};
    slm_buf_add_str(&choice->content, text);
    call->kind->part(call, choice, &event);
}

/* Headers go out with the first event, so that whatever fails before it
 * still has a status. */
static void begin(struct slm_call *call)
{
    if (call->begun || !call->streaming) return;
    call->begun = true;
    if (call->kind->begin) call->kind->begin(call);
}

/* Every event of every job of a call, on the loop. The choice counts
 * through all jobs of the call. */
static void on_event(void *user, const struct slm_event *event)
{
    struct slm_run *run = user;
    struct slm_call *call = run->call;
    const size_t at = run->index * call->n_per_job + (size_t)(event->choice > 0 ? event->choice : 0);
    struct slm_choice_state *choice = &call->choices[at];
    switch (event->kind) {
    case SLM_EVENT_STARTED: break;
    case SLM_EVENT_PROMPT:
    case SLM_EVENT_PART:
        begin(call);
        if (!take_part(call, choice, event)) fail(call, 503, &call->error);
        break;
    case SLM_EVENT_FINISHED:
        if (event->finish == SLM_FINISH_CANCELLED) { /* not by its client, who would not hear of it: it was cut */
            slm_fail(&call->error, SLM_ERR_CANCELLED, "server", "it is shutting down");
            fail(call, 503, &call->error);
            break;
        }
        /* The server's limit is no end of an answer. A limit of the request's own is. */
        if (event->finish == SLM_FINISH_TIMEOUT && call->ask.limit_ms == SLM_ABSENT_INT) {
            slm_fail(&call->error, SLM_ERR_TIMEOUT, "server",
                     "the request took longer than the %.9g s that this server gives each (--request-timeout)",
                     (double)call->api->timeout_ms * 1e-3);
            fail(call, 504, &call->error);
            break;
        }
        begin(call);
        choice->finish = event->finish;
        choice->usage = event->usage;
        finish_forced(call, choice, event->choice);
        if (event->stop_string) choice->stop_string = slm_call_copy(slm_str(event->stop_string), NULL);
        if (call->kind->finished) call->kind->finished(call, choice, event);
        break;
    case SLM_EVENT_EMBEDDINGS:
        if (call->kind->embedded) call->kind->embedded(call, event);
        break;
    case SLM_EVENT_END:
        run->ticket = NULL;
        add_usage(&call->usage, &event->usage);
        if (--call->n_open == 0) complete(call);
        break;
    case SLM_EVENT_FAILED: {
        run->ticket = NULL;
        call->retry_after_s = event->retry_after_s;
        const int busy = call->kind->busy_status ? call->kind->busy_status : 429;
        const bool is_busy = event->retry_after_s > 0 && event->error.status == SLM_ERR_LIMIT;
        fail(call, is_busy ? busy : slm_call_status(&event->error), &event->error);
        break;
    }
    }
}

/* ---- the way to the jobs --------------------------------------------------------------------------------------- */

/* Back on the loop: the client may have gone meanwhile, or the request may
 * be wrong. */
static void prepared(void *user)
{
    struct slm_call *call = user;
    call->waiting = false;
    if (!call->reply) {
        free_call(call);
        return;
    }
    if (call->error.status != SLM_OK) {
        fail(call, slm_call_status(&call->error), &call->error);
        return;
    }
    call->n_open = call->n_jobs;
    if (call->n_jobs == 0) {
        complete(call);
        return;
    }
    for (size_t i = 0; i < call->n_jobs; i++) {
        struct slm_job *job = call->jobs[i];
        call->jobs[i] = NULL;
        call->runs[i] = (struct slm_run){.call = call, .index = i};
        call->runs[i].ticket = slm_host_submit(call->model, job, on_event, &call->runs[i]);
        if (call->runs[i].ticket) continue;
        slm_fail_memory(&call->error, "job", 0);
        fail(call, 503, &call->error);
        return;
    }
}

/* Memory for what the jobs become: known when they are made. */
static slm_status make_room(struct slm_call *call, struct slm_error *error)
{
    call->n_per_job = call->ask.n_choices > 0 ? (size_t)call->ask.n_choices : 1;
    call->runs = slm_alloc(call->n_jobs + 1, sizeof *call->runs, "call", error);
    call->choices = slm_alloc(call->n_jobs * call->n_per_job + 1, sizeof *call->choices, "call", error);
    return call->runs && call->choices ? SLM_OK : SLM_ERR_MEMORY;
}

/* On a thread of the pool: long prompts take a while to be rendered and
 * made tokens. */
static void prepare(void *user)
{
    struct slm_call *call = user;
    call->error.status = SLM_OK;
    slm_status status = call->kind->prepare ? call->kind->prepare(call, &call->error) : SLM_OK;
    if (status == SLM_OK) status = make_room(call, &call->error);
    call->error.status = status;
}

/* The model is there, at once or after it was loaded. A name that is
 * unknown is the client's mistake. */
static void have_model(void *user, struct slm_host_model *model, const struct slm_error *error)
{
    struct slm_call *call = user;
    call->waiting = false;
    call->model = model;
    call->load_ns = (int64_t)(slm_os()->now_ns() - call->start_ns);
    if (!call->reply) {
        free_call(call);
        return;
    }
    if (error) {
        fail(call, error->status == SLM_ERR_ARGUMENT ? 404 : slm_call_status(error), error);
        return;
    }
    call->waiting = true;
    slm_http_work(call->api->http, prepare, prepared, call);
}

/* JSON, or nothing that says otherwise. Pages of other sites can send text and forms without asking, with an Origin;
 * curl -d says it sends a form and has none. */
static bool type_ok(const struct slm_http_request *request)
{
    const struct slm_str type = slm_http_header(request, "Content-Type");
    const struct slm_str json = slm_str("application/json");
    const bool is_json = type.len >= json.len && strncasecmp(type.ptr, json.ptr, json.len) == 0;
    return is_json || (slm_http_header(request, "Origin").len == 0 &&
                       (type.len == 0 || slm_str_is(type, "application/x-www-form-urlencoded")));
}

/* Body, fields, and what the endpoint checks by itself. A GET without a
 * body asks for nothing. */
static slm_status read_request(struct slm_call *call, const struct slm_http_request *request, struct slm_error *error)
{
    if (request->body.len == 0 && (call->kind->no_body || strcmp(call->kind->method, "GET") == 0)) {
        call->body = json_object();
        if (!call->body) return slm_fail_memory(error, "body", 0);
    } else {
        SLM_TRY(slm_read_body(request->body, &call->body, error));
    }
    SLM_TRY(slm_read_fields(call->body, "", call->kind->sets, &call->ask, error));
    call->streaming = call->ask.stream == SLM_ABSENT_BOOL ? call->kind->streams : call->ask.stream == 1;
    return call->kind->check ? call->kind->check(call, error) : SLM_OK;
}

/* What no row of an endpoint names was not given. */
static void set_absent(struct slm_ask *ask)
{
    *ask = (struct slm_ask){0};
    double *const floats[] = {&ask->temperature, &ask->top_p, &ask->min_p, &ask->typical_p, &ask->repeat_penalty,
                              &ask->frequency_penalty, &ask->presence_penalty};
    int64_t *const ints[] = {&ask->top_k, &ask->penalty_last_n, &ask->seed, &ask->n_predict, &ask->n_predict_new,
                             &ask->n_choices, &ask->n_top, &ask->n_keep, &ask->n_ctx, &ask->priority, &ask->dims,
                                 &ask->limit_ms, &ask->slot};
    int *const bools[] = {&ask->stream, &ask->include_usage, &ask->logprobs, &ask->echo, &ask->ignore_eog,
                          &ask->shift,
                          &ask->truncate, &ask->raw, &ask->parallel, &ask->no_cache, &ask->cache, &ask->add_special,
                          &ask->parse_special, &ask->with_pieces, &ask->add_prompt, &ask->tokens, &ask->verbose,
                              &ask->any_json};
    for (size_t i = 0; i < sizeof floats / sizeof *floats; i++) *floats[i] = (double)__builtin_nanf("");
    for (size_t i = 0; i < sizeof ints / sizeof *ints; i++) *ints[i] = SLM_ABSENT_INT;
    for (size_t i = 0; i < sizeof bools / sizeof *bools; i++) *bools[i] = SLM_ABSENT_BOOL;
}

/* A call is freed by whatever ends it: an error here, its jobs' last
 * event, or its client going. */
void slm_call_start(struct slm_api *api, const struct slm_http_request *request, struct slm_reply *reply,
                    const struct slm_call_kind *kind)
{
    struct slm_error error = {0};
    if (!type_ok(request)) {
        slm_fail(&error, SLM_ERR_ARGUMENT, "Content-Type", "must be application/json");
        kind->table->error(reply, 415, &error);
        return;
    }
    struct slm_call *call = slm_alloc(1, sizeof *call, "call", &error);
    if (!call) {
        kind->table->error(reply, 503, &error);
        return;
    }
    call->api = api;
    call->next = api->calls;
    if (api->calls) api->calls->previous = call;
    api->calls = call;
    call->kind = kind;
    call->reply = reply;
    call->created_ns = slm_os()->unix_ns();
    call->start_ns = slm_os()->now_ns();
    (void)snprintf(call->tenant, sizeof call->tenant, "%s", *request->key ? request->key : request->peer);
    memcpy(call->request_id, request->id, sizeof call->request_id);
    (void)snprintf(call->wild, sizeof call->wild, "%.*s", (int)request->wild.len, request->wild.ptr);
    set_absent(&call->ask);
    if (read_request(call, request, &error) != SLM_OK) {
        fail(call, slm_call_status(&error), &error);
        return;
    }
    slm_reply_on_close(reply, gone, call);
    call->waiting = true;
    if (kind->any_model)
        slm_http_work(api->http, prepare, prepared, call);
    else
        slm_host_get(api->host, call->ask.model, have_model, call);
}

/* ---- writing --------------------------------------------------------------------------------------------------- */

/* Memory that ran out while an answer was written leaves no half of it: the connection breaks. */
static bool writable(struct slm_call *call)
{
    if (!call->reply) return false;
    if (call->out.failed == SLM_OK) return true;
    slm_reply_on_close(call->reply, NULL, NULL);
    slm_reply_abort(call->reply);
    call->reply = NULL;
    call->sent = true;
    return false;
}

/* The first event brings the headers. */
void slm_call_event(struct slm_call *call, const char *name)
{
    if (!writable(call)) return;
    if (call->n_events++ == 0) slm_reply_begin(call->reply, 200, "text/event-stream; charset=utf-8");
    slm_reply_event(call->reply, name, (struct slm_str){call->out.data, call->out.len});
    slm_buf_clear(&call->out);
}

/* A line of NDJSON, the newline included. */
void slm_call_line(struct slm_call *call)
{
    slm_buf_add(&call->out, "\n", 1);
    if (!writable(call)) return;
    if (call->n_events++ == 0) slm_reply_begin(call->reply, 200, "application/x-ndjson");
    slm_reply_write(call->reply, call->out.data, call->out.len);
    slm_buf_clear(&call->out);
}

/* A text that was cut short by want of memory must not look like a whole
 * one. */
void slm_reply_json(struct slm_reply *reply, int status, const struct slm_buf *json)
{
    if (json->failed == SLM_OK)
        slm_reply_send(reply, status, "application/json", (struct slm_str){json->data, json->len});
    else
        slm_reply_abort(reply);
}

/* The whole answer at once. The reply is over with it, so the call forgets
 * it. */
void slm_call_send(struct slm_call *call, int status)
{
    call->sent = true;
    if (!writable(call)) return;
    slm_reply_json(call->reply, status, &call->out);
    call->reply = NULL;
}

/* Nothing is generated: what was read is all. */
void slm_call_end_embedded(struct slm_call *call)
{
    slm_write_text(&call->out, "model", slm_host_model_name(call->model));
    slm_write_begin(&call->out, "usage", '{');
    slm_write_int(&call->out, "prompt_tokens", (int64_t)call->n_prompt);
    slm_write_int(&call->out, "total_tokens", (int64_t)call->n_prompt);
    slm_write_end(&call->out, '}');
    slm_write_end(&call->out, '}');
    slm_call_send(call, 200);
}

/* Random enough to be told apart by clients that talk to several servers. */
void slm_call_new_id(char *out, size_t cap, const char *prefix)
{
    static uint64_t counter; /* of the loop's thread, like every id */
    uint32_t random[4];
    slm_rng_block((uint64_t)slm_os()->unix_ns(), counter++, slm_os()->now_ns(), random);
    (void)snprintf(out, cap, "%s%08x%08x%08x", prefix, random[0], random[1], random[2] & 0xffffffu);
}
