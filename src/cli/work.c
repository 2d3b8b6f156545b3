/* SPDX-License-Identifier: MIT
 * See work.h. The handler only notes the signal; the library asks from time to time, every few million weights or some
 * tokens. */
#include "cli/work.h"

#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/os.h"

static volatile sig_atomic_t interrupted; /* the signal, 0 = none */
static void on_signal(int number) { interrupted = number; }

void slm_cli_work_begin(struct slm_cli_work *work, const char *name, const char *label, bool quiet)
{
    const struct sigaction stop = {.sa_handler = on_signal};
    *work = (struct slm_cli_work){.name = name, .bar = {.label = label, .start = slm_cli_seconds()}, .quiet = quiet,
                                  .show_bar = !quiet && isatty(STDERR_FILENO)};
    sigaction(SIGINT, &stop, NULL);
    sigaction(SIGTERM, &stop, NULL);
}

/* Also called when nothing is drawn, because this is where an interrupt is noticed. */
bool slm_cli_work_progress(void *user, uint64_t done, uint64_t total)
{
    struct slm_cli_work *work = user;
    if (work->show_bar) slm_cli_draw_progress(&work->bar, done, total);
    return interrupted == 0;
}

/* Said on stderr like an error, but the work goes on. */
void slm_cli_work_note(void *user, const char *sentence)
{
    struct slm_cli_work *work = user;
    if (work->quiet) return;
    slm_cli_clear_progress(&work->bar);
    work->bar.drawn = 0;
    fprintf(stderr, "slm: %s: %s\n", work->name, sentence);
}

int slm_cli_work_end(struct slm_cli_work *work, slm_status status, const struct slm_error *error)
{
    slm_cli_clear_progress(&work->bar);
    if (status == SLM_ERR_CANCELLED && interrupted) return 128 + interrupted; /* as shells say it */
    return status == SLM_OK ? SLM_EXIT_OK : slm_cli_fail(error);
}

bool slm_cli_parse_size(const char *text, uint64_t *out)
{
    static const struct { const char *unit; double factor; } units[] = {{"", 1}, {"K", 1e3}, {"M", 1e6}, {"G", 1e9}};
    char *end;
    errno = 0;
    const double number = strtod(text, &end);
    if (end == text || errno || !(number > 0)) return false;
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        if (strcmp(end, units[i].unit) != 0) continue;
        const double bytes = floor(number * units[i].factor);
        *out = bytes < 9e18 ? (uint64_t)bytes : 0;
        return bytes >= 1 && bytes < 9e18;
    }
    return false;
}

bool slm_cli_parse_rules(const struct slm_text_list *list, struct slm_cli_rules *out)
{
    *out = (struct slm_cli_rules){.n = 0};
    for (size_t i = 0; i < list->n; i++) {
        const char *equals = strrchr(list->items[i], '=');
        if (!equals || equals == list->items[i] || equals[1] == '\0') return false;
        struct slm_buf copy = {0};
        slm_buf_add(&copy, list->items[i], (size_t)(equals - list->items[i]));
        if (!copy.data) return false;
        out->copies[out->n] = copy.data;
        out->rules[out->n++] = (struct slm_convert_rule){copy.data, equals + 1};
    }
    return true;
}

void slm_cli_release_rules(struct slm_cli_rules *rules)
{
    for (size_t i = 0; i < rules->n; i++) {
        struct slm_buf copy = {.data = rules->copies[i]};
        slm_buf_release(&copy);
    }
}

int slm_cli_report_files(const struct slm_convert_result *result, const char *out, double seconds)
{
    char size[16], speed[16];
    fprintf(stderr, "%s: %zu tensors, %s", out, result->n_tensors, slm_cli_size(size, (double)result->bytes));
    if (result->n_files > 1) fprintf(stderr, " in %zu files", result->n_files);
    fprintf(stderr, ", %.1f s (%s/s)\n", seconds,
            slm_cli_size(speed, seconds > 0 ? (double)result->bytes / seconds : 0));
    return SLM_EXIT_OK;
}
