#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What holds for every text file of the tree.

    lint_text.py ROOT

No marker of unfinished work, no conflict marker, no white space at the end of a
line, a newline at the end of a file; the licence line in each source file.
"""

import os
import re
import sys

from tree import source_files

# Test data is kept byte for byte.
DATA = ("tests/data/", "tests/fuzz/corpus/")
# Spelt so that this file passes its own check.
MARKERS = re.compile(r"\b(" + "|".join(["TO" "DO", "XX" "X", "FIX" "ME",
                                        "HA" "CK"]) + r")\b")
CONFLICT = re.compile(r"^(<{7}|>{7}|\|{7}) ")
LICENCE = "SPDX-License-Identifier: MIT"
LICENSED = (".c", ".h", ".py", ".sh")


def check(path, raw):
    """Yields (line, message)."""
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as e:
        yield raw.count(b"\n", 0, e.start) + 1, "is not UTF-8"
        return
    if text and not text.endswith("\n"):
        yield text.count("\n") + 1, "no newline at the end"
    for number, line in enumerate(text.split("\n"), 1):
        m = MARKERS.search(line)
        if m:
            yield number, f"{m.group()}: finish it"
        if CONFLICT.match(line):
            yield number, "conflict marker"
        if line != line.rstrip() and not line.endswith("\f"):
            yield number, "white space at the end of the line"
    if path.endswith(LICENSED) and LICENCE not in "".join(
            text.splitlines(True)[:2]):
        yield 1, f"'{LICENCE}' is missing from the first lines"


def main(root):
    paths = [p for p in source_files(root) if not p.startswith(DATA)]
    bad = 0
    for path in paths:
        with open(os.path.join(root, path), "rb") as f:
            raw = f.read()
        if b"\0" in raw:
            print(f"{path}: binary, but not below {' or '.join(DATA)}")
            bad += 1
            continue
        for line, message in check(path, raw):
            print(f"{path}:{line}: {message}")
            bad += 1
    print(f"{len(paths)} files, {bad} complaints")
    return 1 if bad or not paths else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
