/* SPDX-License-Identifier: MIT */
/*
 * The texts of the small control files. All are for shells: one line of words,
 * or of key=value words in a fixed order; free text comes last in its line.
 */
#include <stdlib.h>
#include <string.h>

#include "fs/ctl_impl.h"

void ctl_show_readme(const struct ctl_source *src, FILE *out)
{
	const struct ctl_doc *d;

	fprintf(out,
		"keyfs %s: control files. What is read is what may be "
		"written, one value\nin one write; errors come from write(2). "
		"keyfs(8) says it all.\n\n",
		src->opt.version);
	for (int i = 0; (d = ctl_doc(i)); i++)
		fprintf(out, "%04o  %-10s %s\n", d->mode, d->path, d->help);
	fputc('\n', out);
	for (int i = 0; conf_name(i); i++)
		fprintf(out, "%04o  config/%s\n                 %s\n",
			conf_is_mutable(i) ? 0644 : 0444, conf_name(i),
			conf_help(i));
}

/*
 * status=ok time=1700000000 keys=3 bytes=151 duration_ms=4
 * status=error time=1700000000 duration_ms=4 errno=ENOSPC error=...
 * status=never
 */
void ctl_show_save(const struct ctl_source *src, FILE *out)
{
	struct persist_status s;
	const char *name;

	persist_get_status(src->opt.p, &s);
	if (s.last_end_ms == 0) {
		fputs("status=never\n", out);
		return;
	}
	fprintf(out, "status=%s time=%lld", s.last_result ? "error" : "ok",
		(long long)(s.last_end_ms / 1000));
	if (!s.last_result) {
		fprintf(out, " keys=%llu bytes=%llu duration_ms=%lld\n",
			(unsigned long long)s.last_keys,
			(unsigned long long)s.last_bytes,
			(long long)s.last_duration_ms);
		return;
	}
	name = strerrorname_np(-s.last_result);
	fprintf(out, " duration_ms=%lld errno=%s error=%s\n",
		(long long)s.last_duration_ms, name ? name : "unknown",
		s.last_error[0] ? s.last_error : strerror(-s.last_result));
}

void ctl_show_bgsave(const struct ctl_source *src, FILE *out)
{
	struct persist_status s;

	persist_get_status(src->opt.p, &s);
	if (s.running)
		fprintf(out, "running %d%%\n", (int)(s.progress * 100));
	else
		fputs(s.scheduled ? "scheduled\n" : "idle\n", out);
}

void ctl_show_lastsave(const struct ctl_source *src, FILE *out)
{
	struct persist_status s;

	persist_get_status(src->opt.p, &s);
	fprintf(out, "%lld\n", (long long)s.last_save_s);
}
