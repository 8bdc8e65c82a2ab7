#!/bin/bash
# kafka.sh broker|zookeeper|healthy: Kafka's official image with the configuration of the native stack.
set -euo pipefail
bin=${KAFKA_BIN:-/opt/kafka/bin} config=${KAFKA_CONFIG:-/tmp/kafka.properties} here=$(dirname "$0")

broker() {
    sh "$here/fill.sh" "$here/server.properties" "$config"
    if with_zookeeper; then
        sed -i -e '/^process\.roles=/d' -e '/^controller\./d' -e '/^listener\.security/d' \
            -e 's/^node\.id=/broker.id=/' -e '/^listeners=/s/,CONTROLLER:.*//' "$config"
        # Killed, it can not come back before ZooKeeper has ended its former session; Docker tries until then.
        printf '%s\n' zookeeper.connect=zookeeper:2181 zookeeper.session.timeout.ms=6000 >>"$config"
    elif [ ! -f "$DATA/meta.properties" ]; then
        "$bin/kafka-storage.sh" format -t "$("$bin/kafka-storage.sh" random-uuid)" -c "$config"
    fi
    exec "$bin/kafka-server-start.sh" "$config"
}

zookeeper() {
    sh "$here/fill.sh" "$here/zookeeper.properties" "$config"
    exec "$bin/zookeeper-server-start.sh" "$config"
}

# The data stays what it was made as. At the first start ZooKeeper is there with its profile alone, and before Kafka.
with_zookeeper() {
    if [ -f "$DATA/meta.properties" ]; then
        grep -q '^version=0' "$DATA/meta.properties"
    else
        nc -z -w 2 zookeeper 2181 2>/dev/null
    fi
}

# An ApiVersions request: the port is open before the broker answers.
healthy() {
    exec 3<>"/dev/tcp/$KAFKA_HOST/$KAFKA_PORT"
    printf '\0\0\0\012\0\022\0\0\0\0\0\001\377\377' >&3
    [ "$(head -c 4 <&3 | wc -c)" = 4 ]
}

case $1 in
    broker) broker ;;
    zookeeper) zookeeper ;;
    healthy) healthy ;;
    *) echo "kafka.sh: no part $1" >&2; exit 2 ;;
esac
