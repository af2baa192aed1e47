"""The playground in a real browser without a network, under its own policy, asking real models."""

import base64
import io
import json

import pytest
import soundfile
from PIL import Image, ImageDraw, ImageFont

from serving.ready.routes import event
from tests.browser import needs_browser, open_browser
from treadle.settings import CHECKOUT

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("ready"), needs_browser]
ATTACK = "<img src=x onerror=alert(1)>"
SOUND = CHECKOUT / "tests" / "sounds" / "austen-0930.flac"


@pytest.fixture
def tab(tmp_path):
    """A browser whose microphone hears a sentence again and again."""
    wave = tmp_path / "heard.wav"
    soundfile.write(wave, *soundfile.read(SOUND), subtype="PCM_16")
    microphone = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
    with open_browser(tmp_path, *microphone, f"--use-file-for-fake-audio-capture={wave}") as tab:
        yield tab


def picture():
    drawn = Image.new("RGB", (900, 300), "white")
    pen, font = ImageDraw.Draw(drawn), ImageFont.load_default(44)
    pen.text((30, 40), "Invoice 4711", fill="black", font=font)
    pen.text((30, 160), ATTACK, fill="black", font=font)
    out = io.BytesIO()
    drawn.save(out, "PNG")
    return out.getvalue()


def choose(tab, url, capability):
    """Go to a capability, as a link does."""
    if tab.evaluate("location.pathname") == "/playground":
        tab.evaluate(f"location.hash = '{capability}'")
    else:
        tab.open(f"{url}/playground#{capability}")
    tab.wait(
        lambda: tab.evaluate(f"chosen !== null && chosen.name === '{capability}' && location.hash === '#{capability}'")
    )


def give(tab, content, name, kind, how="change"):
    """Choose or drop a file, as a person does."""
    encoded = json.dumps(base64.b64encode(content).decode())
    bytes_ = f"Uint8Array.from(atob({encoded}), (c) => c.charCodeAt(0))"
    file = f"new File([{bytes_}], {json.dumps(name)}, {{type: {json.dumps(kind)}}})"
    chosen = "const input = document.querySelector('input[type=file]'); input.files = all.files; input.dispatchEvent(new Event('change'));"
    dropped = "document.querySelector('.drop').dispatchEvent(new DragEvent('drop', {dataTransfer: all, bubbles: true, cancelable: true}));"
    tab.evaluate(
        f"(() => {{ const all = new DataTransfer(); all.items.add({file}); {chosen if how == 'change' else dropped} }})()"
    )
    tab.wait(lambda: tab.evaluate("document.querySelectorAll('.drop[data-ready]').length"))


def ask(tab):
    tab.evaluate("document.getElementById('ask').click()")
    tab.wait(lambda: not tab.evaluate("document.getElementById('ask').disabled"))
    return tab.evaluate("document.getElementById('answer').innerText")


def notice(tab):
    return tab.evaluate("(() => { const n = document.getElementById('notice'); return n.hidden ? '' : n.innerText })()")


def assert_harmless(tab, url):
    """Nothing ran, nothing was refused by the policy, nothing was asked for elsewhere."""
    assert tab.dialogs == []
    assert tab.said == []
    assert [a for a in tab.asked if not a.startswith((url, "data:"))] == []


def test_what_is_read_in_a_dropped_picture_is_marked_and_is_text(tab, url):
    choose(tab, url, "read-text")
    give(tab, picture(), "invoice.png", "image/png", "drop")
    shown = ask(tab)
    assert "Invoice 4711" in shown
    assert "onerror=alert" in shown
    assert "Apache-2.0" in shown
    tab.wait(lambda: tab.evaluate("document.querySelectorAll('#answer svg rect').length") == 2)
    assert tab.evaluate("document.querySelectorAll('#answer img').length") == 1  # ours
    box, image = (
        tab.evaluate(f"(({{x, y, width, height}}) => [x, y, width, height])(document.querySelector('{what}').getBoundingClientRect())")
        for what in ("#answer rect", "#answer img")
    )  # fmt: skip
    assert box[0] - image[0] == pytest.approx(30 / 900 * image[2], abs=0.02 * image[2])
    assert box[1] - image[1] == pytest.approx(50 / 300 * image[3], abs=0.06 * image[3])
    assert_harmless(tab, url)


def test_options_are_a_form_and_what_is_wrong_is_said(tab, url):
    choose(tab, url, "similar-items")
    assert tab.evaluate("document.getElementById('options').open")  # one of them is required
    tab.evaluate("document.getElementById('input-input').value = 'a cat'")
    tab.evaluate(f"document.getElementById('option-items').value = 'a kitten\\n{ATTACK}\\ntax law'")
    tab.evaluate("document.getElementById('option-top_k').value = 2")
    shown = ask(tab)
    assert "a kitten" in shown
    assert tab.evaluate("document.querySelectorAll('#answer .answers tr').length") == 3  # a head, and two of the items
    assert tab.evaluate("document.querySelector('#answer meter').value") > 0.5
    assert tab.evaluate("document.querySelectorAll('#answer img').length") == 0
    tab.evaluate("document.getElementById('input-input').value = ''")
    ask(tab)
    assert "nothing to ask about" in notice(tab)
    assert_harmless(tab, url)
    choose(tab, url, "read-text")
    give(tab, b"no picture", "x.png", "image/png")
    ask(tab)
    assert "Bad input" in notice(tab)
    assert len(tab.said) == 1  # the 422, as the browser tells it


def test_a_sound_is_written_down_and_the_microphone_is_heard(tab, url):
    choose(tab, url, "transcribe")
    give(tab, SOUND.read_bytes(), "austen.flac", "audio/flac")
    shown = ask(tab)
    assert "He might even have been made amiable himself." in shown
    assert "English only" in tab.evaluate("document.getElementById('model').innerText")
    assert tab.evaluate("document.querySelectorAll('.line span').length") == 1
    choose(tab, url, "detect-speech")
    tab.evaluate("document.querySelector('.drop button').click()")
    tab.wait(lambda: tab.evaluate("document.querySelector('.drop button').textContent") == "Stop")
    tab.evaluate("new Promise((done) => setTimeout(done, 3500))")
    tab.evaluate("document.querySelector('.drop button').click()")
    tab.wait(lambda: tab.evaluate("document.querySelectorAll('.drop[data-ready]').length"))
    assert "recording.wav" in tab.evaluate("document.querySelector('.drop').innerText")
    shown = ask(tab)
    assert tab.evaluate("document.querySelectorAll('.line span').length") >= 1, shown
    assert_harmless(tab, url)


def test_what_comes_piece_by_piece_is_text_and_a_failure_is_said(tab, url):
    """As the service writes a stream, cut where it happens to be cut."""
    choose(tab, url, "detect-language")
    named = {"model": "m", "version": "1", "licence": "MIT", "weak": True, "research_only": False, "seconds": 0.5}
    whole = event("piece", {"text": "Hello, "}) + event("piece", {"text": ATTACK}) + event("done", named)
    pieces = json.dumps([list(whole[at : at + 7]) for at in range(0, len(whole), 7)])
    sending = f"{pieces}.forEach((one) => to.enqueue(new Uint8Array(one))); to.close();"
    tab.evaluate(f"follow(new Response(new ReadableStream({{ start(to) {{ {sending} }} }})))")
    shown = tab.evaluate("document.getElementById('answer').innerText")
    assert f"Hello, {ATTACK}" in shown
    assert "m 1, MIT, 0.5 s" in shown
    assert "weak" in shown
    failed = json.dumps(event("error", {"title": "Too much", "detail": "It took too long."}).decode())
    assert tab.evaluate(f"follow(new Response({failed})).catch((error) => error.message)") == "It took too long."
    assert_harmless(tab, url)


def test_a_person_is_enrolled_found_and_forgotten(tab, url):
    portraits = {
        name: (CHECKOUT / "tests" / "pictures" / f"{name}.jpg").read_bytes()
        for name in ("obama-2012", "obama-speaking")
    }
    choose(tab, url, "search-faces")
    tab.wait(lambda: "Nobody yet." in tab.evaluate("document.getElementById('people').innerText"))

    def enroll(consent):
        encoded = json.dumps(base64.b64encode(portraits["obama-2012"]).decode())
        bytes_ = f"Uint8Array.from(atob({encoded}), (c) => c.charCodeAt(0))"
        given = f"all.items.add(new File([{bytes_}], 'one.jpg', {{type: 'image/jpeg'}})); byId('pictures').files = all.files;"
        said = f"byId('person').value = {json.dumps(ATTACK)}; byId('consent').value = {json.dumps(consent)};"
        pressed = "document.querySelector('#enroll button').click();"
        tab.evaluate(f"(() => {{ const all = new DataTransfer(); {given} {said} {pressed} }})()")
        tab.wait(lambda: not tab.evaluate("document.querySelector('#enroll button').disabled"))
        return tab.evaluate("document.getElementById('known').innerText")

    assert "Nobody yet." in enroll("")  # the browser asks for the note
    shown = enroll("In the public domain")
    assert ATTACK in shown
    assert "In the public domain" in shown
    assert tab.evaluate("document.getElementById('person').value") == ""
    tab.look_like(390, 844)
    assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
    give(tab, portraits["obama-speaking"], "two.jpg", "image/jpeg")
    ask(tab)
    tab.wait(lambda: tab.evaluate("document.querySelectorAll('#answer svg text').length") == 1)
    assert ATTACK in tab.evaluate("document.querySelector('#answer svg text').textContent")
    for said in ("Forget", "Forget for good?"):
        assert tab.evaluate("document.querySelector('#known button').innerText") == said
        tab.evaluate("document.querySelector('#known button').click()")
    tab.wait(lambda: "Nobody yet." in tab.evaluate("document.getElementById('known').innerText"))
    ask(tab)
    assert ATTACK not in tab.evaluate("document.getElementById('answer').innerText")
    choose(tab, url, "detect-faces")
    assert tab.evaluate("document.getElementById('people').hidden")
    assert_harmless(tab, url)


@pytest.mark.parametrize("dark", [False, True])
def test_it_fits_a_phone_and_every_control_has_a_name(tab, url, dark, tmp_path):
    tab.look_like(390, 844, dark)
    choose(tab, url, "similar-items")
    tab.evaluate("document.getElementById('input-input').value = 'a cat'")
    ask(tab)
    assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
    nameless = "[...document.querySelectorAll('input, select, textarea')].filter((one) => !one.labels.length).map((one) => one.id)"
    assert tab.evaluate(nameless) == []
    tab.photograph(tmp_path / "phone.png")
    assert (tmp_path / "phone.png").stat().st_size > 10_000
