"""The installation's key, whom it trusts, and how bundles from before there were signatures come to one."""

import base64
import multiprocessing
import shutil
import stat
import subprocess

import pytest

from treadle.errors import BadData, BrokenBundle, Conflict, NotFound, Untrusted
from treadle.ledger import Ledger, Version
from treadle.models import trust
from treadle.models.bundle import Manifest, ManifestColumn, write_bundle
from treadle.models.signing import distrust, make_key, own_key, read_keyring, signer, signing_dir
from treadle.models.signing import trust as trust_key
from treadle.models.trust import begin_signing, open_bundle, sign_version
from treadle.settings import Settings


@pytest.fixture
def ledger(settings):
    return Ledger.open(settings)


@pytest.fixture(autouse=True)
def any_graph(monkeypatch):
    """These bundles hold no real graph; what a graph may hold is tested in test_onnx_guard.py."""
    monkeypatch.setattr(trust, "refuse_what_reaches_out", lambda _: None)


@pytest.fixture
def register(settings, ledger):
    """Registers a version; `sign` makes its signature, which an old installation did not."""

    def make(version=1, name="m", said=None, sign=None):
        manifest = Manifest(
            model=name, version=said, problem="tabular-regression", family="linear",
            columns=(ManifestColumn("x", "number"),), target="y", metric="mae",
        )  # fmt: skip
        folder = settings.bundles_dir / name / str(version)
        digest = write_bundle(folder, f"onnx {version}".encode(), manifest, sign or (lambda _: b""))
        if sign is None:
            (folder / "manifest.sig").unlink()
        place = str(folder.relative_to(settings.home))
        ledger.add_version(Version(name, version, "run", place, digest, "linear", {}, {}, None))
        return folder, digest

    return make


def names(settings):
    return set(read_keyring(settings).keys)


def test_the_key_is_made_once_and_only_its_owner_may_read_it(settings):
    assert own_key(settings) is None
    make_key(settings)
    first = own_key(settings)
    make_key(settings)
    assert own_key(settings) == first
    assert names(settings) == {first}
    private = signing_dir(settings) / "private.pem"
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    private.chmod(0o640)
    with pytest.raises(Untrusted, match="chmod 600"):
        signer(settings)


def _make(home, barrier, told):
    settings = Settings(home=home)
    barrier.wait()
    make_key(settings, lambda _: told.put("adopted"))
    told.put(own_key(settings))


def test_processes_that_make_the_key_at_once_agree_on_one(tmp_path):
    context = multiprocessing.get_context("fork")
    barrier, told = context.Barrier(6), context.Queue()
    makers = [context.Process(target=_make, args=(tmp_path, barrier, told)) for _ in range(6)]
    for maker in makers:
        maker.start()
    said = [told.get(timeout=30) for _ in range(7)]
    for maker in makers:
        maker.join()
    assert said.count("adopted") == 1
    assert set(said) == {"adopted", own_key(Settings(home=tmp_path))}
    assert not list(signing_dir(Settings(home=tmp_path)).rglob(".key-*"))


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
def test_openssl_reads_the_keys_and_verifies_a_signature(settings, tmp_path):
    make_key(settings)
    (tmp_path / "text").write_bytes(b"a manifest")
    (tmp_path / "text.sig").write_bytes(signer(settings)(b"a manifest"))
    public = signing_dir(settings) / "trusted" / f"{own_key(settings)}.pem"
    command = ["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", str(public), "-rawin"]
    command += ["-in", str(tmp_path / "text"), "-sigfile", str(tmp_path / "text.sig")]
    assert subprocess.run(command, capture_output=True).returncode == 0
    derive = ["openssl", "pkey", "-in", str(signing_dir(settings) / "private.pem"), "-pubout"]
    assert subprocess.run(derive, capture_output=True, check=True).stdout == public.read_bytes()


def test_another_machines_bundles_are_opened_once_its_key_is_trusted(settings, register, tmp_path):
    other = Settings(home=tmp_path / "other")
    make_key(settings)
    make_key(other)
    folder, digest = register(sign=signer(other))
    with pytest.raises(Untrusted):
        open_bundle(settings, "m", 1, folder, digest)
    (public,) = (signing_dir(other) / "trusted").iterdir()
    name = trust_key(settings, public)
    assert name == own_key(other)
    assert open_bundle(settings, "m", 1, folder, digest).onnx_bytes == b"onnx 1"
    distrust(settings, name)
    with pytest.raises(Untrusted):
        open_bundle(settings, "m", 1, folder, digest)


def test_what_is_no_public_key_is_not_trusted(settings, tmp_path):
    make_key(settings)
    private = signing_dir(settings) / "private.pem"
    rsa = base64.b64encode(b"0" * 44).decode()
    (tmp_path / "rsa.pem").write_text(f"-----BEGIN PUBLIC KEY-----\n{rsa}\n-----END PUBLIC KEY-----\n")
    (tmp_path / "text.pem").write_text("-----BEGIN PUBLIC KEY-----\n%%%=\n-----END PUBLIC KEY-----\n")
    for file in (private, tmp_path / "rsa.pem", tmp_path / "text.pem"):
        with pytest.raises(BadData):
            trust_key(settings, file)
    with pytest.raises(NotFound):
        trust_key(settings, tmp_path / "nowhere.pem")
    assert names(settings) == {own_key(settings)}
    (signing_dir(settings) / "trusted" / "odd.pem").write_text("not a key")
    with pytest.raises(BadData):
        read_keyring(settings)


def test_the_own_key_stays_trusted_and_names_are_not_paths(settings):
    make_key(settings)
    with pytest.raises(Conflict):
        distrust(settings, own_key(settings))
    for name in ("../private", "0" * 16, ""):
        with pytest.raises(NotFound):
            distrust(settings, name)


def test_bundles_from_before_signatures_are_signed_with_the_first_key_and_never_again(settings, ledger, register):
    good, changed = register(1), register(2)
    (changed[0] / "model.onnx").write_bytes(b"something else")
    begin_signing(settings, ledger)
    assert open_bundle(settings, "m", 1, *good).onnx_bytes == b"onnx 1"
    with pytest.raises(BrokenBundle):
        open_bundle(settings, "m", 2, *changed)
    late = register(3)
    begin_signing(settings, ledger)
    with pytest.raises(Untrusted):
        open_bundle(settings, "m", 3, *late)
    assert sign_version(settings, ledger, "m", 3) == late[1]
    assert open_bundle(settings, "m", 3, *late).onnx_bytes == b"onnx 3"
    with pytest.raises(BrokenBundle):
        sign_version(settings, ledger, "m", 2)
    with pytest.raises(NotFound):
        sign_version(settings, ledger, "m", 9)


def test_a_first_signing_that_was_cut_off_is_done_again(settings, ledger, register):
    folder, digest = register()

    def killed(sign):
        (folder / "manifest.sig").write_bytes(sign((folder / "manifest.json").read_bytes()))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_key(settings, killed)
    begin_signing(settings, ledger)
    assert open_bundle(settings, "m", 1, folder, digest).digest == digest


def test_a_new_key_leaves_what_the_old_one_signed_and_signs_nothing_by_itself(settings, ledger, register):
    begin_signing(settings, ledger)
    signed, unsigned = register(1, sign=signer(settings)), register(2)
    (signing_dir(settings) / "private.pem").unlink()
    begin_signing(settings, ledger)
    assert len(names(settings)) == 2
    assert open_bundle(settings, "m", 1, *signed).onnx_bytes == b"onnx 1"
    with pytest.raises(Untrusted):
        open_bundle(settings, "m", 2, *unsigned)


def test_a_signed_bundle_of_another_version_or_model_is_refused(settings, ledger, register):
    begin_signing(settings, ledger)
    folder, digest = register(1, said=1, sign=signer(settings))
    for name, version in (("m", 2), ("n", 1)):
        with pytest.raises(BrokenBundle, match="not the bundle"):
            open_bundle(settings, name, version, folder, digest)
