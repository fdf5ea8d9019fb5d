/* SPDX-License-Identifier: MIT */
/*
 * One thread, blocking reads: for one client this is the fastest there is
 * short of spinning. More threads add wake-ups.
 *
 * Waking a blocked read: a signal without SA_RESTART makes it return EINTR.
 * But one that arrives between the look at the exit flag and the read is lost
 * on the read. poll() or ppoll() before each read would close the gap at the
 * price of one more system call per request; instead the one who stops repeats
 * the signal until the loop has acknowledged. That costs nothing while serving.
 */
#define FUSE_USE_VERSION 312
#include "fs/transport.h"

#include <errno.h>
#include <fuse_lowlevel.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

enum {
	KICK_SIGNAL = SIGUSR2,
	KICK_EVERY_MS = 5
};

struct transport {
	struct transport_options opt;
	pthread_t thread; /* the dispatcher; valid while running */
	atomic_bool running;
	atomic_bool stopping;
	_Atomic uint64_t requests; /* relaxed: a figure for people */
};

static void ignore_kick(int sig)
{
	(void)sig; /* its work was to interrupt the read */
}

int transport_new(const struct transport_options *opt, struct transport **ret)
{
	struct sigaction act = { .sa_handler = ignore_kick };
	struct transport *t = calloc(1, sizeof(*t));

	if (!t)
		return -ENOMEM;
	t->opt = *opt;
	if (sigaction(KICK_SIGNAL, &act, NULL) < 0) {
		free(t);
		return -errno;
	}
	*ret = t;
	return 0;
}

void transport_free(struct transport *t)
{
	free(t);
}

static int serve(struct transport *t)
{
	struct fuse_session *se = t->opt.se;
	struct fuse_buf buf = { .mem = NULL };
	bool up = false;
	int r = 0;

	while (!atomic_load(&t->stopping) && !fuse_session_exited(se)) {
		r = fuse_session_receive_buf(se, &buf);
		if (r == -EINTR || r == -EAGAIN)
			continue;
		if (r <= 0) /* 0: unmounted */
			break;
		fuse_session_process_buf(se, &buf);
		atomic_fetch_add_explicit(&t->requests, 1,
					  memory_order_relaxed);
		if (!up)
			up = t->opt.is_up(t->opt.arg);
	}
	free(buf.mem);
	return r == -EINTR || r == -EAGAIN ? 0 : MIN(r, 0);
}

int transport_run(struct transport *t)
{
	sigset_t kick;
	int r;

	(void)sigemptyset(&kick);
	(void)sigaddset(&kick, KICK_SIGNAL);
	(void)pthread_sigmask(SIG_UNBLOCK, &kick, NULL);
	t->thread = pthread_self();
	atomic_store(&t->running, true); /* publishes thread */
	r = serve(t);
	atomic_store(&t->running, false);
	return r;
}

void transport_stop(struct transport *t)
{
	const struct timespec pause = { .tv_nsec = KICK_EVERY_MS * 1000000L };

	/* Either run() sees this before it first reads, or we see that it is
	 * running: both are sequentially consistent. */
	atomic_store(&t->stopping, true);
	while (atomic_load(&t->running)) {
		(void)pthread_kill(t->thread, KICK_SIGNAL);
		(void)nanosleep(&pause, NULL);
	}
}

uint64_t transport_requests(const struct transport *t)
{
	return atomic_load_explicit(&t->requests, memory_order_relaxed);
}

const char *transport_name(const struct transport *t)
{
	(void)t;
	return "/dev/fuse";
}
