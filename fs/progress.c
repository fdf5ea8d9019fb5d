/* SPDX-License-Identifier: MIT */
/*
 * Drawn at most five times a second, and not before a fifth of a second has
 * passed: a small dump loads without a flicker. The time left is what the bytes
 * still to come take at the average speed so far; it is not shown during the
 * first second, when that average means little.
 */
#include "fs/progress.h"

#include <inttypes.h>
#include <time.h>
#include <unistd.h>

enum {
	REDRAW_MS = 200,
	ETA_AFTER_MS = 1000,
	MB = 1000 * 1000
};

static int64_t monotonic_ms(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * INT64_C(1000) + ts.tv_nsec / 1000000;
}

void progress_init(struct progress *p, FILE *out)
{
	int64_t now = monotonic_ms();

	*p = (struct progress){
		.out = isatty(fileno(out)) ? out : NULL,
		.start_ms = now,
		.drawn_ms = now,
	};
}

void progress_format(char *line, uint64_t keys, uint64_t bytes,
		     uint64_t total_bytes, int64_t elapsed_ms)
{
	double part = total_bytes ? (double)bytes / (double)total_bytes : 1;
	char eta[32] = "";
	int64_t left_s;

	if (part > 1) /* the file grew under our hands */
		part = 1;
	if (elapsed_ms >= ETA_AFTER_MS && part > 0) {
		left_s = (int64_t)((double)elapsed_ms * (1 - part) / part /
					   1000 +
				   0.5);
		(void)snprintf(eta, sizeof(eta), ", %" PRId64 ":%02d left",
			       left_s / 60, (int)(left_s % 60));
	}
	(void)snprintf(line, PROGRESS_LINE_MAX,
		       "keyfs: loading %3d%%, %" PRIu64 " keys, %" PRIu64
		       " of %" PRIu64 " MB%s",
		       (int)(part * 100), keys, bytes / MB, total_bytes / MB,
		       eta);
}

void progress_update(void *arg, uint64_t keys, uint64_t bytes,
		     uint64_t total_bytes)
{
	struct progress *p = arg;
	char line[PROGRESS_LINE_MAX];
	int64_t now;

	if (!p->out)
		return;
	now = monotonic_ms();
	if (now - p->drawn_ms < REDRAW_MS)
		return;
	p->drawn_ms = now;
	p->drawn = true;
	progress_format(line, keys, bytes, total_bytes, now - p->start_ms);
	(void)fprintf(p->out, "\r%s\033[K", line); /* ^[[K: clear the rest */
	(void)fflush(p->out);
}

void progress_end(struct progress *p)
{
	if (!p->out || !p->drawn)
		return;
	(void)fputs("\r\033[K", p->out);
	(void)fflush(p->out);
	p->drawn = false;
}
