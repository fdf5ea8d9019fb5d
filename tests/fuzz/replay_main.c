/* SPDX-License-Identifier: MIT */

/*
 * Runs a fuzz target on files, so that what a fuzzer once found stays fixed in
 * builds that have no fuzzer. Arguments: files, and directories whose files
 * are all tried. Each input is handed over in memory of exactly its size, so
 * that sanitizers and valgrind see a read beyond it.
 *
 * Exit code: 0; 1 if an input cannot be read or there is none; a failed check
 * in the target aborts, and the last line of stdout names the input.
 */

#include "tests/fuzz/fuzz.h"

#include <errno.h>
#include <ftw.h>
#include <string.h>
#include <sys/stat.h>

static int n_tried;

static int try_stream(FILE *f, size_t size)
{
	uint8_t *data = malloc(size ? size : 1);

	if (!data)
		return -ENOMEM;
	if (fread(data, 1, size, f) != size) {
		free(data);
		return -EIO;
	}
	(void)LLVMFuzzerTestOneInput(data, size);
	free(data);
	n_tried++;
	return 0;
}

static int try_file(const char *path, const struct stat *st, int type,
		    struct FTW *at)
{
	FILE *f;
	int r;

	(void)at;
	if (type == FTW_D)
		return 0;
	printf("%s\n", path);
	(void)fflush(stdout);
	f = fopen(path, "rb");
	if (!f) {
		(void)fprintf(stderr, "%s: %s\n", path, strerror(errno));
		return 1;
	}
	r = try_stream(f, (size_t)st->st_size);
	(void)fclose(f);
	if (r < 0)
		(void)fprintf(stderr, "%s: %s\n", path, strerror(-r));
	return r < 0;
}

int main(int argc, char **argv)
{
	int i, r;

	for (i = 1; i < argc; i++) {
		r = nftw(argv[i], try_file, 8, 0);
		if (r < 0)
			(void)fprintf(stderr, "%s: %s\n", argv[i],
				      strerror(errno));
		if (r)
			return 1;
	}
	if (n_tried == 0) {
		(void)fprintf(stderr, "no inputs\n");
		return 1;
	}
	printf("%d inputs\n", n_tried);
	return 0;
}
