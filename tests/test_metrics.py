"""What both programs serve with --metrics-listen, read by an independent parser."""

from __future__ import annotations

import json
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from support import PROGRAMS_ABSENT, RELEASE, programs_absent

FETCH_SECS_MAX = 10

pytestmark = pytest.mark.skipif(programs_absent(), reason=PROGRAMS_ABSENT)


@contextmanager
def running(program: str, *words: str) -> Iterator[subprocess.Popen[str]]:
    command = [RELEASE / f"batchkv-{program}", "--metrics-listen", "127.0.0.1:0", *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.terminate()


def wait_for(process: subprocess.Popen[str], word: str) -> str:
    """What follows this word at the beginning of a line."""
    line = next(line for line in process.stdout if line.startswith(word + " "))
    return line.removeprefix(word).strip()


def fetch(url: str) -> dict[tuple[str, ...], float]:
    """Each sample's value, by its name and its labels' values."""
    with urllib.request.urlopen(url, timeout=FETCH_SECS_MAX) as answer:
        text = answer.read().decode()
    families = text_string_to_metric_families(text)
    samples = [sample for family in families for sample in family.samples]
    return {(sample.name, *sample.labels.values()): sample.value for sample in samples}


def fetch_settled(url: str) -> dict[tuple[str, ...], float]:
    """A server's samples once it has noted that its last answers were written."""
    deadline = time.monotonic() + FETCH_SECS_MAX
    while True:
        seen = fetch(url)
        frames = seen["batchkv_server_frames_total",]
        if seen["batchkv_server_service_seconds_count",] == frames or time.monotonic() > deadline:
            return seen


def test_a_server_tells_what_a_client_has_counted(tmp_path: Path) -> None:
    with running("server", "--listen", "127.0.0.1:0") as server:
        url, address = wait_for(server, "metrics"), wait_for(server, "ready")
        client = [RELEASE / "batchkv-client", "--hosts", address, "--records", "5000"]
        client += ["--secs", "1", "--warmup-secs", "0", "--batch-size", "256", "--tasks", "4"]
        subprocess.run([*client, "--output", tmp_path], check=True, stdout=subprocess.DEVNULL)
        seen = fetch_settled(url)
    answered = json.loads((tmp_path / "summary.json").read_text())["per_server"][0]["answered"]
    for kind in ("get", "put", "delete"):
        assert seen["batchkv_server_operations_total", kind] == answered[f"{kind}s"]
    assert seen["batchkv_server_hits_total",] == answered["hits"]
    assert seen["batchkv_server_refusals_total", "out_of_memory"] == 0
    assert seen["batchkv_server_records",] == 5000
    # Every frame that was used was answered, and took some time.
    frames = seen["batchkv_server_frames_total",]
    assert seen["batchkv_server_service_seconds_count",] == frames > 0
    assert seen["batchkv_server_service_seconds_bucket", "+Inf"] == frames
    assert seen["batchkv_server_service_seconds_sum",] > 0
    for direction in ("received", "sent"):
        assert seen["batchkv_server_bytes_total", direction] > 128 * answered["puts"]
    assert seen["batchkv_server_resident_bytes",] > seen["batchkv_server_store_bytes",] > 0


def test_a_client_tells_what_it_does() -> None:
    with running("server", "--listen", "127.0.0.1:0") as server:
        address = wait_for(server, "ready")
        job = ("--records", "5000", "--batch-size", "256", "--tasks", "4", "--secs", "600")
        with running("client", "--hosts", address, "--warmup-secs", "0", *job) as client:
            url = wait_for(client, "metrics")
            wait_for(client, "measured")
            seen = fetch(url)
    operations = sum(value for key, value in seen.items() if key[0] == "batchkv_client_operations_total")
    assert seen["batchkv_client_latency_seconds_count",] == operations > 0
    assert seen["batchkv_client_operations_total", "update"] >= 5000
    assert seen["batchkv_client_batches_total",] > 0 and seen["batchkv_client_connections",] > 0
    assert seen["batchkv_client_misses_total",] == 0 and seen["batchkv_client_refusals_total",] == 0


def test_nothing_else_is_served() -> None:
    with running("server", "--listen", "127.0.0.1:0") as server:
        url = wait_for(server, "metrics").removesuffix("metrics")
        with pytest.raises(urllib.error.HTTPError, match="404"):
            fetch(url)
