"""The review page, driven over HTTP as its own script does, and by a real browser where there is one."""

import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import uvicorn
from fastapi.testclient import TestClient
from PIL import Image
from transformers import CLIPTokenizer

from app.cli import main
from app.review.desk import Desk
from app.review.server import serve
from app.review.web import make_app
from pseudoword.captions.cuts.cutting import Cutting
from pseudoword.captions.edits import Edit, read_edits
from pseudoword.captions.prompt_length import PromptLength
from pseudoword.errors import UserError
from tests.browser import Browser, browser, chromium

__all__ = ["browser", "chromium"]

ROOT = Path(__file__).parents[2]
FOLDER = Path("data/thing")
EDITS = FOLDER / "captions.yaml"
HERE = "http://127.0.0.1:8642"
DRAFTS = {"0e0": "a dog in the snow", "0e0-h": "a dog in snow", "0e1": "a cat", "0e2": "a <b>bird</b> on a roof"}
SOURCES = ["a dog.jpg", "a dog.jpg", "b.png", "sub/<i>c</i>.png"]
COMMENTED = '# mine\nb.png: {caption:   "old"}  # stays\n# the end\n'


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    FOLDER.mkdir(parents=True)
    Path("outputs/pictures").mkdir(parents=True)
    pd.DataFrame({"id": list(DRAFTS), "source": SOURCES, "state": "used"}).to_csv("outputs/pictures.csv", index=False)
    pd.DataFrame({"id": list(DRAFTS), "draft": list(DRAFTS.values()), "captioner": list(DRAFTS.values())}).to_csv(
        "outputs/drafts.csv", index=False
    )
    for at, name in enumerate(DRAFTS):
        Image.new("RGB", (64, 64), (60 * at, 120, 200)).save(f"outputs/pictures/{name}.png")
    EDITS.write_text(COMMENTED)
    return tmp_path


def make_desk(windowed: bool = False) -> Desk:
    tokenizer = CLIPTokenizer.from_pretrained(ROOT / "models" / "toyworld" / "tokenizer")
    length = PromptLength(tokenizer, ["a [name]", "a photo of a [name] [filewords]"], "snorf", 5, windowed)
    return Desk(FOLDER, "copy", Cutting(), "snorf", "thing", ["a flower"], length, "Ada")


@pytest.fixture
def client(project: Path) -> Iterator[TestClient]:
    with TestClient(make_app(make_desk()), base_url=HERE, raise_server_exceptions=False) as client:
        yield client


def cards(client: TestClient) -> dict[str, dict[str, Any]]:
    answer = client.get("/api/cards")
    assert answer.status_code == 200, answer.text
    return {card["source"]: card for card in answer.json()["cards"]}


def save(client: TestClient, source: str, caption: str, approved: bool = True, seen: str | None = None) -> Any:
    seen = cards(client)[source]["seen"] if seen is None else seen
    return client.post("/api/save", json={"source": source, "caption": caption, "approved": approved, "seen": seen})


def test_a_card_shows_all_that_is_known_of_a_picture(client: TestClient) -> None:
    shown = cards(client)
    assert list(shown) == ["a dog.jpg", "b.png", "sub/<i>c</i>.png"]
    dog = shown["a dog.jpg"]
    assert dog["pictures"] == [{"id": "0e0", "draft": "a dog in the snow"}, {"id": "0e0-h", "draft": "a dog in snow"}]
    assert (dog["draft"], dog["suggested"], dog["caption"]) == ("a dog in the snow", "in the snow", "in the snow")
    assert dog["state"] == "draft" and shown["b.png"]["state"] == "edited"
    assert dog["cut"] == ["a dog"]
    assert [prompt for prompt, _ in dog["prompts"]] == ["a photo of a snorf in the snow", "a snorf"]
    assert dog["prompts"][0][1] > dog["prompts"][1][1] > 5
    assert "starts unlike the others" in [one["check"] for one in shown["b.png"]["findings"]]


def test_what_is_typed_is_checked_before_it_is_saved(client: TestClient) -> None:
    answer = client.post("/api/check", json={"source": "b.png", "caption": "with a flower\nin a hat with a hat"}).json()
    assert [one["check"] for one in answer["findings"]] == ["repeats itself", "names what the word learns"]
    assert answer["prompts"][0][0] == "a photo of a snorf with a flower in a hat with a hat"
    answer = client.post("/api/check", json={"source": "b.png", "caption": "snow " * 80}).json()
    assert answer["findings"][0]["severity"] == "error"
    assert EDITS.read_text() == COMMENTED


def test_marks_of_other_tools_have_a_suggestion_that_cleans_them(client: TestClient) -> None:
    found = client.post("/api/check", json={"source": "b.png", "caption": r"bow \(weapon\) BREAK"}).json()["findings"]
    (marked,) = [one for one in found if one["check"] == "holds marks of a prompt"]
    assert marked["suggestion"] == "bow (weapon)"  # the page makes a button of it


def test_what_curate_cleans_is_shown_clean(project: Path) -> None:
    desk = replace(make_desk(), unescape=True)
    with TestClient(make_app(desk), base_url=HERE) as client:
        assert save(client, "b.png", "(a hat:1.3)").status_code == 200
        assert cards(client)["b.png"]["caption"] == "a hat" and read_edits(EDITS)["b.png"].caption == "(a hat:1.3)"
        answer = client.post("/api/check", json={"source": "b.png", "caption": "(a cap:1.2)"}).json()
    assert answer["prompts"][0][0] == "a photo of a snorf a cap"
    assert not [one for one in answer["findings"] if one["check"] == "holds marks of a prompt"]


def test_a_save_changes_one_entry_of_the_file(client: TestClient) -> None:
    assert save(client, "a dog.jpg", 'in "snow",\n at night').status_code == 200
    text = EDITS.read_text()
    assert text.startswith(COMMENTED) and '"a dog.jpg":\n  caption: "in \\"snow\\", at night"\n' in text
    edit = read_edits(EDITS)["a dog.jpg"]
    assert (edit.caption, edit.draft, edit.who, edit.approved) == (
        'in "snow", at night', "a dog in the snow", "Ada", True
    )  # fmt: skip
    assert edit.when == time.strftime("%Y-%m-%d")
    assert cards(client)["a dog.jpg"]["state"] == "approved"
    save(client, "b.png", "new", approved=False)
    assert EDITS.read_text().startswith('# mine\nb.png: {caption:   "new", draft: "a cat", who: "Ada", ')
    assert "  # stays\n# the end\n" in EDITS.read_text() and cards(client)["b.png"]["state"] == "edited"


def test_a_save_over_a_newer_text_is_refused(client: TestClient) -> None:
    seen = cards(client)["b.png"]["seen"]
    assert save(client, "b.png", "first tab", seen=seen).status_code == 200
    answer = save(client, "b.png", "second tab", seen=seen)
    assert answer.status_code == 409 and answer.json()["card"]["caption"] == "first tab"
    assert read_edits(EDITS)["b.png"].caption == "first tab"
    assert save(client, "b.png", "second tab", seen=answer.json()["card"]["seen"]).status_code == 200


def test_a_save_on_an_older_draft_is_refused(client: TestClient) -> None:
    seen = cards(client)["a dog.jpg"]["seen"]
    drafts = DRAFTS | {"0e0": "a wolf in the snow"}
    pd.DataFrame({"id": list(drafts), "draft": list(drafts.values()), "captioner": list(drafts.values())}).to_csv(
        "outputs/drafts.csv", index=False
    )
    assert save(client, "a dog.jpg", "in the snow", seen=seen).status_code == 409
    assert EDITS.read_text() == COMMENTED


def test_a_stale_edit_says_what_has_changed(client: TestClient) -> None:
    EDITS.write_text('b.png: {caption: "x", draft: "a tiger", approved: true}\n')
    card = cards(client)["b.png"]
    assert card["state"] == "stale"
    assert card["changed"] == "it answers the draft 'a tiger' and the draft is now 'a cat'"
    save(client, "b.png", "x")
    assert cards(client)["b.png"]["state"] == "approved"


def test_a_save_keeps_the_picture_and_the_text_that_it_was_made_for(client: TestClient) -> None:
    (FOLDER / "b.txt").write_text("my own text\n")
    save(client, "b.png", "x")
    save(client, "a dog.jpg", "y")
    edits = read_edits(EDITS)
    assert (edits["b.png"].picture, edits["b.png"].text) == ("0e1", "my own text")
    assert (edits["a dog.jpg"].picture, edits["a dog.jpg"].text) == ("0e0", None)
    seen = cards(client)["a dog.jpg"]["seen"]
    (FOLDER / "b.txt").write_text("my newer text")
    pictures = pd.read_csv("outputs/pictures.csv", dtype=str).replace({"id": {"0e0": "0e5", "0e0-h": "0e5-h"}})
    pictures.to_csv("outputs/pictures.csv", index=False)
    drafts = [draft.replace("0e0", "0e5") for draft in Path("outputs/drafts.csv").read_text().splitlines()]
    Path("outputs/drafts.csv").write_text("\n".join(drafts))
    shown = cards(client)
    assert (
        shown["b.png"]["changed"] == "it answers the text 'my own text' and data/thing/b.txt now says 'my newer text'"
    )
    assert (shown["a dog.jpg"]["state"], shown["a dog.jpg"]["changed"]) == ("stale", "its picture has changed since")
    assert save(client, "a dog.jpg", "y", seen=seen).status_code == 409
    save(client, "b.png", "x")
    save(client, "a dog.jpg", "y")
    assert {card["state"] for source, card in cards(client).items() if "sub" not in source} == {"approved"}


def test_what_the_judge_said_is_shown_while_the_caption_is_the_same(client: TestClient) -> None:
    finding = "differs from the picture: the judge finds little of it"
    row = {"id": "0e1", "source": "b.png", "finding": finding, "severity": "warning", "caption": "old",
           "suggestion": "look"}  # fmt: skip
    pd.DataFrame([row]).to_csv("outputs/lint.csv", index=False)
    kinds = [one["check"] for one in cards(client)["b.png"]["findings"]]
    assert "differs from the picture" in kinds
    save(client, "b.png", "another")
    assert "differs from the picture" not in [one["check"] for one in cards(client)["b.png"]["findings"]]


def test_a_malformed_file_or_missing_drafts_are_told(client: TestClient) -> None:
    EDITS.write_text("a: [")
    answer = client.get("/api/cards")
    assert answer.status_code == 400 and answer.json()["message"].startswith("data/thing/captions.yaml, line 1: found")
    EDITS.unlink()
    Path("outputs/drafts.csv").unlink()
    assert "dvc repro caption" in client.get("/api/cards").json()["message"]


def test_a_file_that_cannot_be_used_is_told(client: TestClient) -> None:
    EDITS.unlink()
    EDITS.mkdir()
    assert "captions.yaml" in client.get("/api/cards").json()["message"]


def test_an_unknown_picture_is_refused(client: TestClient) -> None:
    answer = save(client, "../../etc/passwd", "x", seen="")
    assert answer.status_code == 400 and "none of the pictures in use" in answer.json()["message"]
    assert EDITS.read_text() == COMMENTED


def test_pictures_are_served_by_their_id_alone(client: TestClient, project: Path) -> None:
    assert client.get("/pictures/0e0").headers["content-type"] == "image/png"
    (project / "outputs" / "secret.png").write_bytes(b"secret")
    (project / "outputs" / "pictures" / "gone.png").write_bytes(b"of an earlier run")
    for name in ("gone", "0e9", "..%2fsecret", "%2e%2e%2fsecret", "0e0.png", "0e0%00"):
        assert client.get(f"/pictures/{name}").status_code == 404, name


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example:8642", "10.0.0.7:8642", "", "[::2]"])
def test_a_name_that_somebody_points_at_this_machine_is_refused(client: TestClient, host: str) -> None:
    answer = client.get("/api/cards", headers={"Host": host})
    assert answer.status_code == 421 and "dog" not in answer.text


@pytest.mark.parametrize("host", ["localhost:9000", "127.0.0.1", "LOCALHOST", "[::1]:8642"])
def test_this_machines_own_names_are_served_at_any_port(client: TestClient, host: str) -> None:
    assert client.get("/", headers={"Host": host}).status_code == 200


def test_an_opened_page_answers_to_addresses_but_not_to_strange_names(project: Path) -> None:
    with TestClient(make_app(make_desk(), "0.0.0.0"), base_url="http://10.0.0.7:8642") as client:
        assert client.get("/").status_code == 200
        assert client.get("/", headers={"Host": socket.gethostname()}).status_code == 200
        assert client.get("/", headers={"Host": "evil.example"}).status_code == 421


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://127.0.0.1:9999"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Content-Type": "text/plain"}, 415),
        ({"Content-Type": "application/x-www-form-urlencoded"}, 415),
        ({"Origin": HERE, "Sec-Fetch-Site": "same-origin"}, 200),
    ],
)
def test_only_the_page_itself_can_save(client: TestClient, headers: dict[str, str], status: int) -> None:
    body = {"source": "b.png", "caption": "x", "approved": True, "seen": cards(client)["b.png"]["seen"]}
    headers = {"Content-Type": "application/json", **headers}
    assert client.post("/api/save", content=json.dumps(body), headers=headers).status_code == status
    assert (EDITS.read_text() == COMMENTED) == (status != 200)


def test_too_much_is_refused(client: TestClient) -> None:
    assert save(client, "b.png", "x" * 2**16).status_code == 413
    assert save(client, "b.png", "x" * 5000).status_code == 422
    assert EDITS.read_text() == COMMENTED


@pytest.mark.parametrize(
    ("path", "field"),
    [("check", "source"), ("check", "caption"), ("save", "source"), ("save", "caption"), ("save", "seen")],
)
def test_half_a_character_is_refused(client: TestClient, path: str, field: str) -> None:
    body = {"source": "b.png", "caption": "x", "approved": True, "seen": ""}
    content = json.dumps(body | {field: "\ud800"})
    answer = client.post(f"/api/{path}", content=content, headers={"Content-Type": "application/json"})
    assert answer.status_code == 422 and f"{field}: " in answer.json()["message"]
    assert EDITS.read_text() == COMMENTED


def test_the_page_may_load_nothing_from_elsewhere(client: TestClient) -> None:
    for path in ("/", "/page.js", "/page.css", "/api/cards", "/nowhere"):
        headers = client.get(path).headers
        assert headers["Content-Security-Policy"].startswith("default-src 'none'; script-src 'self'")
        assert "access-control-allow-origin" not in headers
    for path in ("/", "/page.js", "/page.css"):
        text = client.get(path).text
        assert "http:" not in text and "https:" not in text and "innerHTML" not in text


def test_a_port_in_use_is_told(project: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(UserError, match=r"Try --port 0"):
        serve(make_desk(), "127.0.0.1", taken.getsockname()[1], browser=False)


def test_the_command_says_what_is_missing(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["review", "--no-browser"]) == 1
    assert "params.yaml is not valid" in capsys.readouterr().err


@pytest.fixture
def served(project: Path) -> Iterator[str]:
    """The address of `pseudoword review` run as a user does, on the project with the real templates and tokenizer."""
    settings = (ROOT / "params.yaml").read_text().replace("data/sample ", f"{FOLDER} ")
    Path("params.yaml").write_text(settings)
    for name in ("models", "templates"):
        Path(name).symlink_to(ROOT / name)
    command = [sys.executable, "-m", "pseudoword", "review", "--no-browser", "--port", "0"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "user.name",
                   "GIT_CONFIG_VALUE_0": "Grace"}  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as server:
        assert server.stdout
        line = server.stdout.readline()
        assert line.startswith("3 pictures to review at http://127.0.0.1:")
        yield line.split()[5]
        server.terminate()


@pytest.fixture
def served_here(project: Path, request: pytest.FixtureRequest) -> Iterator[str]:
    """The address of the page served by a thread; the parameter says whether long prompts are read in windows."""
    app = make_app(make_desk(windowed=getattr(request, "param", False)))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
        thread = threading.Thread(target=server.run, args=[[listener]])
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
        server.should_exit = True
        thread.join()


READY = "document.querySelectorAll('nav li').length > 0"
SOURCE = "document.getElementById('source').textContent"
VALUE = "document.getElementById('caption').value"
STATUS = "document.getElementById('status').textContent"
CONFLICT = "!document.getElementById('conflict').hidden"
# Answers to a save arrive once `release()` was called.
HOLD = """
  const before = window.fetch;
  window.fetch = async (...request) => {
    const answer = await before(...request);
    if (request[0] === "api/save") await new Promise((go) => { window.release = go; });
    return answer;
  };
"""


def save_held(browser: Browser, press: Callable[[], None]) -> None:
    """Save with a key; the answer is on its way when this returns."""
    browser.evaluate("delete window.release")
    press()
    browser.until("typeof window.release === 'function'")


def test_a_refused_save_is_settled_on_its_own_picture(served_here: str, browser: Browser) -> None:
    browser.open(served_here, READY)
    browser.evaluate(HOLD)
    browser.press("ArrowDown", modifiers=1)
    browser.until(f"{SOURCE} === 'b.png'")
    browser.write("mine of b")
    EDITS.write_text(COMMENTED.replace('"old"', '"of another tab"'))
    save_held(browser, lambda: browser.press("s", modifiers=2))
    browser.press("ArrowDown", modifiers=1)
    browser.write("mine of c")
    browser.evaluate("window.release()")
    browser.until(f"{STATUS} === 'b.png: not saved'")
    assert browser.evaluate(SOURCE) == "sub/<i>c</i>.png" and browser.evaluate(VALUE) == "mine of c"
    assert not browser.evaluate(CONFLICT)

    browser.press("ArrowUp", modifiers=1)
    browser.until(CONFLICT)
    assert browser.evaluate(VALUE) == "mine of b"
    save_held(browser, lambda: browser.press("s", modifiers=2))  # nothing was settled yet
    browser.evaluate("window.release()")
    browser.until(f"{STATUS} === 'b.png: not saved'")
    assert read_edits(EDITS)["b.png"].caption == "of another tab"
    browser.evaluate("document.getElementById('take-theirs').click()")
    assert browser.evaluate(VALUE) == "of another tab" and not browser.evaluate(CONFLICT)
    browser.press("ArrowDown", modifiers=1)
    assert browser.evaluate(VALUE) == "mine of c"


def test_who_moves_on_while_an_approval_is_saved_stays_there(served_here: str, browser: Browser) -> None:
    browser.open(served_here, READY)
    browser.evaluate(HOLD)
    save_held(browser, lambda: browser.press("Enter", modifiers=2))
    browser.press("ArrowDown", modifiers=1)
    browser.press("ArrowDown", modifiers=1)
    assert browser.evaluate(SOURCE) == "sub/<i>c</i>.png"
    browser.evaluate("window.release()")
    browser.until(f"{STATUS} === 'a dog.jpg: approved'")
    assert browser.evaluate(SOURCE) == "sub/<i>c</i>.png"


@pytest.mark.parametrize(
    ("served_here", "wanted"), [(False, r"\d+ of 75 tokens"), (True, r"\d+ tokens")], indirect=["served_here"]
)
def test_tokens_are_shown_with_a_limit_where_there_is_one(served_here: str, browser: Browser, wanted: str) -> None:
    browser.open(served_here, READY)
    tokens = "document.getElementById('tokens')"
    assert re.fullmatch(wanted, browser.evaluate(f"{tokens}.textContent"))
    assert not browser.evaluate(f"{tokens}.classList.contains('over')")


def test_a_person_types_saves_and_approves_by_keyboard(served: str, browser: Browser) -> None:
    source, value = SOURCE, VALUE
    browser.open(served, READY)
    assert browser.evaluate(source) == "a dog.jpg" and browser.evaluate(value) == "in the snow"
    assert browser.evaluate("document.activeElement.id") == "caption"

    browser.write("in a flower with a hat and a hat")
    browser.until("document.getElementById('findings').innerText.includes('hat')")
    assert "a photo of a snorf in a flower" in browser.evaluate("document.getElementById('prompt').textContent")
    assert EDITS.read_text() == COMMENTED

    browser.write("in deep snow")
    browser.press("Enter", modifiers=2)
    browser.until(f"{source} === 'b.png'")
    assert read_edits(EDITS)["a dog.jpg"] == Edit(
        "in deep snow", "a dog in the snow", "Grace", time.strftime("%Y-%m-%d"), True, "0e0", line=4
    )
    assert EDITS.read_text().startswith(COMMENTED)
    assert browser.evaluate("document.getElementById('count').textContent") == "1 of 3 approved"

    browser.write("kept while looking elsewhere")
    browser.press("ArrowDown", modifiers=1)
    browser.until(f"{source} === 'sub/<i>c</i>.png'")
    assert browser.evaluate("document.querySelectorAll('main i, nav i').length") == 0
    browser.press("ArrowUp", modifiers=1)
    browser.until(f"{value} === 'kept while looking elsewhere'")

    EDITS.write_text(EDITS.read_text().replace('"old"', '"of another tab"'))
    browser.press("s", modifiers=2)
    browser.until("!document.getElementById('conflict').hidden")
    assert read_edits(EDITS)["b.png"].caption == "of another tab"
    browser.evaluate("document.getElementById('keep-mine').click()")
    browser.press("s", modifiers=2)
    browser.until("document.getElementById('status').textContent === 'b.png: saved'")
    edit = read_edits(EDITS)["b.png"]
    assert (edit.caption, edit.approved) == ("kept while looking elsewhere", False)
    assert "  # stays\n# the end\n" in EDITS.read_text()

    browser.press("Escape")
    browser.press("a")
    browser.until(f"{source} === 'sub/<i>c</i>.png'")
    assert read_edits(EDITS)["b.png"].approved
    browser.press("a")
    browser.until("document.getElementById('count').textContent === '3 of 3 approved'")

    browser.open(served, READY)
    browser.until("document.getElementById('count').textContent === '3 of 3 approved'")
    assert browser.evaluate(value) == "in deep snow"


def test_the_list_keeps_its_names_and_the_focus_on_a_narrow_page(served_here: str, browser: Browser) -> None:
    browser.call("Emulation.setDeviceMetricsOverride", width=640, height=900, deviceScaleFactor=1, mobile=False)
    browser.open(served_here, READY)
    current = "document.querySelector('nav [aria-current=true]')"
    browser.call("Accessibility.enable")
    button = browser.call("Runtime.evaluate", expression=current)["result"]["objectId"]
    (node,) = browser.call("Accessibility.getPartialAXTree", objectId=button, fetchRelatives=False)["nodes"]
    assert node["name"]["value"].startswith("a dog.jpg")

    browser.evaluate(f"{current}.focus()")
    browser.press("j")
    browser.until(f"{SOURCE} === 'b.png'")
    assert browser.evaluate("document.activeElement.dataset.source") == "b.png"
