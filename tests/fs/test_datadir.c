/* SPDX-License-Identifier: MIT */
/* DATADIR and MOUNTPOINT: what goes together, the exit code and the words of
 * what does not, and that a refusal leaves nothing behind. */
#include <check.h>
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fs/datadir.h"
#include "tests/lib/unit.h"

static struct unit_scratch dir;

/* d/sub, m/sub, an empty directory, a file and some links. */
static void setup(void)
{
	static const char *const dirs[] = { "d", "d/sub", "m", "m/sub", "dm" };
	static const char *const links[][2] = {
		{ "d", "to-d" },
		{ "m", "to-m" },
		{ "m/sub", "to-m-sub" },
		{ "nowhere", "dangling" },
	};

	unit_scratch_init(&dir);
	for (size_t i = 0; i < ARRAY_LEN(dirs); i++)
		ck_assert_int_eq(mkdirat(dir.dirfd, dirs[i], 0755), 0);
	for (size_t i = 0; i < ARRAY_LEN(links); i++)
		ck_assert_int_eq(symlinkat(links[i][0], dir.dirfd, links[i][1]),
				 0);
	unit_scratch_write(&dir, "file", "x", 1);
	ck_assert_int_eq(fchdir(dir.dirfd), 0);
}

static void teardown(void)
{
	unit_scratch_fini(&dir);
}

static int n_open_files(void)
{
	DIR *fds = opendir("/proc/self/fd");
	int n = 0;

	ck_assert_ptr_nonnull(fds);
	while (readdir(fds))
		n++;
	(void)closedir(fds);
	return n;
}

static void expect_path(const char *got, const char *below)
{
	char want[PATH_MAX];

	ck_assert_ptr_nonnull(realpath(below, want));
	ck_assert_str_eq(got, want);
}

static const struct {
	const char *datadir, *mountpoint, *path, *mount_path;
	bool made; /* did not exist before */
} good[] = {
	{ "d", "m", "d", "m", false },
	{ "./d/", "m/", "d", "m", false },
	{ "to-d", "to-m", "d", "m", false },
	{ "m/../d/.", "d/../m", "d", "m", false },
	{ "d/sub", "m/sub", "d/sub", "m/sub", false },
	{ "d", "dm", "d", "dm", false }, /* a name that starts alike */
	{ "dm", "d", "dm", "d", false },
	{ "new", "m", "new", "m", true },
	{ "new//", "m", "new", "m", true },
	{ "d/new", "m", "d/new", "m", true },
	{ "to-d/new/", "m", "d/new", "m", true },
};

START_TEST(directories_that_go_together)
{
	struct datadir d = DATADIR_INIT;
	char error[DATADIR_ERROR_MAX];
	int before = n_open_files(), r;
	struct stat by_fd, by_path;

	if (good[_i].made)
		ck_assert_int_ne(access(good[_i].datadir, F_OK), 0);
	r = datadir_open(&d, good[_i].datadir, good[_i].mountpoint, error);
	ck_assert_msg(r == 0, "%d: %s", r, error);
	expect_path(d.path, good[_i].path);
	expect_path(d.mountpoint, good[_i].mount_path);
	ck_assert_int_eq(d.n_dead, 0);
	ck_assert_int_eq(fstat(d.fd, &by_fd), 0);
	ck_assert_int_eq(stat(d.path, &by_path), 0);
	ck_assert_uint_eq(by_fd.st_ino, by_path.st_ino);
	ck_assert_int_eq(fcntl(d.fd, F_GETFD), FD_CLOEXEC);
	datadir_close(&d);
	ck_assert_int_eq(d.fd, -1);
	datadir_close(&d);
	ck_assert_int_eq(n_open_files(), before);
}
END_TEST

START_TEST(opened_again_the_earlier_one_is_closed)
{
	struct datadir d = DATADIR_INIT;
	char error[DATADIR_ERROR_MAX];
	int before = n_open_files();

	ck_assert_int_eq(datadir_open(&d, "d", "m", error), 0);
	d.n_dead = 2;
	ck_assert_int_eq(datadir_open(&d, "dm", "m", error), 0);
	expect_path(d.path, "dm");
	ck_assert_int_eq(d.n_dead, 2); /* they add up */
	ck_assert_int_eq(n_open_files(), before + 1);
	ck_assert_int_ne(datadir_open(&d, "m", "m", error), 0);
	ck_assert_int_eq(d.fd, -1);
	ck_assert_int_eq(n_open_files(), before);
}
END_TEST

enum {
	USAGE = 1,
	MOUNT = 2,
	DATA = 3
};

static const struct {
	const char *datadir, *mountpoint;
	int code;
	const char *words, *more;
} bad[] = {
	{ "m", "m", USAGE, "data directory m is inside", "mount point" },
	{ "m/sub", "m", USAGE, "data directory m/sub is inside", "choose" },
	{ "to-m-sub", "m", USAGE, "is inside of the mount point", "to-m-sub" },
	{ "m/new", "m", USAGE, "is inside of the mount point", "m/new" },
	{ "m/sub/new", "to-m", USAGE, "is inside of the mount point", "" },
	{ "d", "d/sub", USAGE, "is inside of the data directory d", "/d/sub" },
	{ "to-d", "d/sub", USAGE, "is inside of the data directory to-d", "" },
	{ ".", "m", USAGE, "is inside of the data directory .", "/m" },
	{ "/", "m", USAGE, "is inside of the data directory /", "/m" },
	{ "d", "none", MOUNT, "mount point none:", "create it first" },
	{ "d", "file", MOUNT, "mount point file:", "Not a directory" },
	{ "d", "dangling", MOUNT, "mount point dangling:", "no such" },
	{ "new", "none", MOUNT, "mount point none:", "create it first" },
	{ "file", "m", DATA, "data directory file:", "Not a directory" },
	{ "file/new", "m", DATA, "data directory file/new:", "Not a dir" },
	{ "no/new", "m", DATA, "data directory no/new:", "parent" },
	{ "dangling", "m", DATA, "data directory dangling:", "No such" },
};

START_TEST(a_refusal_names_the_one_at_fault_and_makes_nothing)
{
	struct datadir d = DATADIR_INIT;
	char error[DATADIR_ERROR_MAX];
	int fds = n_open_files(), names = unit_scratch_count(&dir), r;

	r = datadir_open(&d, bad[_i].datadir, bad[_i].mountpoint, error);
	ck_assert_int_eq(r, bad[_i].code);
	ck_assert_msg(strstr(error, bad[_i].words) != NULL, "%s", error);
	ck_assert_msg(strstr(error, bad[_i].more) != NULL, "%s", error);
	ck_assert_int_eq(d.fd, -1);
	ck_assert_ptr_null(d.path);
	ck_assert_ptr_null(d.mountpoint);
	ck_assert_int_eq(n_open_files(), fds);
	ck_assert_int_eq(unit_scratch_count(&dir), names);
	ck_assert_int_ne(access("m/new", F_OK), 0);
	ck_assert_int_ne(access("m/sub/new", F_OK), 0);
}
END_TEST

START_TEST(a_new_one_heeds_the_umask)
{
	struct datadir d = DATADIR_INIT;
	char error[DATADIR_ERROR_MAX];
	struct stat st;

	(void)umask(_i ? 077 : 022);
	ck_assert_int_eq(datadir_open(&d, "new", "m", error), 0);
	ck_assert_int_eq(fstat(d.fd, &st), 0);
	ck_assert_uint_eq(st.st_mode & 07777, _i ? 0700 : 0755);
	datadir_close(&d);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("datadir");
	TCase *tc = tcase_create("datadir");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, directories_that_go_together, 0,
			    (int)ARRAY_LEN(good));
	tcase_add_test(tc, opened_again_the_earlier_one_is_closed);
	tcase_add_loop_test(tc,
			    a_refusal_names_the_one_at_fault_and_makes_nothing,
			    0, (int)ARRAY_LEN(bad));
	tcase_add_loop_test(tc, a_new_one_heeds_the_umask, 0, 2);
	suite_add_tcase(s, tc);
	return s;
}

int main(void)
{
	static Suite *(*const suites[])(void) = { suite, NULL };

	return unit_main(suites);
}
