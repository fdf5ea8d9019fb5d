/* SPDX-License-Identifier: MIT */
#pragma once

#include "store/defs.h"

/*
 * DATADIR and MOUNTPOINT as they lie to each other. The daemon must never reach
 * a file of its own through its own mount: it would wait for itself.
 */
struct datadir {
	char *path;	  /* canonical; owned */
	char *mountpoint; /* canonical; owned */
	int fd;		  /* of DATADIR; owned; -1: not open */
	int n_dead;	  /* dead mounts of keyfs that were taken away */
};

#define DATADIR_INIT                                                           \
	{                                                                      \
		NULL, NULL, -1, 0                                              \
	}

enum {
	DATADIR_ERROR_MAX = 512
};

/**
 * datadir_open() - find both, create DATADIR if it is missing, and check them
 * @ret:   DATADIR_INIT, or from an earlier call, which is closed first
 * @error: on failure, one line for people, DATADIR_ERROR_MAX bytes
 * Return: 0; on failure the daemon's exit code: 1 if the arguments cannot be
 *         used together, 2 for MOUNTPOINT, 3 for DATADIR.
 */
MUST_CHECK int datadir_open(struct datadir *ret, const char *datadir,
			    const char *mountpoint, char *error);
void datadir_close(struct datadir *d);
