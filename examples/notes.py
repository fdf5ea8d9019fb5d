#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A notebook in keyfs, from the first note to the restored backup.

    python3 examples/notes.py MOUNTPOINT WORKDIR

MOUNTPOINT is a running keyfs, WORKDIR a directory for the backup. KEYFS names
the keyfs program if it is not in PATH. notes.sh and notes.c do the same.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path


def replace(path, text):
    """Whoever reads sees the old text or the new one, whole."""
    new = path.with_name(path.name + ".new")
    new.write_text(text)
    os.replace(new, path)


def restore(backup, work, notes):
    """Copies the notes out of a backup.

    A data directory that holds the backup as `dump.rdb` is the keyspace of
    that moment. The command returns when all is loaded.
    """
    data, mnt = work / "restored", work / "restored.mnt"
    data.mkdir()
    mnt.mkdir()
    shutil.copyfile(backup, data / "dump.rdb")
    keyfs = os.environ.get("KEYFS", "keyfs")
    subprocess.run([keyfs, data, mnt], check=True)
    try:
        shutil.copytree(mnt / "notes", notes)
    finally:
        subprocess.run(["fusermount3", "-u", mnt], check=True)


def main(mnt, work):
    ctl, notes = mnt / ".ctl", mnt / "notes"
    if not (ctl / "save").is_file():
        sys.exit(f"notes.py: no keyfs is mounted at {mnt}")

    # Set: a note is a file, and the key `notes/shopping` in Redis' eyes.
    notes.mkdir(exist_ok=True)
    shopping = notes / "shopping"
    shopping.write_text("milk\n")
    with shopping.open("a") as f:
        f.write("eggs\n")
    (notes / "ideas").write_text("a cache that is a directory\n")

    # Get.
    print("To buy:")
    print(shopping.read_text(), end="")

    # List.
    print("All notes:")
    for path in sorted(notes.iterdir()):
        print(path.name)

    # Replace at once.
    replace(shopping, "milk\neggs\nbread\n")

    # Snapshot: the write returns when the dump is on disk, or raises OSError.
    # (`bgsave` beside it does not wait.)
    (ctl / "save").write_text("1\n")

    # Back up: the dump is a file like any other, and stays whole while it is
    # copied, even if the next snapshot replaces it meanwhile.
    backup = work / "backup.rdb"
    shutil.copyfile(ctl / "dump.rdb", backup)

    # Lose everything...
    shutil.rmtree(notes)
    # ...and get it back.
    restore(backup, work, notes)

    print("After the restore, to buy:")
    print(shopping.read_text(), end="")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: notes.py MOUNTPOINT WORKDIR")
    main(Path(sys.argv[1]), Path(sys.argv[2]))
