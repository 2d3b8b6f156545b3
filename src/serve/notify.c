/* SPDX-License-Identifier: MIT
 *
 * sd_notify(3) and sd_listen_fds(3) as their manual pages describe the protocols: one datagram, two variables.
 *
 * Deliberately not here: stored descriptors, and whether a watchdog has reason to bark (server.c). */
#include "serve/notify.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/config.h"

enum { FIRST_SOCKET = 3, MOST_SOCKETS = 16, MOST_MS = 1 << 30 };

void slm_notify(const char *state)
{
    const char *path = slm_env("NOTIFY_SOCKET");
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (!path || (path[0] != '/' && path[0] != '@') || strlen(path) >= sizeof address.sun_path) return;
    memcpy(address.sun_path, path, strlen(path) + 1);
    const socklen_t len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path));
    if (path[0] == '@') address.sun_path[0] = '\0'; /* an abstract address: no file */
    const int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return;
    /* Who does not read what it asked for, every half second of a watchdog, must not keep clients waiting. */
    while (sendto(fd, state, strlen(state), MSG_NOSIGNAL | MSG_DONTWAIT, (const struct sockaddr *)&address,
                  len) < 0 && errno == EINTR) {}
    close(fd);
}

/* A whole number in a variable, or -1. */
static long number_of(const char *name)
{
    const char *text = slm_env(name);
    char *end = NULL;
    if (!text) return -1;
    errno = 0;
    const long value = strtol(text, &end, 10);
    return errno || *end || value < 0 ? -1 : value;
}

/* Half of what is allowed, as sd_watchdog_enabled(3) recommends. */
unsigned slm_notify_every_ms(void)
{
    const long us = number_of("WATCHDOG_USEC"), pid = number_of("WATCHDOG_PID");
    if (us < 1 || (pid >= 0 && pid != (long)getpid())) return 0;
    const long ms = us / 2000;
    return ms < 1 ? 1 : ms > MOST_MS ? MOST_MS : (unsigned)ms;
}

int slm_notify_sockets(int *first)
{
    const long n = number_of("LISTEN_FDS");
    *first = FIRST_SOCKET;
    if (number_of("LISTEN_PID") != (long)getpid() || n < 1) return 0; /* meant for somebody else */
    for (int fd = FIRST_SOCKET; fd < FIRST_SOCKET + n; fd++) fcntl(fd, F_SETFD, FD_CLOEXEC);
    return n > MOST_SOCKETS ? MOST_SOCKETS : (int)n;
}
