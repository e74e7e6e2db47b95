"""The report in a real browser: nothing leaves, nothing fails, the viewer answers, hostile names stay text."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

import hydragraph as hg
from browser import CHROMIUM, Browser
from hydragraph.report.document import Limits
from report_case import HOSTILE, hostile_case, large_case

pytestmark = [
    pytest.mark.slow,
    pytest.mark.xdist_group("browser"),  # one worker: one world
    pytest.mark.skipif(not CHROMIUM.exists(), reason="needs /usr/bin/chromium to open the report"),
]


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a world of 60,000 accounts."""
    folder = tmp_path_factory.mktemp("world")
    hg.simulate(folder / "world", accounts=60_000, seed=3)
    return hg.analyze(folder / "world", folder / "case").path / "report.html"


@pytest.fixture
def page(report: Path, tmp_path: Path) -> Iterator[Browser]:
    with Browser(tmp_path / "profile") as browser:
        browser.open(report)
        yield browser
        assert browser.said == []
        assert [url for url in browser.asked if not url.startswith("data:")] == [report.as_uri()]


FIGURE = "document.querySelector('figure.picture')"
PANEL = f"{FIGURE}.querySelector('.panel').textContent"
DRAWN = f"{FIGURE}.querySelector('canvas').toDataURL()"


def first_picture(page: Browser) -> dict[str, Any]:
    """Bring the first picture into the window; what it holds, and the box of its canvas."""
    page.do(f"{FIGURE}.scrollIntoView()")
    page.until(f"{FIGURE}.querySelector('canvas').width > 300")
    page.settled()
    data: dict[str, Any] = json.loads(page.do(f"document.getElementById({FIGURE}.dataset.picture).textContent"))
    box = page.do(f"(({{x, y, width}}) => [x, y, width])({FIGURE}.querySelector('canvas').getBoundingClientRect())")
    return data | {"box": box}


def place(shown: dict[str, Any], node: list[Any]) -> tuple[float, float]:
    """Where an account or identifier of the picture stands in the window; the data's box begins 40 below the canvas."""
    x, y, width = shown["box"]
    return x + node[1] * width / 1000, y + (node[2] + 40) * width / 1000


def alone(shown: dict[str, Any], rows: list[list[Any]]) -> list[Any]:
    """One of `rows` that no other node of the picture comes near."""
    every = [*shown["accounts"], *shown["identifiers"]]
    return max(rows, key=lambda row: min(abs(row[1] - o[1]) + abs(row[2] - o[2]) for o in every if o is not row))


def test_it_opens_with_what_was_found_and_asks_for_nothing(page: Browser) -> None:
    leads = page.do("document.querySelectorAll('article').length")
    assert page.do("document.querySelector('h1').textContent").endswith("leads among 60,000 accounts")
    assert leads > 20
    assert page.do("document.documentElement.className") == "scripted"
    # to the end and back: every picture is made once
    page.do("new Promise(async (done) => { for (let y = 0; y < document.body.scrollHeight; y += 3000) {"
            " scrollTo(0, y); await new Promise(requestAnimationFrame); } done(true); })")  # fmt: skip


def test_a_click_shows_the_evidence_of_an_account(page: Browser) -> None:
    shown = first_picture(page)
    assert "Choose an account or an identifier" in page.do(PANEL)
    before = page.do(DRAWN)
    account = alone(shown, shown["accounts"])
    page.click(*place(shown, account))
    page.settled()
    said = page.do(PANEL)
    assert account[0] in said
    at = shown["accounts"].index(account)
    links = shown["links"]
    used = [shown["identifiers"][links[i + 1]] for i in range(0, len(links), 3) if links[i] == at]
    assert used
    assert all(f"{one[0]}" in said for one in used)
    assert page.do(DRAWN) != before
    # from the panel on to an identifier
    page.do(f"{FIGURE}.querySelector('.panel li button').click()")
    assert "in the table:" in page.do(PANEL)
    assert account[0] in page.do(PANEL)


def test_it_can_be_moved_and_zoomed_and_hovered(page: Browser) -> None:
    shown = first_picture(page)
    one = alone(shown, shown["identifiers"])
    x, y = place(shown, one)
    page.mouse("mouseMoved", x, y)
    assert one[0] in page.do(f"{FIGURE}.querySelector('canvas').title")
    drawn = [page.do(DRAWN)]
    # drag the paper: the identifier is then found elsewhere
    left, top = shown["box"][0] + 8, shown["box"][1] + 8
    page.mouse("mouseMoved", left, top)
    page.mouse("mousePressed", left, top)
    page.mouse("mouseMoved", left + 30, top + 20, buttons=1)
    page.mouse("mouseReleased", left + 30, top + 20)
    page.mouse("mouseMoved", x + 30, y + 20)
    assert one[0] in page.do(f"{FIGURE}.querySelector('canvas').title")
    for button in ("in", "in", "fit"):
        page.do(f"{FIGURE}.querySelector('[data-do={button}]').click()")
        page.settled()
        drawn.append(page.do(DRAWN))
    assert all(one != next_ for one, next_ in pairwise(drawn))
    page.mouse("mouseMoved", x, y)
    assert one[0] in page.do(f"{FIGURE}.querySelector('canvas').title")  # Fit brought it back


def test_the_wheel_zooms_only_a_picture_in_focus(page: Browser) -> None:
    shown = first_picture(page)
    x, y, _ = shown["box"]
    before = page.do(DRAWN)
    page.do(f"{FIGURE}.querySelector('canvas').focus({{preventScroll: true}})")
    page.mouse("mouseWheel", x + 200, y + 200, deltaX=0, deltaY=-200)
    page.until(f"{DRAWN} !== {json.dumps(before)}")


def test_search_and_kinds_take_things_away(page: Browser) -> None:
    shown = first_picture(page)
    page.do(f"{FIGURE}.querySelector('input[type=search]').focus()")
    wanted = shown["accounts"][3][0]
    page.send("Input.insertText", text=wanted)
    assert wanted in page.do(PANEL)
    page.do(f"((one) => {{ one.value = ''; one.dispatchEvent(new Event('input')); }})({FIGURE}.querySelector('input'))")
    page.settled()
    all_kinds = page.do(DRAWN)
    box = f"{FIGURE}.querySelector('[data-kind]')"
    page.do(f"{box}.click()")
    page.settled()
    fewer = page.do(DRAWN)
    page.do(f"{box}.click()")
    page.settled()
    assert fewer != all_kinds
    assert page.do(DRAWN) == all_kinds


def test_keys_step_through_the_accounts(page: Browser) -> None:
    shown = first_picture(page)
    page.do(f"{FIGURE}.querySelector('canvas').focus()")
    for key, account in (("n", 0), ("n", 1), ("p", 0)):
        page.key(key)
        assert shown["accounts"][account][0] in page.do(PANEL)
    page.key("Escape")
    assert "Choose an account or an identifier" in page.do(PANEL)


def test_tab_leads_to_the_leads_first(page: Browser) -> None:
    page.key("Tab")
    assert page.do("document.activeElement.textContent") == "Skip to the leads"
    page.key("Enter")
    page.until("location.hash === '#leads'")
    page.key("Tab")
    page.key("Tab")  # over the region that scrolls to the first cluster
    assert page.do("document.activeElement.getAttribute('href')").startswith("#cluster-")


def test_dark_paper_is_dark(report: Path, tmp_path: Path) -> None:
    with Browser(tmp_path / "dark", dark=True) as page:
        page.open(report)
        assert page.do("getComputedStyle(document.body).backgroundColor") == "rgb(19, 22, 25)"
        first_picture(page)
        corner = f"{FIGURE}.querySelector('canvas')"
        assert page.do(f"getComputedStyle({corner}).backgroundColor") == "rgb(19, 22, 25)"
        assert page.said == []


@pytest.mark.parametrize("width", [320, 400, 760])
def test_a_narrow_window_needs_no_scrolling_sideways(report: Path, tmp_path: Path, width: int) -> None:
    with Browser(tmp_path / "narrow", width=width, height=800) as page:
        page.open(report)
        whole, window = page.do("((root) => [root.scrollWidth, root.clientWidth])(document.documentElement)")
        assert whole == window > width - 20


def test_on_paper_nothing_sticks_out(page: Browser) -> None:
    page.send("Emulation.setDeviceMetricsOverride", width=720, height=1000, deviceScaleFactor=1, mobile=False)
    page.do("dispatchEvent(new Event('beforeprint'))")
    page.send("Emulation.setEmulatedMedia", media="print")
    page.settled()
    whole, window = page.do("((root) => [root.scrollWidth, root.clientWidth])(document.documentElement)")
    assert whole == window


FOLDED = "document.querySelectorAll('details:not([open])').length"
LONG = "document.querySelectorAll('details.long:not([open])').length"


def test_print_opens_what_is_short_and_is_light(page: Browser) -> None:
    folded, long = page.do(FOLDED), page.do(LONG)
    assert folded > long > 0
    page.do("dispatchEvent(new Event('beforeprint'))")
    assert page.do(FOLDED) == page.do(LONG) == long
    assert page.do("document.documentElement.classList.contains('printing')")
    page.do("dispatchEvent(new Event('afterprint'))")
    assert page.do(FOLDED) == folded


def test_one_button_unfolds_everything_and_folds_what_was_folded(page: Browser) -> None:
    folded, kept = page.do(FOLDED), "document.querySelector('article details').open"
    page.do("document.querySelector('article details').open = true")  # by hand: it stays open
    for left in (0, folded - 1, 0, folded - 1):
        page.do("document.querySelector('#unfold').click()")
        assert page.do(FOLDED) == left
        assert page.do(kept)


def test_paper_gets_lines_and_no_bitmaps(tmp_path: Path) -> None:
    # a canvas that was drawn long before goes to paper as a bitmap, one that is drawn for the print as lines
    with Browser(tmp_path / "profile") as page:
        page.open(hg.write_report(hostile_case(tmp_path / "case")))
        first_picture(page)
        printed = base64.b64decode(page.send("Page.printToPDF")["data"])
    assert printed.startswith(b"%PDF")
    assert b"/Subtype /Image" not in printed


def test_a_large_picture_is_not_drawn_anew_at_every_move(tmp_path: Path) -> None:
    path = hg.write_report(large_case(tmp_path / "case"), limits=Limits(nodes=2000, links=8000))
    with Browser(tmp_path / "profile") as page:
        page.open(path)
        shown = first_picture(page)
        assert len(shown["accounts"]) + len(shown["identifiers"]) == 2000
        assert len(shown["links"]) == 3 * 8000
        # no clock: the picture comes to rest when the test says so
        page.do("window.setTimeout = (rest) => { window.rest = rest; return 1; }; 0")
        page.do("window.lines = 0; ((pen) => { const line = pen.lineTo;"
                " pen.lineTo = function (...at) { window.lines += 1; line.apply(this, at); }; })"
                "(CanvasRenderingContext2D.prototype)")  # fmt: skip
        start = page.do(DRAWN)
        x, y = shown["box"][0] + 8, shown["box"][1] + 8
        page.mouse("mouseMoved", x, y)
        page.mouse("mousePressed", x, y)
        seen = set()
        for step in range(1, 21):
            page.mouse("mouseMoved", x + 8 * step, y + 4 * step, buttons=1)
            page.settled()
            seen.add(page.do(DRAWN))
        page.mouse("mouseReleased", x + 160, y + 80)
        assert len(seen) == 20
        moved = page.do("window.lines")
        assert 8000 <= moved < 3 * 8000
        page.do("window.rest()")
        page.settled()
        assert page.do("window.lines") > moved
        assert page.do(DRAWN) not in seen
        page.do(f"{FIGURE}.querySelector('[data-do=fit]').click()")
        page.settled()
        assert page.do(DRAWN) == start
        # what is in focus is drawn in front of the rest, which is drawn once
        drawn = page.do("window.lines")
        focused = []
        for account in (0, 300, 600, 900, 0):
            page.mouse("mouseMoved", *place(shown, shown["accounts"][account]))
            page.settled()
            focused.append(page.do(DRAWN))
        assert page.do("window.lines") - drawn < 2 * 8000
        assert focused[0] == focused[4] != start
        assert len(set(focused)) == 4
        assert page.said == []


def test_hostile_names_stay_text(tmp_path: Path) -> None:
    path = hg.write_report(hostile_case(tmp_path / "case"))
    with Browser(tmp_path / "profile") as page:
        page.open(path)
        title = page.do("document.title")
        shown = first_picture(page)
        for account in shown["accounts"]:
            page.click(*place(shown, account))
            page.mouse("mouseMoved", *place(shown, account))
        page.do(f"{FIGURE}.querySelector('canvas').focus()")
        said = set()
        for _ in shown["accounts"]:
            page.key("n")
            said.add(page.do(f"{FIGURE}.querySelector('.panel h4').textContent"))
        assert HOSTILE in said
        assert page.do("document.title") == title != "owned"
        assert page.do("document.querySelectorAll('img, iframe, object, embed').length") == 0
        assert page.said == []
        assert [url for url in page.asked if not url.startswith("data:")] == [path.as_uri()]


def test_a_page_that_does_fail_is_seen_to_fail(tmp_path: Path) -> None:
    # the checks above can see what they look for
    path = tmp_path / "bad.html"
    path.write_text("<img src='http://127.0.0.1:9/x.png'><script>console.log('said'); missing();</script>")
    with Browser(tmp_path / "profile") as page:
        page.open(path)
        page.until("document.images[0].complete")
        assert any("said" in one for one in page.said)
        assert any("missing" in one for one in page.said)
        assert "http://127.0.0.1:9/x.png" in page.asked
