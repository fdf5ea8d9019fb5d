/* SPDX-License-Identifier: MIT */

/*
 * The model disk itself: a proof on it is worth what it is. For each promise
 * (D1.. in disk.h) many crashes show that it is kept, and for what is not
 * promised that it does happen to get lost, and to survive.
 */

#include "tests/lib/disk.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "tests/lib/unit.h"

enum {
	CRASHES = 300,
};

static struct disk disk;

static void setup(void)
{
	disk_init(&disk);
}

static void teardown(void)
{
	ck_assert_int_eq(disk_n_open(&disk), 0);
	ck_assert_uint_eq(disk.n_wrong, 0);
	disk_fini(&disk);
}

/* --- doing ------------------------------------------------------------ */

static int open_file(const char *name, int flags)
{
	int fd = disk.io.openat(disk.io.ctx, disk_root(&disk), name, flags,
				0644);

	ck_assert_int_ge(fd, 0);
	return fd;
}

static void fill(int fd, int byte, size_t len)
{
	uint8_t *buf = malloc(len);

	memset(buf, byte, len);
	ck_assert_int_eq(io_write_full(&disk.io, fd, buf, len), 0);
	free(buf);
}

static void close_file(int fd)
{
	ck_assert_int_eq(disk.io.close(disk.io.ctx, fd), 0);
}

static int sync_fd(int fd)
{
	return disk.io.fsync(disk.io.ctx, fd);
}

static void sync_root(void)
{
	ck_assert_int_eq(sync_fd(disk_root(&disk)), 0);
}

static int rename_file(const char *from, const char *to)
{
	return disk.io.renameat(disk.io.ctx, disk_root(&disk), from, to);
}

static int unlink_file(const char *name)
{
	return disk.io.unlinkat(disk.io.ctx, disk_root(&disk), name);
}

/* A durable file of @len bytes @byte. */
static void make_durable(const char *name, int byte, size_t len)
{
	uint8_t *buf = malloc(len + 1);

	memset(buf, byte, len);
	disk_put(&disk, name, buf, len);
	free(buf);
}

/* --- what crashes show ------------------------------------------------ */

/* Of the contents of one file, over many crashes. */
struct seen {
	int absent, empty, whole, nul, mixed, sizes, torn_sector, other;
};

/* What a file of bytes @old or @new, or NUL, is. */
static void note(struct seen *s, const uint8_t *p, size_t len, size_t whole,
		 int old, int new)
{
	size_t n_new = 0, n_old = 0, n_nul = 0;

	for (size_t i = 0; i < len; i++) {
		n_new += p[i] == new;
		n_old += p[i] == old;
		n_nul += p[i] == 0;
		if (i % 512 && p[i] != p[i - 1])
			s->torn_sector++;
	}
	s->other += n_new + n_old + n_nul < len;
	s->empty += len == 0;
	s->whole += len == whole && n_new == len;
	s->nul += len && n_nul == len;
	s->mixed += n_new && n_new < len;
	s->sizes += len && len < whole;
}

static struct seen look(const char *name, enum disk_mode mode, size_t whole,
			int old, int new)
{
	struct seen s = { 0 };
	struct disk after;
	uint8_t *p;
	size_t len;

	for (uint64_t seed = 0; seed < CRASHES; seed++) {
		disk_after_crash(&disk, seed, mode, &after);
		p = disk_read(&after, name, &len);
		if (p)
			note(&s, p, len, whole, old, new);
		else
			s.absent++;
		free(p);
		disk_fini(&after);
	}
	return s;
}

START_TEST(what_was_synced_is_there)
{
	int fd = open_file("a", O_WRONLY | O_CREAT);
	struct seen s;

	fill(fd, 'n', 9000);
	ck_assert_int_eq(disk.io.fdatasync(disk.io.ctx, fd), 0);
	sync_root();
	close_file(fd);
	s = look("a", (enum disk_mode)_i, 9000, 'o', 'n');
	ck_assert_int_eq(s.whole, CRASHES);
}
END_TEST

START_TEST(what_was_not_synced_is_in_doubt)
{
	int fd;
	struct seen s;

	make_durable("a", 'o', 5120);
	fd = open_file("a", O_WRONLY);
	fill(fd, 'n', 20000);
	close_file(fd);
	s = look("a", (enum disk_mode)_i, 20000, 'o', 'n');
	ck_assert_int_eq(s.absent, 0);
	ck_assert_int_eq(s.other, 0);
	ck_assert_int_eq(s.torn_sector, 0);
	ck_assert_int_gt(s.whole, 0);
	ck_assert_int_gt(s.mixed, 0);
	ck_assert_int_gt(s.sizes, 0);
}
END_TEST

START_TEST(a_new_file_may_have_its_size_and_no_data)
{
	int fd = open_file("a", O_WRONLY | O_CREAT);
	struct seen s;

	fill(fd, 'n', 20000);
	sync_root();
	close_file(fd);
	s = look("a", (enum disk_mode)_i, 20000, 'o', 'n');
	ck_assert_int_eq(s.absent, 0);
	ck_assert_int_gt(s.empty, 0);
	ck_assert_int_gt(s.nul, 0);
	ck_assert_int_gt(s.mixed, 0);
	ck_assert_int_gt(s.whole, 0);
}
END_TEST

START_TEST(sync_range_makes_nothing_durable)
{
	int fd = open_file("a", O_WRONLY | O_CREAT);
	struct seen s;

	fill(fd, 'n', 20000);
	sync_root();
	ck_assert_int_eq(disk.io.sync_range(disk.io.ctx, fd, 0, 20000), 0);
	close_file(fd);
	s = look("a", (enum disk_mode)_i, 20000, 'o', 'n');
	ck_assert_int_lt(s.whole, CRASHES);
}
END_TEST

START_TEST(a_synced_file_may_lose_its_name)
{
	int fd = open_file("a", O_WRONLY | O_CREAT);
	struct seen s;

	fill(fd, 'n', 3000);
	ck_assert_int_eq(sync_fd(fd), 0);
	close_file(fd);
	s = look("a", (enum disk_mode)_i, 3000, 'o', 'n');
	ck_assert_int_gt(s.absent, 0);
	ck_assert_int_gt(s.whole, 0);
	ck_assert_int_eq(s.absent + s.whole, CRASHES);
}
END_TEST

START_TEST(a_truncation_may_be_lost)
{
	int fd;
	struct seen s;

	make_durable("a", 'o', 5000);
	fd = open_file("a", O_WRONLY | O_TRUNC);
	s = look("a", (enum disk_mode)_i, 5000, 'n', 'o');
	ck_assert_int_gt(s.whole, 0);
	ck_assert_int_gt(s.empty, 0);
	ck_assert(_i == DISK_HARSH || s.mixed + s.nul + s.other == 0);
	ck_assert_int_eq(sync_fd(fd), 0);
	close_file(fd);
	s = look("a", (enum disk_mode)_i, 5000, 'n', 'o');
	ck_assert_int_eq(s.empty, CRASHES);
}
END_TEST

/* Each write of an unsynced sector may be the one that got there. */
START_TEST(an_appended_file_may_end_after_any_write)
{
	int fd = open_file("a", O_WRONLY | O_CREAT | O_APPEND);
	bool found[6] = { false };
	struct disk after;

	sync_root();
	for (int i = 0; i < 5; i++)
		fill(fd, 'n', 10);
	for (uint64_t seed = 0; seed < CRASHES; seed++) {
		disk_after_crash(&disk, seed, DISK_ORDERED, &after);
		ck_assert_int_eq(disk_size(&after, "a") % 10, 0);
		found[disk_size(&after, "a") / 10] = true;
		disk_fini(&after);
	}
	close_file(fd);
	for (int i = 0; i <= 5; i++)
		ck_assert_msg(found[i], "never %d writes", i);
}
END_TEST

/* --- directories ------------------------------------------------------ */

/* Which of the sets of three names crashes leave, as bits. */
static unsigned sets_of_names(enum disk_mode mode)
{
	static const char *const names[] = { "a", "b", "c" };
	struct disk after;
	unsigned sets = 0, set;

	for (uint64_t seed = 0; seed < CRASHES; seed++) {
		disk_after_crash(&disk, seed, mode, &after);
		set = 0;
		for (unsigned i = 0; i < 3; i++)
			if (disk_size(&after, names[i]) >= 0)
				set |= 1u << i;
		sets |= 1u << set;
		disk_fini(&after);
	}
	return sets;
}

static void create_three(void)
{
	close_file(open_file("a", O_WRONLY | O_CREAT));
	close_file(open_file("b", O_WRONLY | O_CREAT));
	close_file(open_file("c", O_WRONLY | O_CREAT));
}

START_TEST(in_order_a_directory_keeps_a_prefix)
{
	create_three();
	/* none; a; a b; a b c */
	ck_assert_uint_eq(sets_of_names(DISK_ORDERED),
			  1u << 0 | 1u << 1 | 1u << 3 | 1u << 7);
}
END_TEST

START_TEST(harsh_a_directory_keeps_any_subset)
{
	create_three();
	ck_assert_uint_eq(sets_of_names(DISK_HARSH), 0xff);
}
END_TEST

START_TEST(a_rename_is_whole_or_nothing)
{
	struct disk after;
	int old = 0, new = 0;

	make_durable("a", 'a', 1);
	make_durable("b", 'b', 2);
	ck_assert_int_eq(rename_file("b", "a"), 0);
	for (uint64_t seed = 0; seed < CRASHES; seed++) {
		disk_after_crash(&disk, seed, (enum disk_mode)_i, &after);
		old += disk_size(&after, "a") == 1 &&
		       disk_size(&after, "b") == 2;
		new += disk_size(&after, "a") == 2 &&
		       disk_size(&after, "b") == -1;
		disk_fini(&after);
	}
	ck_assert_int_eq(old + new, CRASHES);
	ck_assert_int_gt(old, 0);
	ck_assert_int_gt(new, 0);
	sync_root();
	disk_after_crash(&disk, 1, (enum disk_mode)_i, &after);
	ck_assert_int_eq(disk_size(&after, "a"), 2);
	ck_assert_int_eq(disk_count(&after), 1);
	disk_fini(&after);
}
END_TEST

START_TEST(an_unlinked_file_may_come_back)
{
	struct seen s;

	make_durable("a", 'n', 100);
	ck_assert_int_eq(unlink_file("a"), 0);
	s = look("a", (enum disk_mode)_i, 100, 'o', 'n');
	ck_assert_int_gt(s.absent, 0);
	ck_assert_int_gt(s.whole, 0);
	ck_assert_int_eq(s.absent + s.whole, CRASHES);
	sync_root();
	s = look("a", (enum disk_mode)_i, 100, 'o', 'n');
	ck_assert_int_eq(s.absent, CRASHES);
}
END_TEST

/* The number of crashes after which the file in the directory is there. */
static int count_below(const char *dir, const char *name)
{
	struct disk after;
	int dirfd, fd, n = 0;

	for (uint64_t seed = 0; seed < CRASHES; seed++) {
		disk_after_crash(&disk, seed, DISK_ORDERED, &after);
		dirfd = after.io.openat(after.io.ctx, disk_root(&after), dir,
					O_RDONLY | O_DIRECTORY, 0);
		if (dirfd >= 0) {
			fd = after.io.openat(after.io.ctx, dirfd, name,
					     O_RDONLY, 0);
			n += fd >= 0;
		}
		disk_fini(&after);
	}
	return n;
}

START_TEST(a_directory_goes_with_all_that_is_in_it)
{
	int dirfd, fd;

	ck_assert_int_eq(
		disk.io.mkdirat(disk.io.ctx, disk_root(&disk), "d", 0755), 0);
	dirfd = open_file("d", O_RDONLY | O_DIRECTORY);
	fd = disk.io.openat(disk.io.ctx, dirfd, "f", O_WRONLY | O_CREAT, 0644);
	ck_assert_int_eq(sync_fd(fd), 0);
	ck_assert_int_eq(sync_fd(dirfd), 0);
	close_file(fd);
	close_file(dirfd);
	ck_assert_int_gt(count_below("d", "f"), 0);
	ck_assert_int_lt(count_below("d", "f"), CRASHES);
	sync_root();
	ck_assert_int_eq(count_below("d", "f"), CRASHES);
}
END_TEST

/* --- failures --------------------------------------------------------- */

static void fail_next(const char *only, enum disk_fault fault, int error)
{
	const struct disk_plan plan = {
		.at = 1, .only = only, .fault = fault, .error = error
	};

	disk_plan(&disk, &plan, 1);
}

START_TEST(after_a_failed_sync_the_next_one_lies)
{
	int fd = open_file("a", O_RDWR | O_CREAT);
	struct seen s;

	sync_root();
	fill(fd, 'n', 20000);
	fail_next(_i ? "sync-range" : "fsync", DISK_FAIL, EIO);
	ck_assert_int_eq(_i ? disk.io.sync_range(disk.io.ctx, fd, 0, 20000)
			    : sync_fd(fd),
			 -EIO);
	ck_assert_int_eq(sync_fd(fd), 0);
	s = look("a", DISK_ORDERED, 20000, 'o', 'n');
	ck_assert_int_lt(s.whole, CRASHES);
	ck_assert_int_gt(s.nul, 0);
	ck_assert_int_eq(s.sizes, 0);

	/* What is written again is as good as new. */
	ck_assert_int_eq(disk.io.ftruncate(disk.io.ctx, fd, 0), 0);
	close_file(fd);
	fd = open_file("a", O_WRONLY);
	fill(fd, 'n', 20000);
	ck_assert_int_eq(sync_fd(fd), 0);
	close_file(fd);
	s = look("a", DISK_ORDERED, 20000, 'o', 'n');
	ck_assert_int_eq(s.whole, CRASHES);
}
END_TEST

START_TEST(after_a_failed_sync_a_directory_needs_a_change)
{
	struct seen s;

	make_durable("a", 'n', 10);
	ck_assert_int_eq(rename_file("a", "b"), 0);
	fail_next("fsync-dir", DISK_FAIL, EIO);
	ck_assert_int_eq(sync_fd(disk_root(&disk)), -EIO);
	sync_root();
	s = look("b", DISK_ORDERED, 10, 'o', 'n');
	ck_assert_int_gt(s.absent, 0);
	make_durable("c", 'c', 1); /* syncs the directory */
	s = look("b", DISK_ORDERED, 10, 'o', 'n');
	ck_assert_int_eq(s.whole, CRASHES);
}
END_TEST

START_TEST(faults_do_what_they_say)
{
	int fd = open_file("a", O_WRONLY | O_CREAT);

	fail_next("write", DISK_SHORT, 0);
	ck_assert_int_eq(disk.io.write(disk.io.ctx, fd, "12345", 5), 3);
	fail_next("write", DISK_FAIL, ENOSPC);
	ck_assert_int_eq(disk.io.write(disk.io.ctx, fd, "12345", 5), -ENOSPC);
	ck_assert_int_eq(disk_size(&disk, "a"), 3);
	fail_next("rename", DISK_DONE_FAIL, EIO);
	ck_assert_int_eq(rename_file("a", "b"), -EIO);
	ck_assert_int_eq(disk_size(&disk, "b"), 3);
	fail_next("open", DISK_DONE_FAIL, EMFILE);
	ck_assert_int_eq(disk.io.openat(disk.io.ctx, disk_root(&disk), "c",
					O_WRONLY | O_CREAT, 0644),
			 -EMFILE);
	ck_assert_int_eq(disk_size(&disk, "c"), 0);
	fail_next("close", DISK_FAIL, EIO);
	ck_assert_int_eq(disk.io.close(disk.io.ctx, fd), -EIO);
	ck_assert_int_eq(disk.io.close(disk.io.ctx, fd), -EBADF);
	ck_assert_uint_eq(disk.n_wrong, 1);
	disk.n_wrong = 0;
}
END_TEST

START_TEST(without_power_nothing_works)
{
	const struct disk_plan plan = { .at = 3,
					.fault = _i ? DISK_OFF_AFTER
						    : DISK_OFF };
	int fd;

	disk_plan(&disk, &plan, 1);
	fd = open_file("a", O_WRONLY | O_CREAT);
	fill(fd, 'n', 10);
	ck_assert_int_eq(disk.io.write(disk.io.ctx, fd, "more", 4),
			 _i ? 4 : -EIO);
	ck_assert(disk_is_off(&disk));
	ck_assert_int_eq(sync_fd(fd), -EIO);
	ck_assert_int_eq(unlink_file("a"), -EIO);
	ck_assert_int_eq(disk.io.close(disk.io.ctx, fd), -EIO);
	ck_assert_int_eq(disk_size(&disk, "a"), _i ? 14 : 10);
}
END_TEST

START_TEST(a_full_disk_takes_what_fits)
{
	int fd = open_file("a", O_WRONLY | O_CREAT);
	char buf[6000] = { 0 };

	disk_set_capacity(&disk, 8192);
	ck_assert_int_eq(disk.io.write(disk.io.ctx, fd, buf, 6000), 6000);
	ck_assert_int_eq(disk.io.write(disk.io.ctx, fd, buf, 6000), 2192);
	ck_assert_int_eq(disk.io.write(disk.io.ctx, fd, buf, 1), -ENOSPC);
	ck_assert_int_eq(unlink_file("a"), 0);
	ck_assert_uint_eq(disk_used(&disk), 8192); /* it is open */
	close_file(fd);
	ck_assert_uint_eq(disk_used(&disk), 0);
}
END_TEST

START_TEST(a_seed_gives_one_state)
{
	int fd = open_file("a", O_WRONLY | O_CREAT);
	struct disk one, two;
	size_t n1, n2;
	uint8_t *p1, *p2;

	sync_root();
	for (int i = 1; i < 20; i++)
		fill(fd, i, 700);
	close_file(fd);
	for (uint64_t seed = 0; seed < 50; seed++) {
		disk_after_crash(&disk, seed, DISK_HARSH, &one);
		disk_after_crash(&disk, seed, DISK_HARSH, &two);
		p1 = disk_read(&one, "a", &n1);
		p2 = disk_read(&two, "a", &n2);
		ck_assert_uint_eq(n1, n2);
		ck_assert_mem_eq(p1, p2, n1);
		free(p1);
		free(p2);
		disk_fini(&one);
		disk_fini(&two);
	}
}
END_TEST

START_TEST(the_trace_names_calls_files_and_errors)
{
	int fd = open_file("a", O_WRONLY | O_CREAT);
	char *text;

	fill(fd, 'x', 10);
	fill(fd, 'x', 10);
	ck_assert_int_eq(sync_fd(fd), 0);
	close_file(fd);
	ck_assert_int_eq(rename_file("a", "b"), 0);
	ck_assert_int_eq(unlink_file("a"), -ENOENT);
	sync_root();
	text = disk_trace(&disk);
	ck_assert_str_eq(text, "open a, write a, fsync a, close a, rename b, "
			       "unlink a (-2), fsync-dir /");
	free(text);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("disk");
	TCase *tc = tcase_create("disk");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, what_was_synced_is_there, 0, DISK_N_MODES);
	tcase_add_loop_test(tc, what_was_not_synced_is_in_doubt, 0,
			    DISK_N_MODES);
	tcase_add_loop_test(tc, a_new_file_may_have_its_size_and_no_data, 0,
			    DISK_N_MODES);
	tcase_add_loop_test(tc, sync_range_makes_nothing_durable, 0,
			    DISK_N_MODES);
	tcase_add_loop_test(tc, a_synced_file_may_lose_its_name, 0,
			    DISK_N_MODES);
	tcase_add_loop_test(tc, a_truncation_may_be_lost, 0, DISK_N_MODES);
	tcase_add_test(tc, an_appended_file_may_end_after_any_write);
	tcase_add_test(tc, in_order_a_directory_keeps_a_prefix);
	tcase_add_test(tc, harsh_a_directory_keeps_any_subset);
	tcase_add_loop_test(tc, a_rename_is_whole_or_nothing, 0, DISK_N_MODES);
	tcase_add_loop_test(tc, an_unlinked_file_may_come_back, 0,
			    DISK_N_MODES);
	tcase_add_test(tc, a_directory_goes_with_all_that_is_in_it);
	tcase_add_loop_test(tc, after_a_failed_sync_the_next_one_lies, 0, 2);
	tcase_add_test(tc, after_a_failed_sync_a_directory_needs_a_change);
	tcase_add_test(tc, faults_do_what_they_say);
	tcase_add_loop_test(tc, without_power_nothing_works, 0, 2);
	tcase_add_test(tc, a_full_disk_takes_what_fits);
	tcase_add_test(tc, a_seed_gives_one_state);
	tcase_add_test(tc, the_trace_names_calls_files_and_errors);
	suite_add_tcase(s, tc);
	return s;
}

int main(void)
{
	static Suite *(*const suites[])(void) = { suite, NULL };

	return unit_main(suites);
}
