/* SPDX-License-Identifier: MIT */
/*
 * MOUNTPOINT comes first, since that takes away the dead mount which may lie
 * over DATADIR too. A missing DATADIR is made only once its parent has been
 * found to be a good place, and not where a keyfs is mounted already (another
 * one may have to be waited for, but not with a new DATADIR): a refusal leaves
 * nothing behind.
 */
#include "fs/datadir.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fs/mountpoint.h"

enum {
	EXIT_USAGE = 1,
	EXIT_MOUNT = 2,
	EXIT_DATA = 3,
	DATADIR_MODE = 0755, /* less the umask, as mkdir(1) */
};

static int fail(char *error, int code, const char *what, const char *path,
		const char *why)
{
	(void)snprintf(error, DATADIR_ERROR_MAX, "%s %s: %s", what, path, why);
	return code;
}

static int open_mountpoint(struct datadir *d, const char *path, char *error)
{
	int fd = mountpoint_open(path, &d->mountpoint, &d->n_dead);
	const char *why;

	if (fd >= 0)
		return fd;
	why = strerror(-fd);
	if (fd == -ENOENT)
		why = "no such directory; create it first";
	else if (fd == -ENOTCONN)
		why = "a dead mount of another program is there; unmount it "
		      "first (umount -l)";
	return -fail(error, EXIT_MOUNT, "mount point", path, why);
}

/* Both as messages name them. */
struct where {
	const char *datadir, *mountpoint;
};

/* @place: DATADIR, or the directory in which it is going to be made. */
static int check_place(int place, bool is_parent, int mp, const struct where *w,
		       char *error)
{
	int inside = mountpoint_is_inside(place, mp), around = 0;

	if (!inside && !is_parent)
		around = mountpoint_is_inside(mp, place);
	if (inside < 0 || around < 0)
		return fail(error, EXIT_DATA, "data directory", w->datadir,
			    strerror(inside < 0 ? -inside : -around));
	if (!inside && !around)
		return 0;
	(void)snprintf(error, DATADIR_ERROR_MAX,
		       "%s %s is inside of the %s %s; choose another place for "
		       "one of them",
		       inside ? "data directory" : "mount point",
		       inside ? w->datadir : w->mountpoint,
		       inside ? "mount point" : "data directory",
		       inside ? w->mountpoint : w->datadir);
	return EXIT_USAGE;
}

static int open_dir(int at, const char *path)
{
	int fd = openat(at, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

/* Makes @name in @up. Return: a descriptor; -errno. */
static int make_dir(int up, const char *name)
{
	if (mkdirat(up, name, DATADIR_MODE) < 0 && errno != EEXIST)
		return -errno;
	return open_dir(up, name);
}

/* @parent and @name: DATADIR, cut in two. Return: a descriptor; -exit code. */
static int make_datadir(const char *parent, const char *name, int mp,
			const struct where *w, char *error)
{
	int fd, up, r;

	if (mountpoint_find(w->mountpoint, NULL))
		return -fail(error, EXIT_MOUNT, "mount point", w->mountpoint,
			     "a keyfs is mounted there already; unmount it "
			     "first");
	up = open_dir(AT_FDCWD, parent);
	if (up < 0)
		return -fail(error, EXIT_DATA, "data directory", w->datadir,
			     up == -ENOENT ? "its parent does not exist either"
					   : strerror(-up));
	r = check_place(up, true, mp, w, error);
	fd = r == 0 ? make_dir(up, name) : -1;
	(void)close(up);
	if (r != 0)
		return -r;
	if (fd < 0)
		return -fail(error, EXIT_DATA, "cannot create data directory",
			     w->datadir, strerror(-fd));
	return fd;
}

/* Return: a descriptor; -exit code. */
static int create_datadir(int mp, const struct where *w, char *error)
{
	char *for_dir = strdup(w->datadir), *for_base = strdup(w->datadir);
	int fd;

	if (for_dir && for_base)
		fd = make_datadir(dirname(for_dir), basename(for_base), mp, w,
				  error);
	else
		fd = -fail(error, EXIT_DATA, "data directory", w->datadir,
			   "out of memory");
	free(for_dir);
	free(for_base);
	return fd;
}

static int open_datadir(struct datadir *d, const char *path, int mp,
			char *error)
{
	const struct where w = { path, d->mountpoint };
	int r;

	d->fd = open_dir(AT_FDCWD, path);
	if (d->fd == -ENOENT) {
		d->fd = create_datadir(mp, &w, error);
		if (d->fd < 0)
			return -d->fd;
	}
	if (d->fd < 0)
		return fail(error, EXIT_DATA, "data directory", path,
			    strerror(-d->fd));
	r = check_place(d->fd, false, mp, &w, error);
	if (r != 0)
		return r;
	if (faccessat(d->fd, ".", R_OK | W_OK | X_OK, AT_EACCESS) < 0)
		return fail(error, EXIT_DATA, "cannot write to data directory",
			    path, strerror(errno));
	d->path = realpath(path, NULL);
	return d->path ? 0
		       : fail(error, EXIT_DATA, "data directory", path,
			      strerror(errno));
}

int datadir_open(struct datadir *ret, const char *datadir,
		 const char *mountpoint, char *error)
{
	struct datadir d = DATADIR_INIT;
	int mp, r;

	mp = open_mountpoint(&d, mountpoint, error);
	r = mp < 0 ? -mp : open_datadir(&d, datadir, mp, error);
	if (mp >= 0)
		(void)close(mp);
	d.n_dead += ret->n_dead;
	datadir_close(ret);
	if (r == 0)
		*ret = d;
	else
		datadir_close(&d);
	return r;
}

void datadir_close(struct datadir *d)
{
	free(d->path);
	free(d->mountpoint);
	if (d->fd >= 0)
		(void)close(d->fd);
	*d = (struct datadir)DATADIR_INIT;
}
