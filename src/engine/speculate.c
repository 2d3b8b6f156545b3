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
 * have in common, a piece at a time, so that a long prompt keeps nobody waiting. Sessions that guess in one step share
 * the draft's steps too. It draws with the same parameters and the same random number for each position, so that where
 * both models find the same tokens likely they mostly draw the same one, at any temperature. (Leviathan et al., 2023,
 * accept by a coin instead, which keeps the distribution but not the text.)
 *
 * The gate: with chance p_i of the i-th guess coming true, k guesses bring 1 + p_1 + p_1 p_2 + ... tokens for a step
 * that costs 1 + k * c ordinary ones. The k with the most tokens for the cost is taken, 0 included. The odds are
 * counted by how many tokens the match has, which is what tells a quotation from chance; c is measured. Of n sessions
 * in one step each waits for the rows of all, so c counts n times for each. Time decides only how much is guessed,
 * never what is generated.
 *
 * Deliberately not here: trees of guesses, models with extra heads. */
#include "engine/session.h"

#include "base/os.h"

struct slm_spec_kind {
    /* id follows the timeline: was it expected? */
    void (*drawn)(struct slm_session *session, int32_t id);
    /* Guesses at what follows the id of each, into its speculator. cost: of one more guess of each, as a share of the
     * step. */
    void (*guess)(struct slm_speculator *meter, struct slm_guesser *guessers, size_t n, double cost);
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

/* What one more guess of each of n sessions costs, as a share of their step. */
static double cost_of_guess(const struct slm_speculator *meter, size_t n)
{
    const double rows = (double)n * meter->row_cost;
    return (rows + meter->draft_cost) / (1 + rows - meter->row_cost);
}

/* How many guesses bring the most tokens for the time; len 0: a draft's. */
static size_t worth(const struct slm_speculator *sp, size_t len, size_t room, double cost)
{
    double chance = 1, tokens = 1, best_rate = 1;
    size_t best = 0;
    if (sp->always) return room;
    for (size_t k = 1; k <= room; k++) {
        const size_t class = len ? class_of(len + k - 1) : 0;
        chance *= (double)sp->odds[class].hits / (double)sp->odds[class].tries;
        tokens += chance;
        const double rate = tokens / (1 + (double)k * cost);
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
static void follow_match(struct slm_guesser *g, double cost)
{
    const struct slm_session *session = g->session;
    struct slm_speculator *sp = &g->session->speculator;
    const size_t n = session->n_past;
    if (sp->len == 0) find_match(sp, session->tokens, n, g->id);
    if (sp->len == 0) return;
    g->n = worth(sp, sp->len, g->room, cost);
    for (size_t i = 0; i < g->n; i++) {
        const size_t at = sp->from + i;
        sp->guesses[i] = at < n ? session->tokens[at] : at == n ? g->id : sp->guesses[at - n - 1];
    }
}

static void ngram_guess(struct slm_speculator *meter, struct slm_guesser *guessers, size_t n, double cost)
{
    (void)meter; /* looking costs nothing */
    for (size_t i = 0; i < n; i++) follow_match(&guessers[i], cost);
}

/* ---- a draft model ------------------------------------------------------------------------------------------ */

enum {
    ASK_AGAIN = 32, ASK_SELDOM = 1024, /* tokens after which a draft that did not pay is asked for one guess; at last */
    CATCH_UP = 128, /* tokens that drafts lie behind and compute before a step */
    TAIL = 16,      /* tokens that are computed together with the certain one */
};

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

/* How many guesses a draft is to make. */
static size_t wanted(struct slm_speculator *sp, size_t room, double cost)
{
    sp->from = sp->n_guesses = 0;
    const size_t k = sp->draft ? worth(sp, 0, room, cost) : 0;
    if (k > 0) sp->patience = ASK_AGAIN;
    return k == 0 && sp->draft && room > 0 && sp->n_idle >= sp->patience ? 1 : k;
}

/* Brings the draft's timeline to the session's, but for a tail. Returns how many tokens that is, or SIZE_MAX: it lies
 * behind still. left: tokens that may be computed for it. */
static size_t catch_up(const struct slm_session *session, struct slm_session *draft, size_t *left)
{
    size_t same = 0;
    while (same < draft->n_past && same < session->n_past && draft->tokens[same] == session->tokens[same]) same++;
    (void)slm_session_truncate(draft, same, NULL); /* shorter: never fails */
    const size_t missing = session->n_past - same;
    if (missing <= TAIL) return missing;
    struct slm_step_part part = {.session = draft, .ids = session->tokens + same, .n = missing, .no_logits = true};
    if (part.n > *left) part.n = *left;
    *left -= part.n;
    if (part.n == 0 || slm_engine_step(draft->engine, &part, 1, NULL) != SLM_OK) return SIZE_MAX;
    return part.n == missing ? 0 : SIZE_MAX;
}

/* Drafts that compute their next token together. */
struct round {
    struct slm_guesser *who[SLM_MOST_GUESSERS];
    struct slm_step_part parts[SLM_MOST_GUESSERS];
    int32_t tails[SLM_MOST_GUESSERS][TAIL + 1], drawn[SLM_MOST_GUESSERS];
    size_t n;
};

/* Who pays and is not behind; in g->n how many guesses it is for. */
static void gather(struct round *round, struct slm_guesser *guessers, size_t n, double cost)
{
    size_t left = CATCH_UP;
    for (size_t i = 0; i < n; i++) {
        struct slm_guesser *g = &guessers[i];
        struct slm_session *draft = g->session->speculator.draft;
        g->n = wanted(&g->session->speculator, g->room, cost);
        const size_t tail = g->n ? catch_up(g->session, draft, &left) : SIZE_MAX;
        if (tail == SIZE_MAX) continue;
        int32_t *ids = round->tails[round->n];
        memcpy(ids, g->session->tokens + g->session->n_past - tail, tail * sizeof *ids);
        ids[tail] = g->id;
        round->who[round->n] = g;
        round->parts[round->n++] = (struct slm_step_part){.session = draft, .ids = ids, .n = tail + 1};
    }
}

/* On any thread. */
static void draw_one(void *arg, size_t i, unsigned rank)
{
    struct round *round = arg;
    const struct slm_step_part *part = &round->parts[i];
    if (part->status != SLM_OK ||
        slm_session_draw(part->session, rank, round->who[i]->params, NULL, &round->drawn[i], NULL) != SLM_OK)
        round->drawn[i] = -1;
}

/* One guess of each. A draft that cannot go on (its context is full, its pages are used up, its vocabulary is a little
 * smaller) has no more; that is no error. */
static void play(struct round *round)
{
    struct slm_engine *engine = round->parts[0].session->engine;
    size_t n_left = 0;
    (void)slm_engine_step(engine, round->parts, round->n, NULL);
    slm_engine_share(engine, round->n, draw_one, round);
    for (size_t i = 0; i < round->n; i++) {
        struct slm_guesser *g = round->who[i];
        struct slm_speculator *sp = &g->session->speculator;
        const struct slm_model *model = g->session->model;
        const int32_t guess = round->drawn[i];
        /* The end of the text is not guessed: nothing would be computed from it. */
        if (guess < 0 || (uint32_t)guess >= model->hparams.n_vocab ||
            (model->tokenizer && slm_tokenizer_is_eog(model->tokenizer, guess)))
            continue;
        sp->guesses[sp->n_guesses++] = guess;
        if (sp->n_guesses == g->n) continue;
        round->who[n_left] = g;
        round->parts[n_left++] = (struct slm_step_part){.session = sp->draft, .ids = sp->guesses + sp->n_guesses - 1,
                                                        .n = 1};
    }
    round->n = n_left;
}

static void draft_guess(struct slm_speculator *meter, struct slm_guesser *guessers, size_t n, double cost)
{
    struct round round = {.n = 0};
    size_t n_rounds = 0;
    gather(&round, guessers, n, cost);
    const uint64_t start = slm_os()->now_ns();
    for (; round.n > 0; n_rounds++) play(&round);
    const double seconds = (double)(slm_os()->now_ns() - start) * 1e-9;
    if (n_rounds > 0 && meter->step_s > 0)
        meter->draft_cost = follow(meter->draft_cost, seconds / meter->step_s / (double)n_rounds, 2);
    for (size_t i = 0; i < n; i++) {
        struct slm_speculator *sp = &guessers[i].session->speculator;
        guessers[i].n = sp->n_guesses;
        if (sp->n_guesses == 0) continue;
        if (sp->n_idle >= sp->patience && sp->patience < ASK_SELDOM) sp->patience *= 2;
        sp->n_idle = 0;
    }
}

/* Sizes may differ by padding behind the last token; a draft's guess is never more than a guess. */
slm_status slm_speculate_check(const struct slm_model *model, const struct slm_model *draft, struct slm_error *error)
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
                               struct slm_engine *shared, struct slm_error *error)
{
    const struct slm_speculation zero = {.mode = SLM_SPECULATE_DEFAULT}, *o = options ? options : &zero;
    SLM_TRY(check_options(o, error));
    struct slm_speculator sp = {.mode = o->mode == SLM_SPECULATE_DEFAULT ? SLM_SPECULATE_NGRAM : o->mode,
                                .most = o->n_guess ? (size_t)o->n_guess : SLM_MAX_GUESS,
                                .always = o->always,
                                .row_cost = ROW_COST,
                                .patience = ASK_AGAIN};
    if (sp.mode != SLM_SPECULATE_OFF) sp.kind = &kinds[sp.mode];
    for (size_t i = 0; i < SLM_SPEC_CLASSES; i++) {
        sp.odds[i].tries = PRIOR_WEIGHT;
        sp.odds[i].hits = PRIOR_WEIGHT * (o->draft ? draft_prior : classes[i].prior);
    }
    if (shared) {
        SLM_TRY(slm_engine_session(shared, &sp.draft, error));
    } else if (o->draft) {
        SLM_TRY(slm_speculate_check(session->model, o->draft, error));
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
    return slm_speculator_open(session, options, NULL, error);
}

void slm_speculate_drawn(struct slm_session *session, int32_t id)
{
    if (session->speculator.kind) session->speculator.kind->drawn(session, id);
}

size_t slm_speculate_guess(struct slm_speculator *meter, struct slm_guesser *guessers, size_t n)
{
    size_t sum = 0;
    const struct slm_spec_kind *kind = guessers[0].session->speculator.kind;
    SLM_ASSERT(n <= SLM_MOST_GUESSERS);
    for (size_t i = 0; i < n; i++) {
        const size_t most = guessers[i].session->speculator.most;
        guessers[i].n = 0;
        if (guessers[i].room > most) guessers[i].room = most;
    }
    if (kind) kind->guess(meter, guessers, n, cost_of_guess(meter, n));
    for (size_t i = 0; i < n; i++) {
        memcpy(guessers[i].guesses, guessers[i].session->speculator.guesses, guessers[i].n * sizeof(int32_t));
        sum += guessers[i].n;
    }
    return sum;
}

void slm_speculate_forget(struct slm_speculator *sp) { sp->len = sp->from = sp->n_guesses = 0; }
