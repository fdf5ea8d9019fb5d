/* SPDX-License-Identifier: MIT */
/*
 * A notebook in keyfs, from the first note to the restored backup.
 *
 *	notes MOUNTPOINT WORKDIR
 *
 * MOUNTPOINT is a running keyfs, WORKDIR a directory for the backup. KEYFS
 * names the keyfs program if it is not in PATH. notes.sh and notes.py do the
 * same; here it is plain POSIX, with a descriptor for each directory, so that
 * every name below is relative and short.
 *
 * Whatever fails ends the program with the reason.
 */
#include <dirent.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static void make_dir(int at, const char *name)
{
	if (mkdirat(at, name, 0777) < 0 && errno != EEXIST)
		err(1, "mkdir %s", name);
}

static int open_at(int at, const char *name, int flags)
{
	int fd = openat(at, name, flags | O_CLOEXEC, 0666);

	if (fd < 0)
		err(1, "open %s", name);
	return fd;
}

static void write_all(int fd, const char *buf, size_t len, const char *name)
{
	while (len > 0) {
		ssize_t n = write(fd, buf, len);

		if (n < 0)
			err(1, "write %s", name);
		buf += n;
		len -= (size_t)n;
	}
}

/* Writes a text; flags say whether in place of what is there or after it. */
static void put(int at, const char *name, int flags, const char *text)
{
	int fd = open_at(at, name, O_WRONLY | flags);

	write_all(fd, text, strlen(text), name);
	if (close(fd) < 0)
		err(1, "close %s", name);
}

/* Copies a file, to another descriptor or a new file. */
static void copy_to_fd(int at, const char *name, int out, const char *out_name)
{
	int in = open_at(at, name, O_RDONLY);
	char buf[65536];
	ssize_t n;

	while ((n = read(in, buf, sizeof(buf))) > 0)
		write_all(out, buf, (size_t)n, out_name);
	if (n < 0)
		err(1, "read %s", name);
	(void)close(in);
}

static void copy(int from, const char *name, int to, const char *new_name)
{
	int out = open_at(to, new_name, O_WRONLY | O_CREAT | O_TRUNC);

	copy_to_fd(from, name, out, new_name);
	if (close(out) < 0)
		err(1, "close %s", new_name);
}

/* Calls visit for each name in a directory, in no particular order. */
static void each(int at, const char *name,
		 void (*visit)(int dir, const char *name, int arg), int arg)
{
	int dir = open_at(at, name, O_RDONLY | O_DIRECTORY);
	DIR *d = fdopendir(dir);
	struct dirent *e;

	if (!d)
		err(1, "list %s", name);
	while (errno = 0, (e = readdir(d)) != NULL)
		if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
			visit(dir, e->d_name, arg);
	if (errno)
		err(1, "list %s", name);
	(void)closedir(d);
}

static void print_name(int dir, const char *name, int unused)
{
	(void)dir, (void)unused;
	puts(name);
}

static void remove_file(int dir, const char *name, int unused)
{
	(void)unused;
	if (unlinkat(dir, name, 0) < 0)
		err(1, "unlink %s", name);
}

static void copy_file(int dir, const char *name, int to)
{
	copy(dir, name, to, name);
}

/* Runs a program in a directory and waits for it. */
static void run(int dir, const char *program, const char *arg1,
		const char *arg2)
{
	char *argv[] = { (char *)program, (char *)arg1, (char *)arg2, NULL };
	int r, status;
	pid_t pid;

	if (fchdir(dir) < 0)
		err(1, "fchdir");
	r = posix_spawnp(&pid, program, NULL, NULL, argv, environ);
	if (r) {
		errno = r;
		err(1, "%s", program);
	}
	if (waitpid(pid, &status, 0) < 0)
		err(1, "waitpid");
	if (!WIFEXITED(status) || WEXITSTATUS(status))
		errx(1, "%s failed", program);
}

/*
 * Copies the notes out of a backup: a data directory that holds the backup as
 * `dump.rdb` is the keyspace of that moment. The command returns when all is
 * loaded.
 */
static void restore(int mnt, int work)
{
	const char *keyfs = getenv("KEYFS");
	int notes;

	make_dir(work, "restored");
	make_dir(work, "restored.mnt");
	copy(work, "backup.rdb", work, "restored/dump.rdb");
	run(work, keyfs ? keyfs : "keyfs", "restored", "restored.mnt");

	make_dir(mnt, "notes");
	notes = open_at(mnt, "notes", O_RDONLY | O_DIRECTORY);
	each(work, "restored.mnt/notes", copy_file, notes);
	(void)close(notes);
	run(work, "fusermount3", "-u", "restored.mnt");
}

static void take_notes(int mnt)
{
	/* Set: a note is a file, and the key `notes/shopping` in Redis' eyes. */
	make_dir(mnt, "notes");
	put(mnt, "notes/shopping", O_CREAT | O_TRUNC, "milk\n");
	put(mnt, "notes/shopping", O_APPEND, "eggs\n");
	put(mnt, "notes/ideas", O_CREAT | O_TRUNC,
	    "a cache that is a directory\n");

	/* Get. */
	puts("To buy:");
	(void)fflush(stdout);
	copy_to_fd(mnt, "notes/shopping", STDOUT_FILENO, "stdout");

	/* List. */
	puts("All notes:");
	each(mnt, "notes", print_name, 0);

	/* Replace at once: whoever reads sees the old note or the new one,
	 * whole. */
	put(mnt, "notes/shopping.new", O_CREAT | O_TRUNC,
	    "milk\neggs\nbread\n");
	if (renameat(mnt, "notes/shopping.new", mnt, "notes/shopping") < 0)
		err(1, "rename");
}

int main(int argc, char **argv)
{
	int mnt, work;

	if (argc != 3)
		errx(2, "usage: notes MOUNTPOINT WORKDIR");
	mnt = open_at(AT_FDCWD, argv[1], O_RDONLY | O_DIRECTORY);
	work = open_at(AT_FDCWD, argv[2], O_RDONLY | O_DIRECTORY);
	if (faccessat(mnt, ".ctl/save", W_OK, 0) < 0)
		err(1, "no keyfs is mounted at %s", argv[1]);

	take_notes(mnt);

	/* Snapshot: the write returns when the dump is on disk, or fails.
	 * (`bgsave` beside it does not wait.) */
	put(mnt, ".ctl/save", 0, "1\n");

	/* Back up: the dump is a file like any other, and stays whole while it
	 * is copied, even if the next snapshot replaces it meanwhile. */
	copy(mnt, ".ctl/dump.rdb", work, "backup.rdb");

	/* Lose everything, and get it back. */
	each(mnt, "notes", remove_file, 0);
	if (unlinkat(mnt, "notes", AT_REMOVEDIR) < 0)
		err(1, "rmdir notes");
	restore(mnt, work);

	puts("After the restore, to buy:");
	(void)fflush(stdout);
	copy_to_fd(mnt, "notes/shopping", STDOUT_FILENO, "stdout");
	if (fflush(stdout) == EOF)
		err(1, "stdout");
	return 0;
}
