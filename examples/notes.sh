#!/bin/sh
# SPDX-License-Identifier: MIT
#
# A notebook in keyfs, from the first note to the restored backup.
#
#   sh examples/notes.sh MOUNTPOINT WORKDIR
#
# MOUNTPOINT is a running keyfs, WORKDIR a directory for the backup. KEYFS names
# the keyfs program if it is not in PATH. notes.py and notes.c do the same.

set -eu

if [ $# -ne 2 ]; then
    echo 'usage: notes.sh MOUNTPOINT WORKDIR' >&2
    exit 2
fi
mnt=$1
work=$2
keyfs=${KEYFS:-keyfs}

# Files do not show their own mistakes; the control files tell us early
# whether there is a keyfs at all.
if [ ! -f "$mnt/.ctl/save" ]; then
    echo "notes.sh: no keyfs is mounted at $mnt" >&2
    exit 1
fi

# Set: a note is a file, and the key `notes/shopping` in Redis' eyes.
mkdir -p "$mnt/notes"
echo 'milk' > "$mnt/notes/shopping"
echo 'eggs' >> "$mnt/notes/shopping"
echo 'a cache that is a directory' > "$mnt/notes/ideas"

# Get.
echo 'To buy:'
cat "$mnt/notes/shopping"

# List.
echo 'All notes:'
ls "$mnt/notes"

# Replace at once: whoever reads sees the old note or the new one, whole.
printf 'milk\neggs\nbread\n' > "$mnt/notes/shopping.new"
mv "$mnt/notes/shopping.new" "$mnt/notes/shopping"

# Snapshot: the write returns when the dump is on disk, or fails. (`bgsave`
# beside it does not wait.)
echo 1 > "$mnt/.ctl/save"

# Back up: the dump is a file like any other, and stays whole while it is
# copied, even if the next snapshot replaces it meanwhile.
cp "$mnt/.ctl/dump.rdb" "$work/backup.rdb"

# Lose everything...
rm -r "$mnt/notes"

# ...and restore: a data directory that holds the backup as `dump.rdb` is the
# keyspace of that moment. The command returns when all is loaded.
mkdir "$work/restored" "$work/restored.mnt"
cp "$work/backup.rdb" "$work/restored/dump.rdb"
"$keyfs" "$work/restored" "$work/restored.mnt"
cp -R "$work/restored.mnt/notes" "$mnt/"
fusermount3 -u "$work/restored.mnt"

echo 'After the restore, to buy:'
cat "$mnt/notes/shopping"
