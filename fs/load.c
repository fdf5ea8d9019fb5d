/* SPDX-License-Identifier: MIT */
/*
 * A dump that cannot be read to its end is never mounted, not even in part: the
 * next save would put the part in place of the whole. So every failure ends the
 * start, and the message has to say how to go on.
 */
#include "fs/load.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <time.h>

#include "fs/progress.h"
#include "persist/rdb.h"

static const char *remedy(int r)
{
	switch (r) {
	case -EBADMSG:
		return "The file is damaged: examine it with redis-check-rdb, "
		       "put a backup in its place, or move it away to start "
		       "empty.";
	case -ENOTSUP:
		return "Load it with the server that wrote it, and save it "
		       "there in an older version's format.";
	case -ENOMEM:
		return "There is not enough memory for the data.";
	case -EINVAL:
		return "Mount it with the other -o sep=, or without that "
		       "option.";
	default:
		return "The file cannot be read: check its permissions and the "
		       "disk.";
	}
}

int load_data(const struct load_options *opt, struct rdb_load_stats *ret_stats,
	      char *error)
{
	struct rdb_error err = { 0 };
	struct progress progress;
	struct timespec now;
	struct rdb_load_options how = {
		.progress = progress_update,
		.progress_arg = &progress,
		.verify = opt->verify,
		.sep_fixed = opt->sep_fixed,
	};
	int r;

	(void)clock_gettime(CLOCK_REALTIME, &now);
	how.now_ms = now.tv_sec * INT64_C(1000) + now.tv_nsec / 1000000;
	progress_init(&progress, opt->terminal);
	r = persist_load(opt->p, &how, ret_stats, &err);
	progress_end(&progress);
	if (r < 0)
		(void)snprintf(error, LOAD_ERROR_MAX,
			       "offset %" PRIu64 ": %s\n"
			       "keyfs: %s Nothing has been changed.",
			       err.offset,
			       err.what[0] ? err.what : strerror(-r),
			       remedy(r));
	return r;
}
