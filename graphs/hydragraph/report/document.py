"""A case -> one HTML document that opens offline."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from hydragraph import identifiers
from hydragraph.assess import INNOCENT, UNKNOWN
from hydragraph.case import Case
from hydragraph.hours import week_of
from hydragraph.lineage import Regrowth
from hydragraph.report import text
from hydragraph.report.lifespans import Lifespans, lifespans
from hydragraph.report.picture import (
    KIND_COLOURS,
    SHAPES,
    Picture,
    draw,
    kind_order,
    ranked_members,
    shared_identifiers,
)
from hydragraph.report.rhythm import Rhythm, rhythm, week_paths
from hydragraph.review import GIVEN
from hydragraph.schema import ASSESSMENTS, OUTPUT
from hydragraph.stability import holding_sentence
from hydragraph.takedown import cut_cluster, plan_sentence

if TYPE_CHECKING:
    from jinja2 import Environment


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How much of a case a report shows; what is left out is counted in the report and stands in the case's tables.

    leads: rows of the list of clusters. clusters: clusters shown in full. members, identifiers, steps: rows of a
    cluster's tables (steps: lineage and takedown). nodes, links: of a cluster's picture. lines: of its lifespans.
    """

    leads: int = 500
    clusters: int = 50
    members: int = 200
    identifiers: int = 50
    steps: int = 100
    nodes: int = 400
    links: int = 1500
    lines: int = 60


_PER_CLUSTER = ("signals", "lineage", "takedown", "hours")

_TELLING = 3
"""Identifiers beside each member."""

_MEMBER = ["account_id", "membership", "bits", "created_at", "first_seen", "last_seen", "closed_at", "close_reason",
    "events", "tokens"]  # fmt: skip


@dataclass(frozen=True)
class Section:
    """One cluster as the templates want it: its row, and shown rows with the number there are (members: `_MEMBER`; shares,
    shares_total: by account, the most telling identifiers it shares with other members, and how many there are).
    decision: the one that holds, as in `Case.decisions`."""

    row: Mapping[str, Any]
    anchor: str
    decision: Mapping[str, Any] | None
    holding: str
    speaking: Sequence[Mapping[str, Any]]
    contrary: Sequence[Mapping[str, Any]]
    silent: Sequence[Mapping[str, Any]]
    by_kind: Sequence[Mapping[str, Any]]
    in_time: Mapping[str, Any]
    evidence: Sequence[Mapping[str, Any]]
    evidence_total: int
    members: Sequence[Sequence[Any]]
    members_total: int
    shares: Mapping[str, Sequence[Mapping[str, Any]]]
    shares_total: Mapping[str, int]
    lineage: Sequence[Mapping[str, Any]]
    lineage_total: int
    regrowth: str
    takedown: Sequence[Mapping[str, Any]]
    takedown_total: int
    plan: str
    chokepoint: str
    picture: Picture
    picture_json: str
    lifespans: Lifespans | None
    rhythm: Rhythm | None


def document(case: Case, limits: Limits = Limits()) -> str:
    """The whole report of `case` as HTML text; the same case and limits give the same text."""
    clusters = _in_order(case.clusters)
    shown = clusters.head(limits.clusters).to_dicts()
    fits = pl.col("assessment").eq_missing("explained")
    leads, explained = clusters.filter(~fits), clusters.filter(fits)
    anchors = {row["cluster_id"]: _anchor(row["cluster_id"], i) for i, row in enumerate(shown)}
    kinds = kind_order(case.links["kind"].drop_nulls().unique().to_list())
    environment = _environment()
    style = environment.get_template("report.css").render(colours=KIND_COLOURS)
    scripts = [_source(name) for name in ("page.js", "viewer.js")]
    return environment.get_template("report.html").render(
        style=_trusted(style),
        scripts=[_trusted(script) for script in scripts],
        policy=_trusted(
            "default-src 'none'; img-src data:; base-uri 'none'; form-action 'none'; "
            f"style-src {_digest(style)}; script-src {' '.join(map(_digest, scripts))}"
        ),
        shapes=SHAPES,
        shapes_json=_trusted(script_json(SHAPES)),
        kinds=kinds,
        everybody=week_paths(week_of(case.hours.filter(pl.col("cluster_id").is_null()))),
        limits=limits,
        anchors=anchors,
        leads=leads.head(limits.leads).to_dicts(),
        leads_total=leads.height,
        explained=explained.head(limits.leads).to_dicts(),
        explained_total=explained.height,
        found=_found(case, clusters),
        read=_read(case),
        sections=sections_of(case, shown, anchors, kinds, limits),
        cluster_total=clusters.height,
    )


def innocent_title(hypothesis: str) -> str:
    """An innocent explanation in words, household -> a household, or one person with several accounts; empty if none is."""
    if hypothesis in (UNKNOWN, GIVEN):
        return ""
    known = {one.name: one.title.removesuffix(",") for one in INNOCENT}
    return known.get(hypothesis, hypothesis.replace("_", " "))


def script_json(value: Any) -> str:
    """`value` as JSON that may stand inside a script element: ASCII only, and no <, > or &."""
    dumped = json.dumps(value, ensure_ascii=True, separators=(",", ":"), allow_nan=False)
    return dumped.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _in_order(clusters: pl.DataFrame) -> pl.DataFrame:
    """Clusters by assessment; inside one assessment as the case has them, strongest first."""
    rank = {name: i for i, name in enumerate(ASSESSMENTS)}
    place = pl.col("assessment").replace_strict(rank, default=len(rank), return_dtype=pl.Int64)
    return clusters.sort(place, maintain_order=True)


def _anchor(cluster_id: str, position: int) -> str:
    return (
        f"cluster-{cluster_id}" if re.fullmatch(r"[A-Za-z0-9_.-]{1,64}", cluster_id) else f"cluster-no-{position + 1}"
    )


def section_of(case: Case, row: Mapping[str, Any], limits: Limits = Limits()) -> Section:
    """One cluster of `case` as the report shows it; row: its row of the clusters table."""
    kinds = kind_order(case.links["kind"].drop_nulls().unique().to_list())
    return sections_of(case, [row], {row["cluster_id"]: _anchor(row["cluster_id"], 0)}, kinds, limits)[0]


def opening(case: Case) -> dict[str, str]:
    """What the report opens with, as text: headline, summary, and sure, which says how sure it is."""
    parts: Any = _environment().get_template("parts.html").module
    found, read = _found(case, case.clusters), _read(case)
    said = {
        "headline": parts.headline(found, case.clusters.height),
        "summary": parts.summary(found, read),
        "sure": parts.sure(found, case.clusters.height),
    }
    return {name: " ".join(one.striptags().split()) for name, one in said.items()}


def sections_of(
    case: Case, shown: Sequence[Mapping[str, Any]], anchors: Mapping[str, str], kinds: Sequence[str], limits: Limits
) -> list[Section]:
    """The sections of the clusters `shown` (rows of the clusters table), in that order."""
    ids = [row["cluster_id"] for row in shown]
    wanted = pl.col("cluster_id").is_in(ids)
    members = case.accounts.filter(wanted)
    where = members.select("account_id", "cluster_id")
    links = case.links.join(where, on="account_id")
    in_time = case.ties.filter(pl.col("synchrony_bits") > 0).join(where, left_on="account_a", right_on="account_id")
    # each large table is divided once, never filtered once a cluster
    parts = {
        "members": _divided(members),
        "links": _divided(links),
        "in_time": _divided(in_time),
        **{name: _divided(case.table(name).filter(wanted)) for name in _PER_CLUSTER},
    }
    empty = {"members": OUTPUT["accounts"].empty(), "links": links.clear(), "in_time": in_time.clear()} | {
        name: OUTPUT[name].empty() for name in _PER_CLUSTER
    }
    everybody = week_of(case.hours.filter(pl.col("cluster_id").is_null()))
    decided = {d["cluster_id"]: d for d in case.decisions.iter_rows(named=True)}  # the last one holds
    sections = []
    for row in shown:
        part = {name: parts[name].get(row["cluster_id"], empty[name]) for name in parts}
        decision = decided.get(row["cluster_id"])
        sections.append(_section(row, anchors[row["cluster_id"]], decision, part, kinds, everybody, limits))
    return sections


def _divided(frame: pl.DataFrame) -> dict[Any, pl.DataFrame]:
    return {key[0]: part for key, part in frame.partition_by("cluster_id", as_dict=True).items()}


def _section(
    row: Mapping[str, Any],
    anchor: str,
    decision: Mapping[str, Any] | None,
    part: Mapping[str, pl.DataFrame],
    kinds: Sequence[str],
    everybody: NDArray[np.int64],
    limits: Limits,
) -> Section:
    members, links = ranked_members(part["members"]), part["links"]
    shared = shared_identifiers(links)
    picture = draw(members, links, kinds, shared=shared, nodes=limits.nodes, edges=limits.links)
    lineage = part["lineage"].sort("bits", "parent", "child", descending=[True, False, False], nulls_last=True)
    takedown = part["takedown"].sort("step")
    evidence, steps = shared.head(limits.identifiers), takedown.head(limits.steps)
    shares = _shares(members.head(limits.members), links, shared)
    labels = _labels(evidence, steps, picture.identifiers, shares)
    return Section(
        row=row,
        anchor=anchor,
        decision=decision,
        holding=holding_sentence(row),
        **_signals(row, part["signals"]),
        by_kind=_by_kind(links, shared),
        in_time=_in_time(part["in_time"]),
        evidence=_with_labels(evidence, labels),
        evidence_total=shared.height,
        members=members.select(_MEMBER).head(limits.members).rows(),
        members_total=members.height,
        shares=_by_account(_with_labels(shares.filter(pl.col("place") < _TELLING), labels)),
        shares_total=dict(shares.group_by("account_id").len().iter_rows()),
        lineage=lineage.head(limits.steps).to_dicts(),
        lineage_total=lineage.height,
        regrowth=Regrowth(part["members"], lineage, links).sentence,
        takedown=_with_labels(steps, labels),
        takedown_total=takedown.height,
        plan=plan_sentence(takedown, members.height),
        # nothing is to be blocked where an innocent explanation fits
        chokepoint="" if row["assessment"] == "explained" else cut_cluster(links).sentence(identifiers.mask_value),
        picture=picture,
        picture_json=_trusted(script_json(_picture_data(picture, labels))),
        lifespans=lifespans(members, lineage, limit=limits.lines),
        rhythm=rhythm(part["hours"], everybody),
    )


def _signals(row: Mapping[str, Any], signals: pl.DataFrame) -> dict[str, list[dict[str, Any]]]:
    """Signals whose sentence the explanation quotes, those that `against` quotes, and the others.

    Inside each the smallest p-value first. Where the explanation quotes none, all that do not speak against it speak.
    """
    rows = signals.sort("p_value", "signal", nulls_last=True).to_dicts()
    quoted = {
        "speaking": [one for one in rows if one["suggests"] and one["suggests"] in (row["explanation"] or "")],
        "contrary": [one for one in rows if one["suggests"] and one["suggests"] in (row["against"] or "")],
    }
    silent = [one for one in rows if one not in quoted["speaking"] and one not in quoted["contrary"]]
    if not quoted["speaking"]:
        quoted["speaking"], silent = silent, []
    return {**quoted, "silent": silent}


def _by_kind(links: pl.DataFrame, shared: pl.DataFrame) -> list[dict[str, Any]]:
    """For each kind: how many identifiers of it are shared, by how many members, and the most members of one."""
    using = links.join(shared.select("kind", "value"), on=["kind", "value"], how="semi")
    return (
        shared.group_by("kind")
        .agg(
            identifiers=pl.len(),
            widest=pl.col("members").max(),
            bits=pl.col("bits").max(),
            first=pl.col("number").min(),
        )
        .join(using.group_by("kind").agg(members=pl.col("account_id").n_unique()), on="kind")
        .sort("first")
        .to_dicts()
    )


def _shares(members: pl.DataFrame, links: pl.DataFrame, shared: pl.DataFrame) -> pl.DataFrame:
    """What each of `members` shares with others: account_id, number, kind, value, place, from 0, the most bits first."""
    return (
        links.join(members, on="account_id", how="semi")
        .select("account_id", "kind", "value")
        .join(shared.select("number", "kind", "value", "bits"), on=["kind", "value"])
        .sort("account_id", "bits", "number", descending=[False, True, False], nulls_last=True)
        .select("account_id", "number", "kind", "value", place=pl.int_range(pl.len()).over("account_id"))
    )


def _by_account(rows: Sequence[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for one in rows:
        found.setdefault(one["account_id"], []).append(one)
    return found


def _in_time(ties: pl.DataFrame) -> dict[str, Any]:
    """Ties that count bursts begun together, members that have one, and the most bits they count for it."""
    members = pl.concat([ties["account_a"], ties["account_b"]]).n_unique()
    return {"ties": ties.height, "members": members, "bits": ties["synchrony_bits"].max()}


def masked(frame: pl.DataFrame) -> list[dict[str, Any]]:
    """Rows of `frame` with `label`, the masked value, in place of `value`; the raw value goes no further."""
    return _with_labels(frame, _labels(frame))


_Labels = Mapping[tuple[str, str], str]


def _labels(*frames: pl.DataFrame) -> _Labels:
    """The masked value of each kind and value of `frames`."""
    known = {key for frame in frames for key in zip(frame["kind"].to_list(), frame["value"].to_list(), strict=True)}
    return {(kind, raw): identifiers.mask_value(kind, raw) for kind, raw in known}


def _with_labels(frame: pl.DataFrame, labels: _Labels) -> list[dict[str, Any]]:
    rows = frame.to_dicts()
    for one in rows:
        one["label"] = labels[one["kind"], one.pop("value")]
    return rows


def _picture_data(picture: Picture, labels: _Labels) -> dict[str, Any]:
    """What the viewer gets: nothing but what the tables show, identifiers masked, hidden characters made visible."""
    at = picture.place.tolist()
    used = {kind: i for i, kind in enumerate(picture.kinds)}
    accounts = [
        [
            text.visible(row["account_id"]),
            *at[i],
            int(row["membership"] == "core"),
            int(row["closed_at"] is not None),
            text.bits(row["bits"]),
            f"{text.minute(row['first_seen'])} to {text.minute(row['last_seen'])}",
            text.minute(row["closed_at"]) + (f" ({text.visible(row['close_reason'])})" if row["close_reason"] else ""),
        ]
        for i, row in enumerate(picture.accounts.iter_rows(named=True))
    ]
    known = [
        [
            text.visible(row["label"]),
            *at[len(accounts) + i],
            used[row["kind"]],
            row["number"],
            row["members"],
            text.count(row["accounts"]),
            text.bits(row["bits"]),
        ]
        for i, row in enumerate(_with_labels(picture.identifiers, labels))
    ]
    return {
        "kinds": [[i, text.visible(identifiers.kind(picture.kinds[i]).title)] for i in picture.present],
        "accounts": accounts,
        "identifiers": known,
        "links": [value for link in picture.links.iter_rows() for value in link],
    }


def _found(case: Case, clusters: pl.DataFrame) -> dict[str, Any]:
    """How many clusters and accounts of each assessment, and what the strongest claim rests on."""
    groups = {name: clusters.filter(pl.col("assessment") == name) for name in ASSESSMENTS}
    return {
        "clusters": {name: rows.height for name, rows in groups.items()},
        "accounts": {name: int(rows["size"].sum()) for name, rows in groups.items()},
        "leads": groups["coordinated"].height + groups["review"].height,
        "reviewed": int((clusters["review_state"] != "unreviewed").sum()),
        "read": case.accounts.height,
        "unclustered": int(case.accounts["cluster_id"].null_count()),
        "chance": groups["coordinated"]["expected_by_chance"].max(),
        "weakest": groups["coordinated"]["score"].min(),
    }


def _read(case: Case) -> dict[str, Any]:
    """What was analysed, from the manifest: tolerant, because a case may be older than this page."""
    manifest = case.manifest
    fields = ("table", "file", "rows", "bytes", "digest")
    inputs = [{key: one.get(key) for key in fields} for one in manifest.get("inputs") or ()]
    tables = []
    for name, rows in sorted((manifest.get("rows") or {}).items()):
        counts = {key: rows.get(key) for key in ("read", "kept", "rejected", "set_aside")}
        tables.append({"table": name, "files": sum(one["table"] == name for one in inputs), **counts})
    settings = manifest.get("settings") or {}
    return {
        "tables": tables,
        "rows": sum(table["read"] or 0 for table in tables),
        "rejected": sum(table["rejected"] or 0 for table in tables),
        "notes": [str(note) for note in manifest.get("notes") or ()],
        "version": str(manifest.get("version", "")),
        "seed": str(manifest.get("seed", "")),
        "settings": sorted((str(k), str(v)) for k, v in settings.items()),
        "inputs": inputs,
        "active": (case.accounts["first_seen"].min(), case.accounts["last_seen"].max()),
    }


@cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import escape

    environment = Environment(
        loader=PackageLoader("hydragraph.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=_finalise,
    )
    # markup, so that its non-breaking blanks are not written out by `_finalise`
    environment.filters["prose"] = lambda sentences: escape(text.prose(sentences))
    for show in (text.count, text.number, text.bits, text.probability, text.score, text.chance, text.size, text.gist):
        environment.filters[show.__name__] = show
    for show_time in (text.minute, text.day, text.duration):
        environment.filters[show_time.__name__] = show_time
    environment.filters["handle"] = lambda value: text.visible(str(value or ""))
    environment.filters["drawn"] = _trusted  # numbers and letters of a path; longer than a text may be
    environment.filters["innocent"] = innocent_title
    environment.filters["kind_title"] = lambda name: identifiers.kind(name).title
    environment.globals["plural"] = text.plural
    return environment


def _finalise(value: Any) -> Any:
    """Every text a template prints, unless it is markup made here, has its hidden characters made visible."""
    if type(value) is str:
        return text.visible(value, limit=2000) if value else value
    return text.UNKNOWN if value is None else value


def _source(name: str) -> str:
    from importlib.resources import files

    return (files("hydragraph.report") / "templates" / name).read_text("utf-8")


def _digest(content: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"


def _trusted(content: str) -> Any:
    """Markup: text made by this module that goes into the page as it is."""
    from markupsafe import Markup

    return Markup(content)
