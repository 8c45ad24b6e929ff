#!/usr/bin/env bash
# Compares settings of the usual knobs, in turns: see --help.
set -euo pipefail
# shellcheck source=bench/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

usage='Usage: bench/knobs.sh [--rounds N] [--secs S]

The standard job with one knob turned takes turns with others: batch size, tasks, threads of the server
with two connections each, verification off, repeated answers sent once (--dedup-answers) with the
standard keys and with uniform ones. Needs a release build.

  --rounds N   runs of each (5)
  --secs S     measured seconds of a run, after 2 s of warm-up (5)'

readonly BATCH_SIZES=(64 256 1024 8192) TASKS=(16 32 64 128 256 512) SERVER_THREADS=(2 8)
readonly BATCH_SIZE_DEFAULT=8192
rounds=5
secs=5
parse_flags "$@"
need_programs

# turned ROW CLIENT_FLAGS...
turned() {
    ours "$1" 127.0.0.1:0 "${@:2}" --secs "$secs" --warmup-secs 2
}

begin knobs
for ((round = 1; round <= rounds; round++)); do
    for size in "${BATCH_SIZES[@]}"; do turned "batch-$size" --batch-size "$size"; done
    for tasks in "${TASKS[@]}"; do turned "tasks-$tasks" --tasks "$tasks"; done
    for threads in "${SERVER_THREADS[@]}"; do
        server_flags=(--threads "$threads")
        turned "server-threads-$threads" --connections $((2 * threads))
        server_flags=()
    done
    turned verified
    turned unverified --no-verify
    turned dedup-answers --dedup-answers
    turned uniform --chooser uniform
    turned uniform-dedup-answers --chooser uniform --dedup-answers
done

# compare BASE ROWS...: medians of ops/s, and their share of BASE's.
compare() {
    local base each ops_per_sec
    base=$(median "$1" 3)
    for each in "${@:2}"; do
        ops_per_sec=$(median "$each" 3)
        printf '%-22s %12.0f ops/s  %s of %s\n' "$each" "$ops_per_sec" "$(ratio "$ops_per_sec" "$base")" "$1"
    done
}

printf '\nmedians of %d rounds; %s; commit %s\n' "$rounds" "$machine" "$commit"
compare batch-8192 "${BATCH_SIZES[@]/#/batch-}"
compare tasks-128 "${TASKS[@]/#/tasks-}"
compare server-threads-2 "${SERVER_THREADS[@]/#/server-threads-}"
compare unverified verified unverified
compare verified dedup-answers
compare uniform uniform-dedup-answers
# With a window of 1 a task that never waits for the generator has one batch unanswered and one full.
for tasks in "${TASKS[@]}"; do
    latency_us=$(median "tasks-$tasks" 7) ops_per_sec=$(median "tasks-$tasks" 3)
    expected_us=$(ratio $((2 * tasks * BATCH_SIZE_DEFAULT * 1000000)) "$ops_per_sec")
    printf "tasks-%-12s %12.0f us mean latency, %s of two full batches a task / throughput (Little's law)\n" \
        "$tasks" "$latency_us" "$(ratio "$latency_us" "$expected_us")"
done
echo "rows: $csv"
