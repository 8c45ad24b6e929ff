"""Entry of `python3 -m launcher`, which run-cluster.sh starts."""

from __future__ import annotations

import shlex
import signal
import sys

from launcher.arguments import USAGE, parse
from launcher.errors import LaunchError, reason
from launcher.launch import INTERRUPTED, find_hosts, run
from launcher.screen import say, warn


def main(argv: list[str]) -> int:
    signal.signal(signal.SIGINT, _interrupt)
    signal.signal(signal.SIGTERM, _interrupt)
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # nohup means it
        signal.signal(signal.SIGHUP, _interrupt)
    try:
        config = parse(argv)
        if config.help:
            say(USAGE.rstrip())
            return 0
        if config.list_nodes:
            for host in find_hosts(config):
                say(host.login)
            return 0
        return run(config, shlex.join(["./run-cluster.sh", *argv]))
    except LaunchError as error:
        warn(str(error))
        return error.exit_code
    except KeyboardInterrupt:
        warn("interrupted; everything that was started has been stopped")
        return INTERRUPTED
    except OSError as error:
        warn(reason(error))
        return 1


def _interrupt(_number: int, _frame: object) -> None:
    """Unwinds the run once; a second signal must not cut its tidying up short."""
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
