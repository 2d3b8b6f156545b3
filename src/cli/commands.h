/* SPDX-License-Identifier: MIT
 * One const struct a command; each lives in the file of its name, and main.c lists them in the order help
 * shows. */
#ifndef SLM_CLI_COMMANDS_H
#define SLM_CLI_COMMANDS_H
#include "cli/options.h"

extern const struct slm_command slm_command_run, slm_command_chat, slm_command_inspect, slm_command_tokenize,
    slm_command_template, slm_command_logits, slm_command_embed, slm_command_bench, slm_command_convert,
    slm_command_quantize, slm_command_calibrate, slm_command_eval, slm_command_compare,
    slm_command_recommend, slm_command_optimize,
    slm_command_serve, slm_command_loadtest, slm_command_top, slm_command_doctor;
#endif
