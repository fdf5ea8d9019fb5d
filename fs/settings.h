/* SPDX-License-Identifier: MIT */
#pragma once

#include "fs/conf.h"
#include "persist/persist.h"
#include "store/store.h"

/*
 * Puts configuration values in force: at start, and when a control file
 * changes one. The one place that knows which layer a directive is for.
 */
struct settings_target {
	struct store *st;  /* borrowed */
	struct persist *p; /* borrowed; NULL while it is not open yet */
};

/**
 * settings_apply() - make the store, persistence and the log obey @v
 * @arg: a struct settings_target; has the type that conf_set() wants
 * What is fixed once the daemon runs (dbfilename, rdbchecksum,
 * rdb-save-incremental-fsync, snapshot-memory-limit) is not looked at.
 * Context: any thread, does not block.
 */
void settings_apply(void *arg, const struct conf_values *v);
