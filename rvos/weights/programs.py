"""Models that other programs fetch: run, and then looked for.

These programs print instead of failing: behind a proxy `benepar.download` (nltk) returns False, and
Python ends with status 0.
"""

import shlex
import subprocess
import sys

from rvos.errors import InputError
from rvos.weights.table import Weight


def run_command(weight: Weight) -> None:
    """Run `weight.command` and check what it has brought.

    Raises InputError with what the program printed, and what to do, where the model is not there.
    """
    assert weight.command
    done = _python(weight.command)
    if is_installed(weight):
        return
    output = " ".join((done.stdout + done.stderr).split())[-600:] or "nothing"
    raise InputError(
        f"{weight.name}: `{weight.command}` brought nothing; it said: {output}. Behind "
        "a proxy set HTTPS_PROXY and try again. Or fetch the archive with a browser "
        f"({weight.by_hand}), unpack it, and give its folder as masklets.noun.model"
    )


def is_installed(weight: Weight) -> bool:
    """Whether `weight.check` ends well."""
    assert weight.check
    return _python(weight.check).returncode == 0


def _python(command: str) -> subprocess.CompletedProcess[str]:
    """`python ...` by this interpreter."""
    words = [sys.executable, *shlex.split(command)[1:]]
    return subprocess.run(words, text=True, capture_output=True)
