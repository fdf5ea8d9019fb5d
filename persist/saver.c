/* SPDX-License-Identifier: MIT */

/*
 * The thread that saves: takes what is wanted, cuts, writes, replaces the dump,
 * and turns the end into status, refusals and answers.
 *
 * It holds no lock while it writes, calls back or tells. `running` ends with
 * the status complete but before those who waited are told, so what they read
 * then is the end of their save; and they are told before the next one starts,
 * so each is told once, by the thread that persist_close() joins.
 */

#include "persist/saver.h"

#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "persist/rdb_save.h"

enum {
	/* liblzf's table takes 256 KiB of it, whatever ulimit -s says. */
	SAVER_STACK = 2 << 20,
	/* A save has time; who waits for a request has not. With more work than
	 * processors this halves the time that the slowest requests take. */
	SAVER_NICE = 10,
	EVENT_MAX = 256,
};

void saver_tell(const struct persist *p, enum persist_level level,
		const char *fmt, ...)
{
	char text[EVENT_MAX];
	va_list ap;

	if (!p->event)
		return;
	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	p->event(p->arg, level, text);
}

/* --- one save --------------------------------------------------------- */

/* What a save found out, on its way to the status. */
struct outcome {
	int result;
	char error[sizeof(((struct persist_status *)0)->last_error)];
	struct rdb_save_stats stats;
	uint64_t cut_changes;
	int64_t start_ms, end_ms;
	uint64_t view_bytes;
	struct view *cut; /* taken by the request, or NULL */
};

void saver_note_view_bytes_locked(struct persist *p)
{
	struct store_stats s;

	store_get_stats(p->st, &s);
	p->view_bytes = MAX(p->view_bytes, s.view_bytes);
}

static void explain(struct outcome *o, const char *doing)
{
	char buf[96];

	if (o->result == -ENOBUFS)
		(void)snprintf(o->error, sizeof(o->error),
			       "snapshot gave up: changes since the cut pinned "
			       "more than snapshot-memory-limit");
	else if (o->result == -ECANCELED)
		(void)snprintf(o->error, sizeof(o->error),
			       "snapshot was cancelled");
	else
		(void)snprintf(o->error, sizeof(o->error), "%s while %s",
			       strerror_r(-o->result, buf, sizeof(buf)), doing);
}

static void show_view(struct persist *p, struct view *v)
{
	uint64_t total = 0, n_keys, n_expires;

	for (uint32_t db = 0; db < view_n_dbs(v); db++) {
		view_db_size(v, db, &n_keys, &n_expires);
		total += n_keys;
	}
	HOLD(&p->lock);
	p->view = v;
	p->view_bytes = 0;
	p->status.current_total = total;
}

static void hide_view(struct persist *p, struct outcome *o)
{
	HOLD(&p->lock);
	saver_note_view_bytes_locked(p);
	o->view_bytes = p->view_bytes;
	p->view = NULL;
}

static int publish(struct persist *p, struct rdb_save *s)
{
	int r;

	HOLD(&p->dump_lock);
	r = rdb_save_publish(s, p->dbfilename);
	if (r == 0)
		atomic_fetch_add(&p->serial, 1);
	return r;
}

static int save_view(struct persist *p, struct rdb_save *s, struct view *v,
		     struct outcome *o)
{
	struct store_stats stats;
	struct rdb_save_options opt = {
		.incremental_sync = p->incremental_sync,
	};
	int r;

	store_get_stats(p->st, &stats);
	opt.used_memory = stats.used_bytes;
	pthread_mutex_lock(&p->lock);
	opt.compress = p->compress;
	opt.checksum = p->checksum;
	pthread_mutex_unlock(&p->lock);

	show_view(p, v);
	o->cut_changes = view_changes(v);
	r = rdb_save_prepare(s, v, &p->extras, &opt, &o->stats);
	hide_view(p, o);
	view_end(v);
	if (r == 0)
		r = publish(p, s);
	if (r == 0)
		r = rdb_save_settle(s);
	return r;
}

static void save_once(struct persist *p, bool load_failed, struct outcome *o)
{
	struct rdb_save s = { .io = p->io, .dirfd = p->dirfd };
	struct view *v = o->cut;

	if (load_failed) {
		o->result = -EIO;
		(void)snprintf(o->error, sizeof(o->error),
			       "the dump that is there could not be loaded and "
			       "is not overwritten");
		return;
	}
	s.doing = "taking a snapshot";
	if (!v)
		o->result = view_begin(p->st, NULL, NULL, &v);
	if (o->result == 0)
		o->result = save_view(p, &s, v, o);
	if (o->result < 0)
		explain(o, s.doing);
}

/* --- what a save means ------------------------------------------------ */

/* What growth is refused with after a failed save; errors that do not say
 * something about the disk that a writer can understand are EIO. */
static int growth_error_of(int result)
{
	if (result == -ENOSPC || result == -EDQUOT || result == -EROFS)
		return -result;
	return EIO;
}

void saver_apply_growth_error_locked(struct persist *p)
{
	int err = 0;

	if (p->stop_writes && p->n_points > 0 && p->status.last_result < 0)
		err = growth_error_of(p->status.last_result);
	if (err == p->growth_error)
		return;
	p->growth_error = err;
	store_set_growth_error(p->st, err);
}

static void note_outcome_locked(struct persist *p, const struct outcome *o)
{
	struct persist_status *s = &p->status;

	s->last_result = o->result;
	memcpy(s->last_error, o->error, sizeof(s->last_error));
	s->last_end_ms = o->end_ms;
	s->last_duration_ms = MAX(o->end_ms - o->start_ms, INT64_C(0));
	s->last_view_bytes = o->view_bytes;
	s->current_start_ms = 0;
	s->current_total = 0;
	if (o->result == 0) {
		s->last_save_s = o->end_ms / 1000;
		s->last_keys = o->stats.keys;
		s->last_bytes = o->stats.bytes;
		s->n_saves++;
		p->saved_changes = o->cut_changes;
		p->since_ms = o->end_ms;
	}
	saver_apply_growth_error_locked(p);
}

static void tell_outcome(const struct persist *p, const struct outcome *o)
{
	if (o->result < 0)
		saver_tell(p, PERSIST_ERROR, "save failed: %s", o->error);
	else
		saver_tell(p, PERSIST_INFO,
			   "saved %" PRIu64 " keys, %.1f MB in %.3f s",
			   o->stats.keys, (double)o->stats.bytes / 1e6,
			   (double)(o->end_ms - o->start_ms) / 1e3);
}

/* Waiters were put in front; they are told in the order in which they came. */
static void finish_waiters(struct waiter *w, int result)
{
	struct waiter *next, *ordered = NULL;

	for (; w; w = next) {
		next = w->next;
		w->next = ordered;
		ordered = w;
	}
	for (w = ordered; w; w = next) {
		next = w->next;
		w->done(w->arg, result);
		free(w);
	}
}

/* --- the saver -------------------------------------------------------- */

void saver_note_start_locked(struct persist *p, struct waiter *waiters)
{
	p->running = true;
	p->now = waiters;
	p->try_ms = p->status.current_start_ms = p->now_ms();
}

/* Waits for work. Return: false if there is none and there will be none. */
static bool next_save(struct persist *p, struct outcome *o, bool *ret_refuse)
{
	HOLD(&p->lock);
	while (!p->cut && !p->quit && (!p->wanted || p->digesting))
		pthread_cond_wait(&p->wake, &p->lock);
	if (!p->cut) {
		if (!p->wanted)
			return false;
		p->wanted = false;
		saver_note_start_locked(p, p->next);
		p->next = NULL;
	}
	o->cut = p->cut;
	p->cut = NULL;
	o->start_ms = p->status.current_start_ms;
	*ret_refuse = p->load_failed;
	return true;
}

static struct waiter *end_save(struct persist *p, struct outcome *o)
{
	struct waiter *w;

	HOLD(&p->lock);
	o->end_ms = p->now_ms();
	note_outcome_locked(p, o);
	w = p->now;
	p->now = NULL;
	p->running = false;
	pthread_cond_broadcast(&p->idle);
	return w;
}

static void *saver_main(void *arg)
{
	struct persist *p = arg;
	struct waiter *w;
	bool refuse;

	/* Linux keeps it per thread. Just a wish. */
	(void)setpriority(PRIO_PROCESS, (id_t)gettid(), SAVER_NICE);
	for (;;) {
		struct outcome o = { 0 };

		if (!next_save(p, &o, &refuse))
			return NULL;
		saver_tell(p, PERSIST_INFO, "save started");
		save_once(p, refuse, &o);
		w = end_save(p, &o);
		tell_outcome(p, &o);
		finish_waiters(w, o.result);
	}
}

/* Signals are for other threads: this one is in the middle of a write. */
int saver_start(struct persist *p)
{
	sigset_t all, old;
	pthread_attr_t attr;
	int r;

	r = pthread_attr_init(&attr);
	if (r != 0)
		return -r;
	(void)pthread_attr_setstacksize(&attr, SAVER_STACK);
	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &old);
	r = pthread_create(&p->saver, &attr, saver_main, p);
	(void)pthread_sigmask(SIG_SETMASK, &old, NULL);
	(void)pthread_attr_destroy(&attr);
	if (r == 0)
		(void)pthread_setname_np(p->saver, "keyfs-save");
	return -r;
}
