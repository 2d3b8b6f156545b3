/* SPDX-License-Identifier: MIT
 *
 * `slm calibrate`: an importance matrix for `slm quantize --imatrix`. The work is the library's (slm_calibrate). */
#include "cli/commands.h"
#include "cli/work.h"

/* Filled by the rows below; zero means not given. */
struct calibrate_options {
    uint64_t seen;
    const char *text, *out;
    int32_t window, max_windows;
    bool quiet;
    struct slm_model_choice model;
};

#define AT(field) offsetof(struct calibrate_options, field)
static const struct slm_option calibrate_rows[] = {
    {.name = "text", .letter = 'f', .kind = SLM_OPTION_TEXT, .offset = AT(text), .arg = "FILE",
     .help = "text as the model will meet it; - is stdin"},
    {.name = "output", .letter = 'o', .kind = SLM_OPTION_TEXT, .offset = AT(out), .arg = "FILE",
     .help = "the importance matrix, a GGUF file (default: imatrix.gguf)"},
    {.name = "window", .letter = 'w', .kind = SLM_OPTION_INT, .offset = AT(window), .arg = "N", .min = 4,
     .max = 1048576, .help = "tokens computed together (default: 512, or what the model was made for)"},
    {.name = "max-windows", .kind = SLM_OPTION_INT, .offset = AT(max_windows), .arg = "N", .min = 1, .max = 1e9,
     .help = "stop after N windows"},
    {.name = "quiet", .letter = 'q', .kind = SLM_OPTION_FLAG, .offset = AT(quiet), .help = "no bar, no summary"},
};
#undef AT
static const struct slm_option_group calibrate_groups[] = {
    {"Options", calibrate_rows, sizeof calibrate_rows / sizeof calibrate_rows[0], 0},
    SLM_MODEL_GROUP(struct calibrate_options, model),
};

/* In f32, unless asked otherwise: what is measured should be the model's, not of its rounded activations. */
static int calibrate_main(void *opaque, int n_args, char **args)
{
    struct calibrate_options *options = opaque;
    struct slm_model *model = NULL;
    struct slm_buf text = {0};
    struct slm_error error;
    struct slm_calibrate_result result;
    struct slm_cli_work work;
    const char *out = options->out ? options->out : "imatrix.gguf";
    if (n_args > 0) options->model.path = args[0];
    if (!options->text) return slm_cli_usage("calibrate", "--text is needed: slm calibrate model.gguf --text FILE");
    if (options->model.activations == SLM_ACTIVATIONS_DEFAULT) options->model.activations = SLM_ACTIVATIONS_F32;
    slm_cli_work_begin(&work, "calibrate", "calibrating", options->quiet);
    slm_status status = slm_cli_read(options->text, (size_t)1 << 30, &text, &error);
    if (status == SLM_OK) status = slm_cli_open_model(&options->model, false, &model, &error);
    if (status == SLM_OK) {
        const struct slm_calibrate_options what = {
            .text = text.data ? text.data : "", .text_bytes = text.len, .dataset = options->text,
            .n_window = options->window, .max_windows = (size_t)options->max_windows,
            .session = {.n_threads = options->model.n_threads, .n_batch = options->model.n_batch,
                        .kv_type = (enum slm_kv_type)options->model.kv_type,
                        .activations = (enum slm_activations)options->model.activations},
            .progress = slm_cli_work_progress, .user = &work,
        };
        work.bar.start = slm_cli_seconds();
        status = slm_calibrate(model, out, &what, &result, &error);
    }
    const int exit_code = slm_cli_work_end(&work, status, &error);
    slm_model_close(model);
    slm_buf_release(&text);
    if (status == SLM_OK && !options->quiet)
        fprintf(stderr, "%s: %zu matrices, %zu tokens in %zu windows, %.1f s\n", out, result.n_entries, result.n_tokens,
                result.n_windows, slm_cli_seconds() - work.bar.start);
    return exit_code;
}

/* Sampling has no part in this: no sampling options. */
const struct slm_command slm_command_calibrate = {
    .name = "calibrate",
    .args = "[MODEL] --text FILE",
    .summary = "Measures which weights matter, for quantize --imatrix",
    .details = "Runs the model over a text and writes how strongly each column of its matrices is\n"
               "used: an importance matrix, in the form llama.cpp reads and writes. A few hundred\n"
               "windows of text of the kind the model is for are enough.\n"
               "\n"
               "  slm calibrate qwen3.gguf --text wiki.txt -o qwen3.imatrix.gguf\n"
               "  slm quantize qwen3.gguf small.gguf q3_k_m --imatrix qwen3.imatrix.gguf\n",
    .groups = calibrate_groups,
    .n_groups = sizeof calibrate_groups / sizeof calibrate_groups[0],
    .options_bytes = sizeof(struct calibrate_options),
    .max_args = 1,
    .run = calibrate_main,
};
