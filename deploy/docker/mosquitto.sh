#!/bin/sh
# mosquitto.sh: Mosquitto with the native stack's configuration filled in. mosquitto.sh healthy: whether it answers.
set -eu
if [ "${1:-}" = healthy ]; then
    exec mosquitto_sub -h 127.0.0.1 -p "$MQTT_PORT" -t '$SYS/broker/version' -C 1 -W 5
fi
here=$(dirname "$0")
in_flight=${BRIDGE_MAX_IN_FLIGHT:-1000}
export MAX_IN_FLIGHT=$((in_flight > 1000 ? in_flight : 1000))
export MQTT_BIND=0.0.0.0 MQTT_TLS_BIND=0.0.0.0 MQTT_USER=faces2
export JOURNAL_BYTES=$((${MQTT_JOURNAL_MB:-512} * 1000000)) JOURNAL_SYNC_MS=${MQTT_JOURNAL_SYNC_MS:-100}
export BRIDGE=${BRIDGE_CLIENT_ID:-faces2-bridge} CONFIG=$here JOURNAL=$here/journal.so
export CERTS=${CERTS:-/certs} DATA=${DATA:-/var/lib/mosquitto}
config=${MOSQUITTO_CONFIG:-/tmp/mosquitto.conf}
sh "$here/fill.sh" "$here/mosquitto.conf" "$config"
exec mosquitto -c "$config"
