#!/usr/bin/env bash
# Builds batchkv and runs its benchmark on this machine or on a cluster: see --help.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

if ! python3 -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; then
    echo "run-cluster.sh: python3 3.10 or newer is missing: sudo apt-get install python3 python3-venv" >&2
    exit 1
fi
exec python3 -m launcher "$@"
