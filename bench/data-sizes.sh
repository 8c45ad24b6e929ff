#!/usr/bin/env bash
# Compares numbers of records and lengths of values, in turns: see --help.
set -euo pipefail
# shellcheck source=bench/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

usage='Usage: bench/data-sizes.sh [--rounds N] [--secs S]

The standard job with 1 M and 10 M records of 128 bytes, and with 1 M records of 64 bytes and of 1 KiB,
takes turns: ops/s, and the resident bytes of the server behind each run against those of all keys and
values. Needs a release build and 4 GiB of memory.

  --rounds N   runs of each (5)
  --secs S     measured seconds of a run, after 2 s of warm-up (10)'

rounds=5
secs=10
parse_flags "$@"
need_programs

# Name, records and bytes of a value of each job.
readonly JOBS=('1M-128 1000000 128' '10M-128 10000000 128' '1M-64 1000000 64' '1M-1024 1000000 1024')

# data_bytes RECORDS VALUE_BYTES: of all keys, which are the decimal ranks, and values.
data_bytes() {
    python3 -c '
import sys
records, value_bytes = map(int, sys.argv[1:])
keys = sum(records - 10**digits for digits in range(1, len(str(records - 1)))) + records
print(keys + records * value_bytes)' "$@"
}

begin data-sizes
for ((round = 1; round <= rounds; round++)); do
    for job in "${JOBS[@]}"; do
        read -r name records value_bytes <<<"$job"
        ours "$name" 127.0.0.1:0 --records "$records" --value-bytes "$value_bytes" --secs "$secs" --warmup-secs 2
    done
done

standard=$(median 1M-128 3)
printf '\nmedians of %d rounds; %s; commit %s\n' "$rounds" "$machine" "$commit"
for job in "${JOBS[@]}"; do
    read -r name records value_bytes <<<"$job"
    ops_per_sec=$(median "$name" 3) resident=$(median "$name" 6) data=$(data_bytes "$records" "$value_bytes")
    printf '%-8s %12.0f ops/s, %s of 1M-128; %s bytes resident, %s of keys and values\n' \
        "$name" "$ops_per_sec" "$(ratio "$ops_per_sec" "$standard")" "$resident" "$(ratio "$resident" "$data")"
done
echo "rows: $csv"
