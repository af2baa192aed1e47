"""The text of tokens as they are drawn, piece by piece: no half characters, nothing of what stops it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

BROKEN = "\ufffd"
"""What half a character decodes to."""


def pieces(
    tokens: Iterator[int], write: Callable[[Sequence[int]], str], stops: Sequence[str]
) -> Iterator[tuple[str, int]]:
    """The text of tokens as it grows: no half characters, nothing of what stops it.

    Args:
        tokens: As they are drawn.
        write: Tokens as text.
        stops: Texts that end the answer and are not part of it.

    Yields:
        A piece of text, and how many tokens were drawn until then; the last is `""` when a stop ended it.
    """
    drawn: list[int] = []
    told = 0
    for token in tokens:
        drawn.append(token)
        text = write(drawn)
        found = [place for place in (text.find(stop) for stop in stops) if place >= 0]
        if found:
            if min(found) > told:
                yield text[told : min(found)], len(drawn)
            yield "", len(drawn)
            return
        sure = len(text) - held_back(text, stops)
        if sure > told:
            yield text[told:sure], len(drawn)
            told = sure
    text = write(drawn)
    if len(text) > told:
        yield text[told:], len(drawn)


def held_back(text: str, stops: Sequence[str]) -> int:
    """How many characters at the end may be half a character or the beginning of a stop.

    >>> held_back("one tw", ["two", "wool"])
    2
    >>> held_back("one", ["two"])
    0
    """
    whole = text.rstrip(BROKEN)
    sizes = (n for stop in stops for n in range(min(len(stop) - 1, len(whole)), 0, -1) if whole.endswith(stop[:n]))
    return len(text) - len(whole) + max(sizes, default=0)
