# Shared by the scripts beside this file, which source it: processes, rows of results, medians.
# Every program runs in the background, so that a signal is acted upon at once, and is ended by its
# own process id. The script sets usage, rounds and secs, and counts its rounds in round.
# shellcheck shell=bash disable=SC2154

programs=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)/target/release
out=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)/out
scratch=$(mktemp -d)
declare -A running=() # process ids as keys
# Words before the command line that place the programs somewhere else, such as in a namespace.
at_server=()
at_client=()
server_flags=()

# What else a script has to undo at its end; it may define this anew.
undo() { :; }
trap 'stop_all; undo; rm -rf "$scratch"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

fail() {
    printf '%s: %s\n' "${0##*/}" "$1" >&2
    exit "${2:-1}"
}

# need COMMAND PACKAGE
need() {
    command -v "$1" >/dev/null || fail "$1 is missing: sudo apt-get install $2"
}

need_programs() {
    need python3 python3
    local name
    for name in batchkv-server batchkv-client batchkv-bench; do
        [ -x "$programs/$name" ] ||
            fail "$programs/$name is missing: cargo build --release --workspace"
    done
}

# parse_flags FLAGS...: changes rounds and secs, or prints $usage.
parse_flags() {
    while [ $# -gt 0 ]; do
        case $1 in
            -h | --help) echo "$usage" && exit 0 ;;
            --rounds | --secs)
                [[ ${2:-} =~ ^[1-9][0-9]{0,3}$ ]] ||
                    fail "$1 takes a number from 1 to 9999, not '${2:-}'" 2
                declare -g "${1#--}=$2"
                shift 2
                ;;
            *) fail "unknown argument $1"$'\n'"$usage" 2 ;;
        esac
    done
}

# start LOG COMMAND...: runs it in the background; its process id is in $pid.
start() {
    local log=$1
    shift
    # At once: whoever looks must not find what an earlier one wrote.
    : >"$log"
    "$@" >"$log" 2>&1 &
    pid=$!
    running[$pid]=1
}

# stop PID: asks it to end, and waits until it has.
stop() {
    kill "$1" 2>/dev/null || true
    wait "$1" 2>/dev/null || true
    unset "running[$1]"
}

stop_all() {
    local each
    for each in "${!running[@]}"; do stop "$each"; done
}

# finish LOG COMMAND...: runs it to its end; it must succeed.
finish() {
    local status=0
    start "$@"
    wait "$pid" || status=$?
    unset "running[$pid]"
    if [ "$status" != 0 ]; then
        cat "$1" >&2
        fail "status $status from: ${*:2}"
    fi
}

# wait_for LOG PATTERN: waits until $pid, just started, has written a line with PATTERN; it is in $line.
wait_for() {
    line=$(timeout --foreground 60 tail --pid="$pid" -n +1 -f "$1" | grep -m1 -E "$2") || true
    if [ -z "$line" ]; then
        cat "$1" >&2
        fail "no line '$2' within 60 s"
    fi
}

# ours ROW LISTEN CLIENT_FLAGS...: one run of batchkv against a fresh server with server_flags, which must not
# be INVALID; its row. (It is QUALIFIED at best where both ends share a machine.)
ours() {
    local program=$1 server
    local command=("${at_server[@]}" "$programs/batchkv-server" --listen "$2" "${server_flags[@]}")
    start "$scratch/server.log" "${command[@]}"
    server=$pid
    wait_for "$scratch/server.log" '^ready '
    command=("${at_client[@]}" "$programs/batchkv-client" --hosts "${line#ready }" "${@:3}")
    finish "$scratch/client.log" "${command[@]}" --output "$scratch/result"
    local resident_bytes
    resident_bytes=$(awk '/^VmRSS:/ {print $2 * 1024}' "/proc/$server/status")
    stop "$server"
    local verdict ops_per_sec bytes_per_sec hit_rate latency_us
    read -r verdict ops_per_sec bytes_per_sec hit_rate latency_us commit < <(figures)
    row "$program" "$ops_per_sec" "$bytes_per_sec" "$hit_rate" "$resident_bytes" "$latency_us" \
        "$verdict" "$commit" "${server_flags[*]:+server ${server_flags[*]}: }${command[*]}"
}

# Verdict, ops/s, payload bytes/s received, hit rate, mean latency and the build's commit of the run just made.
figures() {
    python3 - "$scratch/result/summary.json" <<'EOF'
import json, sys
summary = json.load(open(sys.argv[1]))
bytes_per_sec = summary["bytes_received"] / summary["measured_secs"]
print(summary["verdict"], summary["ops_per_sec"], bytes_per_sec, summary["hit_rate"],
      summary["latency_us"]["mean"], summary["commit"])
EOF
}

# begin NAME: opens the CSV for this run's rows, and prints their heads.
begin() {
    mkdir -p "$out"
    csv=$out/$1-$(date +%Y%m%d-%H%M%S).csv
    machine="$(awk -F': ' '/^model name/ {print $2; exit}' /proc/cpuinfo), $(nproc) cores, Linux $(uname -r)"
    echo 'round,program,ops_per_sec,bytes_per_sec,hit_rate,server_resident_bytes,latency_us,verdict,commit,machine,command' >"$csv"
    printf '%-6s %-26s %14s %12s %9s  %s\n' round program ops/s MB/s 'hit rate' command
}

# row PROGRAM OPS_PER_SEC BYTES_PER_SEC HIT_RATE SERVER_RESIDENT_BYTES LATENCY_US VERDICT COMMIT COMMAND, of
# round $round; empty is not known.
row() {
    printf '%s,%s,%s,%s,%s,%s,%s,%s,%s,"%s","%s"\n' "$round" "${@:1:8}" "$machine" "$9" >>"$csv"
    local megabytes=-
    [ -z "$3" ] || megabytes=$(awk -v bytes="$3" 'BEGIN {printf "%.2f", bytes / 1e6}')
    printf '%-6s %-26s %14.0f %12s %9.6s  %s\n' "$round" "$1" "$2" "$megabytes" "${4:--}" "$9"
}

# median PROGRAM COLUMN: of the rows so far; column 3 is ops/s, 4 is bytes/s, 6 the server's resident
# bytes, 7 the mean latency.
median() {
    awk -F, -v program="$1" -v column="$2" '$2 == program {print $column}' "$csv" | sort -g |
        awk '{value[NR] = $1} END {print (value[int((NR + 1) / 2)] + value[int(NR / 2) + 1]) / 2}' \
            CONVFMT=%.17g OFMT=%.6f
}

# ratio A B: A / B with three digits.
ratio() {
    awk -v a="$1" -v b="$2" 'BEGIN {printf "%.3f", a / b}'
}
