#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Every C file is laid out as clang-format would.

    lint_format.py ROOT

Other versions of clang-format lay out some things differently: just the one
that .clang-format was written for counts.
"""

import os
import re
import shutil
import subprocess
import sys

from tree import c_files

VERSION = 14
SKIP = 77


def find_tool():
    """A clang-format of the right version, and what was found instead."""
    seen = []
    for name in (f"clang-format-{VERSION}", "clang-format"):
        tool = shutil.which(name)
        if not tool:
            continue
        out = subprocess.run([tool, "--version"], stdout=subprocess.PIPE,
                             text=True, check=True).stdout
        m = re.search(r"version (\d+)", out)
        if m and int(m.group(1)) == VERSION:
            return tool, seen
        seen.append(out.strip())
    return None, seen


def main(root):
    tool, seen = find_tool()
    if tool is None:
        print(f"no clang-format {VERSION} here"
              + (f", just {', '.join(seen)}" if seen else ""))
        return SKIP
    paths = [os.path.join(root, p) for p in c_files(root)]
    if not paths:
        print(f"no C files below {root}")
        return 1
    bad = 0
    for path in paths:
        done = subprocess.run([tool, "--dry-run", "-Werror", path],
                              stderr=subprocess.PIPE, text=True, check=False)
        if done.returncode:
            lines = re.findall(r":(\d+):\d+: error", done.stderr)
            print(f"{path}: lines {', '.join(dict.fromkeys(lines))}: "
                  f"{os.path.basename(tool)} -i would change them")
            bad = 1
    return bad


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
