/* SPDX-License-Identifier: MIT */
/*
 * A FUSE mount whose daemon is gone answers ENOTCONN (ECONNABORTED when the
 * connection was aborted), but not to everything: attributes that the kernel
 * caches for a day go on being served. So the probe is statfs, which the kernel
 * never answers from a cache. Opening the mount's root with O_PATH sends nothing
 * and so works on a dead mount too; its name in /proc/self/fd is the canonical
 * path, where realpath() might fail half-way.
 *
 * Just mounts of type fuse.keyfs are taken away: a dead mount of another
 * program may be somebody's evidence.
 */
#include "fs/mountpoint.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

enum {
	DEAD_MOUNTS_MAX = 64, /* stacked on one another: else we would loop */
	CLAIM_POLL_MS = 10,
	CLAIM_WAIT_MS = 1000,
};

/* Undoes mountinfo's octal escapes (\040 for a space) in place. */
static void unescape(char *s)
{
	char *to = s;

	for (const char *p = s; *p; to++) {
		if (p[0] == '\\' && p[1] >= '0' && p[1] <= '3' && p[2] >= '0' &&
		    p[2] <= '7' && p[3] >= '0' && p[3] <= '7') {
			*to = (char)((p[1] - '0') * 64 + (p[2] - '0') * 8 +
				     (p[3] - '0'));
			p += 4;
		} else {
			*to = *p++;
		}
	}
	*to = '\0';
}

/*
 * Cuts one line into what we need:
 * `36 35 98:0 /root /mount/point rw,noatime shared:1 ... - type source options`
 */
static bool parse_line(char *line, char **path, char **type, char **source)
{
	char *save = NULL, *word;

	word = strtok_r(line, " ", &save);
	for (int i = 0; word && i < 4; i++)
		word = strtok_r(NULL, " ", &save);
	*path = word;
	while (word && strcmp(word, "-") != 0)
		word = strtok_r(NULL, " ", &save);
	if (!word)
		return false;
	*type = strtok_r(NULL, " ", &save);
	*source = *type ? strtok_r(NULL, " ", &save) : NULL;
	if (!*source)
		return false;
	unescape(*path);
	unescape(*source);
	return true;
}

bool mountpoint_find_in(FILE *f, const char *path, const char *source)
{
	_cleanup_free_ char *line = NULL;
	char *at, *type, *from;
	size_t size = 0;
	bool found = false;

	while (getline(&line, &size, f) > 0) {
		line[strcspn(line, "\n")] = '\0';
		if (!parse_line(line, &at, &type, &from))
			continue;
		if (path && strcmp(at, path) != 0)
			continue;
		/* Mounts on one path are listed from the lowest to the
		 * topmost, so with a path the last line decides. */
		if (strcmp(type, MOUNTPOINT_TYPE) == 0 &&
		    (!source || strcmp(from, source) == 0))
			found = true;
		else if (path)
			found = false;
	}
	return found;
}

bool mountpoint_find(const char *path, const char *source)
{
	FILE *f = fopen("/proc/self/mountinfo", "re");
	bool found;

	if (!f)
		return false;
	found = mountpoint_find_in(f, path, source);
	(void)fclose(f);
	return found;
}

static int canonical_path(int fd, char **ret)
{
	char link[64], path[PATH_MAX];
	ssize_t n;

	(void)snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, path, sizeof(path) - 1);
	if (n < 0)
		return -errno;
	path[n] = '\0';
	*ret = strdup(path);
	return *ret ? 0 : -ENOMEM;
}

static bool is_dead(int fd)
{
	struct statfs sfs;

	return fstatfs(fd, &sfs) < 0 &&
	       (errno == ENOTCONN || errno == ECONNABORTED);
}

/* Return: a descriptor; -EAGAIN if a dead mount was taken away; -errno. */
static int try_open(const char *path, char **ret_path)
{
	char *at = NULL;
	int fd, r;

	fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	r = canonical_path(fd, &at);
	if (r == 0 && !is_dead(fd)) {
		*ret_path = at;
		return fd;
	}
	(void)close(fd);
	if (r == 0)
		r = mountpoint_find(at, NULL) ? mountpoint_unmount(at, true)
					      : -ENOTCONN;
	free(at);
	return r < 0 ? r : -EAGAIN;
}

int mountpoint_open(const char *path, char **ret_path, int *ret_dead)
{
	int fd;

	for (int dead = 0; dead < DEAD_MOUNTS_MAX; dead++) {
		fd = try_open(path, ret_path);
		if (fd >= 0)
			*ret_dead = dead;
		if (fd != -EAGAIN)
			return fd;
	}
	return -ENOTCONN;
}

int mountpoint_is_inside(int inner, int outer)
{
	struct stat want, have, last = { 0 };
	int fd, up, r = 0;

	if (fstat(outer, &want) < 0)
		return -errno;
	fd = openat(inner, ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	for (bool first = true;; first = false) {
		if (fstat(fd, &have) < 0) {
			r = -errno;
			break;
		}
		if (have.st_dev == want.st_dev && have.st_ino == want.st_ino) {
			r = 1;
			break;
		}
		/* The parent of the root is the root. */
		if (!first && have.st_dev == last.st_dev &&
		    have.st_ino == last.st_ino)
			break;
		last = have;
		up = openat(fd, "..", O_PATH | O_DIRECTORY | O_CLOEXEC);
		if (up < 0) {
			r = -errno;
			break;
		}
		(void)close(fd);
		fd = up;
	}
	(void)close(fd);
	return r;
}

int mountpoint_claim(const char *path)
{
	const struct timespec pause = { .tv_nsec = CLAIM_POLL_MS * 1000000L };
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return -1;
	for (int ms = 0; flock(fd, LOCK_EX | LOCK_NB) < 0;
	     ms += CLAIM_POLL_MS) {
		if (errno != EWOULDBLOCK || ms >= CLAIM_WAIT_MS) {
			(void)close(fd);
			return -1;
		}
		(void)nanosleep(&pause, NULL);
	}
	return fd;
}

/* fusermount3 is set-user-ID root: the way for everybody else. */
static int run_fusermount(const char *path, bool lazy)
{
	char program[] = "fusermount3", what[] = "-uq", how[] = "-uqz";
	char end[] = "--";
	_cleanup_free_ char *target = strdup(path);
	char *argv[] = { program, lazy ? how : what, end, target, NULL };
	int status;
	pid_t pid;

	if (!target)
		return -ENOMEM;
	if (posix_spawnp(&pid, argv[0], NULL, NULL, argv, environ) != 0)
		return -EPERM;
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -EBUSY;
}

int mountpoint_unmount(const char *path, bool lazy)
{
	if (umount2(path, (lazy ? MNT_DETACH : 0) | UMOUNT_NOFOLLOW) == 0)
		return 0;
	return errno == EPERM ? run_fusermount(path, lazy) : -errno;
}

void mountpoint_flush(const char *path)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return;
	(void)syncfs(fd);
	(void)close(fd);
}
