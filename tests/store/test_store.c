/* SPDX-License-Identifier: MIT */

/* What store.h promises, by table and by model. Views have their own file. */

#include "store/store.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "store/view.h"
#include "tests/lib/listing.h"
#include "tests/lib/unit.h"
#include "tests/lib/workload.h"

#define ROOT STORE_ROOT_INO

static int64_t fake_now_ns = INT64_C(1700000000000000000);

static int64_t fake_clock(void)
{
	return fake_now_ns;
}

static struct store *new_store(void)
{
	const struct store_options opt = { .sep = '/', .now_ns = fake_clock };
	struct store *st;

	ck_assert_int_eq(store_new(&opt, &st), 0);
	return st;
}

static void end_store(struct store *st)
{
	ck_assert_int_eq(store_check(st), 0);
	store_free(st);
}

/* Makes a node and keeps no reference. Return: its number. */
static uint64_t make(struct store *st, uint64_t dir, const char *name,
		     enum store_type type)
{
	const struct store_cred cred = { 0, 0,
					 type == STORE_DIR ? 0755 : 0644 };
	struct store_attr a;

	ck_assert_int_eq(store_create(st, dir, span_str(name), type, &cred,
				      span_str("target"), &a),
			 0);
	store_forget(st, a.ino, 1);
	return a.ino;
}

static int create(struct store *st, uint64_t dir, const char *name,
		  enum store_type type)
{
	const struct store_cred cred = { 0, 0, 0755 };
	struct store_attr a;
	int r = store_create(st, dir, span_str(name), type, &cred,
			     span_str("t"), &a);

	if (r == 0)
		store_forget(st, a.ino, 1);
	return r;
}

static int lookup(struct store *st, uint64_t dir, const char *name,
		  struct store_attr *a)
{
	int r = store_lookup(st, dir, span_str(name), a);

	if (r == 0)
		store_forget(st, a->ino, 1);
	return r;
}

static int rename_as(struct store *st, const char *from, const char *to,
		     unsigned flags)
{
	return store_rename(st, ROOT, span_str(from), ROOT, span_str(to),
			    flags);
}

static void write_str(struct store *st, uint64_t ino, const char *text)
{
	ck_assert_int_eq(store_write(st, ino, 0, text, strlen(text)), 0);
}

static void assert_content(struct store *st, uint64_t ino, const char *want)
{
	struct store_range r;
	char buf[256];
	size_t n = 0;

	ck_assert_int_eq(store_read(st, ino, 0, sizeof(buf), &r), 0);
	for (int i = 0; i < r.n_iov; i++) {
		memcpy(buf + n, r.iov[i].iov_base, r.iov[i].iov_len);
		n += r.iov[i].iov_len;
	}
	store_range_put(st, &r);
	ck_assert_uint_eq(n, strlen(want));
	ck_assert_mem_eq(buf, want, n);
}

/* --- names ------------------------------------------------------------ */

START_TEST(a_name_is_found_until_it_is_removed)
{
	struct store *st = new_store();
	struct store_attr a;
	uint64_t ino = make(st, ROOT, "k", STORE_FILE);

	ck_assert_int_eq(lookup(st, ROOT, "k", &a), 0);
	ck_assert_uint_eq(a.ino, ino);
	ck_assert_uint_eq(a.mode, S_IFREG | 0644);
	ck_assert_uint_eq(a.nlink, 1);
	ck_assert_int_eq(create(st, ROOT, "k", STORE_FILE), -EEXIST);
	ck_assert_int_eq(store_unlink(st, ROOT, span_str("k")), 0);
	ck_assert_int_eq(lookup(st, ROOT, "k", &a), -ENOENT);
	ck_assert_int_eq(store_getattr(st, ino, &a), -ESTALE);
	end_store(st);
}
END_TEST

START_TEST(a_referenced_file_outlives_its_name)
{
	struct store *st = new_store();
	struct store_attr a;
	uint64_t ino = make(st, ROOT, "k", STORE_FILE);

	write_str(st, ino, "old");
	ck_assert_int_eq(store_lookup(st, ROOT, span_str("k"), &a), 0);
	ck_assert_int_eq(store_unlink(st, ROOT, span_str("k")), 0);
	ck_assert_int_eq(store_getattr(st, ino, &a), 0);
	ck_assert_uint_eq(a.nlink, 0);
	write_str(st, ino, "new");
	assert_content(st, ino, "new");
	make(st, ROOT, "k", STORE_FILE);
	store_forget(st, ino, 1);
	ck_assert_int_eq(store_getattr(st, ino, &a), -ESTALE);
	end_store(st);
}
END_TEST

START_TEST(a_number_is_not_used_again)
{
	struct store *st = new_store();
	struct store_attr a;
	uint64_t last = 0, ino;

	for (int i = 0; i < 100; i++) {
		ino = make(st, ROOT, "k", STORE_FILE);
		ck_assert_uint_ne(ino, last);
		ck_assert_uint_lt(ino, UINT64_C(1) << 63);
		ck_assert_int_eq(store_unlink(st, ROOT, span_str("k")), 0);
		ck_assert_int_eq(store_getattr(st, ino, &a), -ESTALE);
		last = ino;
	}
	end_store(st);
}
END_TEST

START_TEST(names_that_cannot_be_are_refused)
{
	struct store *st = new_store();
	char name[300];
	struct store_attr a;
	uint64_t dir = make(st, ROOT, "d", STORE_DIR);

	memset(name, 'x', sizeof(name));
	name[256] = '\0';
	ck_assert_int_eq(create(st, ROOT, name, STORE_FILE), -ENAMETOOLONG);
	ck_assert_int_eq(lookup(st, ROOT, name, &a), -ENAMETOOLONG);
	name[255] = '\0';
	ck_assert_int_eq(create(st, ROOT, name, STORE_FILE), 0);
	ck_assert_int_eq(create(st, ROOT, "", STORE_FILE), -EINVAL);
	ck_assert_int_eq(create(st, ROOT, "..", STORE_DIR), -EINVAL);
	ck_assert_int_eq(create(st, ROOT, "a/b", STORE_FILE), -EINVAL);
	ck_assert_int_eq(create(st, ROOT, ".ctl", STORE_DIR), -EPERM);
	ck_assert_int_eq(create(st, dir, ".ctl", STORE_DIR), 0);
	ck_assert_int_eq(create(st, dir, "%=", STORE_DIR), -EINVAL);
	ck_assert_int_eq(create(st, dir, "%=", STORE_FILE), 0);
	ck_assert_int_eq(create(st, ROOT, "%=", STORE_DIR), 0);
	ck_assert_int_eq(
		store_rename(st, dir, span_str(".ctl"), dir, span_str("%="), 0),
		-EINVAL);
	end_store(st);
}
END_TEST

START_TEST(removing_the_wrong_kind_is_refused)
{
	struct store *st = new_store();
	uint64_t dir = make(st, ROOT, "d", STORE_DIR);

	make(st, dir, "f", STORE_FILE);
	ck_assert_int_eq(store_unlink(st, ROOT, span_str("d")), -EISDIR);
	ck_assert_int_eq(store_rmdir(st, dir, span_str("f")), -ENOTDIR);
	ck_assert_int_eq(store_rmdir(st, ROOT, span_str("d")), -ENOTEMPTY);
	ck_assert_int_eq(store_unlink(st, ROOT, span_str("nix")), -ENOENT);
	ck_assert_int_eq(store_unlink(st, dir, span_str("f")), 0);
	ck_assert_int_eq(store_rmdir(st, ROOT, span_str("d")), 0);
	ck_assert_int_eq(create(st, dir, "late", STORE_FILE), -ESTALE);
	end_store(st);
}
END_TEST

START_TEST(nothing_is_made_in_a_removed_directory)
{
	struct store *st = new_store();
	struct store_attr a;
	uint64_t dir = make(st, ROOT, "d", STORE_DIR);

	ck_assert_int_eq(store_lookup(st, ROOT, span_str("d"), &a), 0);
	ck_assert_int_eq(store_rmdir(st, ROOT, span_str("d")), 0);
	ck_assert_int_eq(create(st, dir, "f", STORE_FILE), -ENOENT);
	ck_assert_int_eq(
		store_rename(st, ROOT, span_str("x"), dir, span_str("x"), 0),
		-ENOENT);
	store_forget(st, dir, 1);
	end_store(st);
}
END_TEST

START_TEST(rename_answers_as_posix_says)
{
	struct store *st = new_store();
	struct store_attr a;
	uint64_t d = make(st, ROOT, "d", STORE_DIR), f;

	make(st, ROOT, "e", STORE_DIR);
	f = make(st, ROOT, "f", STORE_FILE);
	make(st, ROOT, "g", STORE_FILE);
	make(st, d, "in", STORE_FILE);
	ck_assert_int_eq(rename_as(st, "nix", "f", 0), -ENOENT);
	ck_assert_int_eq(rename_as(st, "f", "d", 0), -EISDIR);
	ck_assert_int_eq(rename_as(st, "d", "f", 0), -ENOTDIR);
	ck_assert_int_eq(rename_as(st, "e", "d", 0), -ENOTEMPTY);
	ck_assert_int_eq(rename_as(st, "f", "g", STORE_RENAME_NOREPLACE),
			 -EEXIST);
	ck_assert_int_eq(rename_as(st, "f", "nix", STORE_RENAME_EXCHANGE),
			 -ENOENT);
	ck_assert_int_eq(rename_as(st, "f", "g", 4), -EINVAL);
	ck_assert_int_eq(rename_as(st, "f", "f", 0), 0);
	ck_assert_int_eq(
		store_rename(st, ROOT, span_str("d"), d, span_str("x"), 0),
		-EINVAL);
	ck_assert_int_eq(store_rename(st, d, span_str("in"), ROOT,
				      span_str("d"), STORE_RENAME_EXCHANGE),
			 -EINVAL);
	ck_assert_int_eq(rename_as(st, "f", "g", 0), 0);
	ck_assert_int_eq(lookup(st, ROOT, "f", &a), -ENOENT);
	ck_assert_int_eq(lookup(st, ROOT, "g", &a), 0);
	ck_assert_uint_eq(a.ino, f);
	ck_assert_int_eq(rename_as(st, "g", "d", STORE_RENAME_EXCHANGE), 0);
	ck_assert_int_eq(lookup(st, ROOT, "d", &a), 0);
	ck_assert_uint_eq(a.ino, f);
	ck_assert_int_eq(lookup(st, ROOT, "g", &a), 0);
	ck_assert_uint_eq(a.ino, d);
	end_store(st);
}
END_TEST

START_TEST(nlink_counts_subdirectories)
{
	struct store *st = new_store();
	struct store_attr a;
	uint64_t d = make(st, ROOT, "d", STORE_DIR);

	make(st, d, "one", STORE_DIR);
	make(st, d, "two", STORE_DIR);
	make(st, d, "file", STORE_FILE);
	ck_assert_int_eq(store_getattr(st, d, &a), 0);
	ck_assert_uint_eq(a.nlink, 4);
	ck_assert_int_eq(
		store_rename(st, d, span_str("one"), ROOT, span_str("one"), 0),
		0);
	ck_assert_int_eq(store_getattr(st, d, &a), 0);
	ck_assert_uint_eq(a.nlink, 3);
	ck_assert_int_eq(store_getattr(st, ROOT, &a), 0);
	ck_assert_uint_eq(a.nlink, 4);
	end_store(st);
}
END_TEST

/* --- attributes ------------------------------------------------------- */

START_TEST(times_follow_what_is_done)
{
	struct store_attr in = { .mtime_ns = 5, .atime_ns = 6 }, a;
	struct store *st = new_store();
	uint64_t ino = make(st, ROOT, "f", STORE_FILE);
	int64_t t0 = fake_now_ns;

	fake_now_ns += 1000;
	write_str(st, ino, "x");
	ck_assert_int_eq(store_getattr(st, ino, &a), 0);
	ck_assert_int_eq(a.mtime_ns, t0 + 1000);
	ck_assert_int_eq(a.ctime_ns, t0 + 1000);
	fake_now_ns += 1000;
	ck_assert_int_eq(store_setattr(st, ino,
				       STORE_SET_MTIME | STORE_SET_ATIME, &in,
				       &a),
			 0);
	ck_assert_int_eq(a.mtime_ns, 5);
	ck_assert_int_eq(a.atime_ns, 6);
	ck_assert_int_eq(a.ctime_ns, t0 + 2000);
	in.mode = 0600;
	fake_now_ns += 1000;
	ck_assert_int_eq(store_setattr(st, ino, STORE_SET_MODE, &in, &a), 0);
	ck_assert_int_eq(a.mtime_ns, 5);
	ck_assert_int_eq(a.ctime_ns, t0 + 3000);
	fake_now_ns += 1000;
	write_str(st, ino, "y");
	ck_assert_int_eq(store_getattr(st, ino, &a), 0);
	ck_assert_int_eq(a.mtime_ns, t0 + 4000);
	ck_assert_int_eq(a.ctime_ns, t0 + 4000);
	ck_assert_int_eq(a.atime_ns, 6);
	ck_assert_uint_eq(a.mode, S_IFREG | 0600);
	fake_now_ns += 1000;
	ck_assert_int_eq(rename_as(st, "f", "g", 0), 0);
	ck_assert_int_eq(store_getattr(st, ino, &a), 0);
	ck_assert_int_eq(a.mtime_ns, t0 + 4000);
	ck_assert_int_eq(a.ctime_ns, t0 + 5000);
	ck_assert_int_eq(store_getattr(st, ROOT, &a), 0);
	ck_assert_int_eq(a.mtime_ns, t0 + 5000);
	end_store(st);
}
END_TEST

START_TEST(a_set_group_id_directory_passes_its_group_on)
{
	const struct store_cred cred = { 5, 6, 0755 };
	struct store_attr in = { .mode = 02775, .gid = 99 }, a;
	struct store *st = new_store();
	uint64_t d = make(st, ROOT, "d", STORE_DIR);

	ck_assert_int_eq(
		store_setattr(st, d, STORE_SET_MODE | STORE_SET_GID, &in, NULL),
		0);
	ck_assert_int_eq(store_create(st, d, span_str("f"), STORE_FILE, &cred,
				      span_str(""), &a),
			 0);
	ck_assert_uint_eq(a.gid, 99);
	ck_assert_uint_eq(a.uid, 5);
	ck_assert_uint_eq(a.mode, S_IFREG | 0755);
	store_forget(st, a.ino, 1);
	ck_assert_int_eq(store_create(st, d, span_str("s"), STORE_DIR, &cred,
				      span_str(""), &a),
			 0);
	ck_assert_uint_eq(a.gid, 99);
	ck_assert_uint_eq(a.mode, S_IFDIR | 02755);
	store_forget(st, a.ino, 1);
	end_store(st);
}
END_TEST

/* --- limits ----------------------------------------------------------- */

START_TEST(growth_beyond_the_memory_limit_is_refused)
{
	struct store *st = new_store();
	struct store_attr in = { 0 };
	uint64_t ino = make(st, ROOT, "f", STORE_FILE);
	static char big[1 << 20];

	ck_assert_int_eq(store_write(st, ino, 0, big, sizeof(big)), 0);
	store_set_max_memory(st, 1 << 20);
	ck_assert_int_eq(store_write(st, ino, sizeof(big), big, 1), -ENOSPC);
	ck_assert_int_eq(create(st, ROOT, "g", STORE_FILE), -ENOSPC);
	ck_assert_int_eq(store_write(st, ino, 0, "over", 4), 0);
	ck_assert_int_eq(rename_as(st, "f", "h", 0), 0);
	ck_assert_int_eq(store_setattr(st, ino, STORE_SET_SIZE, &in, NULL), 0);
	ck_assert_int_eq(create(st, ROOT, "g", STORE_FILE), 0);
	ck_assert_int_eq(store_unlink(st, ROOT, span_str("g")), 0);
	end_store(st);
}
END_TEST

START_TEST(a_value_grows_to_its_limit_only)
{
	struct store *st = new_store();
	struct store_attr in = { .size = 1001 };
	uint64_t ino = make(st, ROOT, "f", STORE_FILE);

	store_set_max_value(st, 1000);
	ck_assert_int_eq(store_write(st, ino, 999, "ab", 2), -EFBIG);
	ck_assert_int_eq(store_write(st, ino, 999, "a", 1), 0);
	ck_assert_int_eq(store_setattr(st, ino, STORE_SET_SIZE, &in, NULL),
			 -EFBIG);
	ck_assert_int_eq(store_write(st, ino, UINT64_MAX, "ab", 2), -EFBIG);
	end_store(st);
}
END_TEST

START_TEST(a_growth_error_lets_the_rest_work)
{
	struct store *st = new_store();
	struct store_attr in = { .size = 1 };
	uint64_t ino = make(st, ROOT, "f", STORE_FILE);

	write_str(st, ino, "text");
	store_set_growth_error(st, EIO);
	ck_assert_int_eq(create(st, ROOT, "g", STORE_FILE), -EIO);
	ck_assert_int_eq(create(st, ROOT, "g", STORE_DIR), -EIO);
	ck_assert_int_eq(store_write(st, ino, 0, "x", 1), -EIO);
	ck_assert_int_eq(rename_as(st, "f", "g", 0), -EIO);
	assert_content(st, ino, "text");
	ck_assert_int_eq(store_setattr(st, ino, STORE_SET_SIZE, &in, NULL), 0);
	ck_assert_int_eq(store_unlink(st, ROOT, span_str("f")), 0);
	store_set_growth_error(st, 0);
	ck_assert_int_eq(create(st, ROOT, "g", STORE_FILE), 0);
	end_store(st);
}
END_TEST

/* --- readdir ---------------------------------------------------------- */

struct walk {
	char seen[3000]; /* times number i was met */
	int room;	 /* entries to take in this call */
	uint64_t cookie;
	int n;
};

static bool take(void *arg, struct span name, const struct store_attr *attr,
		 uint64_t cookie)
{
	struct walk *w = arg;
	char buf[32] = "";

	(void)attr;
	if (w->room-- == 0)
		return false;
	memcpy(buf, name.ptr, MIN(name.len, sizeof(buf) - 1));
	if (buf[0] == 'e')
		w->seen[atoi(buf + 1)]++;
	ck_assert_uint_gt(cookie, w->cookie);
	w->cookie = cookie;
	w->n++;
	return true;
}

static uint64_t entry(struct store *st, int i)
{
	char name[32];

	snprintf(name, sizeof(name), "e%d", i);
	return make(st, ROOT, name, STORE_FILE);
}

static int drop_entry(struct store *st, int i)
{
	char name[32];

	snprintf(name, sizeof(name), "e%d", i);
	return store_unlink(st, ROOT, span_str(name));
}

/* Half of the names go, others come, one is renamed: what stays is met once. */
START_TEST(a_walk_meets_every_untouched_name_once)
{
	struct unit_rng rng = unit_rng(7 + (uint64_t)_i);
	struct store *st = new_store();
	struct walk w = { .room = 0 };
	bool gone[1000] = { false };
	int before, i;

	for (i = 0; i < 1000; i++)
		entry(st, i);
	do {
		before = w.n;
		w.room = (int)unit_range(&rng, 1, 40);
		ck_assert_int_eq(
			store_readdir(st, ROOT, w.cookie, false, take, &w), 0);
		for (int k = 0; k < 20; k++) {
			i = (int)unit_below(&rng, 1000);
			if (i % 2 && drop_entry(st, i) == 0)
				gone[i] = true;
		}
	} while (w.n > before);
	for (i = 0; i < 1000; i++)
		if (gone[i])
			ck_assert_int_le(w.seen[i], 1);
		else
			ck_assert_int_eq(w.seen[i], 1);
	end_store(st);
}
END_TEST

START_TEST(cookies_stay_valid_when_a_directory_is_emptied_and_refilled)
{
	struct store *st = new_store();
	struct walk w = { .room = 500 }, rest = { .room = 10000 };

	for (int i = 0; i < 1000; i++)
		entry(st, i);
	ck_assert_int_eq(store_readdir(st, ROOT, 0, false, take, &w), 0);
	for (int i = 0; i < 1000; i++)
		ck_assert_int_eq(drop_entry(st, i), 0);
	for (int i = 1000; i < 2500; i++)
		entry(st, i);
	rest.cookie = w.cookie;
	ck_assert_int_eq(store_readdir(st, ROOT, w.cookie, false, take, &rest),
			 0);
	for (int i = 0; i < 2500; i++)
		ck_assert_int_eq(rest.seen[i], i >= 1000);
	end_store(st);
}
END_TEST

START_TEST(readdirplus_takes_references)
{
	struct store *st = new_store();
	struct walk w = { .room = 10 };
	struct store_attr a;
	uint64_t ino = entry(st, 1);

	ck_assert_int_eq(store_readdir(st, ROOT, 0, true, take, &w), 0);
	ck_assert_int_eq(drop_entry(st, 1), 0);
	ck_assert_int_eq(store_getattr(st, ino, &a), 0);
	store_forget(st, ino, 1);
	ck_assert_int_eq(store_getattr(st, ino, &a), -ESTALE);
	end_store(st);
}
END_TEST

/* --- expiry ----------------------------------------------------------- */

struct gone {
	int n;
	uint64_t parent, ino;
	char name[64];
};

static void note_gone(void *arg, uint64_t parent, uint64_t ino,
		      struct span name)
{
	struct gone *g = arg;

	g->n++;
	g->parent = parent;
	g->ino = ino;
	memcpy(g->name, name.ptr, name.len);
	g->name[name.len] = '\0';
}

START_TEST(an_expired_key_is_absent_before_and_after_the_sweep)
{
	struct store *st = new_store();
	struct store_attr a;
	struct gone g = { 0 };
	uint64_t ino = make(st, ROOT, "f", STORE_FILE), keys, expires;
	int64_t deadline = fake_now_ns / 1000000 + 50, next;

	ck_assert_int_eq(store_set_expire(st, ino, deadline), 0);
	store_db_size(st, 0, &keys, &expires);
	ck_assert_uint_eq(expires, 1);
	ck_assert_int_eq(store_expire(st, 10, note_gone, &g, &next), 0);
	ck_assert_int_eq(next, deadline);
	ck_assert_int_eq(lookup(st, ROOT, "f", &a), 0);
	ck_assert_int_eq(a.expire_ms, deadline);
	fake_now_ns += 50 * 1000000;
	ck_assert_int_eq(lookup(st, ROOT, "f", &a), 0); /* in that very ms */
	fake_now_ns += 1000000;
	ck_assert_int_eq(lookup(st, ROOT, "f", &a), -ENOENT);
	ck_assert_int_eq(store_expire(st, 10, note_gone, &g, &next), 1);
	ck_assert_int_eq(next, 0);
	ck_assert_str_eq(g.name, "f");
	ck_assert_uint_eq(g.ino, ino);
	ck_assert_uint_eq(g.parent, ROOT);
	store_db_size(st, 0, &keys, &expires);
	ck_assert_uint_eq(keys + expires, 0);
	end_store(st);
}
END_TEST

START_TEST(an_expired_key_makes_way)
{
	struct store *st = new_store();
	uint64_t d = make(st, ROOT, "d", STORE_DIR);
	uint64_t f = make(st, d, "f", STORE_FILE);

	ck_assert_int_eq(store_set_expire(st, f, fake_now_ns / 1000000 + 1), 0);
	fake_now_ns += 2000000;
	ck_assert_int_eq(create(st, d, "f", STORE_FILE), 0);
	ck_assert_int_eq(store_rmdir(st, ROOT, span_str("d")), -ENOTEMPTY);
	ck_assert_int_eq(store_unlink(st, d, span_str("f")), 0);
	f = make(st, d, "g", STORE_FILE);
	ck_assert_int_eq(store_set_expire(st, f, fake_now_ns / 1000000 + 1), 0);
	fake_now_ns += 2000000;
	ck_assert_int_eq(store_rmdir(st, ROOT, span_str("d")), 0);
	end_store(st);
}
END_TEST

static int put(struct store *st, const char *key, size_t len,
	       enum store_type type);

static int64_t stepping_clock(void)
{
	return fake_now_ns += 1000000;
}

/* The clock moves on between two looks at the same key. */
START_TEST(a_rename_onto_itself_survives_the_deadline)
{
	const struct store_options opt = { .sep = '/',
					   .now_ns = stepping_clock };
	struct store *st;
	uint64_t f;

	for (int ms = 0; ms < 12; ms++) {
		ck_assert_int_eq(store_new(&opt, &st), 0);
		f = make(st, ROOT, "f", STORE_FILE);
		ck_assert_int_eq(
			store_set_expire(st, f, fake_now_ns / 1000000 + ms), 0);
		int r = rename_as(st, "f", "f", 0);

		ck_assert(r == 0 || r == -ENOENT);
		end_store(st);
	}
}
END_TEST

/* What is done for each key must not grow with its depth. */
START_TEST(a_deep_key_loads_at_once)
{
	enum {
		DEPTH = 200000
	};
	struct store *st = new_store();
	char *key = malloc(DEPTH);

	memset(key, '/', DEPTH);
	ck_assert_int_eq(put(st, key, DEPTH, STORE_FILE), 0);
	ck_assert_int_eq(put(st, key, DEPTH - 1, STORE_FILE), 0);
	free(key);
	store_free(st);
}
END_TEST

START_TEST(expiry_moves_along_and_can_be_removed)
{
	struct store *st = new_store();
	struct store_attr a;
	uint64_t f = make(st, ROOT, "f", STORE_FILE);
	int64_t deadline = fake_now_ns / 1000000 + 1000;

	make(st, ROOT, "g", STORE_FILE);
	ck_assert_int_eq(store_set_expire(st, f, deadline), 0);
	ck_assert_int_eq(rename_as(st, "f", "g", 0), 0);
	ck_assert_int_eq(lookup(st, ROOT, "g", &a), 0);
	ck_assert_int_eq(a.expire_ms, deadline);
	ck_assert_int_eq(store_set_expire(st, f, 0), 0);
	ck_assert_int_eq(lookup(st, ROOT, "g", &a), 0);
	ck_assert_int_eq(a.expire_ms, 0);
	end_store(st);
}
END_TEST

/* --- loading ---------------------------------------------------------- */

static int put(struct store *st, const char *key, size_t len,
	       enum store_type type)
{
	struct store_item item = { .type = type,
				   .rdb_type = type == STORE_FILE ? 0 : 2,
				   .idle_s = -1,
				   .freq = -1,
				   .mtime_ns = 1000 };

	ck_assert_int_eq(value_new(store_mem(st), key, len, &item.value), 0);
	return store_put(st, 0, span_of(key, len), &item, NULL);
}

static void assert_same_tree(const char *const *keys, int n, const int *order)
{
	static char *first; /* the listing of the first order */
	struct store *st = new_store();
	struct listing l;
	char *text;

	for (int i = 0; i < n; i++)
		ck_assert_int_eq(put(st, keys[order[i]], strlen(keys[order[i]]),
				     STORE_FILE),
				 0);
	for (int i = 0; i < n; i++)
		ck_assert_int_eq(put(st, keys[i], strlen(keys[i]), STORE_FILE),
				 -EEXIST);
	listing_of_store(st, &l);
	text = calloc(1, 1 << 16);
	for (size_t i = 0; i < l.n; i++) {
		strcat(text, l.line[i]);
		strcat(text, "\n");
	}
	if (!first)
		first = text;
	ck_assert_str_eq(text, first);
	if (first != text)
		free(text);
	listing_fini(&l);
	end_store(st);
}

START_TEST(a_key_that_is_also_a_prefix_has_one_tree)
{
	static const char *const keys[] = { "a", "a/b", "a/b/c", "a/",
					    "a/b/c/d" };
	int o[5];

	for (int i = 0; i < 3125; i++) {
		bool used[5] = { false }, ok = true;

		for (int k = 0, x = i; k < 5; k++, x /= 5) {
			o[k] = x % 5;
			ok &= !used[o[k]];
			used[o[k]] = true;
		}
		if (ok)
			assert_same_tree(keys, 5, o);
	}
}
END_TEST

START_TEST(facts_come_and_go_with_their_paths)
{
	const struct store_facts dir = { .mask = STORE_FACT_DIR };
	const struct store_facts mode = { .mask = STORE_FACT_MODE,
					  .mode = 0600 };
	const struct store_facts link = { .mask = STORE_FACT_SYMLINK };
	struct store *st = new_store();
	struct store_attr a;

	ck_assert_int_eq(put(st, "k", 1, STORE_FILE), 0);
	ck_assert_int_eq(put(st, "l", 1, STORE_FILE), 0);
	ck_assert_int_eq(store_put_facts(st, 0, span_str("e/f"), &dir), 0);
	ck_assert_int_eq(store_put_facts(st, 0, span_str("l"), &link), 0);
	ck_assert_int_eq(store_put_facts(st, 0, span_str("k"), &mode), 0);
	ck_assert_int_eq(store_put_facts(st, 0, span_str("nix"), &mode),
			 -ENOENT);
	/* written when `k` was a directory too */
	ck_assert_int_eq(store_put_facts(st, 0, span_str("k/%="), &mode), 0);
	ck_assert_int_eq(store_put_facts(st, 0, span_str("/k"), &mode),
			 -EINVAL);
	ck_assert_int_eq(store_put_facts(st, 0, span_str("k/"), &mode),
			 -EINVAL);
	ck_assert_int_eq(store_put_facts(st, 0, span_str("x/%="), &dir),
			 -EINVAL);
	ck_assert_int_eq(store_put_facts(st, 0, span_str(".ctl"), &dir),
			 -EINVAL);
	ck_assert_int_eq(store_put_facts(st, 0, span_str(""), &mode), 0);
	ck_assert_int_eq(lookup(st, ROOT, "k", &a), 0);
	ck_assert_uint_eq(a.mode, S_IFREG | 0600);
	ck_assert_int_eq(lookup(st, ROOT, "l", &a), 0);
	ck_assert_uint_eq(a.mode, S_IFLNK | 0777);
	ck_assert_int_eq(lookup(st, ROOT, "e", &a), 0);
	ck_assert_int_eq(lookup(st, a.ino, "f", &a), 0);
	ck_assert_uint_eq(a.mode, S_IFDIR | 0755);
	ck_assert_int_eq(store_getattr(st, ROOT, &a), 0);
	ck_assert_uint_eq(a.mode, S_IFDIR | 0600);
	end_store(st);
}
END_TEST

START_TEST(databases_are_counted_apart)
{
	struct store_item item = { .type = STORE_FILE,
				   .idle_s = -1,
				   .freq = -1 };
	struct store *st = new_store();
	struct store_stats stats;
	struct store_attr a;
	uint64_t keys, expires;

	ck_assert_int_eq(store_put(st, 0, span_str("k"), &item, NULL), 0);
	item.expire_ms = INT64_MAX;
	ck_assert_int_eq(store_put(st, 9, span_str("k"), &item, NULL), 0);
	ck_assert_int_eq(
		store_put(st, STORE_N_DBS_MAX, span_str("k"), &item, NULL),
		-EINVAL);
	store_db_size(st, 9, &keys, &expires);
	ck_assert_uint_eq(keys, 1);
	ck_assert_uint_eq(expires, 1);
	store_db_size(st, 5, &keys, &expires);
	ck_assert_uint_eq(keys + expires, 0);
	store_get_stats(st, &stats);
	ck_assert_uint_eq(stats.n_keys, 2);
	ck_assert_uint_eq(stats.n_dbs, 10);
	ck_assert_uint_eq(stats.changes, 0);
	ck_assert_int_eq(lookup(st, ROOT, "k", &a), 0);
	ck_assert_int_eq(a.expire_ms, 0);
	end_store(st);
}
END_TEST

/* --- collections ------------------------------------------------------ */

START_TEST(a_collection_is_a_read_only_directory)
{
	const struct store_member m[] = {
		{ span_str("field"), span_str("value") },
		{ span_str("%="), span_str("") },
	};
	struct store *st = new_store();
	struct store_attr coll, a, in = { .mode = 0777 };
	struct walk w = { .room = 10 };

	ck_assert_int_eq(put(st, "h", 1, STORE_TYPED), 0);
	ck_assert_int_eq(lookup(st, ROOT, "h", &coll), 0);
	ck_assert_uint_eq(coll.mode, S_IFDIR | 0555);
	ck_assert_uint_eq(coll.rdb_type, 2);
	ck_assert_int_eq(lookup(st, coll.ino, "field", &a), -EAGAIN);
	ck_assert_int_eq(store_readdir(st, coll.ino, 0, false, take, &w),
			 -EAGAIN);
	ck_assert_int_eq(store_members_fill(st, coll.ino, m, 2), 0);
	ck_assert_int_eq(store_members_fill(st, coll.ino, m, 2), 0);
	ck_assert_int_eq(store_readdir(st, coll.ino, 0, false, take, &w), 0);
	ck_assert_int_eq(w.n, 4);
	ck_assert_int_eq(lookup(st, coll.ino, "field", &a), 0);
	assert_content(st, a.ino, "value");
	ck_assert_int_eq(store_write(st, a.ino, 0, "x", 1), -EPERM);
	ck_assert_int_eq(create(st, coll.ino, "new", STORE_FILE), -EPERM);
	ck_assert_int_eq(store_unlink(st, coll.ino, span_str("field")), -EPERM);
	ck_assert_int_eq(store_rmdir(st, ROOT, span_str("h")), -EPERM);
	ck_assert_int_eq(store_unlink(st, ROOT, span_str("h")), -EISDIR);
	ck_assert_int_eq(rename_as(st, "h", "i", 0), -EPERM);
	ck_assert_int_eq(store_setattr(st, coll.ino, STORE_SET_MODE, &in, NULL),
			 -EPERM);
	ck_assert_int_eq(
		store_set_expire(st, coll.ino, fake_now_ns / 1000000 - 1), 0);
	ck_assert_int_eq(store_expire(st, 10, NULL, NULL, NULL), 1);
	ck_assert_int_eq(store_getattr(st, a.ino, &a), -ESTALE);
	end_store(st);
}
END_TEST

/* --- size ------------------------------------------------------------- */

/* What DESIGN.md says a key costs: if this grows, say so there first. */
START_TEST(a_small_key_costs_what_the_notes_say)
{
	struct store *st = new_store();
	struct store_item item = { .type = STORE_FILE,
				   .idle_s = -1,
				   .freq = -1 };
	enum {
		N = 200000
	};
	char key[32], value[100];
	double per_key;

	memset(value, 'v', sizeof(value));
	for (int i = 0; i < N; i++) {
		snprintf(key, sizeof(key), "key:%012d", i);
		ck_assert_int_eq(value_new(store_mem(st), value, sizeof(value),
					   &item.value),
				 0);
		ck_assert_int_eq(store_put(st, 0, span_str(key), &item, NULL),
				 0);
	}
	per_key = (double)mem_used(store_mem(st)) / N;
	ck_assert_msg(per_key < 185, "%.1f bytes", per_key);
	end_store(st);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("store");
	TCase *tc = tcase_create("store");

	tcase_add_test(tc, a_name_is_found_until_it_is_removed);
	tcase_add_test(tc, a_referenced_file_outlives_its_name);
	tcase_add_test(tc, a_number_is_not_used_again);
	tcase_add_test(tc, names_that_cannot_be_are_refused);
	tcase_add_test(tc, removing_the_wrong_kind_is_refused);
	tcase_add_test(tc, nothing_is_made_in_a_removed_directory);
	tcase_add_test(tc, rename_answers_as_posix_says);
	tcase_add_test(tc, nlink_counts_subdirectories);
	tcase_add_test(tc, times_follow_what_is_done);
	tcase_add_test(tc, a_set_group_id_directory_passes_its_group_on);
	tcase_add_test(tc, growth_beyond_the_memory_limit_is_refused);
	tcase_add_test(tc, a_value_grows_to_its_limit_only);
	tcase_add_test(tc, a_growth_error_lets_the_rest_work);
	tcase_add_loop_test(tc, a_walk_meets_every_untouched_name_once, 0, 5);
	tcase_add_test(
		tc,
		cookies_stay_valid_when_a_directory_is_emptied_and_refilled);
	tcase_add_test(tc, readdirplus_takes_references);
	tcase_add_test(tc, an_expired_key_is_absent_before_and_after_the_sweep);
	tcase_add_test(tc, an_expired_key_makes_way);
	tcase_add_test(tc, a_rename_onto_itself_survives_the_deadline);
	tcase_add_test(tc, a_deep_key_loads_at_once);
	tcase_add_test(tc, expiry_moves_along_and_can_be_removed);
	tcase_add_test(tc, a_key_that_is_also_a_prefix_has_one_tree);
	tcase_add_test(tc, facts_come_and_go_with_their_paths);
	tcase_add_test(tc, databases_are_counted_apart);
	tcase_add_test(tc, a_collection_is_a_read_only_directory);
	tcase_add_test(tc, a_small_key_costs_what_the_notes_say);
	suite_add_tcase(s, tc);
	return s;
}

int main(void)
{
	static Suite *(*const suites[])(void) = { suite, NULL };

	return unit_main(suites);
}
