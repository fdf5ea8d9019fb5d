#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Installs what keyfs needs and this machine lacks, with apt-get. The one place
# that knows the package names; examples/quickstart.sh and tests/run.sh call it.
#
#   sh tests/setup.sh [--check] [SET...]
#
#   build   to compile and mount (the default)
#   test    what the tests run besides
#   lint    a second compiler and the checks of the sources
#   --check install nothing: list what is missing and exit 1
#
# Something counts as there if it works, wherever it came from, so a machine
# without dpkg passes too once its libraries are in place.

set -eu

missing=''
check_only=''

say() {
    printf 'setup: %s\n' "$*" >&2
}

# need PACKAGE COMMAND...: the package is missing if the command fails.
need() {
    package=$1
    shift
    "$@" > /dev/null 2>&1 || missing="$missing $package"
}

has() {
    PATH=$PATH:/usr/sbin:/sbin command -v "$1"
}

# Without pkg-config no library can be seen; it is on the list itself then.
lib() {
    pkg-config --exists "$1"
}

header() {
    echo "#include <$1>" | cc -E -x c -
}

need_build() {
    need gcc has cc
    need libc6-dev header stdio.h
    need meson has meson
    need ninja-build has ninja
    need pkg-config has pkg-config
    need libfuse3-dev lib 'fuse3 >= 3.14'
    need fuse3 has fusermount3
    need libjemalloc-dev lib jemalloc
    need libxxhash-dev lib 'libxxhash >= 0.8'
    need liblzf-dev header liblzf/lzf.h
    need libisal-dev lib 'libisal >= 2.30'
    need nettle-dev lib nettle
    # meson.build asks for these whenever the tests are built: by default.
    need check lib 'check >= 0.15'
    need python3 has python3
}

need_test() {
    need redis-server has redis-server
    need redis-tools has redis-cli
    need git has git
    need rsync has rsync
    need sqlite3 has sqlite3
    need make has make
    need tar has tar
    need e2fsprogs has mke2fs
    need util-linux has setarch
    need procps has ps
}

need_lint() {
    need clang has clang
    need clang-format has clang-format
    need shellcheck has shellcheck
    need mandoc has mandoc
}

# as_root COMMAND...: run it with the rights to install packages.
as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif [ -t 0 ]; then
        sudo "$@"
    else
        sudo -n "$@"
    fi
}

# Debian starts a server as soon as it is installed, unless this file says no.
# The tests start private ones and want no other.
policy=/usr/sbin/policy-rc.d

forbid_services() {
    if [ -e "$policy" ]; then
        return
    fi
    trap allow_services EXIT
    trap 'exit 129' HUP
    trap 'exit 130' INT
    trap 'exit 143' TERM
    printf '#!/bin/sh\nexit 101 # keyfs tests/setup.sh\n' |
        as_root tee "$policy" > /dev/null
    as_root chmod 755 "$policy"
}

allow_services() {
    as_root rm -f "$policy"
}

apt() {
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y \
        -o Acquire::Retries=3 -o Dpkg::Use-Pty=0 "$@" < /dev/null >&2
}

install() {
    if ! command -v apt-get > /dev/null; then
        say "this is no Debian; install what matches:$missing"
        return 1
    fi
    if [ "$(id -u)" != 0 ] && ! command -v sudo > /dev/null; then
        say "not root and no sudo; as root: apt-get install$missing"
        return 1
    fi
    say "installing:$missing"
    forbid_services
    # A list that is out of date names packages that are gone: so always update.
    apt update || say 'apt-get update failed; trying with the old lists'
    # shellcheck disable=SC2086 # a list of words
    apt install --no-install-recommends $missing
}

look() {
    missing=''
    for set in $sets; do
        "need_$set"
    done
}

sets=''
for arg in "$@"; do
    case $arg in
    --check) check_only=1 ;;
    build | test | lint) sets="$sets $arg" ;;
    *)
        say "unknown argument '$arg'; usage: setup.sh [--check] [build] [test] [lint]"
        exit 2
        ;;
    esac
done
sets=${sets:-build}

look
if [ -z "$missing" ]; then
    exit 0
fi
if [ -n "$check_only" ]; then
    say "missing:$missing"
    exit 1
fi
install
look
if [ -n "$missing" ]; then
    say "still missing after the installation:$missing"
    exit 1
fi
