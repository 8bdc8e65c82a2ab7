#!/bin/sh
# fill.sh TEMPLATE TARGET: a configuration file with its ${NAME}s filled in from the environment, as the native stack
# does it; fails when one has no value.
set -eu
awk '{
    line = ""
    while (match($0, /[$][{][A-Z0-9_]+[}]/)) {
        name = substr($0, RSTART + 2, RLENGTH - 3)
        if (!(name in ENVIRON)) {
            print "fill.sh: there is no value for " name > "/dev/stderr"
            exit 1
        }
        line = line substr($0, 1, RSTART - 1) ENVIRON[name]
        $0 = substr($0, RSTART + RLENGTH)
    }
    print line $0
}' "$1" >"$2"
