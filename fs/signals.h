/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>

#include "store/defs.h"

/*
 * Signals of the daemon, all taken by one thread, so that what they cause runs
 * as ordinary code:
 *
 *	SIGTERM, SIGINT	while starting: end at once, as without a handler (no
 *			file has been changed yet); while serving: stop();
 *			later and repeated ones: nothing, so that no final save
 *			is cut short
 *	SIGUSR1		save()
 *	SIGHUP, SIGPIPE	nothing
 */
struct signals;

struct signals_options {
	void (*die)(void *arg); /* called before an end while starting */
	void (*stop)(void *arg, int sig); /* called at most once */
	void (*save)(void *arg);
	void *arg;
};

/**
 * signals_new() - block the signals and start the thread that takes them
 * To be called before other threads are made: they inherit what is blocked.
 * @ret: set on success; ends with signals_free()
 * Return: 0; -errno.
 */
MUST_CHECK int signals_new(const struct signals_options *opt,
			   struct signals **ret);

/* From here on the process ends by stop() alone. */
void signals_serving(struct signals *s);

/* Waits for a callback that is running and ends the thread. The signals stay
 * blocked. NULL is allowed. */
void signals_free(struct signals *s);
