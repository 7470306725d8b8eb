"""The page in a real Chromium: every button is pressed, and nothing foreign becomes markup."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install playwright")
pytest.importorskip("starlette")
pytest.importorskip("uvicorn")

from playwright import sync_api

from edgead.artifact import Artifact
from edgead.line.control import Remembered
from edgead.line.page.server import Page
from edgead.line.status import PartStatus
from edgead.line.verdict import Judged
from tests.line.judged import failure, until
from tests.line.stations import Stand, rejected, remembered

_TOKEN = "a-token-of-the-test"
_HOSTILE = '<img src=x onerror="window.hacked=1"><script>window.hacked=1</script>'
_CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")

# Chromium's own threads and processes outlive a test: they end with the module.
pytestmark = [
    pytest.mark.skipif(_CHROMIUM is None, reason="chromium is not installed: apt install chromium"),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=_CHROMIUM, args=["--no-sandbox"])
        yield running
        running.close()


@pytest.fixture
def station(tiny_artifact: Callable[..., Artifact]) -> Stand:
    """A station with a history in which every foreign text is hostile."""
    artifact = tiny_artifact()
    defects = [rejected(artifact, number, f"{_HOSTILE} {number}.png") for number in (40, 39, 38)]
    history: list[Remembered] = []
    for number in range(1, 41):
        bad = number >= 38 or number % 9 == 0
        history.append(remembered(number, None if number == 20 else 0.8 if bad else 0.3))
    stand = Stand(
        last=defects[0],
        remembered=history,
        rejected=[*defects, Judged(failure(20, f"no frame came {_HOSTILE}").verdict)],
    )
    parts = (*stand.shown.parts, PartStatus(f"output 9 {_HOSTILE}", _HOSTILE, None, 3))
    stand.shown = replace(
        stand.shown,
        parts=(replace(parts[0], settings={"name": _HOSTILE}), *parts[1:]),
        recipes=("part.onnx", "other.onnx", f"{_HOSTILE}.onnx"),
        runtime=_HOSTILE,
    )
    return stand


class Look:
    """One tab, and all that went wrong in it."""

    def __init__(self, browser: Any, url: str, size: tuple[int, int]) -> None:
        self.wrong: list[str] = []
        self.tab = browser.new_page(viewport={"width": size[0], "height": size[1]})
        self.tab.on("console", self._console)
        self.tab.on("pageerror", lambda error: self.wrong.append(f"error {error}"))
        self.tab.on("dialog", lambda dialog: self.wrong.append("a dialog"))
        self.tab.on("request", lambda request: self._request(request.url, url))
        self.tab.goto(url)

    def _console(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.wrong.append(message.text)

    def _request(self, asked: str, url: str) -> None:
        if not asked.startswith((url, f"blob:{url}")):
            self.wrong.append(f"asked elsewhere: {asked}")

    def text(self, selector: str) -> str:
        return str(self.tab.text_content(selector))

    def waits_for(self, selector: str, text: str) -> None:
        sync_api.expect(self.tab.locator(selector)).to_contain_text(text)

    def check(self) -> None:
        assert self.wrong == []
        assert self.tab.evaluate("window.hacked") is None
        assert self.tab.locator("script").count() == 1
        assert self.tab.evaluate("document.documentElement.scrollWidth - window.innerWidth") <= 0


@contextmanager
def looking(
    browser: Any, *stations: Stand, size: tuple[int, int], token: str | None = _TOKEN
) -> Iterator[Look]:
    page = Page(stations, "127.0.0.1:0", token)
    page.start()
    try:
        look = Look(browser, page.url, size)
        yield look
        look.tab.close()
    finally:
        page.stop()


@pytest.mark.parametrize("size", [(1280, 900), (390, 844)], ids=["desktop", "phone"])
def test_every_button(browser: Any, station: Stand, size: tuple[int, int]) -> None:
    right = Stand("right")
    with looking(browser, station, right, size=size) as look:
        tab = look.tab
        tab.wait_for_selector("#picture:not([hidden])")
        look.waits_for("#verdict", "anomaly")
        assert look.text("#health") == "working"
        assert _HOSTILE in look.text("#frame")
        assert _HOSTILE in look.text("#parts")
        sync_api.expect(tab.locator("#defects figure")).to_have_count(4)
        assert tab.locator("#defects img").count() == 3  # one each, and none of the hostile names
        assert (look.text("#good"), look.text("#late"), look.text("#missed")) == ("5", "3", "4")

        # The slider shows what would change, and changes nothing itself.
        tab.fill("#number", "0.9")
        look.waits_for("#preview", "0.9000 would change 7 of the last 39 frames: 0 more rejected")
        assert station.shown.threshold == 0.5
        tab.click("#reset")
        sync_api.expect(tab.locator("#preview")).to_have_text("")
        tab.locator("#slider").fill("0.27")
        look.waits_for("#preview", "32 more rejected, 0 more accepted")

        # A wrong token, the right one.
        tab.click("#apply")
        look.waits_for("#message", "the token is wrong")
        assert station.shown.threshold == 0.5
        tab.fill("#token", _TOKEN)
        tab.click("#unlock")
        look.wrong = [one for one in look.wrong if "401" not in one]  # Chromium logs the answer
        tab.click("#apply")
        look.waits_for("#message", "The threshold is 0.2700 now.")
        assert station.shown.threshold == pytest.approx(0.27)
        look.waits_for("#threshold", "0.2700")

        tab.select_option("#recipe", f"{_HOSTILE}.onnx")
        tab.click("#switch")
        until(lambda: station.shown.artifact == f"{_HOSTILE}.onnx")
        look.waits_for("#artifact", f"{_HOSTILE}.onnx")
        tab.click("#trigger")
        look.waits_for("#message", "Triggered.")
        assert station.fired == 1

        # Heat map off: another picture. Held: none.
        before = tab.get_attribute("#picture", "src")
        tab.uncheck("#heat")
        sync_api.expect(tab.locator("#picture")).not_to_have_attribute("src", str(before))
        tab.check("#paused")
        held = tab.get_attribute("#picture", "src")
        assert station.last is not None
        station.last = replace(station.last, verdict=failure(41, f"lost {_HOSTILE}").verdict)
        station.shown = replace(station.shown, fault=f"no frame came {_HOSTILE}")
        look.waits_for("#verdict", "failure")
        look.waits_for("#faults", f"no frame came {_HOSTILE}")
        assert look.text("#health") == "fault"
        assert tab.get_attribute("#picture", "src") == held

        tab.get_by_role("button", name="right").click()
        look.waits_for("#verdict", "no verdict yet")
        assert tab.locator("#no-picture").is_visible()
        look.check()


def test_without_a_token_the_buttons_say_so(browser: Any, station: Stand) -> None:
    with looking(browser, station, size=(1280, 900), token=None) as look:
        look.waits_for("#message", "Nothing can be changed")
        look.tab.fill("#number", "0.9")
        look.waits_for("#preview", "would change")
        assert look.tab.is_disabled("#apply")
        assert look.tab.is_hidden("#token-form")
        assert look.tab.is_hidden("#trigger")
        look.check()
