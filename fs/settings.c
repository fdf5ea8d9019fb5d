/* SPDX-License-Identifier: MIT */
/*
 * Every value is handed on, changed or not: each setter is cheap and setting
 * what is set already does nothing, so there is no comparison to get wrong.
 */
#include "fs/settings.h"

#include "fs/log.h"

void settings_apply(void *arg, const struct conf_values *v)
{
	const struct settings_target *t = arg;

	log_set_level(v->loglevel);
	store_set_max_memory(t->st, v->maxmemory);
	store_set_max_value(t->st, v->proto_max_bulk_len);
	if (!t->p)
		return;
	persist_set_save_points(t->p, v->save, v->n_save);
	persist_set_compress(t->p, v->rdbcompression);
	persist_set_stop_writes(t->p, v->stop_writes_on_bgsave_error);
}
