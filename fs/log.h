/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdarg.h>
#include <stddef.h>

#include "store/defs.h"
#include "store/span.h"

/*
 * The only logger. One line a message: `area: text, key=value`. To stderr in
 * the foreground and until the daemon detaches; then to syslog (LOG_DAEMON).
 * Process-wide state: main.c is its only owner.
 *
 * Levels are Redis' loglevel words in brackets: error and warning are always
 * on; info is `notice`, verbose is `verbose`, debug is `debug`.
 *
 * Thread-safety: log_msg() from any thread; the others from main.c, or, for
 * log_set_level(), from any thread.
 */
enum log_level {
	LOG_LV_ERROR,
	LOG_LV_WARNING,
	LOG_LV_INFO,
	LOG_LV_VERBOSE,
	LOG_LV_DEBUG
};

/* Whether messages go to syslog from now on (else to stderr). */
void log_to_syslog(int on);

/* What lines on stderr start with: time and level (the default, for -f), or,
 * while a command that will detach still talks to its user, `keyfs: `. */
void log_set_plain(int on);

void log_set_level(enum log_level level);
enum log_level log_get_level(void);

/* Redis' loglevel word ("debug", "verbose", "notice", "warning") to a level
 * and back. Return: 0; -EINVAL. */
MUST_CHECK int log_level_parse(struct span word, enum log_level *ret);
const char *log_level_name(enum log_level level);

/* Logs one line. @fmt without a final newline. Control characters that came in
 * with names are printed as \xNN. */
void log_msg(enum log_level level, const char *fmt, ...) PRINTF_LIKE(2, 3);
