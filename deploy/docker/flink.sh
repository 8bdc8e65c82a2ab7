#!/bin/bash
# flink.sh PART: one part of the Flink cluster, with the options that the native stack gives it (stack/flink.py; a test
# holds the two together). flink.sh healthy PART: whether it does its work.
set -euo pipefail
here=$(dirname "$0")
export JOBMANAGER_HOST=${FLINK_HOST:-127.0.0.1} JOBMANAGER_RPC_PORT=${FLINK_RPC_PORT:-6123}
export REST_PORT=${FLINK_PORT:-8081} BIND=${BIND:-0.0.0.0}
export TASK_HEAP=${FLINK_TASKMANAGER_HEAP:-512m} STATE=${STATE:-/var/lib/flink}
parallelism=${FLINK_PARALLELISM:-2} managers=${FLINK_TASKMANAGERS:-2} manager=${TASKMANAGER:-taskmanager-1}
job_host=${FLINK_JOB_SERVER_HOST:-127.0.0.1} job_port=${FLINK_JOB_SERVER_PORT:-8099}
artifact_port=${FLINK_ARTIFACT_PORT:-8098} expansion_port=${FLINK_EXPANSION_PORT:-8097}
export METRICS_PORTS="${FLINK_METRICS_PORT:-9249}-$((${FLINK_METRICS_PORT:-9249} + managers))"
export SLOTS=$(((parallelism + managers - 1) / managers))
run=${FLINK_RUN:-/tmp/flink}

# java_on OPTIONS… CLASS ARGUMENTS…
java_on() {
    local options=()
    while [[ $1 == -* ]]; do options+=("$1"); shift; done
    exec java "@$here/jvm.options" "${options[@]}" -cp "$FLINK_JARS/*" "$@"
}

megabytes() {
    case $1 in
        *g) echo $((${1%g} * 1024)) ;;
        *) echo "${1%m}" ;;
    esac
}

start() {
    mkdir -p "$run" "$STATE/tmp"
    sh "$here/fill.sh" "$here/config.yaml" "$run/config.yaml"
    case $1 in
        jobmanager)
            java_on -Xmx384m org.apache.flink.runtime.entrypoint.StandaloneSessionClusterEntrypoint \
                --configDir "$run" --executionMode cluster
            ;;
        taskmanager) # the memory's parts are those of config.yaml
            java_on "-Xmx$(($(megabytes "$TASK_HEAP") + 128))m" -XX:MaxDirectMemorySize=320m -XX:MaxMetaspaceSize=256m \
                org.apache.flink.runtime.taskexecutor.TaskManagerRunner \
                --configDir "$run" -D "taskmanager.resource-id=$manager"
            ;;
        job-server) # an agent brings the jars: what the class path names is sent with each job (stack/flink.py)
            exec java "@$here/jvm.options" -Xmx384m "-javaagent:${FLINK_JARS%/*}/classes.jar" -cp nothing.jar \
                org.apache.beam.runners.flink.FlinkJobServerDriver \
                "--flink-master=$JOBMANAGER_HOST:$REST_PORT" "--flink-conf-dir=$run" "--job-host=$job_host" \
                "--job-port=$job_port" "--artifact-port=$artifact_port" --expansion-port=-1 \
                "--artifacts-dir=$run/job-server" --clean-artifacts-per-job
            ;;
        expansion) # the cluster has all jars: nothing is to be sent with a job
            : >"$run/staged"
            java_on -Xmx256m org.apache.beam.sdk.expansion.service.ExpansionService \
                "$expansion_port" --defaultEnvironmentType=EMBEDDED --experiments=use_deprecated_read \
                "--filesToStage=$run/staged"
            ;;
        *) echo "flink.sh: no part $1" >&2; exit 2 ;;
    esac
}

healthy() {
    case $1 in
        jobmanager) ask 127.0.0.1 /overview | grep ' 200 OK' >/dev/null ;;
        taskmanager) ask "$JOBMANAGER_HOST" /taskmanagers | grep "\"id\":\"$manager\"" >/dev/null ;;
        job-server) open "$job_port" && open "$artifact_port" ;;
        expansion) open "$expansion_port" ;;
        *) echo "flink.sh: no part $1" >&2; exit 2 ;;
    esac
}

ask() {
    exec 3<>"/dev/tcp/$1/$REST_PORT"
    printf 'GET %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n' "$2" "$1" >&3
    cat <&3
}

open() { (exec 3<>"/dev/tcp/127.0.0.1/$1"); }

case $1 in
    healthy) healthy "$2" ;;
    *) start "$1" ;;
esac
