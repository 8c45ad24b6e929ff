#!/usr/bin/env bash
# Looks for findings that are false: see --help.
set -euo pipefail
# shellcheck source=bench/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

usage='Usage: bench/honest-runs.sh [--rounds N] [--secs S]

Honest runs over workloads A to F (but E, which needs scans), pacings and batch sizes, each against a fresh
server; beside each second one a loop keeps a core busy. No run may be INVALID: then the exit code is 1. What
else each run found is printed with its reason, to be judged by a person. Needs a release build.

  --rounds N   times that all 30 are run (1)
  --secs S     measured seconds of a run, after 1 s of warm-up (10)'

rounds=1
secs=10
parse_flags "$@"
need_programs

readonly KINDS=(A B C D F 'B --mix read=0.6,update=0.25,delete=0.15')
readonly PACINGS=('--batch-size 8192' '--batch-size 64' '--batch-size 1 --tasks 16'
    '--batch-size 256 --rate 20000' '--batch-size 1024 --rate 200000 --arrivals poisson')

# findings: verdict, and each finding but that of the shared machine, of the run just made.
findings() {
    python3 - "$scratch/result/summary.json" <<'EOF'
import json, sys
summary = json.load(open(sys.argv[1]))
print(summary["verdict"], f"{summary['ops_per_sec']:.0f} ops/s")
for finding in summary["findings"]:
    if finding["rule"] != "shared-machine":
        print(f"    {finding['rule']}: {finding['reason']}")
EOF
}

# honest BESIDE FLAGS...: one run.
honest() {
    local server loop='' status=0
    start "$scratch/server.log" "$programs/batchkv-server" --listen 127.0.0.1:0
    server=$pid
    wait_for "$scratch/server.log" '^ready '
    if [ "$1" = busy ]; then
        start /dev/null timeout $((secs + 30)) python3 -c 'while True: pass'
        loop=$pid
    fi
    rm -rf "$scratch/result"
    start "$scratch/client.log" "$programs/batchkv-client" --hosts "${line#ready }" --secs "$secs" \
        --warmup-secs 1 --output "$scratch/result" "${@:2}"
    wait "$pid" || status=$?
    unset "running[$pid]"
    if [ -n "$loop" ]; then stop "$loop"; fi
    stop "$server"
    printf '%s, %s: ' "$1" "${*:2}"
    if [ "$status" != 0 ]; then
        invalid=$((invalid + 1))
        printf 'status %s\n' "$status"
        cat "$scratch/client.log"
    else
        findings
    fi
}

runs=0
invalid=0
for ((round = 1; round <= rounds; round++)); do
    for kind in "${KINDS[@]}"; do
        for pacing in "${PACINGS[@]}"; do
            # A read-modify-write is two operations of a batch.
            if [ "$kind" = F ]; then pacing=${pacing/--batch-size 1 /--batch-size 2 }; fi
            beside=$([ $((runs % 2)) = 0 ] && echo quiet || echo busy)
            # shellcheck disable=SC2086 # each is several words
            honest "$beside" --workload $kind $pacing --seed $((runs + 1))
            runs=$((runs + 1))
        done
    done
done
printf '\n%d of %d honest runs are INVALID\n' "$invalid" "$runs"
[ "$invalid" = 0 ]
