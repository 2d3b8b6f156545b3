/* SPDX-License-Identifier: MIT
 * The buffer of events: records of a fixed head and what its pointers point to. While a record lies in a buffer its
 * pointers are offsets into it (0 for NULL), since buffers move; replaying turns them back. */
#include "serve/outbox.h"

#include "base/os.h"
#include "serve/runner.h"

/* One event in a buffer. */
struct record {
    struct slm_ticket *ticket;
    size_t bytes; /* of the record with its data */
    struct slm_event event;
};

enum { ALIGN = 16 }; /* of every record and of all data in it */

/* Lists through the tickets themselves: no memory. */
void slm_ticket_list_add(struct slm_ticket_list *list, struct slm_ticket *ticket)
{
    ticket->next = NULL;
    if (list->last) list->last->next = ticket;
    else list->first = ticket;
    list->last = ticket;
}

struct slm_ticket *slm_ticket_list_take(struct slm_ticket_list *list)
{
    struct slm_ticket *ticket = list->first;
    if (!ticket) return NULL;
    list->first = ticket->next;
    if (!list->first) list->last = NULL;
    ticket->next = NULL;
    return ticket;
}

/* Cannot fail: locks of this kind need no memory. */
void slm_outbox_open(struct slm_outbox *outbox)
{
    *outbox = (struct slm_outbox){.is_posted = false};
    pthread_mutex_init(&outbox->lock, NULL);
}

void slm_outbox_close(struct slm_outbox *outbox)
{
    slm_buf_release(&outbox->writing);
    slm_buf_release(&outbox->ready);
    slm_buf_release(&outbox->reading);
    pthread_mutex_destroy(&outbox->lock);
}

/* ---- writing ---------------------------------------------------------------------------------------------------- */

/* Puts data behind the record that began at `start`, and its offset where a pointer to it will be. */
static void put(struct slm_buf *buf, size_t start, const void *data, size_t bytes, uintptr_t *offset)
{
    /* Padding, so that the next one is aligned. */
    static const char zeros[ALIGN];
    *offset = data ? buf->len - start : 0;
    if (!data) return;
    slm_buf_add(buf, data, bytes);
    slm_buf_add(buf, zeros, (ALIGN - bytes % ALIGN) % ALIGN);
}

/* The same for a pointer of an event. */
#define PUT(buf, start, pointer, bytes) do {                            \
        uintptr_t offset_;                                              \
        put(buf, start, pointer, bytes, &offset_);                      \
        (pointer) = (void *)offset_;                                    \
    } while (0)

/* Tokens have pointers of their own, which are put once the array is. */
static void put_tokens(struct slm_buf *buf, size_t start, struct slm_event *e)
{
    const struct slm_job_token *tokens = e->tokens;
    if (!e->n_tokens) e->tokens = NULL;
    PUT(buf, start, e->tokens, e->n_tokens * sizeof *tokens);
    for (size_t i = 0; i < e->n_tokens; i++) {
        struct slm_job_token t = tokens[i];
        const size_t at = start + (uintptr_t)e->tokens + i * sizeof t;
        PUT(buf, start, t.top, t.n_top * sizeof *t.top);
        PUT(buf, start, t.piece.ptr, t.piece.len);
        if (buf->failed == SLM_OK) memcpy(buf->data + at, &t, sizeof t);
    }
}

/* All or nothing. */
bool slm_outbox_add(struct slm_outbox *outbox, struct slm_ticket *ticket, const struct slm_event *event)
{
    struct slm_buf *buf = &outbox->writing;
    struct record r = {.ticket = ticket, .event = *event};
    const size_t start = buf->len;
    uintptr_t ignored;
    put(buf, start, &r, sizeof r, &ignored);
    struct slm_event *e = &r.event;
    PUT(buf, start, e->part.text, e->part.text_bytes);
    PUT(buf, start, e->part.raw, e->part.raw_bytes);
    PUT(buf, start, e->part.name, event->part.name ? strlen(event->part.name) + 1 : 0);
    PUT(buf, start, e->vectors, e->n_dims * ticket->job->n_embed * sizeof *e->vectors);
    put_tokens(buf, start, e);
    if (buf->failed != SLM_OK) { /* as if nothing had been written */
        buf->failed = SLM_OK;
        buf->len = start;
        return false;
    }
    r.bytes = buf->len - start;
    memcpy(buf->data + start, &r, sizeof r);
    return true;
}

/* Leaves with the next flush. */
void slm_outbox_end(struct slm_outbox *outbox, struct slm_ticket *ticket)
{
    slm_ticket_list_add(&outbox->ending, ticket);
}

enum slm_flush slm_outbox_flush(struct slm_outbox *outbox)
{
    struct slm_buf *from = &outbox->writing, *to = &outbox->ready;
    if (from->len == 0 && !outbox->ending.first) return SLM_FLUSH_DONE;
    pthread_mutex_lock(&outbox->lock);
    if (to->len == 0) { /* the usual case: nothing is copied */
        const struct slm_buf empty = *to;
        *to = *from;
        *from = empty;
    } else if (!slm_buf_add(to, from->data, from->len)) {
        to->failed = SLM_OK;
        pthread_mutex_unlock(&outbox->lock);
        return SLM_FLUSH_AGAIN;
    }
    slm_buf_clear(from);
    for (struct slm_ticket *t; (t = slm_ticket_list_take(&outbox->ending)) != NULL;)
        slm_ticket_list_add(&outbox->ended, t);
    const bool post = !outbox->is_posted;
    outbox->is_posted = true;
    pthread_mutex_unlock(&outbox->lock);
    return post ? SLM_FLUSH_POST : SLM_FLUSH_DONE;
}

/* ---- reading ---------------------------------------------------------------------------------------------------- */

/* Offsets become pointers again. */
#define POINT(record, pointer) \
    ((pointer) = (pointer) ? (const void *)((const char *)(record) + (uintptr_t)(pointer)) : NULL)

/* Those of a whole record. */
static void point(struct record *r)
{
    struct slm_event *e = &r->event;
    POINT(r, e->part.text);
    POINT(r, e->part.raw);
    POINT(r, e->part.name);
    POINT(r, e->vectors);
    POINT(r, e->tokens);
    for (size_t i = 0; i < e->n_tokens; i++) {
        struct slm_job_token *t = (struct slm_job_token *)(uintptr_t)&e->tokens[i];
        POINT(r, t->top);
        POINT(r, t->piece.ptr);
    }
}

void slm_outbox_replay(struct slm_outbox *outbox, void (*ended)(void *user, struct slm_ticket *ticket), void *user)
{
    struct slm_buf *buf = &outbox->reading;
    pthread_mutex_lock(&outbox->lock);
    const struct slm_buf empty = *buf;
    *buf = outbox->ready;
    outbox->ready = empty;
    struct slm_ticket_list list = outbox->ended;
    outbox->ended = (struct slm_ticket_list){0};
    outbox->is_posted = false;
    pthread_mutex_unlock(&outbox->lock);
    /* A callback may cancel a ticket whose records follow: each is asked anew. */
    for (size_t at = 0; at < buf->len;) {
        struct record *r = (struct record *)(void *)(buf->data + at);
        at += r->bytes;
        point(r);
        if (r->ticket->on_event) r->ticket->on_event(r->ticket->user, &r->event);
    }
    slm_buf_clear(buf);
    for (struct slm_ticket *t; (t = slm_ticket_list_take(&list)) != NULL;) ended(user, t);
}
