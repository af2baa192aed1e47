"""Ready models on the command line: list them, have them answer texts, files and folders."""

from __future__ import annotations

import json
import sys
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import msgspec

from console.keys import whoami
from console.output import give, pairs, table
from console.progress import say
from treadle.capabilities import CAPABILITIES, Capability, load_capability
from treadle.capabilities.boxes import draw
from treadle.capabilities.catalog import Entry, entries_of
from treadle.capabilities.limits import BadInput
from treadle.capabilities.pool import Done, Pool
from treadle.capabilities.protocol import MEDIA
from treadle.capabilities.sources import as_it_is_now, is_installed
from treadle.errors import BadData, TreadleError
from treadle.ledger import ANSWERED, Ledger, ReadyCall, ReadyCalls
from treadle.settings import Settings

ENDINGS = {
    "image": (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff"),
    "sound": (".wav", ".flac", ".ogg", ".mp3", ".aiff"),
    "video": (".mp4", ".mov", ".mkv", ".webm", ".avi"),
    "text": (".txt", ".md"),
    "chat": (".txt", ".md"),
}
SHOWN = 8
"""Numbers of a vector that a person is shown."""


@dataclass(frozen=True)
class Given:
    """One input: what it is called, and what it is."""

    name: str
    value: Any


def listing(settings: Settings) -> list[dict[str, Any]]:
    """Every capability and each of its models."""
    return [
        {
            "capability": name,
            "model": entry.model,
            "version": entry.version,
            "source": entry.source.kind,
            "licence": entry.licence,
            "size_mb": round(entry.size_bytes / 1e6, 1),
            "quality": [figure.model_dump() for figure in entry.quality],
            "weak": entry.weak,
            "research_only": entry.research_only,
            "installed": is_installed(entry, settings),
            "note": entry.note,
        }
        for name in CAPABILITIES
        for entry in (as_it_is_now(entry, settings) for entry in entries_of(name, settings))
    ]


def listed(rows: list[dict[str, Any]]) -> str:
    """The list as a table."""
    marks = [
        row
        | {
            "installed": "yes" if row["installed"] else "no",
            "size": f"{row['size_mb']:.{0 if row['size_mb'] >= 10 else 1}f} MB",
            "quality": _headlines(row["quality"]),
            "source": f"yours, version {row['version']}" if row["source"] == "yours" else row["source"],
            "remarks": ", ".join(word for word in ("weak", "research_only") if row[word]) or None,
        }
        for row in rows
    ]
    return table(marks, ["capability", "model", "installed", "licence", "size", "source", "quality", "remarks"])


def _headlines(figures: list[dict[str, Any]]) -> dict[str, float]:
    """The first figure of each metric: those that follow are of other, mostly harder or narrower, conditions."""
    found: dict[str, float] = {}
    for figure in figures:
        found.setdefault(figure["metric"], figure["value"])
    return found


def watched(said: dict[str, Any]) -> str:
    """Looks at the calls of ready models, for a person."""
    if not said["looks"]:
        return "No ready model has answered yet."
    return table(said["looks"], ["capability", "model", "version", "calls", "verdict", "reason"])


def run(
    settings: Settings, name: str, words: list[str], model: str | None, given: list[str], out: Path, answer: TextIO, as_json: bool
) -> None:  # fmt: skip
    """Answer every input; folders as JSON Lines, others as tables, all of it as one object with `as_json`.

    Raises:
        TreadleError: There is no input, no model, or one input that cannot be answered.
    """
    capability = load_capability(name)
    parameters = _parameters(given)
    has_folder = any(_is(word, Path.is_dir) for word in words)
    pool = Pool(settings)
    calls = ReadyCalls(Ledger.open(settings))
    try:
        if has_folder:
            rows = _lines(pool, calls, capability, words, model, parameters)
            if as_json:
                give(answer, {"capability": name, "answers": list(rows)}, True, pairs)
                return
            for row in rows:
                answer.write(json.dumps(row, ensure_ascii=False) + "\n")
                answer.flush()
            return
        _few(pool, calls, capability, words, model, parameters, out, answer, as_json)
    finally:
        pool.stop()


def _few(
    pool: Pool, calls: ReadyCalls, capability: Capability, words: list[str], model: str | None,
    parameters: dict[str, Any], out: Path, answer: TextIO, as_json: bool,
) -> None:  # fmt: skip
    """Inputs named one by one: the first that cannot be answered ends the command."""
    inputs = list(_given(capability, words))
    if capability.Piece is not None and len(inputs) == 1 and not as_json:
        _stream(pool, calls, capability, inputs[0], model, parameters, answer)
        return
    entry, done = answer_some(pool, calls, capability, [one.value for one in inputs], model, parameters)
    answers = msgspec.msgpack.decode(done.answers)
    typed = msgspec.msgpack.decode(done.answers, type=list[capability.Answer])
    pictures = [_annotate(pool, capability, one, found, out) for one, found in zip(inputs, typed, strict=True)]
    named = {"capability": capability.name, "model": entry.model, "version": entry.version, "licence": entry.licence}
    cost = {"weak": entry.weak, "seconds": round(done.seconds, 3), "cpu_seconds": round(done.cpu_seconds, 3)}
    rows = [
        {"input": one.name} | found | ({"picture": picture} if picture else {})
        for one, found, picture in zip(inputs, answers, pictures, strict=True)
    ]
    give(answer, named | cost | {"answers": rows}, as_json, shown)


def _lines(
    pool: Pool, calls: ReadyCalls, capability: Capability, words: list[str], model: str | None, parameters: dict[str, Any]
) -> Iterator[dict[str, Any]]:  # fmt: skip
    """A folder's files one after the other; one that cannot be answered says why, and the others go on."""
    paths = [path for word in words for path in _files(capability, Path(word))]
    if not paths:
        raise BadData(f"There is no file to read; {', '.join(_endings(capability))} are.")
    for number, path in enumerate(paths, 1):
        say(f"{number} of {len(paths)}  {path}")
        try:
            one = _read(capability, path)
            entry, done = answer_some(pool, calls, capability, [one.value], model, parameters)
        except BadInput as error:
            yield {"input": str(path), "error": str(error)}
            continue
        except TreadleError as error:
            if error.status < 500:
                yield {"input": str(path), "error": str(error)}
                continue
            raise
        yield {"input": str(path), "model": entry.model} | msgspec.msgpack.decode(done.answers)[0]


def answer_some(
    pool: Pool, calls: ReadyCalls, capability: Capability, inputs: list[Any], model: str | None, parameters: dict[str, Any]
) -> tuple[Entry, Done]:  # fmt: skip
    """Have inputs answered; the call is in the ledger before this returns.

    Raises:
        TreadleError: There is no answer.
    """
    entry, answering = pool.ask(capability.name, inputs, parameters, model=model)
    done = answering.result()
    keep_call(calls, capability.name, done, len(inputs))
    return entry, done


def _stream(
    pool: Pool, calls: ReadyCalls, capability: Capability, one: Given, model: str | None, parameters: dict[str, Any],
    answer: TextIO,
) -> None:  # fmt: skip
    """Write an answer as it comes."""

    def write(piece: bytes) -> None:
        answer.write(msgspec.msgpack.decode(piece)["text"])
        answer.flush()

    entry, answering = pool.ask(capability.name, [one.value], parameters, model=model, on_piece=write)
    done = answering.result()
    answer.write("\n")
    keep_call(calls, capability.name, done, 1)
    say(f"{entry.model} {entry.version} ({entry.licence}), {done.seconds:.1f} s")


def keep_call(calls: ReadyCalls, capability: str, done: Done, inputs: int) -> None:
    """Write down a call of this command line's that was answered."""
    entry = done.entry
    calls.add(
        ReadyCall(
            uuid.uuid4().hex, capability, entry.model, entry.version, None, whoami(), "cli", ANSWERED, inputs,
            done.cpu_seconds, done.seconds, done.confidence, done.facts,
        )
    )  # fmt: skip


def _given(capability: Capability, words: list[str]) -> Iterator[Given]:
    """The inputs of a command: one a word, or one of several fields."""
    takes = capability.takes
    if isinstance(takes, str):
        yield from (_one(takes, word) for word in words)
        return
    if len(words) != len(takes):
        raise BadData(f"{capability.name} takes {len(takes)} inputs: {', '.join(takes)}.")
    fields = {name: _one(kind, word) for (name, kind), word in zip(takes.items(), words, strict=True)}
    yield Given(" ".join(one.name for one in fields.values()), {name: one.value for name, one in fields.items()})


def _one(kind: str, word: str) -> Given:
    if word == "-":
        content = sys.stdin.buffer.read()
        return Given("-", content if kind in MEDIA else _text(content, "standard input"))
    path = Path(word)
    is_file = _is(word, Path.is_file)
    if kind in MEDIA:
        if not is_file:
            raise BadData(f"There is no file '{word}'.")
        return Given(word, path.read_bytes())
    return Given(word, _text(path.read_bytes(), word)) if is_file else Given(word, word)


def _is(word: str, what: Callable[[Path], bool]) -> bool:
    """Whether a word is a path to something; a text may be too long to be one."""
    try:
        return word != "-" and what(Path(word))
    except OSError:
        return False


def _read(capability: Capability, path: Path) -> Given:
    content = path.read_bytes()
    return Given(str(path), content if capability.takes in MEDIA else _text(content, str(path)))


def _text(content: bytes, name: str) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise BadInput(f"{name} is not UTF-8.") from None


def _files(capability: Capability, place: Path) -> list[Path]:
    if not isinstance(capability.takes, str):
        raise BadData(f"{capability.name} takes several inputs at once; a folder cannot be read for it.")
    if place.is_file():
        return [place]
    endings = _endings(capability)
    return sorted(path for path in place.rglob("*") if path.suffix.lower() in endings and path.is_file())


def _endings(capability: Capability) -> tuple[str, ...]:
    return ENDINGS[capability.takes] if isinstance(capability.takes, str) else ()


def _parameters(given: list[str]) -> dict[str, Any]:
    """`name=value` pairs; a value that is JSON is taken as such.

    >>> _parameters(["top_k=3", 'items=["a", "b"]', "language=de"])
    {'top_k': 3, 'items': ['a', 'b'], 'language': 'de'}
    """
    found: dict[str, Any] = {}
    for pair in given:
        name, equals, value = pair.partition("=")
        if not equals:
            raise BadData(f"'{pair}' is not name=value. (--set)")
        try:
            found[name] = json.loads(value)
        except ValueError:
            found[name] = value
    return found


def _annotate(pool: Pool, capability: Capability, one: Given, found: Any, out: Path) -> str | None:
    """The picture with what was found on it, beside the others in `out`; `None` where there is nothing to show."""
    marks = capability.marks(found)
    if not marks or not isinstance(one.value, bytes):
        return None
    stem = "picture" if one.name == "-" else Path(one.name).stem
    path = out / f"{stem}.{capability.name}.png"
    out.mkdir(parents=True, exist_ok=True)
    path.write_bytes(draw(one.value, marks, pool.limits))
    return str(path)


def shown(said: dict[str, Any]) -> str:
    """Answers for a person: what they say once, and as a table what they list."""
    blocks = [_block(found) for found in said["answers"]]
    head = f"{said['model']} {said['version']} ({said['licence']}), {said['seconds']:.2f} s"
    return "\n\n".join([*blocks, f"{head}{'; weak: see `treadle ready`' if said['weak'] else ''}"])


def _block(found: dict[str, Any]) -> str:
    lists = {k: v for k, v in found.items() if isinstance(v, list) and v and isinstance(v[0], dict)}
    plain = {k: _short(v) for k, v in found.items() if k not in lists}
    tables = [table([{k: _short(v) for k, v in row.items()} for row in rows], list(rows[0])) for rows in lists.values()]
    return "\n\n".join([pairs(plain), *tables])


def _short(value: Any) -> Any:
    if isinstance(value, list) and len(value) > SHOWN and all(isinstance(part, float) for part in value):
        return ", ".join(f"{part:.3f}" for part in value[:SHOWN]) + f" … ({len(value)} numbers)"
    return " ".join(value.splitlines()) if isinstance(value, str) else value
