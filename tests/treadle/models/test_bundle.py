"""A bundle is whole, unchanged and signed, or it is not opened."""

import os

import msgspec
import pytest
from nacl.signing import SigningKey

from treadle.errors import BrokenBundle, Conflict, Untrusted
from treadle.models.bundle import Manifest, ManifestColumn, Packed, PackedInputs, read_bundle, sign_bundle, write_bundle
from treadle.models.signing import Keyring

MANIFEST = Manifest(
    model="m",
    problem="tabular-regression",
    family="linear",
    columns=(ManifestColumn("x", "number"),),
    target="y",
    metric="mae",
)
PACKED = Packed(b"packed onnx", PackedInputs(("x",), {}))
KEY = SigningKey.generate()
KEYRING = Keyring({"ours": bytes(KEY.verify_key)})


def sign(content):
    return KEY.sign(content).signature


@pytest.fixture
def bundle(tmp_path):
    folder = tmp_path / "m" / "1"
    return folder, write_bundle(folder, b"onnx", MANIFEST, sign, PACKED)


def test_round_trip(bundle):
    folder, digest = bundle
    read = read_bundle(folder, digest, KEYRING)
    assert read.onnx_bytes == b"onnx"
    assert (read.packed_bytes, read.served_bytes) == (b"packed onnx", b"packed onnx")
    assert read.manifest == msgspec.structs.replace(MANIFEST, files=read.manifest.files, packed=PACKED.inputs)
    assert not list(folder.parent.glob(".bundle-*"))


def test_a_bundle_without_a_packed_form_serves_the_plain_one(tmp_path):
    folder = tmp_path / "m" / "1"
    read = read_bundle(folder, write_bundle(folder, b"onnx", MANIFEST, sign), KEYRING)
    assert (read.packed_bytes, read.served_bytes, read.manifest.packed) == (None, b"onnx", None)


def test_never_overwritten(bundle):
    with pytest.raises(Conflict):
        write_bundle(bundle[0], b"other", MANIFEST, sign)
    assert read_bundle(*bundle, KEYRING).onnx_bytes == b"onnx"


@pytest.mark.parametrize("name", ["model.onnx", "packed.onnx", "manifest.json", "manifest.sig"])
@pytest.mark.parametrize("harm", ["flip", "truncate", "remove", "link", "pipe", "folder", "huge"])
def test_harm_is_noticed(bundle, name, harm, tmp_path):
    folder, digest = bundle
    path = folder / name
    content = path.read_bytes()
    path.unlink()
    match harm:
        case "flip":
            path.write_bytes(bytes([content[0] ^ 1]) + content[1:])
        case "truncate":
            path.write_bytes(content[:-1])
        case "link":
            (tmp_path / "elsewhere").write_bytes(content)
            path.symlink_to(tmp_path / "elsewhere")
        case "pipe":
            os.mkfifo(path)
        case "folder":
            path.mkdir()
        case "huge":
            with path.open("wb") as file:
                file.truncate(2 * 1024**3)  # sparse: it takes no room
    with pytest.raises(BrokenBundle):
        read_bundle(folder, digest, KEYRING)


def test_a_file_that_was_not_registered_is_refused(bundle):
    (bundle[0] / "weights.bin").write_bytes(b"more")
    with pytest.raises(BrokenBundle, match="not registered"):
        read_bundle(*bundle, KEYRING)


def test_a_link_in_the_bundles_place_is_refused(bundle):
    folder, digest = bundle
    folder.rename(folder.parent / "2")
    folder.symlink_to(folder.parent / "2")
    with pytest.raises(BrokenBundle):
        read_bundle(folder, digest, KEYRING)


def test_a_manifest_that_names_a_file_elsewhere_is_refused(bundle):
    folder, _ = bundle
    manifest = msgspec.json.decode((folder / "manifest.json").read_bytes())
    manifest["files"]["../../secret"] = "0" * 64
    (folder / "manifest.json").write_bytes(msgspec.json.encode(manifest))
    with pytest.raises(BrokenBundle):
        sign_bundle(folder, digest_of(folder), sign)


def digest_of(folder):
    import hashlib

    return hashlib.sha256((folder / "manifest.json").read_bytes()).hexdigest()


def test_only_who_is_trusted_may_sign(bundle):
    stranger = Keyring({"stranger": bytes(SigningKey.generate().verify_key)})
    with pytest.raises(Untrusted):
        read_bundle(*bundle, stranger)
    with pytest.raises(Untrusted):
        read_bundle(*bundle, Keyring({}))


def test_the_signature_of_another_bundle_does_not_do(bundle, tmp_path):
    folder, digest = bundle
    other = tmp_path / "m" / "2"
    write_bundle(other, b"other", MANIFEST, sign)
    (folder / "manifest.sig").write_bytes((other / "manifest.sig").read_bytes())
    with pytest.raises(Untrusted):
        read_bundle(folder, digest, KEYRING)


def test_an_unsigned_bundle_is_signed_only_while_it_is_what_was_registered(bundle):
    folder, digest = bundle
    (folder / "manifest.sig").unlink()
    with pytest.raises(Untrusted, match="treadle sign"):
        read_bundle(folder, digest, KEYRING)
    sign_bundle(folder, digest, sign)
    assert read_bundle(folder, digest, KEYRING).digest == digest
    (folder / "model.onnx").write_bytes(b"onnX")
    with pytest.raises(BrokenBundle):
        sign_bundle(folder, digest, sign)
    assert sorted(path.name for path in folder.parent.iterdir()) == ["1"]
