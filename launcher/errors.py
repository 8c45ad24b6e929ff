"""Why a run cannot go on."""

from __future__ import annotations


class LaunchError(Exception):
    """A run that failed; the text is the whole message for the user."""

    exit_code = 1


class UsageError(LaunchError):
    """What was typed cannot be done: names the flag, its value and what is allowed."""

    exit_code = 2


def reason(error: OSError) -> str:
    """What the system said, with the file that it said it of."""
    words = error.strerror or str(error)
    return f"{error.filename}: {words}" if error.filename else words
