/* SPDX-License-Identifier: MIT */
/*
 * One table holds every -o option: what it sets and what it is set to. Those
 * that mount(8) and fstab use for themselves are in it too, as ignored, since
 * a helper gets them all and has to put up with them.
 *
 * `dev` and `suid` are among the ignored: mount.fuse3 adds both on its own
 * account when root calls it, so they do not say that somebody wants them.
 * keyfs mounts nodev,nosuid always.
 *
 * Within -o a comma ends an option unless a backslash precedes it, as in
 * libfuse's own parser.
 */
#include "fs/options.h"

#include <errno.h>
#include <getopt.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

struct rule {
	const char *name; /* one that ends in '=' takes a value */
	int (*set)(struct options *o, const char *value); /* NULL: ignored */
};

static int set_sep(struct options *o, const char *value)
{
	if (strcmp(value, "/") != 0 && strcmp(value, ":") != 0)
		return -EINVAL;
	o->sep = value[0];
	o->sep_fixed = true;
	return 0;
}

static int set_ctl(struct options *o, const char *value)
{
	static const char *const words[] = {
		[OPTIONS_CTL_HIDDEN] = "hidden",
		[OPTIONS_CTL_VISIBLE] = "visible",
		[OPTIONS_CTL_OFF] = "off",
	};

	for (size_t i = 0; i < ARRAY_LEN(words); i++) {
		if (strcmp(value, words[i]) == 0) {
			o->ctl = (enum options_ctl)i;
			return 0;
		}
	}
	return -EINVAL;
}

static int set_fsname(struct options *o, const char *value)
{
	char *copy;

	if (!*value) /* the kernel would show a mount without a source */
		return -EINVAL;
	copy = strdup(value);
	if (!copy)
		return -ENOMEM;
	free(o->fsname);
	o->fsname = copy;
	return 0;
}

static int set_allow_other(struct options *o, const char *value)
{
	(void)value;
	o->allow_other = true;
	return 0;
}

static int set_allow_root(struct options *o, const char *value)
{
	(void)value;
	o->allow_root = true;
	return 0;
}

static int set_ro(struct options *o, const char *value)
{
	(void)value;
	o->read_only = true;
	return 0;
}

static int set_rw(struct options *o, const char *value)
{
	(void)value;
	o->read_only = false;
	return 0;
}

static int set_noexec(struct options *o, const char *value)
{
	(void)value;
	o->noexec = true;
	return 0;
}

static int set_exec(struct options *o, const char *value)
{
	(void)value;
	o->noexec = false;
	return 0;
}

static int set_sync(struct options *o, const char *value)
{
	(void)value;
	o->sync = true;
	return 0;
}

static int set_debug(struct options *o, const char *value)
{
	(void)value;
	o->debug = true;
	o->foreground = true;
	return 0;
}

static const struct rule rules[] = {
	{ "sep=", set_sep },
	{ "ctl=", set_ctl },
	{ "fsname=", set_fsname },
	{ "allow_other", set_allow_other },
	{ "allow_root", set_allow_root },
	{ "ro", set_ro },
	{ "rw", set_rw },
	{ "noexec", set_noexec },
	{ "exec", set_exec },
	{ "sync", set_sync },
	{ "debug", set_debug },
	/* what keyfs does anyway */
	{ "default_permissions", NULL },
	{ "nodev", NULL },
	{ "nosuid", NULL },
	{ "noatime", NULL },
	{ "async", NULL },
	/* what other programs put there for themselves */
	{ "defaults", NULL },
	{ "dev", NULL },
	{ "suid", NULL },
	{ "atime", NULL },
	{ "diratime", NULL },
	{ "nodiratime", NULL },
	{ "relatime", NULL },
	{ "norelatime", NULL },
	{ "strictatime", NULL },
	{ "nostrictatime", NULL },
	{ "lazytime", NULL },
	{ "nolazytime", NULL },
	{ "auto", NULL },
	{ "noauto", NULL },
	{ "user", NULL },
	{ "user=", NULL },
	{ "nouser", NULL },
	{ "users", NULL },
	{ "owner", NULL },
	{ "group", NULL },
	{ "nofail", NULL },
	{ "_netdev", NULL },
};

static int fail(char *error, const char *what, const char *arg)
{
	(void)snprintf(error, OPTIONS_ERROR_MAX, "%s '%s'", what, arg);
	return -EINVAL;
}

static int apply_one(struct options *o, const char *opt, char *error)
{
	const char *eq = strchr(opt, '=');
	size_t len = eq ? (size_t)(eq - opt) + 1 : strlen(opt);
	int r;

	if (len == 0 || strncmp(opt, "x-", 2) == 0)
		return 0;
	for (size_t i = 0; i < ARRAY_LEN(rules); i++) {
		if (strlen(rules[i].name) != len ||
		    memcmp(rules[i].name, opt, len) != 0)
			continue;
		if (!rules[i].set)
			return 0;
		r = rules[i].set(o, eq ? eq + 1 : "");
		if (r == -EINVAL)
			return fail(error, "bad value in option", opt);
		return r;
	}
	return fail(error, "unknown option", opt);
}

/* Copies the next option of @list, up to a comma, to @opt.
 * Return: where it ends: at a comma or at the end. */
static const char *next_option(const char *list, char *opt)
{
	const char *p;

	for (p = list; *p != ',' && *p != '\0'; p++) {
		if (*p == '\\' && p[1] != '\0')
			p++;
		*opt++ = *p;
	}
	*opt = '\0';
	return p;
}

static int apply_list(struct options *o, const char *list, char *error)
{
	char *opt = malloc(strlen(list) + 1);
	int r = 0;

	if (!opt)
		return -ENOMEM;
	for (const char *p = list; r == 0; p++) {
		p = next_option(p, opt);
		r = apply_one(o, opt, error);
		if (*p == '\0')
			break;
	}
	free(opt);
	return r;
}

/* @arg is the one that getopt has finished, so not always the one it is in. */
static int unknown_flag(const char *arg, char *error)
{
	const char flag[] = { '-', (char)optopt, '\0' };

	return fail(error, "unknown option", optopt ? flag : arg);
}

static int parse_flags(int argc, char **argv, struct options *o, char *error)
{
	static const struct option longs[] = {
		{ "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'V' },
		{ "foreground", no_argument, NULL, 'f' },
		{ "debug", no_argument, NULL, 'd' },
		{ NULL, 0, NULL, 0 },
	};
	int c, r = 0;

	opterr = 0;
	optind = 0; /* start afresh, also when called twice in one process */
	while (r == 0 &&
	       (c = getopt_long(argc, argv, ":fdo:hV", longs, NULL)) != -1) {
		switch (c) {
		case 'f':
			o->foreground = true;
			break;
		case 'd':
			r = set_debug(o, "");
			break;
		case 'o':
			r = apply_list(o, optarg, error);
			break;
		case 'h':
			o->help = true;
			return 0;
		case 'V':
			o->version = true;
			return 0;
		case ':':
			r = fail(error, "a value is missing after",
				 argv[optind - 1]);
			break;
		default:
			r = unknown_flag(argv[optind - 1], error);
			break;
		}
	}
	return r;
}

static int parse_paths(int argc, char **argv, struct options *o, char *error)
{
	int n = argc - optind;

	if (n > 2)
		return fail(error, "too many arguments, from",
			    argv[optind + 2]);
	if (n < 2 || !*argv[optind] || !*argv[optind + 1]) {
		(void)snprintf(error, OPTIONS_ERROR_MAX, "%s",
			       n < 1   ? "DATADIR and MOUNTPOINT are missing"
			       : n < 2 ? "MOUNTPOINT is missing"
				       : "an argument is empty");
		return -EINVAL;
	}
	o->datadir = strdup(argv[optind]);
	o->mountpoint = strdup(argv[optind + 1]);
	return o->datadir && o->mountpoint ? 0 : -ENOMEM;
}

int options_parse(int argc, char **argv, struct options *ret, char *error)
{
	struct options o = { .sep = '/', .ctl = OPTIONS_CTL_HIDDEN };
	int r;

	error[0] = '\0';
	r = parse_flags(argc, argv, &o, error);
	if (r == 0 && !o.help && !o.version)
		r = parse_paths(argc, argv, &o, error);
	if (r == 0 && o.allow_other && o.allow_root)
		r = fail(error, "not both: allow_other and", "allow_root");
	if (r < 0) {
		if (r == -ENOMEM)
			(void)snprintf(error, OPTIONS_ERROR_MAX,
				       "out of memory");
		options_fini(&o);
		return r;
	}
	*ret = o;
	return 0;
}

void options_fini(struct options *o)
{
	free(o->datadir);
	free(o->mountpoint);
	free(o->fsname);
	*o = (struct options){ 0 };
}

void options_help(FILE *out)
{
	(void)fputs(
		"usage: keyfs [-f] [-d] [-o OPT[,OPT...]] DATADIR MOUNTPOINT\n"
		"\n"
		"Mounts the Redis data in DATADIR as files below MOUNTPOINT.\n"
		"\n"
		"  -f, --foreground     stay in the foreground, log to stderr\n"
		"  -d, --debug          show each request; implies -f\n"
		"  -h, --help           this text\n"
		"  -V, --version        versions of keyfs, libfuse, protocol\n"
		"\n"
		"keys:\n"
		"  -o sep=/ | sep=:     the byte of a key that makes "
		"directories\n"
		"  -o ctl=hidden        MOUNTPOINT/.ctl: found by name "
		"(default),\n"
		"     ctl=visible       listed as well,\n"
		"     ctl=off           or not there\n"
		"mount:\n"
		"  -o ro                refuse changes\n"
		"  -o allow_other       let other users in (modes are "
		"checked)\n"
		"  -o allow_root        let root in\n"
		"  -o noexec, sync      as for any mount; nodev,nosuid always\n"
		"  -o fsname=NAME       the source shown by mount(8) and "
		"df(1)\n"
		"\n"
		"Settings are in DATADIR/keyfs.conf, in the manner of "
		"redis.conf.\n"
		"The running mount is controlled and watched through files:\n"
		"    cat MOUNTPOINT/.ctl/README\n"
		"End it with umount, fusermount3 -u or SIGTERM. See "
		"keyfs(8).\n",
		out);
}
