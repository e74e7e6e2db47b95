"""The report: what it says, in which order, that it is safe to open, and that it is written whole."""

from __future__ import annotations

import datetime as dt
import hashlib
import html
import json
import re
import subprocess
import sys
from base64 import b64encode
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hydragraph.case import Case, open_case, write_case
from hydragraph.report import text, write_report
from hydragraph.report.document import Limits, document, script_json, section_of
from hydragraph.schema import OUTPUT
from report_case import HOSTILE, SECRET, T, cluster, frame, hostile_case, link, make, three_clusters

VOID = {"meta", "link", "input", "br", "img", "hr"}


@pytest.fixture
def case(tmp_path: Path) -> Case:
    return three_clusters(tmp_path / "case")


@pytest.fixture
def hostile(tmp_path: Path) -> Case:
    return hostile_case(tmp_path / "hostile")


class Page(HTMLParser):
    """Checks that elements nest; gathers ids, links, elements, attributes and visible text."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.hrefs: list[str] = []
        self.elements: list[str] = []
        self.attributes: list[tuple[str, str, str | None]] = []
        self.words: list[str] = []
        self.feed(source)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        self.attributes += [(tag, name, value) for name, value in attrs]
        self.ids += [value for name, value in attrs if name == "id" and value is not None]
        self.hrefs += [value for name, value in attrs if name == "href" and value is not None]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not {"script", "style"} & set(self.open):
            self.words.append(data)

    @property
    def said(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.words))


# ---------------------------------------------------------------- words and numbers


@pytest.mark.parametrize(
    ("function", "value", "said"),
    [
        (text.visible, "plain id", "plain id"),
        (text.visible, "a\u202eb\x1b]52\u00a0", "a⟨U+202E⟩b⟨U+001B⟩]52⟨U+00A0⟩"),
        (text.visible, "", "⟨empty⟩"),
        (text.visible, "x" * 1001, "x" * 200 + "… (1,001 characters)"),
        (text.count, 12_345, "12,345"),
        (text.count, 16_400_000, "16.4 M"),
        (text.count, 2_500_000_000, "2.5 bn"),
        (text.count, None, "–"),
        (text.number, 0.123456, "0.123"),
        (text.number, 12_345.6, "12,346"),
        (text.number, 0.00002, "2 × 10⁻⁵"),
        (text.number, float("nan"), "–"),
        (text.number, 0.0, "0"),
        (text.probability, 1e-9, "10⁻⁹"),
        (text.probability, 0.02, "0.02"),
        (text.probability, 0.0, "< 10⁻³⁰⁰"),
        (text.probability, None, "not a test"),
        (text.score, 0.999, "> 0.99"),
        (text.score, 1.0, "1.00"),
        (text.score, 0.001, "< 0.01"),
        (text.chance, 0.0, "0"),
        (text.chance, 0.004, "< 0.01"),
        (text.chance, 0.126, "0.13"),
        (text.chance, 17.2, "17"),
        (text.duration, 5400.0, "1 h 30 min"),
        (text.duration, 90_000.0, "1 d 1 h"),
        (text.duration, 86_401.0, "1 d"),
        (text.duration, 0.2, "0 s"),
        (text.duration, -60.0, "-1 min"),
        (text.size, 2_000_000, "2.0 MB"),
        (text.minute, T, "2026-02-01 00:00"),
        (text.day, None, "–"),
        (text.prose, "55 % of 1 %\u00a0x", "55\u00a0% of 1\u00a0%⟨U+00A0⟩x"),
        (text.gist, "Short. Enough.", "Short. Enough."),
        (text.gist, "One half. " + "x" * 200 + ". End.", "One half."),
        (text.gist, "x" * 200 + ". 0.5 % end.", "x" * 200 + "."),
        (text.gist, "x" * 200, "x" * 200),
    ],
)
def test_words(function: object, value: object, said: str) -> None:
    assert function(value) == said  # type: ignore[operator]


@given(st.text())
def test_visible_text_hides_nothing(value: str) -> None:
    shown = text.visible(value)
    assert shown.isprintable()
    assert shown != ""
    assert len(shown) > 200 or text.visible(shown) == shown


@given(st.recursive(st.text() | st.integers(), lambda inner: st.lists(inner), max_leaves=5))
def test_script_json_reads_back_and_ends_no_script(value: object) -> None:
    dumped = script_json(value)
    assert dumped.isascii()
    assert not set("<>&") & set(dumped)
    assert json.loads(dumped) == value


# ---------------------------------------------------------------- the document


def test_opening_says_what_was_read_and_found(case: Case) -> None:
    page = Page(document(case))
    assert "2 leads among 20 accounts" in page.said
    assert "1 cluster with 5 accounts is assessed as coordinated, 1 more needs a person’s review." in page.said
    assert "Clusters are leads for a person to review." in page.said
    assert "12,345 12,300 45" in page.said
    assert "45 rows could not be read" in page.said
    assert "column plan was not read" in page.said
    assert "10 accounts are in no cluster" in page.said
    assert "would find no cluster as strong and about as large as one called coordinated" in page.said


def test_page_is_well_formed_and_every_link_leads_somewhere(case: Case) -> None:
    page = Page(document(case))
    assert len(page.ids) == len(set(page.ids))
    assert {"cluster-c-ring", "cluster-c-office", "cluster-c-home"} <= set(page.ids)
    inside = [href for href in page.hrefs if href.startswith("#")]
    assert {href[1:] for href in inside} <= set(page.ids)
    assert [href for href in page.hrefs if not href.startswith("#")] == ["data:,"]


def test_leads_come_first_and_explained_ones_are_folded(case: Case) -> None:
    source = document(case)
    at = [source.index(f'id="cluster-c-{name}"') for name in ("ring", "office", "home")]
    assert at == sorted(at)
    assert '<article class="cluster coordinated" id="cluster-c-ring"' in source
    assert '<details class="cluster explained long" id="cluster-c-home">' in source
    folded = source[source.index('<details class="folded long">') :]
    assert "c-home" in folded[: folded.index("</details>")]


def test_cluster_section_holds_the_case_for_and_against(case: Case) -> None:
    source = document(case)
    ring = source[source.index('id="cluster-c-ring"') : source.index('id="cluster-c-office"')]
    why = ["Why c-ring is here.", "payment reuse", "Cards wander.", "A family with one card.", "Nobody shares a key."]
    what = [
        "Shared identifiers",
        "203.0.113.0/24",
        "<canvas",
        ">ring-0<",
        "Lineage",
        "1 h 30 min",
        "Takedown plan",
        '<td class="n">2</td><td class="n">1</td>',
    ]
    order = why + what
    assert [ring.index(words) for words in order] == sorted(ring.index(words) for words in order)
    office = source[source.index('id="cluster-c-office"') : source.index('id="cluster-c-home"')]
    assert "Nothing in these tables speaks against it." in office
    assert "Lineage" not in office
    assert "No identifier is worth blocking within the limits" in office
    home = source[source.index('id="cluster-c-home"') :]
    assert "Takedown" not in home


def test_signals_stand_where_the_sentences_quote_them(tmp_path: Path) -> None:
    row = cluster("c-1", "review", 2, explanation="20 % of 10 accounts. Loud here.", against="Calm here.")
    names = ("Loud", "Calm", "Mute")
    signals = [{"cluster_id": "c-1", "signal": name.lower(), "suggests": f"{name} here."} for name in names]
    source = document(make(tmp_path / "case", {"c-1": ["a", "b"]}, [row], signals=signals))
    assert "Fits it better than one controller:" in source
    order = ["The case for<", ">loud<", "1 more signal<", ">mute<", "The case against<", ">calm<"]
    assert [source.index(words) for words in order] == sorted(source.index(words) for words in order)
    assert source.count("20\u00a0% of 10 accounts.") == 2


def test_it_says_where_a_cluster_falls_apart_and_what_stays_of_it(tmp_path: Path) -> None:
    cut = {"cut_accounts": 2, "cut_others": 3, "cut_ties": 4, "stability": 0.75}
    rows = [cluster("c-1", "review", 5, **cut), cluster("c-2", "review", 2, bits=None)]
    said = Page(document(make(tmp_path / "case", {"c-1": list("abcde"), "c-2": ["x", "y"]}, rows))).said
    sentence = (
        "At 21.5 bits it falls into 3 and 2 accounts, which 4 ties hold together. Were a fifth of the identifiers lost,"
        " 75 % of the accounts that they connect in its core would stay in one piece, on average."
    )
    assert said.index("Cluster c-1") < said.index(sentence) < said.index("The case for")
    assert said.count("which 4 ties hold together") == said.count("Were a fifth") == 1
    assert "No tie between two of its accounts" not in said


def test_time_stands_among_the_evidence(tmp_path: Path) -> None:
    # of three ties two count time; four members have one of these
    ties = [("a", "b", 2.0), ("c", "d", 4.5), ("a", "c", 0.0)]
    rows = [{"account_a": a, "account_b": b, "bits": 20.0, "synchrony_bits": bits} for a, b, bits in ties]
    members = {"c-1": list("abcde"), "c-2": ["x", "y"]}
    case = make(
        tmp_path / "case", members, [cluster(name, "review", len(ids)) for name, ids in members.items()], ties=rows
    )
    said = Page(document(case)).said
    assert said.count("synchrony: requests that begin together") == 1
    assert "synchrony: requests that begin together 2 ties 4 of 5 – 4.5" in said[: said.index("Cluster c-2")]


def test_every_cluster_leads_on_to_the_next(case: Case) -> None:
    on = re.findall(r'Back to the leads</a>(?: <a href="#cluster-c-(\w+)">)?', document(case))
    assert on == ["office", "home", ""]  # ring, office, home: nothing comes behind the last


def test_members_stand_with_what_they_share_most_tellingly(tmp_path: Path) -> None:
    # a uses five devices, none of them alone, and b three of these; c uses a device of its own
    rows = [("a", f"dev-aaaa-{i}", 11.0 + i) for i in range(5)] + [("b", f"dev-aaaa-{i}", 11.0 + i) for i in range(3)]
    rows += [("c", "dev-cccc-9", 30.0), ("d", "dev-aaaa-3", 14.0), ("d", "dev-aaaa-4", 15.0)]
    case = make(tmp_path / "case", {"c-1": list("abcd")}, [cluster("c-1", "review", 4)])
    links = frame("links", [link(account, "device", value, bits) for account, value, bits in rows])
    write_case(case.path, {n: case.table(n) for n in OUTPUT} | {"links": links}, lambda: case.manifest, force=True)
    one = section_of(open_case(case.path), open_case(case.path).clusters.row(0, named=True))
    shown = {account: [share["label"][-2:] for share in shares] for account, shares in one.shares.items()}
    assert shown == {"a": ["-4", "-3", "-2"], "b": ["-2", "-1", "-0"], "d": ["-4", "-3"]}
    assert one.shares_total == {"a": 5, "b": 3, "d": 2}
    source = document(open_case(case.path))
    said = Page(source).said
    assert "a 40.0 dev-…-4 dev-…-3 dev-…-2 and 2 more" in said
    assert said.count("and 2 more") == 1
    assert "c 38.0 –" in said
    assert "dev-aaaa" not in source


def test_an_explanation_that_nothing_can_tell_is_not_named(tmp_path: Path) -> None:
    rows = [cluster("c-1", "review", 2, hypothesis="unknown", against=""), cluster("c-2", "review", 2, against="")]
    said = Page(document(make(tmp_path / "case", {"c-1": ["a", "b"], "c-2": ["x", "y"]}, rows))).said
    assert said.count("Innocent explanation that fits best") == 1
    assert "fits best: a household, or one person with several accounts . Nothing in these tables" in said
    assert "better than one controller" not in said


def test_its_week_stands_beside_that_of_all_accounts(tmp_path: Path) -> None:
    # 300 requests on Monday from 9:00 and 100 on Tuesday; all accounts 400 on Monday and 400 on Wednesday
    rows = [("c-1", 9, 300), ("c-1", 33, 100), (None, 9, 400), (None, 57, 400)]
    monday = dt.datetime(2026, 2, 2, tzinfo=dt.UTC)
    hours = [
        {"cluster_id": name, "hour": monday + dt.timedelta(hours=hour), "requests": number, "accounts": 2}
        for name, hour, number in rows
    ]
    clusters = [cluster("c-1", "review", 2), cluster("c-2", "review", 2)]
    source = document(make(tmp_path / "case", {"c-1": ["a", "b"], "c-2": ["x", "y"]}, clusters, hours=hours))
    said = Page(source).said
    sentence = (
        "Monday from 9:00 UTC, holds 75 % of its requests and 50 % of those of all accounts. The two weeks agree in 50 % of"
        " the requests."
    )
    assert said.index("Cluster c-1") < said.index(sentence) < said.index("Cluster c-2")
    assert "Bars: requests a day, at most 300 (2026-02-02). Line: members at work in the same hour, at most 2." in said
    assert source.count('class="bars"') == source.count('<use href="#everybody"/>') == 1
    assert '<path class="level-4" d="M90 0h9v9h-9zM90 20h9v9h-9z"/></symbol>' in source


def test_a_group_without_ties_says_what_holds_it(tmp_path: Path) -> None:
    rows = [cluster("c-1", "review", 2, bits=0.0, score=0.8)]
    said = Page(document(make(tmp_path / "case", {"c-1": ["a", "b"]}, rows))).said
    assert "held together by common address ranges or templates and by how they behave" in said
    assert "Holds to – no ties" in said
    assert "0.0 bits" not in said


def test_identifiers_are_masked_everywhere(case: Case) -> None:
    source = document(case)
    assert SECRET not in source
    assert "4929123456781234" not in source
    assert "4929" in source


def test_pictures_hold_what_the_tables_show(case: Case) -> None:
    source = document(case)
    found = re.search(r'<script type="application/json" id="cluster-c-ring-data">(.*?)</script>', source)
    assert found is not None
    data = json.loads(found[1])
    assert [row[0] for row in data["accounts"]] == [f"ring-{i}" for i in range(5)]
    assert data["accounts"][0][3:5] == [1, 1]
    assert data["accounts"][0][7] == "2026-02-03 00:00 (banned)"
    assert [title for _, title in data["kinds"]] == ["payment instrument", "address range"]
    assert len(data["links"]) == 3 * 13


def test_nothing_found_is_a_result(tmp_path: Path) -> None:
    page = Page(document(make(tmp_path / "case", {}, [])))
    assert "Nothing was found" in page.said
    assert "That is a result, not a failure." in page.said
    assert "There is no lead in this case." in page.said
    assert "article" not in page.elements
    assert "canvas" not in page.elements


def test_only_explained_clusters_make_no_lead(tmp_path: Path) -> None:
    source = document(make(tmp_path / "case", {"c-home": ["a", "b"]}, [cluster("c-home", "explained", 2)]))
    page = Page(source)
    assert "No leads: every cluster has an innocent explanation" in page.said
    assert "article" not in page.elements
    assert "cluster-c-home" in page.ids


def test_empty_manifest_and_bare_rows(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [{"cluster_id": "c-1", "assessment": "review"}]
    page = Page(document(make(tmp_path / "case", {"c-1": ["a"]}, rows, manifest={})))
    assert "The case does not say which tables it was made from." in page.said
    assert "No identifier is shared by two members." in page.said


def test_limits_are_kept_and_said(case: Case) -> None:
    limits = Limits(leads=1, clusters=1, members=2, identifiers=1, steps=1, nodes=4, links=3, lines=2)
    page = Page(document(case, limits))
    assert page.elements.count("article") == 1
    for sentence in (
        "The strongest 1 of 2 leads are listed",
        "1 cluster is shown in full below; the other 2 stand in the case’s Parquet tables",
        "2 of 5 members are shown; the rest stand in accounts.parquet",
        "The picture is cut down to",
        "2 of 5 members are drawn",
    ):
        assert sentence in page.said


def test_large_cluster_stays_small_on_the_page(tmp_path: Path) -> None:
    ids = [f"a-{i:05d}" for i in range(3000)]
    page = Page(document(make(tmp_path / "case", {"c-big": ids}, [cluster("c-big", "coordinated", 3000)])))
    assert "200 of 3,000 members are shown" in page.said
    assert "50 of 3,000 shared identifiers are shown" in page.said
    assert "240 of 3,000 accounts, 160 of 3,000 shared identifiers" in page.said
    assert page.elements.count("tr") < 400


# ---------------------------------------------------------------- safety


def test_hostile_values_stay_text(hostile: Case) -> None:
    source = document(hostile)
    page = Page(source)
    assert "img" not in page.elements
    assert [name for _, name, _ in page.attributes if name.startswith("on") or name == "style"] == []
    assert not [c for c in source if c not in "\n\u00a0" and not c.isprintable()]
    assert html.escape("<img src=x", quote=False) in source
    assert "⟨U+202E⟩" in page.said
    assert "{{ 7*7 }}" in page.said
    assert "x… (5,000 characters)" in page.said
    blocks = re.findall(r'<script type="application/json" id="([^"]+)">(.*?)</script>', source, flags=re.DOTALL)
    assert [name for name, _ in blocks] == ["cluster-no-1-data", "shapes"]
    accounts = json.loads(blocks[0][1])["accounts"]
    assert HOSTILE in [row[0] for row in accounts]


def test_policy_allows_these_scripts_and_no_request(case: Case) -> None:
    source = document(case)
    found = re.search(r'<meta http-equiv="Content-Security-Policy" content="([^"]+)">', source)
    assert found is not None
    policy = found[1]
    assert policy.startswith("default-src 'none'")
    assert "unsafe" not in policy
    parts = re.findall(r"<(?:script|style)>(.*?)</(?:script|style)>", source, flags=re.DOTALL)
    assert len(parts) == 3
    digests = {b64encode(hashlib.sha256(part.encode()).digest()).decode() for part in parts}
    assert set(re.findall(r"'sha256-([^']+)'", policy)) == digests
    assert source.index("Content-Security-Policy") < source.index("<style>") < source.index("<script>")
    namespace = "http://www.w3.org/2000/svg"  # a name, never fetched
    assert re.findall(r"https?:|url\(|@import|fetch\(|XMLHttp|\beval\b|innerHTML", source.replace(namespace, "")) == []
    assert [tag for tag, name, _ in Page(source).attributes if name == "src"] == []


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_colours_can_be_told_apart_in_both_themes(case: Case) -> None:
    style = document(case).partition("<style>")[2].partition("</style>")[0]
    for block in re.findall(r":root(?::not\(\.printing\))? \{(.*?)\n *\}", style, flags=re.DOTALL)[:2]:
        colours = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", block))
        assert len(colours) > 20
        for paper in ("paper", "card", "raised"):
            for ink in ("ink", "soft", "coordinated", "review", "explained"):
                assert contrast(colours[ink], colours[paper]) >= 4.5, (ink, paper)
        for name in ("coordinated", "review", "explained"):
            assert contrast(colours[name], colours[f"{name}-pale"]) >= 4.5, name
            assert contrast(colours[f"{name}-mark"], colours["card"]) >= 3, name
        for i in range(8):
            assert contrast(colours[f"kind-{i}"], colours["paper"]) >= 3, i


# ---------------------------------------------------------------- the file


def test_report_is_written_into_the_case_or_elsewhere(case: Case, tmp_path: Path) -> None:
    assert write_report(case) == case.path / "report.html"
    other = write_report(case, tmp_path / "new" / "folder" / "page.html")
    assert other.read_bytes() == (case.path / "report.html").read_bytes()
    assert [p.name for p in other.parent.iterdir()] == ["page.html"]


def test_report_does_not_depend_on_time_spent(case: Case) -> None:
    assert "0.123456789" not in document(case)


def test_failed_write_leaves_the_old_file(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_report(case)
    path.write_text("old")

    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        write_report(case)
    assert path.read_text() == "old"
    assert not list(case.path.glob(".*"))


PROBE = """
import sys, hashlib
from hydragraph.case import open_case
from hydragraph.report import write_report
from hydragraph.report.figures import cluster_figure, figure_bytes
case = open_case(sys.argv[1])
out = [hashlib.sha256(write_report(case, sys.argv[2]).read_bytes()).hexdigest()]
out += [hashlib.sha256(figure_bytes(cluster_figure(case.cluster("c-ring")), f)).hexdigest()
        for f in ("png", "svg", "pdf")]
assert "matplotlib.pyplot" not in sys.modules
print(*out)
"""


def test_bytes_are_the_same_in_every_process(case: Case, tmp_path: Path) -> None:
    said = set()
    for seed, threads in (("1", "1"), ("2", "2")):
        env = {"PYTHONHASHSEED": seed, "POLARS_MAX_THREADS": threads, "PYTHONPATH": ":".join(sys.path)}
        command = [sys.executable, "-c", PROBE, str(case.path), str(tmp_path / "r.html")]
        said.add(subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout)
    assert len(said) == 1
    assert len(said.pop().split()) == 4
