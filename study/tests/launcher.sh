#!/usr/bin/env bash
# Stands in for run-cluster.sh in the tests of batchkv-study: --workload says how the run ends.
while [ $# -gt 0 ]; do
    case $1 in
        --logs) logs=$2 ;;
        --workload) ending=$2 ;;
    esac
    shift
done

# leave VERDICT: the result files of a run.
leave() {
    mkdir -p "$logs/run"
    ln -s run "$logs/latest"
    printf '{"verdict": "%s", "reasons": ["told to"], "ops_per_sec": 1000, "commit": "abc"}' "$1" \
        >"$logs/run/summary.json"
}

# fails NODE ROLE CODE: the record of a run in which a program ended badly.
fails() {
    printf '{"failures": [{"node": "%s", "role": "%s", "reason": "ended with exit code %s"}]}' "$@" \
        >"$logs/run/run.json"
    echo 'run-cluster.sh: FAILED: words for people' >&2
    exit 1
}

case $ending in
    good) leave VALID ;;
    careful) leave QUALIFIED ;;
    wrong)
        leave INVALID
        fails node1 client 1
        ;;
    dying)
        leave INVALID
        fails node0 server 137
        ;;
    dying-once)
        if mkdir "$logs/../died"; then
            echo 'run-cluster.sh: FAILED: node0 (server) ended with exit code 137' >&2
            exit 1
        fi
        leave VALID
        ;;
    refused)
        echo 'run-cluster.sh: --workload refused' >&2
        exit 2
        ;;
    hanging)
        # A child that does not hear SIGTERM, as a stuck program.
        (trap '' TERM && while :; do sleep 1; done) &
        wait
        ;;
esac
