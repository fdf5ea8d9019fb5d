/* SPDX-License-Identifier: MIT */
/*
 * `info`: the text of Redis' INFO, for the exporters and scripts that read it:
 * sections, `field:value` and CRLF. A field keeps Redis' name only where it
 * means the same; those that are keyfs' own begin with `keyfs_`. Fields about
 * what keyfs never does (fork, evict, log) are given where Redis gives them
 * always, with the value that says so.
 */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "fs/ctl_impl.h"

/* In jemalloc, if that is the allocator of this build; sanitizers bring their
 * own. */
extern int mallctl(const char *name, void *old, size_t *old_len, void *new,
		   size_t new_len) __attribute__((weak));

static void field(FILE *out, const char *name, const char *fmt, ...)
	PRINTF_LIKE(3, 4);

static void field(FILE *out, const char *name, const char *fmt, ...)
{
	va_list ap;

	fprintf(out, "%s:", name);
	va_start(ap, fmt);
	vfprintf(out, fmt, ap);
	va_end(ap);
	fputs("\r\n", out);
}

static void number(FILE *out, const char *name, uint64_t n)
{
	field(out, name, "%llu", (unsigned long long)n);
}

static void section(FILE *out, const char *name, bool first)
{
	fprintf(out, "%s# %s\r\n", first ? "" : "\r\n", name);
}

/* As Redis' bytesToHuman(). */
static void human(FILE *out, const char *name, uint64_t n)
{
	static const char units[] = "KMGTP";
	double d = (double)n / 1024;
	size_t u = 0;

	if (n < 1024) {
		field(out, name, "%lluB", (unsigned long long)n);
		return;
	}
	for (; d >= 1024 && u < strlen(units) - 1; u++)
		d /= 1024;
	field(out, name, "%.2f%c", d, units[u]);
}

static int64_t wall_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Resident memory in bytes; 0 if it cannot be told. */
static uint64_t rss(void)
{
	unsigned long long size, resident;
	uint64_t n = 0;
	FILE *f;

	f = fopen("/proc/self/statm", "re");
	if (!f)
		return 0;
	if (fscanf(f, "%llu %llu", &size, &resident) == 2)
		n = resident * (uint64_t)sysconf(_SC_PAGESIZE);
	(void)fclose(f);
	return n;
}

static void put_allocator(FILE *out)
{
	const char *version = NULL;
	size_t len = sizeof(version);

	/* "5.3.0-0-g54eaed1d8b56": up to the first dash. */
	if (mallctl && mallctl("version", &version, &len, NULL, 0) == 0)
		field(out, "mem_allocator", "jemalloc-%.*s",
		      (int)strcspn(version, "-"), version);
	else
		field(out, "mem_allocator", "libc");
}

static void put_server(const struct ctl_source *src, FILE *out)
{
	const struct ctl_options *o = &src->opt;
	int64_t up_s = (wall_ms() - src->start_ms) / 1000;
	struct ctl_fs_figures fig = { 0 };

	if (o->figures)
		o->figures(o->arg, &fig);
	section(out, "Server", true);
	/* Whose formats are written: what a client may rely on. */
	field(out, "redis_version", "7.0.15");
	field(out, "redis_mode", "standalone");
	field(out, "keyfs_version", "%s", o->version);
	field(out, "keyfs_datadir", "%s", o->datadir);
	field(out, "keyfs_mountpoint", "%s", o->mountpoint);
	field(out, "keyfs_transport", "%s", fig.transport);
	number(out, "arch_bits", sizeof(void *) * 8);
	number(out, "process_id", (uint64_t)getpid());
	field(out, "uptime_in_seconds", "%lld", (long long)up_s);
	field(out, "uptime_in_days", "%lld", (long long)(up_s / 86400));
}

static void put_memory(const struct store_stats *st, FILE *out)
{
	uint64_t resident = rss();

	section(out, "Memory", false);
	number(out, "used_memory", st->used_bytes);
	human(out, "used_memory_human", st->used_bytes);
	number(out, "used_memory_rss", resident);
	human(out, "used_memory_rss_human", resident);
	number(out, "used_memory_peak", st->peak_bytes);
	human(out, "used_memory_peak_human", st->peak_bytes);
	number(out, "maxmemory", st->max_memory);
	human(out, "maxmemory_human", st->max_memory);
	field(out, "maxmemory_policy", "noeviction");
	field(out, "mem_fragmentation_ratio", "%.2f",
	      st->used_bytes ? (double)resident / (double)st->used_bytes : 0.0);
	put_allocator(out);
}

static void put_rdb(const struct persist_status *p, FILE *out)
{
	int64_t current_s =
		p->running ? (wall_ms() - p->current_start_ms) / 1000 : -1;
	int64_t last_s =
		p->last_duration_ms < 0 ? -1 : p->last_duration_ms / 1000;

	number(out, "rdb_changes_since_last_save", p->changes_since_save);
	number(out, "rdb_bgsave_in_progress", p->running);
	field(out, "rdb_last_save_time", "%lld", (long long)p->last_save_s);
	field(out, "rdb_last_bgsave_status", "%s",
	      p->last_result ? "err" : "ok");
	field(out, "rdb_last_bgsave_time_sec", "%lld", (long long)last_s);
	field(out, "rdb_current_bgsave_time_sec", "%lld", (long long)current_s);
	number(out, "rdb_saves", p->n_saves);
	number(out, "rdb_last_cow_size", p->last_view_bytes);
	number(out, "rdb_last_load_keys_expired", p->load.expired);
	number(out, "rdb_last_load_keys_loaded", p->load.keys);
	number(out, "keyfs_rdb_bgsave_scheduled", p->scheduled);
	number(out, "keyfs_rdb_last_keys", p->last_keys);
	number(out, "keyfs_rdb_last_bytes", p->last_bytes);
	field(out, "keyfs_rdb_last_time_ms", "%lld",
	      (long long)p->last_duration_ms);
	field(out, "keyfs_rdb_last_load_ms", "%lld", (long long)p->load_ms);
	if (p->last_result)
		field(out, "keyfs_rdb_last_error", "%s",
		      p->last_error[0] ? p->last_error
				       : strerror(-p->last_result));
}

static void put_persistence(const struct persist_status *p,
			    const struct store_stats *st, FILE *out)
{
	section(out, "Persistence", false);
	number(out, "loading", 0);
	number(out, "async_loading", 0);
	number(out, "current_cow_size", p->running ? st->view_bytes : 0);
	number(out, "current_cow_size_age", 0);
	field(out, "current_fork_perc", "%.2f",
	      p->running ? p->progress * 100 : 0.0);
	number(out, "current_save_keys_processed",
	       p->running ? p->current_keys : 0);
	number(out, "current_save_keys_total",
	       p->running ? p->current_total : 0);
	put_rdb(p, out);
	number(out, "aof_enabled", 0);
	number(out, "aof_rewrite_in_progress", 0);
	number(out, "aof_rewrite_scheduled", 0);
	field(out, "aof_last_rewrite_time_sec", "-1");
	field(out, "aof_current_rewrite_time_sec", "-1");
	field(out, "aof_last_bgrewrite_status", "ok");
	number(out, "aof_rewrites", 0);
	number(out, "aof_rewrites_consecutive_failures", 0);
	field(out, "aof_last_write_status", "ok");
	number(out, "aof_last_cow_size", 0);
}

static void put_stats(const struct ctl_source *src,
		      const struct store_stats *st, FILE *out)
{
	struct ctl_fs_figures fig = { 0 };

	if (src->opt.figures)
		src->opt.figures(src->opt.arg, &fig);
	section(out, "Stats", false);
	number(out, "total_commands_processed", fig.requests);
	number(out, "expired_keys", st->expired);
	number(out, "evicted_keys", 0);
	number(out, "latest_fork_usec", 0);
	number(out, "total_forks", 0);
	number(out, "keyfs_changes", st->changes);
	number(out, "keyfs_dirs", st->n_dirs);
}

static void put_keyspace(const struct ctl_source *src,
			 const struct store_stats *st, FILE *out)
{
	uint64_t keys, expires;

	section(out, "Keyspace", false);
	for (uint32_t db = 0; db < st->n_dbs; db++) {
		store_db_size(src->opt.st, db, &keys, &expires);
		if (keys > 0)
			fprintf(out,
				"db%u:keys=%llu,expires=%llu,avg_ttl=0\r\n", db,
				(unsigned long long)keys,
				(unsigned long long)expires);
	}
}

void ctl_show_info(const struct ctl_source *src, FILE *out)
{
	struct store_stats st;
	struct persist_status p;

	store_get_stats(src->opt.st, &st);
	persist_get_status(src->opt.p, &p);
	put_server(src, out);
	put_memory(&st, out);
	put_persistence(&p, &st, out);
	put_stats(src, &st, out);
	put_keyspace(src, &st, out);
}
