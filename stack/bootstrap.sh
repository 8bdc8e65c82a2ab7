#!/bin/sh
# Makes .venv with the locked packages and the command faces2; quick when nothing has changed, resumes when interrupted.
set -eu
cd "$(dirname "$0")/.."
export LC_ALL=C.UTF-8
UV=0.13.9
STAMP=.venv/.faces2-stamp
SYNCING=.venv/.faces2-syncing
ROOM=2048 # MiB: .venv takes some 750, the packages on their way as much again

fail() { echo "faces2: $*" >&2; exit 1; }

# A Python of the right version that can make a virtual environment.
usable() { "$1" -c 'import sys, ensurepip, venv; sys.exit(not (3, 11) <= sys.version_info < (3, 13))' 2>/dev/null; }

find_python() {
    for candidate in "${PYTHON:-python3}" /usr/bin/python3 python3.11 python3.12; do
        if command -v "$candidate" >/dev/null && usable "$candidate"; then echo "$candidate"; return; fi
    done
    return 1
}

install_python() {
    command -v apt-get >/dev/null || fail "Python 3.11 or 3.12 with venv is missing: install it and name it with PYTHON=."
    [ "$(id -u)" = 0 ] || fail "Python 3.11 or 3.12 with venv is missing: run \`apt-get install python3 python3-venv\` as root."
    echo "... Debian packages: python3 python3-venv"
    export DEBIAN_FRONTEND=noninteractive
    dpkg --configure -a
    { apt-get -qq update && apt-get -qq install -y --no-install-recommends python3 python3-venv; } >/dev/null ||
        fail "python3 and python3-venv can not be downloaded: is the network up? It goes on where it stopped."
}

# The editable installation links single files, so a file that came or went counts, its content does not.
stamp() {
    {
        cat requirements.lock pyproject.toml setup.py stack/bootstrap.sh
        find */ \( -path 'data/*' -o -path 'out/*' -o -path 'build/*' -o -path 'tests/*' \) -prune -o -name '*.py' -print | sort
        pwd
    } | sha256sum
}

# Two at a time would pull .venv away from under each other; this file itself is the lock.
exec 9<stack/bootstrap.sh
flock 9

now=$(stamp)
[ -f $STAMP ] && [ "$(cat $STAMP)" = "$now" ] && .venv/bin/python -c '' 2>/dev/null && exit 0

free=$(df -Pm . | awk 'NR == 2 { print $4 }')
[ -x .venv/bin/faces2 ] || [ "$free" -ge $ROOM ] || fail "$PWD has $free MiB free and $ROOM are needed for .venv: make room."

python=$(find_python) || { install_python; python=$(find_python) || fail "This system's Python is not 3.11 or 3.12: name one with PYTHON=."; }
began=$(date +%s)
echo "... Python packages into .venv"
rm -f $STAMP
# A sync that was interrupted may have left packages half there.
if [ -f $SYNCING ] || ! .venv/bin/python -c 'import pip' 2>/dev/null || ! usable .venv/bin/python; then
    rm -rf .venv
    "$python" -m venv .venv || fail "The virtual environment can not be made with $python."
fi
again="is the network up? It goes on where it stopped."
export UV_CACHE_DIR="${FACES2_CACHE:-$HOME/.cache/faces2}/uv" VIRTUAL_ENV="$PWD/.venv" UV_LINK_MODE="${UV_LINK_MODE:-copy}"
# uv remembers what it saw of a Python at a path: a half-made .venv, too.
rm -rf "$UV_CACHE_DIR"/interpreter-*
[ "$(.venv/bin/uv --version 2>/dev/null | cut -d' ' -f2)" = $UV ] ||
    .venv/bin/python -m pip install -qqq --disable-pip-version-check "uv==$UV" || fail "uv can not be downloaded from PyPI: $again"
touch $SYNCING
.venv/bin/uv pip sync -q --require-hashes --compile-bytecode requirements.lock || fail "The Python packages can not be downloaded from PyPI: $again"
.venv/bin/uv pip install -q --no-deps -e . --config-settings editable_mode=strict ||
    fail "faces2 can not be installed: setuptools is downloaded from PyPI for it; $again"
rm -f $SYNCING
echo "$now" >$STAMP
echo "  ✓ Python packages  $(($(date +%s) - began)) s"
