/* SPDX-License-Identifier: MIT
 *
 * A connection: bytes in, bytes out, one deadline at a time. It is always in one phase, and the phase says whom it
 * waits for and how long; a client that is slow holds this struct and nothing else. Requests are answered in the
 * order in which they came: what is read while one is being answered waits, up to a limit.
 *
 * Reading never stops while a reply is written, since the end of the file is how we hear that the client has gone.
 *
 * Deliberately not here: what a request means (http_route.c). */
#include <sys/socket.h>
#include <unistd.h>

#include "base/os.h"
#include "serve/http_part.h"

/* ---- phases and deadlines -------------------------------------------------------------------------------- */

static void on_timer(uv_timer_t *timer);

/* Milliseconds from the beginning of the phase; 0 = none. A body has body_ms and, for each body_rate bytes that have
 * come, another second: long bodies over slow lines arrive, but who trickles ("slow loris") is soon out of time. */
static uint64_t allowed_ms(const struct slm_conn *conn)
{
    const struct slm_http_limits *limits = &conn->http->options.limits;
    switch (conn->phase) {
    case SLM_CONN_FIRST: return conn->http->draining ? limits->linger_ms : limits->header_ms;
    case SLM_CONN_HEAD: return limits->header_ms;
    case SLM_CONN_IDLE: return limits->idle_ms;
    case SLM_CONN_BODY: return limits->body_ms + conn->message.body.len * 1000 / limits->body_rate;
    case SLM_CONN_REPLY:
    case SLM_CONN_FLUSH: return conn->writing.len ? limits->write_ms : 0;
    case SLM_CONN_LINGER: return limits->linger_ms;
    case SLM_CONN_CLOSED: break;
    }
    return 0;
}

/* The only place that changes the phase, so a deadline of the phase before can never fire in this one. */
static void set_phase(struct slm_conn *conn, enum slm_conn_phase phase)
{
    conn->phase = phase;
    conn->since_ms = uv_now(&conn->http->loop);
    const uint64_t ms = allowed_ms(conn);
    if (ms) uv_timer_start(&conn->timer, on_timer, ms, 0);
    else uv_timer_stop(&conn->timer);
}

/* 408 (RFC 9110, 15.5.9) ends the connection, for half a request is still to come on it. */
static void answer_late(struct slm_conn *conn, const char *what)
{
    struct slm_error error;
    slm_fail(&error, SLM_ERR_LIMIT, "request", "%s did not arrive in time", what);
    slm_route_refuse(conn, 408, &error);
}

/* Before the first byte of a request there is nothing to answer, so FIRST and IDLE end in silence: browsers open
 * spare connections that they never use, and a 408 there could be taken for the answer to a request that crosses it.
 * A client that reads slowly may go on for as long as it takes at least a byte in write_ms. */
static void on_timer(uv_timer_t *timer)
{
    struct slm_conn *conn = timer->data;
    const uint64_t elapsed = uv_now(&conn->http->loop) - conn->since_ms, allowed = allowed_ms(conn);
    if (conn->phase == SLM_CONN_HEAD) {
        answer_late(conn, "the head of the request");
    } else if (conn->phase == SLM_CONN_BODY) {
        if (elapsed >= allowed) answer_late(conn, "the body of the request");
        else uv_timer_start(timer, on_timer, allowed - elapsed, 0);
    } else if (conn->phase == SLM_CONN_REPLY || conn->phase == SLM_CONN_FLUSH) {
        const uint64_t taken = conn->handed_bytes - uv_stream_get_write_queue_size(&conn->io.stream);
        if (taken == conn->taken_bytes) {
            slm_conn_gone(conn);
        } else {
            conn->taken_bytes = taken;
            uv_timer_start(timer, on_timer, conn->http->options.limits.write_ms, 0);
        }
    } else {
        slm_conn_gone(conn);
    }
}

/* ---- the end --------------------------------------------------------------------------------------------- */

/* When both handles are closed and nothing of this tick points here. The last one to go ends a drain. */
static void release(struct slm_conn *conn)
{
    struct slm_http *http = conn->http;
    if (conn->prev) conn->prev->next = conn->next;
    else http->conns = conn->next;
    if (conn->next) conn->next->prev = conn->prev;
    slm_http_message_release(&conn->message);
    slm_buf_release(&conn->in);
    slm_buf_release(&conn->out);
    slm_buf_release(&conn->writing);
    slm_release(conn);
    http->counts.n_connections--;
    if (http->draining && http->counts.n_connections == 0 && http->on_drained) {
        void (*done)(void *user) = http->on_drained;
        http->on_drained = NULL;
        done(http->drained_user);
    }
}

static void on_closed(uv_handle_t *handle)
{
    struct slm_conn *conn = handle->data;
    if (--conn->n_handles == 0 && !conn->is_dirty) release(conn); /* else settle does it */
}

/* CLOSED comes first: what on_close does to the dead reply (write, abort) then falls through. The reply is counted
 * and logged, with nginx's status 499 for a client that left, before its handler lets go of the memory it reads from.
 * */
void slm_conn_gone(struct slm_conn *conn)
{
    if (conn->phase == SLM_CONN_CLOSED) return;
    set_phase(conn, SLM_CONN_CLOSED);
    uv_close(&conn->io.handle, on_closed);
    uv_close((uv_handle_t *)&conn->timer, on_closed);
    if (!conn->reply.active) return;
    void (*on_close)(void *user) = conn->reply.on_close;
    void *user = conn->reply.user;
    slm_reply_over(&conn->reply, 499);
    if (on_close) on_close(user);
}

static void on_shutdown(uv_shutdown_t *request, int status)
{
    struct slm_conn *conn = request->data;
    if (status < 0) slm_conn_gone(conn);
}

/* Everything was sent: no more from us. The client closes first, so that nothing it still sends makes the system
 * throw away what it has not read yet (RFC 9112, 9.6: the reset would overtake, say, our 413). What it sends until
 * then is read and dropped, for linger_ms at most. */
static void linger(struct slm_conn *conn)
{
    if (conn->eof || uv_shutdown(&conn->shutdown, &conn->io.stream, on_shutdown) != 0) slm_conn_gone(conn);
    else set_phase(conn, SLM_CONN_LINGER);
}

/* Bytes of a request have arrived that the loop has not read yet: closing now would reset the connection, and its
 * client would not know whether the request was taken. */
static bool has_unread(const struct slm_conn *conn)
{
    uv_os_fd_t fd;
    char byte;
    return uv_fileno(&conn->io.handle, &fd) == 0 && recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) > 0;
}

/* Whoever has just connected, or is asking, gets a little time to do so and an answer: 503, from the route. */
void slm_conn_drain(struct slm_conn *conn)
{
    if (conn->phase == SLM_CONN_FIRST || (conn->phase == SLM_CONN_IDLE && has_unread(conn))) {
        set_phase(conn, SLM_CONN_FIRST);
    } else if (conn->phase == SLM_CONN_IDLE && conn->in.len == 0 && conn->out.len == 0 && conn->writing.len == 0) {
        slm_conn_gone(conn);
    } else if (conn->phase == SLM_CONN_REPLY || conn->phase == SLM_CONN_FLUSH) {
        conn->ends = true;
        conn->reply.last = true;
    }
}

/* ---- out ------------------------------------------------------------------------------------------------- */

void slm_conn_touch(struct slm_conn *conn)
{
    if (conn->is_dirty) return;
    conn->is_dirty = true;
    conn->dirty_next = conn->http->dirty;
    conn->http->dirty = conn;
}

/* The data are copied. A client that asks much and reads nothing would fill the memory: past unsent_bytes the
 * connection ends. */
void slm_conn_send(struct slm_conn *conn, const void *data, size_t bytes)
{
    if (conn->phase == SLM_CONN_CLOSED || conn->overflowed) return;
    const size_t unsent = conn->out.len + conn->writing.len;
    if (unsent + bytes > conn->http->options.limits.unsent_bytes || !slm_buf_add(&conn->out, data, bytes))
        conn->overflowed = true; /* it ends in settle, never below a handler */
    slm_conn_touch(conn);
}

static void on_written(uv_write_t *write, int status)
{
    struct slm_conn *conn = write->data;
    slm_buf_release(&conn->writing);
    if (conn->phase == SLM_CONN_CLOSED) return;
    if (status < 0) {
        slm_conn_gone(conn);
        return;
    }
    /* Nothing waits for the client any more; how long the model takes for the rest is not its fault. */
    if (conn->phase == SLM_CONN_REPLY) uv_timer_stop(&conn->timer);
    slm_conn_touch(conn);
}

/* What the socket takes at once goes at once; the rest is handed over, and its taking has a deadline. */
static void flush(struct slm_conn *conn)
{
    if (conn->writing.len > 0 || conn->out.len == 0) return;
    uv_buf_t bytes = uv_buf_init(conn->out.data, (unsigned)conn->out.len);
    const int n = uv_try_write(&conn->io.stream, &bytes, 1);
    if (n < 0 && n != UV_EAGAIN) {
        slm_conn_gone(conn);
        return;
    }
    const size_t sent = n < 0 ? 0 : (size_t)n;
    conn->handed_bytes += conn->out.len;
    conn->writing = conn->out;
    conn->out = (struct slm_buf){.len = 0};
    if (sent == conn->writing.len) {
        slm_buf_release(&conn->writing);
        return;
    }
    bytes = uv_buf_init(conn->writing.data + sent, (unsigned)(conn->writing.len - sent));
    if (uv_write(&conn->write, &conn->io.stream, &bytes, 1, on_written) != 0) {
        slm_conn_gone(conn);
        return;
    }
    if (conn->phase != SLM_CONN_REPLY && conn->phase != SLM_CONN_FLUSH) return;
    conn->taken_bytes = conn->handed_bytes - uv_stream_get_write_queue_size(&conn->io.stream);
    uv_timer_start(&conn->timer, on_timer, conn->http->options.limits.write_ms, 0);
}

/* ---- in -------------------------------------------------------------------------------------------------- */

/* While a reply is at work the next request waits, unparsed (RFC 9112, 9.3.2: answers in the order of requests). */
static bool takes_requests(const struct slm_conn *conn)
{
    return conn->phase <= SLM_CONN_BODY && !conn->ends;
}

/* What came too early waits; too much of it is not read at all, and the client will have to ask again. */
static void keep(struct slm_conn *conn, const char *data, size_t len)
{
    if (len == 0 || conn->ends || conn->phase >= SLM_CONN_LINGER) return;
    if (conn->in.len + len <= conn->http->options.limits.pipelined_bytes && slm_buf_add(&conn->in, data, len)) return;
    slm_buf_release(&conn->in);
    conn->ends = true;
    conn->reply.last = true;
}

/* Requests, one after the other, until one of them is being answered. */
static void process(struct slm_conn *conn, const char *data, size_t len)
{
    while (takes_requests(conn)) {
        struct slm_error error;
        size_t used = 0;
        if (len > 0 && conn->phase <= SLM_CONN_IDLE) set_phase(conn, SLM_CONN_HEAD);
        const int status = slm_http_message_feed(&conn->message, data, len, &used, &error);
        data += used;
        len -= used;
        if (status == SLM_HTTP_MORE) break;
        if (status == SLM_HTTP_HEAD) {
            conn->n_requests++;
            slm_reply_start(conn);
            if (conn->n_requests >= conn->http->options.limits.n_requests) conn->reply.last = true;
            if (slm_route_head(conn)) set_phase(conn, SLM_CONN_BODY);
        } else if (status == SLM_HTTP_DONE) {
            set_phase(conn, SLM_CONN_REPLY);
            slm_route_run(conn);
        } else {
            slm_route_refuse(conn, status, &error);
        }
    }
    keep(conn, data, len);
}

void slm_conn_next(struct slm_conn *conn)
{
    slm_http_message_reset(&conn->message);
    slm_conn_touch(conn);
    if (conn->phase == SLM_CONN_CLOSED) return;
    if (conn->ends) slm_buf_release(&conn->in);
    /* A client that does not read its answers gets no further ones made. */
    set_phase(conn, conn->ends || conn->writing.len > 0 ? SLM_CONN_FLUSH : SLM_CONN_IDLE);
}

void slm_conn_settle(struct slm_conn *conn)
{
    if (conn->phase == SLM_CONN_CLOSED) {
        if (conn->n_handles == 0) release(conn);
        return;
    }
    if (conn->overflowed) slm_conn_gone(conn);
    else flush(conn);
    if (conn->phase == SLM_CONN_FLUSH && conn->writing.len == 0 && conn->out.len == 0) {
        if (conn->ends) linger(conn);
        else set_phase(conn, SLM_CONN_IDLE);
    }
    if (conn->phase != SLM_CONN_IDLE) return;
    if (conn->writing.len > 0) {
        set_phase(conn, SLM_CONN_FLUSH);
        return;
    }
    if (conn->in.len > 0) {
        struct slm_buf waiting = conn->in;
        conn->in = (struct slm_buf){.len = 0};
        process(conn, waiting.data, waiting.len);
        slm_buf_release(&waiting);
    } else if (conn->http->draining || conn->eof) {
        slm_conn_gone(conn);
    }
}

/* One buffer for all connections: libuv calls on_read with it before it reads from the next one, and what has to stay
 * is copied there. So an idle connection has no buffer at all. */
static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *out)
{
    const struct slm_conn *conn = handle->data;
    (void)suggested;
    *out = uv_buf_init(conn->http->read_buffer, SLM_HTTP_READ_BYTES);
}

/* An end of file while a reply is at work counts as "gone", though the client may have closed only its own side: the
 * two look the same from here, and computing tokens for nobody is what costs. */
static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buffer)
{
    struct slm_conn *conn = stream->data;
    if (n == 0) return;
    if (n < 0) {
        /* Answers that are complete are still delivered to someone who has only finished asking. */
        const bool rest = n == UV_EOF && !conn->reply.active && (conn->writing.len > 0 || conn->out.len > 0);
        conn->eof = true;
        uv_read_stop(stream);
        if (!rest) slm_conn_gone(conn);
        else if (conn->phase != SLM_CONN_FLUSH) conn->ends = true, set_phase(conn, SLM_CONN_FLUSH);
        return;
    }
    if (takes_requests(conn) && conn->in.len == 0) process(conn, buffer->base, (size_t)n);
    else keep(conn, buffer->base, (size_t)n);
}

/* ---- the beginning --------------------------------------------------------------------------------------- */

/* For the log. No port: it says nothing that the id of a request does not. */
static void name_peer(struct slm_conn *conn)
{
    struct sockaddr_storage address;
    int len = sizeof address;
    if (conn->is_local) {
        memcpy(conn->peer, "unix", sizeof "unix");
    } else if (uv_tcp_getpeername(&conn->io.tcp, (struct sockaddr *)&address, &len) == 0) {
        if (address.ss_family == AF_INET6)
            uv_ip6_name((const struct sockaddr_in6 *)&address, conn->peer, sizeof conn->peer);
        else
            uv_ip4_name((const struct sockaddr_in *)&address, conn->peer, sizeof conn->peer);
    }
}

static bool open_handles(struct slm_conn *conn)
{
    uv_loop_t *loop = &conn->http->loop;
    const int status = conn->is_local ? uv_pipe_init(loop, &conn->io.pipe, 0) : uv_tcp_init(loop, &conn->io.tcp);
    if (status != 0) return false;
    uv_timer_init(loop, &conn->timer);
    conn->io.handle.data = conn->timer.data = conn->write.data = conn->shutdown.data = conn;
    conn->n_handles = 2;
    return true;
}

/* The socket of the connection: the one that libuv has waiting, or one that was accepted already. */
static int take_socket(struct slm_conn *conn, struct slm_listener *listener, int fd)
{
    if (fd < 0) return uv_accept(&listener->io.stream, &conn->io.stream);
    const int status = conn->is_local ? uv_pipe_open(&conn->io.pipe, fd) : uv_tcp_open(&conn->io.tcp, fd);
    if (status != 0) close(fd);
    return status;
}

/* Past the limit clients hear 503 and may try again; an eighth past that they are closed without a word, since even a
 * refusal takes memory and a descriptor for as long as its client likes to read. */
void slm_conn_accept(struct slm_listener *listener, int fd)
{
    struct slm_http *http = listener->http;
    struct slm_conn *conn = slm_alloc(1, sizeof *conn, "http", NULL);
    if (!conn) return; /* libuv asks again when the next one comes */
    conn->http = http;
    conn->is_local = listener->is_local;
    conn->on_loopback = listener->on_loopback;
    if (slm_http_message_init(&conn->message, &http->options.limits, &http->counts.body_bytes, NULL) != SLM_OK ||
        !open_handles(conn)) {
        slm_http_message_release(&conn->message);
        slm_release(conn);
        return;
    }
    conn->next = http->conns;
    if (conn->next) conn->next->prev = conn;
    http->conns = conn;
    http->counts.n_connections++;
    http->counts.n_accepted++;
    const size_t most = http->options.limits.n_connections;
    set_phase(conn, SLM_CONN_FIRST);
    if (take_socket(conn, listener, fd) != 0 || http->counts.n_connections > most + most / 8 + 8 ||
        uv_read_start(&conn->io.stream, on_alloc, on_read) != 0) {
        slm_conn_gone(conn);
        return;
    }
    /* A token is a small packet: with Nagle's algorithm it would wait for the receipt of the one before. */
    if (!conn->is_local) uv_tcp_nodelay(&conn->io.tcp, 1);
    name_peer(conn);
    if (http->counts.n_connections <= most) return;
    struct slm_error error;
    slm_fail(&error, SLM_ERR_LIMIT, "server", "there are %zu connections already; try again soon", most);
    http->counts.n_refused++;
    slm_route_refuse(conn, 503, &error);
}
