"""Where a text names a subject, in the forms in which pages, records and addresses write a value.

A value is named where it stands as a word of its own: 4711 in "user = 4711" and in "user-4711", not in the number 0.4711
nor in the hash 9f4711. Knows no table and no file.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import quote

ERASED = "(erased)"
NOTHING = r"(?!)"
"""A pattern that is nowhere."""
LEAST_CUT = 4
"""Signs of a value that was cut off with an ellipsis by which it is still known."""
MOST_CUT = 1000
"""Longer values are cut off before; see `treadle.alerting.alerts.clean`."""


class Mentions:
    """The mentions of one subject.

    Args:
        known: What stands for the subject: the value, and its pseudonym. One without a letter or digit is in no text.
    """

    def __init__(self, known: Iterable[str]) -> None:
        forms = {form for value in known if any(map(str.isalnum, value)) for form in _forms(value)}
        longest_first = sorted(forms, key=len, reverse=True)
        self._bytes = [form.encode("utf-8", "surrogatepass") for form in longest_first]
        self._whole = re.compile("|".join(map(_as_word, longest_first)) or NOTHING)
        self._cut = {form[:most] for form in longest_first for most in range(LEAST_CUT, min(len(form), MOST_CUT))}

    def inside(self, text: str) -> bool:
        """Whether a text names the subject."""
        return self.without(text) != text

    def without(self, text: str) -> str:
        """The text with `ERASED` for each mention.

        >>> Mentions(["4711"]).without("the loss where user = 4711 is 4.4711 times; user-4711, 94711")
        'the loss where user = (erased) is 4.4711 times; user-(erased), 94711'
        """
        return self._without_cut(self._whole.sub(ERASED, text))

    def without_in(self, data: Any) -> Any:
        """Plain data, as JSON holds it, with `without` of every text and key; numbers stay."""
        if isinstance(data, str):
            return self.without(data)
        if isinstance(data, list):
            return [self.without_in(part) for part in data]
        if isinstance(data, dict):
            return {self.without(key): self.without_in(part) for key, part in data.items()}
        return data

    def within(self, content: bytes) -> bool:
        """Whether a file names the subject: by words in a text, by bytes in anything else."""
        try:
            return self.inside(content.decode())
        except UnicodeDecodeError:
            return any(form in content for form in self._bytes)

    def _without_cut(self, text: str) -> str:
        """The text without what is left of a value that was too long for it."""
        *parts, last = text.split("…")
        return "".join(f"{self._without_end(part)}…" for part in parts) + last

    def _without_end(self, text: str) -> str:
        longest = min(len(text), MOST_CUT)
        for begin in range(len(text) - longest, len(text) - LEAST_CUT + 1):
            is_word = begin == 0 or not (text[begin - 1].isalnum() or text[begin - 1] == "_")
            if is_word and text[begin:] in self._cut:
                return text[:begin] + ERASED
        return text


def _as_word(form: str) -> str:
    """A pattern of a form that is no part of a longer word, nor of a number with a fraction."""
    before = r"(?<!\w)(?<!\d[.,])" if form[0].isdigit() else r"(?<!\w)"
    after = r"(?!\w)(?![.,]\d)" if form[-1].isdigit() else r"(?!\w)"
    return f"{before}{re.escape(form)}{after}"


def _forms(value: str) -> Iterator[str]:
    """A value as it is, on one line, and as HTML, JSON and addresses write it; a whole number also with its fraction."""
    if value.isdigit():
        yield f"{value}.0"
    line = " ".join("".join(sign if sign.isprintable() else " " for sign in value).split())
    for text in (value, line):
        yield text
        yield html.escape(text)
        yield html.escape(text, quote=False)
        yield html.escape(text).replace("&#x27;", "&#39;")
        yield json.dumps(text)[1:-1]
        yield json.dumps(text, ensure_ascii=False)[1:-1]
        yield quote(text.encode("utf-8", "surrogatepass"), safe="")
