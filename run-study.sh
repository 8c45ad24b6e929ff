#!/usr/bin/env bash
# Builds batchkv and runs a study of it, many runs with a report: see --help.
set -euo pipefail
checkout=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

if ! python3 -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; then
    echo "run-study.sh: python3 3.10 or newer is missing: sudo apt-get install python3 python3-venv" >&2
    exit 1
fi
(
    cd "$checkout"
    python3 -m launcher.tools
    python3 -m launcher.tools plots/requirements.txt ||
        echo "run-study.sh: there will be no pictures, see above" >&2
    cargo build --release --workspace --quiet
)
# The words may name files: they count from where the user is.
exec cargo run --release --quiet --manifest-path "$checkout/Cargo.toml" --bin batchkv-study -- "$@"
