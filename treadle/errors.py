"""The errors that Treadle raises on purpose: what is wrong, the value, and the way out.

One family, so that the command line prints one line and the API answers one kind of problem; knows nothing of either.
"""

from __future__ import annotations

from collections.abc import Iterable

LONGEST_WORD = 200


class TreadleError(Exception):
    """Something that a person can mend; the message says how.

    Attributes:
        exit_code: What the command line exits with.
        status: The HTTP status that the API answers.
        title: The short name of the kind of problem, the same for every occurrence (RFC 9457 `title`).
    """

    exit_code = 2
    status = 400
    title = "Bad request"


class BadProject(TreadleError):
    """A project file that cannot be read as one."""

    title = "Bad project file"


class BadData(TreadleError):
    """A table, a column or a value that cannot be used; nothing was written."""

    status = 422
    title = "Bad data"


class BrokenTable(BadData):
    """A table that validation refused: training on it would be worse than not training."""

    title = "Broken table"


class BrokenBundle(BadData):
    """A bundle that is not what was registered: it is not opened, and what served before goes on serving."""

    exit_code = 4
    title = "Broken bundle"


class Untrusted(BrokenBundle):
    """A bundle that nobody signed whom this installation trusts, or a key that others could have read."""

    title = "Untrusted bundle"


class NotFound(TreadleError):
    """A project, a model, a version or a prediction that is not there."""

    status = 404
    title = "Not found"


class Conflict(TreadleError):
    """Somebody else changed the thing first, or says otherwise of it."""

    exit_code = 3
    status = 409
    title = "Conflict"


class Unavailable(TreadleError):
    """A server that is down, a port that is taken, a disk that is full."""

    exit_code = 5
    status = 503
    title = "Unavailable"


def nearest(word: str, known: Iterable[str]) -> str:
    """Say ` Did you mean 'x'?` for the known word closest to `word`, or nothing.

    >>> nearest("chrun", ["age", "churned", "churn"])
    " Did you mean 'churn'?"
    >>> nearest("zzz", ["age"])
    ''
    """
    from difflib import get_close_matches

    if len(word) > LONGEST_WORD:  # a caller's, perhaps; comparing it would take long
        return ""
    best = get_close_matches(word, list(known), n=1)
    return f" Did you mean '{best[0]}'?" if best else ""
