/* SPDX-License-Identifier: MIT
 * Events on their way from the thread that computes to the one that serves: written into one buffer, handed over in one
 * piece after each step, replayed there. In steady state nothing is allocated. What ends a job needs no memory at all:
 * its ticket is the message. Deliberately not here: what events mean (job.h), how the other thread wakes (the host's
 * post). */
#ifndef SLM_SERVE_OUTBOX_H
#define SLM_SERVE_OUTBOX_H
#include <pthread.h>

#include "serve/job.h"

struct slm_ticket;

struct slm_ticket_list { struct slm_ticket *first, *last; }; /* linked by the tickets' `next` */
void slm_ticket_list_add(struct slm_ticket_list *list, struct slm_ticket *ticket);
struct slm_ticket *slm_ticket_list_take(struct slm_ticket_list *list); /* the first, or NULL */

struct slm_outbox {
    struct slm_buf writing;         /* the writer's */
    struct slm_ticket_list ending;  /* the writer's: jobs whose last event comes after all of `writing` */
    pthread_mutex_t lock;           /* over what follows */
    struct slm_buf ready;
    struct slm_ticket_list ended;
    bool is_posted;                 /* the reader knows that there is something */
    struct slm_buf reading;         /* the reader's */
};
void slm_outbox_open(struct slm_outbox *outbox);
void slm_outbox_close(struct slm_outbox *outbox);

/* The writer. False: no memory; nothing was written. */
bool slm_outbox_add(struct slm_outbox *outbox, struct slm_ticket *ticket, const struct slm_event *event);
void slm_outbox_end(struct slm_outbox *outbox, struct slm_ticket *ticket);
enum slm_flush { SLM_FLUSH_DONE, SLM_FLUSH_POST /* tell the reader */, SLM_FLUSH_AGAIN /* no memory: try later */ };
enum slm_flush slm_outbox_flush(struct slm_outbox *outbox);

/* The reader: calls on_event of the tickets that still have one, then `ended` for each that is through. */
void slm_outbox_replay(struct slm_outbox *outbox, void (*ended)(void *user, struct slm_ticket *ticket), void *user);
#endif
