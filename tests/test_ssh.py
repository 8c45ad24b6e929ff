"""The launcher over real ssh: one sshd a node on this machine, each on a port of its own.

Every sshd has its own keys and configuration, and its own PATH: stubs there let a node resolve its
name to an address of its own (127.0.0.K), and let it miss the shared directory.
"""

from __future__ import annotations

import json
import os
import pwd
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from support import (
    CHECKOUT,
    PROGRAMS_ABSENT,
    RELEASE,
    SHORT,
    Launcher,
    programs_absent,
    wait_for_end,
)

from launcher.survey import local_ports

SSHD = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin")
MANIFEST = CHECKOUT / "launcher" / "tests" / "data" / "geni-get.json"
PRIVILEGE_SEPARATION = Path("/run/sshd")


def why_not() -> str | None:
    """Why these tests cannot run here, or None."""
    for tool in ("ssh", "ssh-keygen"):
        if not shutil.which(tool):
            return f"{tool} is missing: apt-get install openssh-client"
    if not SSHD:
        return "sshd is missing: apt-get install openssh-server"
    if os.getuid() == 0 and not PRIVILEGE_SEPARATION.is_dir():
        return f"sshd needs {PRIVILEGE_SEPARATION}: sudo mkdir -p {PRIVILEGE_SEPARATION}"
    return None


pytestmark = pytest.mark.skipif(why_not() is not None, reason=str(why_not()))


def script(path: Path, body: str) -> None:
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)


def no_shared_directory(directory: Path) -> None:
    """Lets a node believe that the programs there are others; of all else it tells the truth."""
    own = shutil.which("sha256sum")
    script(directory / "sha256sum", f'case $1 in */batchkv-*) echo 0 $1 ;; *) exec {own} "$@" ;; esac')


def make_key(path: Path) -> None:
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)]
    subprocess.run(command, check=True)


@contextmanager
def sshd(home: Path, port: int, authorized: Path) -> Iterator[None]:
    """An sshd that finds the programs in home/bin before all others."""
    (home / "bin").mkdir(parents=True)
    make_key(home / "host_key")
    config = home / "sshd_config"
    config.write_text(
        f"ListenAddress 127.0.0.1:{port}\nHostKey {home}/host_key\nPidFile none\n"
        f"AuthorizedKeysFile {authorized}\nStrictModes no\nUsePAM no\nPermitRootLogin yes\n"
        f"PasswordAuthentication no\nSetEnv PATH={home}/bin:{os.environ['PATH']}\n"
    )
    with subprocess.Popen(
        [SSHD, "-D", "-e", "-f", str(config)], stderr=subprocess.PIPE, text=True
    ) as daemon:
        try:
            lines: list[str] = []
            for line in daemon.stderr:
                lines.append(line)
                if "Server listening" in line:
                    break
            else:
                pytest.fail(f"sshd ended: {''.join(lines)}")
            yield
        finally:
            daemon.terminate()
            daemon.communicate(timeout=30)


@dataclass
class Nodes:
    """The sshd's of one test."""

    root: Path
    ports: list[int]

    def bin(self, index: int) -> Path:
        return self.root / f"node{index}" / "bin"

    def hosts_file(self) -> str:
        user = pwd.getpwuid(os.getuid()).pw_name
        lines = (f"{user}@localhost:{port} 127.0.0.1\n" for port in self.ports)
        path = self.root / "hosts"
        path.write_text("".join(lines))
        return str(path)

    def options(self) -> list[str]:
        options = (
            f"IdentityFile={self.root}/key",
            "IdentitiesOnly=yes",
            f"UserKnownHostsFile={self.root}/known_hosts",
            "GlobalKnownHostsFile=/dev/null",
        )
        return [word for option in options for word in ("--ssh-option", option)]

    def words(self, *more: str, server_args: str = "") -> list[str]:
        ports = f"-port {adjacent_ports()} {server_args}"
        fixed = ["--hosts-file", self.hosts_file(), "--no-plots", "--server-args", ports]
        return [*fixed, *self.options(), *more]


def adjacent_ports() -> int:
    """A free port whose successor is free as well: for two servers on one address."""
    while True:
        with socket.create_server(("127.0.0.1", 0)) as first:
            port = first.getsockname()[1]
            try:
                socket.create_server(("127.0.0.1", port + 1)).close()
            except (OSError, OverflowError):
                continue
            return port


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[Callable[[int], Nodes]]:
    with ExitStack() as stack:

        def start(count: int) -> Nodes:
            root = tmp_path / "sshd"
            root.mkdir()
            make_key(root / "key")
            found = Nodes(root, local_ports(count))
            for index, port in enumerate(found.ports):
                stack.enter_context(sshd(root / f"node{index}", port, root / "key.pub"))
            return found

        yield start


def left_behind(launcher: Launcher) -> list[Path]:
    """Scratch directories of the launcher's runs that are still there."""
    runs = [path.name for path in launcher.logs.iterdir() if not path.is_symlink()]
    return [path for run in runs for path in Path("/tmp").glob(f"batchkv-{run}-*")]


def test_a_run_over_ssh(fake: Launcher, nodes: Callable[[int], Nodes]) -> None:
    done = fake.run("2", "2", *nodes(4).words())
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith(
        "node0 median 1000 op/s\nnode1 median 1001 op/s\n\ntotal 2002 op/s\n"
    )
    # Two servers on one address: the second one's port is counted up.
    first, second = (
        int((fake.latest / f"kvsserver-node{index}.log").read_text().split()[1].split(":")[1])
        for index in (0, 1)
    )
    assert second == first + 1
    files = {str(path.relative_to(fake.latest)) for path in fake.latest.glob("**/*.*")}
    assert {"server-node0.csv", "server-node1.csv", "client-node3/summary.json"} <= files
    assert fake.processes() == [] and left_behind(fake) == []


def test_programs_are_copied_where_the_directory_is_not_shared(
    fake: Launcher, nodes: Callable[[int], Nodes]
) -> None:
    there = nodes(2)
    no_shared_directory(there.bin(1))
    done = fake.run(*there.words())
    assert (done.returncode, done.stderr) == (0, "")
    summary = json.loads((fake.latest / "client-node1" / "summary.json").read_text())
    assert summary["arguments"][0].startswith("/tmp/batchkv-")
    assert left_behind(fake) == []


def test_cloudlab_nodes_bind_what_their_names_resolve_to(
    fake: Launcher, nodes: Callable[[int], Nodes], tmp_path: Path
) -> None:
    there = nodes(4)
    stubs = tmp_path / "stubs"
    stubs.mkdir()
    script(stubs / "geni-get", f"cat {MANIFEST}")
    config = "".join(
        f"Host node{index}\n  HostName 127.0.0.1\n  Port {port}\n"
        for index, port in enumerate(there.ports)
    )
    (stubs / "config").write_text(config)
    script(stubs / "ssh", f'exec {shutil.which("ssh")} -F {stubs}/config "$@"')
    for index in range(4):
        script(there.bin(index) / "getent", f'[ "$2" = node{index} ] && echo 127.0.0.{index + 2}')
    fake.environment = {"PATH": f"{stubs}:{os.environ['PATH']}"}
    port = adjacent_ports()
    done = fake.run("--no-plots", *there.options(), "--server-args", f"-port {port}")
    assert (done.returncode, done.stderr) == (0, "")
    assert (fake.latest / "kvsserver-node0.log").read_text().startswith(f"ready 127.0.0.2:{port}\n")
    assert (fake.latest / "kvsserver-node1.log").read_text().startswith(f"ready 127.0.0.3:{port}\n")
    assert (fake.latest / "client-node3" / "summary.json").exists()


def test_a_node_that_cannot_be_reached_is_named_before_anything_starts(
    fake: Launcher, nodes: Callable[[int], Nodes]
) -> None:
    there = nodes(1)
    there.ports.extend(local_ports(1))
    done = fake.run(*there.words())
    assert done.returncode == 1
    assert "node1 (client on " in done.stderr and "Connection refused" in done.stderr
    assert "ssh -A" in done.stderr and "node0" not in done.stderr
    assert not fake.logs.exists()


def test_another_architecture_is_refused(fake: Launcher, nodes: Callable[[int], Nodes]) -> None:
    there = nodes(2)
    script(there.bin(0) / "uname", "echo Linux riscv64")
    done = fake.run(*there.words())
    assert done.returncode == 1 and "is Linux riscv64, but the programs were built" in done.stderr
    assert not fake.logs.exists()


def test_a_remote_server_that_dies_is_named(fake: Launcher, nodes: Callable[[int], Nodes]) -> None:
    client_args = ("--client-args", "--until-lost 0")
    done = fake.run(*nodes(2).words(*client_args, server_args="--break late"))
    assert done.returncode == 1
    assert "localhost) ended with exit code 1; last lines of" in done.stderr
    assert "    panicked: the fake server was told to" in done.stderr
    assert fake.processes() == [] and left_behind(fake) == []


def test_ctrl_c_ends_remote_programs(fake: Launcher, nodes: Callable[[int], Nodes]) -> None:
    words = nodes(2).words("--client-args", "--hang")
    with fake.running(*words, until="1 s ") as launcher:
        started = fake.processes()
        assert len(started) == 2
        launcher.terminate()
        assert launcher.wait(timeout=60) == 130
        assert fake.processes() == [] and left_behind(fake) == []


def test_remote_programs_do_not_outlive_a_killed_launcher(
    fake: Launcher, nodes: Callable[[int], Nodes]
) -> None:
    words = nodes(2).words("--client-args", "--hang")
    with fake.running(*words, until="1 s ") as launcher:
        started = fake.processes()
        launcher.kill()
        assert all(wait_for_end(pid) for pid in started)
    for path in left_behind(fake):
        shutil.rmtree(path)


@pytest.mark.skipif(programs_absent(), reason=PROGRAMS_ABSENT)
def test_the_real_programs_over_ssh(tmp_path: Path, nodes: Callable[[int], Nodes]) -> None:
    real = Launcher(RELEASE, tmp_path / "logs")
    there = nodes(4)
    no_shared_directory(there.bin(3))
    done = real.run("2", "2", *there.words(*SHORT))
    assert done.returncode == 0, done.stdout + done.stderr
    summary = json.loads((real.latest / "summary.json").read_text())
    assert (summary["clients"], len(summary["per_server"])) == (2, 2)
    assert (real.latest / "client-node3" / "latency.hlog").stat().st_size > 0
    assert (real.latest / "server-node1.csv").stat().st_size > 0
    assert left_behind(real) == []
