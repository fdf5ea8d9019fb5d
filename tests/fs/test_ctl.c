/* SPDX-License-Identifier: MIT */
/* The control files on a real store and a real DATADIR, without a mount: what
 * the kernel would ask for is asked for here, in the kernel's order. */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "fs/ctl.h"
#include "tests/lib/unit.h"

/* --- a disk that can be held up, or full --------------------------------- */

static struct disk {
	struct io io;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool held;    /* writes wait */
	bool waiting; /* one does */
	bool full;    /* writes fail */
} disk = {
	.lock = PTHREAD_MUTEX_INITIALIZER,
	.changed = PTHREAD_COND_INITIALIZER,
};

static ssize_t disk_write(void *ctx, int fd, const void *buf, size_t len)
{
	bool full;

	(void)ctx;
	pthread_mutex_lock(&disk.lock);
	while (disk.held) {
		disk.waiting = true;
		pthread_cond_broadcast(&disk.changed);
		pthread_cond_wait(&disk.changed, &disk.lock);
	}
	disk.waiting = false;
	full = disk.full;
	pthread_mutex_unlock(&disk.lock);
	return full ? -ENOSPC : io_system.write(io_system.ctx, fd, buf, len);
}

static void disk_set(bool held, bool full)
{
	pthread_mutex_lock(&disk.lock);
	disk.held = held;
	disk.full = full;
	pthread_cond_broadcast(&disk.changed);
	pthread_mutex_unlock(&disk.lock);
}

/* Returns when a write is being held up. */
static void disk_await_writer(void)
{
	pthread_mutex_lock(&disk.lock);
	while (!disk.waiting)
		pthread_cond_wait(&disk.changed, &disk.lock);
	pthread_mutex_unlock(&disk.lock);
}

/* --- the whole, set up for each test -------------------------------------- */

static struct unit_scratch dir;
static struct store *st;
static struct persist *p;
static struct conf *conf;
static struct ctl *c;
static struct conf_values applied;
static int n_applied;

static void on_apply(void *arg, const struct conf_values *v)
{
	(void)arg;
	applied = *v;
	n_applied++;
}

static void on_figures(void *arg, struct ctl_fs_figures *ret)
{
	(void)arg;
	ret->requests = 4711;
	(void)snprintf(ret->transport, sizeof(ret->transport), "none");
}

static void setup(void)
{
	struct store_options so = { .sep = '/', .max_value = 1 << 30 };
	struct persist_options po = { .compress = true, .checksum = true };
	struct rdb_load_options lo = { .verify = true };
	struct ctl_options co = { .version = "1.2",
				  .datadir = "/d",
				  .mountpoint = "/m",
				  .owner_uid = 12,
				  .owner_gid = 34,
				  .figures = on_figures,
				  .apply = on_apply };
	struct rdb_load_stats stats;
	struct conf_error cerr;
	struct rdb_error rerr;

	disk.io = io_system;
	disk.io.write = disk_write;
	disk_set(false, false);
	n_applied = 0;
	unit_scratch_init(&dir);
	ck_assert_int_eq(store_new(&so, &st), 0);
	po.st = st;
	po.io = &disk.io;
	po.dirfd = dir.dirfd;
	po.dbfilename = "dump.rdb";
	ck_assert_int_eq(persist_open(&po, &p), 0);
	ck_assert_int_eq(persist_load(p, &lo, &stats, &rerr), 0);
	ck_assert_int_eq(conf_open(&io_system, dir.dirfd, &conf, &cerr), 0);
	co.st = st;
	co.p = p;
	co.conf = conf;
	ck_assert_int_eq(ctl_new(&co, &c), 0);
}

static void teardown(void)
{
	disk_set(false, false);
	ctl_free(c);
	ck_assert_int_eq(persist_close(p), 0);
	conf_close(conf);
	store_free(st);
	unit_scratch_fini(&dir);
}

static void put_key(const char *name, const char *value)
{
	struct store_cred cred = { .mode = 0644 };
	struct store_attr attr;

	ck_assert_int_eq(store_create(st, STORE_ROOT_INO, span_str(name),
				      STORE_FILE, &cred, span_of(NULL, 0),
				      &attr),
			 0);
	ck_assert_int_eq(store_write(st, attr.ino, 0, value, strlen(value)), 0);
	store_forget(st, attr.ino, 1);
}

/* --- operations ----------------------------------------------------------- */

struct call {
	struct ctl_op op;
	pthread_mutex_t lock;
	pthread_cond_t ended;
	int n_done;
	ssize_t result;
	char data[64 * 1024];
};

static void call_done(struct ctl_op *op, ssize_t result, const void *data)
{
	struct call *call = (struct call *)op;

	pthread_mutex_lock(&call->lock);
	call->n_done++;
	call->result = result;
	if (result > 0 && data)
		memcpy(call->data, data, (size_t)result);
	pthread_cond_broadcast(&call->ended);
	pthread_mutex_unlock(&call->lock);
}

static struct call *call_new(void)
{
	struct call *call = calloc(1, sizeof(*call));

	ck_assert_ptr_nonnull(call);
	pthread_mutex_init(&call->lock, NULL);
	pthread_cond_init(&call->ended, NULL);
	call->op.done = call_done;
	return call;
}

static ssize_t call_wait(struct call *call)
{
	ssize_t r;

	pthread_mutex_lock(&call->lock);
	while (call->n_done == 0)
		pthread_cond_wait(&call->ended, &call->lock);
	ck_assert_int_eq(call->n_done, 1);
	r = call->result;
	pthread_mutex_unlock(&call->lock);
	return r;
}

/* As call_wait(), and frees it. */
static ssize_t call_end(struct call *call)
{
	ssize_t r = call_wait(call);

	free(call);
	return r;
}

static bool call_is_done(struct call *call)
{
	bool done;

	pthread_mutex_lock(&call->lock);
	done = call->n_done > 0;
	pthread_mutex_unlock(&call->lock);
	return done;
}

static struct store_attr find(const char *path)
{
	uint64_t at = CTL_ROOT_INO;
	struct store_attr attr;

	while (*path) {
		size_t n = strcspn(path, "/");
		int r = ctl_lookup(c, at, span_of(path, n), &attr);

		ck_assert_msg(r == 0, "%s: %d", path, r);
		at = attr.ino;
		path += n;
		path += *path == '/';
	}
	return attr;
}

/* Reads a file as the kernel does: attributes, then what they say is there.
 * The caller frees it; a NUL follows. */
static char *slurp_ino(uint64_t ino, size_t *ret_len)
{
	struct call *call = call_new();
	struct store_attr attr;
	char *text;

	ck_assert_int_eq(ctl_getattr(c, ino, &attr), 0);
	ctl_read(c, ino, 0, 32 * 1024, &call->op);
	ck_assert_int_eq(call_wait(call), (ssize_t)attr.size);
	text = malloc(attr.size + 1);
	memcpy(text, call->data, attr.size);
	text[attr.size] = '\0';
	if (ret_len)
		*ret_len = attr.size;
	free(call);
	return text;
}

static char *slurp(const char *path)
{
	return slurp_ino(find(path).ino, NULL);
}

static void expect_text(const char *path, const char *text)
{
	char *got = slurp(path);

	ck_assert_str_eq(got, text);
	free(got);
}

static ssize_t put(const char *path, const char *text)
{
	struct call *call = call_new();

	ctl_write(c, find(path).ino, text, strlen(text), &call->op);
	return call_end(call);
}

static struct call *start_write(const char *path)
{
	struct call *call = call_new();

	ctl_write(c, find(path).ino, "1\n", 2, &call->op);
	return call;
}

static void sleep_ms(int ms)
{
	struct timespec t = { .tv_sec = ms / 1000,
			      .tv_nsec = ms % 1000 * 1000000L };

	nanosleep(&t, NULL);
}

/* --- the tree ------------------------------------------------------------- */

START_TEST(table_is_sorted_and_each_entry_is_there)
{
	const struct ctl_doc *d, *before = NULL;

	ck_assert_int_eq(put("save", "1"), 1); /* so that there is a dump */
	for (int i = 0; (d = ctl_doc(i)); i++, before = d) {
		bool is_dir = strchr(d->path, '/') != NULL;
		struct store_attr attr = find(d->path);

		if (before)
			ck_assert_int_lt(strcmp(before->path, d->path), 0);
		ck_assert_uint_eq(attr.mode,
				  d->mode | (is_dir ? S_IFDIR : S_IFREG));
		ck_assert_uint_eq(attr.uid, 12);
		ck_assert_uint_eq(attr.gid, 34);
		ck_assert(ctl_owns(attr.ino));
		ck_assert_str_ne(d->help, "");
	}
	for (int i = 0; conf_name(i); i++) {
		char path[100];

		(void)snprintf(path, sizeof(path), "config/%s", conf_name(i));
		ck_assert_uint_eq(find(path).mode,
				  S_IFREG | (conf_is_mutable(i) ? 0644 : 0444));
	}
}
END_TEST

START_TEST(names_that_are_not_there)
{
	struct store_attr attr;
	uint64_t readme = find("README").ino, config = find("config").ino;

	ck_assert_int_eq(ctl_lookup(c, CTL_ROOT_INO, span_str("nope"), &attr),
			 -ENOENT);
	ck_assert_int_eq(ctl_lookup(c, CTL_ROOT_INO, span_str("sav"), &attr),
			 -ENOENT);
	ck_assert_int_eq(
		ctl_lookup(c, CTL_ROOT_INO, span_str("maxmemory"), &attr),
		-ENOENT);
	ck_assert_int_eq(
		ctl_lookup(c, CTL_ROOT_INO, span_str("dump.rdb"), &attr),
		-ENOENT);
	ck_assert_int_eq(ctl_lookup(c, config, span_str("save2"), &attr),
			 -ENOENT);
	ck_assert_int_eq(ctl_lookup(c, readme, span_str("x"), &attr), -ENOTDIR);
	ck_assert_int_eq(ctl_getattr(c, CTL_INO_BIT | 9999, &attr), -ESTALE);
	ck_assert_int_eq(ctl_getattr(c, CTL_INO_BIT | 2, &attr), -ESTALE);
	ck_assert_int_eq(ctl_lookup(c, config, span_str(".."), &attr), 0);
	ck_assert_uint_eq(attr.ino, CTL_ROOT_INO);
}
END_TEST

struct listing {
	char names[64][64];
	int n, room;
	uint64_t cookie;
};

static bool list_one(void *arg, struct span name, const struct store_attr *attr,
		     uint64_t cookie)
{
	struct listing *l = arg;

	if (l->room-- == 0)
		return false;
	ck_assert_uint_ne(attr->ino, 0);
	(void)snprintf(l->names[l->n++], 64, "%.*s", (int)name.len,
		       (const char *)name.ptr);
	l->cookie = cookie;
	return true;
}

/* Lists a directory @step entries at a time. */
static void list_dir(uint64_t ino, int step, struct listing *l)
{
	int before;

	*l = (struct listing){ .n = 0 };
	do {
		before = l->n;
		l->room = step;
		ck_assert_int_eq(ctl_readdir(c, ino, l->cookie, list_one, l),
				 0);
	} while (l->n > before);
}

START_TEST(listing_gives_each_name_once)
{
	struct listing all, some;
	int n_docs = 0, n_directives = 0;

	while (ctl_doc(n_docs))
		n_docs++;
	while (conf_name(n_directives))
		n_directives++;
	list_dir(CTL_ROOT_INO, 1000, &all);
	ck_assert_int_eq(all.n, n_docs + 2 - 1); /* no dump yet */
	ck_assert_int_eq(put("save", "1"), 1);
	for (int step = 1; step < 5; step++) {
		list_dir(CTL_ROOT_INO, step, &some);
		ck_assert_int_eq(some.n, n_docs + 2);
		ck_assert_str_eq(some.names[0], ".");
		ck_assert_str_eq(some.names[1], "..");
		for (int i = 0; i < n_docs; i++)
			ck_assert_int_eq(strncmp(some.names[i + 2],
						 ctl_doc(i)->path,
						 strlen(some.names[i + 2])),
					 0);
	}
	list_dir(find("config").ino, 3, &some);
	ck_assert_int_eq(some.n, n_directives + 2);
	ck_assert_str_eq(some.names[2], conf_name(0));
	ck_assert_int_eq(ctl_readdir(c, find("save").ino, 0, list_one, &some),
			 -ENOTDIR);
}
END_TEST

/* --- texts ---------------------------------------------------------------- */

START_TEST(a_text_and_its_times_stay_until_something_changes)
{
	static const char *const paths[] = { "README", "bgsave", "save",
					     "lastsave", "config/save" };

	for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
		struct store_attr a = find(paths[i]), b;
		char *text = slurp(paths[i]);

		ck_assert_uint_eq(a.size, strlen(text));
		ck_assert_uint_gt(a.size, 0);
		ck_assert_int_eq(text[a.size - 1], '\n');
		sleep_ms(2);
		b = find(paths[i]);
		ck_assert_int_eq(a.mtime_ns, b.mtime_ns);
		free(text);
	}
}
END_TEST

START_TEST(readme_has_the_whole_table)
{
	char *text = slurp("README");
	const struct ctl_doc *d;

	for (int i = 0; (d = ctl_doc(i)); i++) {
		ck_assert_ptr_nonnull(strstr(text, d->path));
		ck_assert_ptr_nonnull(strstr(text, d->help));
	}
	for (int i = 0; conf_name(i); i++)
		ck_assert_ptr_nonnull(strstr(text, conf_help(i)));
	free(text);
}
END_TEST

START_TEST(every_write_moves_the_time)
{
	/* The kernel has what was written in its page: see ctl.c. */
	static const char *const paths[] = { "bgsave", "config/save",
					     "config/dbfilename" };
	static const char *const values[] = { "1\n", "bad\n", "x\n" };

	for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
		struct store_attr before = find(paths[i]);

		(void)put(paths[i], values[i]);
		ck_assert_int_gt(find(paths[i]).mtime_ns, before.mtime_ns);
	}
}
END_TEST

START_TEST(reads_at_any_offset_are_parts_of_one_text)
{
	char *text = slurp("README");
	uint64_t ino = find("README").ino;

	for (size_t off = 0; off < strlen(text) + 10; off += 7) {
		struct call *call = call_new();
		size_t want =
			off < strlen(text) ? MIN(7, strlen(text) - off) : 0;

		ctl_read(c, ino, off, 7, &call->op);
		ck_assert_int_eq(call_wait(call), (ssize_t)want);
		ck_assert_mem_eq(call->data, text + MIN(off, strlen(text)),
				 want);
		free(call);
	}
	free(text);
}
END_TEST

/* --- info ----------------------------------------------------------------- */

/* The value of a field of INFO; "" if it is not there. */
static const char *field(const char *info, const char *name)
{
	static char value[256];
	char head[64];
	const char *at;

	(void)snprintf(head, sizeof(head), "\n%s:", name);
	at = strstr(info, head);
	value[0] = '\0';
	if (at)
		(void)snprintf(value, sizeof(value), "%.*s",
			       (int)strcspn(at + strlen(head), "\r"),
			       at + strlen(head));
	return value;
}

START_TEST(info_is_redis_info)
{
	static const char *const sections[] = {
		"# Server\r\n", "\r\n# Memory\r\n", "\r\n# Persistence\r\n",
		"\r\n# Stats\r\n", "\r\n# Keyspace\r\n"
	};
	char *text;

	put_key("a", "1");
	put_key("b", "2");
	text = slurp("info");
	for (size_t i = 0; i < ARRAY_LEN(sections); i++)
		ck_assert_ptr_nonnull(strstr(text, sections[i]));
	for (const char *line = text; *line;) { /* each ends in CRLF */
		const char *end = strchr(line, '\n');

		ck_assert_ptr_nonnull(end);
		ck_assert_int_eq(end[-1], '\r');
		line = end + 1;
	}
	ck_assert_str_eq(field(text, "keyfs_version"), "1.2");
	ck_assert_str_eq(field(text, "total_commands_processed"), "4711");
	ck_assert_str_eq(field(text, "rdb_changes_since_last_save"), "4");
	ck_assert_str_eq(field(text, "rdb_bgsave_in_progress"), "0");
	ck_assert_str_eq(field(text, "rdb_last_bgsave_status"), "ok");
	ck_assert_str_eq(field(text, "rdb_last_bgsave_time_sec"), "-1");
	ck_assert_str_eq(field(text, "aof_enabled"), "0");
	ck_assert_str_eq(field(text, "maxmemory_policy"), "noeviction");
	ck_assert_str_eq(field(text, "db0"), "keys=2,expires=0,avg_ttl=0");
	ck_assert_str_eq(field(text, "db1"), "");
	ck_assert_int_gt(atol(field(text, "used_memory")), 0);
	ck_assert_int_gt(atol(field(text, "used_memory_rss")), 1 << 16);
	ck_assert_int_eq(atol(field(text, "process_id")), getpid());
	ck_assert_str_eq(field(text, "keyfs_rdb_last_error"), "");
	free(text);
}
END_TEST

START_TEST(info_keeps_its_size_and_for_a_while_its_text)
{
	struct store_attr first = find("info"), a;
	char *before = slurp("info"), *after;

	put_key("k", "v");
	a = find("info");
	after = slurp("info");
	if (a.mtime_ns == first.mtime_ns) /* within 100 ms: the old one */
		ck_assert_str_eq(before, after);
	free(after);
	for (int i = 0; i < 3; i++) {
		char name[16];

		(void)snprintf(name, sizeof(name), "key%d", i);
		put_key(name, "value");
		sleep_ms(120);
		a = find("info");
		ck_assert_uint_eq(a.size, first.size);
		ck_assert_int_gt(a.mtime_ns, first.mtime_ns);
		after = slurp("info");
		ck_assert_str_ne(before, after);
		free(after);
	}
	free(before);
}
END_TEST

/* --- saving --------------------------------------------------------------- */

START_TEST(save_returns_when_the_dump_is_there)
{
	char *text, *last;
	struct stat file;
	long long when;

	put_key("k", "v");
	expect_text("save", "status=never\n");
	ck_assert_int_eq(put("save", "now please"), 10);
	ck_assert_int_eq(fstatat(dir.dirfd, "dump.rdb", &file, 0), 0);
	text = slurp("save");
	ck_assert_int_eq(strncmp(text, "status=ok time=", 15), 0);
	when = atoll(text + 15);
	ck_assert_int_le(llabs(when - time(NULL)), 5);
	ck_assert_ptr_nonnull(strstr(text, " keys=1 bytes="));
	ck_assert_int_eq(atoll(strstr(text, " bytes=") + 7), file.st_size);
	ck_assert_ptr_nonnull(strstr(text, " duration_ms="));
	free(text);
	last = slurp("lastsave");
	ck_assert_int_le(llabs(atoll(last) - when), 1);
	free(last);
}
END_TEST

START_TEST(a_failed_save_says_why_and_the_next_heals)
{
	char *text;

	put_key("k", "v");
	disk_set(false, true);
	ck_assert_int_eq(put("save", "1"), -ENOSPC);
	text = slurp("save");
	ck_assert_int_eq(strncmp(text, "status=error time=", 18), 0);
	ck_assert_ptr_nonnull(strstr(text, " errno=ENOSPC error="));
	free(text);
	text = slurp("info");
	ck_assert_str_eq(field(text, "rdb_last_bgsave_status"), "err");
	ck_assert_str_ne(field(text, "keyfs_rdb_last_error"), "");
	free(text);
	disk_set(false, false);
	ck_assert_int_eq(put("save", "1"), 1);
	text = slurp("save");
	ck_assert_int_eq(strncmp(text, "status=ok ", 10), 0);
	free(text);
}
END_TEST

START_TEST(bgsave_starts_and_does_not_wait)
{
	char *text;

	put_key("k", "v");
	expect_text("bgsave", "idle\n");
	disk_set(true, false);
	ck_assert_int_eq(put("bgsave", "1"), 1);
	disk_await_writer();
	text = slurp("bgsave");
	ck_assert_int_eq(strncmp(text, "running ", 8), 0);
	ck_assert_int_eq(text[strlen(text) - 2], '%');
	free(text);
	ck_assert_int_eq(put("bgsave", "1"), -EALREADY);
	disk_set(false, false);
	/* Waits for the running one and another. */
	ck_assert_int_eq(put("save", "1"), 1);
	expect_text("bgsave", "idle\n");
}
END_TEST

START_TEST(an_interrupted_save_goes_on)
{
	struct call *call;
	char *text;

	put_key("k", "v");
	disk_set(true, false);
	call = start_write("save");
	disk_await_writer();
	ck_assert(!call_is_done(call));
	ctl_interrupt(c, &call->op);
	ck_assert(call_is_done(call)); /* at once, not at the save's end */
	ctl_interrupt(c, &call->op);   /* harmless */
	ck_assert_int_eq(call_end(call), -EINTR);
	disk_set(false, false);
	for (int i = 0; i < 500; i++) {
		text = slurp("save");
		if (strncmp(text, "status=ok ", 10) == 0)
			break;
		free(text);
		text = NULL;
		sleep_ms(10);
	}
	ck_assert_ptr_nonnull(text);
	free(text);
}
END_TEST

START_TEST(an_interrupt_that_comes_first_counts)
{
	struct call *call = call_new();

	ctl_interrupt(c, &call->op);
	ctl_write(c, find("save").ino, "1", 1, &call->op);
	ck_assert_int_eq(call_end(call), -EINTR);
	expect_text("save", "status=never\n");
}
END_TEST

START_TEST(an_interrupt_that_comes_late_is_harmless)
{
	struct call *call = start_write("save");

	ck_assert_int_eq(call_wait(call), 2);
	ctl_interrupt(c, &call->op);
	ck_assert_int_eq(call_end(call), 2);
}
END_TEST

START_TEST(the_end_completes_what_waits)
{
	struct call *save, *digest = call_new();

	put_key("k", "v");
	disk_set(true, false);
	save = start_write("save");
	disk_await_writer();
	ctl_read(c, find("digest").ino, 0, 4096, &digest->op);
	/* The digest may wait for the save: let that end a little later. */
	ck_assert(!call_is_done(save));
	disk_set(false, false);
	ctl_free(c);
	c = NULL;
	ck_assert(call_is_done(save));
	ck_assert(call_is_done(digest));
	(void)call_end(save);
	(void)call_end(digest);
}
END_TEST

START_TEST(the_end_does_not_wait_for_a_save)
{
	struct call *save;

	disk_set(true, false);
	save = start_write("save");
	disk_await_writer();
	ctl_free(c); /* would hang if it did */
	c = NULL;
	ck_assert_int_eq(call_end(save), -EINTR);
}
END_TEST

/* --- the dump ------------------------------------------------------------- */

START_TEST(an_open_dump_stays_whole)
{
	struct store_attr first, second, attr;
	size_t len, file_len;
	char *old, *text, *file;

	put_key("k", "v");
	ck_assert_int_eq(put("save", "1"), 1);
	first = find("dump.rdb");
	ck_assert(ctl_is_immutable(c, first.ino));
	ck_assert_uint_eq(first.mode, S_IFREG | 0600);
	old = unit_scratch_read(&dir, "dump.rdb", &file_len);
	ck_assert_uint_eq(first.size, file_len);

	put_key("another", "with a longer value");
	ck_assert_int_eq(put("save", "1"), 1);
	second = find("dump.rdb");
	ck_assert_uint_ne(first.ino, second.ino);
	text = slurp_ino(first.ino, &len);
	ck_assert_uint_eq(len, file_len);
	ck_assert_mem_eq(text, old, len);
	free(text);
	file = unit_scratch_read(&dir, "dump.rdb", &file_len);
	ck_assert_uint_eq(second.size, file_len);

	/* The same dump has the same inode; it goes with its references. */
	ck_assert_uint_eq(find("dump.rdb").ino, second.ino);
	ctl_forget(c, first.ino, 1);
	ck_assert_int_eq(ctl_getattr(c, first.ino, &attr), -ESTALE);
	ctl_forget(c, second.ino, 1);
	ck_assert_int_eq(ctl_getattr(c, second.ino, &attr), 0);
	ctl_forget(c, second.ino, 1);
	ck_assert_int_eq(ctl_getattr(c, second.ino, &attr), -ESTALE);
	ck_assert_uint_eq(find("dump.rdb").size, file_len);
	free(old);
	free(file);
}
END_TEST

START_TEST(the_dump_reads_as_the_file_does)
{
	char *big = malloc(100001), *file;
	struct store_attr attr;
	struct unit_rng rng = unit_rng(1);
	size_t len;

	unit_bytes(&rng, big, 100000);
	for (int i = 0; i < 100000; i++)
		big[i] = (char)(big[i] | 1); /* no NUL */
	big[100000] = '\0';
	put_key("big", big);
	ck_assert_int_eq(put("save", "1"), 1);
	file = unit_scratch_read(&dir, "dump.rdb", &len);
	attr = find("dump.rdb");
	ck_assert_uint_eq(attr.size, len);
	for (int i = 0; i < 50; i++) {
		struct call *call = call_new();
		size_t off = unit_below(&rng, len + 100);
		size_t want = unit_range(&rng, 1, 60000);
		size_t there = off < len ? MIN(want, len - off) : 0;

		ctl_read(c, attr.ino, off, want, &call->op);
		ck_assert_int_eq(call_wait(call), (ssize_t)there);
		ck_assert_mem_eq(call->data, file + MIN(off, len), there);
		free(call);
	}
	free(file);
	free(big);
}
END_TEST

/* --- the digest ----------------------------------------------------------- */

static void digest_now(char text[42])
{
	ck_assert_int_eq(persist_digest(p, text), 0);
	strcpy(text + 40, "\n");
}

START_TEST(digest_is_that_of_the_data_at_the_read)
{
	struct store_attr a, b;
	char text[42];

	expect_text("digest", "0000000000000000000000000000000000000000\n");
	a = find("digest");
	ck_assert_uint_eq(a.size, 41);
	for (int i = 0; i < 5; i++) {
		char name[16];

		(void)snprintf(name, sizeof(name), "key%d", i);
		put_key(name, "v");
		b = find("digest");
		ck_assert_int_gt(b.mtime_ns, a.mtime_ns);
		digest_now(text);
		expect_text("digest", text);
		a = find("digest");
		ck_assert_int_eq(a.mtime_ns, b.mtime_ns); /* nothing new */
		expect_text("digest", text);
	}
}
END_TEST

START_TEST(a_digest_that_waits_can_be_interrupted)
{
	struct call *call = call_new();

	put_key("k", "v");
	disk_set(true, false);
	ck_assert_int_eq(put("bgsave", "1"), 1);
	disk_await_writer();
	ctl_read(c, find("digest").ino, 0, 4096, &call->op);
	/* It may have ended by itself if it needs not wait for the save. */
	ctl_interrupt(c, &call->op);
	ck_assert(call_wait(call) == -EINTR || call->result == 41);
	free(call);
	disk_set(false, false);
	ck_assert_int_eq(put("save", "1"), 1);
}
END_TEST

START_TEST(those_who_come_during_a_pass_get_their_own_data)
{
	enum {
		READERS = 6
	};
	struct call *calls[READERS];
	char text[42];

	disk_set(true, false);
	put_key("k", "v");
	ck_assert_int_eq(put("bgsave", "1"), 1);
	disk_await_writer();
	for (int i = 0; i < READERS; i++) {
		char name[16];

		(void)snprintf(name, sizeof(name), "key%d", i);
		put_key(name, "v");
		calls[i] = call_new();
		ctl_read(c, find("digest").ino, 0, 4096, &calls[i]->op);
	}
	disk_set(false, false);
	ck_assert_int_eq(call_wait(calls[READERS - 1]), 41);
	digest_now(text);
	/* The last one came after the last change. */
	ck_assert_mem_eq(calls[READERS - 1]->data, text, 41);
	for (int i = 0; i < READERS; i++)
		ck_assert_int_eq(call_end(calls[i]), 41);
}
END_TEST

/* --- config --------------------------------------------------------------- */

START_TEST(a_directive_is_applied_and_written)
{
	char *file;
	size_t len;

	expect_text("config/maxmemory", "0\n");
	ck_assert_int_eq(put("config/maxmemory", "2mb\n"), 4);
	expect_text("config/maxmemory", "2097152\n");
	ck_assert_int_eq(n_applied, 1);
	ck_assert_uint_eq(applied.maxmemory, 2097152);
	file = unit_scratch_read(&dir, CONF_FILE_NAME, &len);
	ck_assert_str_eq(file, "maxmemory 2097152\n");
	free(file);
	ck_assert_int_eq(put("config/save", "10 1\n"), 5);
	expect_text("config/save", "10 1\n");
	ck_assert_int_eq(put("config/save", "\n"), 1);
	expect_text("config/save", "\"\"\n");
}
END_TEST

START_TEST(a_bad_write_changes_nothing)
{
	char *big = calloc(1, CONF_VALUE_MAX + 2);

	memset(big, '1', CONF_VALUE_MAX + 1);
	ck_assert_int_eq(put("config/maxmemory", big), -EINVAL);
	ck_assert_int_eq(put("config/maxmemory", "lots\n"), -EINVAL);
	ck_assert_int_eq(put("config/loglevel", "\n"), -EINVAL);
	ck_assert_int_eq(put("config/dbfilename", "x\n"), -EPERM);
	ck_assert_int_eq(put("README", "x\n"), -EPERM);
	ck_assert_int_eq(put("info", "x\n"), -EPERM);
	ck_assert_int_eq(put("lastsave", "x\n"), -EPERM);
	ck_assert_int_eq(put("digest", "x\n"), -EPERM);
	ck_assert_int_eq(n_applied, 0);
	ck_assert_int_eq(unit_scratch_count(&dir), 0);
	expect_text("config/maxmemory", "0\n");
	free(big);
}
END_TEST

START_TEST(directories_are_not_files)
{
	struct call *call = call_new();

	ctl_read(c, CTL_ROOT_INO, 0, 10, &call->op);
	ck_assert_int_eq(call_end(call), -EISDIR);
	call = call_new();
	ctl_read(c, find("config").ino, 0, 10, &call->op);
	ck_assert_int_eq(call_end(call), -EISDIR);
}
END_TEST

/* --- all at once ---------------------------------------------------------- */

static atomic_bool stop;

static void *reader(void *arg)
{
	static const char *const paths[] = {
		"info", "README", "save", "config/save", "bgsave", "lastsave"
	};
	struct call *call;

	(void)arg;
	for (int i = 0; !atomic_load(&stop); i++) {
		uint64_t ino = find(paths[i % 6]).ino;

		call = call_new();
		ctl_read(c, ino, 0, 32 * 1024, &call->op);
		ck_assert_int_gt(call_end(call), 0);
		call = call_new();
		ctl_read(c, find("digest").ino, 0, 4096, &call->op);
		if (i % 3 == 0)
			ctl_interrupt(c, &call->op);
		(void)call_end(call);
	}
	return NULL;
}

static void *dump_reader(void *arg)
{
	(void)arg;
	while (!atomic_load(&stop)) {
		struct store_attr attr = find("dump.rdb");
		struct call *call = call_new();

		ctl_read(c, attr.ino, 0, sizeof(call->data), &call->op);
		ck_assert_int_eq(call_wait(call), (ssize_t)attr.size);
		ck_assert_mem_eq(call->data, "REDIS", 5);
		free(call);
		ctl_forget(c, attr.ino, 1);
	}
	return NULL;
}

START_TEST(all_at_once)
{
	pthread_t threads[4];

	put_key("k", "v");
	ck_assert_int_eq(put("save", "1"), 1);
	atomic_store(&stop, false);
	for (int i = 0; i < 4; i++)
		pthread_create(&threads[i], NULL, i < 2 ? reader : dump_reader,
			       NULL);
	for (int i = 0; i < 60; i++) {
		char name[16], value[16];

		(void)snprintf(name, sizeof(name), "key%d", i);
		put_key(name, "v");
		(void)snprintf(value, sizeof(value), "%d 1", i + 1);
		ck_assert_int_gt(put("config/save", value), 0);
		ck_assert_int_eq(put("save", "1"), 1);
	}
	atomic_store(&stop, true);
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("ctl");
	TCase *tc = tcase_create("ctl");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, table_is_sorted_and_each_entry_is_there);
	tcase_add_test(tc, names_that_are_not_there);
	tcase_add_test(tc, listing_gives_each_name_once);
	tcase_add_test(tc, a_text_and_its_times_stay_until_something_changes);
	tcase_add_test(tc, readme_has_the_whole_table);
	tcase_add_test(tc, every_write_moves_the_time);
	tcase_add_test(tc, reads_at_any_offset_are_parts_of_one_text);
	tcase_add_test(tc, info_is_redis_info);
	tcase_add_test(tc, info_keeps_its_size_and_for_a_while_its_text);
	tcase_add_test(tc, save_returns_when_the_dump_is_there);
	tcase_add_test(tc, a_failed_save_says_why_and_the_next_heals);
	tcase_add_test(tc, bgsave_starts_and_does_not_wait);
	tcase_add_test(tc, an_interrupted_save_goes_on);
	tcase_add_test(tc, an_interrupt_that_comes_first_counts);
	tcase_add_test(tc, an_interrupt_that_comes_late_is_harmless);
	tcase_add_test(tc, the_end_completes_what_waits);
	tcase_add_test(tc, the_end_does_not_wait_for_a_save);
	tcase_add_test(tc, an_open_dump_stays_whole);
	tcase_add_test(tc, the_dump_reads_as_the_file_does);
	tcase_add_test(tc, digest_is_that_of_the_data_at_the_read);
	tcase_add_test(tc, a_digest_that_waits_can_be_interrupted);
	tcase_add_test(tc, those_who_come_during_a_pass_get_their_own_data);
	tcase_add_test(tc, a_directive_is_applied_and_written);
	tcase_add_test(tc, a_bad_write_changes_nothing);
	tcase_add_test(tc, directories_are_not_files);
	tcase_add_test(tc, all_at_once);
	suite_add_tcase(s, tc);
	return s;
}

int main(void)
{
	static Suite *(*const suites[])(void) = { suite, NULL };

	return unit_main(suites);
}
