"""Entry of `python3 -m launcher`, which run-cluster.sh starts."""

from __future__ import annotations

import os
import shlex
import signal
import sys

from launcher.arguments import USAGE, parse
from launcher.errors import LaunchError
from launcher.launch import find_hosts, run, warn

INTERRUPTED = 130


def main(argv: list[str]) -> int:
    signal.signal(signal.SIGINT, _interrupt)
    signal.signal(signal.SIGTERM, _interrupt)
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # nohup means it
        signal.signal(signal.SIGHUP, _interrupt)
    try:
        config = parse(argv)
        if config.help:
            print(USAGE, end="")
            return 0
        if config.list_nodes:
            for host in find_hosts(config):
                print(host.login)
            return 0
        return run(config, shlex.join(["./run-cluster.sh", *argv]))
    except LaunchError as error:
        warn(str(error))
        return error.exit_code
    except KeyboardInterrupt:
        warn("interrupted; everything that was started has been stopped")
        return INTERRUPTED
    except BrokenPipeError:
        # Nobody reads on: the run was stopped, and flushing at exit must not fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _interrupt(_number: int, _frame: object) -> None:
    """Unwinds the run once; a second signal must not cut its tidying up short."""
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
