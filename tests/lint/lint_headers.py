#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Each header compiles on its own, with the flags of its layer.

    lint_headers.py ROOT BUILD

The flags are taken from the compile_commands.json that meson leaves in BUILD:
from a source file of the same directory, so that a header of store/ is compiled
without the include paths of FUSE.
"""

import json
import os
import shlex
import subprocess
import sys

from tree import c_files

# What makes a command compile and write: dropped, with so many arguments.
DROP = {"-c": 0, "-o": 1, "-MD": 0, "-MMD": 0, "-MQ": 1, "-MF": 1, "-MT": 1}


def flags_of(entry):
    words = entry.get("arguments") or shlex.split(entry["command"])
    flags, skip = [], 0
    for word in words:
        if skip:
            skip -= 1
        elif word in DROP:
            skip = DROP[word]
        elif word != entry["file"]:
            flags.append(word)
    return flags


def commands(root, build):
    """The first command seen for each directory of the tree."""
    with open(os.path.join(build, "compile_commands.json"),
              encoding="utf-8") as f:
        entries = json.load(f)
    found = {}
    for entry in entries:
        source = os.path.join(entry["directory"], entry["file"])
        where = os.path.relpath(os.path.dirname(source), root)
        found.setdefault(where, entry)
    return found


def compile_header(entry, header):
    return subprocess.run(
        [*flags_of(entry), "-fsyntax-only", "-fdiagnostics-color=never",
         "-x", "c", "-"],
        input=f'#include "{header}"\n', text=True, cwd=entry["directory"],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)


def main(root, build):
    root, build = os.path.realpath(root), os.path.realpath(build)
    known = commands(root, build)
    headers = [p for p in c_files(root) if p.endswith(".h")]
    bad = 0
    for header in headers:
        entry = known.get(os.path.dirname(header))
        if entry is None:
            print(f"{header}: nothing in its directory is compiled, so its "
                  "flags are not known")
            bad += 1
            continue
        done = compile_header(entry, header)
        # A warning counts: whoever includes the header would see it too.
        if done.returncode or done.stdout:
            lines = done.stdout.splitlines()
            said = [x for x in lines if "error:" in x or "warning:" in x]
            print(f"{header} does not stand on its own:",
                  *(said or lines)[:5], sep="\n    ")
            bad += 1
    print(f"{len(headers)} headers, {bad} bad")
    return 1 if bad or not headers else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
