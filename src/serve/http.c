/* SPDX-License-Identifier: MIT
 *
 * The loop: listening sockets, what other threads post, work for other threads, the end. libuv runs it; at the end of
 * each tick, before it waits again, every connection that was written to is flushed once.
 *
 * Deliberately not here: connections (http_conn.c), signals (server.c). */
#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/os.h"
#include "serve/http_part.h"

enum { BACKLOG = 1024 };

/* Something that runs again and again, or once. */
struct slm_ticker {
    struct slm_ticker *next;
    uv_timer_t timer;
    void (*fn)(void *user);
    void *user;
};

/* ---- limits ---------------------------------------------------------------------------------------------- */

static void default_size(size_t *value, size_t fallback)
{
    if (*value == 0) *value = fallback;
}

static void default_ms(unsigned *value, unsigned fallback)
{
    if (*value == 0) *value = fallback;
}

/* 0 means "the usual". Each stands against a client that takes more than its share, by malice or by a bug; the usual
 * values are far above what clients of these APIs send (a long chat is 1 MiB, an image in base64 a few). */
static void fill_limits(struct slm_http_limits *l)
{
    default_size(&l->header_bytes, 32 << 10);
    default_size(&l->n_headers, 100);
    default_size(&l->url_bytes, 8 << 10); /* RFC 9112, 3: at least 8000 */
    default_size(&l->body_bytes, 32 << 20);
    default_size(&l->all_body_bytes, 256 << 20); /* of all connections together */
    default_size(&l->pipelined_bytes, 64 << 10);
    default_size(&l->unsent_bytes, 64 << 20);
    default_size(&l->n_connections, 4096); /* an idle one is a few KiB */
    default_size(&l->n_requests, 100000);
    default_size(&l->body_rate, 1 << 10); /* bytes a second, once body_ms have passed */
    default_ms(&l->header_ms, 10000); /* whole, from its first byte: one byte a second gains nothing */
    default_ms(&l->body_ms, 30000);
    default_ms(&l->idle_ms, 60000);
    default_ms(&l->write_ms, 30000);
    default_ms(&l->linger_ms, 1000);
}

/* ---- posting --------------------------------------------------------------------------------------------- */

/* Everything that was posted until now, in order: several calls of uv_async_send may come as one wake. The list is
 * taken off whole, so that no thread waits for the lock while a handler runs and fn may post again. */
static void run_posted(struct slm_http *http)
{
    uv_mutex_lock(&http->post_lock);
    struct slm_post *post = http->posted;
    http->posted = NULL;
    http->posted_end = &http->posted;
    uv_mutex_unlock(&http->post_lock);
    while (post) {
        struct slm_post *next = post->next;
        post->fn(post->user);
        slm_release(post);
        post = next;
    }
}

static void on_wake(uv_async_t *wake)
{
    run_posted(wake->data);
}

void slm_http_post(struct slm_http *http, void (*fn)(void *user), void *user)
{
    struct slm_post *post;
    /* It cannot fail for the caller, who has a result to deliver; memory comes back as others finish. */
    while (!(post = slm_alloc(1, sizeof *post, "http", NULL))) uv_sleep(1);
    *post = (struct slm_post){NULL, fn, user};
    uv_mutex_lock(&http->post_lock);
    *http->posted_end = post;
    http->posted_end = &post->next;
    uv_async_send(&http->wake); /* under the lock, so that slm_http_stop cannot close it meanwhile */
    uv_mutex_unlock(&http->post_lock);
}

/* ---- work ------------------------------------------------------------------------------------------------ */

struct job { uv_work_t request; void (*work)(void *user), (*done)(void *user); void *user; };

/* On a thread of libuv's pool. */
static void on_work(uv_work_t *request)
{
    struct job *job = request->data;
    job->work(job->user);
}

/* On the loop. status could only tell of a cancelled request, and nobody cancels any. */
static void on_work_done(uv_work_t *request, int status)
{
    struct job *job = request->data;
    (void)status;
    job->done(job->user);
    slm_release(job);
}

void slm_http_work(struct slm_http *http, void (*work)(void *user), void (*done)(void *user), void *user)
{
    struct job *job = slm_alloc(1, sizeof *job, "http", NULL);
    if (job) {
        *job = (struct job){.work = work, .done = done, .user = user};
        job->request.data = job;
        if (uv_queue_work(&http->loop, &job->request, on_work, on_work_done) == 0) return;
        slm_release(job);
    }
    work(user); /* without memory for a queue: here and now */
    done(user);
}

/* ---- timers ---------------------------------------------------------------------------------------------- */

static void on_ticker_closed(uv_handle_t *handle)
{
    slm_release(handle->data);
}

static void on_tick(uv_timer_t *timer)
{
    struct slm_ticker *ticker = timer->data;
    ticker->fn(ticker->user);
}

/* Tickers live until the server stops, those that fire once too: there are a handful in the life of a process. */
static struct slm_ticker *start_ticker(struct slm_http *http, unsigned ms, bool again, void (*fn)(void *user),
                                       void *user, struct slm_error *error)
{
    struct slm_ticker *ticker = slm_alloc(1, sizeof *ticker, "http", error);
    if (!ticker) return NULL;
    ticker->fn = fn;
    ticker->user = user;
    ticker->timer.data = ticker;
    uv_timer_init(&http->loop, &ticker->timer);
    uv_timer_start(&ticker->timer, on_tick, ms, again ? ms : 0);
    ticker->next = http->tickers;
    http->tickers = ticker;
    return ticker;
}

slm_status slm_http_every(struct slm_http *http, unsigned ms, void (*fn)(void *user), void *user,
                          struct slm_error *error)
{
    return start_ticker(http, ms, true, fn, user, error) ? SLM_OK : SLM_ERR_MEMORY;
}

bool slm_http_after(struct slm_http *http, unsigned ms, void (*fn)(void *user), void *user)
{
    return start_ticker(http, ms, false, fn, user, NULL) != NULL;
}

/* ---- opening and closing --------------------------------------------------------------------------------- */

/* The end of a tick. Settling one connection may touch others, or itself again. */
static void on_flush(uv_prepare_t *prepare)
{
    struct slm_http *http = prepare->data;
    while (http->dirty) {
        struct slm_conn *conn = http->dirty;
        http->dirty = conn->dirty_next;
        conn->is_dirty = false;
        slm_conn_settle(conn);
    }
}

static slm_status fail_uv(struct slm_error *error, const char *where, const char *what, int status)
{
    return slm_fail(error, SLM_ERR_IO, where, "%s: %s", what, uv_strerror(status));
}

slm_status slm_http_open(const struct slm_http_options *options, struct slm_http **out, struct slm_error *error)
{
    struct slm_http *http = slm_alloc(1, sizeof *http, "http", error);
    if (!http) return SLM_ERR_MEMORY;
    http->options = *options;
    fill_limits(&http->options.limits);
    http->posted_end = &http->posted;
    http->read_buffer = slm_alloc(SLM_HTTP_READ_BYTES, 1, "http", error);
    if (!http->read_buffer) {
        slm_release(http);
        return SLM_ERR_MEMORY;
    }
    int status = uv_loop_init(&http->loop);
    if (status == 0) {
        status = uv_async_init(&http->loop, &http->wake, on_wake);
        if (status != 0) uv_loop_close(&http->loop);
    }
    if (status != 0) {
        slm_release(http->read_buffer);
        slm_release(http);
        return fail_uv(error, "http", "the event loop cannot start", status);
    }
    uv_mutex_init(&http->post_lock);
    /* "Prepare" is the last that runs before the loop waits for the sockets again: what this tick wrote leaves there.
     * */
    uv_prepare_init(&http->loop, &http->flush);
    uv_prepare_start(&http->flush, on_flush);
    http->flush.data = http->wake.data = http;
    /* Ids of requests: a random half for this process, then a counter. Unique over restarts, but no secret. */
    if (uv_random(NULL, NULL, &http->next_id[0], sizeof http->next_id[0], 0, NULL) != 0)
        http->next_id[0] = uv_hrtime();
    *out = http;
    return SLM_OK;
}

slm_status slm_http_mount(struct slm_http *http, const struct slm_http_table *table, void *app,
                          struct slm_error *error)
{
    if (http->n_mounts == SLM_HTTP_MOUNTS)
        return slm_fail(error, SLM_ERR_LIMIT, "http", "at most %d tables of routes", SLM_HTTP_MOUNTS);
    http->mounts[http->n_mounts++] = (struct slm_mount){table, app};
    return SLM_OK;
}

/* The file of a Unix socket outlives the socket; one left behind would make the next start look for its owner. */
static void on_listener_closed(uv_handle_t *handle)
{
    struct slm_listener *listener = handle->data;
    if (listener->path[0]) unlink(listener->path);
    slm_release(listener);
}

static void close_listeners(struct slm_http *http)
{
    while (http->listeners) {
        struct slm_listener *next = http->listeners->next;
        uv_close(&http->listeners->io.handle, on_listener_closed);
        http->listeners = next;
    }
}

/* Cuts whatever is still open, without an answer; a graceful end has drained before. Nothing is freed here: handles
 * are closed by the loop, which returns from uv_run when the last one is. May be called twice, as a second signal
 * does. */
void slm_http_stop(struct slm_http *http)
{
    if (http->stopping) return;
    http->stopping = http->draining = true;
    on_flush(&http->flush); /* last words */
    close_listeners(http);
    for (struct slm_conn *conn = http->conns, *next; conn; conn = next) {
        next = conn->next;
        slm_conn_gone(conn);
    }
    while (http->tickers) {
        struct slm_ticker *next = http->tickers->next;
        uv_close((uv_handle_t *)&http->tickers->timer, on_ticker_closed);
        http->tickers = next;
    }
    /* The two handles of the loop itself do not keep it running; they close after it, when nobody posts any more. */
    uv_unref((uv_handle_t *)&http->wake);
    uv_unref((uv_handle_t *)&http->flush);
}

void slm_http_run(struct slm_http *http)
{
    uv_run(&http->loop, UV_RUN_DEFAULT);
}

/* After slm_http_run has returned, or in its place when the start failed half-way. Other threads must have ended:
 * from the close of the wake handle on nobody may post. */
void slm_http_close(struct slm_http *http)
{
    if (!http) return;
    slm_http_stop(http);
    run_posted(http);
    uv_close((uv_handle_t *)&http->wake, NULL);
    uv_close((uv_handle_t *)&http->flush, NULL);
    uv_run(&http->loop, UV_RUN_DEFAULT);
    on_flush(&http->flush); /* connections that were closed after the last tick */
    const int status = uv_loop_close(&http->loop);
    SLM_ASSERT(status == 0); /* somebody's handle is still open */
    uv_mutex_destroy(&http->post_lock);
    slm_release(http->read_buffer);
    slm_release(http);
}

/* The system has connected these clients and tells nobody when it throws them away: closing the listener would reset
 * what they believe to be a connection. */
static void accept_waiting(struct slm_http *http)
{
    for (struct slm_listener *listener = http->listeners; listener; listener = listener->next) {
        uv_os_fd_t fd;
        if (uv_fileno(&listener->io.handle, &fd) != 0) continue;
        for (int socket; (socket = accept(fd, NULL, NULL)) >= 0;) slm_conn_accept(listener, socket);
    }
}

/* No new connections, and none that waits for a request; a reply at work ends its connection. done runs when the last
 * one has gone, from http_conn.c, or right here when there is none. Deadlines are the caller's. */
void slm_http_drain(struct slm_http *http, void (*done)(void *user), void *user)
{
    http->draining = true;
    accept_waiting(http);
    close_listeners(http);
    for (struct slm_conn *conn = http->conns, *next; conn; conn = next) {
        next = conn->next;
        slm_conn_drain(conn);
    }
    http->on_drained = done;
    http->drained_user = user;
    if (http->counts.n_connections > 0) return;
    http->on_drained = NULL;
    done(user);
}

/* ---- listening ------------------------------------------------------------------------------------------- */

static void on_connection(uv_stream_t *stream, int status)
{
    if (status == 0) slm_conn_accept(stream->data, -1);
}

/* It is in the list at once, bound or not: whoever fails after this just returns, and slm_http_close finds it. */
static struct slm_listener *new_listener(struct slm_http *http, bool is_local, struct slm_error *error)
{
    struct slm_listener *listener = slm_alloc(1, sizeof *listener, "http", error);
    if (!listener) return NULL;
    listener->http = http;
    listener->is_local = is_local;
    if (is_local) uv_pipe_init(&http->loop, &listener->io.pipe, 0);
    else uv_tcp_init(&http->loop, &listener->io.tcp);
    listener->io.handle.data = listener;
    listener->next = http->listeners;
    http->listeners = listener;
    return listener;
}

/* All of 127.0.0.0/8, and ::1. An IPv4 address mapped to IPv6 counts as public: that asks for a key, no more. */
static bool is_loopback(const struct sockaddr *address)
{
    if (address->sa_family == AF_INET)
        return (ntohl(((const struct sockaddr_in *)address)->sin_addr.s_addr) >> 24) == 127;
    if (address->sa_family != AF_INET6) return false;
    const struct in6_addr *six = &((const struct sockaddr_in6 *)address)->sin6_addr;
    return IN6_IS_ADDR_LOOPBACK(six) || (IN6_IS_ADDR_V4MAPPED(six) && six->s6_addr[12] == 127);
}

/* What a bound socket is reached by: its port, and whether only this machine can. The socket is asked, not the
 * options, since a name may mean any address and sockets of systemd come bound already. */
static unsigned look_at_socket(struct slm_listener *listener)
{
    struct sockaddr_storage address;
    int len = sizeof address;
    if (listener->is_local || uv_tcp_getsockname(&listener->io.tcp, (struct sockaddr *)&address, &len) != 0) return 0;
    listener->on_loopback = is_loopback((const struct sockaddr *)&address);
    return ntohs(address.ss_family == AF_INET6 ? ((const struct sockaddr_in6 *)&address)->sin6_port
                                               : ((const struct sockaddr_in *)&address)->sin_port);
}

static slm_status listen_at(struct slm_http *http, const char *where, const struct sockaddr *address,
                            unsigned *bound, struct slm_error *error)
{
    struct slm_listener *listener = new_listener(http, false, error);
    if (!listener) return SLM_ERR_MEMORY;
    int status = uv_tcp_bind(&listener->io.tcp, address, 0);
    if (status == 0) status = uv_listen(&listener->io.stream, BACKLOG, on_connection);
    /* libuv keeps this error of bind for listen. It is the one that people meet, so it says what to do. */
    if (status == UV_EADDRINUSE)
        return slm_fail(error, SLM_ERR_IO, where,
                        "another program listens there already; --port N takes another port, --port 0 any free one");
    if (status == UV_EACCES)
        return slm_fail(error, SLM_ERR_IO, where,
                        "this user may not listen there; ports from 1024 on are for everyone");
    if (status != 0) return fail_uv(error, where, "cannot listen there", status);
    *bound = look_at_socket(listener);
    return SLM_OK;
}

/* All addresses of the name: "localhost" has two, and browsers try ::1 first. With port 0 the first address gets any
 * port and the others the same one. The lookup blocks, which harms nobody before the loop runs. */
slm_status slm_http_listen(struct slm_http *http, const char *host, unsigned port, unsigned *bound,
                           struct slm_error *error)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_ADDRCONFIG};
    uv_getaddrinfo_t lookup;
    char where[300];
    snprintf(where, sizeof where, "%s:%u", host, port);
    int status = uv_getaddrinfo(&http->loop, &lookup, NULL, host, NULL, &hints);
    if (status != 0) return fail_uv(error, where, "this host has no address", status);
    slm_status result = SLM_OK;
    *bound = 0;
    for (const struct addrinfo *one = lookup.addrinfo; one && result == SLM_OK; one = one->ai_next) {
        struct sockaddr_storage address = {.ss_family = AF_INET};
        memcpy(&address, one->ai_addr, one->ai_addrlen);
        const uint16_t at = htons((uint16_t)(*bound ? *bound : port));
        if (address.ss_family == AF_INET6) ((struct sockaddr_in6 *)&address)->sin6_port = at;
        else ((struct sockaddr_in *)&address)->sin_port = at;
        result = listen_at(http, where, (const struct sockaddr *)&address, bound, error);
    }
    uv_freeaddrinfo(lookup.addrinfo);
    return result;
}

/* A socket file that nobody listens on is what a server left that was killed. Only a refused connection proves that;
 * whatever else goes wrong (no permission, a full backlog), the file stays. */
static slm_status remove_stale(const char *path, const struct sockaddr_un *address, struct slm_error *error)
{
    struct stat info;
    if (lstat(path, &info) != 0) return SLM_OK;
    if (!S_ISSOCK(info.st_mode))
        return slm_fail(error, SLM_ERR_ARGUMENT, path, "something that is not a socket is there already");
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const bool alive = fd >= 0 && (connect(fd, (const struct sockaddr *)address, sizeof *address) == 0 ||
                                   errno != ECONNREFUSED);
    if (fd >= 0) close(fd);
    if (alive) return slm_fail(error, SLM_ERR_IO, path, "another program listens there already");
    unlink(path);
    return SLM_OK;
}

slm_status slm_http_listen_unix(struct slm_http *http, const char *path, struct slm_error *error)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (path[0] == '\0' || strlen(path) >= sizeof address.sun_path)
        return slm_fail(error, SLM_ERR_ARGUMENT, path, "the path of a socket has 1 to %zu bytes",
                        sizeof address.sun_path - 1);
    memcpy(address.sun_path, path, strlen(path) + 1);
    SLM_TRY(remove_stale(path, &address, error));
    struct slm_listener *listener = new_listener(http, true, error);
    if (!listener) return SLM_ERR_MEMORY;
    int status = uv_pipe_bind(&listener->io.pipe, path);
    /* From here on it is ours to remove; before, it could be the file of whoever won the race for this path. */
    if (status == 0) memcpy(listener->path, path, strlen(path) + 1);
    if (status == 0) status = uv_listen(&listener->io.stream, BACKLOG, on_connection);
    return status == 0 ? SLM_OK : fail_uv(error, path, "cannot listen there", status);
}

/* A socket that systemd has bound, TCP or Unix; its file, if there is one, stays when we go. */
slm_status slm_http_listen_fd(struct slm_http *http, int fd, struct slm_error *error)
{
    char where[32];
    snprintf(where, sizeof where, "descriptor %d", fd);
    struct sockaddr_storage address;
    socklen_t len = sizeof address;
    if (getsockname(fd, (struct sockaddr *)&address, &len) != 0)
        return slm_fail(error, SLM_ERR_IO, where, "this is not a socket");
    struct slm_listener *listener = new_listener(http, address.ss_family == AF_UNIX, error);
    if (!listener) return SLM_ERR_MEMORY;
    int status = listener->is_local ? uv_pipe_open(&listener->io.pipe, fd) : uv_tcp_open(&listener->io.tcp, fd);
    if (status == 0) status = uv_listen(&listener->io.stream, BACKLOG, on_connection);
    if (status != 0) return fail_uv(error, where, "cannot listen there", status);
    look_at_socket(listener);
    return SLM_OK;
}

/* A Unix socket is as private as the folder it is in, which is for its owner to decide. */
bool slm_http_is_public(const struct slm_http *http)
{
    for (const struct slm_listener *l = http->listeners; l; l = l->next)
        if (!l->is_local && !l->on_loopback) return true;
    return false;
}

void slm_http_counts(const struct slm_http *http, struct slm_http_counts *out)
{
    *out = http->counts;
}

struct uv_loop_s *slm_http_loop(struct slm_http *http)
{
    return &http->loop;
}
