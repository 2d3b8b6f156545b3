/* SPDX-License-Identifier: MIT
 *
 * `slm top` at work: asks the server each interval, keeps the last half minute of answers, draws. The terminal is put
 * back as it was on every way out that a program can see: q, the end of its input, SIGINT, SIGTERM, SIGHUP, and while
 * it is stopped by Ctrl-Z.
 *
 * Deliberately not here: what numbers mean and how they look (top_view.c). */
#include <signal.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>
#include <uv.h>

#include "base/os.h"
#include "cli/top_options.h"
#include "cli/top_view.h"
#include "serve/client.h"

/* Looks that latencies are of; bytes of an answer; what a server may take for one. */
enum { KEPT = 31, MOST_ANSWER = 16 << 20, MOST_WAIT_MS = 10000, N_SIGNALS = 6 };

struct look { struct slm_scrape scrape; double s; }; /* s: by a clock that nobody sets */

struct program {
    const struct slm_top_options *options;
    struct slm_top top;
    struct slm_url url;
    struct slm_peer *peer;
    uv_loop_t loop;
    uv_timer_t timer;
    uv_poll_t keys;
    uv_signal_t signals[N_SIGNALS];
    struct termios terminal;       /* as it was */
    bool has_screen, has_keys, is_asking, is_over;
    struct look looks[KEPT];       /* oldest first */
    size_t n_looks, n_printed;
    struct slm_buf answer;
    int exit_code, ended_by;       /* ended_by: a signal */
    double interval_s;
};

/* ---- the screen -------------------------------------------------------------------------------------------------- */

/* Through one write, so that nothing is seen half-drawn. */
static void put(const char *text, size_t len)
{
    if (!slm_cli_write(text, len)) return;
    fflush(stdout);
}

/* A screen of its own leaves what was there before as it was; no echo, no waiting for Enter. Ctrl-C stays a signal. */
static void enter_screen(struct program *p)
{
    struct termios raw = p->terminal;
    raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
    tcsetattr(STDIN_FILENO, TCSADRAIN, &raw);
    put("\033[?1049h\033[?25l", 14);
}

/* The other way round. */
static void leave_screen(const struct program *p)
{
    put("\033[?25h\033[?1049l", 14);
    tcsetattr(STDIN_FILENO, TCSADRAIN, &p->terminal);
}

/* Each row is cleared to its end as it is written, then what is below: no flicker. */
static void draw(struct program *p)
{
    struct winsize size = {.ws_row = 0};
    struct slm_buf out = {0};
    /* Some terminals do not know their size; the last row stays empty, else its end would scroll. */
    ioctl(STDOUT_FILENO, TIOCGWINSZ, &size);
    slm_buf_puts(&out, "\033[H");
    slm_top_write(&p->top, size.ws_col ? size.ws_col : 80, size.ws_row > 2 ? size.ws_row - 1u : 23,
                  slm_cli_colour(stdout), "\033[K\n", &out);
    slm_buf_puts(&out, "\033[J");
    put(out.data, out.len);
    slm_buf_release(&out);
}

/* The loop ends by itself once nothing is left in it. */
static void finish(struct program *p, int exit_code)
{
    if (p->is_over) return;
    p->is_over = true;
    p->exit_code = exit_code;
    slm_peer_cancel(p->peer); /* nobody waits for a server that hangs */
    uv_close((uv_handle_t *)&p->timer, NULL);
    if (p->has_keys) uv_close((uv_handle_t *)&p->keys, NULL);
    for (size_t i = 0; i < N_SIGNALS; i++) uv_close((uv_handle_t *)&p->signals[i], NULL);
}

/* After a look, or a failed one. */
static void show(struct program *p)
{
    struct slm_buf out = {0};
    if (p->is_over) return;
    if (p->has_screen) {
        draw(p);
        return;
    }
    /* The first look has no speeds; a failed one is all there is to say. */
    if (p->n_looks < 2 && !p->top.trouble[0]) return;
    if (p->options->once && p->top.trouble[0]) {
        fprintf(stderr, "slm: %s\n", p->top.trouble);
        finish(p, SLM_EXIT_FAILURE);
        return;
    }
    if (p->options->json) slm_top_write_json(&p->top, &out);
    else slm_top_write(&p->top, 100, 0, slm_cli_colour(stdout), "\n", &out);
    const bool written = slm_cli_write(out.data, out.len);
    fflush(stdout);
    slm_buf_release(&out);
    if (p->options->once || !written) finish(p, SLM_EXIT_OK);
}

/* ---- asking ------------------------------------------------------------------------------------------------------ */

/* Both answers go into the same buffer, one after the other. */
static void on_body(void *user, const char *data, size_t n)
{
    struct program *p = user;
    slm_buf_add(&p->answer, data, n);
}

/* What was counted before the server was away, or before it began anew, is of no use. */
static void forget(struct program *p)
{
    for (size_t i = 0; i < p->n_looks; i++) slm_scrape_release(&p->looks[i].scrape);
    p->n_looks = 0;
}

/* What is on the screen stays, with the reason above it: the last one knows is better than nothing. */
static void in_trouble(struct program *p, const struct slm_error *error)
{
    snprintf(p->top.trouble, sizeof p->top.trouble, "%s: %s", error->where, error->message);
    forget(p);
    p->is_asking = false;
    show(p);
}

/* Other servers have no list of loaded models; that is no trouble. */
static void on_models(void *user, int status, int retry_after_s, const struct slm_error *error)
{
    struct program *p = user;
    (void)retry_after_s;
    if (!error && status == 200)
        slm_top_read_models(&p->top, (struct slm_str){p->answer.data, p->answer.len});
    slm_buf_clear(&p->answer);
    p->is_asking = false;
    show(p);
}

/* What cannot even be asked is the same trouble as no answer. */
static void ask(struct program *p, const char *path,
                void (*on_end)(void *user, int status, int retry_after_s, const struct slm_error *error))
{
    struct slm_error error;
    const struct slm_ask what = {.method = "GET", .path = path, .key = p->options->key, .timeout_ms = MOST_WAIT_MS,
                                 .on_body = on_body, .on_end = on_end, .user = p};
    slm_buf_release(&p->answer);
    p->answer.limit = MOST_ANSWER;
    if (slm_peer_ask(p->peer, &what, &error) != SLM_OK) in_trouble(p, &error);
}

/* A look: the numbers of now beside those of the look before. Models are asked for when there is a server at all. */
static void on_metrics(void *user, int status, int retry_after_s, const struct slm_error *error)
{
    struct program *p = user;
    struct slm_error trouble;
    struct look look = {.s = slm_cli_seconds()};
    (void)retry_after_s;
    if (p->is_over) return;
    if (!error && status != 200) {
        slm_fail(&trouble, SLM_ERR_IO, p->top.url, "/metrics answers %d%s", status,
                 status == 401 ? ": an API key is needed, --api-key KEY" : "");
        error = &trouble;
    }
    if (!error && slm_scrape_read(&p->answer, &look.scrape, &trouble) != SLM_OK) error = &trouble;
    if (error) {
        in_trouble(p, error);
        return;
    }
    if (p->n_looks == KEPT) {
        slm_scrape_release(&p->looks[0].scrape);
        memmove(p->looks, p->looks + 1, --p->n_looks * sizeof *p->looks);
    }
    const struct look *before = p->n_looks ? &p->looks[p->n_looks - 1] : NULL;
    /* Counters that fell are those of another life of the server. */
    if (before && slm_scrape_sum(&look.scrape, "vllm:prompt_tokens_total") <
                      slm_scrape_sum(&before->scrape, "vllm:prompt_tokens_total")) {
        forget(p);
        before = NULL;
    }
    p->top.trouble[0] = '\0';
    p->top.unix_s = (double)slm_os()->unix_ns() * 1e-9;
    slm_top_read(&p->top, before ? &before->scrape : NULL, before ? &p->looks[0].scrape : NULL, &look.scrape,
                 before ? look.s - before->s : 0);
    p->looks[p->n_looks++] = look;
    ask(p, "/api/ps", on_models);
}

static void on_time(uv_timer_t *timer)
{
    struct program *p = timer->data;
    if (p->is_asking) return; /* a slow server is not asked twice at a time */
    p->is_asking = true;
    ask(p, "/metrics", on_metrics);
}

/* ---- keys and signals -------------------------------------------------------------------------------------------- */

/* q, Ctrl-D, or a terminal that has gone. */
static void on_keys(uv_poll_t *poll, int status, int events)
{
    struct program *p = poll->data;
    char keys[64];
    const ssize_t n = status < 0 ? -1 : read(STDIN_FILENO, keys, sizeof keys);
    (void)events;
    if (n <= 0 || memchr(keys, 'q', (size_t)n) || memchr(keys, 4, (size_t)n)) finish(p, SLM_EXIT_OK);
}

/* On the loop, so the screen is never left in the middle of being drawn. */
static void on_signal(uv_signal_t *handle, int number)
{
    struct program *p = handle->data;
    if (number == SIGWINCH) {
        show(p);
    } else if (number == SIGTSTP) {
        if (p->has_screen) leave_screen(p);
        raise(SIGSTOP);
    } else if (number == SIGCONT) {
        if (p->has_screen) enter_screen(p);
        if (p->has_screen) draw(p);
    } else {
        /* Ctrl-C is how people leave; the others end it as they would have. */
        p->ended_by = number == SIGINT && p->has_screen ? 0 : number;
        finish(p, SLM_EXIT_OK);
    }
}

/* The first look is at once. */
static void start(struct program *p)
{
    static const int numbers[N_SIGNALS] = {SIGINT, SIGTERM, SIGHUP, SIGWINCH, SIGTSTP, SIGCONT};
    uv_timer_init(&p->loop, &p->timer);
    p->timer.data = p;
    for (size_t i = 0; i < N_SIGNALS; i++) {
        uv_signal_init(&p->loop, &p->signals[i]);
        p->signals[i].data = p;
        /* Without a screen there is nothing to put back or to draw. */
        if (i < 3 || p->has_screen) uv_signal_start(&p->signals[i], on_signal, numbers[i]);
    }
    p->has_keys = p->has_screen && uv_poll_init(&p->loop, &p->keys, STDIN_FILENO) == 0;
    p->keys.data = p;
    if (p->has_keys) uv_poll_start(&p->keys, UV_READABLE, on_keys);
    const struct slm_scrape nothing = {.n = 0};
    slm_top_read(&p->top, NULL, NULL, &nothing, 0);
    if (p->has_screen) enter_screen(p);
    if (p->has_screen) draw(p);
    uv_timer_start(&p->timer, on_time, 0, (uint64_t)(p->interval_s * 1000));
}

/* A signal that ended it ends it once more, by default: whoever waits for us sees why we went. */
static int run(struct program *p)
{
    struct slm_error error;
    if (uv_loop_init(&p->loop) != 0) {
        slm_fail(&error, SLM_ERR_IO, "loop", "the system gives no event loop");
        return slm_cli_fail(&error);
    }
    if (slm_peer_open(&p->loop, &p->url, &p->peer, &error) != SLM_OK) {
        uv_loop_close(&p->loop);
        return slm_cli_fail(&error);
    }
    start(p);
    uv_run(&p->loop, UV_RUN_DEFAULT);
    if (p->has_screen) leave_screen(p);
    forget(p);
    slm_buf_release(&p->answer);
    slm_peer_close(p->peer);
    uv_loop_close(&p->loop);
    if (p->ended_by) {
        signal(p->ended_by, SIG_DFL);
        raise(p->ended_by);
    }
    return p->exit_code == SLM_EXIT_OK ? slm_cli_finish() : p->exit_code;
}

/* The struct is large: histories and tables of models. */
int slm_cli_top(const struct slm_top_options *o, const char *url)
{
    struct slm_error error;
    struct program *p = slm_alloc(1, sizeof *p, "top", &error);
    if (!p) return slm_cli_fail(&error);
    p->options = o;
    p->interval_s = o->interval_s > 0 ? (double)o->interval_s : 1;
    p->has_screen = !o->once && !o->json;
    p->top.url = url;
    int code;
    if (slm_url_parse(url, &p->url, &error) != SLM_OK) {
        code = slm_cli_usage(error.where, "%s", error.message);
    } else if (p->has_screen && (!isatty(STDOUT_FILENO) || tcgetattr(STDIN_FILENO, &p->terminal) != 0)) {
        code = slm_cli_usage("top", "it needs a terminal; --once prints what there is, --json a line for each look");
    } else {
        /* The address for OpenAI's clients means the same server. */
        const size_t n = strlen(p->url.path);
        if (n >= 3 && strcmp(p->url.path + n - 3, "/v1") == 0) p->url.path[n - 3] = '\0';
        code = run(p);
    }
    slm_release(p);
    return code;
}
