#!/usr/bin/env bash
# Compares batchkv with Redis on loopback, in turns: see --help.
set -euo pipefail
# shellcheck source=bench/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

usage='Usage: bench/against-redis.sh [--rounds N] [--secs S]

Redis (8 M pipelined gets of 1 M loaded keys, 128-byte values), batchkv with the standard job, and
batchkv with uniform gets only take turns. Needs redis-server and a release build.

  --rounds N   runs of each (5)
  --secs S     measured seconds of a run of batchkv (10)'

readonly HIT_RATE_MIN=0.999
# Of a million random keys 8 M sets miss e^-8, 0.03 %: that is within HIT_RATE_MIN.
readonly JOB=(-d 128 -r 1000000 -n 8000000 -P 512 -c 4 --csv)
rounds=5
secs=10
parse_flags "$@"

need redis-server redis-server
need redis-benchmark redis-tools
need_programs

port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
server=(redis-server --bind 127.0.0.1 --port "$port" --save '' --appendonly no --dir "$scratch")
start "$scratch/redis.log" "${server[@]}"
wait_for "$scratch/redis.log" 'Ready to accept connections'

# counter NAME: one of the server's statistics.
counter() {
    redis-cli -p "$port" info stats | tr -d '\r' | awk -F: -v name="$1" '$1 == name {print $2}'
}

# Redis's run of gets, and its row.
redis_gets() {
    local hits misses hit_rate ops_per_sec
    local command=(redis-benchmark -p "$port" -t get "${JOB[@]}")
    hits=$(counter keyspace_hits) misses=$(counter keyspace_misses)
    finish "$scratch/get.log" "${command[@]}"
    hits=$(($(counter keyspace_hits) - hits)) misses=$(($(counter keyspace_misses) - misses))
    hit_rate=$(awk -v hits=$hits -v all=$((hits + misses)) 'BEGIN {printf "%.6f", all ? hits / all : 0}')
    awk -v rate="$hit_rate" -v least=$HIT_RATE_MIN 'BEGIN {exit !(rate >= least)}' ||
        fail "only $hit_rate of Redis's gets hit; at least $HIT_RATE_MIN must"
    ops_per_sec=$(awk -F'"' '$2 == "GET" {print $4}' "$scratch/get.log")
    row redis "$ops_per_sec" '' "$hit_rate" '' '' '' '' "${command[*]}"
}

load=(redis-benchmark -p "$port" -t set "${JOB[@]}")
echo "loading: ${load[*]}"
finish "$scratch/set.log" "${load[@]}"
begin against-redis
for ((round = 1; round <= rounds; round++)); do
    redis_gets
    ours standard 127.0.0.1:0 --secs "$secs" --warmup-secs 2
    ours uniform-reads 127.0.0.1:0 --workload C --chooser uniform --secs "$secs" --warmup-secs 2
done

redis=$(median redis 3) standard=$(median standard 3) uniform=$(median uniform-reads 3)
printf '\nmedians of %d rounds, ops/s; %s; commit %s\n' "$rounds" "$machine" "$commit"
printf '%s\n' "$(redis-server --version), started as: ${server[*]@Q}"
printf '%-16s %14.0f\n' redis "$redis"
printf '%-16s %14.0f  %s times redis (the one to compare)\n' \
    standard "$standard" "$(ratio "$standard" "$redis")"
printf '%-16s %14.0f  %s times redis\n' uniform-reads "$uniform" "$(ratio "$uniform" "$redis")"
echo "rows: $csv"
