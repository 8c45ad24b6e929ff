"""Pure: the bash scripts that run on a node, handed to `bash -s` on its standard input.

Each is one function and a last line that calls it: bash has then read the whole script before
anything in it runs, and what follows on standard input is left to the script.
"""

from __future__ import annotations

import shlex

# Marks the lines that are answers: login scripts print lines of their own in front of them, and may
# leave the last one unended.
ANSWER = "batchkv-answer"
# Behind this line comes what the program prints.
OUTPUT = f"{ANSWER} output"
# Behind this line come the bytes of an archive, up to the end.
ARCHIVE = f"{ANSWER} archive"
# How long a program may take to end after SIGTERM, before SIGKILL; its drain limit is shorter.
KILL_AFTER_SECS = 15


def _script(body: str) -> str:
    return f"main() {{\n{body}\n}}\nmain; exit\n"


def run_program(command: tuple[str, ...], directory: str) -> str:
    """Runs a command and ends it when standard input ends, so it cannot outlive the launcher."""
    return _script(f"""\
  exec 3<&0
  cd {shlex.quote(directory)} || exit 1
  printf '\\n{OUTPUT}\\n'
  {shlex.join(command)} </dev/null 3<&- &
  program=$!
  (
    while read -r _ <&3; do :; done
    kill -TERM "$program"
    for _ in $(seq {KILL_AFTER_SECS * 10}); do
      kill -0 "$program" || exit
      sleep 0.1
    done
    kill -KILL "$program"
  ) >/dev/null 2>&1 &
  watcher=$!
  wait "$program"
  code=$?
  kill "$watcher"
  exit "$code\"""")


def survey(address_name: str, binary: str) -> str:
    """Answers with the node's system, data address, and the hash of the file at `binary`."""
    name, path = shlex.quote(address_name), shlex.quote(binary)
    return _script(f"""\
  answer() {{ printf '\\n{ANSWER} %s %s\\n' "$1" "$2"; }}
  answer system "$(uname -sm)"
  found=$(getent ahostsv4 {name} || getent ahosts {name})
  answer address "${{found%%[[:space:]]*}}"
  sum=$(sha256sum {path} 2>/dev/null)
  answer sha256 "${{sum%% *}}\"""")


def make_scratch(scratch: str, receive: tuple[str, int] | None) -> str:
    """Makes a node's own directory; `receive` (name, bytes) takes a program from the input."""
    quoted = shlex.quote(scratch)
    body = f"  mkdir -m 700 {quoted} && mkdir {quoted}/bin {quoted}/results || exit"
    if receive:
        name, size_bytes = receive
        target = shlex.quote(f"{scratch}/bin/{name}")
        body += f"\n  head -c {size_bytes} >{target} && chmod 755 {target} || exit"
    return _script(body)


def remove_scratch(scratch: str) -> str:
    return _script(f"  rm -rf -- {shlex.quote(scratch)}")


def check_program(binary: str) -> str:
    """Fails where the program does not run at all: another C library, a /tmp without execution."""
    return _script(f"  {shlex.quote(binary)} --help >/dev/null")


def free_port(address: str, ports: list[int]) -> str:
    """Answers with the first of `ports` that nothing listens on at `address`, if there is one."""
    candidates = " ".join(str(port) for port in ports)
    return _script(f"""\
  for port in {candidates}; do
    if ! (exec 3<>/dev/tcp/{address}/$port) 2>/dev/null; then
      printf '\\n{ANSWER} port %s\\n' "$port"
      exit 0
    fi
  done""")


def send_results(scratch: str) -> str:
    """Answers with the hash of each result file, then sends all of them as an archive."""
    return _script(f"""\
  cd {shlex.quote(scratch)}/results || exit
  sums=$(find . -type f -exec sha256sum {{}} +) || exit
  printf '\\n'
  while read -r sum name; do
    [ -z "$name" ] || printf '{ANSWER} %s %s\\n' "$name" "$sum"
  done <<<"$sums"
  printf '{ARCHIVE}\\n'
  tar -cf - .""")


def parse_results(sent: bytes) -> tuple[dict[str, str], bytes]:
    """What `send_results` sent: the SHA-256 of each file by its name, and the archive."""
    head, _, archive = sent.partition(f"\n{ARCHIVE}\n".encode())
    return answers(head.decode(errors="replace")), archive


def answers(output: str) -> dict[str, str]:
    """The answers in what a script printed."""
    words = (line.split(maxsplit=2) for line in output.splitlines())
    return {
        word[1]: word[2] if len(word) > 2 else ""
        for word in words
        if len(word) > 1 and word[0] == ANSWER
    }
