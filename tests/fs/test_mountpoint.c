/* SPDX-License-Identifier: MIT */
/* What mountinfo says, where a directory lies, and claims to one; what needs a
 * mount is in tests/mount. */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "fs/mountpoint.h"
#include "tests/lib/unit.h"

static struct unit_scratch dir;

static void setup(void)
{
	unit_scratch_init(&dir);
}

static void teardown(void)
{
	unit_scratch_fini(&dir);
}

/* --- mountinfo ---------------------------------------------------------- */

#define LINE(path, type, source)                                               \
	"42 27 0:39 / " path " rw,nosuid,nodev,relatime - " type " " source    \
	" rw,user_id=0,group_id=0\n"
#define OURS(path, source) LINE(path, "fuse.keyfs", source)

static const struct {
	const char *text, *path, *source;
	bool want;
} searches[] = {
	{ "", "/mnt", NULL, false },
	{ OURS("/mnt", "keyfs:/d"), "/mnt", NULL, true },
	{ OURS("/mnt", "keyfs:/d"), "/mnt", "keyfs:/d", true },
	{ OURS("/mnt", "keyfs:/d"), NULL, "keyfs:/d", true },
	{ OURS("/mnt", "keyfs:/d"), NULL, NULL, true },
	{ OURS("/mnt", "keyfs:/d"), "/mnt", "keyfs:/e", false },
	{ OURS("/mnt", "keyfs:/d"), NULL, "keyfs:/", false },
	{ OURS("/mnt", "keyfs:/d"), "/mn", NULL, false },
	{ OURS("/mnt", "keyfs:/d"), "/mnt/x", NULL, false },
	{ LINE("/mnt", "ext4", "/dev/sda"), "/mnt", NULL, false },
	{ LINE("/mnt", "fuse.keyfs2", "x"), "/mnt", NULL, false },
	{ LINE("/mnt", "fuse", "fuse.keyfs"), "/mnt", NULL, false },
	/* Spaces, tabs, newlines and backslashes are in octal. */
	{ OURS("/a\\040b", "keyfs:/c\\011d"), "/a b", "keyfs:/c\td", true },
	{ OURS("/a\\012b", "x"), "/a\nb", NULL, true },
	{ OURS("/a\\134040b", "x"), "/a\\040b", NULL, true },
	{ OURS("/a\\043b", "x"), "/a#b", NULL, true },
	{ OURS("/a\\04", "x"), "/a\\04", NULL, true },
	{ OURS("/a\\089", "x"), "/a\\089", NULL, true },
	{ OURS("/a\\", "x"), "/a\\", NULL, true },
	{ OURS("/\\303\\244", "x"), "/\303\244", NULL, true },
	{ OURS("/ -", "x"), "/-", NULL, false },
	/* None, one and several optional fields. */
	{ "1 2 0:3 / /m rw shared:1 - fuse.keyfs s rw\n", "/m", "s", true },
	{ "1 2 0:3 / /m rw shared:1 master:2 unbindable - fuse.keyfs s rw\n",
	  "/m", "s", true },
	{ "1 2 0:3 /sub /m rw - fuse.keyfs s rw\n", "/m", "s", true },
	/* The last one on a path is on top. */
	{ OURS("/m", "a") OURS("/m", "b"), "/m", "a", false },
	{ OURS("/m", "a") OURS("/m", "b"), "/m", "b", true },
	{ OURS("/m", "a") OURS("/m", "b"), NULL, "a", true },
	{ OURS("/m", "a") LINE("/m", "tmpfs", "t"), "/m", NULL, false },
	{ LINE("/m", "tmpfs", "t") OURS("/m", "a"), "/m", NULL, true },
	{ OURS("/m", "a") LINE("/n", "tmpfs", "t"), "/m", "a", true },
	/* Lines that make no sense, and one without an end. */
	{ "\n\n1 2 3\n - \nx - fuse.keyfs\n" OURS("/m", "a"), "/m", "a", true },
	{ "1 2 0:3 / /m rw fuse.keyfs s rw\n", "/m", NULL, false },
	{ "1 2 0:3 / /m rw - fuse.keyfs s rw", "/m", "s", true },
};

START_TEST(mountinfo_is_read_as_the_kernel_writes_it)
{
	size_t len = strlen(searches[_i].text);
	char *text = strdup(searches[_i].text);
	FILE *f = len ? fmemopen(text, len, "r") : tmpfile();

	ck_assert_ptr_nonnull(f);
	ck_assert_msg(
		mountpoint_find_in(f, searches[_i].path, searches[_i].source) ==
			searches[_i].want,
		"%s", searches[_i].text);
	(void)fclose(f);
	free(text);
}
END_TEST

START_TEST(a_long_line_is_read_whole)
{
	char *path = malloc(PATH_MAX), *text = NULL;
	size_t size;
	FILE *f;

	memset(path, 'x', PATH_MAX - 1);
	path[0] = '/';
	path[PATH_MAX - 1] = '\0';
	f = open_memstream(&text, &size);
	(void)fprintf(f, "1 2 0:3 / %s rw - fuse.keyfs %s rw\n", path, path);
	(void)fclose(f);
	f = fmemopen(text, size, "r");
	ck_assert(mountpoint_find_in(f, path, path));
	(void)fclose(f);
	free(text);
	free(path);
}
END_TEST

/* --- directories -------------------------------------------------------- */

/* /a/b/c, /ab and a link /link to a/b. */
static void make_tree(void)
{
	ck_assert_int_eq(mkdirat(dir.dirfd, "a", 0755), 0);
	ck_assert_int_eq(mkdirat(dir.dirfd, "a/b", 0755), 0);
	ck_assert_int_eq(mkdirat(dir.dirfd, "a/b/c", 0755), 0);
	ck_assert_int_eq(mkdirat(dir.dirfd, "ab", 0755), 0);
	ck_assert_int_eq(symlinkat("a/b", dir.dirfd, "link"), 0);
}

static const struct {
	const char *inner, *outer;
	int want;
} places[] = {
	{ "a", "a", 1 },       { "a/b", "a", 1 },  { "a/b/c", "a", 1 },
	{ "a/b/c", "a/b", 1 }, { "a", "a/b", 0 },  { "ab", "a", 0 },
	{ "a", "ab", 0 },      { "a", ".", 1 },	   { "link/c", "a", 1 },
	{ "link", "a/b", 1 },  { "a", "link", 0 }, { "a/b/../b", "a", 1 },
	{ "a", "/", 1 },       { "/", "a", 0 },	   { "/", "/", 1 },
};

START_TEST(inside_is_seen_through_links)
{
	int inner, outer;

	make_tree();
	inner = openat(dir.dirfd, places[_i].inner, O_PATH | O_DIRECTORY);
	outer = openat(dir.dirfd, places[_i].outer, O_PATH | O_DIRECTORY);
	ck_assert_int_ge(inner, 0);
	ck_assert_int_ge(outer, 0);
	ck_assert_int_eq(mountpoint_is_inside(inner, outer), places[_i].want);
	(void)close(inner);
	(void)close(outer);
}
END_TEST

static const char *const spellings[] = {
	"a/b", "a/b/", "a//b/.", "link", "link/", "a/../a/b", "a/b/c/..",
};

START_TEST(a_mount_point_gets_its_canonical_path)
{
	char want[PATH_MAX], *path = NULL;
	int fd, dead = -1;

	make_tree();
	ck_assert_int_eq(fchdir(dir.dirfd), 0);
	ck_assert_ptr_nonnull(realpath("a/b", want));
	fd = mountpoint_open(spellings[_i], &path, &dead);
	ck_assert_int_ge(fd, 0);
	ck_assert_str_eq(path, want);
	ck_assert_int_eq(dead, 0);
	free(path);
	(void)close(fd);
}
END_TEST

START_TEST(what_is_no_directory_is_no_mount_point)
{
	int dead = -1;
	char *path = NULL;

	unit_scratch_write(&dir, "file", "x", 1);
	ck_assert_int_eq(symlinkat("nowhere", dir.dirfd, "dangling"), 0);
	ck_assert_int_eq(symlinkat("loop", dir.dirfd, "loop"), 0);
	ck_assert_int_eq(fchdir(dir.dirfd), 0);
	ck_assert_int_eq(mountpoint_open("file", &path, &dead), -ENOTDIR);
	ck_assert_int_eq(mountpoint_open("none", &path, &dead), -ENOENT);
	ck_assert_int_eq(mountpoint_open("dangling", &path, &dead), -ENOENT);
	ck_assert_int_eq(mountpoint_open("loop", &path, &dead), -ELOOP);
	ck_assert_int_eq(mountpoint_open("", &path, &dead), -ENOENT);
	ck_assert_ptr_null(path);
	ck_assert_int_eq(dead, -1);
}
END_TEST

START_TEST(a_plain_directory_cannot_be_unmounted)
{
	make_tree();
	ck_assert_int_eq(fchdir(dir.dirfd), 0);
	ck_assert_int_lt(mountpoint_unmount("a", false), 0);
	ck_assert_int_lt(mountpoint_unmount("none", true), 0);
}
END_TEST

/* --- claims ------------------------------------------------------------- */

static void *end_later(void *arg)
{
	const struct timespec t = { .tv_nsec = 60 * 1000000L };

	(void)nanosleep(&t, NULL);
	(void)close(*(int *)arg);
	return NULL;
}

START_TEST(a_claim_waits_for_the_one_before)
{
	int first = mountpoint_claim(dir.path), second, probe;
	pthread_t t;

	ck_assert_int_ge(first, 0);
	probe = open(dir.path, O_RDONLY | O_DIRECTORY);
	ck_assert_int_eq(flock(probe, LOCK_EX | LOCK_NB), -1);
	ck_assert_int_eq(pthread_create(&t, NULL, end_later, &first), 0);
	second = mountpoint_claim(dir.path);
	ck_assert_int_ge(second, 0);
	(void)pthread_join(t, NULL);
	ck_assert_int_eq(flock(probe, LOCK_EX | LOCK_NB), -1);
	(void)close(second);
	ck_assert_int_eq(flock(probe, LOCK_EX | LOCK_NB), 0);
	(void)close(probe);
	ck_assert_int_eq(mountpoint_claim("/nonexistent/keyfs"), -1);
}
END_TEST

START_TEST(a_claim_is_not_waited_for_without_end)
{
	int first = mountpoint_claim(dir.path);

	ck_assert_int_ge(first, 0);
	ck_assert_int_eq(mountpoint_claim(dir.path), -1);
	(void)close(first);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("mountpoint");
	TCase *tc = tcase_create("mountpoint");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, mountinfo_is_read_as_the_kernel_writes_it, 0,
			    (int)ARRAY_LEN(searches));
	tcase_add_test(tc, a_long_line_is_read_whole);
	tcase_add_loop_test(tc, inside_is_seen_through_links, 0,
			    (int)ARRAY_LEN(places));
	tcase_add_loop_test(tc, a_mount_point_gets_its_canonical_path, 0,
			    (int)ARRAY_LEN(spellings));
	tcase_add_test(tc, what_is_no_directory_is_no_mount_point);
	tcase_add_test(tc, a_plain_directory_cannot_be_unmounted);
	tcase_add_test(tc, a_claim_waits_for_the_one_before);
	tcase_add_test(tc, a_claim_is_not_waited_for_without_end);
	suite_add_tcase(s, tc);
	return s;
}

int main(void)
{
	static Suite *(*const suites[])(void) = { suite, NULL };

	return unit_main(suites);
}
