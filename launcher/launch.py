"""One run, from Config to exit code: build, survey, start, watch, stop, gather, merge, draw."""

from __future__ import annotations

import resource
import secrets
import shutil
import time
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from launcher import results, scripts, survey, tools
from launcher.arguments import Config
from launcher.errors import LaunchError, UsageError
from launcher.nodes import Host, Node, assign_roles, discover_cloudlab, parse_hosts_file
from launcher.plan import CLIENT_BINARY, SERVER_BINARY, Plan, Site, make_plan, server_ports
from launcher.record import Record, write_whole
from launcher.screen import say, warn
from launcher.shell import Shell, attempt_on_all, on_all, shell_for
from launcher.supervisor import Exit, Line, NodeFailed, Supervisor
from launcher.survey import Programs, Survey

# What shells give for SIGINT.
INTERRUPTED = 130
READY_SECS = 30
# Pipes and processes of a node, and what Python and the build hold.
FILES_PER_NODE = 8
FILES_BESIDE_NODES = 64
FILES_MAX = 1 << 16
# How long the other clients may take to write their results once one program has failed.
GRACE_SECS = 10


@dataclass
class Progress:
    """How far a run has come; what its tidying up depends on."""

    # Something was started, so that nodes may hold results that are nowhere else.
    started: bool = False
    # Nodes whose results were brought home whole.
    gathered: set[Node] = field(default_factory=set)
    interrupt: KeyboardInterrupt | None = None


def run(config: Config, command: str) -> int:
    """Does the whole run; its exit code. Raises LaunchError where it could not be done.

    `command` is what was typed; it is kept with the results, so that the run can be repeated.
    """
    results.check_logs(config.logs)
    nodes = choose_nodes(config)
    fit_open_files(len(nodes))
    programs, python = prepare(config)
    shells = [shell_for(node, config.ssh_options) for node in nodes]
    surveys = survey.survey_all(shells, programs)
    run_dir = results.make_run_dir(config.logs, datetime.now())
    record = Record(run_dir, command, nodes)
    code = 1
    try:
        write_whole(run_dir / "command.txt", command + "\n")
        record.write()
        code = measure_and_conclude(config, surveys, programs, python, record)
    except LaunchError as error:
        record.failures.append(error)
        code = error.exit_code
        raise
    except KeyboardInterrupt:
        record.interrupted = True
        code = INTERRUPTED
        raise
    finally:
        keep(record, code)
    return code


def keep(record: Record, code: int) -> None:
    """Writes how the run ended; that this cannot be written does not change it."""
    try:
        record.write(code)
    except LaunchError as error:
        warn(f"how the run ended is not kept: {error}")


def measure_and_conclude(
    config: Config,
    surveys: list[Survey],
    programs: Programs,
    python: Path | None,
    record: Record,
) -> int:
    run_dir = record.run_dir
    progress = Progress()
    scratch = f"/tmp/batchkv-{run_dir.name}-{secrets.token_hex(4)}"
    shells = [survey.shell for survey in surveys]
    try:
        sites = survey.place_all(surveys, programs, run_dir, scratch)
        progress.started = True
        try:
            record.failures += start_and_watch(config, shells, sites, record)
        except LaunchError as error:
            record.failures.append(error)
        except KeyboardInterrupt as signal:
            progress.interrupt = signal
        record.failures += gather_all(shells, scratch, run_dir, progress)
    finally:
        clean_up(shells, scratch, progress)
    for failure in record.failures:
        warn(f"FAILED: {failure}")
    code = max((failure.exit_code for failure in record.failures), default=0)
    if results.any_client(run_dir) or not (code or progress.interrupt):
        concluded = conclude(programs.directory / CLIENT_BINARY, python, run_dir, config.strict)
        code = code or concluded
    if progress.interrupt:
        raise progress.interrupt
    return code


def fit_open_files(nodes: int) -> None:
    """Raises the soft limit of open files; a LaunchError where even the hard one is too low."""
    needed = FILES_BESIDE_NODES + FILES_PER_NODE * nodes
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = FILES_MAX if hard == resource.RLIM_INFINITY else min(hard, FILES_MAX)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise LaunchError(
            f"{nodes} nodes need {needed} open files here, but {hard} are allowed: "
            f"raise the hard limit (`ulimit -Hn`), or take fewer nodes"
        )


def find_hosts(config: Config) -> list[Host]:
    """The machines at hand; none where all programs run on this one."""
    if config.hosts_file:
        return parse_hosts_file(config.hosts_file)
    hosts = [] if config.local else discover_cloudlab()
    return hosts if len(hosts) != 1 else []  # an experiment of one node: it is this machine


def choose_nodes(config: Config) -> list[Node]:
    hosts = find_hosts(config)
    nodes = assign_roles(hosts, config.servers, config.clients)
    if hosts and shutil.which("ssh") is None:
        raise LaunchError("ssh is missing: sudo apt-get install openssh-client")
    return nodes


def prepare(config: Config) -> tuple[Programs, Path | None]:
    """The programs, and the Python that can draw, if there is one."""
    if config.bin_dir:
        directory = config.bin_dir.resolve()
        for name in (SERVER_BINARY, CLIENT_BINARY):
            if not (directory / name).is_file():
                raise UsageError(f"--bin-dir {config.bin_dir} holds no {name}")
    else:
        tools.check_tools()
        directory = tools.build()
    tools.check_flags(directory / SERVER_BINARY, config.server_args)
    tools.check_flags(directory / CLIENT_BINARY, config.client_args)
    python = None
    if config.plots:
        try:
            python = tools.ensure_venv(tools.PLOT_REQUIREMENTS)
        except LaunchError as error:
            warn(f"there will be no plots: {error}")
    return Programs(directory), python


def start_and_watch(
    config: Config, shells: list[Shell], sites: list[Site], record: Record
) -> list[NodeFailed]:
    """Runs the benchmark; which nodes failed on the way. Leaves no process behind."""
    run_dir = record.run_dir
    plan = make_plan(config, sites, *choose_ports(config, shells, sites))
    shell_of = {shell.node: shell for shell in shells}
    announce(plan, run_dir)
    supervisor = Supervisor(run_dir)
    try:
        for program in plan.servers:
            supervisor.start(shell_of[program.node], program)
        await_ready(supervisor, [program.node for program in plan.servers])
        for program in plan.clients:
            supervisor.start(shell_of[program.node], program)
        return watch(supervisor, plan)
    finally:
        supervisor.stop_all()
        record.exit_codes.update(supervisor.exit_codes())
        for fault in supervisor.log_faults():
            warn(fault)


def choose_ports(config: Config, shells: list[Shell], sites: list[Site]) -> tuple[list[int], int]:
    """A port for each server, checked to be free, and one for the clients' barrier."""
    pairs = list(zip(shells, sites, strict=True))
    servers = [(shell, site) for shell, site in pairs if site.node.role == "server"]
    client_shell, client_site = next(pair for pair in pairs if pair[1].node.role == "client")
    if config.server_port is None and servers[0][1].node.host is None:
        ports = survey.local_ports(len(servers))
    else:
        ports = server_ports([site.address for _, site in servers], config.server_port)
    for (shell, site), port in zip(servers, ports, strict=True):
        survey.check_server_port(shell, site.address, port)
    return ports, survey.barrier_port(client_shell, client_site.address)


def announce(plan: Plan, run_dir: Path) -> None:
    first = plan.servers[0].node
    where = "on this machine" if first.host is None else "over ssh"
    counts = f"{len(plan.servers)} server(s) and {len(plan.clients)} client(s)"
    say(f"{counts} {where}; files: {run_dir}")
    if len(plan.clients) > 1:
        say(f"lines of {plan.clients[0].node.name}, one of {len(plan.clients)} clients:")


def await_ready(supervisor: Supervisor, servers: list[Node]) -> None:
    """Waits for every server's `ready ADDRESS`."""
    waiting = dict.fromkeys(servers)
    deadline = time.monotonic() + READY_SECS
    while waiting:
        event = supervisor.next_event(deadline)
        if event is None:
            node = next(iter(waiting))
            raise supervisor.failure(node, f"was not ready within {READY_SECS} s")
        if isinstance(event, Exit):
            what = f"ended with exit code {event.code} before it was ready"
            raise supervisor.failure(event.node, what, exit_code(event.code))
        if event.text.startswith("ready "):
            waiting.pop(event.node, None)


def watch(supervisor: Supervisor, plan: Plan) -> list[NodeFailed]:
    """Shows the first client's progress until all clients ended, then ends the servers.

    A blank line ends the progress; behind it comes that client's own summary, which the merged one
    says better.
    """
    shown: Node | None = plan.clients[0].node
    servers = {program.node for program in plan.servers}
    waiting = {program.node for program in plan.clients}
    failures: list[NodeFailed] = []
    deadline: float | None = None
    while waiting and (event := supervisor.next_event(deadline)):
        if isinstance(event, Line):
            if event.node == shown and event.text:
                say(event.text)
            elif event.node == shown:
                shown = None
            continue
        waiting.discard(event.node)
        if event.node in servers or event.code != 0:
            failures.append(ended_badly(supervisor, event.node, event.code))
            deadline = deadline or time.monotonic() + GRACE_SECS
    silent = f"did not end within {GRACE_SECS} s of another's failure"
    failures += [supervisor.failure(node, silent) for node in waiting]
    codes = supervisor.stop([program.node for program in plan.servers])
    known = {failure.node for failure in failures}
    failures += [
        ended_badly(supervisor, node, code)
        for node, code in codes.items()
        if code != 0 and node not in known
    ]
    # Servers come first: when one dies, the clients fail because of it.
    return sorted(failures, key=lambda failure: failure.node.index)


def ended_badly(supervisor: Supervisor, node: Node, code: int | None) -> NodeFailed:
    if code is None:
        return supervisor.failure(node, "did not stop when asked to")
    return supervisor.failure(node, f"ended with exit code {code}", exit_code(code))


def exit_code(code: int) -> int:
    """The run's exit code for a program's: wrong usage stays that, all else is 1."""
    return 2 if code == 2 else 1


def gather_all(
    shells: list[Shell], scratch: str, run_dir: Path, progress: Progress
) -> list[LaunchError]:
    """Brings the nodes' results home; which nodes' could not be brought."""

    def gather(shell: Shell) -> None:
        results.gather(shell, survey.node_scratch(scratch, shell.node), run_dir)
        progress.gathered.add(shell.node)

    remote = [shell for shell in shells if shell.node.host]
    outcomes = attempt_on_all(remote, gather)
    return [outcome for outcome in outcomes if isinstance(outcome, LaunchError)]


def clean_up(shells: list[Shell], scratch: str, progress: Progress) -> None:
    """Removes the nodes' own directories, but for results that were not brought home."""
    remote = [shell for shell in shells if shell.node.host]
    done = [shell for shell in remote if not progress.started or shell.node in progress.gathered]
    try:
        on_all(
            done,
            lambda shell: shell.run(
                scripts.remove_scratch(survey.node_scratch(scratch, shell.node))
            ),
        )
    except LaunchError as error:
        warn(f"files may be left in {scratch}-node*: {error}")
    for shell in remote:
        if shell not in done:
            place = f"{survey.node_scratch(scratch, shell.node)}/results"
            warn(f"{shell.node.label}: its results were not brought home; they are kept in {place}")


def conclude(client: Path, python: Path | None, run_dir: Path, strict: bool) -> int:
    """Merges, draws and prints the closing lines; the run's exit code."""
    code = results.merge(client, run_dir, strict)
    summary = run_dir / "summary.json"
    if python and summary.exists():
        if results.draw(python, tools.CHECKOUT, run_dir):
            say(f"report      {run_dir / 'report.html'}")
        else:
            warn("the report could not be made: see above; the figures stand")
    for line in results.closing_lines(summary):
        say(line)
    return code
