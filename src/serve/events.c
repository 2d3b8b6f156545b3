/* SPDX-License-Identifier: MIT
 *
 * See events.h. Lines end in CR, LF or both; a line is a field, a colon, one space that does not count, a value; an
 * empty line ends the event. A stream that ends without it leaves its last event unsaid, as browsers do: it may be
 * half of one. */
#include "serve/events.h"

void slm_events_init(struct slm_events *events, void (*on_data)(void *user, struct slm_str data), void *user)
{
    *events = (struct slm_events){.on_data = on_data, .user = user, .line = {.limit = SLM_EVENT_BYTES},
                                  .data = {.limit = SLM_EVENT_BYTES}};
}

/* Comments begin with the colon; fields we do not know are skipped (9.2.6). */
static void take_field(struct slm_events *events, struct slm_str line)
{
    const char *colon = line.len ? memchr(line.ptr, ':', line.len) : NULL;
    const struct slm_str name = {line.ptr, colon ? (size_t)(colon - line.ptr) : line.len};
    struct slm_str value = {NULL, 0};
    if (!slm_str_is(name, "data")) return;
    if (colon) value = (struct slm_str){colon + 1, line.len - name.len - 1};
    if (value.len && value.ptr[0] == ' ') value.ptr++, value.len--;
    if (events->has_data) slm_buf_add(&events->data, "\n", 1);
    slm_buf_add_str(&events->data, value);
    events->has_data = true;
}

static void take_line(struct slm_events *events)
{
    struct slm_str line = {events->line.data, events->line.len};
    /* A byte order mark before the first line is none of its text. */
    if (!events->has_begun && line.len >= 3 && memcmp(line.ptr, "\xef\xbb\xbf", 3) == 0) line.ptr += 3, line.len -= 3;
    events->has_begun = true;
    if (line.len > 0) {
        take_field(events, line);
    } else if (events->has_data) {
        if (!events->data.failed) events->on_data(events->user, (struct slm_str){events->data.data, events->data.len});
        if (!events->data.failed) slm_buf_clear(&events->data);
        events->has_data = false;
    }
    if (!events->line.failed) slm_buf_clear(&events->line);
}

slm_status slm_events_feed(struct slm_events *events, const char *bytes, size_t n, struct slm_error *error)
{
    for (size_t at = 0; at < n;) {
        size_t end = at;
        while (end < n && bytes[end] != '\n' && bytes[end] != '\r') end++;
        if (end > at) {
            slm_buf_add(&events->line, bytes + at, end - at);
            events->after_cr = false;
        }
        if (end < n) {
            /* The LF of CR LF, which may come in the next piece, ends nothing. */
            if (!(bytes[end] == '\n' && events->after_cr)) take_line(events);
            events->after_cr = bytes[end] == '\r';
        }
        at = end + 1;
    }
    SLM_TRY(slm_buf_status(&events->line, "event", error));
    return slm_buf_status(&events->data, "event", error);
}

void slm_events_release(struct slm_events *events)
{
    slm_buf_release(&events->line);
    slm_buf_release(&events->data);
}
