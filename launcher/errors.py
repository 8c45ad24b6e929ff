"""Why a run cannot go on."""


class LaunchError(Exception):
    """A run that failed; the text is the whole message for the user."""

    exit_code = 1


class UsageError(LaunchError):
    """What was typed cannot be done: names the flag, its value and what is allowed."""

    exit_code = 2
