#!/bin/bash
# check.sh CACHE: docker-compose.yml and the images, without Docker. Compose itself, built from its Go module, reads the
# file; buildah builds the images on a Debian tree that stands in for their bases; their entry scripts are run in them.
set -euo pipefail
cd "$(dirname "$0")/../.."
cache=$1 out=$PWD/out/images
compose=$cache/compose-2.32.4
base=$cache/stand-in-base.tar
mkdir -p "$cache" "$out"

say() { echo "... $*"; }
fail() { echo "images-check: $*" >&2; exit 1; }

packages() {
    [ "$(id -u)" = 0 ] || fail "run it as root"
    command -v go >/dev/null || fail "Go is missing: install it (1.22 or newer)"
    local missing=() name
    for name in buildah mmdebstrap debian-archive-keyring; do
        dpkg-query -W -f '${db:Status-Abbrev}' "$name" 2>/dev/null | grep -q ^ii || missing+=("$name")
    done
    [ ${#missing[@]} = 0 ] && return
    say "Debian packages: ${missing[*]}"
    apt-get -qq update && apt-get -qq install -y --no-install-recommends "${missing[@]}" >/dev/null
}

check_compose() {
    if [ ! -x "$compose" ]; then
        say "Compose 2.32.4, from its Go module"
        GOFLAGS=-mod=mod GOBIN=$out go install github.com/docker/compose/v2/cmd@v2.32.4
        mv "$out/cmd" "$compose"
    fi
    rm -rf "$out/env" && mkdir "$out/env"
    cp -r .env.example docker-compose.yml deploy "$out/env/"
    "$out/env/deploy/docker/dotenv.sh"
    local profiles
    for profiles in "" demo zookeeper demo,zookeeper; do
        COMPOSE_PROFILES=$profiles "$compose" --project-directory "$out/env" config -q
        echo "  ✓ docker-compose.yml, profiles: ${profiles:-none}"
    done
    FACES2_VOLUMES=./data/compose/ "$compose" --project-directory "$out/env" config -q
    sed -i '/^POSTGRES_PASSWORD=/d' "$out/env/.env"
    if "$compose" --project-directory "$out/env" config -q 2>"$out/said"; then fail "a missing password is no error"; fi
    grep -q 'POSTGRES_PASSWORD.*dotenv.sh' "$out/said" || fail "what is said of a missing password: $(cat "$out/said")"
    echo "  ✓ a missing password is an error that says what to do"
}

# A Debian tree with what the bases of all images bring, and with what this machine knows of registries.
stand_in() {
    if [ ! -f "$base" ]; then
        say "the stand-in base, from Debian 12"
        mmdebstrap --quiet --variant=minbase \
            --include=python3-venv,python3-pip,openjdk-17-jre-headless,maven,ca-certificates bookworm "$base.part"
        mv "$base.part" "$base"
    fi
    buildah inspect --type image faces2-stand-in >/dev/null 2>&1 && return
    local context=$out/base name
    rm -rf "$context" && mkdir -p "$context/files"
    ln "$base" "$context/base.tar" 2>/dev/null || cp "$base" "$context/base.tar"
    for name in /etc/pip.conf /etc/ssl/certs /usr/local/share/ca-certificates /etc/apt/sources.list /etc/apt/sources.list.d \
        /etc/apt/apt.conf.d /etc/maven /usr/share/maven/conf "${PIP_CERT:-}" "${PIP_FIND_LINKS:-}"; do
        [ -n "$name" ] && [ -e "$name" ] && cp -rL --parents "$name" "$context/files/" 2>/dev/null
    done
    {
        echo "FROM scratch"
        echo "ADD base.tar /"
        echo "COPY files /"
        env | sed -nE 's/^(PIP_[A-Z_]+|[a-zA-Z]+_[pP][rR][oO][xX][yY]|MAVEN_OPTS|JAVA_TOOL_OPTIONS)=(.*)$/ENV \1="\2"/p'
    } >"$context/Containerfile"
    buildah bud -q --isolation chroot -t faces2-stand-in "$context" >/dev/null
}

build() {
    local name=$1 began=$SECONDS
    shift
    buildah bud -q --isolation chroot --pull-never -t "faces2-$name" -f "deploy/docker/Dockerfile.$name" \
        "${@/%/=localhost/faces2-stand-in}" . >"$out/$name.log" 2>&1 || { tail -30 "$out/$name.log"; fail "$name"; }
    echo "  ✓ faces2-$name  $((SECONDS - began)) s"
}

# enter IMAGE OPTIONS… -- COMMAND…: in a container of the image, as its user, on this machine's network.
enter() {
    local image=$1
    shift
    buildah run --isolation chroot "${options[@]}" "$@" "$image"
}

until_healthy() {
    local tries
    for tries in $(seq 60); do
        if "$@" >/dev/null 2>&1; then return; fi
        sleep 1
    done
    fail "not healthy: $*"
}

packages
check_compose
stand_in
build services --build-arg=PYTHON
build flink --build-arg=MAVEN --build-arg=JAVA
build mosquitto --build-arg=DEBIAN
