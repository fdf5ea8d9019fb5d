/* SPDX-License-Identifier: MIT */
/* keyfs.conf: Redis' syntax and defaults, exact refusals, edits that leave the
 * rest of the file alone, and changes that happen wholly or not at all. */
#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fs/conf.h"
#include "fs/conf_file.h"
#include "tests/lib/unit.h"

/* --- helpers ------------------------------------------------------------ */

static struct unit_scratch dir;

static void setup(void)
{
	unit_scratch_init(&dir);
}

static void teardown(void)
{
	unit_scratch_fini(&dir);
}

static void put_file(const char *text)
{
	unit_scratch_write(&dir, CONF_FILE_NAME, text, strlen(text));
}

static void expect_file(const char *text)
{
	size_t len;
	char *got = unit_scratch_read(&dir, CONF_FILE_NAME, &len);

	ck_assert_str_eq(got, text);
	free(got);
}

static struct conf *open_ok(void)
{
	struct conf_error err;
	struct conf *c = NULL;
	int r = conf_open(&io_system, dir.dirfd, &c, &err);

	ck_assert_msg(r == 0, "%d: line %d: %s", r, err.line, err.what);
	return c;
}

static struct conf *open_text(const char *text)
{
	put_file(text);
	return open_ok();
}

static int index_of(const char *name)
{
	for (int i = 0; conf_name(i); i++)
		if (strcmp(conf_name(i), name) == 0)
			return i;
	ck_abort_msg("no directive %s", name);
	return -1;
}

static void expect_value(struct conf *c, const char *name, const char *value)
{
	char buf[CONF_VALUE_MAX];
	size_t len = conf_print(c, index_of(name), buf);

	ck_assert_str_eq(buf, value);
	ck_assert_uint_eq(len, strlen(value));
}

static int set(struct conf *c, const char *name, const char *value)
{
	return conf_set(c, index_of(name), span_str(value), NULL, NULL);
}

/* --- reading ------------------------------------------------------------ */

static const struct {
	const char *text, *name, *value;
} readable[] = {
	{ "", "save", "3600 1 300 100 60 10000" },
	{ "# save \"\n", "save", "3600 1 300 100 60 10000" },
	{ "  # it's a comment\n\n \t\r\nSAVE 5 1\n", "save", "5 1" },
	{ "save 5 1\nsave 7 2\n", "save", "5 1 7 2" },
	{ "save 5 1 7 2", "save", "5 1 7 2" },
	{ "save \"5 1 7 2\"", "save", "5 1 7 2" },
	{ "save \"\"", "save", "\"\"" },
	{ "save ''", "save", "\"\"" },
	{ "save 5 1\nsave \"\"\n", "save", "\"\"" },
	{ "save \"\"\nsave 5 0\n", "save", "5 0" },
	{ "", "dbfilename", "dump.rdb" },
	{ "dbfilename my.rdb\n", "dbfilename", "my.rdb" },
	{ "dbfilename \"my dump\\x2erdb\"\n", "dbfilename", "\"my dump.rdb\"" },
	{ "dbfilename 'it\\'s'\n", "dbfilename", "\"it's\"" },
	{ "dbfilename a\ndbfilename b\n", "dbfilename", "b" },
	{ "", "maxmemory", "0" },
	{ "maxmemory 1k\n", "maxmemory", "1000" },
	{ "maxmemory 1Kb\n", "maxmemory", "1024" },
	{ "maxmemory 3b\n", "maxmemory", "3" },
	{ "maxmemory 2m\n", "maxmemory", "2000000" },
	{ "maxmemory 2MB\r\n", "maxmemory", "2097152" },
	{ "maxmemory 3g\n", "maxmemory", "3000000000" },
	{ "maxmemory \"3GB\"\n", "maxmemory", "3221225472" },
	{ "", "proto-max-bulk-len", "536870912" },
	{ "proto-max-bulk-len 1mb\n", "proto-max-bulk-len", "1048576" },
	{ "", "rdbcompression", "yes" },
	{ "rdbcompression NO\n", "rdbcompression", "no" },
	{ "RdbChecksum no\n", "rdbchecksum", "no" },
	{ "", "rdb-save-incremental-fsync", "yes" },
	{ "stop-writes-on-bgsave-error no\n", "stop-writes-on-bgsave-error",
	  "no" },
	{ "", "loglevel", "notice" },
	{ "loglevel Debug\n", "loglevel", "debug" },
	{ "loglevel warning\n", "loglevel", "warning" },
	{ "snapshot-memory-limit 100mb\n", "snapshot-memory-limit",
	  "104857600" },
	/* What a redis.conf has beside these and what means nothing new. */
	{ "appendonly no\nappendfilename \"appendonly.aof\"\n"
	  "appenddirname \"appendonlydir\"\nappendfsync everysec\n"
	  "no-appendfsync-on-rewrite no\nauto-aof-rewrite-percentage 100\n"
	  "auto-aof-rewrite-min-size 64mb\naof-load-truncated yes\n"
	  "aof-use-rdb-preamble yes\naof-timestamp-enabled no\n"
	  "rdb-del-sync-files no\ndir ./\nmaxmemory-policy noeviction\n"
	  "aof-rewrite-incremental-fsync yes\nsanitize-dump-payload no\n"
	  "save 9 9\n",
	  "save", "9 9" },
};

START_TEST(reads_what_redis_would_read)
{
	struct conf *c = open_text(readable[_i].text);

	expect_value(c, readable[_i].name, readable[_i].value);
	conf_close(c);
}
END_TEST

static const struct {
	const char *text;
	int line;
	const char *what; /* a part of the message */
} refused[] = {
	{ "rdbcompression maybe", 1, "rdbcompression: it takes yes or no" },
	{ "\n# x\nrdbcompression", 3, "rdbcompression: it has no value" },
	{ "rdbcompression yes no", 1, "it takes one value, not 2" },
	{ "rdbcompresion yes", 1,
	  "rdbcompresion: keyfs does not know this directive" },
	{ "save 1", 1, "pairs of seconds and changes" },
	{ "save 0 1", 1, "seconds start at 1" },
	{ "save 1 -1", 1, "seconds start at 1" },
	{ "save 1 99999999999999999999", 1, "seconds start at 1" },
	{ "save 1 1 2", 1, "pairs" },
	{ "save 1 1\nsave 1 1 2 2 3 3 4 4 5 5 6 6 7 7 8 8\n"
	  "save 1 1 2 2 3 3 4 4 5 5 6 6 7 7 8 8\n",
	  3, "more than 16" },
	{ "save 1 1 2 2 3 3 4 4 5 5 6 6 7 7 8 8 9 9 10 10 11 11 12 12 13 13"
	  " 14 14 15 15 16 16 17 17",
	  1, "too many values" },
	{ "maxmemory 1kk", 1, "number of bytes" },
	{ "maxmemory -1", 1, "number of bytes" },
	{ "maxmemory \"\"", 1, "number of bytes" },
	{ "maxmemory 99999999999gb", 1, "number of bytes" },
	{ "maxmemory 18446744073709551615", 1, "0 to 9223372036854775807" },
	{ "proto-max-bulk-len 1048575", 1, "1048576 to" },
	{ "loglevel loud", 1, "debug, verbose, notice or warning" },
	{ "dbfilename a/b", 1, "without a slash" },
	{ "dbfilename \"\"", 1, "without a slash" },
	{ "dbfilename ..", 1, "something else" },
	{ "dbfilename keyfs.conf", 1, "something else" },
	{ "dbfilename \"a\\x00b\"", 1, "quotes do not match" },
	{ "dbfilename \"abc", 1, "quotes do not match" },
	{ "dbfilename \"abc\"d", 1, "quotes do not match" },
	{ "appendonly yes", 1,
	  "appendonly: keyfs does not write an append-only file: remove the "
	  "line or say no" },
	{ "appendfsync sometimes", 1, "always, everysec or no" },
	{ "auto-aof-rewrite-min-size big", 1, "number of bytes" },
	{ "auto-aof-rewrite-percentage 10%", 1, "it takes a number" },
	{ "appendfilename a/b", 1, "plain file name" },
	{ "maxmemory-policy allkeys-lru", 1, "evicts nothing" },
	{ "sanitize-dump-payload yes", 1, "remove the line" },
	{ "dir /", 1, "named on the command line" },
	{ "dir ./none", 1, "named on the command line" },
	{ "port 6379", 1, "port: keyfs does not know" },
};

START_TEST(refuses_with_line_reason_and_remedy)
{
	struct conf_error err;
	struct conf *c = NULL;

	put_file(refused[_i].text);
	ck_assert_int_eq(conf_open(&io_system, dir.dirfd, &c, &err), -EINVAL);
	ck_assert_ptr_null(c);
	ck_assert_int_eq(err.line, refused[_i].line);
	ck_assert_msg(strstr(err.what, refused[_i].what) != NULL,
		      "\"%s\" is not in \"%s\"", refused[_i].what, err.what);
	expect_file(refused[_i].text);
}
END_TEST

START_TEST(sixteen_save_points_fit)
{
	static const char points[] =
		"1 1 2 2 3 3 4 4 5 5 6 6 7 7 8 8 9 9 10 10 11 11 12 12 13 13 "
		"14 14 15 15 16 16";
	char text[256];
	struct conf *c;

	(void)snprintf(text, sizeof(text), "save %s\n", points);
	c = open_text(text);
	expect_value(c, "save", points);
	conf_close(c);
}
END_TEST

START_TEST(largest_save_points_print_whole)
{
	char text[1024] = "save", buf[CONF_VALUE_MAX];
	struct conf *c;

	for (int i = 0; i < PERSIST_SAVE_POINTS_MAX; i++)
		strcat(text, " 9223372036854775807 18446744073709551615");
	c = open_text(text);
	(void)conf_print(c, index_of("save"), buf);
	ck_assert_str_eq(buf, text + strlen("save "));
	conf_close(c);
}
END_TEST

START_TEST(dir_may_be_the_data_directory_itself)
{
	char text[300];

	(void)snprintf(text, sizeof(text), "dir \"%s\"\nsave 1 2\n", dir.path);
	conf_close(open_text(text));
}
END_TEST

START_TEST(a_directory_in_its_place_is_an_error)
{
	struct conf_error err;
	struct conf *c;

	ck_assert_int_eq(mkdirat(dir.dirfd, CONF_FILE_NAME, 0755), 0);
	ck_assert_int_eq(conf_open(&io_system, dir.dirfd, &c, &err), -EISDIR);
	ck_assert_int_eq(err.line, 0);
	ck_assert_ptr_nonnull(strstr(err.what, "Is a directory"));
}
END_TEST

START_TEST(a_fifo_in_its_place_is_not_waited_for)
{
	struct conf_error err;
	struct conf *c = NULL;

	ck_assert_int_eq(mkfifoat(dir.dirfd, CONF_FILE_NAME, 0600), 0);
	ck_assert_int_eq(conf_open(&io_system, dir.dirfd, &c, &err), -EINVAL);
	ck_assert_str_ne(err.what, "");
}
END_TEST

START_TEST(random_bytes_never_crash)
{
	static const char alphabet[] = "save \"\"''\\\\x0a1#\n\r\t dir maxm"
				       "emory1kbyesno";
	struct unit_rng rng = unit_rng(1);

	for (int round = 0; round < 3000; round++) {
		char text[64], buf[65], *argv[8];
		size_t len = unit_below(&rng, sizeof(text));
		struct span out;
		int n;

		for (size_t i = 0; i < len; i++)
			text[i] = alphabet[unit_below(&rng, sizeof(alphabet))];
		n = conf_split(span_of(text, len), buf, argv, 8);
		ck_assert_int_le(n, 8);
		for (int i = 0; i < n; i++)
			ck_assert(argv[i] + strlen(argv[i]) + 1 <=
				  buf + len + 1);
		ck_assert_int_eq(
			conf_file_edit(span_of(text, len), "save", "1 1", &out),
			0);
		free((void *)out.ptr);
	}
}
END_TEST

START_TEST(quoted_words_read_back)
{
	struct unit_rng rng = unit_rng(2);

	for (int round = 0; round < 3000; round++) {
		char word[32], quoted[4 * 32 + 3], buf[4 * 32 + 4], *argv[2];
		size_t len = unit_below(&rng, sizeof(word)), q;

		for (size_t i = 0; i < len; i++)
			word[i] = (char)unit_range(&rng, 1, 255);
		q = conf_quote(span_of(word, len), quoted);
		ck_assert_uint_le(q, sizeof(quoted));
		ck_assert_int_eq(conf_split(span_of(quoted, q), buf, argv, 2),
				 1);
		ck_assert_uint_eq(strlen(argv[0]), len);
		ck_assert_mem_eq(argv[0], word, len);
	}
}
END_TEST

/* --- the table ---------------------------------------------------------- */

START_TEST(table_is_sorted_and_complete)
{
	struct conf *c = open_ok();
	char buf[CONF_VALUE_MAX];

	for (int i = 0; conf_name(i); i++) {
		ck_assert_str_ne(conf_help(i), "");
		ck_assert_str_ne(conf_default(i), "");
		if (i > 0)
			ck_assert_int_lt(strcmp(conf_name(i - 1), conf_name(i)),
					 0);
		/* What is shown may be written, and changes nothing. */
		(void)conf_print(c, i, buf);
		if (conf_is_mutable(i)) {
			ck_assert_int_eq(set(c, conf_name(i), buf), 0);
			expect_value(c, conf_name(i), buf);
		} else {
			ck_assert_int_eq(set(c, conf_name(i), buf), -EPERM);
		}
	}
	conf_close(c);
	conf_close(open_ok()); /* and the file that made is good */
}
END_TEST

/* --- changing ------------------------------------------------------------ */

static const struct {
	const char *before, *name, *value, *after;
} edits[] = {
	{ "", "save", "5 1", "save 5 1\n" },
	{ "# mine\n\nmaxmemory 1mb\n", "save", "5 1\n",
	  "# mine\n\nmaxmemory 1mb\nsave 5 1\n" },
	{ "# mine", "save", "5 1", "# mine\nsave 5 1\n" },
	{ "save 1 1\n# mine\n  SAVE 2 2\nloglevel debug\nsave 3 3", "save",
	  " 5 1 ", "save 5 1\n# mine\nloglevel debug\n" },
	{ "#save 1 1\nsavex\t# no such\n", NULL, NULL, NULL },
	{ "#maxmemory 1\nmaxmemory 1\r\nloglevel debug\r\n", "maxmemory", "2mb",
	  "#maxmemory 1\nmaxmemory 2097152\r\nloglevel debug\r\n" },
	{ "save 1 1\n", "save", "\n", "save \"\"\n" },
	{ "save 1 1\n", "save", "\"\"", "save \"\"\n" },
	{ "rdbcompression yes", "rdbcompression", "No", "rdbcompression no\n" },
};

START_TEST(changes_one_line_and_keeps_the_rest)
{
	struct conf_error err;
	struct conf *c = NULL;

	put_file(edits[_i].before);
	if (!edits[_i].name) { /* a longer name is another directive */
		ck_assert_int_eq(conf_open(&io_system, dir.dirfd, &c, &err),
				 -EINVAL);
		return;
	}
	c = open_ok();
	ck_assert_int_eq(set(c, edits[_i].name, edits[_i].value), 0);
	expect_file(edits[_i].after);
	ck_assert_int_eq(unit_scratch_count(&dir), 1);
	conf_close(c);
}
END_TEST

START_TEST(a_change_is_found_by_the_next_start)
{
	struct conf *c = open_text("save 1 1\nsave 2 2\n");

	ck_assert_int_eq(set(c, "save", "9 8 7 6"), 0);
	ck_assert_int_eq(set(c, "maxmemory", "1gb"), 0);
	conf_close(c);
	c = open_ok();
	expect_value(c, "save", "9 8 7 6");
	expect_value(c, "maxmemory", "1073741824");
	conf_close(c);
}
END_TEST

START_TEST(what_was_edited_meanwhile_is_kept)
{
	struct conf *c = open_text("maxmemory 1\n");

	put_file("# edited\nmaxmemory 2\nsave 1 1\n");
	ck_assert_int_eq(set(c, "loglevel", "debug"), 0);
	expect_file("# edited\nmaxmemory 2\nsave 1 1\nloglevel debug\n");
	expect_value(c, "maxmemory", "1"); /* not in force */
	conf_close(c);
}
END_TEST

START_TEST(the_files_mode_is_kept)
{
	struct conf *c = open_text("maxmemory 1\n");
	struct stat st;

	ck_assert_int_eq(fchmodat(dir.dirfd, CONF_FILE_NAME, 0600, 0), 0);
	ck_assert_int_eq(set(c, "maxmemory", "2"), 0);
	ck_assert_int_eq(fstatat(dir.dirfd, CONF_FILE_NAME, &st, 0), 0);
	ck_assert_uint_eq(st.st_mode & 07777, 0600);
	conf_close(c);
}
END_TEST

static const struct {
	const char *name, *value;
	int result;
} bad_values[] = {
	{ "save", "1", -EINVAL },	{ "save", "x y", -EINVAL },
	{ "save", "\"1 1", -EINVAL },	{ "maxmemory", "", -EINVAL },
	{ "maxmemory", "\n", -EINVAL }, { "maxmemory", "1 2", -EINVAL },
	{ "loglevel", "", -EINVAL },	{ "rdbcompression", "", -EINVAL },
	{ "dbfilename", "x", -EPERM },	{ "rdbchecksum", "no", -EPERM },
};

static void count_call(void *arg, const struct conf_values *v)
{
	(void)v;
	++*(int *)arg;
}

START_TEST(a_bad_value_changes_nothing)
{
	struct conf *c = open_text("# as it was\n");
	char before[CONF_VALUE_MAX];
	int i = index_of(bad_values[_i].name), calls = 0;

	(void)conf_print(c, i, before);
	ck_assert_int_eq(conf_set(c, i, span_str(bad_values[_i].value),
				  count_call, &calls),
			 bad_values[_i].result);
	expect_value(c, bad_values[_i].name, before);
	expect_file("# as it was\n");
	ck_assert_int_eq(calls, 0);
	conf_close(c);
}
END_TEST

static void keep_values(void *arg, const struct conf_values *v)
{
	*(struct conf_values *)arg = *v;
}

START_TEST(a_change_is_applied_after_it_is_written)
{
	struct conf_values v = { .n_save = -1 };
	struct conf *c = open_ok();

	ck_assert_int_eq(
		conf_set(c, index_of("save"), span_str("5 1"), keep_values, &v),
		0);
	ck_assert_int_eq(v.n_save, 1);
	ck_assert_int_eq(v.save[0].seconds, 5);
	ck_assert_uint_eq(v.save[0].changes, 1);
	conf_close(c);
}
END_TEST

/* An io whose n-th writing call fails; those after it work again. */
struct faulty {
	struct io io;
	int left;
	bool fired;
};

static bool fires(void *ctx)
{
	struct faulty *f = ctx;

	if (f->left-- != 0)
		return false;
	f->fired = true;
	return true;
}

static ssize_t bad_write(void *ctx, int fd, const void *buf, size_t len)
{
	return fires(ctx) ? -ENOSPC : io_system.write(NULL, fd, buf, len);
}

static int bad_fsync(void *ctx, int fd)
{
	return fires(ctx) ? -ENOSPC : io_system.fsync(NULL, fd);
}

static int bad_fdatasync(void *ctx, int fd)
{
	return fires(ctx) ? -ENOSPC : io_system.fdatasync(NULL, fd);
}

static int bad_renameat(void *ctx, int dirfd, const char *from, const char *to)
{
	return fires(ctx) ? -ENOSPC : io_system.renameat(NULL, dirfd, from, to);
}

START_TEST(a_failing_disk_leaves_the_old_setting)
{
	struct faulty f = { .io = io_system, .left = _i };
	struct conf_error err;
	struct conf *c;
	int r;

	f.io.ctx = &f;
	f.io.write = bad_write;
	f.io.fsync = bad_fsync;
	f.io.fdatasync = bad_fdatasync;
	f.io.renameat = bad_renameat;
	put_file("maxmemory 1\n");
	ck_assert_int_eq(conf_open(&f.io, dir.dirfd, &c, &err), 0);
	r = set(c, "maxmemory", "2");
	ck_assert_int_eq(r, f.fired ? -ENOSPC : 0);
	expect_value(c, "maxmemory", f.fired ? "1" : "2");
	expect_file(f.fired ? "maxmemory 1\n" : "maxmemory 2\n");
	ck_assert_int_eq(unit_scratch_count(&dir), 1);
	ck_assert(_i == 0 ? f.fired : _i < 8 || !f.fired);
	/* The disk has recovered, and so does the setting. */
	f.left = -1;
	ck_assert_int_eq(set(c, "maxmemory", "3"), 0);
	expect_file("maxmemory 3\n");
	conf_close(c);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("conf");
	TCase *tc = tcase_create("conf");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, reads_what_redis_would_read, 0,
			    (int)ARRAY_LEN(readable));
	tcase_add_loop_test(tc, refuses_with_line_reason_and_remedy, 0,
			    (int)ARRAY_LEN(refused));
	tcase_add_test(tc, sixteen_save_points_fit);
	tcase_add_test(tc, largest_save_points_print_whole);
	tcase_add_test(tc, dir_may_be_the_data_directory_itself);
	tcase_add_test(tc, a_directory_in_its_place_is_an_error);
	tcase_add_test(tc, a_fifo_in_its_place_is_not_waited_for);
	tcase_add_test(tc, random_bytes_never_crash);
	tcase_add_test(tc, quoted_words_read_back);
	tcase_add_test(tc, table_is_sorted_and_complete);
	tcase_add_loop_test(tc, changes_one_line_and_keeps_the_rest, 0,
			    (int)ARRAY_LEN(edits));
	tcase_add_test(tc, a_change_is_found_by_the_next_start);
	tcase_add_test(tc, what_was_edited_meanwhile_is_kept);
	tcase_add_test(tc, the_files_mode_is_kept);
	tcase_add_loop_test(tc, a_bad_value_changes_nothing, 0,
			    (int)ARRAY_LEN(bad_values));
	tcase_add_test(tc, a_change_is_applied_after_it_is_written);
	tcase_add_loop_test(tc, a_failing_disk_leaves_the_old_setting, 0, 9);
	suite_add_tcase(s, tc);
	return s;
}

int main(void)
{
	static Suite *(*const suites[])(void) = { suite, NULL };

	return unit_main(suites);
}
