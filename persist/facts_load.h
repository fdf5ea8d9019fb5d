/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdint.h>

#include "persist/in.h"
#include "store/store.h"
#include "store/value.h"

/*
 * The facts hashes of a dump while it is loaded: kept aside until all keys are
 * there, then applied. Private to persist/.
 */
struct facts_load {
	struct mem *mem;
	struct facts_load_hash {
		uint64_t offset; /* of its record, for messages */
		uint8_t type;
		void *bytes; /* the payload in one piece */
		size_t len;
	} * v;
	size_t n;
};

void facts_load_init(struct facts_load *f, struct mem *m);
void facts_load_fini(struct facts_load *f);

/**
 * facts_load_take() - look whether a hash is the facts hash, and keep it if so
 * @payload: borrowed
 * @offset:  of the record in the file
 * @ret_sep: set on success: the separator of its paths
 * Return: 0 if it is; -ENOENT if not; -ENOTSUP if it is that of a later
 *         version; -ENOMEM.
 */
MUST_CHECK int facts_load_take(struct facts_load *f, uint8_t type,
			       const struct value *payload, uint64_t offset,
			       char *ret_sep);

/**
 * facts_load_apply() - hand all facts to the store
 * @in: for the error alone
 * Return: 0; -EBADMSG for malformed facts or paths; -ENOMEM.
 */
MUST_CHECK int facts_load_apply(struct facts_load *f, struct store *st,
				struct in *in);
