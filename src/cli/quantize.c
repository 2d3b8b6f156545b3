/* SPDX-License-Identifier: MIT
 *
 * `slm quantize`: a model in fewer bits. The work is the library's (slm_quantize); here are the options and the list of
 * types. */
#include "cli/commands.h"
#include "cli/work.h"

/* Filled by the rows below; zero means not given. */
struct quantize_options {
    uint64_t seen;
    const char *imatrix, *head, *embedding, *split_size;
    struct slm_text_list tensors;
    int32_t n_threads;
    bool pure, pack, quiet;
};

#define AT(field) offsetof(struct quantize_options, field)
static const struct slm_option quantize_rows[] = {
    {.name = "imatrix", .kind = SLM_OPTION_TEXT, .offset = AT(imatrix), .arg = "FILE",
     .help = "importance matrix (GGUF): errors count by how much the model uses a column"},
    {.name = "tensor", .kind = SLM_OPTION_LIST, .offset = AT(tensors), .arg = "NAME=TYPE",
     .help = "another type for tensors with NAME in their name; * is any text (may be repeated, the last one counts)"},
    {.name = "head", .kind = SLM_OPTION_TEXT, .offset = AT(head), .arg = "TYPE",
     .help = "type of the output matrix (the embedding, where that is both)"},
    {.name = "embedding", .kind = SLM_OPTION_TEXT, .offset = AT(embedding), .arg = "TYPE",
     .help = "type of the token embedding"},
    {.name = "pure", .kind = SLM_OPTION_FLAG, .offset = AT(pure),
     .help = "the same type for all matrices, no mixture"},
    {.name = "split-max-size", .kind = SLM_OPTION_TEXT, .offset = AT(split_size), .arg = "SIZE",
     .help = "begin a new file before this many bytes of tensors, as in 2G or 500M"},
    {.name = "pack", .kind = SLM_OPTION_FLAG, .offset = AT(pack),
     .help = "quantized matrices as slm computes with them: opens at once, in no other program"},
    {.name = "threads", .letter = 't', .kind = SLM_OPTION_INT, .offset = AT(n_threads), .arg = "N", .min = 1,
     .max = 1024, .help = "threads (default: all CPUs this process may use)"},
    {.name = "quiet", .letter = 'q', .kind = SLM_OPTION_FLAG, .offset = AT(quiet),
     .help = "no bar, no notes, no summary"},
};
#undef AT
static const struct slm_option_group quantize_groups[] = {
    {"Options", quantize_rows, sizeof quantize_rows / sizeof quantize_rows[0], 0},
};

/* What was typed is judged before anything is opened. */
static int quantize_main(void *opaque, int n_args, char **args)
{
    const struct quantize_options *options = opaque;
    struct slm_cli_rules rules = {.n = 0};
    struct slm_cli_work work;
    int exit_code;
    if (n_args != 3)
        return slm_cli_usage("quantize", "two paths and a type are needed: slm quantize MODEL OUT.gguf q4_k_m");
    struct slm_quantize_options what = {.type = args[2], .pure = options->pure, .pack = options->pack,
                                        .head = options->head,
                                        .embedding = options->embedding, .rules = rules.rules,
                                        .n_rules = options->tensors.n, .imatrix = options->imatrix,
                                        .n_threads = options->n_threads, .progress = slm_cli_work_progress,
                                        .note = slm_cli_work_note, .user = &work};
    if (options->split_size && !slm_cli_parse_size(options->split_size, &what.split_max_bytes))
        return slm_cli_usage("split-max-size", "'%s' is not allowed: a number of bytes is, as in 2G, 500M or 64K",
                             options->split_size);
    if (!slm_cli_parse_rules(&options->tensors, &rules)) {
        exit_code = slm_cli_usage("tensor", "NAME=TYPE is expected, as in ffn_down=q6_k");
    } else {
        struct slm_convert_result result;
        struct slm_error error;
        slm_cli_work_begin(&work, "quantize", "quantizing", options->quiet);
        const slm_status status = slm_quantize(args[0], args[1], &what, &result, &error);
        exit_code = slm_cli_work_end(&work, status, &error);
        if (status == SLM_OK && !options->quiet)
            exit_code = slm_cli_report_files(&result, args[1], slm_cli_seconds() - work.bar.start);
    }
    slm_cli_release_rules(&rules);
    return exit_code;
}

/* No model options: nothing is computed with the model. */
const struct slm_command slm_command_quantize = {
    .name = "quantize",
    .args = "MODEL OUT.gguf TYPE",
    .summary = "Writes a model in fewer bits a weight",
    .details = "MODEL is a Hugging Face folder, a GGUF file, or the first file of a split GGUF\n"
               "model. TYPE says what most matrices get, and, as in other programs, which ones\n"
               "get more bits:\n"
               "\n"
               "  8.5 bits  q8_0                     5.5-6 bits  q5_k_s q5_k_m q5_0 q5_1\n"
               "  6.6 bits  q6_k                     4.5-5 bits  q4_k_s q4_k_m q4_0 q4_1 iq4_nl\n"
               "  16 bits   f16 bf16                 4.25 bits   iq4_xs\n"
               "  ternary   tq1_0 tq2_0 i2_s         2.6-4 bits  q3_k_s q3_k_m q3_k_l q2_k q2_k_s\n"
               "\n"
               "Matrices whose rows do not fit a type get the one that other programs fall back\n"
               "to, which is said. OUT.gguf appears when it is complete, never in parts. Until\n"
               "then it is OUT.gguf.partial; stopped, killed or out of disk, the same command\n"
               "goes on where it was and ends in the same bytes.\n"
               "\n"
               "  slm quantize Qwen3-0.6B/ qwen3-q4.gguf q4_k_m\n"
               "  slm quantize qwen3.gguf small.gguf q3_k_m --imatrix qwen3.imatrix.gguf\n"
               "  slm quantize qwen3.gguf mixed.gguf q4_k_s --tensor ffn_down=q6_k --head q8_0\n",
    .groups = quantize_groups,
    .n_groups = sizeof quantize_groups / sizeof quantize_groups[0],
    .options_bytes = sizeof(struct quantize_options),
    .max_args = 3,
    .run = quantize_main,
};
