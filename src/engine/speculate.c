/* SPDX-License-Identifier: MIT
 * Where guesses come from, and how many of them a step computes.
 *
 * N-gram guesses cost nothing to make: the longest run of last tokens that occurred before on the timeline is looked
 * up, and what followed it then is expected to follow again (Saxena, "Prompt Lookup Decoding", 2023). The timeline is
 * searched from its end; a look at a token's id is far less than what attention does with that token's keys, so there
 * is no index to keep. While guesses come true the match is followed, not searched again. It is kept up also where it
 * is not worth rows: the next token that is drawn tells whether the guess would have come true, so the odds are learnt
 * for nothing.
 *
 * A draft model is run ahead of the session on a timeline of its own, which is brought to the session's by what they
 * have in common. It draws with the same parameters and the same random number for each position, so that where both
 * models find the same tokens likely they mostly draw the same one, at any temperature. (Leviathan et al., 2023, accept
 * by a coin instead, which keeps the distribution but not the text.)
 *
 * The gate: with chance p_i of the i-th guess coming true, k guesses bring 1 + p_1 + p_1 p_2 + ... tokens for a step
 * that costs 1 + k * c ordinary ones. The k with the most tokens for the cost is taken, 0 included. The odds are
 * counted by how many tokens the match has, which is what tells a quotation from chance; c is measured. Time decides
 * only how much is guessed, never what is generated.
 *
 * Deliberately not here: trees of guesses, models with extra heads, guesses across sessions. */
#include "engine/session.h"

#include "base/os.h"

struct slm_spec_kind {
    /* id follows the timeline: was it expected? */
    void (*drawn)(struct slm_session *session, int32_t id);
    /* Guesses at what follows id, into the speculator; at most room. Returns how many. */
    size_t (*guess)(struct slm_session *session, int32_t id, size_t room, const struct slm_sampler_params *params);
};

/* ---- what pays --------------------------------------------------------------------------------------------------- */

#define ROW_COST 0.15 /* before anything was measured: low enough to be tried */
enum { MEMORY = 64, PRIOR_WEIGHT = 4 }; /* guesses: after which old ones count half; that a first value stands for */

/* Matches by length: up to `most` tokens, and how often their guess came true where we looked (stories, code, chat). */
static const struct { size_t most; float prior; } classes[SLM_SPEC_CLASSES] = {
    {1, 0.1f}, {2, 0.25f}, {3, 0.4f}, {5, 0.55f}, {8, 0.7f}, {15, 0.85f}, {SIZE_MAX, 0.95f},
};
static const float draft_prior = 0.6f; /* in class 0, the only one that drafts have */

static size_t class_of(size_t len)
{
    size_t i = 0;
    while (len > classes[i].most) i++;
    return i;
}

static void count(struct slm_speculator *sp, size_t class, bool hit)
{
    sp->odds[class].tries += 1;
    sp->odds[class].hits += hit ? 1 : 0;
    if (sp->odds[class].tries < MEMORY) return;
    sp->odds[class].tries /= 2;
    sp->odds[class].hits /= 2;
}

/* How many guesses bring the most tokens for the time; len 0: a draft's. */
static size_t worth(const struct slm_speculator *sp, size_t len, size_t room)
{
    double chance = 1, tokens = 1, best_rate = 1;
    size_t best = 0;
    if (sp->always) return room;
    for (size_t k = 1; k <= room; k++) {
        const size_t class = len ? class_of(len + k - 1) : 0;
        chance *= (double)sp->odds[class].hits / (double)sp->odds[class].tries;
        tokens += chance;
        const double rate = tokens / (1 + (double)k * (sp->row_cost + sp->draft_cost));
        if (rate <= best_rate) continue;
        best_rate = rate;
        best = k;
    }
    return best;
}

/* Moves a measured value an eighth of the way; one step that the machine interrupted must not decide. */
static double follow(double old, double seen, double most) { return old + ((seen < most ? seen : most) - old) / 8; }

void slm_speculate_took(struct slm_speculator *sp, size_t n_rows, double seconds)
{
    const double more = (double)(n_rows - 1);
    if (sp->step_s <= 0) sp->step_s = seconds / (1 + more * sp->row_cost);
    if (n_rows == 1) {
        sp->step_s = follow(sp->step_s, seconds, 2 * sp->step_s);
        sp->row_cost += (ROW_COST - sp->row_cost) / 256; /* what looked dear once is tried again some day */
    } else {
        const double seen = (seconds / sp->step_s - 1) / more;
        sp->row_cost = follow(sp->row_cost, seen > 0 ? seen : 0, 2);
    }
}

/* ---- n-grams ------------------------------------------------------------------------------------------------ */

enum { LONGEST_MATCH = 16 };

/* The longest run of tokens that ends with id, drawn but not yet on the timeline, and occurred before; of equally long
 * ones the latest. */
static void find_match(struct slm_speculator *sp, const int32_t *tokens, size_t n, int32_t id)
{
    sp->len = 0;
    for (size_t end = n; end > 0 && sp->len < LONGEST_MATCH; end--) {
        if (tokens[end - 1] != id) continue;
        size_t len = 1;
        while (len < end && len < LONGEST_MATCH && tokens[end - 1 - len] == tokens[n - len]) len++;
        if (len <= sp->len) continue;
        sp->len = len;
        sp->from = end;
    }
}

static void ngram_drawn(struct slm_session *session, int32_t id)
{
    struct slm_speculator *sp = &session->speculator;
    if (sp->len == 0) return;
    const bool hit = session->tokens[sp->from] == id;
    count(sp, class_of(sp->len), hit);
    sp->from++;
    sp->len = hit ? sp->len + 1 : 0;
}

/* What followed the match; where that reaches the present it goes on with id and the guesses themselves: a text that
 * repeats. */
static size_t ngram_guess(struct slm_session *session, int32_t id, size_t room, const struct slm_sampler_params *params)
{
    struct slm_speculator *sp = &session->speculator;
    const size_t n = session->n_past;
    (void)params; /* a quotation has no temperature */
    if (sp->len == 0) find_match(sp, session->tokens, n, id);
    if (sp->len == 0) return 0;
    const size_t k = worth(sp, sp->len, room);
    for (size_t i = 0; i < k; i++) {
        const size_t at = sp->from + i;
        sp->guesses[i] = at < n ? session->tokens[at] : at == n ? id : sp->guesses[at - n - 1];
    }
    return k;
}

/* ---- a draft model ------------------------------------------------------------------------------------------ */

enum { ASK_AGAIN = 32 }; /* tokens after which a draft that did not pay is asked for one guess */

/* `from` of n_guesses have come true. */
static void draft_drawn(struct slm_session *session, int32_t id)
{
    struct slm_speculator *sp = &session->speculator;
    sp->n_idle++;
    if (sp->from >= sp->n_guesses) return;
    const bool hit = sp->guesses[sp->from] == id;
    count(sp, 0, hit);
    if (hit) sp->from++;
    else sp->n_guesses = 0;
}

/* Brings the draft's timeline to the session's and id; one token at least is evaluated, for its logits. */
static slm_status catch_up(const struct slm_session *session, struct slm_session *draft, int32_t id)
{
    size_t same = 0;
    while (same < draft->n_past && same < session->n_past && draft->tokens[same] == session->tokens[same]) same++;
    SLM_TRY(slm_session_truncate(draft, same, NULL));
    SLM_TRY(slm_session_eval(draft, session->tokens + same, session->n_past - same, NULL));
    return slm_session_eval(draft, &id, 1, NULL);
}

/* A draft that cannot go on (its context is full, its vocabulary a little smaller) has no guess; that is no error. */
static size_t draft_guess(struct slm_session *session, int32_t id, size_t room, const struct slm_sampler_params *params)
{
    struct slm_speculator *sp = &session->speculator;
    const struct slm_tokenizer *tokenizer = session->model->tokenizer;
    size_t k = worth(sp, 0, room);
    sp->from = sp->n_guesses = 0;
    if (k == 0 && (sp->n_idle < ASK_AGAIN || room == 0)) return 0;
    if (k == 0) k = 1;
    sp->n_idle = 0;
    const uint64_t start = slm_os()->now_ns();
    slm_status status = catch_up(session, sp->draft, id);
    while (status == SLM_OK && sp->n_guesses < k) {
        int32_t guess;
        status = slm_sample(sp->draft, params, &guess, NULL);
        /* The end of the text is not guessed: nothing would be computed from it. */
        if (status != SLM_OK || (uint32_t)guess >= session->model->hparams.n_vocab ||
            (tokenizer && slm_tokenizer_is_eog(tokenizer, guess)))
            break;
        sp->guesses[sp->n_guesses++] = guess;
        if (sp->n_guesses < k) status = slm_session_eval(sp->draft, &guess, 1, NULL);
    }
    const double seconds = (double)(slm_os()->now_ns() - start) * 1e-9;
    if (sp->n_guesses && sp->step_s > 0)
        sp->draft_cost = follow(sp->draft_cost, seconds / sp->step_s / (double)sp->n_guesses, 2);
    return sp->n_guesses;
}

/* Sizes may differ by padding behind the last token; a draft's guess is never more than a guess. */
static slm_status check_vocabulary(const struct slm_model *model, const struct slm_model *draft,
                                   struct slm_error *error)
{
    enum { PADDING = 1024 };
    const struct slm_tokenizer *a = model->tokenizer, *b = draft->tokenizer;
    if (!a && !b && model->hparams.n_vocab == draft->hparams.n_vocab) return SLM_OK; /* ids are all there is */
    if (!a || !b)
        return slm_fail(error, SLM_ERR_ARGUMENT, "draft model",
                        "%s has no tokenizer, so nothing says that both mean the same by a token",
                        a ? "it" : "the model");
    const size_t n_a = slm_tokenizer_n_vocab(a), n_b = slm_tokenizer_n_vocab(b), n = n_a < n_b ? n_a : n_b;
    if (n_a > n + PADDING || n_b > n + PADDING)
        return slm_fail(error, SLM_ERR_ARGUMENT, "draft model",
                        "it has %zu tokens, the model %zu: a draft must have the model's vocabulary", n_b, n_a);
    for (size_t id = 0; id < n; id++) {
        const struct slm_str x = slm_tokenizer_piece(a, (int32_t)id, true);
        const struct slm_str y = slm_tokenizer_piece(b, (int32_t)id, true);
        if (x.len != y.len || memcmp(x.ptr, y.ptr, x.len) != 0)
            return slm_fail(error, SLM_ERR_ARGUMENT, "draft model",
                            "its token %zu is '%.*s', the model's '%.*s': a draft must have the model's vocabulary", id,
                            (int)(y.len < 32 ? y.len : 32), y.ptr, (int)(x.len < 32 ? x.len : 32), x.ptr);
    }
    return SLM_OK;
}

/* ---- the interface ------------------------------------------------------------------------------------------ */

static const struct slm_spec_kind kinds[] = {
    [SLM_SPECULATE_NGRAM] = {ngram_drawn, ngram_guess},
    [SLM_SPECULATE_DRAFT] = {draft_drawn, draft_guess},
};

static slm_status check_options(const struct slm_speculation *o, struct slm_error *error)
{
    if ((int)o->mode < 0 || o->mode > SLM_SPECULATE_DRAFT)
        return slm_fail(error, SLM_ERR_ARGUMENT, "speculation", "mode is %d, allowed are 0 (default) to %d",
                        (int)o->mode, SLM_SPECULATE_DRAFT);
    if (o->n_guess < 0 || o->n_guess > (int32_t)SLM_MAX_GUESS)
        return slm_fail(error, SLM_ERR_ARGUMENT, "speculation", "n_guess is %d, allowed are 0 (default) to %u",
                        o->n_guess, SLM_MAX_GUESS);
    if ((o->mode == SLM_SPECULATE_DRAFT) != (o->draft != NULL))
        return slm_fail(error, SLM_ERR_ARGUMENT, "speculation",
                        "a draft model belongs to the mode DRAFT, and that to it");
    return SLM_OK;
}

slm_status slm_speculator_open(struct slm_session *session, const struct slm_speculation *options,
                               struct slm_error *error)
{
    const struct slm_speculation zero = {.mode = SLM_SPECULATE_DEFAULT}, *o = options ? options : &zero;
    SLM_TRY(check_options(o, error));
    struct slm_speculator sp = {.mode = o->mode == SLM_SPECULATE_DEFAULT ? SLM_SPECULATE_NGRAM : o->mode,
                                .most = o->n_guess ? (size_t)o->n_guess : SLM_MAX_GUESS,
                                .always = o->always,
                                .row_cost = ROW_COST};
    if (sp.mode != SLM_SPECULATE_OFF) sp.kind = &kinds[sp.mode];
    for (size_t i = 0; i < SLM_SPEC_CLASSES; i++) {
        sp.odds[i].tries = PRIOR_WEIGHT;
        sp.odds[i].hits = PRIOR_WEIGHT * (o->draft ? draft_prior : classes[i].prior);
    }
    if (o->draft) {
        SLM_TRY(check_vocabulary(session->model, o->draft, error));
        SLM_TRY(slm_session_open(o->draft, &session->engine->options, &sp.draft, error));
    }
    slm_speculator_close(&session->speculator);
    session->speculator = sp;
    return SLM_OK;
}

/* The draft of a draft is never asked: it does not generate, it is only sampled. */
void slm_speculator_close(struct slm_speculator *sp)
{
    slm_session_close(sp->draft);
    *sp = (struct slm_speculator){.mode = SLM_SPECULATE_OFF};
}

slm_status slm_session_speculate(struct slm_session *session, const struct slm_speculation *options,
                                 struct slm_error *error)
{
    return slm_speculator_open(session, options, error);
}

void slm_speculate_drawn(struct slm_session *session, int32_t id)
{
    if (session->speculator.kind) session->speculator.kind->drawn(session, id);
}

size_t slm_speculate_guess(struct slm_session *session, int32_t id, size_t room,
                           const struct slm_sampler_params *params, int32_t guesses[SLM_MAX_GUESS])
{
    struct slm_speculator *sp = &session->speculator;
    if (!sp->kind) return 0;
    const size_t n = sp->kind->guess(session, id, room < sp->most ? room : sp->most, params);
    memcpy(guesses, sp->guesses, n * sizeof *guesses);
    return n;
}

void slm_speculate_forget(struct slm_speculator *sp) { sp->len = sp->from = sp->n_guesses = 0; }
