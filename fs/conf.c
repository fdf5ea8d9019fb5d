/* SPDX-License-Identifier: MIT */
/*
 * The settings in force, and the file that keeps them.
 *
 * A change is checked, then written, then put in force: what a reader of
 * .ctl/config/ sees is what the next start will read. The file is read anew
 * for each change and just one directive in it is touched, so what somebody
 * edited meanwhile is neither lost nor put in force behind his back.
 *
 * Two locks: set_lock makes changes follow each other and is held over the
 * disk write; lock guards the values and is held for a copy, so readers never
 * wait for the disk. set_lock is taken first.
 */
#include "fs/conf.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "fs/conf_file.h"
#include "fs/conf_parse.h"

struct conf {
	const struct io *io;
	int dirfd;
	pthread_mutex_t set_lock;
	pthread_mutex_t lock;
	struct conf_values values; /* protected by lock */
};

/* --- reading the file --------------------------------------------------- */

/* What reading one file needs to know. */
struct reading {
	const struct io *io;
	int dirfd;
	struct conf_values v;
	bool seen_save; /* the first `save` line replaces the defaults */
	char why[CONF_WHY_MAX];
};

/* Whether @path, seen from DATADIR, is DATADIR. */
static bool is_datadir(const struct reading *r, const char *path)
{
	struct stat here, there;
	int fd, e;

	fd = r->io->openat(r->io->ctx, r->dirfd, path,
			   O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
	if (fd < 0)
		return false;
	e = r->io->fstat(r->io->ctx, fd, &there);
	(void)r->io->close(r->io->ctx, fd);
	if (e < 0 || r->io->fstat(r->io->ctx, r->dirfd, &here) < 0)
		return false;
	return here.st_dev == there.st_dev && here.st_ino == there.st_ino;
}

static int take_dir(struct reading *r, int argc, char **argv)
{
	if (argc == 1 && is_datadir(r, argv[0]))
		return 0;
	(void)snprintf(r->why, sizeof(r->why),
		       "the data directory is the one named on the command "
		       "line: remove the line or say ./");
	return -EINVAL;
}

/* `save` lines add up, the first one replaces the defaults, and one with ""
 * clears those before it. */
static int take_save(struct reading *r, const struct conf_directive *d,
		     int argc, char **argv)
{
	struct conf_values one = r->v;
	int e, n;

	e = d->parse(d, &one, argc, argv, r->why);
	if (e < 0)
		return e;
	if (!r->seen_save || one.n_save == 0)
		r->v.n_save = 0;
	r->seen_save = true;
	n = r->v.n_save;
	if (n + one.n_save > PERSIST_SAVE_POINTS_MAX) {
		(void)snprintf(r->why, sizeof(r->why),
			       "there are more than %d save points",
			       PERSIST_SAVE_POINTS_MAX);
		return -EINVAL;
	}
	memcpy(r->v.save + n, one.save,
	       (size_t)one.n_save * sizeof(one.save[0]));
	r->v.n_save += one.n_save;
	return 0;
}

/* One directive with its values. On failure r->why says what is wrong. */
static int take_directive(struct reading *r, int argc, char **argv)
{
	const struct conf_directive *d;
	int i = conf_find(argv[0]), e;

	if (i >= 0) {
		d = &conf_directives[i];
		if (argc == 1) {
			(void)snprintf(r->why, sizeof(r->why),
				       "it has no value");
			return -EINVAL;
		}
		if (strcmp(d->name, "save") == 0)
			return take_save(r, d, argc - 1, argv + 1);
		return d->parse(d, &r->v, argc - 1, argv + 1, r->why);
	}
	if (strcasecmp(argv[0], "dir") == 0)
		return take_dir(r, argc - 1, argv + 1);
	e = conf_check_inert(argv[0], argc - 1, argv + 1, r->why);
	if (e == -ENOENT) {
		(void)snprintf(r->why, sizeof(r->why),
			       "keyfs does not know this directive: remove the "
			       "line (keyfs(8) lists those it has)");
		e = -EINVAL;
	}
	return e;
}

/* White space, or `#` as the first byte that is none: then any quotes may
 * follow. */
static bool is_comment(struct span line)
{
	const char *p = line.ptr, *end = p + line.len;

	while (p < end && isspace((unsigned char)*p))
		p++;
	return p == end || *p == '#';
}

static int take_line(struct reading *r, struct span line, char *buf,
		     struct conf_error *err)
{
	char *argv[CONF_WORDS_MAX];
	int n, e;

	if (is_comment(line))
		return 0;
	n = conf_split(line, buf, argv, CONF_WORDS_MAX);
	if (n == -E2BIG) {
		(void)snprintf(err->what, sizeof(err->what), "too many values");
		return -EINVAL;
	}
	if (n < 0) {
		(void)snprintf(err->what, sizeof(err->what),
			       "the quotes do not match: close them, and "
			       "follow them with a space");
		return -EINVAL;
	}
	e = take_directive(r, n, argv);
	if (e < 0)
		(void)snprintf(err->what, sizeof(err->what), "%.32s: %s",
			       argv[0], r->why);
	return e;
}

static int take_text(struct reading *r, struct span text,
		     struct conf_error *err)
{
	char *buf = malloc(text.len + 1);
	struct span line;
	int e = 0;

	if (!buf) {
		(void)snprintf(err->what, sizeof(err->what), "out of memory");
		return -ENOMEM;
	}
	for (int n = 1; !e && conf_next_line(&text, &line); n++) {
		e = take_line(r, line, buf, err);
		if (e < 0)
			err->line = n;
	}
	free(buf);
	return e;
}

static int read_settings(struct reading *r, struct conf_error *err)
{
	_cleanup_free_ char *text = NULL;
	size_t len;
	mode_t mode;
	int e;

	e = conf_file_read(r->io, r->dirfd, CONF_FILE_NAME, &text, &len, &mode);
	if (e == -ENOENT)
		return 0;
	if (e < 0) {
		(void)snprintf(err->what, sizeof(err->what),
			       "it cannot be read: %s", strerror(-e));
		return e;
	}
	return take_text(r, span_of(text, len), err);
}

/* --- life --------------------------------------------------------------- */

int conf_open(const struct io *io, int dirfd, struct conf **ret,
	      struct conf_error *err)
{
	struct reading r = { .io = io ? io : &io_system, .dirfd = dirfd };
	struct conf *c;
	int e;

	*err = (struct conf_error){ .line = 0 };
	conf_set_defaults(&r.v);
	e = read_settings(&r, err);
	if (e < 0)
		return e;
	c = calloc(1, sizeof(*c));
	if (!c) {
		(void)snprintf(err->what, sizeof(err->what), "out of memory");
		return -ENOMEM;
	}
	c->io = r.io;
	c->dirfd = dirfd;
	c->values = r.v;
	pthread_mutex_init(&c->set_lock, NULL);
	pthread_mutex_init(&c->lock, NULL);
	*ret = c;
	return 0;
}

void conf_close(struct conf *c)
{
	if (!c)
		return;
	pthread_mutex_destroy(&c->set_lock);
	pthread_mutex_destroy(&c->lock);
	free(c);
}

void conf_get(struct conf *c, struct conf_values *ret)
{
	pthread_mutex_lock(&c->lock);
	*ret = c->values;
	pthread_mutex_unlock(&c->lock);
}

/* --- by name ------------------------------------------------------------ */

const char *conf_name(int i)
{
	return i < conf_n_directives ? conf_directives[i].name : NULL;
}

const char *conf_help(int i)
{
	return conf_directives[i].help;
}

const char *conf_default(int i)
{
	return conf_directives[i].def;
}

bool conf_is_mutable(int i)
{
	return conf_directives[i].is_mutable;
}

size_t conf_print(struct conf *c, int i, char *buf)
{
	struct conf_values v;

	conf_get(c, &v);
	return conf_directives[i].print(&conf_directives[i], &v, buf);
}

/* After a failed replacement that may have been past its rename: puts back what
 * was there, so that a refused change is not found by the next start. Done as
 * well as the failing disk allows. */
static void restore_file(struct conf *c, const char *old, size_t old_len,
			 mode_t mode, struct span new)
{
	_cleanup_free_ char *now = NULL;
	size_t len;
	mode_t mode_now;
	int r;

	r = conf_file_read(c->io, c->dirfd, CONF_FILE_NAME, &now, &len,
			   &mode_now);
	if (r < 0 || !span_eq(span_of(now, len), new))
		return;
	if (old)
		r = io_replace(c->io, c->dirfd, CONF_FILE_NAME, CONF_TMP_NAME,
			       span_of(old, old_len), mode);
	else
		r = c->io->unlinkat(c->io->ctx, c->dirfd, CONF_FILE_NAME);
	(void)r;
}

/* Puts one directive into the file as it is now, or into a new one. */
static int write_setting(struct conf *c, const struct conf_directive *d,
			 const struct conf_values *v)
{
	_cleanup_free_ char *old = NULL;
	char value[CONF_VALUE_MAX];
	struct span new;
	size_t len = 0;
	mode_t mode = 0644;
	int r;

	r = conf_file_read(c->io, c->dirfd, CONF_FILE_NAME, &old, &len, &mode);
	if (r < 0 && r != -ENOENT)
		return r;
	(void)d->print(d, v, value);
	r = conf_file_edit(span_of(old, len), d->name, value, &new);
	if (r < 0)
		return r;
	r = io_replace(c->io, c->dirfd, CONF_FILE_NAME, CONF_TMP_NAME, new,
		       mode);
	if (r < 0)
		restore_file(c, old, len, mode, new);
	free((void *)new.ptr);
	return r;
}

/* Reads a value given by itself. Nothing at all is `save`'s "", as in
 * `echo > .ctl/config/save`; the others do not take it. */
static int parse_value(const struct conf_directive *d, struct span text,
		       struct conf_values *v)
{
	char buf[CONF_VALUE_MAX + 1], *argv[CONF_WORDS_MAX];
	char why[CONF_WHY_MAX], nothing[] = "";
	int n;

	if (text.len > CONF_VALUE_MAX)
		return -EINVAL;
	n = conf_split(text, buf, argv, CONF_WORDS_MAX);
	if (n < 0)
		return -EINVAL;
	if (n == 0) {
		argv[0] = nothing;
		n = 1;
	}
	return d->parse(d, v, n, argv, why);
}

int conf_set(struct conf *c, int i, struct span text,
	     void (*apply)(void *arg, const struct conf_values *v), void *arg)
{
	const struct conf_directive *d = &conf_directives[i];
	struct conf_values v;
	int r;

	if (!d->is_mutable)
		return -EPERM;
	pthread_mutex_lock(&c->set_lock);
	conf_get(c, &v);
	r = parse_value(d, text, &v);
	if (!r)
		r = write_setting(c, d, &v);
	if (!r) {
		pthread_mutex_lock(&c->lock);
		c->values = v;
		pthread_mutex_unlock(&c->lock);
		if (apply)
			apply(arg, &v);
	}
	pthread_mutex_unlock(&c->set_lock);
	return r;
}
