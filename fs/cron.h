/* SPDX-License-Identifier: MIT */
#pragma once

#include "fs/notify.h"
#include "persist/persist.h"
#include "store/store.h"

/*
 * The daemon's clock: a thread that looks for due save points ten times a
 * second and removes keys at their deadline, a few milliseconds late at most
 * (a tenth of a second if the deadline was set while it slept).
 */
struct cron;

struct cron_options {
	struct store *st; /* all borrowed */
	struct persist *p;
	struct notify *notify; /* is told of each expired key */
};

/* Starts the thread. @ret: set on success; ends with cron_free().
 * Return: 0; -errno. */
MUST_CHECK int cron_new(const struct cron_options *opt, struct cron **ret);

/* Ends the thread. NULL is allowed. */
void cron_free(struct cron *c);
