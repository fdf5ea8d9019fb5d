/* SPDX-License-Identifier: MIT */
/*
 * Reads and writes of control files, and what they start.
 *
 * What takes time is a pending operation: it is linked to its ctl_op until
 * either the work is done or the caller was interrupted, and whoever unlinks
 * it, under the lock, is the one who calls done(), after giving the lock back.
 * So done() comes exactly once, and the work may outlive the operation.
 *
 * A save calls back when it ends, perhaps after ctl_free(): its pending holds a
 * reference to the whole.
 *
 * The digest is computed by one job for all who wait. Each waiter knows how
 * many changes there had been when it came; a pass serves those that came
 * before its cut, which the count taken just before tells; the rest wait for
 * the next pass. A result is good for as long as the count stays.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fs/ctl_impl.h"

/* --- pending operations -------------------------------------------------- */

/* The mark in ctl_op.job of an interrupt that came before the operation. */
static const char interrupted;

/* Caller holds lock. Return: the operation that is now the caller's to
 * complete; NULL if somebody else has. */
static struct ctl_op *unlink_locked(struct ctl_pending *p)
{
	struct ctl_op *op = p->op;

	if (!op)
		return NULL;
	if (p->prev)
		p->prev->next = p->next;
	else
		p->c->pending = p->next;
	if (p->next)
		p->next->prev = p->prev;
	p->op = NULL;
	op->job = NULL;
	/* The kernel has the text that was written in its page. */
	if (p->written)
		p->written->written = true;
	return op;
}

void ctl_op_end(struct ctl *c, struct ctl_op *op, struct ctl_node *written,
		ssize_t result, const void *data)
{
	if (written) {
		pthread_mutex_lock(&c->lock);
		written->written = true;
		pthread_mutex_unlock(&c->lock);
	}
	op->done(op, result, data);
}

void *ctl_pending_new(struct ctl *c, struct ctl_op *op, size_t size,
		      struct ctl_node *written)
{
	struct ctl_pending *p = calloc(1, size);
	int r = p ? 0 : -ENOMEM;

	pthread_mutex_lock(&c->lock);
	if (op->job == (void *)&interrupted || c->ending)
		r = -EINTR;
	if (!r) {
		p->c = c;
		p->op = op;
		p->written = written;
		p->next = c->pending;
		if (p->next)
			p->next->prev = p;
		c->pending = p;
		op->job = p;
		if (written)
			written->written = true;
		atomic_fetch_add(&c->refs, 1);
	}
	pthread_mutex_unlock(&c->lock);
	if (r < 0) {
		free(p);
		ctl_op_end(c, op, written, r, NULL);
		return NULL;
	}
	return p;
}

void ctl_pending_end(struct ctl_pending *p, ssize_t result, const void *data)
{
	struct ctl *c = p->c;
	struct ctl_op *op;

	pthread_mutex_lock(&c->lock);
	op = unlink_locked(p);
	pthread_mutex_unlock(&c->lock);
	if (op)
		op->done(op, result, data);
	free(p);
	ctl_unref(c);
}

void ctl_interrupt(struct ctl *c, struct ctl_op *op)
{
	struct ctl_op *mine = NULL;

	pthread_mutex_lock(&c->lock);
	if (!op->job)
		op->job = (void *)&interrupted;
	else if (op->job != (void *)&interrupted)
		mine = unlink_locked(op->job);
	pthread_mutex_unlock(&c->lock);
	if (mine)
		mine->done(mine, -EINTR, NULL);
}

static struct ctl_pending *pending_of(struct job *job)
{
	return (void *)((char *)job - offsetof(struct ctl_pending, job));
}

/* --- the digest ---------------------------------------------------------- */

struct ctl_waiter {
	struct ctl_pending p; /* first: see ctl_impl.h */
	uint64_t changes;     /* when it came */
	uint64_t off;
	size_t len;
	struct ctl_waiter *next;
};

static struct ctl_node *digest_node(struct ctl *c)
{
	struct ctl_node *n = c->nodes;

	while (n->kind != CTL_DIGEST)
		n++;
	return n;
}

/* A range of a text, as a read wants it. */
static ssize_t slice(const struct ctl_text *t, uint64_t off, size_t len,
		     const void **ret)
{
	if (off >= t->len)
		return 0;
	*ret = t->bytes + off;
	return (ssize_t)MIN(len, t->len - (size_t)off);
}

static void end_waiters(struct ctl_waiter *w, int r, const struct ctl_text *t)
{
	struct ctl_waiter *next;

	for (; w; w = next) {
		const void *data = NULL;
		ssize_t n = r;

		next = w->next;
		if (!r)
			n = slice(t, w->off, w->len, &data);
		ctl_pending_end(&w->p, n, data);
	}
}

/* Takes off the list those that came with at most so many changes. */
static struct ctl_waiter *take_waiters_locked(struct ctl *c, uint64_t changes)
{
	struct ctl_waiter **at = &c->digest_waiters, *taken = NULL, *w;

	while ((w = *at)) {
		if (w->changes > changes) {
			at = &w->next;
			continue;
		}
		*at = w->next;
		w->next = taken;
		taken = w;
	}
	return taken;
}

/* One pass. Return: true if somebody came too late for it. */
static bool digest_pass(struct ctl *c)
{
	struct ctl_node *n = digest_node(c);
	struct ctl_text *t = NULL, *old = NULL;
	char hex[RDB_DIGEST_HEX + 1];
	struct ctl_waiter *taken;
	struct store_stats st;
	bool more;
	int r;

	store_get_stats(c->src.opt.st, &st); /* before the cut */
	r = persist_digest(c->src.opt.p, hex);
	if (!r) {
		hex[RDB_DIGEST_HEX] = '\n';
		t = ctl_text_new(hex, sizeof(hex));
		r = t ? 0 : -ENOMEM;
	}
	pthread_mutex_lock(&c->lock);
	if (t) {
		old = n->text;
		n->text = t;
		n->text_changes = st.changes;
		atomic_fetch_add(&t->refs, 1); /* ours, for end_waiters() */
	}
	taken = take_waiters_locked(c, c->ending ? UINT64_MAX : st.changes);
	more = c->digest_waiters != NULL;
	c->digest_running = more;
	pthread_mutex_unlock(&c->lock);
	end_waiters(taken, r, t);
	ctl_text_unref(t);
	ctl_text_unref(old);
	return more;
}

static void run_digest(struct job *job, bool cancelled)
{
	struct ctl *c =
		(void *)((char *)job - offsetof(struct ctl, digest_job));
	struct ctl_waiter *taken;

	if (!cancelled) {
		while (digest_pass(c))
			;
		return;
	}
	pthread_mutex_lock(&c->lock);
	taken = take_waiters_locked(c, UINT64_MAX);
	c->digest_running = false;
	pthread_mutex_unlock(&c->lock);
	end_waiters(taken, -EINTR, NULL);
}

/* The last result, if it is still true. */
static struct ctl_text *digest_known(struct ctl *c, struct ctl_node *n,
				     uint64_t changes)
{
	struct ctl_text *t = NULL;

	pthread_mutex_lock(&c->lock);
	if (n->text && n->text_changes == changes) {
		t = n->text;
		atomic_fetch_add(&t->refs, 1);
	}
	pthread_mutex_unlock(&c->lock);
	return t;
}

static void start_digest(struct ctl *c, struct ctl_waiter *w)
{
	struct ctl_waiter *taken = NULL;
	bool start;
	int r = 0;

	pthread_mutex_lock(&c->lock);
	w->next = c->digest_waiters;
	c->digest_waiters = w;
	start = !c->digest_running;
	c->digest_running = true;
	pthread_mutex_unlock(&c->lock);
	if (!start)
		return;
	c->digest_job.run = run_digest;
	r = job_submit(c->jobs, &c->digest_job);
	if (r < 0) {
		pthread_mutex_lock(&c->lock);
		taken = take_waiters_locked(c, UINT64_MAX);
		c->digest_running = false;
		pthread_mutex_unlock(&c->lock);
		end_waiters(taken, r, NULL);
	}
}

static void read_digest(struct ctl *c, struct ctl_node *n, uint64_t off,
			size_t len, struct ctl_op *op)
{
	struct ctl_text *known;
	struct ctl_waiter *w;
	struct store_stats st;

	if (off > RDB_DIGEST_HEX) {
		ctl_op_end(c, op, NULL, 0, NULL);
		return;
	}
	store_get_stats(c->src.opt.st, &st);
	known = digest_known(c, n, st.changes);
	if (known) {
		const void *data = NULL;
		ssize_t r = slice(known, off, len, &data);

		ctl_op_end(c, op, NULL, r, data);
		ctl_text_unref(known);
		return;
	}
	w = ctl_pending_new(c, op, sizeof(*w), NULL);
	if (!w)
		return;
	w->changes = st.changes;
	w->off = off;
	w->len = len;
	start_digest(c, w);
}

/* --- reading ------------------------------------------------------------- */

void ctl_read(struct ctl *c, uint64_t ino, uint64_t off, size_t len,
	      struct ctl_op *op)
{
	struct ctl_node *n = ctl_node_of(c, ino);
	const void *data = NULL;
	struct ctl_text *t;
	ssize_t r;

	if (ctl_is_immutable(c, ino)) {
		ctl_dump_read(c, ino, off, len, op);
		return;
	}
	if (!n || n->kind == CTL_CONFIG) {
		r = n || ino == CTL_ROOT_INO ? -EISDIR : -ESTALE;
		ctl_op_end(c, op, NULL, r, NULL);
		return;
	}
	if (n->kind == CTL_DIGEST) {
		read_digest(c, n, off, len, op);
		return;
	}
	t = ctl_node_text(c, n);
	r = t ? slice(t, off, len, &data) : -ENOMEM;
	ctl_op_end(c, op, NULL, r, data);
	ctl_text_unref(t);
}

/* --- writing ------------------------------------------------------------- */

/* A write that waits for a save; the length is what it answers then. */
struct save_write {
	struct ctl_pending p; /* first: see ctl_impl.h */
	size_t len;
};

static void save_done(void *arg, int result)
{
	struct save_write *w = arg;

	ctl_pending_end(&w->p, result ? result : (ssize_t)w->len, NULL);
}

static void write_save(struct ctl *c, struct ctl_node *n, size_t len,
		       struct ctl_op *op)
{
	struct save_write *w = ctl_pending_new(c, op, sizeof(*w), n);
	int r;

	if (!w)
		return;
	w->len = len;
	r = persist_save(c->src.opt.p, save_done, w);
	if (r < 0)
		ctl_pending_end(&w->p, r, NULL);
}

static void write_bgsave(struct ctl *c, struct ctl_node *n, size_t len,
			 struct ctl_op *op)
{
	int r = persist_bgsave(c->src.opt.p, NULL, NULL);

	ctl_op_end(c, op, n, r < 0 ? r : (ssize_t)len, NULL);
}

struct conf_write {
	struct ctl_pending p; /* first: see ctl_impl.h */
	int directive;
	size_t len;
	char text[];
};

static void run_conf_write(struct job *job, bool cancelled)
{
	struct conf_write *w = (struct conf_write *)pending_of(job);
	struct ctl_options *o = &w->p.c->src.opt;
	int r = -EINTR;

	if (!cancelled)
		r = conf_set(o->conf, w->directive, span_of(w->text, w->len),
			     o->apply, o->arg);
	ctl_pending_end(&w->p, r ? r : (ssize_t)w->len, NULL);
}

static void write_directive(struct ctl *c, struct ctl_node *n, const void *data,
			    size_t len, struct ctl_op *op)
{
	struct conf_write *w;
	int r = 0;

	/* What is refused anyway needs no thread. */
	if (!conf_is_mutable(n->directive))
		r = -EPERM;
	else if (len > CONF_VALUE_MAX)
		r = -EINVAL;
	if (r < 0) {
		ctl_op_end(c, op, n, r, NULL);
		return;
	}
	w = ctl_pending_new(c, op, sizeof(*w) + len, n);
	if (!w)
		return;
	w->directive = n->directive;
	w->len = len;
	memcpy(w->text, data, len);
	w->p.job.run = run_conf_write;
	r = job_submit(c->jobs, &w->p.job);
	if (r < 0)
		ctl_pending_end(&w->p, r, NULL);
}

void ctl_write(struct ctl *c, uint64_t ino, const void *data, size_t len,
	       struct ctl_op *op)
{
	struct ctl_node *n = ctl_node_of(c, ino);

	if (n && n->kind == CTL_DIRECTIVE)
		write_directive(c, n, data, len, op);
	else if (n && n->file->action == CTL_SAVE)
		write_save(c, n, len, op);
	else if (n && n->file->action == CTL_BGSAVE)
		write_bgsave(c, n, len, op);
	else /* root passes the permission bits */
		ctl_op_end(c, op, NULL, -EPERM, NULL);
}

/* --- the end ------------------------------------------------------------- */

void ctl_free(struct ctl *c)
{
	struct ctl_op *op;

	if (!c)
		return;
	for (;;) {
		pthread_mutex_lock(&c->lock);
		c->ending = true;
		op = c->pending ? unlink_locked(c->pending) : NULL;
		pthread_mutex_unlock(&c->lock);
		if (!op)
			break;
		op->done(op, -EINTR, NULL);
	}
	job_pool_free(c->jobs);
	ctl_unref(c);
}
