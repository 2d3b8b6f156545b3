/* SPDX-License-Identifier: MIT
 *
 * `slm doctor`: what this machine can do and whether slm works on it: the CPU and the kernels that were chosen
 * for it, memory and how fast it is read, arithmetic throughput, and a self-check that the built-in model says
 * the same with one thread and with all. About two seconds. What it prints belongs into every bug report.
 *
 * Measured speeds are those of this moment on a machine that may be shared: an upper bound was not looked for. */
#include <unistd.h>

#include "base/cpu.h"
#include "base/os.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "kernel/kernel.h"
#include "tune/machine.h"

enum { CHECK_TOKENS = 24 };

/* Filled by the rows below; zero means not given. */
struct doctor_options {
    uint64_t seen;
    bool json;
    int32_t n_threads;
    uint64_t cpu_mask;
};

#define AT(field) offsetof(struct doctor_options, field)
static const struct slm_option doctor_rows[] = {
    {.name = "json", .kind = SLM_OPTION_FLAG, .offset = AT(json),
     .help = "one JSON object"},
    {.name = "threads", .letter = 't', .kind = SLM_OPTION_INT, .offset = AT(n_threads), .arg = "N", .min = 1,
     .max = 1024,
     .help = "threads to measure with (default: all)"},
    {.name = "cpu-mask", .kind = SLM_OPTION_U64, .offset = AT(cpu_mask), .arg = "MASK",
     .help = "CPU features to use; 0 = none (default: all but AMX)"},
};
#undef AT
static const struct slm_option_group doctor_groups[] = {
    {"Options", doctor_rows, sizeof doctor_rows / sizeof doctor_rows[0], 0},
};
enum { SEEN_MASK = 4 }; /* bit of row 2 */

struct findings {
    uint64_t features; /* those in use */
    unsigned n_threads;
    uint64_t memory_total, memory_available; /* bytes; 0 = unknown */
    struct slm_machine one, all;             /* with one thread and with n_threads */
    char huge_pages[32];                     /* "madvise", or "unknown" */
    const char *level;
    const char *check;            /* "ok", "failed" or "skipped" */
    struct slm_error check_error; /* why, unless ok */
};

/* ---- self-check ------------------------------------------------------------------------------ */

/* CHECK_TOKENS likeliest tokens after a fixed prompt, from a fresh session. */
static slm_status greedy_ids(const struct slm_model *model, unsigned n_threads, int32_t ids[CHECK_TOKENS],
                             struct slm_error *error)
{
    struct slm_session_options options = {.n_threads = (int32_t)n_threads, .n_ctx = 64};
    struct slm_session *session;
    struct slm_sampler_params greedy = {0};
    int32_t prompt[16];
    size_t n_prompt;
    static const char text[] = "Once upon a time";
    SLM_TRY(slm_tokenize(model, text, sizeof text - 1, SLM_TOKENIZE_ADD_SPECIAL, prompt, 16, &n_prompt, error));
    SLM_TRY(slm_session_open(model, &options, &session, error));
    slm_status status = slm_session_eval(session, prompt, n_prompt < 16 ? n_prompt : 16, error);
    for (int i = 0; i < CHECK_TOKENS && status == SLM_OK; i++) {
        status = slm_sample(session, &greedy, &ids[i], error);
        if (status == SLM_OK) status = slm_session_eval(session, &ids[i], 1, error);
    }
    slm_session_close(session);
    return status;
}

/* The same tokens twice with one thread and once with all: the promise that everything else rests on. */
static void self_check(uint64_t cpu_mask, struct findings *f)
{
    struct slm_model_options options = {.cpu_mask = cpu_mask};
    struct slm_model *model;
    int32_t first[CHECK_TOKENS], again[CHECK_TOKENS], threaded[CHECK_TOKENS];
    slm_status status = slm_model_open(NULL, &options, &model, &f->check_error);
    if (status != SLM_OK) {
        f->check = status == SLM_ERR_UNSUPPORTED ? "skipped" : "failed";
        return;
    }
    status = greedy_ids(model, 1, first, &f->check_error);
    if (status == SLM_OK) status = greedy_ids(model, 1, again, &f->check_error);
    if (status == SLM_OK) status = greedy_ids(model, f->n_threads, threaded, &f->check_error);
    if (status == SLM_OK && memcmp(first, again, sizeof first) != 0)
        status = slm_fail(&f->check_error, SLM_ERR_NUMERIC, "self-check", "two equal runs gave different tokens");
    if (status == SLM_OK && memcmp(first, threaded, sizeof first) != 0)
        status = slm_fail(&f->check_error, SLM_ERR_NUMERIC, "self-check", "1 and %u threads gave different tokens",
                          f->n_threads);
    f->check = status == SLM_OK ? "ok" : "failed";
    slm_model_close(model);
}

/* ---- report ---------------------------------------------------------------------------------- */

/* The word in brackets of "always [madvise] never". */
static void read_huge_pages(char out[32])
{
    char line[128] = "";
    FILE *file = fopen("/sys/kernel/mm/transparent_hugepage/enabled", "r");
    const char *open = NULL, *close = NULL;
    if (file && fgets(line, sizeof line, file)) {
        open = strchr(line, '[');
        close = open ? strchr(open, ']') : NULL;
    }
    if (file) fclose(file);
    snprintf(out, 32, "%.*s", close ? (int)(close - open - 1) : 7, close ? open + 1 : "unknown");
}

/* Facts first, then what was measured, the verdict last. Bits are shown as masks, for --cpu-mask. */
static void add_text(struct slm_buf *out, const struct findings *f)
{
    char a[16], b[16];
    slm_buf_printf(out, "slm           %s\n", slm_version());
    slm_buf_printf(out, "cpu           %s\n", slm_cpu_model());
    for (unsigned bit = 0; bit < 64; bit++) {
        const char *name = slm_cpu_feature_name(bit);
        if (!name || !(slm_cpu_features() >> bit & 1)) continue;
        slm_buf_printf(out, "  feature     %-18s mask 0x%llx%s\n", name, 1ull << bit,
                       f->features >> bit & 1 ? "" : "  (masked out)");
    }
    slm_buf_printf(out, "kernels       %s\n", f->level);
    slm_buf_printf(out, "threads       %u\n", f->n_threads);
    slm_buf_printf(out, "memory        %s, %s available\n", slm_cli_size(a, (double)f->memory_total),
                   slm_cli_size(b, (double)f->memory_available));
    slm_buf_printf(out, "huge pages    %s\n", f->huge_pages);
    slm_buf_printf(out, "read speed    %.1f GB/s with 1 thread, %.1f GB/s with %u\n", f->one.read_bytes_s * 1e-9,
                   f->all.read_bytes_s * 1e-9, f->n_threads);
    slm_buf_printf(out, "f32 speed     %.1f GFLOP/s with 1 thread, %.1f GFLOP/s with %u\n", f->one.flop_s * 1e-9,
                   f->all.flop_s * 1e-9, f->n_threads);
    slm_buf_printf(out, "int8 speed    %.1f GMAC/s with 1 thread, %.1f GMAC/s with %u\n", f->one.mac_s * 1e-9,
                   f->all.mac_s * 1e-9, f->n_threads);
    slm_buf_printf(out, "self-check    %s", f->check);
    if (f->check_error.status != SLM_OK)
        slm_buf_printf(out, ": %s: %s", f->check_error.where, f->check_error.message);
    slm_buf_puts(out, "\n");
}

/* New fields may be added, none is renamed. */
static void add_json(struct slm_buf *out, const struct findings *f)
{
    slm_buf_puts(out, "{");
    slm_json_text(out, "version", slm_version());
    slm_json_text(out, "cpu", slm_cpu_model());
    slm_json_key(out, "features");
    slm_buf_puts(out, "[");
    for (unsigned bit = 0; bit < 64; bit++) {
        const char *name = slm_cpu_feature_name(bit);
        if (!name || !(slm_cpu_features() >> bit & 1)) continue;
        if (out->data && out->data[out->len - 1] != '[') slm_buf_puts(out, ",");
        slm_buf_puts(out, "{");
        slm_json_text(out, "name", name);
        slm_json_i64(out, "bit", bit);
        slm_json_bool(out, "used", f->features >> bit & 1);
        slm_buf_puts(out, "}");
    }
    slm_buf_puts(out, "]");
    slm_json_key(out, "cpu_mask");
    slm_buf_printf(out, "%llu", (unsigned long long)f->features);
    slm_json_text(out, "kernels", f->level);
    slm_json_i64(out, "threads", f->n_threads);
    slm_json_i64(out, "memory_total_bytes", (int64_t)f->memory_total);
    slm_json_i64(out, "memory_available_bytes", (int64_t)f->memory_available);
    slm_json_text(out, "huge_pages", f->huge_pages);
    slm_json_real(out, "read_bytes_s_1", f->one.read_bytes_s);
    slm_json_real(out, "read_bytes_s_all", f->all.read_bytes_s);
    slm_json_real(out, "f32_flop_s_1", f->one.flop_s);
    slm_json_real(out, "f32_flop_s_all", f->all.flop_s);
    slm_json_real(out, "int8_mac_s_1", f->one.mac_s);
    slm_json_real(out, "int8_mac_s_all", f->all.mac_s);
    slm_json_text(out, "self_check", f->check);
    slm_json_text(out, "self_check_reason", f->check_error.status != SLM_OK ? f->check_error.message : NULL);
    slm_buf_puts(out, "}\n");
}

/* Facts, measurements, self-check, in this order: the check needs what was found to be in use. Only what makes the
 * rest meaningless is an error. */
static slm_status examine(const struct doctor_options *options, struct findings *f, struct slm_error *error)
{
    struct slm_kernels kernels;
    bool masked = options->seen & SEEN_MASK;
    /* Everything that is shown is as the kernels will see it. */
    f->features = slm_cpu_features() & (masked ? options->cpu_mask : ~SLM_CPU_ON_REQUEST);
    f->n_threads = options->n_threads > 0 ? (unsigned)options->n_threads : slm_os()->n_cpus();
    f->memory_total = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
    f->memory_available = slm_os()->memory_available();
    read_huge_pages(f->huge_pages);
    slm_kernels_init(&kernels, f->features);
    f->level = kernels.level;
    /* One thread first: what is left of a turbo belongs to it. */
    slm_status status = slm_machine_measure(1, f->features, &f->one, error);
    if (status == SLM_OK) status = slm_machine_measure(f->n_threads, f->features, &f->all, error);
    if (status == SLM_OK) self_check(masked && !f->features ? UINT64_C(1) << 63 : f->features, f);
    return status;
}

/* The report is printed also when the self-check failed: it says why. */
static int doctor_main(void *opaque, int n_args, char **args)
{
    const struct doctor_options *options = opaque;
    struct findings findings = {0};
    struct slm_buf out = {0};
    struct slm_error error;
    (void)n_args;
    (void)args;
    if (examine(options, &findings, &error) != SLM_OK) return slm_cli_fail(&error);
    if (options->json)
        add_json(&out, &findings);
    else
        add_text(&out, &findings);
    int exit_code = slm_cli_emit(&out);
    return strcmp(findings.check, "failed") == 0 ? SLM_EXIT_FAILURE : exit_code;
}

const struct slm_command slm_command_doctor = {
    .name = "doctor",
    .args = "",
    .summary = "Shows what this machine can do, and checks that slm works on it",
    .groups = doctor_groups,
    .n_groups = 1,
    .options_bytes = sizeof(struct doctor_options),
    .max_args = 0,
    .run = doctor_main,
};
