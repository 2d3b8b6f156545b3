/* SPDX-License-Identifier: MIT
 * What one choice does: hold its timeline, share pages with those that begin alike, draw tokens, turn them into text
 * and events. The order of things follows slm_generate (generate.c) exactly, so the text is the same.
 *
 * Context shift: when the context is full and the job asked for it, the oldest half of what follows the first n_keep
 * tokens is forgotten and the rest is computed again at its new place, exactly as if the text had been that from the
 * start. (Moving keys in place is faster and not the same text.) Draws after it use other random numbers, since their
 * positions come up again. */
#include "serve/choice.h"

#include <math.h>

#include "base/checked.h"
#include "base/os.h"

enum { PAGE = SLM_KV_PAGE_TOKENS, FIRST_ROOM = 256 /* tokens beyond the prompt */ };

slm_status slm_choice_open(struct slm_choice *c, struct slm_choice_env *env, struct slm_ticket *ticket, int32_t index,
                           uint64_t salt, struct slm_error *error)
{
    /* Nothing is copied yet: most of the time of a busy server many wait. */
    const struct slm_job *job = ticket->job;
    c->ticket = ticket;
    c->env = env;
    c->index = index;
    c->ids = job->prompt;
    c->n_known = job->n_prompt;
    c->salt = salt;
    c->sampler = job->sampler;
    c->sampler.seed += (uint64_t)index;
    c->sampler.logit_bias = job->logit_bias;
    c->hashes_cap = job->n_prompt / PAGE + 1;
    c->hashes = slm_alloc(c->hashes_cap, sizeof *c->hashes, "job", error);
    return c->hashes ? SLM_OK : SLM_ERR_MEMORY;
}

/* What was opened; twice is fine. */
void slm_choice_close(struct slm_choice *c)
{
    slm_stream_close(&c->stream);
    slm_parts_close(c->parts);
    slm_grammar_state_close(c->grammar);
    slm_buf_release(&c->seen);
    slm_buf_release(&c->tokens);
    slm_buf_release(&c->tops);
    slm_release(c->hashes);
    /* Else they are the job's. */
    if (c->cap) slm_release(c->ids);
    c->ids = NULL;
    c->hashes = NULL;
    c->parts = NULL;
    c->grammar = NULL;
}

/* ---- the timeline ----------------------------------------------------------------------------------------------- */

/* Room for one token more. From here on the timeline is the choice's own. */
static slm_status reserve(struct slm_choice *c)
{
    if (c->n_known < c->cap) return SLM_OK;
    size_t cap = c->cap ? c->cap * 2 : c->n_known + FIRST_ROOM;
    if (cap > c->env->n_ctx + 1) cap = c->env->n_ctx + 1;
    uint64_t *hashes = slm_realloc(c->hashes, cap / PAGE + 1, sizeof *hashes, "job", &c->error);
    if (!hashes) return SLM_ERR_MEMORY;
    c->hashes = hashes;
    int32_t *ids = c->cap ? slm_realloc(c->ids, cap, sizeof *ids, "job", &c->error)
                          : slm_alloc(cap, sizeof *ids, "job", &c->error);
    if (!ids) return SLM_ERR_MEMORY;
    if (!c->cap) memcpy(ids, c->ids, c->n_known * sizeof *ids);
    c->ids = ids;
    c->cap = cap;
    return SLM_OK;
}

/* The choice's first n pages, which are full. */
static struct slm_prefix_line line_of(struct slm_choice *c, size_t n)
{
    /* As far as they are asked for: each covers the one before. */
    for (; c->n_hashed < n; c->n_hashed++)
        c->hashes[c->n_hashed] = slm_prefix_hash(c->n_hashed ? c->hashes[c->n_hashed - 1] : c->salt,
                                                 c->ids + c->n_hashed * PAGE);
    return (struct slm_prefix_line){.ids = c->ids, .hashes = c->hashes, .n_pages = n, .salt = c->salt};
}

bool slm_choice_asks(const struct slm_choice *c)
{
    return c->ticket->job->prompt_logprobs && c->index == 0 && c->n_asked < c->ticket->job->n_prompt;
}

/* One token at least is computed, for its logits; and all whose own logits are wanted. */
struct slm_prefix_line slm_choice_line(struct slm_choice *c)
{
    size_t n = c->n_known - 1;
    if (slm_choice_asks(c)) n = c->n_asked;
    return line_of(c, n / PAGE);
}

void slm_choice_catch_up(struct slm_choice *c)
{
    /* Only at the end of a page: what the session has of the next one is its own. */
    const struct slm_prefix_line line = slm_choice_line(c);
    const size_t from = c->session->n_past / PAGE;
    if (c->session->n_past % PAGE || from >= line.n_pages) return;
    const size_t n = slm_prefix_extend(c->env->prefix, c->session, &line, from);
    if (n > from) c->n_left = n;
    if (n > from && c->n_generated == 0) c->n_cached += (n - from) * PAGE;
}

void slm_choice_take(struct slm_choice *c, struct slm_session *session)
{
    c->session = session;
    c->before = session->counts;
    c->n_left = 0;
    if (!c->has_begun) c->n_cached = 0;
    slm_speculate_forget(&session->speculator);
    slm_choice_catch_up(c);
}

/* Its pages go back; those that others may use stay in the tree. */
struct slm_session *slm_choice_give(struct slm_choice *c)
{
    struct slm_session *session = c->session;
    const struct slm_speculation_counts *after = &session->counts;
    c->counts.n_steps += after->n_steps - c->before.n_steps;
    c->counts.n_guessed += after->n_guessed - c->before.n_guessed;
    c->counts.n_accepted += after->n_accepted - c->before.n_accepted;
    slm_session_truncate(session, 0, NULL); /* to nothing: never fails */
    c->session = NULL;
    c->n_left = 0;
    return session;
}

/* Pages that are full and computed are for others too. */
/* Also those of what it said: the next turn of a chat begins with them. */
static void leave_pages(struct slm_choice *c)
{
    const size_t n = c->session->n_past / PAGE;
    if (n == c->n_left) return;
    const struct slm_prefix_line line = line_of(c, n);
    slm_prefix_leave(c->env->prefix, c->session, &line, c->n_left);
    c->n_left = n;
}

/* Forgets the oldest tokens behind n_keep. What stays in front keeps its pages; the rest is computed again. */
static void shift(struct slm_choice *c)
{
    size_t keep = c->ticket->job->n_keep > 0 ? (size_t)c->ticket->job->n_keep : 0;
    if (keep > c->n_known / 2) keep = c->n_known / 2;
    /* Half of it, so that this happens seldom. */
    const size_t gone = (c->n_known - keep + 1) / 2, same = keep / PAGE;
    memmove(c->ids + keep, c->ids + keep + gone, (c->n_known - keep - gone) * sizeof *c->ids);
    c->n_known -= gone;
    c->n_hashed = c->n_hashed < same ? c->n_hashed : same;
    c->n_left = c->n_left < same ? c->n_left : same;
    slm_session_truncate(c->session, same * PAGE, NULL); /* shorter: never fails */
    slm_speculate_forget(&c->session->speculator);
    c->sampler.seed += UINT64_C(0x9E3779B97F4A7C15);
}

/* ---- events ----------------------------------------------------------------------------------------------------- */

/* For what cannot say so itself. */
static bool out_of_memory(struct slm_choice *c)
{
    (void)slm_fail(&c->error, SLM_ERR_MEMORY, "job", "there is no memory for its text");
    return false;
}

/* One event of this choice. Written here, it reaches the client after the step. */
static bool emit(struct slm_choice *c, struct slm_event *event)
{
    event->choice = c->index;
    return slm_outbox_add(c->env->outbox, c->ticket, event) || out_of_memory(c);
}

/* A part, with all tokens since the last one. */
static bool emit_part(void *user, const struct slm_part *part)
{
    struct slm_choice *c = user;
    struct slm_job_token *tokens = (struct slm_job_token *)(void *)c->tokens.data;
    const struct slm_token_top *top = (const struct slm_token_top *)(const void *)c->tops.data;
    const size_t n = c->tokens.len / sizeof *tokens;
    for (size_t i = 0; i < n; top += tokens[i++].n_top) tokens[i].top = tokens[i].n_top ? top : NULL;
    struct slm_event event = {.kind = SLM_EVENT_PART, .part = *part, .tokens = tokens, .n_tokens = n};
    c->kind = part->kind;
    if (!emit(c, &event)) return false;
    slm_buf_clear(&c->tokens);
    slm_buf_clear(&c->tops);
    return true;
}

/* Certain text, from the stream. */
static bool on_text(void *user, const char *text, size_t n_bytes)
{
    struct slm_choice *c = user;
    if (n_bytes == 0) return true;
    if (c->parts) return slm_parts_feed(c->parts, text, n_bytes, emit_part, c, &c->error) == SLM_OK;
    const struct slm_part part = {.kind = SLM_PART_CONTENT, .text = text, .text_bytes = n_bytes, .raw = text,
                                  .raw_bytes = n_bytes};
    return emit_part(c, &part);
}

/* Text begins: what turns tokens into it is opened late, so that those who wait cost little. */
static slm_status open_text(struct slm_choice *c)
{
    const struct slm_job *job = c->ticket->job;
    struct slm_stream_options options = {.stop = (const char *const *)job->stop, .n_stop = job->n_stop,
                                         .show_stop = job->echo_stop, .on_text = on_text, .user = c,
                                         .keep_space = job->grammar && !job->grammar_trigger};
    if (options.keep_space) SLM_TRY(slm_grammar_state_open(job->grammar, &c->grammar, &c->error));
    if (job->split == SLM_SPLIT_PARTS) {
        SLM_TRY(slm_parts_open(c->env->model, job->prompt, job->n_prompt, job->tools, &c->parts, &c->error));
        options.show = slm_parts_marks(c->parts, &options.n_show);
    }
    SLM_TRY(slm_stream_open(&c->stream, c->env->engine, &options, &c->error));
    c->is_open = true;
    return SLM_OK;
}

/* log of sum of exp(logit - greatest): what turns a logit into a logprob. A vocabulary is long: the exponentials come
 * from a kernel, a piece at a time, and are added in lanes, in an order of their own, so that no sum waits for the one
 * before, and is the same on every machine. */
static double log_of_sum(const struct slm_kernels *kernels, const float *logits, size_t n_vocab, float *greatest)
{
    enum { LANES = 16, PIECE = 64 * LANES };
    double sums[LANES] = {0}, sum = 0;
    float most[LANES], piece[PIECE];
    size_t i = 0;
    for (size_t k = 0; k < LANES; k++) most[k] = logits[0];
    for (; i + LANES <= n_vocab; i += LANES)
        for (size_t k = 0; k < LANES; k++) most[k] = logits[i + k] > most[k] ? logits[i + k] : most[k];
    for (; i < n_vocab; i++) most[0] = logits[i] > most[0] ? logits[i] : most[0];
    for (size_t k = 1; k < LANES; k++) most[0] = most[k] > most[0] ? most[k] : most[0];
    for (size_t from = 0; from < n_vocab; from += PIECE) {
        const size_t n = n_vocab - from < PIECE ? n_vocab - from : PIECE;
        memcpy(piece, logits + from, n * sizeof *piece);
        (void)kernels->softmax_part(piece, n, &most[0]); /* which stays the greatest */
        for (i = 0; i + LANES <= n; i += LANES)
            for (size_t k = 0; k < LANES; k++) sums[k] += (double)piece[i + k];
        for (; i < n; i++) sums[0] += (double)piece[i];
    }
    for (size_t k = 0; k < LANES; k++) sum += sums[k];
    *greatest = most[0];
    return log(sum);
}

/* The n likeliest, by insertion: n is small, and hardly any token comes near. */
static size_t likeliest(const float *logits, size_t n_vocab, size_t n, struct slm_token_top *top)
{
    size_t have = 0;
    for (size_t i = 0; i < n_vocab && n; i++) {
        if (have == n && !(logits[i] > top[n - 1].logprob)) continue;
        size_t at = have < n ? have++ : n - 1;
        for (; at > 0 && logits[i] > top[at - 1].logprob; at--) top[at] = top[at - 1];
        top[at] = (struct slm_token_top){(int32_t)i, logits[i]};
    }
    return have;
}

/* With as many of the likeliest as the job wants. */
static void measure(const struct slm_choice *c, const float *logits, struct slm_logprobs *out)
{
    const size_t n_vocab = c->env->model->hparams.n_vocab;
    const int32_t asked = c->ticket->job->n_top;
    const size_t n = asked < 0 ? 0 : asked < SLM_CHOICE_TOP ? (size_t)asked : SLM_CHOICE_TOP;
    out->log_sum = log_of_sum(&c->env->kernels, logits, n_vocab, &out->greatest);
    out->n_top = likeliest(logits, n_vocab, n, out->top);
    for (size_t i = 0; i < out->n_top; i++)
        out->top[i].logprob = (float)((double)out->top[i].logprob - (double)out->greatest - out->log_sum);
}

/* A token for the next part; probs NULL: nothing came before it. */
static bool add_token(struct slm_choice *c, int32_t id, float logit, const struct slm_logprobs *probs)
{
    const struct slm_model *model = c->env->model;
    struct slm_job_token token = {.id = id, .logprob = NAN};
    if (model->tokenizer) token.piece = slm_tokenizer_piece(model->tokenizer, id, true);
    if (probs) {
        token.n_top = probs->n_top;
        token.logprob = (float)((double)logit - (double)probs->greatest - probs->log_sum);
        /* Pointers are set when both buffers have stopped moving. */
        slm_buf_add(&c->tops, probs->top, token.n_top * sizeof *probs->top);
    }
    slm_buf_add(&c->tokens, &token, sizeof token);
    return (c->tokens.failed == SLM_OK && c->tops.failed == SLM_OK) || out_of_memory(c);
}

/* Rows of a prompt, measured by several threads. */
struct rows { const struct slm_choice *choice; struct slm_logprobs *probs; };

static void measure_row(void *arg, size_t i, unsigned rank)
{
    const struct rows *rows = arg;
    const struct slm_choice *c = rows->choice;
    (void)rank;
    measure(c, c->env->rows + i * c->env->model->hparams.n_vocab, &rows->probs[i]);
}

/* Logprobs of the prompt tokens that follow those that were computed. */
static bool tell_prompt(struct slm_choice *c, size_t first, size_t n_rows)
{
    const struct slm_job *job = c->ticket->job;
    const size_t n_vocab = c->env->model->hparams.n_vocab;
    struct slm_logprobs probs[SLM_CHOICE_ROWS];
    SLM_ASSERT(n_rows <= SLM_CHOICE_ROWS);
    slm_engine_share(c->env->engine, n_rows, measure_row, &(struct rows){c, probs});
    if (c->n_asked == 0 && !add_token(c, c->ids[0], 0, NULL)) return false;
    for (size_t i = 0; i < n_rows; i++) {
        const size_t next = first + i + 1;
        if (next <= c->n_asked || next == job->n_prompt) continue; /* told before its pages were taken; drawn */
        if (!add_token(c, c->ids[next], c->env->rows[i * n_vocab + (size_t)c->ids[next]], &probs[i])) return false;
    }
    if (c->n_asked < first + n_rows) c->n_asked = first + n_rows;
    struct slm_job_token *tokens = (struct slm_job_token *)(void *)c->tokens.data;
    const struct slm_token_top *top = (const struct slm_token_top *)(const void *)c->tops.data;
    struct slm_event event = {.kind = SLM_EVENT_PROMPT, .tokens = tokens, .n_tokens = c->tokens.len / sizeof *tokens};
    for (size_t i = 0; i < event.n_tokens; top += tokens[i++].n_top) tokens[i].top = tokens[i].n_top ? top : NULL;
    const bool written = event.n_tokens == 0 || emit(c, &event);
    slm_buf_clear(&c->tokens);
    slm_buf_clear(&c->tops);
    return written;
}

/* ---- drawing ---------------------------------------------------------------------------------------------------- */

/* The last text, and how it was. */
bool slm_choice_finish(struct slm_choice *c, enum slm_finish finish)
{
    struct slm_event event = {.kind = SLM_EVENT_FINISHED, .finish = finish};
    const uint64_t now = slm_os()->now_ns(), begin = c->ticket->begin_ns ? c->ticket->begin_ns : now;
    c->has_ended = true;
    c->finish = finish;
    if (c->is_open) {
        if (finish != SLM_FINISH_STOP) slm_stream_finish(&c->stream);
        if (c->parts && c->error.status == SLM_OK) slm_parts_finish(c->parts, emit_part, c, &c->error);
        if (c->error.status == SLM_OK && c->tokens.len) emit_part(c, &(struct slm_part){.kind = c->kind, .text = ""});
        if (finish == SLM_FINISH_STOP) event.stop_string = c->stream.found;
    }
    if (c->error.status != SLM_OK) return false;
    event.usage = (struct slm_usage){
        .n_prompt = c->ticket->job->n_prompt,
        .n_cached = c->n_cached,
        .n_generated = c->n_generated,
        .n_thinking = c->n_thinking,
        .queue_s = (double)(begin - c->ticket->submit_ns) * 1e-9,
        .prompt_s = (double)((c->first_ns ? c->first_ns : now) - begin) * 1e-9,
        .generate_s = c->first_ns ? (double)(now - c->first_ns) * 1e-9 : 0,
        .speculation = c->counts,
    };
    if (c->session) { /* what it did since it runs is not counted yet */
        event.usage.speculation.n_steps += c->session->counts.n_steps - c->before.n_steps;
        event.usage.speculation.n_guessed += c->session->counts.n_guessed - c->before.n_guessed;
        event.usage.speculation.n_accepted += c->session->counts.n_accepted - c->before.n_accepted;
    }
    /* The job's: the prompt counts once, its choices share it. */
    struct slm_usage *sum = &c->ticket->end.usage;
    if (c->index == 0) sum->n_cached = event.usage.n_cached;
    sum->n_prompt = event.usage.n_prompt;
    sum->n_generated += event.usage.n_generated;
    sum->n_thinking += event.usage.n_thinking;
    sum->queue_s = event.usage.queue_s;
    sum->prompt_s = fmax(sum->prompt_s, event.usage.prompt_s);
    sum->generate_s = fmax(sum->generate_s, event.usage.generate_s);
    sum->speculation.n_steps += event.usage.speculation.n_steps;
    sum->speculation.n_guessed += event.usage.speculation.n_guessed;
    sum->speculation.n_accepted += event.usage.speculation.n_accepted;
    return emit(c, &event);
}

/* A drawn token under the job's grammar; or looks for the text behind which it holds. */
static slm_status follow_grammar(struct slm_choice *c, int32_t id)
{
    const struct slm_job *job = c->ticket->job;
    if (c->grammar) return slm_grammar_accept(c->grammar, id, &c->error);
    if (!job->grammar || !c->env->model->tokenizer) return SLM_OK;
    if (job->trigger_in_content && c->parts && slm_parts_thinks(c->parts)) return SLM_OK;
    const size_t len = strlen(job->grammar_trigger);
    slm_buf_add_str(&c->seen, slm_tokenizer_piece(c->env->model->tokenizer, id, true));
    SLM_TRY(slm_buf_status(&c->seen, "grammar", &c->error));
    const char *at = c->seen.len ? memmem(c->seen.data, c->seen.len, job->grammar_trigger, len) : NULL;
    if (at) {
        SLM_TRY(slm_grammar_state_open(job->grammar, &c->grammar, &c->error));
        at += len;
        return slm_grammar_accept_text(c->grammar, at, (size_t)(c->seen.data + c->seen.len - at), &c->error);
    }
    /* Only what may be the beginning of the trigger is of use. */
    if (c->seen.len >= len) {
        memmove(c->seen.data, c->seen.data + c->seen.len - len + 1, len - 1);
        c->seen.len = len - 1;
    }
    return SLM_OK;
}

/* Takes the drawn token. NONE: go on. */
static enum slm_finish take(struct slm_choice *c, int32_t id)
{
    const struct slm_job *job = c->ticket->job;
    const int32_t before = c->n_known ? c->ids[c->n_known - 1] : -1;
    c->ids[c->n_known++] = id;
    c->n_generated++;
    const enum slm_stop_reason stop = slm_stream_feed(&c->stream, before, id);
    c->n_thinking += c->kind == SLM_PART_THINKING;
    /* Unlike slm_generate the last token is not computed: nobody asks what would follow. */
    if (stop == SLM_STOP_STRING) return SLM_FINISH_STOP;
    if (c->grammar && slm_grammar_is_final(c->grammar)) return SLM_FINISH_EOG;
    if (job->n_predict > 0 && c->n_generated >= (size_t)job->n_predict) return SLM_FINISH_LENGTH;
    return SLM_FINISH_NONE;
}

/* Everything is computed, its text is open, and there is room for a token more. */
bool slm_choice_can_draw(const struct slm_choice *c)
{
    return c->is_open && c->session->n_past == c->n_known && c->n_known < c->env->n_ctx && c->error.status == SLM_OK;
}

void slm_choice_draw(struct slm_choice *c, unsigned rank)
{
    const struct slm_job *job = c->ticket->job;
    const size_t n_vocab = c->env->model->hparams.n_vocab;
    uint64_t *mask = c->grammar ? c->env->masks + rank * ((n_vocab + 63) / 64) : NULL;
    struct slm_draw *draw = &c->drawn;
    *draw = (struct slm_draw){.is_made = true, .status = SLM_OK};
    if (mask) draw->status = slm_grammar_mask(c->grammar, mask, &c->error);
    if (draw->status == SLM_OK)
        draw->status = slm_session_draw(c->session, rank, &c->sampler, mask, &draw->id, &c->error);
    if (draw->status != SLM_OK || job->n_top < 0) return;
    const float *logits = slm_session_logits(c->session);
    draw->logit = logits[draw->id];
    measure(c, logits, &draw->probs);
}

/* One token from the session's logits, or what was drawn from them already. */
static enum slm_finish draw(struct slm_choice *c)
{
    const struct slm_job *job = c->ticket->job;
    const struct slm_tokenizer *tokenizer = c->env->model->tokenizer;
    /* Errors are in the choice; the caller looks there. */
    if (reserve(c) != SLM_OK) return SLM_FINISH_NONE;
    if (!c->drawn.is_made) slm_choice_draw(c, 0);
    c->drawn.is_made = false;
    const int32_t id = c->drawn.id;
    if (c->drawn.status != SLM_OK) return SLM_FINISH_NONE;
    if (!c->first_ns) c->first_ns = slm_os()->now_ns();
    if (follow_grammar(c, id) != SLM_OK) return SLM_FINISH_NONE;
    if ((!job->ignore_eog || c->grammar) && tokenizer && slm_tokenizer_is_eog(tokenizer, id)) return SLM_FINISH_EOG;
    if (job->n_top >= 0 && !add_token(c, id, c->drawn.logit, &c->drawn.probs)) return SLM_FINISH_NONE;
    return take(c, id);
}

/* The drawn token was guessed and is computed already: it joins the timeline for nothing. */
static bool was_foreseen(struct slm_choice *c)
{
    struct slm_session *s = c->session;
    if (s->n_ahead == 0 || s->tokens[s->n_past] != c->ids[c->n_known - 1]) return false;
    struct slm_step_part part = {.session = s, .ids = c->ids + c->n_known - 1, .n = 1};
    return slm_engine_step(c->env->engine, &part, 1, &c->error) == SLM_OK;
}

struct slm_guesser slm_choice_guesser(struct slm_choice *c, size_t room, int32_t ids[1 + SLM_MAX_GUESS])
{
    const struct slm_job *job = c->ticket->job;
    const size_t left = c->env->n_ctx - c->n_known;
    if (room > left) room = left;
    /* The last one is drawn from what the one before it brings. */
    if (job->n_predict > 0 && room >= (size_t)job->n_predict - c->n_generated)
        room = (size_t)job->n_predict - c->n_generated - 1;
    ids[0] = c->ids[c->n_known - 1];
    return (struct slm_guesser){.session = c->session, .params = &c->sampler, .id = ids[0], .room = room,
                                .guesses = ids + 1};
}

bool slm_choice_computed(struct slm_choice *c, size_t n_rows)
{
    const struct slm_job *job = c->ticket->job;
    if (slm_choice_asks(c) && !tell_prompt(c, c->session->n_past - n_rows, n_rows)) return false;
    do {
        leave_pages(c);
        if (c->session->n_past < c->n_known) return true;
        if (job->slot_action == SLM_SLOT_SAVE)
            return slm_session_save(c->session, job->slot_path, &c->error) == SLM_OK &&
                   slm_choice_finish(c, SLM_FINISH_EOG);
        /* All known tokens are computed: there are logits. */
        if (!c->is_open && open_text(c) != SLM_OK) return false;
        if (c->n_known == c->env->n_ctx && job->shift) {
            shift(c);
            return true;
        }
        const bool is_full = job->only_prompt || c->n_known == c->env->n_ctx;
        const enum slm_finish finish = is_full ? SLM_FINISH_LENGTH : draw(c);
        if (c->error.status != SLM_OK) return false;
        if (finish != SLM_FINISH_NONE) return slm_choice_finish(c, finish);
        if (c->env->speculates) slm_speculate_drawn(c->session, c->ids[c->n_known - 1]);
    } while (was_foreseen(c));
    return c->error.status == SLM_OK;
}
