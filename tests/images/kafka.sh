#!/bin/bash
# kafka.sh PROGRAMS kraft|zookeeper: Kafka by its entry script, within namespaces of its own; started, killed, started.
set -euo pipefail
programs=$1 mode=$2
mount --bind "$programs/hosts" /etc/hosts
ip link set lo up
export PATH=$programs:$PATH KAFKA_BIN=$programs KAFKA_HOST=kafka KAFKA_PORT=9092 KAFKA_CONTROLLER_PORT=9093
export KAFKA_PARTITIONS=4

# start PART CHECK…: until it is up; when it ends it is started again, as Docker does.
start() {
    local part=$1 process="" tries
    shift
    mkdir -p "$programs/$mode-$part"
    for tries in $(seq 60); do
        if [ -z "$process" ] || ! kill -0 "$process" 2>/dev/null; then
            DATA=$programs/$mode-$part KAFKA_CONFIG=$programs/$mode-$part.properties "$programs/kafka.sh" "$part" &
            process=$!
        fi
        sleep 1
        if "$@" 2>/dev/null; then started=$process; return; fi
    done
    echo "$part is not up"
    exit 1
}

[ "$mode" = kraft ] || start zookeeper nc -z -w 2 zookeeper 2181
for _ in 1 2; do
    start broker "$programs/kafka.sh" healthy
    grep -q "^version=$([ "$mode" = zookeeper ] && echo 0 || echo 1)" "$programs/$mode-broker/meta.properties"
    kill -9 "$started"
    wait "$started" || true
done
