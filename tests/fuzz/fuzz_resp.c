/* SPDX-License-Identifier: MIT */

/*
 * The input is the end of an append-only file. Records must follow each other
 * without gaps, a command must be the bytes that its arguments make, what is no
 * record must be told the same when asked again, and no announced length may
 * take memory that the input does not justify.
 */

#include "tests/fuzz/fuzz.h"

#include <errno.h>
#include <string.h>

#include "persist/resp.h"

enum {
	/* An empty argument, 6 bytes, takes 16 in an array that doubles. */
	MEMORY_BASE = 4096,
	MEMORY_FACTOR = 8,
};

static void check_command(struct mem *m, const struct resp_record *rec,
			  const uint8_t *data)
{
	struct resp_buf b = { .mem = m };

	FUZZ_CHECK(rec->argc > 0);
	FUZZ_CHECK(resp_append_command(&b, rec->argv, rec->argc) == 0);
	FUZZ_CHECK(b.len == rec->end - rec->begin);
	FUZZ_CHECK(memcmp(b.p, data + rec->begin, b.len) == 0);
	resp_buf_fini(&b);
}

static void check_note(const struct resp_record *rec, const uint8_t *data)
{
	FUZZ_CHECK(rec->end - rec->begin <= RESP_NOTE_LINE);
	FUZZ_CHECK(data[rec->begin] == '#' && data[rec->end - 1] == '\n');
	FUZZ_CHECK(rec->text.ptr == data + rec->begin + 1);
	FUZZ_CHECK(!memchr(rec->text.ptr, '\n', rec->text.len));
	FUZZ_CHECK(!memchr(rec->text.ptr, '\0', rec->text.len));
}

/* What is true of the record by itself: `data` up to `size`. */
static void check_last(const struct resp_record *rec, const uint8_t *data,
		       size_t size)
{
	FUZZ_CHECK(rec->end == rec->begin && rec->stop >= rec->begin);
	FUZZ_CHECK((rec->kind == RESP_END) == (rec->begin == size));
	switch (rec->kind) {
	case RESP_NULS:
		for (size_t i = rec->stop; i < size; i++)
			FUZZ_CHECK(data[i] == 0);
		FUZZ_CHECK(rec->stop < size);
		break;
	case RESP_DAMAGED:
		FUZZ_CHECK(rec->stop < size);
		break;
	case RESP_TORN:
		FUZZ_CHECK(data[rec->begin] == '*' && rec->stop == size);
		break;
	case RESP_TORN_NOTE:
		FUZZ_CHECK(data[rec->begin] == '#' && rec->stop == size);
		FUZZ_CHECK(size - rec->begin < RESP_NOTE_LINE);
		break;
	default:
		FUZZ_CHECK(rec->kind == RESP_END && rec->stop == size);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct resp_record rec, again;
	struct rdb_error err;
	uint64_t at = 0;
	struct resp r;
	struct mem m;
	struct in in;

	mem_init(&m);
	in_init_bytes(&in, span_of(data, size), &m, false, &err);
	resp_init(&r, &in);
	for (;;) {
		FUZZ_CHECK(resp_next(&r, &rec) == 0);
		FUZZ_CHECK(mem_used(&m) <= MEMORY_BASE + MEMORY_FACTOR * size);
		FUZZ_CHECK(rec.begin == at);
		if (rec.kind == RESP_COMMAND)
			check_command(&m, &rec, data);
		else if (rec.kind == RESP_NOTE)
			check_note(&rec, data);
		else
			break;
		FUZZ_CHECK(rec.end > at && rec.stop == rec.end);
		at = rec.end;
	}
	check_last(&rec, data, size);
	FUZZ_CHECK(rec.kind == RESP_END ||
		   (err.code == -EBADMSG && err.what[0]));
	FUZZ_CHECK(resp_next(&r, &again) == 0);
	FUZZ_CHECK(again.kind == rec.kind && again.begin == rec.begin &&
		   again.stop == rec.stop);
	resp_fini(&r);
	in_fini(&in);
	FUZZ_CHECK(mem_used(&m) == 0);
	return 0;
}
