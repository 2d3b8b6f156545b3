/* SPDX-License-Identifier: MIT
 *
 * Answers as bytes: status line, headers, chunks, events. Everything is appended to the connection's buffer and
 * leaves at the end of the tick, so that the pieces of one event are one packet.
 *
 * Deliberately not here: what an answer says. */
#include <stdio.h>

#include "base/os.h"
#include "serve/http_part.h"

/* For people who read traces; clients go by the number (RFC 9112, 4). 529 is Anthropic's. */
const char *slm_http_reason(int status)
{
    static const struct { int status; const char *reason; } rows[] = {
        {200, "OK"}, {201, "Created"}, {202, "Accepted"}, {204, "No Content"}, {206, "Partial Content"},
        {301, "Moved Permanently"}, {302, "Found"}, {304, "Not Modified"}, {307, "Temporary Redirect"},
        {400, "Bad Request"}, {401, "Unauthorized"}, {403, "Forbidden"}, {404, "Not Found"},
        {405, "Method Not Allowed"}, {408, "Request Timeout"}, {409, "Conflict"}, {411, "Length Required"},
        {413, "Content Too Large"}, {414, "URI Too Long"}, {415, "Unsupported Media Type"},
        {417, "Expectation Failed"}, {422, "Unprocessable Content"}, {429, "Too Many Requests"},
        {431, "Request Header Fields Too Large"}, {500, "Internal Server Error"}, {501, "Not Implemented"},
        {503, "Service Unavailable"}, {504, "Gateway Timeout"}, {505, "HTTP Version Not Supported"},
        {507, "Insufficient Storage"}, {529, "Overloaded"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (rows[i].status == status) return rows[i].reason;
    return "Unknown";
}

/* The first of that name: those that must not come twice were refused with the head. */
struct slm_str slm_http_header(const struct slm_http_request *request, const char *name)
{
    for (size_t i = 0; i < request->n_headers; i++) {
        const struct slm_str have = request->headers[i].name;
        if (have.len == strlen(name) && strncasecmp(have.ptr, name, have.len) == 0) return request->headers[i].value;
    }
    return (struct slm_str){NULL, 0};
}

/* The client's own id when it can stand in a header and a log as it is, so that lines of several programs can be put
 * together. Else a new one: an id with quotes or escapes in it would let clients write into our log. */
static void take_id(struct slm_conn *conn, struct slm_http_request *request)
{
    const struct slm_str given = slm_http_header(request, "X-Request-Id");
    bool harmless = given.len > 0 && given.len < sizeof request->id;
    for (size_t i = 0; harmless && i < given.len; i++) {
        const char c = given.ptr[i];
        harmless = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                   (c != '\0' && strchr("-_.:", c) != NULL);
    }
    if (harmless) {
        memcpy(request->id, given.ptr, given.len);
        return;
    }
    uint64_t *next = conn->http->next_id;
    next[1]++;
    snprintf(request->id, sizeof request->id, "req-%016llx%08llx", (unsigned long long)next[0],
             (unsigned long long)next[1]);
}

/* Everything of the reply before is forgotten here, its `last` too. The request's texts are views of the message,
 * which stays until slm_conn_next(). */
void slm_reply_start(struct slm_conn *conn)
{
    struct slm_http_message *m = &conn->message;
    struct slm_reply *reply = &conn->reply;
    *reply = (struct slm_reply){.conn = conn, .active = true, .start_ns = uv_hrtime()};
    reply->request = (struct slm_http_request){
        .method = m->method, .path = m->path, .query = m->query, .headers = m->headers, .n_headers = m->n_headers,
        .key = ""};
    memcpy(reply->request.peer, conn->peer, sizeof reply->request.peer);
    take_id(conn, &reply->request);
    reply->is_head = slm_str_is(m->method, "HEAD");
    reply->last = !m->keep_alive || conn->ends;
    conn->http->counts.n_busy++;
}

/* The one place where a request is counted and logged, whether it was answered, refused or left by its client; so
 * every one is, once. request is NULL where no head was understood: there is no path to write down. */
void slm_reply_over(struct slm_reply *reply, int status)
{
    struct slm_conn *conn = reply->conn;
    const struct slm_http_options *options = &conn->http->options;
    const struct slm_http_done done = {
        .request = conn->message.head_done ? &reply->request : NULL,
        .route = reply->route ? reply->route->path : "",
        .peer = conn->peer,
        .status = status,
        .seconds = (double)(uv_hrtime() - reply->start_ns) * 1e-9,
        .bytes_in = conn->message.bytes,
        .bytes_out = reply->bytes_out,
        .n_prompt = reply->n_prompt,
        .n_generated = reply->n_generated,
    };
    reply->active = false;
    conn->http->counts.n_busy--;
    if (options->on_done) options->on_done(options->user, &done);
    slm_buf_release(&reply->headers);
}

/* Body bytes as they are, or as a chunk. An empty chunk would be the end of the body (RFC 9112, 7.1), so nothing is
 * sent for no bytes. The answer to HEAD runs through its handler like one to GET and loses its body here. */
static void send_body(struct slm_reply *reply, const void *data, size_t bytes)
{
    if (bytes == 0 || reply->no_body) return;
    char size[24];
    if (reply->chunked) slm_conn_send(reply->conn, size, (size_t)snprintf(size, sizeof size, "%zx\r\n", bytes));
    slm_conn_send(reply->conn, data, bytes);
    if (reply->chunked) slm_conn_send(reply->conn, "\r\n", 2);
    reply->bytes_out += bytes;
}

void slm_reply_header(struct slm_reply *reply, const char *name, const char *value)
{
    SLM_ASSERT(!reply->begun);
    slm_buf_puts(&reply->headers, name);
    slm_buf_puts(&reply->headers, ": ");
    /* Whatever a handler quotes, it cannot end the line. */
    for (const char *c = value; *c; c++) {
        const char safe = (unsigned char)*c < 0x20 || *c == 0x7f ? '_' : *c;
        slm_buf_add(&reply->headers, &safe, 1);
    }
    slm_buf_puts(&reply->headers, "\r\n");
}

/* length SIZE_MAX: not known yet. An HTTP/1.0 client knows no chunks: there the end of the connection is the end of
 * the body (RFC 9112, 6.3). "Connection: close" is sent whenever we mean to close, for a client that is not told may
 * have sent its next request already and cannot know whether it was done. 204 and 304 have neither body nor length.
 * */
static void send_head(struct slm_reply *reply, int status, const char *content_type, size_t length)
{
    SLM_ASSERT(!reply->begun);
    struct slm_conn *conn = reply->conn;
    const bool bodiless = status == 204 || status == 304;
    reply->begun = true;
    reply->status = status;
    reply->no_body = reply->is_head || bodiless;
    reply->chunked = length == SIZE_MAX && !conn->message.is_http10 && !bodiless;
    if ((length == SIZE_MAX && conn->message.is_http10) || conn->ends || conn->http->draining) reply->last = true;
    struct slm_buf head = {0};
    slm_buf_printf(&head, "HTTP/1.1 %d %s\r\n", status, slm_http_reason(status));
    if (content_type && !bodiless) slm_buf_printf(&head, "Content-Type: %s\r\n", content_type);
    if (reply->chunked) slm_buf_puts(&head, "Transfer-Encoding: chunked\r\n");
    else if (length != SIZE_MAX && !bodiless) slm_buf_printf(&head, "Content-Length: %zu\r\n", length);
    if (reply->last) slm_buf_puts(&head, "Connection: close\r\n");
    else if (conn->message.is_http10) slm_buf_puts(&head, "Connection: keep-alive\r\n");
    slm_buf_printf(&head, "X-Request-Id: %s\r\n", reply->request.id);
    if (reply->headers.len) slm_buf_add(&head, reply->headers.data, reply->headers.len);
    slm_buf_puts(&head, "\r\n");
    if (head.failed || reply->headers.failed) conn->overflowed = true; /* no memory: half a head helps nobody */
    else slm_conn_send(conn, head.data, head.len);
    slm_buf_release(&head);
}

void slm_reply_begin(struct slm_reply *reply, int status, const char *content_type)
{
    send_head(reply, status, content_type, SIZE_MAX);
}

void slm_reply_write(struct slm_reply *reply, const void *data, size_t bytes)
{
    SLM_ASSERT(reply->begun);
    send_body(reply, data, bytes);
}

void slm_reply_event(struct slm_reply *reply, const char *name, struct slm_str data)
{
    struct slm_buf event = {0};
    if (name) slm_buf_printf(&event, "event: %s\n", name);
    /* A line of data is a line of its own; the client puts them together again. */
    for (size_t at = 0; at <= data.len;) {
        const char *end = at < data.len ? memchr(data.ptr + at, '\n', data.len - at) : NULL;
        const size_t len = end ? (size_t)(end - data.ptr) - at : data.len - at;
        slm_buf_puts(&event, "data: ");
        if (len) slm_buf_add(&event, data.ptr + at, len);
        slm_buf_puts(&event, "\n");
        at += len + 1;
        if (!end) break;
    }
    slm_buf_puts(&event, "\n");
    if (event.failed) reply->conn->overflowed = true;
    else slm_reply_write(reply, event.data, event.len);
    slm_buf_release(&event);
}

/* The order matters: over logs while the request's texts are there, next forgets the message and may begin another
 * request in this very struct. */
void slm_reply_end(struct slm_reply *reply)
{
    SLM_ASSERT(reply->begun && reply->active);
    struct slm_conn *conn = reply->conn;
    if (reply->chunked && !reply->no_body) slm_conn_send(conn, "0\r\n\r\n", 5);
    const bool last = reply->last;
    slm_reply_over(reply, reply->status);
    if (last) conn->ends = true;
    slm_conn_next(conn);
}

void slm_reply_send(struct slm_reply *reply, int status, const char *content_type, struct slm_str body)
{
    send_head(reply, status, content_type, body.len);
    if (!reply->no_body && body.len) {
        slm_conn_send(reply->conn, body.ptr, body.len);
        reply->bytes_out += body.len;
    }
    slm_reply_end(reply);
}

/* A body that ends without its last chunk is how a client learns that it is not whole (RFC 9112, 8). The handler that
 * calls this knows; its on_close is not called. */
void slm_reply_abort(struct slm_reply *reply)
{
    reply->on_close = NULL;
    slm_conn_gone(reply->conn);
}

void slm_reply_on_close(struct slm_reply *reply, void (*on_close)(void *user), void *user)
{
    reply->on_close = on_close;
    reply->user = user;
}

const struct slm_http_request *slm_reply_request(const struct slm_reply *reply)
{
    return &reply->request;
}

void slm_reply_tokens(struct slm_reply *reply, size_t n_prompt, size_t n_generated)
{
    reply->n_prompt = n_prompt;
    reply->n_generated = n_generated;
}
