/* SPDX-License-Identifier: MIT
 * Chats of all APIs: messages as templates want them, tools, thinking, and from there to the prompt's tokens.
 *
 * Templates follow one convention (that of transformers): content is a string, calls of tools are
 * {"type": "function", "function": {"name", "arguments": object}}. Each API's messages are turned into that here
 * or in
 * its own file. Deliberately not here: rendering (slm_chat_encode_json), what an answer means (slm_parts). */
#ifndef SLM_SERVE_API_CHAT_H
#define SLM_SERVE_API_CHAT_H
#include "serve/api_call.h"

/* Appends the text of a content: a string, null, or an array of parts of text. Others are errors that name them. */
slm_status slm_content_text(const json_t *content, const char *path, struct slm_buf *out, struct slm_error *error);
/* A new message at the end of the array; borrowed. NULL: memory. */
json_t *slm_messages_add(json_t *messages, const char *role, const struct slm_buf *text);
/* Adds a call of a tool to an assistant's message. arguments: an object, or a string that holds one. */
slm_status slm_messages_add_call(json_t *message, const char *id, const char *name, const json_t *arguments,
                             const char *path, struct slm_error *error);
/* Messages as OpenAI and Ollama have them. Returns owned *out. */
slm_status slm_messages_read(const json_t *array, const char *path, json_t **out, struct slm_error *error);
/* One tool, checked, as {"type": "function", "function": ...} at the end of tools. */
slm_status slm_tools_add(json_t *tools, const json_t *function, const char *schema_name, const char *path,
                             struct slm_error *error);
/* Tools as OpenAI and Ollama have them. Returns owned *out, NULL when there are none. */
slm_status slm_tools_read(const json_t *array, json_t **out, struct slm_error *error);

struct slm_chat_ask {       /* what a chat is made of; all taken by slm_call_chat but effort */
    json_t *messages;   /* as templates want them */
    json_t *tools;      /* or NULL */
    int think;          /* SLM_ABSENT_BOOL: as the template does without being asked */
    const char *effort; /* of thinking, or NULL */
    bool no_tools;      /* tools were offered, but none may be called */
    bool continues;     /* the last message is the beginning of the answer */
};
/* What a chat becomes: a job of the call, text in call->extra, or tokens in call->ids. */
enum slm_chat_use { SLM_CHAT_JOB, SLM_CHAT_TEXT, SLM_CHAT_IDS };
slm_status slm_call_chat(struct slm_call *call, struct slm_chat_ask *chat, enum slm_chat_use use,
                         struct slm_error *error);
/* Fields of a message as slm_messages_read takes them; ended by an empty set. */
extern const struct slm_field_set slm_message_fields[];
/* The tool that must be called: "" for any. Of the tools that were offered. */
slm_status slm_call_force(struct slm_call *call, const struct slm_chat_ask *chat, const char *name,
                          struct slm_error *error);
/* What the answer must be, by the request's format and tools (api_format.c). */
slm_status slm_call_add_grammar(struct slm_call *call, struct slm_job *job, struct slm_error *error);
/* The text of an answer that had to call tools: each call of it. FORMAT: it is not whole. */
slm_status slm_forced_calls(const char *text, size_t n_bytes, slm_status (*each)(void *user, const char *name,
                            struct slm_str arguments, struct slm_error *error), void *user, struct slm_error *error);
bool slm_model_can_think(const struct slm_model *model);
bool slm_model_can_call(const struct slm_model *model);
#endif
