"""Every command in README.md, ARCHITECTURE.md and the texts of --help is one that works.

Commands are taken out of the documents, and each is run with its addresses, counts and times replaced
by small ones that are to be had here; the flags stay. One that this test does not know fails it.
"""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support import CHECKOUT, PROGRAMS_ABSENT, RELEASE, RUN_SECS_MAX, programs_absent

from launcher.survey import local_ports

pytestmark = pytest.mark.skipif(programs_absent(), reason=PROGRAMS_ABSENT)

DOCUMENTS = ("README.md", "ARCHITECTURE.md")
STARTS = ("./run-cluster.sh", "./run-study.sh", "./test.sh", "cargo ", "target/release/", "bench/")
STARTS += (".venv/bin/python ", "batchkv-client ", "batchkv-server ")
# The addresses in the documents.
SERVERS = ("10.10.1.1:8080", "10.10.1.2:8080", "10.10.1.3:8080")
# Small values for a run that takes seconds; of a flag given twice the last counts.
SMALL = "--secs 1 --warmup-secs 0 --records 1000 --tasks 2 --batch-size 64"


def commands() -> list[str]:
    """The commands of the documents' code blocks and code words, each once."""
    found: list[str] = []
    for name in DOCUMENTS:
        text = (CHECKOUT / name).read_text(encoding="utf-8")
        blocks = [line.strip() for line in text.splitlines() if line.startswith("    ")]
        spans = [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", text)]
        for candidate in blocks + spans:
            command = re.sub(r"\s{2,}#.*| +# .*", "", candidate).strip()
            if command.startswith(STARTS) and (" " in command or command.startswith("./")):
                found.append(command)
    return list(dict.fromkeys(found))


def run(*words: object, code: int = 0, cwd: Path = CHECKOUT) -> str:
    done = subprocess.run(
        [str(word) for word in words],
        capture_output=True,
        text=True,
        errors="replace",  # values are bytes
        timeout=RUN_SECS_MAX,
        check=False,
        cwd=cwd,
    )
    assert done.returncode == code, f"{words}: {done.stdout}{done.stderr}"
    return done.stdout


@contextmanager
def servers(lines: list[str], ports: list[int]) -> Iterator[None]:
    """Servers started by the documents' own lines, on ports of loopback."""
    processes = []
    try:
        for line, port in zip(lines, ports, strict=True):
            words = [_here(word, ports) for word in shlex.split(line)]
            process = subprocess.Popen(
                words, cwd=CHECKOUT, stdout=subprocess.PIPE, text=True
            )
            processes.append(process)
            assert process.stdout.readline() == f"ready 127.0.0.1:{port}\n"
        yield
    finally:
        for process in processes:
            process.terminate()
            process.communicate(timeout=RUN_SECS_MAX)


def _here(word: str, ports: list[int]) -> str:
    for address, port in zip(SERVERS, ports):
        word = word.replace(address, f"127.0.0.1:{port}")
    return word


def cluster(command: str, tmp_path: Path) -> None:
    """A run of the documents, as it was typed, but with the programs that are built, and small."""
    words = shlex.split(command)[1:]
    if "--hosts-file" in words:
        hosts = tmp_path / "nodes"
        hosts.write_text("a\nb\n")
        run("./run-cluster.sh", "--hosts-file", hosts, "--list-nodes")
        return
    # Of the counts nothing is left out but that the machine at hand is small.
    words = ["1" if re.fullmatch(r"\d", word) else word for word in words]
    fixed = ("--local", "--no-plots", "--bin-dir", str(RELEASE), "--logs", str(tmp_path / "logs"))
    run("./run-cluster.sh", *words, *fixed, *SMALL.split())


def study(command: str, tmp_path: Path) -> None:
    """The plan of a study: all its flags are read, and nothing is run."""
    words = shlex.split(command)[1:]
    (tmp_path / "study.toml").write_text("[axes]\ntasks = [1, 2]\n")
    (tmp_path / "nodes").write_text("a\nb\n")
    if words[0] == "report":
        run(RELEASE / "batchkv-study", *words, "--studies", tmp_path, code=1)
        return
    dry = ("--dry-run", "--launcher", CHECKOUT / "run-cluster.sh")
    said = run(RELEASE / "batchkv-study", words[0], *dry, *words[1:], cwd=tmp_path)
    assert said.startswith("./run-cluster.sh ")


def program(command: str, tmp_path: Path) -> None:
    """A command line of the programs: read, checked, and nothing else."""
    words = shlex.split(command)
    run(RELEASE / Path(words[0]).name, *words[1:], *(() if "--help" in words else ("--check",)))


def ignored(_command: str, _tmp_path: Path) -> None:
    """Run by this test's own caller, or by another test."""


# What becomes of each command: the longest beginning that fits decides.
KNOWN = {
    "./run-cluster.sh": cluster,
    "./run-study.sh": study,
    "./test.sh": lambda *_: run("./test.sh", "--help"),
    "cargo build --release --workspace": ignored,  # made the programs that are run here
    "target/release/batchkv-server": ignored,  # test_servers_by_hand, test_a_cluster_by_hand
    "target/release/batchkv-client --hosts": ignored,  # the same
    "target/release/batchkv-bench ceilings": lambda *_: run(RELEASE / "batchkv-bench", "--help"),
    "batchkv-client verify-workload": lambda *_: run(
        RELEASE / "batchkv-client", "verify-workload", "--records", "1000"
    ),
    "batchkv-client rules": lambda *_: run(RELEASE / "batchkv-client", "rules"),
    "batchkv-client --help": program,
    "batchkv-server --help": program,
    "bench/against-redis.sh": lambda *_: run("bench/against-redis.sh", "--help"),
    ".venv/bin/python -m plots.report": lambda *_: run(
        ".venv/bin/python", "-m", "plots.report", "--help"
    ),
}


@pytest.mark.parametrize("command", commands())
def test_a_command_of_the_documents_works(command: str, tmp_path: Path) -> None:
    known = [start for start in KNOWN if command.startswith(start)]
    assert known, f"no test runs {command!r}: add it to KNOWN"
    KNOWN[max(known, key=len)](command, tmp_path)


def test_the_documents_have_commands() -> None:
    assert len(commands()) > 15


def test_servers_by_hand(tmp_path: Path) -> None:
    """The section of README that starts two servers and asks them, line by line."""
    of_servers = by_hand("batchkv-server", lambda line: "--cluster" not in line)
    of_clients = by_hand("batchkv-client", lambda line: ",".join(SERVERS[:2]) in line)
    ports = local_ports(2)
    with servers(of_servers, ports):
        for line in of_clients:
            words = [_here(word, ports) for word in shlex.split(line)]
            if "--output" in words:
                words[words.index("--output") + 1] = str(tmp_path / "results")
                words += SMALL.split()
            run(*words)
    assert (tmp_path / "results" / "summary.json").exists()


def test_a_cluster_by_hand() -> None:
    """The section of README that starts a cluster, puts at one server and gets at another."""
    of_servers = by_hand("batchkv-server", lambda line: "--cluster" in line)
    of_clients = by_hand("batchkv-client", lambda line: ",".join(SERVERS[:2]) not in line)
    ports = local_ports(3)
    with servers(of_servers, ports):
        said = [run(*(_here(word, ports) for word in shlex.split(line))) for line in of_clients]
    assert said == ["stored\n", "seventeen\n"]


def by_hand(program_name: str, is_meant: Callable[[str], bool]) -> list[str]:
    """The documents' lines of a program as it is built, in their order."""
    lines = [line for line in commands() if line.startswith(f"target/release/{program_name}")]
    return [line for line in lines if is_meant(line)]


@pytest.mark.parametrize("order", ["{flag} get 7", "get 7 {flag}", "get {flag} 7"])
def test_flags_may_stand_before_a_subcommand_or_behind_it(order: str) -> None:
    (port,) = local_ports(1)
    server = f"target/release/batchkv-server --listen 127.0.0.1:{port}"
    with servers([server], [port]):
        flag = f"--hosts 127.0.0.1:{port}"
        client = RELEASE / "batchkv-client"
        run(client, "put", "7", "seven", *flag.split())
        assert run(client, *order.format(flag=flag).split()) == "seven\n"


def test_commands_within_help_work(tmp_path: Path) -> None:
    """`batchkv-client --help explains them` in the launcher's, and the example of the study's."""
    said = run("./run-cluster.sh", "--help")
    assert re.findall(r"(batchkv-\w+ --\w+) explains", said) == ["batchkv-client --help"]
    program("batchkv-client --help", tmp_path)
    said = run(RELEASE / "batchkv-study", "--help")
    (example,) = re.findall(r"Any grid: (.*)", said)
    study(f"./run-study.sh {example}", tmp_path)
