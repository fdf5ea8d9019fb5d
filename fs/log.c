/* SPDX-License-Identifier: MIT */
/*
 * A line is built in one buffer and leaves by one write(2), so that lines of
 * several threads never mix, and so that nothing here needs a lock: a thread
 * that logs can neither wait for another one nor deadlock with it.
 *
 * File and key names are what strangers make of them. What they could do to a
 * terminal or to a log that is read line by line, control characters, is
 * printed as \xNN; other bytes are left alone, so UTF-8 stays legible.
 */
#include "fs/log.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <strings.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

enum {
	TEXT_MAX = 2048,		    /* longer messages are cut */
	LINE_MAX_BYTES = 64 + 4 * TEXT_MAX, /* prefix, all of it escaped */
};

static _Atomic int to_syslog;
static _Atomic int plain;
static _Atomic int max_level = LOG_LV_INFO;

/* How a level is called in a line, by syslog, and by Redis' loglevel. */
static const struct {
	const char *word;
	int priority;
	const char *redis; /* NULL: cannot be chosen as the limit */
} levels[] = {
	[LOG_LV_ERROR] = { "error", LOG_ERR, NULL },
	[LOG_LV_WARNING] = { "warning", LOG_WARNING, "warning" },
	[LOG_LV_INFO] = { "info", LOG_INFO, "notice" },
	[LOG_LV_VERBOSE] = { "verbose", LOG_DEBUG, "verbose" },
	[LOG_LV_DEBUG] = { "debug", LOG_DEBUG, "debug" },
};

void log_to_syslog(int on)
{
	if (on && !atomic_load(&to_syslog))
		openlog("keyfs", LOG_PID | LOG_NDELAY, LOG_DAEMON);
	if (!on && atomic_load(&to_syslog))
		closelog();
	atomic_store(&to_syslog, on);
}

void log_set_plain(int on)
{
	atomic_store(&plain, on);
}

void log_set_level(enum log_level level)
{
	atomic_store_explicit(&max_level, (int)level, memory_order_relaxed);
}

enum log_level log_get_level(void)
{
	return (enum log_level)atomic_load_explicit(&max_level,
						    memory_order_relaxed);
}

int log_level_parse(struct span word, enum log_level *ret)
{
	for (size_t i = 0; i < ARRAY_LEN(levels); i++) {
		const char *name = levels[i].redis;

		if (name && strlen(name) == word.len &&
		    strncasecmp(name, word.ptr, word.len) == 0) {
			*ret = (enum log_level)i;
			return 0;
		}
	}
	return -EINVAL;
}

const char *log_level_name(enum log_level level)
{
	/* Errors cannot be switched off: the nearest word that can be said. */
	return levels[level].redis ? levels[level].redis : "warning";
}

/* `2026-01-31 12:34:56.789 warning: `, or `keyfs: `. Return: its length. */
static size_t put_prefix(enum log_level level, char *line, size_t size)
{
	struct timespec now;
	struct tm tm;
	size_t n;
	int r;

	if (atomic_load(&plain)) {
		r = snprintf(line, size, "keyfs: %s",
			     level <= LOG_LV_WARNING ? levels[level].word : "");
		n = (size_t)r;
		if (level <= LOG_LV_WARNING)
			n += (size_t)snprintf(line + n, size - n, ": ");
		return n;
	}
	clock_gettime(CLOCK_REALTIME, &now);
	localtime_r(&now.tv_sec, &tm);
	n = strftime(line, size, "%Y-%m-%d %H:%M:%S", &tm);
	r = snprintf(line + n, size - n,
		     ".%03d %s: ", (int)(now.tv_nsec / 1000000),
		     levels[level].word);
	return n + (size_t)r;
}

/* Copies @text with its control characters escaped. Return: the length. */
static size_t put_escaped(const char *text, char *line)
{
	static const char hex[] = "0123456789abcdef";
	size_t n = 0;

	for (const char *p = text; *p; p++) {
		unsigned char c = (unsigned char)*p;

		if (c >= 0x20 && c != 0x7f) {
			line[n++] = *p;
			continue;
		}
		line[n++] = '\\';
		line[n++] = 'x';
		line[n++] = hex[c >> 4];
		line[n++] = hex[c & 15];
	}
	return n;
}

void log_msg(enum log_level level, const char *fmt, ...)
{
	char text[TEXT_MAX], line[LINE_MAX_BYTES];
	int saved_errno = errno;
	ssize_t ignored;
	va_list ap;
	size_t n;

	if (level > log_get_level() && level > LOG_LV_WARNING)
		return;
	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);

	if (atomic_load(&to_syslog)) {
		n = put_escaped(text, line);
		line[n] = '\0';
		syslog(levels[level].priority, "%s", line);
	} else {
		n = put_prefix(level, line, sizeof(line));
		n += put_escaped(text, line + n);
		line[n++] = '\n';
		/* There is nobody left to tell if that fails. */
		ignored = write(STDERR_FILENO, line, n);
		(void)ignored;
	}
	errno = saved_errno;
}
