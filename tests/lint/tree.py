# SPDX-License-Identifier: MIT
"""The files of the source tree, for the checks beside this one."""

import os
import subprocess

LAYERS = ("store", "persist", "fs")


def is_built(directory, name):
    """Build directories (meson leaves a mark there) and what is hidden."""
    return (name in (".git", "__pycache__") or os.path.exists(
        os.path.join(directory, name, "meson-private")))


def source_files(root):
    """Paths below root of all files that belong to the tree, sorted."""
    try:
        out = subprocess.run(
            ["git", "-C", root, "ls-files", "-z", "--cached", "--others",
             "--exclude-standard"],
            check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        paths = os.fsdecode(out.stdout).split("\0")
        # Deleted files are still listed until that is committed.
        return sorted({p for p in paths
                       if p and os.path.isfile(os.path.join(root, p))})
    except (OSError, subprocess.CalledProcessError):
        pass  # no git, or unpacked from an archive
    paths = []
    for directory, dirs, files in os.walk(root):
        dirs[:] = [d for d in dirs if not is_built(directory, d)]
        paths += [os.path.relpath(os.path.join(directory, f), root)
                  for f in files]
    return sorted(paths)


def c_files(root):
    return [p for p in source_files(root) if p.endswith((".c", ".h"))]
