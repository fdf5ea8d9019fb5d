/* SPDX-License-Identifier: MIT */

/*
 * The dump is the old one or the new one, whole, whatever fails and when. The
 * order of the calls is pinned as well: a sync that is missing fails nothing.
 */

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "persist/rdb.h"
#include "store/store.h"
#include "store/view.h"
#include "tests/lib/faulty.h"
#include "tests/lib/unit.h"

#define DUMP "dump.rdb"

enum {
	N_KEYS = 3000,	  /* of 1000 bytes: four writes */
	N_CALLS = 9,	  /* open, 4 writes, fsync, close, rename, fsync-dir */
	AT_FSYNC_DIR = 9, /* past the rename */
};

static struct unit_scratch scratch;
static struct faulty faulty;
static struct store *st;
static struct view *view;

static void setup(void)
{
	const struct store_options opt = { .sep = '/' };
	struct unit_rng rng = unit_rng(5);
	uint8_t value[1000];
	char key[32];

	unit_scratch_init(&scratch);
	faulty_init(&faulty, scratch.dirfd);
	ck_assert_int_eq(store_new(&opt, &st), 0);
	for (int i = 0; i < N_KEYS; i++) {
		struct store_item it = { .type = STORE_FILE,
					 .idle_s = -1,
					 .freq = -1 };

		unit_bytes(&rng, value, sizeof(value));
		snprintf(key, sizeof(key), "key:%d", i);
		ck_assert_int_eq(value_new(store_mem(st), value, sizeof(value),
					   &it.value),
				 0);
		ck_assert_int_eq(store_put(st, 0, span_str(key), &it, NULL), 0);
	}
	ck_assert_int_eq(view_begin(st, NULL, NULL, &view), 0);
}

static void teardown(void)
{
	view_end(view);
	store_free(st);
	unit_scratch_fini(&scratch);
}

static int save(struct rdb_save_stats *stats)
{
	const struct rdb_save_options opt = { .compress = true,
					      .checksum = true };

	return rdb_save(&faulty.io, scratch.dirfd, DUMP, view, NULL, &opt,
			stats);
}

static bool is_old(const char *name)
{
	size_t len;
	char *p = unit_scratch_read(&scratch, name, &len);
	bool old = len == 3 && memcmp(p, "old", 3) == 0;

	free(p);
	return old;
}

/* All bytes are there: the EOF code stands before the checksum. */
static void assert_complete(void)
{
	size_t len;
	uint8_t *p = unit_scratch_read(&scratch, DUMP, &len);

	ck_assert_uint_gt(len, N_KEYS * 1000u);
	ck_assert_int_eq(memcmp(p, "REDIS0010", 9), 0);
	ck_assert_uint_eq(p[len - 9], RDB_OP_EOF);
	free(p);
}

START_TEST(the_data_are_durable_before_the_name_and_the_name_before_the_end)
{
	struct rdb_save_stats stats;

	ck_assert_int_eq(save(&stats), 0);
	ck_assert_str_eq(faulty.trace,
			 "open write fsync close rename fsync-dir");
	ck_assert_int_eq(faulty.n_calls, N_CALLS);
	ck_assert_int_eq(faulty.n_open, 0);
	ck_assert_uint_eq(stats.keys, N_KEYS);
	ck_assert_int_eq(unit_scratch_count(&scratch), 1);
	assert_complete();
}
END_TEST

static const int errors[] = { EIO, ENOSPC, EDQUOT };

/* Fails the n-th call, for one n more than there are. */
START_TEST(a_save_is_all_or_nothing)
{
	const int n = _i / (int)ARRAY_LEN(errors) + 1;
	const int error = errors[_i % (int)ARRAY_LEN(errors)];
	struct rdb_save_stats stats = { 77, 77 };
	int r;

	unit_scratch_write(&scratch, DUMP, "old", 3);
	faulty.fail_at = n;
	faulty.error = error;
	r = save(&stats);
	ck_assert(faulty.fired == (n <= N_CALLS));
	ck_assert_int_eq(r, faulty.fired ? -error : 0);
	ck_assert_uint_eq(stats.keys, faulty.fired ? 77 : N_KEYS);
	if (n < AT_FSYNC_DIR)
		ck_assert(is_old(DUMP));
	else
		assert_complete();
	ck_assert_int_eq(unit_scratch_count(&scratch), 1);
	ck_assert_int_eq(faulty.n_open, 0);
}
END_TEST

START_TEST(what_failed_is_not_tried_again_and_not_renamed)
{
	static const struct {
		const char *call, *trace;
	} t[] = {
		{ "open", "open" },
		{ "write", "open write close unlink" },
		{ "fsync", "open write fsync close unlink" },
		{ "close", "open write fsync close unlink" },
		{ "rename", "open write fsync close rename unlink" },
		{ "fsync-dir", "open write fsync close rename fsync-dir" },
	};
	struct rdb_save_stats stats;

	faulty.only = t[_i].call;
	faulty.fail_at = 1;
	faulty.error = EIO;
	ck_assert_int_eq(save(&stats), -EIO);
	ck_assert_str_eq(faulty.fired_call, t[_i].call);
	ck_assert_str_eq(faulty.trace, t[_i].trace);
}
END_TEST

START_TEST(short_writes_are_continued)
{
	struct rdb_save_stats stats;

	faulty.write_max = 4097;
	ck_assert_int_eq(save(&stats), 0);
	assert_complete();
	ck_assert_int_gt(faulty.n_calls, N_KEYS * 1000 / 4097);
}
END_TEST

/* A disk that takes a part and is then full, as disks are. */
START_TEST(a_full_disk_leaves_the_old_dump)
{
	struct rdb_save_stats stats;

	unit_scratch_write(&scratch, DUMP, "old", 3);
	faulty.write_max = 100000;
	faulty.only = "write";
	faulty.fail_at = 17;
	faulty.error = ENOSPC;
	ck_assert_int_eq(save(&stats), -ENOSPC);
	ck_assert(is_old(DUMP));
	ck_assert_int_eq(unit_scratch_count(&scratch), 1);
}
END_TEST

START_TEST(a_view_that_ends_early_leaves_the_old_dump)
{
	struct rdb_save_stats stats;

	unit_scratch_write(&scratch, DUMP, "old", 3);
	view_cancel(view);
	ck_assert_int_eq(save(&stats), -ECANCELED);
	ck_assert_str_eq(faulty.trace, "open close unlink");
	ck_assert(is_old(DUMP));
	ck_assert_int_eq(unit_scratch_count(&scratch), 1);
}
END_TEST

/* What a crash left is longer than the dump: none of it may stay in. */
START_TEST(a_leftover_is_overwritten)
{
	struct rdb_save_stats stats;
	static char junk[5 << 20];
	struct stat s;

	memset(junk, 'x', sizeof(junk));
	unit_scratch_write(&scratch, RDB_TMP_NAME, junk, sizeof(junk));
	ck_assert_int_eq(save(&stats), 0);
	ck_assert_int_eq(fstatat(scratch.dirfd, DUMP, &s, 0), 0);
	ck_assert_uint_eq((uint64_t)s.st_size, stats.bytes);
	ck_assert_int_eq(unit_scratch_count(&scratch), 1);
}
END_TEST

/* Otherwise a name planted in DATADIR would decide which file is overwritten.
 */
START_TEST(a_symlink_is_not_written_through)
{
	struct rdb_save_stats stats;

	unit_scratch_write(&scratch, "precious", "old", 3);
	ck_assert_int_eq(symlinkat("precious", scratch.dirfd, RDB_TMP_NAME), 0);
	ck_assert_int_eq(save(&stats), -ELOOP);
	ck_assert(is_old("precious"));
}
END_TEST

START_TEST(the_umask_decides_who_may_read)
{
	struct rdb_save_stats stats;
	struct stat s;

	umask(_i ? 077 : 022);
	ck_assert_int_eq(save(&stats), 0);
	ck_assert_int_eq(fstatat(scratch.dirfd, DUMP, &s, 0), 0);
	ck_assert_int_eq(s.st_mode & 0777, _i ? 0600 : 0644);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("rdb_save");
	TCase *tc = tcase_create("rdb_save");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(
		tc,
		the_data_are_durable_before_the_name_and_the_name_before_the_end);
	tcase_add_loop_test(tc, a_save_is_all_or_nothing, 0,
			    (N_CALLS + 1) * (int)ARRAY_LEN(errors));
	tcase_add_loop_test(tc, what_failed_is_not_tried_again_and_not_renamed,
			    0, 6);
	tcase_add_test(tc, short_writes_are_continued);
	tcase_add_test(tc, a_full_disk_leaves_the_old_dump);
	tcase_add_test(tc, a_view_that_ends_early_leaves_the_old_dump);
	tcase_add_test(tc, a_leftover_is_overwritten);
	tcase_add_test(tc, a_symlink_is_not_written_through);
	tcase_add_loop_test(tc, the_umask_decides_who_may_read, 0, 2);
	suite_add_tcase(s, tc);
	return s;
}

int main(void)
{
	static Suite *(*const suites[])(void) = { suite, NULL };

	return unit_main(suites);
}
