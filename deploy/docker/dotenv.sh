#!/bin/sh
# Writes .env from .env.example, with new passwords: for a host that has Docker alone.
set -eu
cd "$(dirname "$0")/../.."
[ ! -e .env ] || { echo "There is a .env already: it stays as it is." >&2; exit 1; }
umask 077
password() { head -c 18 /dev/urandom | base64 | tr '+/' '-_'; }
while IFS= read -r line; do
    case $line in
        *_PASSWORD=) echo "$line$(password)" ;;
        "# GRAFANA_PASSWORD="*) echo "GRAFANA_PASSWORD=$(password)" ;;
        *) echo "$line" ;;
    esac
done <.env.example >.env.part
mv .env.part .env
