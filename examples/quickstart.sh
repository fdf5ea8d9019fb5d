#!/bin/sh
# SPDX-License-Identifier: MIT
#
# From a fresh clone to a running keyfs that has survived a restart.
#
#   sh examples/quickstart.sh [DIR]
#
# Installs what is missing (tests/setup.sh), builds in build/, mounts, writes
# some keys, saves, unmounts, mounts again and shows that all is there. The
# mount is left running. DIR holds the data and the mount point; by default it
# is keyfs-quickstart in $XDG_DATA_HOME or ~/.local/share. Can be run again.
#
# KEYFS names a keyfs program to use instead of building one.

set -eu

die() {
    echo "quickstart: $*" >&2
    exit 1
}

case ${1:-} in
-h | --help)
    sed -n '4,/^$/s/^# \{0,1\}//p' "$0"
    exit 0
    ;;
esac
[ $# -le 1 ] || die 'usage: quickstart.sh [DIR]'

source=$(cd "$(dirname "$0")/.." && pwd)
if [ $# -eq 1 ]; then
    dir=$1
elif [ -n "${XDG_DATA_HOME:-}" ]; then
    dir=$XDG_DATA_HOME/keyfs-quickstart
elif [ -n "${HOME:-}" ]; then
    dir=$HOME/.local/share/keyfs-quickstart
else
    dir=$(mktemp -d)
fi

# --- build

if [ -z "${KEYFS:-}" ]; then
    sh "$source/tests/setup.sh" build
    if [ ! -f "$source/build/build.ninja" ]; then
        meson setup "$source/build" "$source"
    fi
    meson compile -C "$source/build"
    KEYFS=$source/build/fs/keyfs
fi
# The directory is changed below.
keyfs=$(cd "$(dirname "$KEYFS")" && pwd)/$(basename "$KEYFS")
[ -x "$keyfs" ] || die "there is no program $keyfs"
[ -e /dev/fuse ] ||
    die 'no /dev/fuse: load the module (modprobe fuse), or, in a container,
pass the device and the right to mount (docker: --device /dev/fuse
--cap-add SYS_ADMIN)'
[ -w /dev/fuse ] || die "$(id -un) may not write to /dev/fuse"

# --- mount

mkdir -p "$dir"
cd "$dir"
dir=$PWD

# show COMMAND: print it as it could be typed in $dir, and run it.
show() {
    printf '$ %s\n' "$1"
    eval "$1"
}

keyfs() {
    "$keyfs" "$@"
}

is_running() {
    [ -f mnt/.ctl/save ]
}

printf '\nIn %s:\n' "$dir"
was_running=''
if is_running; then
    was_running=1
    echo 'keyfs is running here already, from an earlier time.'
else
    # What a keyfs that was killed has left does not answer to mkdir.
    [ -d mnt ] || mkdir mnt 2> /dev/null || true
    show 'keyfs data mnt'
    is_running || die "nothing is mounted at $dir/mnt"
fi

# --- use

show 'mkdir -p mnt/user/1'
show 'echo Ada > mnt/user/1/name'
show 'date > mnt/user/1/seen'
show 'ls -R mnt'
show 'echo 1 > mnt/.ctl/save'
show 'cat mnt/.ctl/save'
show 'ls -l data'

# --- restart

seen=$(cat mnt/user/1/seen)
if show 'fusermount3 -u mnt'; then
    show 'keyfs data mnt'
    show 'cat mnt/user/1/name mnt/user/1/seen'
    if [ "$(cat mnt/user/1/name mnt/user/1/seen)" != "Ada
$seen" ]; then
        die 'the keys did not survive the restart'
    fi
    echo
    echo 'The keys have survived a restart; keyfs goes on running.'
elif [ -n "$was_running" ]; then
    echo
    echo 'Something is using the mount (a shell in it?), so it was not restarted.'
else
    die "cannot unmount $dir/mnt"
fi

cat << END

Try next:
  cd $dir
  cat mnt/.ctl/README              the control files
  cat mnt/.ctl/info                figures, under the names Redis has for them
  cp mnt/.ctl/dump.rdb backup.rdb  a backup, which redis-server loads too

Stop it:
  fusermount3 -u $dir/mnt

Start it again:
  $keyfs $dir/data $dir/mnt
END
