"""Three programs as a cluster, looked at and told what to do by hand, as the README says."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import pytest
from support import PROGRAMS_ABSENT, RELEASE, RUN_SECS_MAX, programs_absent

ADMIN = RELEASE / "batchkv-admin"
SERVERS = 3

pytestmark = pytest.mark.skipif(programs_absent() or not ADMIN.exists(), reason=PROGRAMS_ABSENT)


@contextmanager
def server(*words: str) -> Iterator[str]:
    """A member of a cluster on a free port: its address, once it is ready."""
    command = [str(RELEASE / "batchkv-server"), "--listen", "127.0.0.1:0", "--cluster", *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            lines = (line.split() for line in process.stdout)
            yield next(line[1] for line in lines if line[:1] == ["ready"])
        finally:
            process.kill()


@pytest.fixture(scope="module")
def hosts() -> Iterator[list[str]]:
    with ExitStack() as servers:
        first = servers.enter_context(server("--bootstrap", "--replicas", str(SERVERS)))
        others = [servers.enter_context(server("--join", first)) for _ in range(SERVERS - 1)]
        yield [first, *others]


def run(program: str, *words: object, code: int = 0) -> str:
    done = subprocess.run(
        [str(RELEASE / program), *map(str, words)],
        capture_output=True,
        text=True,
        timeout=RUN_SECS_MAX,
        check=False,
    )
    assert done.returncode == code, f"{words}: {done.stdout}{done.stderr}"
    return done.stdout if code == 0 else done.stderr


def status(host: str) -> dict:
    return json.loads(run("batchkv-admin", "--hosts", host, "status", "--json"))


def until(host: str, what: str, is_so: Callable[[dict], bool]) -> dict:
    """The first status that is so."""
    end = time.monotonic() + RUN_SECS_MAX
    while time.monotonic() < end:
        seen = status(host)
        if is_so(seen):
            return seen
        time.sleep(0.05)
    raise AssertionError(f"{what} never came: {seen}")


def hand_over(host: str, partition: int, to: int) -> None:
    """Has it done, however often it is refused before."""
    command = [str(ADMIN), "--hosts", host, "transfer", str(partition), str(to)]
    end = time.monotonic() + RUN_SECS_MAX
    while True:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            assert done.stdout == f"server {to} leads partition {partition}\n"
            return
        assert "refuses" in done.stderr or "again" in done.stderr, done.stderr
        assert time.monotonic() < end, done.stderr


def is_whole(seen: dict) -> bool:
    partitions = seen["partitions"]
    voters = [[member for member in each["members"] if member["voter"]] for each in partitions]
    return (
        seen["missing_replicas"] == 0
        and all(each["leader"] is not None for each in partitions)
        and all(len(each) == SERVERS for each in voters)
    )


def test_a_record_is_put_on_condition_and_read_from_any_server(hosts: list[str]) -> None:
    until(hosts[0], "a whole cluster", is_whole)
    # Any member will do as the one that is named.
    put = ("batchkv-client", "put", "17", "--hosts")
    assert run(*put, hosts[1], "first", "--if-version", 0).startswith("stored as version ")
    got = run("batchkv-client", "get", "17", "--with-version", "--hosts", hosts[2])
    value, version = got.splitlines()
    assert value == "first"
    version = int(version.removeprefix("version "))
    assert version > 0
    complaint = run(*put, hosts[0], "again", "--if-version", 0, code=1)
    assert f"refused: the record has version {version}" in complaint
    run(*put, hosts[0], "second", "--if-version", version)
    assert run("batchkv-client", "get", "17", "--hosts", hosts[1]) == "second\n"


def test_an_operator_sees_the_cluster_and_hands_a_lead_over(hosts: list[str]) -> None:
    seen = until(hosts[2], "a whole cluster", is_whole)
    shown = run("batchkv-admin", "--hosts", hosts[1], "status")
    assert f"cluster {seen['cluster']}: 3 replicas of each of" in shown
    assert all(host in shown for host in hosts)

    leader = seen["partitions"][0]["leader"]
    other = next(each["id"] for each in seen["servers"] if each["id"] != leader)
    for host in hosts:
        # Whoever is asked, the one who can does it: again, should leaders just be changing.
        hand_over(host, 0, other)
    until(hosts[0], "the new lead", lambda seen: seen["partitions"][0]["leader"] == other)
