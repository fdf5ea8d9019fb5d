/* SPDX-License-Identifier: MIT */

/*
 * The input is a manifest. It is refused with a line and a reason, or what it
 * says can be printed, read again, and printed alike; and whatever it lists, a
 * rewrite can follow: with names that are new, and nothing of it forgotten.
 */

#include "tests/fuzz/fuzz.h"

#include <errno.h>
#include <string.h>

#include "persist/aof_manifest.h"

static size_t count(const struct aof_manifest *m)
{
	return (m->base.name != NULL) + m->incrs.n + m->history.n;
}

static void check_file(const struct aof_manifest *m, const struct aof_file *f)
{
	FUZZ_CHECK(f->name[0] && strlen(f->name) <= AOF_NAME_MAX);
	FUZZ_CHECK(!strchr(f->name, '/') && !strchr(f->name, '\\'));
	FUZZ_CHECK(f->seq >= 1 && f->seq <= INT64_MAX);
	FUZZ_CHECK(f->line > 0 && aof_manifest_find(m, f->name));
}

static void check_files(const struct aof_manifest *m)
{
	if (m->base.name)
		check_file(m, &m->base);
	for (size_t i = 0; i < m->history.n; i++)
		check_file(m, &m->history.v[i]);
	for (size_t i = 0; i < m->incrs.n; i++) {
		check_file(m, &m->incrs.v[i]);
		FUZZ_CHECK(i == 0 || m->incrs.v[i - 1].seq < m->incrs.v[i].seq);
	}
}

/* Prints @m, if no line is too long, and what that parses to. */
static void check_text(const struct aof_manifest *m)
{
	struct aof_manifest_error err;
	struct aof_manifest other;
	size_t len, other_len;
	char *text, *other_text;
	int r = aof_manifest_print(m, &text, &len);

	if (r < 0) {
		FUZZ_CHECK(r == -ENAMETOOLONG);
		return;
	}
	if (len > 0) {
		aof_manifest_init(&other, m->mem);
		FUZZ_CHECK(aof_manifest_parse(span_of(text, len), &other,
					      &err) == 0);
		FUZZ_CHECK(aof_manifest_print(&other, &other_text,
					      &other_len) == 0);
		FUZZ_CHECK(len == other_len &&
			   memcmp(text, other_text, len) == 0);
		mem_free(m->mem, other_text);
		aof_manifest_fini(&other);
	}
	mem_free(m->mem, text);
}

static void rewrite(struct aof_manifest *m)
{
	size_t before = count(m), incrs = m->incrs.n;
	char name[AOF_NAME_SIZE];
	uint64_t seq, base_seq;

	if (aof_manifest_next(m, "a", AOF_INCR, name, &seq) < 0) {
		FUZZ_CHECK(m->incr_seq == INT64_MAX);
		return;
	}
	FUZZ_CHECK(aof_manifest_add_incr(m, name, seq) == 0);
	if (aof_manifest_next(m, "a", AOF_BASE_RDB, name, &base_seq) < 0) {
		FUZZ_CHECK(m->base_seq == INT64_MAX);
		return;
	}
	FUZZ_CHECK(aof_manifest_set_base(m, name, base_seq) == 0);
	FUZZ_CHECK(count(m) == before + 2 && m->incrs.n == incrs + 1);
	FUZZ_CHECK(aof_manifest_retire_incrs(m, seq) == 0);
	FUZZ_CHECK(count(m) == before + 2 && m->incrs.n == 1);
	check_text(m);
	aof_manifest_drop_history(m, 0);
	FUZZ_CHECK(count(m) == 2);
	check_text(m);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct aof_manifest_error err;
	struct aof_manifest m;
	struct mem mem;
	int r;

	mem_init(&mem);
	aof_manifest_init(&m, &mem);
	r = aof_manifest_parse(span_of(data, size), &m, &err);
	if (r == 0) {
		check_files(&m);
		check_text(&m);
		rewrite(&m);
	} else {
		FUZZ_CHECK(r == -EBADMSG && err.code == r && err.what[0]);
		FUZZ_CHECK((err.line == 0) == (size == 0));
		FUZZ_CHECK(aof_manifest_is_empty(&m));
	}
	aof_manifest_fini(&m);
	FUZZ_CHECK(mem_used(&mem) == 0);
	return 0;
}
