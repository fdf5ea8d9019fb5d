/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "store/defs.h"

struct fuse_session;

/*
 * Receives requests and hands them to the session, whose handlers reply. How
 * requests travel is known here alone; handlers do not see it. This is the
 * reader of /dev/fuse: one thread, the caller's, reads a request and serves it.
 */
struct transport;

struct transport_options {
	struct fuse_session *se; /* borrowed; to be mounted before run */
	/* Asked after each request until it says true: whether the session has
	 * come up (INIT was answered). May act on that, as it is called in the
	 * dispatcher, between two requests. */
	bool (*is_up)(void *arg);
	void *arg;
};

/**
 * transport_new() - set up; nothing is read yet
 * Takes SIGUSR2 for itself: it gets an empty handler, for the whole process.
 * @ret: set on success; ends with transport_free()
 * Return: 0; -ENOMEM; -errno.
 */
MUST_CHECK int transport_new(const struct transport_options *opt,
			     struct transport **ret);
void transport_free(struct transport *t);

/**
 * transport_run() - serve until the file system is unmounted or
 * transport_stop() is called
 * Context: blocks; the handlers run in the calling thread.
 * Return: 0; -errno of a failed read.
 */
MUST_CHECK int transport_run(struct transport *t);

/* Makes transport_run() return, after the request it is serving. Any other
 * thread, any time, also before it was called; returns once it has. */
void transport_stop(struct transport *t);

/* Requests served so far. Any thread. */
uint64_t transport_requests(const struct transport *t);

/* What it is, for people: "/dev/fuse". */
const char *transport_name(const struct transport *t);
