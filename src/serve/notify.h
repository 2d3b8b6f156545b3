/* SPDX-License-Identifier: MIT
 * What systemd and its likes say to a service and hear from it, by their documented protocols and without their
 * library: sockets handed over at start (LISTEN_FDS), and a datagram a state (NOTIFY_SOCKET). */
#ifndef SLM_SERVE_NOTIFY_H
#define SLM_SERVE_NOTIFY_H
#include "base/error.h"

/* "READY=1", "STOPPING=1", "RELOADING=1", "WATCHDOG=1". Nothing happens when nobody listens. */
void slm_notify(const char *state);
/* Milliseconds between two "WATCHDOG=1" that whoever started this process wants to hear; 0: none (WATCHDOG_USEC). */
unsigned slm_notify_every_ms(void);
/* How many listening sockets were handed to this process: descriptors from *first on. */
int slm_notify_sockets(int *first);
#endif
