/* SPDX-License-Identifier: MIT */
/*
 * The phase decides what a SIGTERM means, and it is changed by two threads: the
 * main thread goes from STARTING to SERVING before it mounts, the signal thread
 * from STARTING to DYING before it ends the process. Who loses the exchange
 * obeys: main waits to be ended, the thread calls stop().
 */
#include "fs/signals.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

enum phase {
	PHASE_STARTING,
	PHASE_DYING,
	PHASE_SERVING,
	PHASE_STOPPED
};

struct signals {
	struct signals_options opt;
	sigset_t set;
	pthread_t thread;
	atomic_int phase;
	atomic_bool closing;
};

/* Ends the process in the way the signal would have ended it. */
static void die_of(int sig)
{
	sigset_t only;

	(void)signal(sig, SIG_DFL);
	(void)sigemptyset(&only);
	(void)sigaddset(&only, sig);
	(void)pthread_sigmask(SIG_UNBLOCK, &only, NULL);
	(void)pthread_kill(pthread_self(), sig);
}

static void end(struct signals *s, int sig)
{
	int phase = PHASE_STARTING;

	if (atomic_compare_exchange_strong(&s->phase, &phase, PHASE_DYING)) {
		s->opt.die(s->opt.arg);
		die_of(sig);
	} else if (phase == PHASE_SERVING) {
		atomic_store(&s->phase, PHASE_STOPPED);
		s->opt.stop(s->opt.arg, sig);
	}
}

static void *signals_main(void *arg)
{
	struct signals *s = arg;
	int sig;

	for (;;) {
		if (sigwait(&s->set, &sig) != 0)
			continue;
		if (atomic_load(&s->closing))
			return NULL;
		if (sig == SIGTERM || sig == SIGINT)
			end(s, sig);
		else if (sig == SIGUSR1 &&
			 atomic_load(&s->phase) == PHASE_SERVING)
			s->opt.save(s->opt.arg);
	}
}

int signals_new(const struct signals_options *opt, struct signals **ret)
{
	static const int taken[] = { SIGTERM, SIGINT, SIGHUP, SIGUSR1 };
	struct signals *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return -ENOMEM;
	s->opt = *opt;
	(void)sigemptyset(&s->set);
	for (size_t i = 0; i < ARRAY_LEN(taken); i++)
		(void)sigaddset(&s->set, taken[i]);
	(void)pthread_sigmask(SIG_BLOCK, &s->set, NULL);
	(void)signal(SIGPIPE, SIG_IGN);
	r = pthread_create(&s->thread, NULL, signals_main, s);
	if (r != 0) {
		free(s);
		return -r;
	}
	*ret = s;
	return 0;
}

void signals_serving(struct signals *s)
{
	int phase = PHASE_STARTING;

	if (!atomic_compare_exchange_strong(&s->phase, &phase, PHASE_SERVING))
		for (;;)
			(void)pause(); /* the process is about to end */
}

void signals_free(struct signals *s)
{
	if (!s)
		return;
	atomic_store(&s->closing, true);
	(void)pthread_kill(s->thread, SIGHUP); /* wakes sigwait() */
	(void)pthread_join(s->thread, NULL);
	free(s);
}
