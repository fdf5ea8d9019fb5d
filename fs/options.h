/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>
#include <stdio.h>

#include "store/defs.h"

/*
 * The command line: `keyfs [-f] [-d] [-o OPT[,OPT...]] DATADIR MOUNTPOINT`,
 * in the form in which mount(8) calls it too (options of fstab as -o).
 */
enum options_ctl {
	OPTIONS_CTL_HIDDEN,  /* .ctl is found by name, but not listed */
	OPTIONS_CTL_VISIBLE, /* listed too */
	OPTIONS_CTL_OFF,     /* not there */
};

struct options {
	char *datadir, *mountpoint; /* as typed; owned */
	char *fsname;		    /* owned; NULL: keyfs:DATADIR */
	char sep;
	bool sep_fixed; /* -o sep was given */
	enum options_ctl ctl;
	bool foreground, debug, read_only, noexec, sync;
	bool allow_other, allow_root;
	bool help, version; /* to be shown instead of anything else */
};

enum {
	OPTIONS_ERROR_MAX = 256
};

/**
 * options_parse() - read the command line
 * @ret:   filled on success; ends with options_fini()
 * @error: on failure, one line for people, OPTIONS_ERROR_MAX bytes
 * Return: 0; -EINVAL for what cannot be understood; -ENOMEM.
 */
MUST_CHECK int options_parse(int argc, char **argv, struct options *ret,
			     char *error);
void options_fini(struct options *o);

/* Prints the help: one screen. */
void options_help(FILE *out);
