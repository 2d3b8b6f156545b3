/* SPDX-License-Identifier: MIT
 *
 * `slm convert`: a Hugging Face folder or a GGUF file into a GGUF file of wanted types, in one piece or split. The work
 * is the library's (slm_convert); here are the options. */
#include "cli/commands.h"
#include "cli/work.h"

/* Filled by the rows below; zero means not given. */
struct convert_options {
    uint64_t seen;
    const char *type, *split_size;
    struct slm_text_list tensors;
    int32_t split_tensors, n_threads;
    bool pack, quiet;
};

#define AT(field) offsetof(struct convert_options, field)
static const struct slm_option convert_rows[] = {
    {.name = "type", .kind = SLM_OPTION_TEXT, .offset = AT(type), .arg = "TYPE",
     .help = "type of the matrices: f32, f16, bf16, q8_0 and others (default: as they are stored)"},
    {.name = "tensor", .kind = SLM_OPTION_LIST, .offset = AT(tensors), .arg = "NAME=TYPE",
     .help = "another type for these tensors; * in NAME is any text (may be repeated, the last one counts)"},
    {.name = "split-max-size", .kind = SLM_OPTION_TEXT, .offset = AT(split_size), .arg = "SIZE",
     .help = "begin a new file before this many bytes of tensors, as in 2G or 500M"},
    {.name = "split-max-tensors", .kind = SLM_OPTION_INT, .offset = AT(split_tensors), .arg = "N", .min = 1,
     .max = 1048576, .help = "begin a new file after N tensors"},
    {.name = "pack", .kind = SLM_OPTION_FLAG, .offset = AT(pack),
     .help = "quantized matrices as slm computes with them: opens at once, in no other program"},
    {.name = "threads", .letter = 't', .kind = SLM_OPTION_INT, .offset = AT(n_threads), .arg = "N", .min = 1,
     .max = 1024, .help = "threads (default: all CPUs this process may use)"},
    {.name = "quiet", .letter = 'q', .kind = SLM_OPTION_FLAG, .offset = AT(quiet),
     .help = "no bar, no notes, no summary"},
};
#undef AT
static const struct slm_option_group convert_groups[] = {
    {"Options", convert_rows, sizeof convert_rows / sizeof convert_rows[0], 0},
};

/* What was typed is judged before anything is opened. */
static int convert_main(void *opaque, int n_args, char **args)
{
    const struct convert_options *options = opaque;
    struct slm_cli_rules rules = {.n = 0};
    struct slm_cli_work work;
    struct slm_convert_options what = {.type = options->type, .rules = rules.rules, .n_rules = options->tensors.n,
                                       .split_max_tensors = (uint32_t)options->split_tensors,
                                       .pack = options->pack, .n_threads = options->n_threads,
                                       .progress = slm_cli_work_progress,
                                       .note = slm_cli_work_note, .user = &work};
    int exit_code;
    if (n_args != 2)
        return slm_cli_usage("convert", "two paths are needed: slm convert MODEL OUT.gguf");
    if (options->split_size && !slm_cli_parse_size(options->split_size, &what.split_max_bytes))
        return slm_cli_usage("split-max-size", "'%s' is not allowed: a number of bytes is, as in 2G, 500M or 64K",
                             options->split_size);
    if (!slm_cli_parse_rules(&options->tensors, &rules)) {
        exit_code = slm_cli_usage("tensor", "NAME=TYPE is expected, as in output.weight=f16");
    } else {
        struct slm_convert_result result;
        struct slm_error error;
        slm_cli_work_begin(&work, "convert", "converting", options->quiet);
        const slm_status status = slm_convert(args[0], args[1], &what, &result, &error);
        exit_code = slm_cli_work_end(&work, status, &error);
        if (status == SLM_OK && !options->quiet)
            exit_code = slm_cli_report_files(&result, args[1], slm_cli_seconds() - work.bar.start);
    }
    slm_cli_release_rules(&rules);
    return exit_code;
}

/* No model options: nothing is computed with the model. */
const struct slm_command slm_command_convert = {
    .name = "convert",
    .args = "MODEL OUT.gguf",
    .summary = "Writes a model as a GGUF file, of other types or split",
    .details = "MODEL is a Hugging Face folder, a GGUF file, or the first file of a split GGUF\n"
               "model, which is merged. Norms and biases stay f32. OUT.gguf appears when it is\n"
               "complete, never in parts. Until then it is OUT.gguf.partial; stopped, killed or\n"
               "out of disk, the same command goes on where it was.\n"
               "\n"
               "  slm convert Qwen3-0.6B/ qwen3.gguf --type q8_0\n"
               "  slm convert qwen3.gguf other.gguf --tensor 'blk.*.ffn_down.weight=f16'\n"
               "  slm convert big.gguf parts.gguf --split-max-size 2G\n"
               "  slm convert parts-00001-of-00003.gguf big.gguf\n",
    .groups = convert_groups,
    .n_groups = sizeof convert_groups / sizeof convert_groups[0],
    .options_bytes = sizeof(struct convert_options),
    .max_args = 2,
    .run = convert_main,
};
