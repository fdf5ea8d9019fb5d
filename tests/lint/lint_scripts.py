#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Every shell script passes shellcheck, every Python script compiles.

    lint_scripts.py ROOT
"""

import os
import shutil
import subprocess
import sys

from tree import source_files

SKIP = 77


def first_line(path):
    with open(path, "rb") as f:
        return f.readline(200)


def is_shell(root, path):
    if path.endswith(".sh"):
        return True
    line = first_line(os.path.join(root, path))
    return line.startswith(b"#!") and b"sh" in line.split(b"/")[-1]


def check_python(root, paths):
    bad = 0
    for path in paths:
        with open(os.path.join(root, path), "rb") as f:
            source = f.read()
        try:
            compile(source, path, "exec")
        except SyntaxError as e:
            print(f"{path}:{e.lineno}: {e.msg}")
            bad += 1
    return bad


def main(root):
    paths = source_files(root)
    python = [p for p in paths if p.endswith(".py")]
    shell = [p for p in paths if is_shell(root, p)]
    if not python or not shell:
        print(f"no scripts below {root}")
        return 1
    bad = check_python(root, python)
    tool = shutil.which("shellcheck")
    if tool:
        bad += subprocess.run([tool, "-x", *shell], cwd=root,
                              check=False).returncode
    if bad:
        return 1
    if not tool:
        print("shellcheck is not installed")
        return SKIP
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
