"""Videos: sampled, things and faces followed through them; what is no video does no harm."""

import io

import msgspec
import numpy as np
import pytest

from treadle.capabilities.boxes import Box
from treadle.capabilities.limits import BadInput, TooMuch
from treadle.capabilities.tracks import Seen, Tracker


def video(frames, rate=2, form="mp4", codec="mpeg4"):
    import av

    out = io.BytesIO()
    with av.open(out, "w", format=form) as made:
        stream = made.add_stream(codec, rate=rate)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        for pixels in frames:
            made.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")))
        made.mux(stream.encode())
    return out.getvalue()


@pytest.fixture(scope="module")
def passing():
    """Five seconds: a person who moves a little, then two seconds of nothing."""
    import skimage.data

    person = skimage.data.astronaut()[:448, :448]
    moved = [np.roll(person, shift, axis=1) for shift in range(0, 60, 10)]
    return video([*moved, *[np.full_like(person, 128)] * 4])


def ask(pool, content, parameters=None, **more):
    _, future = pool.ask("analyze-video", [content], parameters or {}, **more)
    return msgspec.msgpack.decode(future.result(timeout=300).answers)


def test_a_person_is_followed_from_first_to_last(make_pool, passing):
    (timeline,) = ask(make_pool(), passing, {"every_s": 0.5})
    assert timeline["frames"] == 10
    tracks = {(one["label"], one["number"]): one for one in timeline["tracks"]}
    assert {("person", 1), ("face", 1)} <= tracks.keys()
    assert ("face", 2) not in tracks
    face = tracks["face", 1]
    assert (face["first"], face["last"]) == (0.0, 2.5)
    places = [moment["box"]["xmin"] for moment in face["moments"]]
    assert len(places) == 6
    assert places == sorted(places)
    (fewer,) = ask(make_pool(), passing, {"every_s": 1, "faces": False})
    assert fewer["frames"] == 5
    assert {one["label"] for one in fewer["tracks"]} == {"person"}


def test_progress_comes_frame_by_frame_and_the_timeline_last(make_pool, passing):
    pieces = []
    ask(make_pool(), passing, {"every_s": 1}, on_piece=lambda piece: pieces.append(msgspec.msgpack.decode(piece)))
    assert [piece["frames"] for piece in pieces] == [1, 2, 3, 4, 5, 5]
    assert [piece["timeline"] is not None for piece in pieces] == [False] * 5 + [True]
    assert "face 1" in pieces[-1]["text"]


def test_what_is_no_video_or_too_much_is_refused(make_pool, passing):
    pool = make_pool()
    playlist = b"#EXTM3U\n#EXTINF:10,\nfile:///etc/passwd\n"
    for content in (b"no video", passing[: len(passing) // 2], playlist, b"ffconcat version 1.0\nfile /etc/passwd\n"):
        with pytest.raises(BadInput, match="no video"):
            ask(pool, content)
    with pytest.raises(TooMuch, match="every_s"):
        ask(pool, passing, {"every_s": 0.5, "most_frames": 3})
    small = make_pool(ready_pixels=1000)
    with pytest.raises(TooMuch, match="pixels"):
        ask(small, passing)


def test_things_are_followed_by_overlap_and_kind():
    tracker = Tracker(patience_s=2)
    tracker.add(0, [Seen("cat", 0.9, Box(0, 0, 10, 10)), Seen("cat", 0.8, Box(50, 0, 60, 10))])
    tracker.add(1, [Seen("cat", 0.7, Box(52, 0, 62, 10)), Seen("dog", 0.9, Box(0, 0, 10, 10))])
    tracker.add(2, [Seen("cat", 0.9, Box(1, 0, 11, 10))])
    tracker.add(9, [Seen("cat", 0.9, Box(1, 0, 11, 10))])
    assert [(track.label, [at for at, _ in track.seen]) for track in tracker.tracks] == [
        ("cat", [0, 2]), ("cat", [0, 1]), ("dog", [1]), ("cat", [9]),
    ]  # fmt: skip
