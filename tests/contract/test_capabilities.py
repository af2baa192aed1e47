"""Every capability with an installed model, through the same checks, in real processes."""

import io
import subprocess
import sys
import wave
from pathlib import Path

import msgspec
import numpy as np
import pytest

from treadle.capabilities import CAPABILITIES, load_capability
from treadle.capabilities.catalog import PackageSource, entries_of, read_catalog
from treadle.capabilities.limits import BadInput, TooMuch
from treadle.capabilities.pool import Pool
from treadle.capabilities.protocol import MEDIA
from treadle.capabilities.sources import digest_of, is_installed, locate
from treadle.errors import NotFound
from treadle.settings import CHECKOUT, Settings

pytestmark = pytest.mark.xdist_group("capabilities")  # one pool, opened once
HERE = Settings(home=CHECKOUT)
READY = [name for name in CAPABILITIES if any(is_installed(e, HERE) for e in entries_of(name, HERE))]
CHAT = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Say hello."}]


@pytest.fixture(scope="module")
def pool(tmp_path_factory):
    """One pool for all, so that exports are made once."""
    pool = Pool(Settings(home=tmp_path_factory.mktemp("ready"), ready_memory_mb=4096))
    yield pool
    pool.stop()


@pytest.fixture(params=READY)
def capability(request):
    return load_capability(request.param)


def picture(size=(320, 240), text="Hello 42"):
    from PIL import Image, ImageDraw, ImageFont

    drawn = Image.new("RGB", size, "white")
    ImageDraw.Draw(drawn).text((20, 20), text, fill="black", font=ImageFont.load_default(40))
    out = io.BytesIO()
    drawn.save(out, "PNG")
    return out.getvalue()


def astronaut():
    """A photograph with one face; enlarged or not, it is skimage's."""
    import skimage

    return (Path(skimage.__file__).parent / "data" / "astronaut.png").read_bytes()


def sound(seconds=1.0, rate=16_000):
    tone = 0.3 * np.sin(np.arange(int(seconds * rate)) * 440 * 2 * np.pi / rate)
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((tone * 32767).astype("<i2").tobytes())
    return out.getvalue()


def film():
    """Two seconds of one photograph, in an AVI of JPEGs."""
    import av
    import skimage.data

    out = io.BytesIO()
    with av.open(out, "w", format="avi") as made:
        stream = made.add_stream("mjpeg", rate=2)
        stream.width, stream.height, stream.pix_fmt = 512, 512, "yuvj420p"
        frames = [av.VideoFrame.from_ndarray(skimage.data.astronaut(), format="rgb24")] * 4
        made.mux([packet for frame in frames for packet in stream.encode(frame)] + stream.encode())
    return out.getvalue()


def example(capability, kind):
    return {
        "text": lambda: capability.example_text,
        "chat": lambda: CHAT,
        "image": astronaut if capability.name.endswith("-faces") else picture,
        "sound": sound,
        "video": film,
    }[kind]()


def given(capability):
    takes = capability.takes
    if isinstance(takes, str):
        return example(capability, takes)
    return {name: example(capability, kind) for name, kind in takes.items()}


def ask(pool, capability, inputs, parameters=None):
    _, future = pool.ask(capability.name, inputs, dict(capability.example) if parameters is None else parameters)
    return future.result(timeout=300)


def kinds(capability):
    return {capability.takes} if isinstance(capability.takes, str) else set(capability.takes.values())


def test_the_table_the_catalog_and_the_classes_agree():
    for name in CAPABILITIES:
        found = load_capability(name)
        assert found.name == name
        assert entries_of(name, HERE), f"{name} has no entry in catalog.yaml"
        found.parse(found.example)
        msgspec.json.schema(found.Answer)
    assert {entry.capability for entry in read_catalog(HERE)} <= set(CAPABILITIES)
    with pytest.raises(NotFound, match="Did you mean 'read-text'"):
        load_capability("red-text")


def test_what_ships_is_what_the_catalog_knows():
    for entry in read_catalog(HERE):
        folder = locate(entry, HERE)
        if folder is None or not isinstance(entry.source, PackageSource):
            continue
        assert digest_of(folder, entry.source.files) == entry.digest, entry.model
        assert sum((folder / name).stat().st_size for name in entry.source.files) == entry.size_bytes, entry.model


def test_no_default_is_for_research_only():
    for name in CAPABILITIES:
        first = entries_of(name, HERE)[0]
        assert not first.research_only, name


def test_importing_every_capability_imports_no_guest():
    code = (
        "import sys\n"
        "from treadle.capabilities import CAPABILITIES, load_capability\n"
        "import treadle.capabilities.pool, treadle.capabilities.child\n"
        "for name in CAPABILITIES: load_capability(name)\n"
        "heavy = {'torch', 'transformers', 'PIL', 'onnxruntime', 'tokenizers', 'rapidocr', 'cv2', 'soundfile', 'pandas', 'sqlalchemy'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=CHECKOUT, check=True)
    assert done.stdout.strip() == "[]"


def test_it_answers_and_names_itself(pool, capability):
    done = ask(pool, capability, [given(capability)])
    answers = msgspec.msgpack.decode(done.answers, type=list[capability.Answer])
    assert len(answers) == 1
    assert done.entry.licence
    assert done.cpu_seconds >= 0
    assert done.seconds > 0
    assert done.facts
    assert done.confidence is None or 0 <= done.confidence <= 1


def test_a_batch_is_answered_as_its_inputs_alone(pool, capability):
    if capability.takes == "chat":
        pytest.skip("generation draws by chance")
    first, second = given(capability), given(capability)
    if isinstance(second, str):
        second = second + " Nobody was late."
    elif second is not None and isinstance(second, bytes) and capability.takes == "image":
        second = picture((400, 200), "Other 7")
    together = msgspec.msgpack.decode(ask(pool, capability, [first, second]).answers)
    alone = [msgspec.msgpack.decode(ask(pool, capability, [one]).answers)[0] for one in (first, second)]
    assert_alike(together, alone)


def assert_alike(left, right):
    """Equal, but for the last digits of numbers."""
    if isinstance(left, float):
        assert left == pytest.approx(right, abs=2e-3)
    elif isinstance(left, dict):
        assert left.keys() == right.keys()
        for key in left:
            assert_alike(left[key], right[key])
    elif isinstance(left, list):
        assert len(left) == len(right)
        for one, other in zip(left, right, strict=True):
            assert_alike(one, other)
    else:
        assert left == right


def test_what_is_wrong_is_refused_before_anything_runs(pool, capability):
    with pytest.raises(BadInput, match="unknown field"):
        pool.ask(capability.name, [given(capability)], dict(capability.example) | {"no_such": 1})
    with pytest.raises(BadInput, match="no input"):
        pool.ask(capability.name, [], dict(capability.example))
    with pytest.raises(BadInput):
        pool.ask(capability.name, [17], dict(capability.example))
    with pytest.raises(TooMuch):
        pool.ask(capability.name, [given(capability)] * 65, dict(capability.example))
    with pytest.raises(NotFound):
        pool.ask(capability.name, [given(capability)], dict(capability.example), model="no-such-model")


def test_a_file_that_is_no_such_file_is_refused(pool, capability):
    if not kinds(capability) & set(MEDIA):
        pytest.skip("it takes no file")
    for content in (b"no file at all", b"\x89PNG\r\n\x1a\n" + b"\0" * 64, b"RIFF\xff\xff\xff\x7fWAVEfmt "):
        bad = content if isinstance(capability.takes, str) else dict.fromkeys(capability.takes, content)
        with pytest.raises((BadInput, TooMuch)):
            ask(pool, capability, [bad])


def test_odd_texts_do_no_harm(pool, capability):
    if capability.takes != "text":
        pytest.skip("it takes no text")
    for text in (
        " ",
        "\0",
        "\U0001f600" * 50,
        "a" * 5000,
        "e\u0301" * 100,
        "\u202e right to left",
        "<script>alert(1)</script>",
    ):
        try:
            ask(pool, capability, [text])
        except BadInput:
            continue


def test_the_hub_s_client_gets_its_form(pool, capability):
    if capability.hub_task is None:
        pytest.skip("no task of the hub")
    done = ask(pool, capability, [given(capability)])
    answers = msgspec.msgpack.decode(done.answers)
    if capability.hub_task == "sentence-similarity":
        inputs = {"source_sentence": capability.example_text, "sentences": ["A timetable", "A recipe"]}
        asked, parameters = capability.from_hub(inputs, {})
        answers = msgspec.msgpack.decode(ask(pool, capability, asked, parameters).answers)
        assert len(capability.to_hub(answers, inputs)) == 2
        return
    said = capability.to_hub(answers, given(capability))
    assert isinstance(said, list | dict)
    msgspec.json.encode(said)


def test_a_stream_is_pieces(pool, capability):
    if capability.Piece is None:
        pytest.skip("it does not stream")
    pieces = []
    _, future = pool.ask(capability.name, [given(capability)], dict(capability.example), on_piece=pieces.append)
    future.result(timeout=300)
    assert pieces
    for piece in pieces:
        msgspec.msgpack.decode(piece, type=capability.Piece)
