#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Builds keyfs and runs its tests, after installing what this machine lacks.
#
#   sh tests/run.sh [OPTION...] [TEST...]
#
#   --quick          the plain build only, long tests shortened
#   --no-sanitizers  the plain build only
#   --plain, --clang, --asan, --tsan
#                    just these builds; without any of them all four:
#                      build        gcc, every test
#                      build-clang  clang, warnings and unit tests
#                      build-asan   address and undefined behaviour sanitizers
#                      build-tsan   thread sanitizer, tests of suite `threads`
#   --no-install     only say what is missing
#   TEST...          names of single tests (`meson test --list`); in the plain
#                    build unless another one is asked for
#
# CI=true makes warnings errors. The last line is `N passed, N failed, N
# skipped` over all builds; the exit status is 1 if anything failed.

set -eu
cd "$(dirname "$0")/.."

builds=''
tests=''
quick=${KEYFS_QUICK:-}
setup_args=''
launcher=''

for arg in "$@"; do
    case $arg in
    --quick)
        quick=1
        builds=plain
        ;;
    --no-sanitizers) builds=plain ;;
    --plain | --clang | --asan | --tsan) builds="$builds ${arg#--}" ;;
    --no-install) setup_args=--check ;;
    -h | --help)
        sed -n '4,/^$/s/^# \{0,1\}//p' "$0"
        exit 0
        ;;
    -*)
        echo "run.sh: unknown option '$arg'; see --help" >&2
        exit 2
        ;;
    *) tests="$tests $arg" ;;
    esac
done
if [ -z "$builds" ] && [ -n "$tests" ]; then
    builds=plain
fi
builds=${builds:-plain clang asan tsan}

# Tests skip what they lack; on a CI machine that would hide a failed
# installation.
# shellcheck disable=SC2086 # at most one word
if ! sh tests/setup.sh $setup_args build test lint; then
    if [ -n "${CI:-}" ]; then
        exit 1
    fi
    sh tests/setup.sh --check build
    echo 'run.sh: going on without the rest' >&2
fi

werror=false
if [ -n "${CI:-}" ]; then
    werror=true
fi

# What is not a meson test: one line `RESULT<TAB>BUILD<TAB>NAME<TAB>REASON`.
more=$(mktemp)
trap 'rm -f "$more"' EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

note() {
    printf '%s\t%s\t%s\t%s\n' "$1" "$2" "$3" "$4" >> "$more"
}

# compile DIR MESON-OPTION...
compile() {
    dir=$1
    shift
    rm -f "$dir/meson-logs/testlog.json"
    if [ -f "$dir/build.ninja" ]; then
        meson configure "$dir" "$@"
    else
        meson setup "$dir" "$@"
    fi && meson compile -C "$dir" && return
    note FAIL "$dir" build 'does not configure or compile, see above'
    return 1
}

# run DIR SLOW MESON-TEST-ARGUMENT...: all time limits are SLOW times longer.
run() {
    dir=$1
    slow=$2
    shift 2
    # Results are counted from the log, which says more than the status.
    # shellcheck disable=SC2086 # lists of words
    KEYFS_QUICK=$quick KEYFS_SLOW=$slow CK_TIMEOUT_MULTIPLIER=$slow \
        $launcher meson test -C "$dir" --no-rebuild --print-errorlogs \
        --timeout-multiplier "$slow" "$@" $tests || true
    if [ ! -s "$dir/meson-logs/testlog.json" ]; then
        note FAIL "$dir" tests 'no test ran'
    fi
}

# sanitized DIR SLOW MESON-TEST-ARGUMENT...: a daemon that has left the terminal
# cannot show a report there, so all go to files, and each file is a failure.
sanitized() (
    reports=$PWD/$1/reports
    rm -rf "$reports"
    mkdir -p "$reports"
    common="log_path=$reports/report:log_exe_name=1"
    export ASAN_OPTIONS="$common:halt_on_error=1:detect_leaks=1:\
detect_stack_use_after_return=1:strict_string_checks=1"
    export UBSAN_OPTIONS="$common:halt_on_error=1:print_stacktrace=1"
    export TSAN_OPTIONS="$common:second_deadlock_stack=1"
    quick=1
    # The shadow memory lies at fixed addresses, which high ASLR entropy
    # (vm.mmap_rnd_bits) takes from it: "unexpected memory mapping".
    if setarch -R true 2> /dev/null; then
        launcher='setarch -R'
    fi
    run "$@"
    for report in "$reports"/*; do
        if [ -s "$report" ]; then
            echo "--- $report"
            sed 100q "$report"
            note FAIL "$1" sanitizer "see $report"
        fi
    done
)

build_plain() {
    if compile build -Dbuildtype=debugoptimized -Dwerror=$werror; then
        run build 1
    fi
}

build_clang() {
    if ! command -v clang > /dev/null; then
        note SKIP build-clang build 'clang is not installed'
        return
    fi
    # meson remembers the compiler of a directory.
    if CC=clang compile build-clang -Dbuildtype=debugoptimized \
        -Dwerror=$werror; then
        run build-clang 1 --suite unit
    fi
}

# gcc finds warnings of its own in the sanitizers' code: no werror there.
build_asan() {
    if compile build-asan -Dbuildtype=debugoptimized \
        -Db_sanitize=address,undefined -Dc_args=-fno-omit-frame-pointer; then
        sanitized build-asan 4 --suite unit --suite model --suite fuzz \
            --suite mount
    fi
}

build_tsan() {
    if compile build-tsan -Dbuildtype=debugoptimized -Db_sanitize=thread \
        -Dc_args=-fno-omit-frame-pointer; then
        sanitized build-tsan 8 --suite threads
    fi
}

logs=''
for b in $builds; do
    dir=build-$b
    if [ "$b" = plain ]; then
        dir=build
    fi
    echo "=== $dir"
    "build_$b"
    logs="$logs $dir/meson-logs/testlog.json"
done

# shellcheck disable=SC2086 # a list of words
python3 tests/tally.py "$more" $logs
