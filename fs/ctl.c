/* SPDX-License-Identifier: MIT */
/*
 * The tree of control files: names, attributes and renderings.
 *
 * How a reader gets one version (C2). The kernel runs without OPEN, so it keeps
 * pages by inode and asks for attributes at each read, since theirs never last;
 * when it sees another size or mtime it drops the pages. So a text is made at
 * getattr, kept, and served from there, and its mtime changes when the text
 * does. Text that changes all the time would give a reader the head of
 * one version and the tail of the next: it is made at most every 100 ms, fits
 * one READ and keeps one size, so it is read in one piece.
 *
 * Padding is one comment line at the end, which every reader of INFO skips. The
 * size is a high-water mark in steps: it settles at once and then stays.
 *
 * A write leaves what was written in the kernel's page, where `1` covers the
 * head of `idle`. So each write moves the mtime, twice: when it starts, and
 * when it has ended, for a getattr between them may have used up the first.
 */
#include "fs/ctl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "fs/ctl_impl.h"

enum {
	MOVING_MS = 100,   /* a CTL_MOVING text is made at most so often */
	MOVING_STEP = 256, /* its size is a multiple of this */
	JOB_THREADS = 4,
	DIGEST_SIZE = RDB_DIGEST_HEX + 1, /* and a newline */
};

static int64_t clock_ns(clockid_t id)
{
	struct timespec t;

	clock_gettime(id, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* --- texts -------------------------------------------------------------- */

struct ctl_text *ctl_text_new(const char *bytes, size_t len)
{
	struct ctl_text *t = malloc(sizeof(*t) + len);

	if (!t)
		return NULL;
	atomic_init(&t->refs, 1);
	t->len = len;
	memcpy(t->bytes, bytes, len);
	return t;
}

void ctl_text_unref(struct ctl_text *t)
{
	if (t && atomic_fetch_sub(&t->refs, 1) == 1)
		free(t);
}

void ctl_touch_locked(struct ctl_node *n)
{
	n->mtime_ns = MAX(clock_ns(CLOCK_REALTIME), n->mtime_ns + 1);
}

/* Pads to the size that the text had before, or to a new one with room to grow
 * if it does not fit. */
static void pad_moving(FILE *out, size_t len, size_t before)
{
	const size_t around = strlen("#\r\n");
	size_t size = before;

	if (len + around > size)
		size = (len + 2 * MOVING_STEP - 1) / MOVING_STEP * MOVING_STEP;
	fprintf(out, "#%*s\r\n", (int)(size - len - around), "");
}

/* Makes the text of a node. @before: length of the one it had. */
static struct ctl_text *render(struct ctl *c, const struct ctl_node *n,
			       size_t before)
{
	char value[CONF_VALUE_MAX];
	struct ctl_text *t = NULL;
	char *buf = NULL;
	size_t len = 0;
	FILE *out;

	out = open_memstream(&buf, &len);
	if (!out)
		return NULL;
	if (n->kind == CTL_DIRECTIVE) {
		(void)conf_print(c->src.opt.conf, n->directive, value);
		fprintf(out, "%s\n", value);
	} else {
		n->file->show(&c->src, out);
	}
	if (n->kind == CTL_MOVING && fflush(out) == 0)
		pad_moving(out, len, before);
	/* A memory stream fails for want of memory only. */
	if (!(ferror(out) | fclose(out)))
		t = ctl_text_new(buf, len);
	free(buf);
	return t;
}

/* Makes the text anew if that is due. Without memory the old one stays. */
static void refresh(struct ctl *c, struct ctl_node *n)
{
	int64_t now_ms = clock_ns(CLOCK_MONOTONIC) / 1000000;
	struct ctl_text *t, *old;

	pthread_mutex_lock(&c->render_lock);
	old = n->text; /* render_lock keeps others from replacing it */
	if (old && n->kind == CTL_MOVING && now_ms - n->rendered_ms < MOVING_MS)
		goto out;
	t = render(c, n, old ? old->len : 0);
	if (!t)
		goto out;
	pthread_mutex_lock(&c->lock);
	if (old &&
	    span_eq(span_of(old->bytes, old->len), span_of(t->bytes, t->len))) {
		old = t; /* nothing new: drop it */
	} else {
		n->text = t;
		ctl_touch_locked(n);
	}
	n->rendered_ms = now_ms;
	pthread_mutex_unlock(&c->lock);
	ctl_text_unref(old);
out:
	pthread_mutex_unlock(&c->render_lock);
}

struct ctl_text *ctl_node_text(struct ctl *c, struct ctl_node *n)
{
	struct ctl_text *t;

	for (int tries = 0; tries < 2; tries++) {
		pthread_mutex_lock(&c->lock);
		t = n->text;
		if (t)
			atomic_fetch_add(&t->refs, 1);
		pthread_mutex_unlock(&c->lock);
		if (t)
			return t;
		refresh(c, n);
	}
	return NULL;
}

/* --- attributes --------------------------------------------------------- */

struct ctl_node *ctl_node_of(struct ctl *c, uint64_t ino)
{
	uint64_t i = (ino & ~CTL_INO_BIT) - CTL_NODE_BASE;

	return i < (uint64_t)c->n_nodes ? &c->nodes[i] : NULL;
}

static void dir_attr(struct ctl *c, uint64_t ino, uint32_t nlink,
		     struct store_attr *ret)
{
	int64_t ns = c->src.start_ms * 1000000;

	*ret = (struct store_attr){
		.ino = ino,
		.atime_ns = ns,
		.mtime_ns = ns,
		.ctime_ns = ns,
		.mode = S_IFDIR | 0555,
		.uid = c->src.opt.owner_uid,
		.gid = c->src.opt.owner_gid,
		.nlink = nlink,
		.type = STORE_DIR,
	};
}

/* What the digest was, if it was ever asked for, may be out of date: then the
 * file must look changed, though its size is what it always is. */
static void refresh_digest(struct ctl *c, struct ctl_node *n)
{
	struct store_stats st;

	store_get_stats(c->src.opt.st, &st);
	pthread_mutex_lock(&c->lock);
	if (n->mtime_ns == 0 || n->seen_changes != st.changes)
		ctl_touch_locked(n);
	n->seen_changes = st.changes;
	pthread_mutex_unlock(&c->lock);
}

static int file_attr(struct ctl *c, struct ctl_node *n, struct store_attr *ret)
{
	uint64_t size = DIGEST_SIZE;
	int64_t mtime;

	if (n->kind == CTL_DIGEST)
		refresh_digest(c, n);
	else
		refresh(c, n);
	pthread_mutex_lock(&c->lock);
	if (n->written) {
		ctl_touch_locked(n);
		n->written = false;
	}
	mtime = n->mtime_ns;
	if (n->kind != CTL_DIGEST)
		size = n->text ? n->text->len : 0;
	pthread_mutex_unlock(&c->lock);

	*ret = (struct store_attr){
		.ino = ctl_node_ino(c, n),
		.size = size,
		.blocks = (size + 511) / 512,
		.atime_ns = mtime,
		.mtime_ns = mtime,
		.ctime_ns = mtime,
		.mode = n->mode,
		.uid = c->src.opt.owner_uid,
		.gid = c->src.opt.owner_gid,
		.nlink = 1,
		.type = STORE_FILE,
	};
	return 0;
}

/* @ref: matters to the dump, whose inode lives as long as it is referenced. */
static int node_attr(struct ctl *c, struct ctl_node *n, bool ref,
		     struct store_attr *ret)
{
	switch (n->kind) {
	case CTL_CONFIG:
		dir_attr(c, ctl_node_ino(c, n), 2, ret);
		return 0;
	case CTL_DUMP:
		return ctl_dump_current(c, ref, ret);
	default:
		return file_attr(c, n, ret);
	}
}

int ctl_getattr(struct ctl *c, uint64_t ino, struct store_attr *ret_attr)
{
	struct ctl_node *n;

	if (ino == CTL_ROOT_INO) {
		dir_attr(c, ino, 3, ret_attr);
		return 0;
	}
	if (ctl_is_immutable(c, ino))
		return ctl_dump_attr(c, ino, ret_attr);
	n = ctl_node_of(c, ino);
	return n ? node_attr(c, n, false, ret_attr) : -ESTALE;
}

bool ctl_is_immutable(struct ctl *c, uint64_t ino)
{
	(void)c;
	return (ino & CTL_DUMP_BIT) != 0;
}

/* --- names -------------------------------------------------------------- */

/* The nodes of a directory: the table's, or the directives. */
static int dir_range(struct ctl *c, uint64_t dir, int *ret_first, int *ret_end)
{
	struct ctl_node *n = ctl_node_of(c, dir);

	if (dir == CTL_ROOT_INO) {
		*ret_first = 0;
		*ret_end = ctl_n_files;
		return 0;
	}
	if (!n)
		return ctl_is_immutable(c, dir) ? -ENOTDIR : -ESTALE;
	if (n->kind != CTL_CONFIG)
		return -ENOTDIR;
	*ret_first = ctl_n_files;
	*ret_end = c->n_nodes;
	return 0;
}

/* The attributes of "..": of the mount's root there is just the number. */
static void parent_attr(struct ctl *c, uint64_t dir, struct store_attr *ret)
{
	dir_attr(c, dir == CTL_ROOT_INO ? STORE_ROOT_INO : CTL_ROOT_INO, 3,
		 ret);
}

int ctl_lookup(struct ctl *c, uint64_t dir, struct span name,
	       struct store_attr *ret_attr)
{
	int first, end, r;

	/* By number, for a file handle: of a file as well. A dump that is no
	 * longer referenced is gone, and this would not be a reference. */
	if (span_eq(name, span_str(".")))
		return ctl_is_immutable(c, dir) ? -ESTALE
						: ctl_getattr(c, dir, ret_attr);
	r = dir_range(c, dir, &first, &end);
	if (r < 0)
		return r;
	if (span_eq(name, span_str(".."))) {
		parent_attr(c, dir, ret_attr);
		return 0;
	}
	for (int i = first; i < end; i++)
		if (span_eq(name, span_str(c->nodes[i].name)))
			return node_attr(c, &c->nodes[i], true, ret_attr);
	return -ENOENT;
}

void ctl_forget(struct ctl *c, uint64_t ino, uint64_t n)
{
	if (ctl_is_immutable(c, ino))
		ctl_dump_forget(c, ino, n);
}

int ctl_readdir(struct ctl *c, uint64_t dir, uint64_t cookie,
		store_readdir_fn fn, void *arg)
{
	struct store_attr attr;
	int first, end, r;

	r = dir_range(c, dir, &first, &end);
	if (r < 0)
		return r;
	/* The cookie is how many entries have been passed, "." and ".."
	 * included; what is missing (no dump yet) is passed too. */
	for (; cookie < (uint64_t)(end - first) + 2; cookie++) {
		struct span name;

		r = 0;
		if (cookie == 0) {
			r = ctl_getattr(c, dir, &attr);
			name = span_str(".");
		} else if (cookie == 1) {
			parent_attr(c, dir, &attr);
			name = span_str("..");
		} else {
			struct ctl_node *n = &c->nodes[first + (int)cookie - 2];

			r = node_attr(c, n, false, &attr);
			name = span_str(n->name);
		}
		if (r == 0 && !fn(arg, name, &attr, cookie + 1))
			break;
	}
	return 0;
}

/* --- life --------------------------------------------------------------- */

static void init_nodes(struct ctl *c)
{
	struct ctl_node *n = c->nodes;

	for (int i = 0; i < ctl_n_files; i++, n++) {
		const struct ctl_doc *d = &ctl_files[i].doc;

		n->file = &ctl_files[i];
		n->kind = n->file->kind;
		n->directive = -1;
		n->mode = d->mode | (n->kind == CTL_CONFIG ? S_IFDIR : S_IFREG);
		/* Without the slash that marks a directory in the table. */
		(void)snprintf(n->name, sizeof(n->name), "%.*s",
			       (int)strcspn(d->path, "/"), d->path);
	}
	for (int i = 0; conf_name(i); i++, n++) {
		n->kind = CTL_DIRECTIVE;
		n->directive = i;
		n->mode = S_IFREG | (conf_is_mutable(i) ? 0644 : 0444);
		(void)snprintf(n->name, sizeof(n->name), "%s", conf_name(i));
	}
}

int ctl_new(const struct ctl_options *opt, struct ctl **ret)
{
	struct ctl *c = calloc(1, sizeof(*c));
	int r = -ENOMEM;

	if (!c)
		return -ENOMEM;
	c->src.opt = *opt;
	c->src.start_ms = clock_ns(CLOCK_REALTIME) / 1000000;
	c->n_nodes = ctl_n_files;
	while (conf_name(c->n_nodes - ctl_n_files))
		c->n_nodes++;
	c->nodes = calloc((size_t)c->n_nodes, sizeof(*c->nodes));
	if (c->nodes)
		r = job_pool_new(JOB_THREADS, &c->jobs);
	if (r < 0) {
		free(c->nodes);
		free(c);
		return r;
	}
	init_nodes(c);
	atomic_init(&c->refs, 1);
	pthread_mutex_init(&c->render_lock, NULL);
	pthread_mutex_init(&c->lock, NULL);
	*ret = c;
	return 0;
}

void ctl_unref(struct ctl *c)
{
	if (atomic_fetch_sub(&c->refs, 1) != 1)
		return;
	for (int i = 0; i < c->n_nodes; i++)
		ctl_text_unref(c->nodes[i].text);
	ctl_dumps_free(c);
	pthread_mutex_destroy(&c->render_lock);
	pthread_mutex_destroy(&c->lock);
	free(c->nodes);
	free(c);
}
