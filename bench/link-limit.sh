#!/usr/bin/env bash
# Compares batchkv with the mover on a link shaped to 1 Gbit/s, in turns: see --help.
set -euo pipefail
# shellcheck source=bench/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

usage='Usage: sudo bench/link-limit.sh [--rounds N] [--secs S]

Server and client stand in two network namespaces, joined by a veth pair that is shaped to 1 Gbit/s
each way. The mover (batchkv-bench mover: the same bytes, moved and nothing else), the standard job, and
the standard job with repeated answers sent once (--dedup-answers) take turns. Needs root, iproute2 and a release build.

  --rounds N   runs of each (5)
  --secs S     measured seconds of a run, after 2 s of warm-up (10)'

readonly LINK_BITS_PER_SEC=1000000000
# Smaller than the shaper's burst: a greater packet would have to be cut up or dropped by tbf, and a
# smaller one costs the two ends more CPU. Its size on the wire, with the headers of all its segments, is
# what tbf charges, so offloading does not defeat the shaping.
readonly PACKET_BYTES_MAX=16384
readonly SERVER=10.213.7.1 CLIENT=10.213.7.2 PORT=8080
rounds=5
secs=10
parse_flags "$@"

[ "$(id -u)" = 0 ] || fail "network namespaces need root: sudo bench/link-limit.sh"
need ip iproute2
need tc iproute2
need_programs
server_space=batchkv-server-$$
client_space=batchkv-client-$$
spaces=()
undo() {
    local space
    for space in "${spaces[@]}"; do ip netns delete "$space"; done
}

for space in "$server_space" "$client_space"; do
    ip netns add "$space" || fail "no network namespaces here (a container without CAP_SYS_ADMIN?)"
    spaces+=("$space")
done
ip link add link0 netns "$server_space" type veth peer name link0 netns "$client_space"

# shape SPACE ADDRESS: gives the link's end in SPACE its address and its limit.
shape() {
    ip -n "$1" address add "$2/30" dev link0
    ip -n "$1" link set link0 up gso_max_size $PACKET_BYTES_MAX
    tc -n "$1" qdisc add dev link0 root tbf rate ${LINK_BITS_PER_SEC}bit burst 64kb latency 50ms
}
shape "$server_space" $SERVER
shape "$client_space" $CLIENT
at_server=(ip netns exec "$server_space")
at_client=(ip netns exec "$client_space")

# The mover's run, and its row.
moved() {
    local bytes_per_sec ops_per_sec server
    local command=("${at_client[@]}" "$programs/batchkv-bench" mover ask "$SERVER:$PORT" --secs "$secs" --warmup-secs 2)
    start "$scratch/mover.log" "${at_server[@]}" "$programs/batchkv-bench" mover serve "$SERVER:$PORT"
    server=$pid
    wait_for "$scratch/mover.log" '^ready '
    finish "$scratch/ask.log" "${command[@]}"
    stop "$server"
    bytes_per_sec=$(awk '$1 == "received" {print $2}' "$scratch/ask.log")
    ops_per_sec=$(awk '$1 == "throughput" {print $2}' "$scratch/ask.log")
    awk -v bytes="$bytes_per_sec" -v bits=$LINK_BITS_PER_SEC 'BEGIN {exit !(bytes * 8 < bits)}' ||
        fail "the link is not shaped: it carried $bytes_per_sec bytes/s"
    row mover "$ops_per_sec" "$bytes_per_sec" '' '' '' '' '' "${command[*]}"
}

begin link-limit
for ((round = 1; round <= rounds; round++)); do
    moved
    ours full-path "$SERVER:$PORT" --secs "$secs" --warmup-secs 2
    ours dedup-answers "$SERVER:$PORT" --secs "$secs" --warmup-secs 2 --dedup-answers
done

printf '\nmedians of %d rounds; %s; commit %s\n' "$rounds" "$machine" "$commit"
for program in mover full-path dedup-answers; do
    printf '%-14s %12.0f payload bytes/s %12.0f ops/s\n' \
        $program "$(median $program 4)" "$(median $program 3)"
done
printf 'full path / mover: %s of its bytes, %s of its operations\n' \
    "$(ratio "$(median full-path 4)" "$(median mover 4)")" \
    "$(ratio "$(median full-path 3)" "$(median mover 3)")"
printf 'repeated answers sent once / full path: %s of its operations\n' \
    "$(ratio "$(median dedup-answers 3)" "$(median full-path 3)")"
echo 'the shapers:'
tc -n "$server_space" -s qdisc show dev link0
tc -n "$client_space" -s qdisc show dev link0
echo "rows: $csv"
