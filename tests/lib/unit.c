/* SPDX-License-Identifier: MIT */

/*
 * Check runs each test in a forked child, which on failure ends where it
 * stands: neither the rest of the test nor its fixtures get to clean up. So
 * the parent owns one directory per run, every scratch directory lies in it,
 * and the parent removes it all when the last test is over.
 *
 * stdout is made line-buffered: a child that calls exit() would otherwise
 * print once more what the parent had buffered at the fork.
 */

#include "tests/lib/unit.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

static uint64_t run_seed;
static char run_dir[192];

static bool is_dots(const char *name)
{
	return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

/* Removes what @dirfd/@name is, and all below it. Return: 0 or -errno. */
static int remove_tree(int dirfd, const char *name)
{
	struct dirent *de;
	int fd, r = 0;
	DIR *d;

	if (!unlinkat(dirfd, name, 0) || errno == ENOENT)
		return 0;
	if (errno != EISDIR && errno != EPERM)
		return -errno;
	fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
	if (fd < 0 && errno == EACCES && !fchmodat(dirfd, name, 0700, 0))
		fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
	if (fd < 0)
		return -errno;
	(void)fchmod(fd, 0700); /* to unlink in it */
	d = fdopendir(fd);
	if (!d) {
		r = -errno;
		close(fd);
		return r;
	}
	while (!r && (de = readdir(d)))
		if (!is_dots(de->d_name))
			r = remove_tree(fd, de->d_name);
	closedir(d);
	if (!r && unlinkat(dirfd, name, AT_REMOVEDIR) < 0)
		r = -errno;
	return r;
}

static int seed_init(void)
{
	const char *s = getenv("KEYFS_SEED");
	char *end;

	if (!s || !*s) {
		if (getrandom(&run_seed, sizeof(run_seed), 0) !=
		    sizeof(run_seed))
			return -EIO;
		return 0;
	}
	errno = 0;
	run_seed = strtoull(s, &end, 0);
	return errno || *end ? -EINVAL : 0;
}

static int run_dir_init(void)
{
	const char *tmp = getenv("TMPDIR");
	int n;

	n = snprintf(run_dir, sizeof(run_dir), "%s/keyfs-test-XXXXXX",
		     tmp && *tmp == '/' ? tmp : "/tmp");
	if (n < 0 || (size_t)n >= sizeof(run_dir))
		return -ENAMETOOLONG;
	return mkdtemp(run_dir) ? 0 : -errno;
}

int unit_main(Suite *(*const suites[])(void))
{
	SRunner *sr;
	int i, failed, r;

	setvbuf(stdout, NULL, _IOLBF, BUFSIZ);
	setenv("CK_DEFAULT_TIMEOUT", "120", 0);
	r = seed_init();
	if (r < 0) {
		printf("Bail out! KEYFS_SEED: %s\n", strerror(-r));
		return 1;
	}
	printf("# KEYFS_SEED=%" PRIu64 "\n", run_seed);
	r = run_dir_init();
	if (r < 0) {
		printf("Bail out! scratch directory: %s\n", strerror(-r));
		return 1;
	}

	sr = srunner_create(NULL);
	for (i = 0; suites[i]; i++)
		srunner_add_suite(sr, suites[i]());
	srunner_set_tap(sr, "-");
	srunner_run_all(sr, CK_SILENT);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);

	r = remove_tree(AT_FDCWD, run_dir);
	if (r < 0)
		printf("# %s: cannot remove: %s\n", run_dir, strerror(-r));
	return failed || r < 0 ? 1 : 0;
}

uint64_t unit_seed(void)
{
	return run_seed;
}

struct unit_rng unit_rng(uint64_t salt)
{
	struct unit_rng rng = { .state = salt };

	rng.state = unit_rand(&rng) ^ run_seed;
	return rng;
}

void unit_bytes(struct unit_rng *rng, void *buf, size_t len)
{
	unsigned char *p = buf;
	uint64_t x;
	size_t n;

	for (; len; p += n, len -= n) {
		x = unit_rand(rng);
		n = len < sizeof(x) ? len : sizeof(x);
		memcpy(p, &x, n);
	}
}

void unit_scratch_init(struct unit_scratch *s)
{
	int n = snprintf(s->path, sizeof(s->path), "%s/XXXXXX", run_dir);

	ck_assert(n > 0 && (size_t)n < sizeof(s->path));
	ck_assert_msg(mkdtemp(s->path), "%s: %s", s->path, strerror(errno));
	s->dirfd = open(s->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	ck_assert_msg(s->dirfd >= 0, "%s: %s", s->path, strerror(errno));
}

void unit_scratch_fini(struct unit_scratch *s)
{
	int r;

	close(s->dirfd);
	r = remove_tree(AT_FDCWD, s->path);
	ck_assert_msg(!r, "%s: %s", s->path, strerror(-r));
}

void unit_scratch_write(struct unit_scratch *s, const char *name,
			const void *data, size_t len)
{
	const char *p = data;
	ssize_t n;
	int fd;

	fd = openat(s->dirfd, name, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	ck_assert_msg(fd >= 0, "%s: %s", name, strerror(errno));
	for (; len; p += n, len -= (size_t)n) {
		n = write(fd, p, len);
		ck_assert_msg(n > 0, "%s: %s", name, strerror(errno));
	}
	ck_assert_int_eq(close(fd), 0);
}

void *unit_scratch_read(struct unit_scratch *s, const char *name,
			size_t *ret_len)
{
	size_t len, at = 0;
	struct stat st;
	ssize_t n;
	char *buf;
	int fd;

	fd = openat(s->dirfd, name, O_RDONLY);
	ck_assert_msg(fd >= 0, "%s: %s", name, strerror(errno));
	ck_assert_int_eq(fstat(fd, &st), 0);
	len = (size_t)st.st_size;
	buf = malloc(len + 1);
	ck_assert_ptr_nonnull(buf);
	for (; at < len; at += (size_t)n) {
		n = read(fd, buf + at, len - at);
		ck_assert_msg(n > 0, "%s: short read", name);
	}
	buf[len] = '\0';
	close(fd);
	*ret_len = len;
	return buf;
}

int unit_scratch_count(struct unit_scratch *s)
{
	struct dirent *de;
	int n = 0;
	DIR *d;

	d = opendir(s->path);
	ck_assert_ptr_nonnull(d);
	while ((de = readdir(d)))
		n += !is_dots(de->d_name);
	closedir(d);
	return n;
}
