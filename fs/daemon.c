/* SPDX-License-Identifier: MIT */
/*
 * daemon(3) and fuse_daemonize() let the command return before anybody knows
 * whether the data can be loaded. Here the parent reads from a pipe: a byte
 * means "it serves"; end of file means that the child is gone, and then its
 * exit code, which waitpid() gives, is the parent's own. No code has to be
 * sent, so none can be sent wrongly.
 *
 * The child leaves the session (setsid) just when it is ready. Before that a ^C
 * at the terminal must reach it too, and a parent that is ended otherwise
 * (timeout(1)) takes it along by the parent-death signal; nobody wants a load
 * that goes on unseen.
 */
#include "fs/daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
	EXIT_KILLED = 2
}; /* no mount came about */

static _Noreturn void wait_for_child(pid_t child, int fd)
{
	char byte;
	ssize_t n;
	int status;

	do
		n = read(fd, &byte, 1);
	while (n < 0 && errno == EINTR);
	if (n == 1)
		_exit(EXIT_SUCCESS);
	while (waitpid(child, &status, 0) < 0)
		if (errno != EINTR)
			_exit(EXIT_KILLED);
	if (WIFEXITED(status))
		_exit(WEXITSTATUS(status));
	(void)fprintf(stderr, "keyfs: ended while starting by signal %d (%s)\n",
		      WTERMSIG(status), strsignal(WTERMSIG(status)));
	_exit(EXIT_KILLED);
}

int daemon_init_files(bool foreground)
{
	for (int fd = 0; fd <= STDERR_FILENO; fd++)
		if (fcntl(fd, F_GETFD) < 0 &&
		    open("/dev/null", O_RDWR) < 0) /* the lowest free number */
			return -errno;
	if (!foreground)
		(void)close_range(STDERR_FILENO + 1, ~0U, 0);
	return 0;
}

int daemon_fork(struct daemon *d, bool foreground)
{
	pid_t parent = getpid(), child;
	int fds[2], r;

	d->pipe = -1;
	if (foreground)
		return 0;
	if (pipe2(fds, O_CLOEXEC) < 0)
		return -errno;
	(void)fflush(NULL); /* or both would print what is buffered */
	child = fork();
	if (child < 0) {
		r = -errno;
		(void)close(fds[0]);
		(void)close(fds[1]);
		return r;
	}
	if (child > 0) {
		(void)close(fds[1]);
		wait_for_child(child, fds[0]);
	}
	(void)close(fds[0]);
	(void)prctl(PR_SET_PDEATHSIG, SIGTERM);
	if (getppid() != parent)
		_exit(EXIT_KILLED); /* it died before we could ask for that */
	d->pipe = fds[1];
	return 0;
}

bool daemon_ready(struct daemon *d)
{
	int null;

	if (d->pipe < 0)
		return false;
	(void)prctl(PR_SET_PDEATHSIG, 0);
	(void)setsid();
	/* Before the byte: whoever waits for the end of our output, as $(...)
	 * does, must not wait for the daemon's end. */
	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	for (int fd = 0; null >= 0 && fd <= STDERR_FILENO; fd++)
		(void)dup2(null, fd);
	if (null > STDERR_FILENO)
		(void)close(null);
	(void)!write(d->pipe, "", 1);
	(void)close(d->pipe);
	d->pipe = -1;
	return true;
}
