/* SPDX-License-Identifier: MIT
 *
 * The way out: data on stdout, sentences on stderr, and small pieces of JSON. stdout carries nothing but what
 * was asked for, so that every command can stand in a pipe.
 *
 * JSON is written by appending to a buffer that is printed once, whole: a reader never sees half an object
 * because of an error in the middle. */
#include "cli/cli.h"

#include <errno.h>
#include <math.h>
#include <unistd.h>

#include "base/config.h"
#include "tune/predict.h"

bool slm_cli_colour(FILE *stream) { return isatty(fileno(stream)) && !slm_env("NO_COLOR"); }

/* The one place where errors are printed, so that their form is the same everywhere. */
static void print_error(const char *where, const char *message)
{
    const char *on = slm_cli_colour(stderr) ? "\033[31m" : "", *off = on[0] ? "\033[0m" : "";
    fflush(stdout); /* what was said before the error comes before it on a terminal */
    fprintf(stderr, "%sslm:%s %s: %s\n", on, off, where, message);
}

int slm_cli_fail(const struct slm_error *error)
{
    print_error(error->where, error->message);
    return SLM_EXIT_FAILURE;
}

int slm_cli_usage(const char *where, const char *format, ...)
{
    struct slm_error error = {0};
    char message[sizeof error.message];
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    slm_fail(&error, SLM_ERR_ARGUMENT, where, "%s", message); /* escapes what the terminal must not interpret */
    print_error(error.where, error.message);
    return SLM_EXIT_USAGE;
}

/* The first failure of a write; 0 while all is well. */
static int write_errno;

bool slm_cli_write(const void *data, size_t bytes)
{
    if (write_errno) return false;
    if (bytes > 0 && fwrite(data, 1, bytes, stdout) != bytes) write_errno = errno ? errno : EIO;
    return write_errno == 0;
}

int slm_cli_finish(void)
{
    if (!write_errno && fflush(stdout) != 0) write_errno = errno ? errno : EIO;
    if (write_errno == 0 || write_errno == EPIPE) return SLM_EXIT_OK;
    print_error("stdout", strerror(write_errno));
    return SLM_EXIT_FAILURE;
}

/* A buffer that failed (memory) is an error of its own: nothing is printed then. */
int slm_cli_emit(struct slm_buf *out)
{
    struct slm_error error;
    int exit_code = SLM_EXIT_OK;
    if (slm_buf_status(out, "output", &error) != SLM_OK)
        exit_code = slm_cli_fail(&error);
    else {
        slm_cli_write(out->data, out->len);
        exit_code = slm_cli_finish();
    }
    slm_buf_release(out);
    return exit_code;
}

/* A disk that is full may say so only when the file is closed. */
slm_status slm_cli_save(const char *path, struct slm_buf *out, struct slm_error *error)
{
    slm_status status = slm_buf_status(out, path, error);
    FILE *file = status == SLM_OK ? fopen(path, "wb") : NULL;
    if (status == SLM_OK && !file)
        status = slm_fail(error, SLM_ERR_IO, path, "cannot be created: %s", strerror(errno));
    if (file) {
        const bool wrote = fwrite(out->data, 1, out->len, file) == out->len;
        if (fclose(file) != 0 || !wrote)
            status = slm_fail(error, SLM_ERR_IO, path, "cannot be written: %s", strerror(errno));
    }
    slm_buf_release(out);
    return status;
}

/* ---- JSON ------------------------------------------------------------------------------------ */

void slm_json_float(struct slm_buf *out, float value)
{
    if (isfinite(value))
        slm_buf_printf(out, "%.9g", (double)value); /* 9 digits give the same float back */
    else
        slm_buf_puts(out, "null");
}

void slm_json_double(struct slm_buf *out, double value)
{
    if (isfinite(value))
        slm_buf_printf(out, "%.9g", value);
    else
        slm_buf_puts(out, "null");
}

/* The last byte tells whether something stands before it in its object. */
void slm_json_key(struct slm_buf *out, const char *key)
{
    if (out->len > 0 && out->data[out->len - 1] != '{' && out->data[out->len - 1] != '[') slm_buf_puts(out, ",");
    slm_buf_add_json_string(out, slm_str(key));
    slm_buf_puts(out, ":");
}

void slm_json_text(struct slm_buf *out, const char *key, const char *value)
{
    slm_json_key(out, key);
    if (value)
        slm_buf_add_json_string(out, slm_str(value));
    else
        slm_buf_puts(out, "null");
}

void slm_json_i64(struct slm_buf *out, const char *key, int64_t value)
{
    slm_json_key(out, key);
    slm_buf_printf(out, "%lld", (long long)value);
}

void slm_json_real(struct slm_buf *out, const char *key, double value)
{
    slm_json_key(out, key);
    slm_json_double(out, value);
}

void slm_json_bool(struct slm_buf *out, const char *key, bool value)
{
    slm_json_key(out, key);
    slm_buf_puts(out, value ? "true" : "false");
}

/* The same names wherever memory is predicted. */
void slm_json_memory(struct slm_buf *out, const struct slm_memory *memory)
{
    slm_json_i64(out, "weights_bytes", (int64_t)memory->weight_bytes);
    slm_json_i64(out, "kv_bytes", (int64_t)memory->kv_bytes);
    slm_json_i64(out, "scratch_bytes", (int64_t)memory->scratch_bytes);
    slm_json_i64(out, "total_bytes", (int64_t)slm_memory_total(memory));
}

/* ---- numbers for people ---------------------------------------------------------------------- */

/* Three significant digits and the unit, as in 9.99, 10.0, 99.9, 100. */
static const char *scaled(char out[16], double n, const char *const *units, const char *space)
{
    int unit = 0;
    while (n >= 999.5 && units[unit + 1]) {
        n /= 1000;
        unit++;
    }
    int decimals = unit == 0 || n >= 99.95 ? 0 : n >= 9.995 ? 1 : 2;
    snprintf(out, 16, "%.*f%s%s", decimals, n, space, units[unit]);
    return out;
}

const char *slm_cli_size(char out[16], double bytes)
{
    static const char *const units[] = {"bytes", "KB", "MB", "GB", "TB", "PB", NULL};
    return scaled(out, bytes, units, " ");
}

const char *slm_cli_count(char out[16], double n)
{
    static const char *const units[] = {"", "K", "M", "B", "T", NULL};
    return scaled(out, n, units, "");
}
