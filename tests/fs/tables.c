/* SPDX-License-Identifier: MIT */
/*
 * Prints the daemon's tables for tests/fs/test_manual.py, a line per entry and
 * tabs between the fields:
 *
 *	ctl	PATH	MODE (octal)
 *	conf	NAME	DEFAULT	mutable|fixed
 */
#include <stdio.h>

#include "fs/conf.h"
#include "fs/ctl.h"

int main(void)
{
	const struct ctl_doc *d;

	for (int i = 0; (d = ctl_doc(i)); i++)
		printf("ctl\t%s\t%04o\n", d->path, d->mode);
	for (int i = 0; conf_name(i); i++)
		printf("conf\t%s\t%s\t%s\n", conf_name(i), conf_default(i),
		       conf_is_mutable(i) ? "mutable" : "fixed");
	return 0;
}
