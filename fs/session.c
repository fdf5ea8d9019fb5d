/* SPDX-License-Identifier: MIT */
/*
 * Mount options that are not for the user to choose: the kernel checks modes
 * (default_permissions), since no handler does; set-user-ID bits and device
 * nodes in what came from a dump must mean nothing (nosuid,nodev); the source
 * begins with "keyfs:", because systemd unmounts what looks like an absent
 * device.
 */
#include "fs/session.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fs/log.h"

static void PRINTF_LIKE(2, 0)
	on_log(enum fuse_log_level level, const char *fmt, va_list ap)
{
	char text[1024];
	const char *what = text;
	size_t len;

	(void)vsnprintf(text, sizeof(text), fmt, ap);
	if (strncmp(what, "fuse: ", 6) == 0)
		what += 6;
	len = strlen(text);
	while (len > 0 && text[len - 1] == '\n')
		text[--len] = '\0';
	log_msg(level >= FUSE_LOG_DEBUG	    ? LOG_LV_DEBUG
		: level >= FUSE_LOG_NOTICE  ? LOG_LV_INFO
		: level >= FUSE_LOG_WARNING ? LOG_LV_WARNING
					    : LOG_LV_ERROR,
		"fuse: %s", what);
}

void session_init_log(void)
{
	fuse_set_log_func(on_log);
}

/* What goes behind -o; owned by the caller. Return: 0; -1. */
static int build_options(const struct options *o, const char *fsname,
			 char **ret)
{
	const struct {
		bool on;
		const char *text;
	} all[] = {
		{ true, "subtype=keyfs,default_permissions,nosuid,nodev" },
		{ o->read_only, "ro" },
		{ o->noexec, "noexec" },
		{ o->sync, "sync" },
		{ o->allow_other, "allow_other" },
		{ o->allow_root, "allow_root" },
		{ o->debug, "debug" },
	};
	_cleanup_free_ char *source = NULL;

	if (asprintf(&source, "fsname=%s", fsname) < 0) {
		source = NULL;
		return -1;
	}
	if (fuse_opt_add_opt_escaped(ret, source) < 0)
		return -1;
	for (size_t i = 0; i < ARRAY_LEN(all); i++)
		if (all[i].on && fuse_opt_add_opt(ret, all[i].text) < 0)
			return -1;
	return 0;
}

struct fuse_session *session_new(const struct options *o, const char *fsname,
				 struct fs *fs)
{
	struct fuse_args args = FUSE_ARGS_INIT(0, NULL);
	_cleanup_free_ char *opts = NULL;
	struct fuse_session *se = NULL;

	if (build_options(o, fsname, &opts) == 0 &&
	    fuse_opt_add_arg(&args, "keyfs") == 0 &&
	    fuse_opt_add_arg(&args, "-o") == 0 &&
	    fuse_opt_add_arg(&args, opts) == 0)
		se = fuse_session_new(&args, &fs_ops, sizeof(fs_ops), fs);
	fuse_opt_free_args(&args);
	return se;
}

/*
 * fuse_session_unmount() must be called, as it frees, but it would detach
 * whatever is at the mount point now, which need not be ours any more. What
 * keeps it from that is a POLLERR on its descriptor, the sign of a finished
 * mount. The end of a pipe that nobody reads shows that as well.
 */
static void show_unmounted(struct fuse_session *se)
{
	int fds[2];

	if (pipe2(fds, O_CLOEXEC) < 0)
		return;
	(void)close(fds[0]);
	(void)dup3(fds[1], fuse_session_fd(se), O_CLOEXEC);
	(void)close(fds[1]);
}

void session_free(struct fuse_session *se)
{
	if (!se)
		return;
	if (fuse_session_fd(se) >= 0)
		show_unmounted(se);
	fuse_session_unmount(se);
	fuse_session_destroy(se);
}
