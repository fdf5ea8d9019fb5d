/* SPDX-License-Identifier: MIT */
/*
 * Deadlines are on the wall clock, which can jump; sleeping is on the monotonic
 * one and never longer than a tick, so a jump is noticed within a tick.
 *
 * Expiry goes in small batches, since the store is locked during one, and
 * pauses while the kernel has not been told of the earlier ones: a million keys
 * that expire at once must not become a million queued names.
 */
#include "fs/cron.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

enum {
	TICK_MS = 100,
	EXPIRE_BATCH = 128,
	BUSY_MS = 1, /* pause for the notifier; and the shortest sleep */
};

struct cron {
	struct cron_options opt;
	pthread_t thread;
	pthread_mutex_t lock; /* of stopping */
	pthread_cond_t wake;  /* on the monotonic clock */
	bool stopping;
};

static int64_t clock_ms(clockid_t clock)
{
	struct timespec ts;

	(void)clock_gettime(clock, &ts);
	return ts.tv_sec * INT64_C(1000) + ts.tv_nsec / 1000000;
}

static void on_expired(void *arg, uint64_t parent, uint64_t ino,
		       struct span name)
{
	notify_removed(arg, parent, ino, name);
}

/* Return: milliseconds until it should be called again. */
static int64_t expire(struct cron *c)
{
	int64_t next_ms = 0;
	int n;

	do {
		if (!notify_has_room(c->opt.notify, EXPIRE_BATCH))
			return BUSY_MS;
		n = store_expire(c->opt.st, EXPIRE_BATCH, on_expired,
				 c->opt.notify, &next_ms);
	} while (n == EXPIRE_BATCH);
	if (next_ms == 0)
		return TICK_MS;
	/* One more, so that it has passed for certain when we wake. */
	return MAX(next_ms - clock_ms(CLOCK_REALTIME) + 1, BUSY_MS);
}

/* Return: true if the thread should end. */
static bool sleep_until(struct cron *c, int64_t when_ms)
{
	struct timespec ts = {
		.tv_sec = when_ms / 1000,
		.tv_nsec = when_ms % 1000 * 1000000,
	};
	bool stop;
	int r = 0;

	pthread_mutex_lock(&c->lock);
	while (!c->stopping && r == 0)
		r = pthread_cond_timedwait(&c->wake, &c->lock, &ts);
	stop = c->stopping;
	pthread_mutex_unlock(&c->lock);
	return stop;
}

static void *cron_main(void *arg)
{
	struct cron *c = arg;
	int64_t tick_ms = 0, now_ms, next_ms;

	do {
		now_ms = clock_ms(CLOCK_MONOTONIC);
		if (now_ms >= tick_ms) {
			persist_cron(c->opt.p);
			tick_ms = now_ms + TICK_MS;
		}
		next_ms = now_ms + expire(c);
	} while (!sleep_until(c, MIN(next_ms, tick_ms)));
	return NULL;
}

int cron_new(const struct cron_options *opt, struct cron **ret)
{
	struct cron *c = calloc(1, sizeof(*c));
	pthread_condattr_t attr;
	int r;

	if (!c)
		return -ENOMEM;
	c->opt = *opt;
	pthread_mutex_init(&c->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&c->wake, &attr);
	pthread_condattr_destroy(&attr);
	r = pthread_create(&c->thread, NULL, cron_main, c);
	if (r != 0) {
		pthread_cond_destroy(&c->wake);
		pthread_mutex_destroy(&c->lock);
		free(c);
		return -r;
	}
	*ret = c;
	return 0;
}

void cron_free(struct cron *c)
{
	if (!c)
		return;
	pthread_mutex_lock(&c->lock);
	c->stopping = true;
	pthread_cond_signal(&c->wake);
	pthread_mutex_unlock(&c->lock);
	(void)pthread_join(c->thread, NULL);
	pthread_cond_destroy(&c->wake);
	pthread_mutex_destroy(&c->lock);
	free(c);
}
