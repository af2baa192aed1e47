"""A bundle is whole and unchanged, or it is not opened."""

import msgspec
import pytest

from treadle.bundle import Manifest, ManifestColumn, read_bundle, write_bundle
from treadle.errors import BadData, Conflict

MANIFEST = Manifest(
    model="m",
    problem="tabular-regression",
    family="linear",
    columns=(ManifestColumn("x", "number"),),
    target="y",
    metric="mae",
)


@pytest.fixture
def bundle(tmp_path):
    folder = tmp_path / "m" / "1"
    return folder, write_bundle(folder, b"onnx", MANIFEST)


def test_round_trip(bundle):
    folder, digest = bundle
    read = read_bundle(folder, digest)
    assert read.onnx_bytes == b"onnx"
    assert read.manifest == msgspec.structs.replace(MANIFEST, files=read.manifest.files)
    assert not list(folder.parent.glob(".bundle-*"))


def test_never_overwritten(bundle):
    with pytest.raises(Conflict):
        write_bundle(bundle[0], b"other", MANIFEST)
    assert read_bundle(*bundle).onnx_bytes == b"onnx"


@pytest.mark.parametrize("name", ["model.onnx", "manifest.json"])
@pytest.mark.parametrize("harm", ["flip", "truncate", "remove", "link"])
def test_harm_is_noticed(bundle, name, harm, tmp_path):
    folder, digest = bundle
    path = folder / name
    content = path.read_bytes()
    if harm == "flip":
        path.write_bytes(bytes([content[0] ^ 1]) + content[1:])
    elif harm == "truncate":
        path.write_bytes(content[:-1])
    else:
        path.unlink()
        if harm == "link":
            (tmp_path / "elsewhere").write_bytes(content)
            path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(BadData):
        read_bundle(folder, digest)
