/* SPDX-License-Identifier: MIT */
/*
 * The list of control files. keyfs(8) describes each of them; a test compares
 * the two. Modes: what only the mounting user may do is 0600 minus what it
 * does not have; root passes by its capabilities.
 */
#include "fs/ctl_impl.h"

const struct ctl_file ctl_files[] = {
	{ .doc = { "README", 0444, "this table" },
	  .kind = CTL_TEXT,
	  .show = ctl_show_readme },
	{ .doc = { "bgsave", 0644,
		   "idle, scheduled or running N%; write anything: start a "
		   "save" },
	  .kind = CTL_TEXT,
	  .action = CTL_BGSAVE,
	  .show = ctl_show_bgsave },
	{ .doc = { "config/", 0555,
		   "a file per directive: its value; write: a new one, kept "
		   "in keyfs.conf" },
	  .kind = CTL_CONFIG },
	{ .doc = { "digest", 0444,
		   "Redis' DEBUG DIGEST of the data, computed when read" },
	  .kind = CTL_DIGEST },
	{ .doc = { "dump.rdb", CTL_DUMP_MODE,
		   "the last finished dump, for cp, rsync and tar" },
	  .kind = CTL_DUMP },
	{ .doc = { "info", 0444, "figures, with the names of Redis' INFO" },
	  .kind = CTL_MOVING,
	  .show = ctl_show_info },
	{ .doc = { "lastsave", 0444, "unix time of the last good save" },
	  .kind = CTL_TEXT,
	  .show = ctl_show_lastsave },
	{ .doc = { "save", 0644,
		   "the last save's result; write anything: save and wait "
		   "until it is durable" },
	  .kind = CTL_TEXT,
	  .action = CTL_SAVE,
	  .show = ctl_show_save },
};
const int ctl_n_files = (int)ARRAY_LEN(ctl_files);

const struct ctl_doc *ctl_doc(int i)
{
	return i < ctl_n_files ? &ctl_files[i].doc : NULL;
}
