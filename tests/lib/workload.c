/* SPDX-License-Identifier: MIT */

#include "tests/lib/workload.h"

#include <check.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "tests/lib/listing.h"

int64_t workload_clock(void)
{
	static _Atomic int64_t us = 1700000000000000;

	return atomic_fetch_add(&us, 1) * 1000;
}

static struct span any_name(struct workload *w, char *buf)
{
	static const char *const odd[] = { "%=", "%", "%2E", "a:b", "%00" };
	uint64_t pick = unit_below(&w->rng, (uint64_t)w->n_names);

	if (unit_below(&w->rng, 40) == 0)
		return span_str(odd[unit_below(&w->rng, 5)]);
	if (pick % 7 == 3) /* a name that does not fit into the node */
		snprintf(buf, 256, "a-rather-long-name-%05d.suffix", (int)pick);
	else
		snprintf(buf, 256, "n%d", (int)pick);
	return span_str(buf);
}

/* A random directory; the caller owes store_forget(). */
static uint64_t any_dir(struct workload *w)
{
	uint64_t dir = STORE_ROOT_INO;
	struct store_attr a;
	char buf[256];

	w->depth = 0;
	for (int i = (int)unit_below(&w->rng, (uint64_t)w->max_depth + 1);
	     i > 0; i--) {
		if (store_lookup(w->st, dir, any_name(w, buf), &a) < 0)
			break;
		if (a.type != STORE_DIR) {
			store_forget(w->st, a.ino, 1);
			break;
		}
		if (dir != STORE_ROOT_INO)
			store_forget(w->st, dir, 1);
		dir = a.ino;
		w->depth++;
	}
	return dir;
}

static void drop_dir(struct workload *w, uint64_t dir)
{
	if (dir != STORE_ROOT_INO)
		store_forget(w->st, dir, 1);
}

static int write_some(struct workload *w, uint64_t ino)
{
	uint8_t buf[3000];
	size_t len = 1 + unit_below(&w->rng, sizeof(buf));
	uint64_t off =
		unit_below(&w->rng, 4) ? 0 : unit_below(&w->rng, w->max_size);

	unit_bytes(&w->rng, buf, MIN(len, (size_t)16));
	memset(buf + MIN(len, (size_t)16), (int)len,
	       len - MIN(len, (size_t)16));
	return store_write(w->st, ino, off, buf, len);
}

/* Keeps the reference of @ino for later, or gives it back. */
static void hold(struct workload *w, uint64_t ino)
{
	if (w->n_held < (int)ARRAY_LEN(w->held) && unit_below(&w->rng, 8) == 0)
		w->held[w->n_held++] = ino;
	else
		store_forget(w->st, ino, 1);
}

static int create(struct workload *w, uint64_t dir, enum store_type type)
{
	static const uint32_t modes[] = { 0644, 0644, 0644, 0600, 0755 };
	struct store_cred cred = { 0, 0, modes[unit_below(&w->rng, 5)] };
	struct store_attr a;
	char buf[256];
	int r;

	if (type == STORE_DIR)
		cred.mode = 0755;
	if (unit_below(&w->rng, 10) == 0)
		cred.uid = 1000;
	r = store_create(w->st, dir, any_name(w, buf), type, &cred,
			 span_str("../target"), &a);
	if (r < 0)
		return r;
	if (type == STORE_FILE)
		r = write_some(w, a.ino);
	w->half_done = r < 0;
	hold(w, a.ino);
	return r;
}

static int change_attr(struct workload *w, uint64_t ino)
{
	struct store_attr in = { .mode = 0400, .uid = 7, .gid = 8 };
	uint64_t pick = unit_below(&w->rng, 6);
	unsigned mask;

	switch (pick) {
	case 0:
		mask = STORE_SET_MODE;
		in.mode |= (uint32_t)unit_below(&w->rng, 64);
		break;
	case 1:
		mask = STORE_SET_UID | STORE_SET_GID;
		break;
	case 2:
		mask = STORE_SET_MTIME | STORE_SET_ATIME;
		in.mtime_ns = (int64_t)unit_below(&w->rng, 1000000) * 1000000 +
			      LISTING_SET_NS;
		in.atime_ns = in.mtime_ns + 1000000000;
		break;
	case 3:
		mask = STORE_SET_MTIME_NOW | STORE_SET_ATIME_NOW;
		break;
	default:
		mask = STORE_SET_SIZE;
		in.size = unit_below(&w->rng, w->max_size);
		break;
	}
	return store_setattr(w->st, ino, mask, &in, NULL);
}

static int change_file(struct workload *w, uint64_t dir, uint64_t pick)
{
	struct store_attr a;
	char buf[256];
	int r;

	if (w->n_held && unit_below(&w->rng, 6) == 0) {
		a.ino = w->held[unit_below(&w->rng, (uint64_t)w->n_held)];
		return write_some(w, a.ino);
	}
	r = store_lookup(w->st, dir, any_name(w, buf), &a);
	if (r < 0)
		return r;
	if (pick == 0)
		r = store_set_expire(
			w->st, a.ino,
			unit_below(&w->rng, 3) ? INT64_C(4000000000000) : 0);
	else if (pick < 4)
		r = change_attr(w, a.ino);
	else
		r = write_some(w, a.ino);
	hold(w, a.ino);
	return r;
}

static int rename_any(struct workload *w, uint64_t dir)
{
	static const unsigned flags[] = { 0, 0, 0, STORE_RENAME_NOREPLACE,
					  STORE_RENAME_EXCHANGE };
	unsigned flag = flags[unit_below(&w->rng, 5)];
	char from[256], to[256];
	int depth = w->depth;
	uint64_t other = any_dir(w);
	int r;

	/* Nothing moves deeper, or trees would grow without bound. */
	if (w->depth > depth ||
	    (w->depth < depth && flag == STORE_RENAME_EXCHANGE))
		r = store_rename(w->st, dir, any_name(w, from), dir,
				 any_name(w, to), flag);
	else
		r = store_rename(w->st, dir, any_name(w, from), other,
				 any_name(w, to), flag);
	drop_dir(w, other);
	return r;
}

int workload_step(struct workload *w)
{
	uint64_t dir = any_dir(w), pick = unit_below(&w->rng, 20);
	char buf[256];
	int r;

	w->half_done = false;
	if (w->n_held && unit_below(&w->rng, 16) == 0)
		store_forget(w->st, w->held[--w->n_held], 1);
	if (pick < 4)
		r = create(w, dir, STORE_FILE);
	else if (pick < 6 && w->depth < w->max_depth)
		r = create(w, dir, STORE_DIR);
	else if (pick < 7)
		r = create(w, dir, STORE_SYMLINK);
	else if (pick < 9)
		r = store_unlink(w->st, dir, any_name(w, buf));
	else if (pick < 10)
		r = store_rmdir(w->st, dir, any_name(w, buf));
	else if (pick < 13)
		r = rename_any(w, dir);
	else
		r = change_file(w, dir, pick - 13);
	drop_dir(w, dir);
	return r;
}

void workload_fini(struct workload *w)
{
	while (w->n_held)
		store_forget(w->st, w->held[--w->n_held], 1);
}
