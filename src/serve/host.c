/* SPDX-License-Identifier: MIT
 * The host: which models there are, which of them are loaded, and the way of jobs to their runners and events back.
 *
 * Three kinds of threads. The serving thread, which calls everything here, owns all tables; nothing in them is locked.
 * A runner for each loaded model (runner.h). And one loader, which does what takes long: opening files, packing
 * weights, closing. It gets an entry, works on it while nobody else does, and gives it back.
 *
 * Memory: before a model is loaded its need is predicted (weights, KV pool, scratch). When it and those that are loaded
 * would be more than the budget, the least recently used ones leave first, each when its last job has ended; until then
 * the newcomer waits, and those that leave take no new jobs, so that two models which do not fit together take turns.
 *
 * Deliberately not here: what a job is (job.h), HTTP, files of a store. */
#include "serve/host.h"

#include <dirent.h>
#include <sys/stat.h>
#include <time.h>

#include "base/checked.h"
#include "base/os.h"
#include "engine/session.h"
#include "engine/weights.h"
#include "serve/runner.h"

enum { MAX_QUEUE = 1024, MAX_RUNNING = 64, KV_CONTEXTS = 8, MOST_RETRY_S = 60 };

enum state {
    UNLOADED,
    OPENING,   /* the loader reads its file */
    WAITING,   /* for room in the budget */
    PREPARING, /* the loader packs its weights */
    LOADED,
    LEAVING,   /* the loader closes it */
};

/* Somebody who asked for a model that is not there yet. */
struct waiter {
    struct waiter *next;
    void (*ready)(void *user, struct slm_host_model *model, const struct slm_error *error);
    void *user;
};

struct slm_host_model { /* an entry: never leaves the list while the host lives */
    struct slm_host *host;
    struct slm_host_model *next;
    char *name, *path;            /* path "": built in */
    enum state state;
    bool leaves;                  /* when nobody uses it any more */
    size_t n_refs;
    int64_t keep_alive_s;
    uint64_t used_ns;             /* when it was last asked for or let go */
    uint64_t turn;                /* order of loading */
    struct waiter *first, *last;
    int64_t mtime_s, loaded_mtime_s;
    uint64_t file_bytes, loaded_bytes;
    /* The loader's while it works on the entry: */
    struct slm_host_model *next_task;
    struct slm_model *model, *draft;  /* the latter guesses for it, or NULL */
    struct slm_runner *runner;
    struct slm_engine_options engine; /* resolved */
    uint64_t memory_bytes;
    struct slm_host_counts gone;  /* what it had counted when it was unloaded, all times together */
    bool is_counted;              /* it was loaded at least once, or is the default */
    size_t place;                 /* among those */
    struct slm_error error;       /* status SLM_OK: none */
};

struct slm_host {
    struct slm_host_options options;
    struct slm_host_model *models; /* in the order of the options, then as found */
    char *models_folder;
    struct slm_turns turns;
    uint64_t n_turns;
    size_t n_places;               /* of models that are counted */
    bool drains, is_closed;
    struct slm_ticket_list refused;
    _Atomic size_t n_posted;       /* functions that are still to run: the last one frees a closed host */
    /* The loader, and what it shares with the serving thread: */
    struct slm_thread *loader;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct slm_host_model *tasks, *done; /* linked by next_task */
    bool stops, wants_ticks;
    const struct slm_host_model *preparing; /* what the loader packs just now, or NULL */
};

/* ---- posting ---------------------------------------------------------------------------------------------------- */

static void on_post(void *user);

/* From any thread: on_post runs soon on the serving one. */
static void post(void *user)
{
    struct slm_host *host = user;
    /* Counted before: it may run before post returns. */
    atomic_fetch_add(&host->n_posted, 1);
    host->options.post(host->options.post_user, on_post, host);
}

/* The last of it, when nothing can be posted any more. */
static void free_host(struct slm_host *host)
{
    for (struct slm_host_model *m = host->models, *next; m; m = next) {
        next = m->next;
        slm_release(m->name);
        slm_release(m->path);
        slm_release(m);
    }
    slm_release(host->models_folder);
    pthread_cond_destroy(&host->changed);
    pthread_mutex_destroy(&host->lock);
    pthread_cond_destroy(&host->turns.changed);
    pthread_mutex_destroy(&host->turns.lock);
    slm_release(host);
}

/* ---- the table of models ---------------------------------------------------------------------------------------- */

/* NUL-terminated; NULL without memory. */
static char *copy_text(const char *text, size_t len, struct slm_error *error)
{
    char *copy = slm_alloc(len + 1, 1, "host", error);
    if (copy) memcpy(copy, text, len);
    return copy;
}

/* The last part of a path without ".gguf". */
static struct slm_str name_of(const char *path)
{
    struct slm_str s = slm_str(path);
    while (s.len > 1 && s.ptr[s.len - 1] == '/') s.len--;
    for (size_t i = s.len; i-- > 0;)
        if (s.ptr[i] == '/' && i + 1 < s.len) {
            s = (struct slm_str){s.ptr + i + 1, s.len - i - 1};
            break;
        }
    if (s.len > 5 && memcmp(s.ptr + s.len - 5, ".gguf", 5) == 0) s.len -= 5;
    return s.len ? s : slm_str("builtin");
}

/* What the file is now; false when it is not there. */
static bool look_at(struct slm_host_model *m)
{
    struct stat st;
    if (!*m->path) return true;
    if (stat(m->path, &st) != 0) return false;
    m->mtime_s = (int64_t)st.st_mtime;
    m->file_bytes = (uint64_t)st.st_size;
    return true;
}

/* A further entry at the end of the list. */
static slm_status add_model(struct slm_host *host, const char *path, struct slm_error *error)
{
    const struct slm_str name = name_of(path);
    struct slm_host_model **end = &host->models;
    while (*end) {
        if (slm_str_is(name, (*end)->name)) return SLM_OK; /* the first of a name counts */
        end = &(*end)->next;
    }
    struct slm_host_model *m = slm_alloc(1, sizeof *m, "host", error);
    if (!m) return SLM_ERR_MEMORY;
    m->host = host;
    m->keep_alive_s = host->options.keep_alive_s;
    m->name = copy_text(name.ptr, name.len, error);
    m->path = copy_text(path, strlen(path), error);
    if (!m->name || !m->path) {
        slm_release(m->name);
        slm_release(m->path);
        slm_release(m);
        return SLM_ERR_MEMORY;
    }
    (void)look_at(m);
    *end = m;
    return SLM_OK;
}

/* Files that end in .gguf and folders with a config.json; names that begin with a dot are somebody else's business. */
static bool is_model(const char *path, const char *name)
{
    struct stat st;
    char config[4096];
    const size_t len = strlen(name);
    if (name[0] == '.' || stat(path, &st) != 0) return false;
    if (S_ISREG(st.st_mode)) return len > 5 && strcmp(name + len - 5, ".gguf") == 0;
    const int n = snprintf(config, sizeof config, "%s/config.json", path);
    return S_ISDIR(st.st_mode) && n > 0 && (size_t)n < sizeof config && stat(config, &st) == 0;
}

/* What is new in the folder; a folder that is not there has nothing. */
static void scan_folder(struct slm_host *host)
{
    char path[4096];
    DIR *folder = host->models_folder ? opendir(host->models_folder) : NULL;
    if (!folder) return;
    for (const struct dirent *d; (d = readdir(folder)) != NULL;) {
        const int n = snprintf(path, sizeof path, "%s/%s", host->models_folder, d->d_name);
        if (n > 0 && (size_t)n < sizeof path && is_model(path, d->d_name)) (void)add_model(host, path, NULL);
    }
    closedir(folder);
}

/* By name or whole path, with or without a tag. Names never become paths. */
static struct slm_host_model *find(const struct slm_host *host, const char *name)
{
    struct slm_str s = slm_str(name);
    if (s.len == 0) return host->models;
    for (int cut = 0; cut < 2; cut++) {
        for (struct slm_host_model *m = host->models; m; m = m->next)
            if (slm_str_is(s, m->name) || slm_str_is(s, m->path)) return m;
        if (s.len <= 7 || memcmp(s.ptr + s.len - 7, ":latest", 7) != 0) break;
        s.len -= 7;
    }
    return NULL;
}

/* ---- the loader ------------------------------------------------------------------------------------------------- */

/* What a model takes, KV pool and all, is added to the sum. */
static slm_status add_need(const struct slm_host_options *o, const struct slm_model *model,
                           const struct slm_engine_options *engine, uint64_t *sum, struct slm_error *error)
{
    struct slm_session_settings s = {0};
    uint64_t kv, scratch, bytes;
    SLM_TRY(slm_session_resolve(model, &engine->session, &s, error));
    SLM_TRY(slm_session_predict(model, &engine->session, &kv, &scratch, error));
    /* Weights: packed in memory, or as they lie in the file, which the system keeps in memory as far as it can. */
    uint64_t weights = slm_cpu_weights_bytes(model->plan);
    const struct slm_model_info info = slm_model_info(model);
    if (weights < info.file_bytes) weights = info.file_bytes;
    /* Logits of all that run; and of each thread that draws them a copy, counts, and candidates of four numbers. */
    const size_t n_rows = (size_t)6 * slm_engine_n_samplers(s.n_threads);
    if (!slm_mul_u64(kv / s.n_ctx + 1, engine->n_kv, &bytes) || !slm_add_u64(bytes, weights, &bytes) ||
        !slm_add_u64(bytes, scratch, &bytes) ||
        !slm_add_u64(bytes, (o->max_running + n_rows) * model->hparams.n_vocab * sizeof(float), &bytes) ||
        !slm_add_u64(bytes, *sum, sum))
        return slm_fail(error, SLM_ERR_LIMIT, "host", "the memory of a model cannot be addressed");
    return SLM_OK;
}

/* Contexts that the KV pool holds unless the options say: several, as far as a quarter of the budget goes. */
static slm_status resolve(struct slm_host_model *m, struct slm_error *error)
{
    const struct slm_host_options *o = &m->host->options;
    struct slm_session_settings s = {0};
    uint64_t kv, draft_kv = 0, scratch;
    m->engine = o->engine;
    m->memory_bytes = 0;
    SLM_TRY(slm_session_resolve(m->model, &m->engine.session, &s, error));
    m->engine.session.n_ctx = (int32_t)s.n_ctx;
    SLM_TRY(slm_session_predict(m->model, &m->engine.session, &kv, &scratch, error));
    if (m->draft) SLM_TRY(slm_session_predict(m->draft, &m->engine.session, &draft_kv, &scratch, error));
    const uint64_t quarter = o->memory_budget / 4, both = kv + draft_kv;
    if (m->engine.n_kv == 0) {
        size_t n = both ? (size_t)(quarter / both) : KV_CONTEXTS;
        if (n > KV_CONTEXTS) n = KV_CONTEXTS;
        if (n > o->max_running) n = o->max_running;
        if (n < 1) n = 1;
        if (!slm_mul_size(n, s.n_ctx, &m->engine.n_kv)) m->engine.n_kv = s.n_ctx;
    }
    SLM_TRY(add_need(o, m->model, &m->engine, &m->memory_bytes, error));
    const struct slm_engine_options drafts = slm_runner_draft_engine(&m->engine);
    return m->draft ? add_need(o, m->draft, &drafts, &m->memory_bytes, error) : SLM_OK;
}

/* The default model has a draft where one was asked for. */
static slm_status open_draft(struct slm_host_model *m, struct slm_error *error)
{
    const struct slm_host_options *o = &m->host->options;
    if (!o->draft || m != m->host->models) return SLM_OK;
    if (m->model->has_no_head || m->model->hparams.bidirectional)
        return slm_fail(error, SLM_ERR_UNSUPPORTED, "draft model", "%s makes embeddings: there is nothing to guess",
                        m->name);
    SLM_TRY(slm_model_open(o->draft, NULL, &m->draft, error));
    return slm_speculate_check(m->model, m->draft, error);
}

/* Both files, if there are two. */
static slm_status open_files(struct slm_host_model *m, struct slm_error *error)
{
    SLM_TRY(slm_model_open(m->path, NULL, &m->model, error));
    SLM_TRY(open_draft(m, error));
    return resolve(m, error);
}

/* What open_files opened. */
static void close_files(struct slm_host_model *m)
{
    slm_model_close(m->draft);
    slm_model_close(m->model);
    m->model = m->draft = NULL;
}

static slm_status open_runner(struct slm_host_model *m, struct slm_error *error)
{
    const struct slm_host_options *o = &m->host->options;
    struct slm_runner_options options = {.engine = m->engine,
                                         .max_running = o->max_running,
                                         .speculation = o->speculation,
                                         .keeps_slots = o->keeps_slots,
                                         .turns = &m->host->turns,
                                         .post = post,
                                         .user = m->host};
    options.speculation.draft = m->draft;
    if (m->draft) options.speculation.mode = SLM_SPECULATE_DRAFT;
    return slm_runner_open(m->model, &options, &m->runner, error);
}

/* Neither's weights are wanted any more. */
static void stop_preparing(const struct slm_host_model *m)
{
    slm_prepared_stop(m->model);
    if (m->draft) slm_prepared_stop(m->draft);
}

/* A model whose weights are being packed, which can be ended from elsewhere: it is not closed before this is taken
 * back. */
static void set_preparing(struct slm_host *host, const struct slm_host_model *m)
{
    pthread_mutex_lock(&host->lock);
    host->preparing = m;
    if (m && host->stops) stop_preparing(m);
    pthread_mutex_unlock(&host->lock);
}

/* The entry's next stage, on the loader's thread. On failure nothing of it is left. */
static void work_on(struct slm_host_model *m)
{
    slm_status status = SLM_OK;
    m->error = (struct slm_error){0};
    if (m->state == OPENING) {
        status = open_files(m, &m->error);
    } else if (m->state == PREPARING) {
        set_preparing(m->host, m);
        status = open_runner(m, &m->error);
        set_preparing(m->host, NULL);
    }
    /* What it was for is over, or failed. */
    if (status == SLM_OK && m->state != LEAVING) return;
    if (m->runner) slm_runner_stop(m->runner);
    slm_runner_close(m->runner);
    m->runner = NULL;
    close_files(m);
}

/* The loader's thread: tasks, and ticks while somebody wants them. */
static void load(void *arg)
{
    struct slm_host *host = arg;
    pthread_mutex_lock(&host->lock);
    while (!host->stops) {
        struct slm_host_model *m = host->tasks;
        if (m) { /* without the lock: it takes long */
            host->tasks = m->next_task;
            pthread_mutex_unlock(&host->lock);
            work_on(m);
            pthread_mutex_lock(&host->lock);
            m->next_task = host->done;
            host->done = m;
        } else if (host->wants_ticks) {
            struct timespec until;
            clock_gettime(CLOCK_REALTIME, &until);
            until.tv_sec++;
            if (pthread_cond_timedwait(&host->changed, &host->lock, &until) == 0) continue;
        } else {
            pthread_cond_wait(&host->changed, &host->lock);
            continue;
        }
        pthread_mutex_unlock(&host->lock);
        post(host);
        pthread_mutex_lock(&host->lock);
    }
    pthread_mutex_unlock(&host->lock);
}

/* The entry is the loader's until it comes back in `done`. */
static void give_task(struct slm_host_model *m, enum state state)
{
    struct slm_host *host = m->host;
    m->state = state;
    m->next_task = NULL;
    pthread_mutex_lock(&host->lock);
    struct slm_host_model **end = &host->tasks;
    while (*end) end = &(*end)->next_task;
    *end = m;
    pthread_cond_signal(&host->changed);
    pthread_mutex_unlock(&host->lock);
}

/* ---- coming and going ------------------------------------------------------------------------------------------- */

/* From the beginning, with what its file is now. */
static void start_loading(struct slm_host_model *m)
{
    /* The turn decides who is loaded first when room is short. */
    m->leaves = false;
    m->turn = m->host->n_turns++;
    (void)look_at(m);
    m->loaded_mtime_s = m->mtime_s;
    m->loaded_bytes = m->file_bytes;
    give_task(m, OPENING);
}

/* Its place among what is counted is for ever: whoever counts has a row for it. */
static void count_from_now(struct slm_host_model *m)
{
    if (m->is_counted) return;
    m->is_counted = true;
    m->place = m->host->n_places++;
}

/* It goes as soon as nobody uses it. */
static void try_leave(struct slm_host_model *m)
{
    if (m->state != LOADED || !m->leaves || m->n_refs > 0) return;
    /* Totals stay, what is there now does not. */
    slm_runner_count(m->runner, &m->gone);
    m->gone.kv_pages = m->gone.kv_pages_used = m->gone.kv_pages_cached = 0;
    m->gone.n_running = m->gone.n_waiting = 0;
    m->keep_alive_s = m->host->options.keep_alive_s; /* what a request wished held for this stay */
    give_task(m, LEAVING);
}

/* error NULL: it is there. */
static void answer_waiters(struct slm_host_model *m, const struct slm_error *error)
{
    struct waiter *w = m->first;
    m->first = m->last = NULL;
    /* All of them have it before the first can give it back. */
    for (const struct waiter *each = w; each && !error; each = each->next) m->n_refs++;
    for (struct waiter *next; w; w = next) {
        next = w->next;
        w->ready(w->user, error ? NULL : m, error);
        slm_release(w);
    }
}

/* The loader has closed what there was of it. */
static void fail_loading(struct slm_host_model *m)
{
    const struct slm_error error = m->error;
    m->state = UNLOADED;
    m->memory_bytes = 0;
    answer_waiters(m, &error);
}

/* Of those that could leave. */
static struct slm_host_model *least_recent(const struct slm_host *host)
{
    struct slm_host_model *least = NULL;
    for (struct slm_host_model *m = host->models; m; m = m->next)
        if (m->state == LOADED && !m->leaves && (!least || m->used_ns < least->used_ns)) least = m;
    return least;
}

/* Bytes of the models that take memory; of them, those that are about to give it back. */
static uint64_t memory_used(const struct slm_host *host, uint64_t *leaving)
{
    uint64_t used = 0;
    *leaving = 0;
    for (const struct slm_host_model *m = host->models; m; m = m->next) {
        if (m->state != PREPARING && m->state != LOADED && m->state != LEAVING) continue;
        used += m->memory_bytes;
        if (m->leaves) *leaving += m->memory_bytes;
    }
    return used;
}

/* Loads what fits, in the order of asking, and asks others to leave for what does not. */
static void make_room(struct slm_host *host)
{
    for (;;) {
        struct slm_host_model *next = NULL;
        uint64_t leaving;
        for (struct slm_host_model *m = host->models; m; m = m->next)
            if (m->state == WAITING && (!next || m->turn < next->turn)) next = m;
        if (!next) return;
        const uint64_t used = memory_used(host, &leaving), budget = host->options.memory_budget;
        if (next->memory_bytes <= budget && used <= budget - next->memory_bytes) {
            give_task(next, PREPARING);
        } else if (next->memory_bytes > budget) {
            (void)slm_fail(&next->error, SLM_ERR_MEMORY, next->name,
                           "it needs %.0f MiB, the budget of all models is %.0f MiB: use a smaller context or a larger "
                           "budget", (double)next->memory_bytes / 0x1p20, (double)budget / 0x1p20);
            close_files(next);
            fail_loading(next);
        } else {
            struct slm_host_model *victim = least_recent(host);
            if (used - leaving <= budget - next->memory_bytes || !victim) return; /* it will be enough in time */
            victim->leaves = true;
            try_leave(victim);
        }
    }
}

/* The loader has given an entry back. */
static void advance(struct slm_host_model *m)
{
    if (m->state == LEAVING) {
        m->state = UNLOADED;
        m->memory_bytes = 0;
        m->leaves = false;
        if (m->first) start_loading(m);
    } else if (m->error.status != SLM_OK) {
        fail_loading(m);
    } else if (m->state == OPENING) {
        m->state = WAITING;
    } else {
        m->state = LOADED;
        count_from_now(m);
        m->used_ns = slm_os()->now_ns();
        answer_waiters(m, NULL);
    }
}

/* Idle models whose time is over leave; ticks come while there are any. */
static void expire(struct slm_host *host)
{
    bool wants_ticks = false;
    for (struct slm_host_model *m = host->models; m; m = m->next) {
        if (m->state != LOADED || m->n_refs > 0 || m->keep_alive_s < 0 || m->leaves) continue;
        if (slm_os()->now_ns() - m->used_ns >= (uint64_t)m->keep_alive_s * UINT64_C(1000000000)) {
            m->leaves = true;
            try_leave(m);
        } else {
            wants_ticks = true;
        }
    }
    pthread_mutex_lock(&host->lock);
    if (wants_ticks && !host->wants_ticks) pthread_cond_signal(&host->changed);
    host->wants_ticks = wants_ticks;
    pthread_mutex_unlock(&host->lock);
}

/* To everybody who is refused for it. */
static void say_shutdown(struct slm_error *error)
{
    (void)slm_fail(error, SLM_ERR_CANCELLED, "server", "it is shutting down: try again soon");
}

/* Its file is another one than when it was loaded. */
static bool was_replaced(struct slm_host_model *m)
{
    return look_at(m) && (m->mtime_s != m->loaded_mtime_s || m->file_bytes != m->loaded_bytes);
}

void slm_host_get(struct slm_host *host, const char *name,
                  void (*ready)(void *user, struct slm_host_model *model, const struct slm_error *error), void *user)
{
    struct slm_error error;
    struct slm_host_model *m = find(host, name);
    if (!m) {
        scan_folder(host);
        m = find(host, name);
    }
    if (host->drains) say_shutdown(&error);
    else if (!m) (void)slm_fail(&error, SLM_ERR_ARGUMENT, "model", "there is no model '%.100s'", name);
    if (host->drains || !m) {
        ready(user, NULL, &error);
        return;
    }
    if (m->state == LOADED && !m->leaves && was_replaced(m)) m->leaves = true;
    if (m->state == LOADED && !m->leaves) {
        m->n_refs++;
        m->used_ns = slm_os()->now_ns();
        ready(user, m, NULL);
        return;
    }
    struct waiter *w = slm_alloc(1, sizeof *w, "host", &error);
    if (!w) {
        ready(user, NULL, &error);
        return;
    }
    *w = (struct waiter){.ready = ready, .user = user};
    if (m->last) m->last->next = w;
    else m->first = w;
    m->last = w;
    if (m->state == UNLOADED) start_loading(m);
    try_leave(m); /* an old one that is idle makes place for the new one */
}

void slm_host_release(struct slm_host_model *m)
{
    SLM_ASSERT(m->n_refs > 0);
    m->used_ns = slm_os()->now_ns();
    if (--m->n_refs > 0) return;
    try_leave(m);
    expire(m->host);
}

void slm_host_unload(struct slm_host *host, const char *name)
{
    struct slm_host_model *m = find(host, name);
    if (!m || m->state != LOADED) return;
    m->leaves = true;
    try_leave(m);
}

void slm_host_keep(struct slm_host_model *m, int64_t seconds) { m->keep_alive_s = seconds; }
const struct slm_model *slm_host_model(const struct slm_host_model *m) { return m->model; }
const char *slm_host_model_name(const struct slm_host_model *m) { return m->name; }
size_t slm_host_model_n_ctx(const struct slm_host_model *m) { return slm_runner_n_ctx(m->runner); }

void slm_host_each(struct slm_host *host, void (*each)(void *user, const struct slm_host_entry *entry), void *user)
{
    scan_folder(host);
    const int64_t now_s = slm_os()->unix_ns() / 1000000000;
    const uint64_t now = slm_os()->now_ns();
    for (struct slm_host_model *m = host->models; m; m = m->next) {
        if (m->state == UNLOADED && !look_at(m)) continue; /* its file has gone */
        struct slm_host_entry e = {.name = m->name,
                                   .path = m->path,
                                   .is_loaded = m->state == LOADED,
                                   .is_loading = m->state != LOADED && m->state != UNLOADED && m->state != LEAVING,
                                   .file_bytes = m->file_bytes,
                                   .mtime_s = m->mtime_s};
        if (e.is_loaded) {
            e.memory_bytes = m->memory_bytes;
            e.info = slm_model_info(m->model);
            e.file_bytes = e.info.file_bytes;
            e.n_ctx = slm_runner_n_ctx(m->runner);
            const int64_t idle_s = m->n_refs ? 0 : (int64_t)((now - m->used_ns) / 1000000000u);
            if (m->keep_alive_s >= 0) e.expires_s = now_s + m->keep_alive_s - idle_s;
        }
        each(user, &e);
    }
}

/* ---- jobs ------------------------------------------------------------------------------------------------------- */

/* Through the loop like any other event: the caller does not have its ticket yet. */
static void refuse(struct slm_host *host, struct slm_ticket *t, int retry_after_s, const struct slm_error *why)
{
    slm_ticket_fail(t, why, retry_after_s);
    slm_ticket_list_add(&host->refused, t);
    post(host);
}

/* An event of a job, to whoever counts and to whoever waits for it. */
static void deliver(void *user, const struct slm_event *event)
{
    struct slm_ticket *t = user;
    const struct slm_host_options *options = &t->model->host->options;
    if (options->observe) options->observe(options->observe_user, t->model->place, t->job, &t->times, event);
    if (t->receive) t->receive(t->receive_user, event);
}

struct slm_ticket *slm_host_submit(struct slm_host_model *m, struct slm_job *job, slm_event_fn on_event, void *user)
{
    struct slm_host *host = m->host;
    struct slm_ticket *t = slm_alloc(1, sizeof *t, "job", NULL);
    if (!t) {
        slm_job_free(job);
        return NULL;
    }
    *t = (struct slm_ticket){.job = job, .on_event = deliver, .user = t, .receive = on_event, .receive_user = user,
                             .model = m, .submit_ns = slm_os()->now_ns()};
    t->times.submit_ns = t->submit_ns;
    m->n_refs++; /* until it has ended, so that its model stays */
    struct slm_error error;
    const size_t n_waiting = slm_runner_n_waiting(m->runner);
    /* As many seconds as it has to wait rounds: nobody knows how long answers will be. */
    const size_t rounds = 1 + n_waiting / host->options.max_running;
    if (host->drains) {
        say_shutdown(&error);
        refuse(host, t, 1, &error);
    } else if (n_waiting >= host->options.max_queue) {
        (void)slm_fail(&error, SLM_ERR_LIMIT, "server", "its queue is full: %zu requests wait, try again later",
                       n_waiting);
        refuse(host, t, rounds < MOST_RETRY_S ? (int)rounds : MOST_RETRY_S, &error);
    } else {
        slm_runner_submit(m->runner, t);
    }
    return t;
}

/* The runner looks at the flag before every step. */
void slm_host_cancel(struct slm_ticket *t)
{
    t->receive = NULL;
    atomic_store(&t->cancelled, true);
}

/* The ticket's last event. */
static void ended(void *user, struct slm_ticket *t)
{
    struct slm_host_model *m = t->model;
    (void)user;
    deliver(t, &t->end);
    slm_ticket_free(t);
    slm_host_release(m);
}

/* Whatever another thread wanted us to see. */
static void on_post(void *user)
{
    struct slm_host *host = user;
    const bool is_last = atomic_fetch_sub(&host->n_posted, 1) == 1;
    if (host->is_closed) { /* nothing else is left of it */
        if (is_last) free_host(host);
        return;
    }
    pthread_mutex_lock(&host->lock);
    struct slm_host_model *done = host->done;
    host->done = NULL;
    pthread_mutex_unlock(&host->lock);
    for (struct slm_host_model *next; done; done = next) {
        next = done->next_task;
        advance(done);
    }
    for (struct slm_host_model *m = host->models; m; m = m->next)
        if (m->state == LOADED && m->n_refs > 0) slm_outbox_replay(slm_runner_outbox(m->runner), ended, host);
    struct slm_ticket_list refused = host->refused;
    host->refused = (struct slm_ticket_list){0};
    for (struct slm_ticket *t; (t = slm_ticket_list_take(&refused)) != NULL;) ended(host, t);
    make_room(host);
    expire(host);
}

/* Models stay loaded: the host is closed next. */
void slm_host_drain(struct slm_host *host)
{
    struct slm_error error;
    host->drains = true;
    say_shutdown(&error);
    for (struct slm_host_model *m = host->models; m; m = m->next) {
        answer_waiters(m, &error);
        if (m->state == LOADED) slm_runner_drain(m->runner);
    }
}

void slm_host_counts(const struct slm_host *host, struct slm_host_counts *out)
{
    struct slm_host_counts one;
    const char *name;
    *out = (struct slm_host_counts){.n_running = 0};
    for (size_t i = 0; slm_host_counts_of(host, i, &one, &name); i++) slm_host_counts_add(out, &one);
}

bool slm_host_counts_of(const struct slm_host *host, size_t place, struct slm_host_counts *out, const char **name)
{
    const struct slm_host_model *m = host->models;
    while (m && !(m->is_counted && m->place == place)) m = m->next;
    if (!m) return false;
    *out = m->gone;
    *name = m->name;
    out->n_models_loaded = m->state == LOADED;
    if (m->state == LOADED) slm_runner_count(m->runner, out);
    return true;
}

void slm_host_counts_add(struct slm_host_counts *sum, const struct slm_host_counts *c)
{
    sum->n_running += c->n_running;
    sum->n_waiting += c->n_waiting;
    sum->n_models_loaded += c->n_models_loaded;
    sum->kv_pages += c->kv_pages;
    sum->kv_pages_used += c->kv_pages_used;
    sum->kv_pages_cached += c->kv_pages_cached;
    sum->prompt_tokens += c->prompt_tokens;
    sum->cached_tokens += c->cached_tokens;
    sum->generated_tokens += c->generated_tokens;
    sum->n_preempted += c->n_preempted;
    sum->n_steps += c->n_steps;
    sum->n_step_rows += c->n_step_rows;
    for (size_t i = 0; i < 8; i++) sum->n_finished[i] += c->n_finished[i];
    sum->speculation.n_steps += c->speculation.n_steps;
    sum->speculation.n_guessed += c->speculation.n_guessed;
    sum->speculation.n_accepted += c->speculation.n_accepted;
    sum->prompt_s += c->prompt_s;
    sum->generate_s += c->generate_s;
}

/* ---- opening and closing ---------------------------------------------------------------------------------------- */

/* The entries there are from the start. */
static slm_status open_table(struct slm_host *host, const struct slm_host_options *o, struct slm_error *error)
{
    for (size_t i = 0; i < o->n_models; i++) SLM_TRY(add_model(host, o->models[i] ? o->models[i] : "", error));
    if (o->n_models == 0) SLM_TRY(add_model(host, "", error));
    count_from_now(host->models); /* so that there is one from the start */
    if (!o->models_folder) return SLM_OK;
    host->models_folder = copy_text(o->models_folder, strlen(o->models_folder), error);
    if (!host->models_folder) return SLM_ERR_MEMORY;
    scan_folder(host);
    return SLM_OK;
}

slm_status slm_host_open(const struct slm_host_options *options, struct slm_host **out, struct slm_error *error)
{
    SLM_ASSERT(!options->speculation.draft && options->speculation.mode != SLM_SPECULATE_DRAFT);
    struct slm_host *host = slm_alloc(1, sizeof *host, "host", error);
    if (!host) return SLM_ERR_MEMORY;
    host->options = *options;
    struct slm_host_options *o = &host->options;
    if (o->max_queue == 0) o->max_queue = MAX_QUEUE;
    if (o->max_running == 0) o->max_running = MAX_RUNNING;
    const uint64_t available = slm_os()->memory_available();
    if (o->memory_budget == 0) o->memory_budget = available ? available / 5 * 4 + 1 : UINT64_MAX; /* not told */
    pthread_mutex_init(&host->lock, NULL);
    pthread_cond_init(&host->changed, NULL);
    pthread_mutex_init(&host->turns.lock, NULL);
    pthread_cond_init(&host->turns.changed, NULL);
    slm_status status = open_table(host, options, error);
    if (status == SLM_OK) status = slm_os()->thread_start(load, host, &host->loader, error);
    if (status != SLM_OK) {
        free_host(host);
        return status;
    }
    *out = host;
    return SLM_OK;
}

void slm_host_close(struct slm_host *host)
{
    if (!host) return;
    struct slm_error error;
    pthread_mutex_lock(&host->lock);
    host->stops = true;
    /* What the loader is at, nobody wants any more: it need not be waited for. */
    if (host->preparing) stop_preparing(host->preparing);
    pthread_cond_signal(&host->changed);
    pthread_mutex_unlock(&host->lock);
    slm_os()->thread_join(host->loader);
    host->drains = true;
    for (struct slm_host_model *m = host->models; m; m = m->next) {
        if (m->runner) slm_runner_stop(m->runner);
        if (m->runner) slm_outbox_replay(slm_runner_outbox(m->runner), ended, host);
    }
    for (struct slm_ticket *t; (t = slm_ticket_list_take(&host->refused)) != NULL;) ended(host, t);
    say_shutdown(&error);
    for (struct slm_host_model *m = host->models; m; m = m->next) {
        answer_waiters(m, &error);
        slm_runner_close(m->runner);
        close_files(m);
    }
    /* Functions that were posted find a closed host. */
    host->is_closed = true;
    if (atomic_load(&host->n_posted) == 0) free_host(host);
}
