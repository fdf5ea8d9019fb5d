/* SPDX-License-Identifier: MIT */
/*
 * An open-file-description lock (F_OFD_SETLK): it lasts until the descriptor is
 * closed, so it ends with the process, and unlike POSIX record locks it does
 * not go when another descriptor of the file is closed.
 *
 * The file is removed while the lock is still held. Somebody who had opened it
 * before then gets the lock of a file without a name; so after each success the
 * name is looked up again, and if it is not our file, the whole starts over.
 */
#include "fs/lockfile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum {
	POLL_MS = 20,
	/* Patience with a holder that says it runs, but whose mount is gone:
	 * it is on its way out, unless the mount was detached lazily and is
	 * still in use, or is in another mount namespace. */
	UNMOUNTED_WAIT_MS = 10 * 1000,
	/* Waiting is worth a word if it takes longer; a multiple of POLL_MS. */
	QUIET_MS = 1000,
	/* With one that has not said yet who it is: it has just started. */
	NAMELESS_WAIT_MS = 1000,
};

struct holder {
	pid_t pid;
	char state[16];
};

static struct holder read_holder(int fd)
{
	struct holder h = { 0 };
	char text[64];
	ssize_t n = pread(fd, text, sizeof(text) - 1, 0);
	int pid = 0;

	text[MAX(n, 0)] = '\0';
	if (sscanf(text, "pid %d state %15s", &pid, h.state) >= 1)
		h.pid = pid;
	return h;
}

/* Whether the name still leads to the file behind the descriptor. */
static bool is_current(int dirfd, int fd)
{
	struct stat by_fd, by_name;

	return fstat(fd, &by_fd) == 0 &&
	       fstatat(dirfd, LOCKFILE_NAME, &by_name, 0) == 0 &&
	       by_fd.st_dev == by_name.st_dev && by_fd.st_ino == by_name.st_ino;
}

/* Return: 0; -EAGAIN if another process has it: *ret_h is set; -errno. */
static int try_lock(struct lockfile *l, int dirfd, struct holder *ret_h)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	int fd, r;

	for (;;) {
		fd = openat(dirfd, LOCKFILE_NAME,
			    O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
		if (fd < 0)
			return -errno;
		if (fcntl(fd, F_OFD_SETLK, &lock) < 0) {
			r = errno == EACCES ? -EAGAIN : -errno;
			if (r == -EAGAIN)
				*ret_h = read_holder(fd);
			(void)close(fd);
			return r;
		}
		if (is_current(dirfd, fd))
			break;
		(void)close(fd);
	}
	*l = (struct lockfile){ .dirfd = dirfd, .fd = fd };
	lockfile_set_state(l, "starting");
	return 0;
}

int lockfile_lock(struct lockfile *l, int dirfd,
		  const struct lockfile_wait *wait, pid_t *ret_pid)
{
	const struct timespec pause = { .tv_nsec = POLL_MS * 1000000L };
	struct holder h = { 0 };
	int r, unmounted_ms = 0, nameless_ms = 0, ending_ms = 0;

	for (;;) {
		r = try_lock(l, dirfd, &h);
		if (r != -EAGAIN)
			return r;
		if (strcmp(h.state, "ending") == 0) {
			if (ending_ms == QUIET_MS)
				wait->waiting(wait->arg, h.pid);
			ending_ms += POLL_MS;
		} else if (h.pid == 0 && nameless_ms < NAMELESS_WAIT_MS) {
			nameless_ms += POLL_MS;
		} else if (strcmp(h.state, "running") != 0 ||
			   unmounted_ms >= UNMOUNTED_WAIT_MS ||
			   wait->is_mounted(wait->arg)) {
			*ret_pid = h.pid;
			return -EBUSY;
		} else {
			unmounted_ms += POLL_MS;
		}
		(void)nanosleep(&pause, NULL);
	}
}

void lockfile_set_state(struct lockfile *l, const char *state)
{
	char text[64];
	int n;

	if (l->fd < 0)
		return;
	n = snprintf(text, sizeof(text), "pid %d\nstate %s\n", (int)getpid(),
		     state);
	if (pwrite(l->fd, text, (size_t)n, 0) == n)
		(void)!ftruncate(l->fd, n);
}

void lockfile_release(struct lockfile *l)
{
	if (l->fd < 0)
		return;
	(void)unlinkat(l->dirfd, LOCKFILE_NAME, 0);
	(void)close(l->fd);
	l->fd = -1;
}
