#!/bin/bash
# check.sh CACHE: docker-compose.yml and the images, without Docker. Compose itself, built from its Go module, reads the
# file; buildah builds the images on a Debian tree that stands in for their bases; their entry scripts run in them.
set -euo pipefail
cd "$(dirname "$0")/../.."
cache=$1 out=$PWD/out/images
compose=$cache/compose-2.32.4
base=$cache/stand-in-jdk.tar

fail() { echo "images-check: $*" >&2; exit 1; }
ok() { echo "  ✓ $*"; }
store() { buildah --root "$out/storage" --runroot "$out/run" "$@"; }

install_tools() {
    [ "$(id -u)" = 0 ] || fail "run it as root"
    command -v go >/dev/null || fail "Go is missing: install version 1.22 or newer"
    local missing=() name
    for name in buildah mmdebstrap debian-archive-keyring; do
        dpkg-query -W -f '${db:Status-Abbrev}' "$name" 2>/dev/null | grep -q ^ii || missing+=("$name")
    done
    [ ${#missing[@]} = 0 ] && return
    echo "... Debian packages: ${missing[*]}"
    apt-get -qq update
    apt-get -qq install -y --no-install-recommends "${missing[@]}" >/dev/null
}

check_compose() {
    if [ ! -x "$compose" ]; then
        echo "... Compose 2.32.4, from its Go module"
        GOFLAGS=-mod=mod GOBIN=$out go install github.com/docker/compose/v2/cmd@v2.32.4
        mv "$out/cmd" "$compose"
    fi
    local project=$out/project profiles
    rm -rf "$project" && mkdir "$project"
    cp -r .env.example docker-compose.yml deploy "$project/"
    "$project/deploy/docker/dotenv.sh"
    for profiles in "" demo zookeeper demo,zookeeper; do
        COMPOSE_PROFILES=$profiles "$compose" --project-directory "$project" config -q
        ok "docker-compose.yml, profiles: ${profiles:-none}"
    done
    FACES2_VOLUMES=./data/ "$compose" --project-directory "$project" config | grep -q "source: $project/data/kafka" ||
        fail "FACES2_VOLUMES makes no folders"
    sed -i '/^POSTGRES_PASSWORD=/d' "$project/.env"
    if "$compose" --project-directory "$project" config -q 2>"$out/said"; then fail "no password is no error"; fi
    grep -q 'POSTGRES_PASSWORD.*dotenv.sh' "$out/said" || fail "of a missing password it says: $(cat "$out/said")"
    ok "folders in place of volumes; a missing password is an error that says what to do"
}

# What the bases of all three images bring, and what this machine knows of registries and their certificates.
make_stand_in() {
    if [ ! -f "$base" ]; then
        echo "... the stand-in base, from Debian 12"
        mmdebstrap --quiet --variant=minbase \
            --include=python3-venv,python3-pip,openjdk-17-jdk-headless,maven,ca-certificates bookworm "$base.part.tar"
        mv "$base.part.tar" "$base"
    fi
    local context=$out/base name
    rm -rf "$context" && mkdir -p "$context/files/etc/apt"
    ln "$base" "$context/base.tar" 2>/dev/null || cp "$base" "$context/base.tar"
    for name in /etc/{ssl/certs,pip.conf,maven,apt/sources.list,apt/sources.list.d,apt/apt.conf.d}; do
        [ ! -e "$name" ] || cp -rL --parents "$name" "$context/files"
    done
    cat >"$context/Containerfile" <<END
FROM scratch
ADD base.tar /
COPY files /
$(env | sed -nE 's/^((https?|no)_proxy|(HTTPS?|NO)_PROXY|PIP_INDEX_URL|PIP_CERT|MAVEN_OPTS)=(.*)$/ENV \1="\4"/p')
END
    store bud -q --layers --isolation chroot -t stand-in "$context" >/dev/null
}

build() {
    local name=$1 began=$SECONDS bases=()
    shift
    for each in "$@"; do bases+=(--build-arg "$each=localhost/stand-in"); done
    store bud --isolation chroot --layers --pull-never -t "faces2-$name" -f "deploy/docker/Dockerfile.$name" \
        "${bases[@]}" . >"$out/$name.log" 2>&1 || { tail -30 "$out/$name.log"; fail "$name was not built"; }
    ok "faces2-$name is built  $((SECONDS - began)) s"
}

# A container of each image; `run NAME COMMAND…` runs in it as its user, on this machine's network.
declare -A containers
open_containers() {
    local name
    for name in services flink mosquitto; do
        containers[$name]=$(store from --pull-never "localhost/faces2-$name")
    done
    rm -rf "$out/certs" "$out/flink" "$out/mosquitto" "$out/pids"
    install -d -o 10001 -g 10001 "$out/certs" "$out/certs/mosquitto" "$out/flink" "$out/mosquitto" "$out/pids"
    trap end_all EXIT
}

run() {
    local name=$1
    shift
    store run --isolation chroot --hostname localhost \
        --volume "$out/certs:/var/lib/faces2/certs" --volume "$out/certs/mosquitto:/certs:ro" \
        --volume "$out/flink:/var/lib/flink" --volume "$out/mosquitto:/var/lib/mosquitto" --volume "$out/pids:/pids" \
        "${environment[@]}" "${containers[$name]}" -- "$@"
}

# Ports of its own, so that it disturbs no stack.
environment=(
    --env CERTGEN_PORT=27080 --env CERTGEN_DIR=/var/lib/faces2/certs --env MQTT_PORT=27883 --env MQTT_TLS_PORT=27884
    --env FLINK_PORT=27081 --env FLINK_RPC_PORT=27123 --env FLINK_TASKMANAGERS=1 --env FLINK_JOB_SERVER_PORT=27099
    --env FLINK_ARTIFACT_PORT=27098 --env FLINK_EXPANSION_PORT=27097
)

# start NAME PART COMMAND…: in the background, for two minutes at most.
start() {
    local image=$1 part=$2
    shift 2
    run "$image" sh -c 'echo $$ >"/pids/$0"; exec timeout 120 "$@"' "$part" "$@" >"$out/$image-$part.log" 2>&1 &
}

end_all() {
    local file
    for file in "$out"/pids/*; do
        [ -f "$file" ] && kill "$(cat "$file")" 2>/dev/null || true
    done
    wait
    store rm --all >/dev/null
}

# gets_healthy NAME PART CHECK…
gets_healthy() {
    local image=$1 part=$2 log
    shift 2
    log=$out/$image-$part.log
    for _ in $(seq 60); do
        if run "$image" "$@" >"$out/said" 2>&1; then ok "$image: $part runs"; return; fi
        sleep 1
    done
    tail -20 "$log"
    fail "$image: $part is not healthy: $(cat "$out/said")"
}

check_services() {
    run services faces2 settings >"$out/settings.md"
    run services python -c "import faces2.beam_pipeline.main, faces2.runners.pool, faces2.bridge.main" 2>"$out/said" ||
        fail "$(cat "$out/said")"
    ok "services: the command, and its imports"
    run services faces2 certgen --init-only >"$out/said" 2>&1 || fail "$(cat "$out/said")"
    start services certgen faces2 certgen
    gets_healthy services certgen healthy 27080 /health
}

check_mosquitto() {
    start mosquitto broker /faces2/mosquitto.sh
    gets_healthy mosquitto broker /faces2/mosquitto.sh healthy
    [ -f "$out/mosquitto/journal" ] || fail "mosquitto: its plugin made no journal"
}

check_flink() {
    local part
    for part in jobmanager expansion taskmanager job-server; do
        start flink "$part" /faces2/flink.sh "$part"
        gets_healthy flink "$part" /faces2/flink.sh healthy "$part"
    done
}

# kafka.sh on the native stack's jars, alone and with ZooKeeper, in a network of its own.
check_kafka() {
    local jars=$cache/kafka-3.9.1 programs=$out/programs mode
    [ -d "$jars" ] || { ok "Kafka is left out: its jars are not in $cache (make up brings them)"; return; }
    rm -rf "$programs" && mkdir "$programs"
    cp deploy/kafka/*.properties deploy/docker/*.sh "$programs/"
    local java="exec java -Dlog4j.configuration=file:$programs/log4j.properties -cp '$jars/*'"
    echo "$java kafka.tools.StorageTool \"\$@\"" >"$programs/kafka-storage.sh"
    echo "$java kafka.Kafka \"\$@\"" >"$programs/kafka-server-start.sh"
    echo "$java org.apache.zookeeper.server.quorum.QuorumPeerMain \"\$@\"" >"$programs/zookeeper-server-start.sh"
    echo 'bash -c "exec 3<>/dev/tcp/$4/$5" 2>/dev/null' >"$programs/nc"
    echo "127.0.0.1 localhost kafka zookeeper" >"$programs/hosts"
    sed -i '1i #!/bin/sh' "$programs"/{kafka-storage.sh,kafka-server-start.sh,zookeeper-server-start.sh,nc}
    chmod +x "$programs"/*
    for mode in kraft zookeeper; do
        unshare --mount --net --pid --fork --kill-child tests/images/kafka.sh "$programs" "$mode" \
            >"$out/kafka-$mode.log" 2>&1 || { tail -20 "$out/kafka-$mode.log"; fail "Kafka does not run ($mode)"; }
        ok "Kafka runs, killed and started again ($mode)"
    done
}

install_tools
mkdir -p "$cache" "$out"
check_compose
make_stand_in
build services PYTHON
build flink MAVEN JAVA
build mosquitto DEBIAN
open_containers
check_services
check_mosquitto
check_flink
check_kafka
