/* SPDX-License-Identifier: MIT */

/*
 * Operations are drawn by weight; when there are too many or too few files the
 * draw is bent. Files are picked at random over all, so in a large store nearly
 * each change is the first one of its node in a save, which is the case that
 * costs and that can go wrong.
 *
 * Free names are either new or come from a ring of names that were given up, so
 * a name is reused, by another node, often in the same save. Such a name is
 * free for sure: new names are never drawn twice, and one that is given up is
 * in the ring once.
 *
 * A doomed file is left alone but for operations whose outcome is known either
 * way: to be replaced, to have its name taken, to be moved with a directory. So
 * that it need not be known *when* it is swept, no explicit time is set on its
 * directory: the sweep would reset it.
 */

#include "tests/model/writer.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
	NOISE = 1 << 20,
	SIZE_BIG = 400 * 1000, /* several chunks */
	SIZE_GAP = 70 * 1000,
	FAR_MS = 1 << 30, /* the clock never gets there */
	NEAR_MS = 60,
	BURST = 64, /* operations between two rests */
};

/* --- failure ---------------------------------------------------------- */

static pthread_mutex_t fail_lock = PTHREAD_MUTEX_INITIALIZER;
static void (*fail_fn)(void);

void test_on_fail(void (*fn)(void))
{
	fail_fn = fn;
}

void test_fail(const char *fmt, ...)
{
	va_list ap;

	pthread_mutex_lock(&fail_lock); /* for ever */
	fflush(stdout);
	fputs("FAILED: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	if (fail_fn)
		fail_fn();
	_exit(1);
}

/* --- time ------------------------------------------------------------- */

static _Thread_local int64_t thread_now_ns;

int64_t writer_clock(void)
{
	return thread_now_ns;
}

void writer_set_clock(int64_t now_ns)
{
	thread_now_ns = now_ns;
}

static int64_t clock_ms(const struct writer *w)
{
	return atomic_load(&w->world->clock_ms);
}

/* --- help ------------------------------------------------------------- */

static uint64_t below(struct writer *w, uint64_t n)
{
	return unit_below(&w->rng, n);
}

static struct mnode *node(struct writer *w, uint32_t idx)
{
	return &w->m.t.node[idx];
}

static uint64_t ino_of(struct writer *w, uint32_t idx)
{
	return node(w, idx)->ino;
}

/* A name as the store takes it. */
struct text {
	char buf[MODEL_NAME_MAX];
	struct span s;
};

static void set_text(struct writer *w, uint32_t name, struct text *t)
{
	t->s = span_of(t->buf, mtree_name(&w->m.t, name, t->buf));
}

static void start(struct writer *w)
{
	w->start_ns = latency_now();
}

/* Notes how long a call took; hands its result on. */
static int done(struct writer *w, int r)
{
	bool saving =
		atomic_load_explicit(&w->world->saving, memory_order_relaxed);

	latency_add(&w->latency[saving], latency_now() - w->start_ns);
	w->n_ops++;
	return r;
}

/* The answer of an operation on @idx must be the one expected. */
static void check(struct writer *w, const char *what, uint32_t idx, int want,
		  int got)
{
	char path[MODEL_PATH_MAX];
	size_t len;

	if (got == want)
		return;
	len = mtree_path(&w->m.t, idx, path);
	test_fail("%s of \"%.*s\": wanted %s, found %s", what, (int)len, path,
		  strerror(-want), strerror(-got));
}

static void touch_dir(struct writer *w, uint32_t dir)
{
	node(w, dir)->mtime_ns = w->now_ns;
	node(w, dir)->mtime_set = false;
}

static void touch_file(struct writer *w, uint32_t idx)
{
	touch_dir(w, idx);
}

/* One in ten names is flat. The last quarter of the directories is drawn
 * seldom: they are often empty, and often become so or cease to be. */
static uint32_t any_dir(struct writer *w)
{
	uint32_t n = w->m.n_dirs;

	if (n < 4 || below(w, 10) == 0)
		return MODEL_ROOT;
	return w->m.dirs[below(w, below(w, 128) ? n / 4 * 3 : n)];
}

static uint32_t any_real_dir(struct writer *w)
{
	return w->m.n_dirs ? w->m.dirs[below(w, w->m.n_dirs)] : MODEL_NONE;
}

/* A file or link that is not doomed. */
static uint32_t any_file(struct writer *w)
{
	uint32_t idx;

	for (int i = 0; i < 4 && w->m.n_files; i++) {
		idx = w->m.files[below(w, w->m.n_files)];
		if (!node(w, idx)->doomed)
			return idx;
	}
	return MODEL_NONE;
}

/* As any_file(), large ones more often than their number says. */
static uint32_t any_content(struct writer *w)
{
	uint32_t i;

	if (w->n_big && below(w, 20) == 0) {
		i = (uint32_t)below(w, w->n_big);
		if (node(w, w->big[i])->ino == w->big_ino[i] &&
		    node(w, w->big[i])->type == STORE_FILE &&
		    !node(w, w->big[i])->doomed)
			return w->big[i];
		w->n_big--;
		w->big[i] = w->big[w->n_big];
		w->big_ino[i] = w->big_ino[w->n_big];
	}
	return any_file(w);
}

static void note_big(struct writer *w, uint32_t idx)
{
	if (w->n_big == ARRAY_LEN(w->big))
		return;
	w->big[w->n_big] = idx;
	w->big_ino[w->n_big++] = ino_of(w, idx);
}

static const uint8_t *noise(struct writer *w, size_t len)
{
	return w->noise + below(w, NOISE - len);
}

/* --- free names ------------------------------------------------------- */

static void vacate(struct writer *w, uint32_t dir, uint32_t name)
{
	struct vacancy *v;

	if (name == MODEL_NAME_VALUE)
		return;
	v = w->n_vacant < ARRAY_LEN(w->vacant)
		    ? &w->vacant[w->n_vacant++]
		    : &w->vacant[below(w, ARRAY_LEN(w->vacant))];
	*v = (struct vacancy){ ino_of(w, dir), dir, name };
}

struct place {
	uint32_t dir, name;
};

/* A name of @type that is free, in @dir unless an old one is drawn. */
static struct place free_place(struct writer *w, uint32_t dir,
			       enum store_type type)
{
	struct vacancy v;
	uint32_t i;

	if (type != STORE_DIR && dir != MODEL_ROOT &&
	    !node(w, dir)->has_value && below(w, 64) == 0)
		return (struct place){ dir, MODEL_NAME_VALUE };
	if (type != STORE_DIR && w->n_vacant && below(w, 3) == 0) {
		i = (uint32_t)below(w, w->n_vacant);
		v = w->vacant[i];
		w->vacant[i] = w->vacant[--w->n_vacant];
		if (ino_of(w, v.dir) == v.dir_ino)
			return (struct place){ v.dir, v.name };
	}
	return (struct place){ dir, w->m.n_names++ };
}

/* --- near deadlines --------------------------------------------------- */

void writer_swept(struct writer *w, uint64_t ino)
{
	pthread_mutex_lock(&w->lock);
	if (w->n_swept == w->cap_swept) {
		w->cap_swept = w->cap_swept ? w->cap_swept * 2 : 256;
		w->swept =
			must_alloc(w->swept, w->cap_swept * sizeof(*w->swept));
	}
	w->swept[w->n_swept++] = ino;
	pthread_mutex_unlock(&w->lock);
}

/* The doomed file at @i of the list is gone. */
static void bury(struct writer *w, uint32_t i)
{
	uint32_t idx = w->doomed[i];

	vacate(w, node(w, idx)->parent, node(w, idx)->name);
	model_remove(&w->m, idx);
	w->doomed[i] = w->doomed[--w->n_doomed];
}

static void settle_one(struct writer *w, uint64_t ino)
{
	uint32_t idx;

	for (uint32_t i = 0; i < w->n_doomed; i++) {
		idx = w->doomed[i];
		if (ino_of(w, idx) != ino)
			continue;
		if (node(w, idx)->expire_ms >= clock_ms(w))
			check(w, "sweep before the deadline", idx, 0, 1);
		node(w, node(w, idx)->parent)->mtime_set = false;
		bury(w, i);
		return;
	}
	/* An operation took its name after it had been swept. */
}

void writer_settle(struct writer *w)
{
	pthread_mutex_lock(&w->lock);
	for (uint32_t i = 0; i < w->n_swept; i++)
		settle_one(w, w->swept[i]);
	w->n_swept = 0;
	pthread_mutex_unlock(&w->lock);
}

static void op_doom(struct writer *w)
{
	uint32_t idx = any_file(w);
	int64_t ms = clock_ms(w) + 1 + (int64_t)below(w, NEAR_MS);

	/* The name tells whose key was swept; `%=` does not. */
	if (idx == MODEL_NONE || w->n_doomed == WRITER_DOOMED_MAX ||
	    node(w, idx)->name == MODEL_NAME_VALUE ||
	    node(w, node(w, idx)->parent)->mtime_set)
		return;
	start(w);
	check(w, "near expiry", idx, 0,
	      done(w, store_set_expire(w->st, ino_of(w, idx), ms)));
	model_doom(&w->m, idx, ms);
	w->doomed[w->n_doomed++] = idx;
}

/* --- making ----------------------------------------------------------- */

static size_t pick_size(struct writer *w)
{
	uint64_t pick = below(w, 10000);

	if (w->m.total_bytes > w->bytes_max)
		return below(w, 32);
	if (pick < 1)
		return 1 + below(w, SIZE_BIG);
	if (pick < 8)
		return 1 + below(w, SIZE_GAP);
	if (pick < 140)
		return 1 + below(w, 6000);
	if (pick < 500)
		return 0;
	return 1 + below(w, pick < 5000 ? 24 : 160);
}

static void write_at(struct writer *w, uint32_t idx, uint64_t off, size_t len)
{
	const uint8_t *data = noise(w, len);
	int r;

	start(w);
	r = done(w, store_write(w->st, ino_of(w, idx), off, data, len));
	if (node(w, idx)->type == STORE_SYMLINK) {
		check(w, "write to a link", idx, -EPERM, r);
		return;
	}
	check(w, "write", idx, 0, r);
	if (len == 0)
		return;
	model_write(&w->m, idx, off, data, len);
	touch_file(w, idx);
	if (off + len > VALUE_FLAT_MAX)
		note_big(w, idx);
}

/* A set-group-ID directory hands its group on, and to directories the bit. */
static void inherit(struct writer *w, uint32_t idx)
{
	const struct mnode *dir = node(w, node(w, idx)->parent);

	if (!(dir->mode & S_ISGID))
		return;
	node(w, idx)->gid = dir->gid;
	if (node(w, idx)->type == STORE_DIR)
		node(w, idx)->mode |= S_ISGID;
}

/* Makes what a free name stands for; @dir is where, unless an old name is
 * drawn. Return: its index. */
static uint32_t make(struct writer *w, enum store_type type, uint32_t dir)
{
	struct place p = free_place(w, dir, type);
	struct store_cred cred = {
		.mode = type == STORE_DIR   ? STORE_DIR_MODE
			: below(w, 20) == 0 ? 0600
					    : STORE_FILE_MODE,
		.uid = below(w, 40) == 0 ? 1000 : 0,
	};
	const uint8_t *target = noise(w, 20);
	struct store_attr a;
	struct text name;
	uint32_t idx;
	int r;

	set_text(w, p.name, &name);
	start(w);
	r = done(w, store_create(w->st, ino_of(w, p.dir), name.s, type, &cred,
				 span_of(target, 20), &a));
	if (r < 0)
		a.ino = 0;
	idx = model_add(&w->m, type, p.dir, p.name, a.ino);
	check(w, "create", idx, 0, r);
	store_forget(w->st, a.ino, 1);
	if (type != STORE_SYMLINK)
		node(w, idx)->mode = cred.mode;
	else
		model_write(&w->m, idx, 0, target, 20);
	node(w, idx)->uid = cred.uid;
	inherit(w, idx);
	touch_file(w, idx);
	touch_dir(w, p.dir);
	return idx;
}

static void op_create(struct writer *w)
{
	uint32_t idx = make(w, STORE_FILE, any_dir(w));

	if (below(w, 8))
		write_at(w, idx, 0, pick_size(w));
}

static void op_mkdir(struct writer *w)
{
	uint32_t dir = any_dir(w);

	if (mtree_depth(&w->m.t, dir) < MODEL_DEPTH_MAX)
		make(w, STORE_DIR, dir);
}

/* The name of a doomed file is taken if it has expired, else refused. */
static void op_create_on_doomed(struct writer *w)
{
	const struct store_cred cred = { .mode = STORE_FILE_MODE };
	struct store_attr a;
	struct text name;
	struct mnode old;
	uint32_t i, idx;
	int r;

	if (w->n_doomed == 0)
		return;
	i = (uint32_t)below(w, w->n_doomed);
	idx = w->doomed[i];
	old = *node(w, idx);
	set_text(w, old.name, &name);
	start(w);
	r = done(w, store_create(w->st, ino_of(w, old.parent), name.s,
				 STORE_FILE, &cred, span_str(""), &a));
	if (old.expire_ms < w->now_ns / 1000000)
		check(w, "create in place of an expired file", idx, 0, r);
	else if (old.expire_ms >= clock_ms(w))
		check(w, "create in place of a file", idx, -EEXIST, r);
	if (r == -EEXIST)
		return;
	check(w, "create in place of a file", idx, 0, r);
	store_forget(w->st, a.ino, 1);
	model_remove(&w->m, idx);
	w->doomed[i] = w->doomed[--w->n_doomed];
	idx = model_add(&w->m, STORE_FILE, old.parent, old.name, a.ino);
	inherit(w, idx);
	touch_file(w, idx);
	touch_dir(w, old.parent);
}

/* --- content ---------------------------------------------------------- */

static void op_overwrite(struct writer *w)
{
	uint32_t idx = any_content(w);
	uint64_t size, off;

	if (idx == MODEL_NONE)
		return;
	size = node(w, idx)->size;
	if (below(w, 16) == 0 || size == 0) { /* anew, perhaps longer */
		write_at(w, idx, 0, pick_size(w));
		return;
	}
	off = below(w, size);
	write_at(w, idx, off, 1 + below(w, MIN(size - off, UINT64_C(9000))));
}

static void op_append(struct writer *w)
{
	uint32_t idx = any_content(w);
	bool is_full = w->m.total_bytes > w->bytes_max;
	uint64_t off;

	if (idx == MODEL_NONE)
		return;
	off = node(w, idx)->size;
	if (off > SIZE_BIG)
		return;
	if (below(w, 5000) == 0 && !is_full)
		off += below(w, SIZE_GAP); /* leaves a hole */
	write_at(w, idx, off, 1 + below(w, off > 8000 ? 8000 : 40));
}

static void op_truncate(struct writer *w)
{
	uint32_t idx = any_content(w);
	struct store_attr in = { 0 };
	int r;

	if (idx == MODEL_NONE)
		return;
	switch (below(w, 8)) {
	case 0:
		break;
	case 1:
		in.size = node(w, idx)->size + below(w, 300);
		break;
	default:
		in.size = below(w, node(w, idx)->size + 1);
	}
	start(w);
	r = done(w, store_setattr(w->st, ino_of(w, idx), STORE_SET_SIZE, &in,
				  NULL));
	if (node(w, idx)->type == STORE_SYMLINK) {
		check(w, "truncation of a link", idx, -EPERM, r);
		return;
	}
	check(w, "truncation", idx, 0, r);
	model_truncate(&w->m, idx, in.size);
	touch_file(w, idx);
}

static void op_far_expiry(struct writer *w)
{
	uint32_t idx = any_content(w);
	int64_t ms = 0;

	if (idx == MODEL_NONE)
		return;
	if (below(w, 3))
		ms = clock_ms(w) + FAR_MS + (int64_t)below(w, 100000);
	start(w);
	check(w, "expiry", idx, 0,
	      done(w, store_set_expire(w->st, ino_of(w, idx), ms)));
	node(w, idx)->expire_ms = ms;
}

/* --- facts ------------------------------------------------------------ */

static void set_attr(struct writer *w, uint32_t idx, unsigned mask,
		     const struct store_attr *in)
{
	struct mnode *n = node(w, idx);

	start(w);
	check(w, "change of attributes", idx, 0,
	      done(w, store_setattr(w->st, n->ino, mask, in, NULL)));
	if (mask & STORE_SET_MODE)
		n->mode = in->mode;
	if (mask & STORE_SET_UID)
		n->uid = in->uid;
	if (mask & STORE_SET_GID)
		n->gid = in->gid;
	if (mask & (STORE_SET_MTIME | STORE_SET_MTIME_NOW)) {
		n->mtime_set = mask & STORE_SET_MTIME;
		n->mtime_ns = n->mtime_set ? in->mtime_ns : w->now_ns;
	}
	if (mask & (STORE_SET_ATIME | STORE_SET_ATIME_NOW)) {
		n->atime_set = mask & STORE_SET_ATIME;
		n->atime_ns = n->atime_set ? in->atime_ns : w->now_ns;
	}
}

/* Half of the changes go back to the default, so that facts stay rare. */
static void op_facts(struct writer *w)
{
	bool on_dir = below(w, 3) == 0, back = below(w, 2);
	uint32_t idx = on_dir ? any_real_dir(w) : any_file(w);
	int64_t t = w->now_ns - (int64_t)below(w, INT64_C(1) << 50);
	struct store_attr in = { .mtime_ns = t, .atime_ns = t + 1 };

	if (idx == MODEL_NONE)
		return;
	switch (below(w, 3)) {
	case 0:
		if (node(w, idx)->type == STORE_SYMLINK)
			return;
		in.mode = on_dir ? STORE_DIR_MODE : STORE_FILE_MODE;
		if (!back)
			in.mode ^= 1 + (uint32_t)below(w, 07776);
		set_attr(w, idx, STORE_SET_MODE, &in);
		break;
	case 1:
		in.uid = back ? 0 : 1 + (uint32_t)below(w, 1000);
		in.gid = back ? 0 : 1 + (uint32_t)below(w, 1000);
		set_attr(w, idx, STORE_SET_UID | STORE_SET_GID, &in);
		break;
	default:
		if (back)
			set_attr(w, idx,
				 STORE_SET_MTIME_NOW | STORE_SET_ATIME_NOW,
				 &in);
		else if (node(w, idx)->n_doomed == 0)
			set_attr(w, idx, STORE_SET_MTIME | STORE_SET_ATIME,
				 &in);
	}
}

/* --- removing --------------------------------------------------------- */

/* Takes a reference, as an open file does. */
static bool hold(struct writer *w, uint32_t idx)
{
	struct store_attr a;
	struct text name;

	if (w->n_held == WRITER_HELD_MAX || below(w, 8))
		return false;
	set_text(w, node(w, idx)->name, &name);
	start(w);
	check(w, "lookup", idx, 0,
	      done(w, store_lookup(w->st, ino_of(w, node(w, idx)->parent),
				   name.s, &a)));
	if (a.ino != ino_of(w, idx))
		check(w, "inode number", idx, 0, -ESTALE);
	w->held[w->n_held++] = a.ino;
	return true;
}

static void forget_node(struct writer *w, uint32_t idx)
{
	struct mnode old = *node(w, idx);

	model_remove(&w->m, idx);
	vacate(w, old.parent, old.name);
	touch_dir(w, old.parent);
}

static void op_unlink(struct writer *w)
{
	uint32_t idx = any_content(w);
	struct text name;

	if (idx == MODEL_NONE)
		return;
	(void)hold(w, idx);
	set_text(w, node(w, idx)->name, &name);
	start(w);
	check(w, "unlink", idx, 0,
	      done(w, store_unlink(w->st, ino_of(w, node(w, idx)->parent),
				   name.s)));
	forget_node(w, idx);
}

/* Writes to a file without a name, or closes it. */
static void op_held(struct writer *w)
{
	uint32_t i;
	size_t len = 1 + below(w, 5000);
	uint64_t ino;

	if (w->n_held == 0)
		return;
	i = (uint32_t)below(w, w->n_held);
	ino = w->held[i];
	if (below(w, 4)) {
		start(w);
		/* -EPERM: a link */
		(void)done(w, store_write(w->st, ino, below(w, 100000),
					  noise(w, len), len));
		return;
	}
	w->held[i] = w->held[--w->n_held];
	store_forget(w->st, ino, 1);
}

/* Whether all that is left in a directory has expired. */
static bool is_all_expired(struct writer *w, uint32_t dir)
{
	if (node(w, dir)->n_children != node(w, dir)->n_doomed)
		return false;
	for (uint32_t i = 0; i < w->n_doomed; i++)
		if (node(w, w->doomed[i])->parent == dir &&
		    node(w, w->doomed[i])->expire_ms >= w->now_ns / 1000000)
			return false;
	return true;
}

static void bury_all(struct writer *w, uint32_t dir)
{
	for (uint32_t i = w->n_doomed; i-- > 0;)
		if (node(w, w->doomed[i])->parent == dir)
			bury(w, i);
}

/* What removing or replacing @dir must answer. Return: false if that depends
 * on what has been swept by now, or would sweep a part. */
static bool foresee_rmdir(struct writer *w, uint32_t dir, int *ret)
{
	*ret = -ENOTEMPTY;
	if (node(w, dir)->n_doomed == 0)
		*ret = node(w, dir)->n_children ? -ENOTEMPTY : 0;
	else if (is_all_expired(w, dir))
		*ret = 0;
	else
		return false;
	return true;
}

/* Directories made last are the ones that may be empty. */
static uint32_t any_empty_dir(struct writer *w)
{
	uint32_t n = w->m.n_dirs, idx;

	for (uint32_t i = 0; i < 8 && i < n; i++) {
		idx = w->m.dirs[n - 1 - below(w, MIN(n, 2000U))];
		if (node(w, idx)->n_children == node(w, idx)->n_doomed)
			return idx;
	}
	return any_real_dir(w);
}

static void op_rmdir(struct writer *w)
{
	uint32_t dir = any_empty_dir(w);
	struct text name;
	int want;

	if (dir == MODEL_NONE || !foresee_rmdir(w, dir, &want))
		return;
	set_text(w, node(w, dir)->name, &name);
	start(w);
	check(w, "rmdir", dir, want,
	      done(w, store_rmdir(w->st, ino_of(w, node(w, dir)->parent),
				  name.s)));
	if (want < 0)
		return;
	bury_all(w, dir);
	forget_node(w, dir);
}

/* --- renaming --------------------------------------------------------- */

/* Calls rename for @idx and checks the answer. */
static void call_rename(struct writer *w, uint32_t idx, struct place to,
			unsigned flags, int want)
{
	const struct mnode *n = node(w, idx);
	struct text from_name, to_name;

	set_text(w, n->name, &from_name);
	set_text(w, to.name, &to_name);
	start(w);
	check(w, "rename", idx, want,
	      done(w, store_rename(w->st, ino_of(w, n->parent), from_name.s,
				   ino_of(w, to.dir), to_name.s, flags)));
}

/* The model's part of a rename to a name that is free in the model. */
static void move_node(struct writer *w, uint32_t idx, struct place to)
{
	const struct mnode old = *node(w, idx);

	model_move(&w->m, idx, to.dir, to.name);
	vacate(w, old.parent, old.name);
	touch_dir(w, old.parent);
	touch_dir(w, to.dir);
}

static struct place place_of(struct writer *w, uint32_t idx)
{
	return (struct place){ node(w, idx)->parent, node(w, idx)->name };
}

static void op_rename_file(struct writer *w)
{
	uint32_t idx = any_content(w);
	struct place to;

	if (idx == MODEL_NONE)
		return;
	to = free_place(w, any_dir(w), STORE_FILE);
	call_rename(w, idx, to, below(w, 4) ? 0 : STORE_RENAME_NOREPLACE, 0);
	move_node(w, idx, to);
}

static void op_replace_file(struct writer *w)
{
	uint32_t idx = any_content(w), victim = any_file(w);
	struct place to;

	if (idx == MODEL_NONE || victim == MODEL_NONE)
		return;
	to = place_of(w, victim);
	if (below(w, 8) == 0) {
		call_rename(w, idx, to, STORE_RENAME_NOREPLACE, -EEXIST);
		return;
	}
	if (idx != victim)
		(void)hold(w, victim);
	call_rename(w, idx, to, 0, 0);
	if (idx == victim)
		return; /* the same name: nothing happens */
	model_remove(&w->m, victim);
	move_node(w, idx, to);
}

static void op_replace_doomed(struct writer *w)
{
	uint32_t idx = any_file(w), i, victim;
	struct place to;

	if (idx == MODEL_NONE || w->n_doomed == 0)
		return;
	i = (uint32_t)below(w, w->n_doomed);
	victim = w->doomed[i];
	to = place_of(w, victim);
	call_rename(w, idx, to, 0, 0);
	model_remove(&w->m, victim);
	w->doomed[i] = w->doomed[--w->n_doomed];
	move_node(w, idx, to);
}

/* A directory that @idx, one too, may move into: deeper just without
 * directories of its own, or the tree would grow without bound. */
static uint32_t dir_for(struct writer *w, uint32_t idx)
{
	const struct mtree *t = &w->m.t;
	uint32_t dir = any_dir(w);
	int max = node(w, idx)->n_subdirs ? mtree_depth(t, idx) - 1
					  : MODEL_DEPTH_MAX - 1;
	int depth = mtree_depth(t, dir);

	for (; depth > max; depth--)
		dir = t->node[dir].parent;
	return dir;
}

static void op_rename_dir(struct writer *w)
{
	uint32_t idx = any_real_dir(w);
	struct place to;

	if (idx == MODEL_NONE)
		return;
	to = free_place(w, dir_for(w, idx), STORE_DIR);
	if (mtree_is_below(&w->m.t, to.dir, idx)) {
		call_rename(w, idx, to, 0, -EINVAL);
		return;
	}
	call_rename(w, idx, to, 0, 0);
	move_node(w, idx, to);
}

static void op_replace_dir(struct writer *w)
{
	uint32_t idx = any_real_dir(w), victim = any_empty_dir(w);
	const struct mtree *t = &w->m.t;
	struct place to;
	int want;

	if (idx == MODEL_NONE || idx == victim ||
	    mtree_is_below(t, idx, victim) ||
	    (node(w, idx)->n_subdirs &&
	     mtree_depth(t, victim) > mtree_depth(t, idx)) ||
	    !foresee_rmdir(w, victim, &want))
		return;
	to = place_of(w, victim);
	if (mtree_is_below(t, to.dir, idx))
		want = -EINVAL;
	call_rename(w, idx, to, 0, want);
	if (want < 0)
		return;
	bury_all(w, victim);
	model_remove(&w->m, victim);
	move_node(w, idx, to);
}

/* Whether @idx, if it is a directory, may have @other's place. */
static bool may_take(struct writer *w, uint32_t idx, uint32_t other)
{
	const struct mtree *t = &w->m.t;

	if (node(w, idx)->type != STORE_DIR)
		return true;
	if (node(w, other)->name == MODEL_NAME_VALUE)
		return false;
	return mtree_depth(t, other) <= (node(w, idx)->n_subdirs
						 ? mtree_depth(t, idx)
						 : MODEL_DEPTH_MAX);
}

static void op_exchange(struct writer *w)
{
	uint32_t a = below(w, 3) ? any_file(w) : any_real_dir(w);
	uint32_t b = below(w, 3) ? any_content(w) : any_real_dir(w);
	const struct mtree *t = &w->m.t;
	struct place to;

	if (a == MODEL_NONE || b == MODEL_NONE || a == b ||
	    !may_take(w, a, b) || !may_take(w, b, a))
		return;
	to = place_of(w, b);
	if (mtree_is_below(t, a, b) || mtree_is_below(t, b, a)) {
		call_rename(w, a, to, STORE_RENAME_EXCHANGE, -EINVAL);
		return;
	}
	call_rename(w, a, to, STORE_RENAME_EXCHANGE, 0);
	model_swap(&w->m, a, b);
	touch_dir(w, node(w, a)->parent);
	touch_dir(w, node(w, b)->parent);
}

/* --- steps ------------------------------------------------------------ */

static void op_symlink(struct writer *w)
{
	make(w, STORE_SYMLINK, any_dir(w));
}

static const struct {
	void (*fn)(struct writer *w);
	uint32_t weight;
} ops[] = {
	{ op_create, 130 },
	{ op_symlink, 5 },
	{ op_mkdir, 10 },
	{ op_overwrite, 180 },
	{ op_append, 180 },
	{ op_truncate, 80 },
	{ op_far_expiry, 40 },
	{ op_doom, 15 },
	{ op_facts, 30 },
	{ op_unlink, 90 },
	{ op_rmdir, 10 },
	{ op_rename_file, 60 },
	{ op_replace_file, 20 },
	{ op_rename_dir, 30 },
	{ op_replace_dir, 5 },
	{ op_exchange, 40 },
	{ op_create_on_doomed, 5 },
	{ op_replace_doomed, 3 },
	{ op_held, 20 },
};

static void random_op(struct writer *w)
{
	uint32_t sum = 0, pick;
	size_t i;

	for (i = 0; i < ARRAY_LEN(ops); i++)
		sum += ops[i].weight;
	pick = (uint32_t)below(w, sum);
	for (i = 0; pick >= ops[i].weight; i++)
		pick -= ops[i].weight;
	if (ops[i].fn == op_create && w->m.n_files > w->target_files)
		op_unlink(w);
	else if (ops[i].fn == op_unlink && w->m.n_files < w->target_files)
		op_create(w);
	else if (ops[i].fn == op_mkdir && w->m.n_dirs > w->target_dirs)
		op_rmdir(w);
	else
		ops[i].fn(w);
}

static void tick(struct writer *w)
{
	/* Times differ by more than the clock's step, to be told apart. */
	w->now_ns = clock_ms(w) * 1000000 + (int64_t)below(w, 1000000);
	writer_set_clock(w->now_ns);
}

void *writer_main(void *arg)
{
	struct writer *w = arg;

	for (uint64_t i = 1; !atomic_load(&w->world->stop); i++) {
		if (w->world->rest_us && i % BURST == 0)
			usleep(w->world->rest_us);
		pthread_rwlock_rdlock(&w->world->ops);
		tick(w);
		writer_settle(w);
		random_op(w);
		pthread_rwlock_unlock(&w->world->ops);
	}
	return NULL;
}

void writer_fill(struct writer *w)
{
	while (w->m.n_dirs < w->target_dirs) {
		tick(w);
		op_mkdir(w);
	}
	while (w->m.n_files < w->target_files) {
		tick(w);
		if (below(w, 50) == 0)
			op_symlink(w);
		else
			op_create(w);
		if (below(w, 20) == 0)
			op_far_expiry(w);
	}
	w->latency[0] = (struct latency){ 0 };
	w->n_ops = 0;
}

/* Half of the noise is of few different bytes, so that it compresses. */
static void make_noise(struct writer *w)
{
	w->noise = must_alloc(NULL, NOISE);
	for (size_t i = 0; i < NOISE; i += sizeof(uint64_t)) {
		uint64_t x = unit_rand(&w->rng);

		if ((i >> 12) & 1)
			x &= UINT64_C(0x0101010101010101);
		memcpy(w->noise + i, &x, sizeof(x));
	}
}

void writer_init(struct writer *w, struct world *world, unsigned owner,
		 uint64_t seed)
{
	*w = (struct writer){
		.world = world,
		.st = world->st,
		.rng = { seed + owner * UINT64_C(0x9e3779b97f4a7c15) },
		.target_files = (uint32_t)(world->n_keys / WRITERS),
	};
	w->target_dirs = w->target_files / 40 + 8;
	w->bytes_max = w->target_files * UINT64_C(250) + (16 << 20);
	w->rng.state = unit_rand(&w->rng);
	pthread_mutex_init(&w->lock, NULL);
	model_init(&w->m, owner);
	make_noise(w);
}

void writer_fini(struct writer *w)
{
	while (w->n_held)
		store_forget(w->st, w->held[--w->n_held], 1);
	model_fini(&w->m);
	pthread_mutex_destroy(&w->lock);
	free(w->noise);
	free(w->swept);
}
