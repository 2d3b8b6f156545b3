/* SPDX-License-Identifier: MIT
 * All APIs in one list, for the server; and all endpoints with fields, for docs/api.md. Deliberately
 * not here: anything of any of them. */
#include "serve/api_native.h"
#include "serve/api_openai.h"
#include "serve/api_ollama.h"

/* Objects inside of requests, as if they were endpoints: their fields are rows as well. */
static const struct slm_call_kind inner[] = {
    {.method = "", .path = "messages[]", .sets = slm_message_fields},
    {.method = "", .path = "options", .sets = slm_ollama_option_sets},
};

const struct slm_call_kind *const slm_api_kinds[] = {
    &slm_openai_chats, &slm_openai_completions, &slm_openai_responses, &slm_openai_embeddings, &slm_ollama_generate,
    &slm_ollama_chat, &slm_ollama_embed, &slm_ollama_embedding, &slm_ollama_show, &slm_anthropic_messages,
    &slm_anthropic_count, &slm_native_kinds[0], &slm_native_kinds[1], &slm_native_kinds[2], &slm_native_kinds[3],
    &slm_native_kinds[4], &slm_native_rerank, &slm_native_kinds[5], &slm_native_kinds[6], &slm_slot_kinds[0],
    &slm_slot_kinds[1], &slm_slot_kinds[2], &inner[0], &inner[1], NULL};

const struct slm_http_table *const slm_api_tables[] = {&slm_api_anthropic, &slm_api_responses, &slm_api_openai,
                                                       &slm_api_ollama, &slm_api_slots, &slm_api_native,
                                                       NULL};
