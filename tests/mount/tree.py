# SPDX-License-Identifier: MIT
"""Directory trees for comparison, and keys as paths.

A tree is a dictionary from a path (bytes, relative, no slash at either end; ""
is the root) to an Entry.
"""

import os
import stat


class Entry:
    """What must survive. Times are None where nobody set them explicitly."""

    __slots__ = ("kind", "data", "mode", "uid", "gid", "mtime", "atime")

    def __init__(self, kind, data=b"", mode=0o644, uid=0, gid=0):
        self.kind, self.data, self.mode = kind, data, mode
        self.uid, self.gid = uid, gid
        self.mtime = self.atime = None

    def __repr__(self):
        return "%s %r mode=%o uid=%d gid=%d mtime=%s atime=%s" % (
            self.kind, bytes(self.data[:40]), self.mode, self.uid, self.gid,
            self.mtime, self.atime)


def read_tree(top):
    """Reads all below a directory."""
    top = os.fsencode(top)
    out = {}

    def visit(rel):
        full = os.path.join(top, rel) if rel else top
        st = os.lstat(full)
        kind = {stat.S_IFREG: "file", stat.S_IFDIR: "dir",
                stat.S_IFLNK: "link"}[stat.S_IFMT(st.st_mode)]
        e = Entry(kind, b"", stat.S_IMODE(st.st_mode), st.st_uid, st.st_gid)
        e.mtime, e.atime = st.st_mtime_ns, st.st_atime_ns
        out[rel] = e
        if kind == "link":
            e.data = os.readlink(full)
        elif kind == "file":
            with open(full, "rb") as f:
                e.data = f.read()
            if len(e.data) != st.st_size:
                raise AssertionError("%r: size %d, %d bytes read" % (
                    rel, st.st_size, len(e.data)))
        else:
            for name in os.listdir(full):
                visit(os.path.join(rel, name) if rel else name)

    visit(b"")
    return out


def differences(want, got, limit=10):
    """Compares a model with what was read; None of the model's times is
    compared. Return: a list of lines, empty if they are equal."""
    out = []
    for path in sorted(set(want) | set(got)):
        w, g = want.get(path), got.get(path)
        if w is None or g is None:
            out.append("%r: %s" % (path, "unexpected: %r" % g if w is None
                                   else "missing: %r" % w))
        else:
            bad = []
            for field in ("kind", "data", "mode", "uid", "gid", "mtime",
                          "atime"):
                a, b = getattr(w, field), getattr(g, field)
                if a != b and not (a is None and field in
                                   ("mtime", "atime")):
                    if field == "data":
                        a, b = _around_difference(a, b)
                    bad.append("%s %r, is %r" % (field, a, b))
            if bad:
                out.append("%r: expected %s" % (path, "; ".join(bad)))
        if len(out) >= limit:
            out.append("...")
            break
    return out


def _around_difference(a, b):
    at = next((i for i, (x, y) in enumerate(zip(a, b)) if x != y),
              min(len(a), len(b)))
    return ("%d bytes, from %d: %r" % (len(a), at, bytes(a[at:at + 20])),
            "%d bytes: %r" % (len(b), bytes(b[at:at + 20])))


# --- keys as paths ------------------------------------------------------
# Written from the rules, not from the code under test: what a reader of the
# manual would do by hand. It knows no stuffing and no names of more than 255
# bytes that hold tokens: tests use it for keys without those.

def _segment(seg, first):
    if seg == b"":
        return b"%"
    if seg == b".":
        return b"%2E"
    if seg == b"..":
        return b"%2E."
    if first and seg == b".ctl":
        return b"%2Ectl"
    return seg.replace(b"\0", b"%00")


def _pieces(name):
    while len(name) > 255:
        yield name[:253] + b"%+"
        name = name[253:]
    yield name


def key_path(key, sep="/", value_of_dir=False):
    """The path that shows a key."""
    if sep == ":":
        key = key.translate(bytes.maketrans(b":/", b"/:"))
    out = []
    for i, seg in enumerate(key.split(b"/")):
        out += _pieces(_segment(seg, i == 0))
    if value_of_dir:
        out.append(b"%=")
    return b"/".join(out)


def member_name(member):
    """The file name of a member of a collection, or None if it is cut."""
    name = _segment(member, False).replace(b"/", b"%2F")
    return name if len(name) <= 255 else None
