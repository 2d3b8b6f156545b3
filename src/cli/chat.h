/* SPDX-License-Identifier: MIT
 * The state of one interactive chat, shared by the loop (chat.c), its commands (chat_commands.c) and the file
 * format of /save and /load (chat_file.c). */
#ifndef SLM_CLI_CHAT_H
#define SLM_CLI_CHAT_H
#include "base/arena.h"
#include "cli/cli.h"
#include "cli/line.h"

struct slm_chat {
    struct slm_model_choice choice;
    struct slm_sampling sampling; /* values in use; `seen` says which of them a person chose */
    struct slm_model *model;
    struct slm_session *session;
    struct slm_line *line;
    bool has_template; /* otherwise the model continues the text: messages are not kept apart */
    struct slm_thinking thinking;
    struct slm_speculating speculating;
    bool verbose, done;
    double load_s;
    char *system;                      /* owned (slm_release); NULL = none */
    struct slm_chat_message *messages; /* [n_messages] without the system message; texts are owned */
    size_t n_messages, cap_messages;
    struct slm_arena texts; /* stop strings set by hand: live as long as the chat */
};

/* The rows that /set parameter knows, over struct slm_sampling. */
extern const struct slm_option_group slm_chat_parameters;

/* Appends a message; copies the text. role must be a constant. */
slm_status slm_chat_add(struct slm_chat *chat, const char *role, struct slm_str text, struct slm_error *error);
void slm_chat_drop_last(struct slm_chat *chat);
/* Forgets the conversation; model, settings and system message stay. */
void slm_chat_clear(struct slm_chat *chat);
slm_status slm_chat_set_system(struct slm_chat *chat, const char *text, struct slm_error *error);
/* Sets a parameter by its name in `/set parameter`. */
slm_status slm_chat_set_parameter(struct slm_chat *chat, const char *name, const char *value,
                                  struct slm_error *error);

/* Runs a line that begins with a slash. */
void slm_chat_command(struct slm_chat *chat, const char *input);

/* Conversation, system message and chosen parameters as JSON: readable, and usable with another model. Written
 * to a temporary file that is renamed; a file that cannot be understood leaves the chat as it was. */
slm_status slm_chat_save(const struct slm_chat *chat, const char *path, struct slm_error *error);
slm_status slm_chat_load(struct slm_chat *chat, const char *path, struct slm_error *error);
#endif
