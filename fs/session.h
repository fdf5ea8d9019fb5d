/* SPDX-License-Identifier: MIT */
#pragma once

#include "fs/fs.h"
#include "fs/options.h"

/* Sends libfuse's messages, which are for the whole process, to the log. */
void session_init_log(void);

/**
 * session_new() - make a FUSE session with the mount options that keyfs uses
 * @fsname: the mount's source
 * @fs:     the handlers' context; borrowed for the session's life
 * Return: the caller's, ends with session_free(); NULL if there is no memory.
 */
struct fuse_session *session_new(const struct options *o, const char *fsname,
				 struct fs *fs);

/* Closes /dev/fuse and frees the session; whoever still waits for an answer gets
 * an error. Does not unmount. NULL is allowed. */
void session_free(struct fuse_session *se);
