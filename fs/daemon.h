/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>

#include "store/defs.h"

/*
 * Going to the background in such a way that the command returns when the
 * daemon serves, with the daemon's own exit code if it does not get that far.
 */
struct daemon {
	int pipe; /* to the waiting parent; -1: in the foreground, or ready */
};

/**
 * daemon_init_files() - start with the standard streams and nothing else
 * Opens /dev/null in place of each of them that is closed: a program may start
 * us with `2>&-`, and that number would go to the next file we open, say
 * DATADIR, which daemon_ready() would then replace. In the background what else
 * the caller left open is closed: a lock (flock) or a pipe of a shell script
 * must not live as long as the daemon. To be called before anything is opened.
 * Return: 0; -errno.
 */
MUST_CHECK int daemon_init_files(bool foreground);

/**
 * daemon_fork() - split off the process that goes on
 * Only the child returns; the parent stays until daemon_ready() or the child's
 * end and then exits. To be called before there is any thread. Until
 * daemon_ready() the child keeps the terminal, its stderr and its fate: ^C ends
 * both, and so does a signal that ends the parent.
 * @foreground: do not fork at all
 * Return: 0 in the process that goes on; -errno.
 */
MUST_CHECK int daemon_fork(struct daemon *d, bool foreground);

/**
 * daemon_ready() - let the parent exit with 0 and leave the terminal
 * Standard input, output and error are /dev/null from here on. Does nothing in
 * the foreground or when called again.
 * Return: true if the process has left the terminal just now.
 */
bool daemon_ready(struct daemon *d);
