/* SPDX-License-Identifier: MIT */

/*
 * The input is tried as a key, as a path and as a member's name, with both
 * separators. So that a fuzzer reaches the limit of 255 bytes without having
 * to grow that far, the byte 0xff and a count n stand for n times 'x' (n = 0:
 * for 0xff itself).
 */

#include "tests/fuzz/fuzz.h"

#include "store/name.h"

enum {
	INPUT_MAX = 4096, /* after the runs are written out */
};

/* Memory of exactly @len bytes, so that a sanitizer sees each byte beyond. */
static char *exactly(size_t len)
{
	char *p = malloc(len ? len : 1);

	FUZZ_CHECK(p);
	return p;
}

/* Everything that goes back to a key must give this one. */
static void check_decodes(struct span path, char sep, struct span key,
			  bool want_value)
{
	char *back = exactly(path.len);
	bool value = !want_value;
	size_t len = 0;

	FUZZ_CHECK(name_decode(path, sep, back, &len, &value) == 0);
	FUZZ_CHECK(value == want_value);
	FUZZ_CHECK(span_eq(span_of(back, len), key));
	free(back);
}

static void try_key(struct span key, char sep)
{
	char *path = exactly(name_encode_bound(key.len)), *value;
	size_t len = name_encode(key, sep, path);

	FUZZ_CHECK(len <= name_encode_bound(key.len));
	check_decodes(span_of(path, len), sep, key, false);

	value = exactly(len + 3);
	memcpy(value, path, len);
	memcpy(value + len, "/%=", 3);
	check_decodes(span_of(value, len + 3), sep, key, true);
	free(value);
	free(path);
}

static void try_path(struct span path, char sep)
{
	char *key = exactly(path.len), *back;
	bool value = false;
	size_t len = 0;

	if (name_decode(path, sep, key, &len, &value) == 0) {
		FUZZ_CHECK(len <= path.len);
		back = exactly(name_encode_bound(len));
		len = name_encode(span_of(key, len), sep, back);
		path.len -= value ? 3 : 0;
		FUZZ_CHECK(span_eq(span_of(back, len), path));
		free(back);
	}
	free(key);
}

static void try_member(struct span member)
{
	char *name = exactly(NAME_MAX_BYTES);
	size_t len = name_encode_member(member, name);

	FUZZ_CHECK(name_is_legal(span_of(name, len)));
	free(name);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char text[INPUT_MAX];
	struct span in;
	char *exact;
	size_t i, len = 0;

	for (i = 0; i < size && len < sizeof(text); i++) {
		size_t n = 1;

		text[len] = (char)data[i];
		if (data[i] == 0xff && i + 1 < size && data[++i]) {
			n = MIN(data[i], sizeof(text) - len);
			memset(text + len, 'x', n);
		}
		len += n;
	}
	exact = exactly(len);
	if (len)
		memcpy(exact, text, len);
	in = span_of(exact, len);
	try_key(in, '/');
	try_key(in, ':');
	try_path(in, '/');
	try_path(in, ':');
	try_member(in);
	free(exact);
	return 0;
}
