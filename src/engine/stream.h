/* SPDX-License-Identifier: MIT
 * From tokens to text that may be shown: whole UTF-8 characters, and nothing that may still turn out to be the
 * beginning of a stop string. One buffer, sized when it opens, so feeding allocates nothing. What slm_generate shows
 * and what a server shows comes from here, so it is the same.
 *
 * Deliberately not here: which token (sampler.c), what a part of the text means (parts.c). */
#ifndef SLM_ENGINE_STREAM_H
#define SLM_ENGINE_STREAM_H
#include "tokenizer/tokenizer.h"

struct slm_engine;

struct slm_stream_options { /* borrowed while the stream is open */
    const char *const *stop;  /* [n_stop] stop strings; empty ones are none */
    size_t n_stop;
    bool show_stop;           /* the text ends with the stop string that was found */
    bool keep_space;          /* a space that begins the text is text: a grammar has seen it */
    const int32_t *show;      /* [n_show] control tokens whose text is shown all the same */
    size_t n_show;
    slm_text_fn on_text;      /* certain text, possibly 0 bytes of it; false ends the stream. NULL: nobody looks */
    void *user;
};
struct slm_stream {
    struct slm_stream_options options;
    const struct slm_tokenizer *tokenizer; /* NULL: tokens have no text */
    struct slm_detok detok;
    char *held;        /* text not yet passed on */
    size_t n_held;
    size_t max_stop;   /* bytes of the longest stop string */
    const char *found; /* the stop string that ended the text, or NULL */
    bool has_begun;
};

slm_status slm_stream_open(struct slm_stream *stream, const struct slm_engine *engine,
                           const struct slm_stream_options *options, struct slm_error *error);
void slm_stream_close(struct slm_stream *stream); /* also of a zeroed one */
/* The next token; before: the one in front of the first, which decides whether a space that begins it is text; -1 =
 * none. Passes on what is certain. NONE to go on, STRING when a stop string was found, CALLBACK when on_text returned
 * false. */
enum slm_stop_reason slm_stream_feed(struct slm_stream *stream, int32_t before, int32_t id);
/* The text is over without a stop string: passes on what was held back. */
void slm_stream_finish(struct slm_stream *stream);
#endif
