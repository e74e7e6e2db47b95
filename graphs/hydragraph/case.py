"""The case folder: written whole or not at all, opened as polars frames and networkx graphs."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from hydragraph.bipartite import networkx_graph
from hydragraph.cards import case_card, cluster_card, printable
from hydragraph.decisions import decision_table, keep_decisions, read_decisions, with_states
from hydragraph.errors import CaseExists, NotACase, UnknownName
from hydragraph.explain import Paths, Suggestions, evidence_path, suggest
from hydragraph.lineage import Regrowth, last_known
from hydragraph.schema import ASSESSMENTS, INPUT, OUTPUT
from hydragraph.settings import Settings
from hydragraph.stability import holding_sentence
from hydragraph.stored import ask_stored, lacking, read_manifest, read_stored, stored_height
from hydragraph.takedown import Chokepoints, Plan, cut_cluster, plan_cluster
from hydragraph.unfinished import beside, saying_what_to_do, take_back, take_place

if TYPE_CHECKING:
    import networkx as nx
    from matplotlib.figure import Figure

MANIFEST = "manifest.json"
REPORT = "report.html"
LEADS = ("coordinated", "review")
"""Assessments of the clusters that somebody should look at."""

BUILDING = "hydragraph-building"
"""Purpose of the hidden folder that becomes a case."""


@dataclass(frozen=True, repr=False)
class Case:
    """An analysed source: its tables as polars frames, the manifest, and graphs. Tables are read at first use."""

    path: Path
    manifest: Mapping[str, Any] = field(compare=False)
    held: object = field(default=None, compare=False)
    """What must live as long as the case: the temporary folder of a copy."""

    @property
    def digest(self) -> str:
        """`sha256:` and 64 hexadecimal digits of its manifest: which case it is, wherever it lies."""
        return f"sha256:{hashlib.sha256((self.path / MANIFEST).read_bytes()).hexdigest()}"

    @property
    def settings(self) -> Settings:
        """The settings it was made with, as far as this version knows them."""
        of_case = self.manifest.get("settings") or {}
        known = {f.name for f in fields(Settings)}
        return Settings(**{name: value for name, value in of_case.items() if name in known})

    def table(self, name: str) -> pl.DataFrame:
        """One table of the case as a frame. Raises UnknownName for a name the case format does not have."""
        if name not in OUTPUT:
            raise UnknownName(f"no table called {name!r}; a case has {', '.join(OUTPUT)}")
        return self._tables(name)

    def height(self, name: str) -> int:
        """Rows of a table; of one that is not in memory without reading it."""
        return self._held[name].height if name in self._held else stored_height(self.path, name)

    @property
    def tally(self) -> dict[str, int]:
        """Clusters by assessment. Reads no more than that."""
        rows = ask_stored(self.path, "clusters", lambda rows: rows.group_by("assessment").len())
        found = dict(rows.iter_rows())
        return {name: int(found.get(name, 0)) for name in ASSESSMENTS}

    def leads(self, limit: int) -> pl.DataFrame:
        """The strongest clusters that somebody should look at, at most so many. Reads no more than that."""
        wanted = pl.col("assessment").is_in(LEADS)
        rows = ask_stored(self.path, "clusters", lambda rows: rows.filter(wanted).head(limit))
        return with_states(rows, read_decisions(self.path))

    def _tables(self, name: str) -> pl.DataFrame:
        held: dict[str, pl.DataFrame] = self._held
        if name not in held:
            frame = read_stored(self.path, name)
            held[name] = with_states(frame, read_decisions(self.path)) if name == "clusters" else frame
        return held[name]

    @cached_property
    def _held(self) -> dict[str, pl.DataFrame]:
        return {}

    @property
    def accounts(self) -> pl.DataFrame:
        """Every account read, with its cluster if it has one."""
        return self.table("accounts")

    @property
    def clusters(self) -> pl.DataFrame:
        """The leads and the explained clusters, strongest first."""
        return self.table("clusters")

    @property
    def signals(self) -> pl.DataFrame:
        """The signals of each cluster."""
        return self.table("signals")

    @property
    def links(self) -> pl.DataFrame:
        """Account x identifier, accounts in clusters only."""
        return self.table("links")

    @property
    def ties(self) -> pl.DataFrame:
        """Pairs of accounts of one cluster with the evidence between them."""
        return self.table("ties")

    @property
    def lineage(self) -> pl.DataFrame:
        """Which account replaced which."""
        return self.table("lineage")

    def regrowth(self, assessments: Sequence[str] = LEADS) -> Regrowth:
        """What followed the closings of the clusters assessed so: waves, times, surviving identifiers."""
        members = self.accounts.filter(pl.col("assessment").is_in(list(assessments)))
        ids = members.select("account_id")
        return Regrowth(
            members=members,
            lineage=self.lineage.join(ids, left_on="parent", right_on="account_id", how="semi"),
            links=self.links.join(ids, on="account_id", how="semi"),
            data_end=last_known(self.accounts),
        )

    @property
    def takedown(self) -> pl.DataFrame:
        """The steps of each cluster's takedown plan."""
        return self.table("takedown")

    @property
    def hours(self) -> pl.DataFrame:
        """Requests and active accounts by hour, of each cluster and (cluster_id empty) of all accounts."""
        return self.table("hours")

    @property
    def ledger(self) -> pl.DataFrame:
        """What became of the clusters of the previous case; empty without one."""
        return self.table("ledger")

    @property
    def decisions(self) -> pl.DataFrame:
        """What people decided about its clusters, oldest first, see `decisions.decision_table`; read anew each time."""
        return decision_table(read_decisions(self.path))

    @property
    def rejects(self) -> pl.DataFrame:
        """The rows of the source that could not be read."""
        return self.table("rejects")

    def cluster(self, cluster_id: str) -> Cluster:
        """One cluster by its id or an unambiguous beginning of it. Raises UnknownName."""
        ids = self.clusters["cluster_id"]
        found = ids.filter(ids == cluster_id)
        if found.is_empty():
            found = ids.filter(ids.str.starts_with(cluster_id)) if cluster_id else ids.clear()
        if found.len() != 1:
            what = "no cluster has" if found.is_empty() else f"{found.len()} clusters begin with"
            raise UnknownName(f"{what} this id; `case.clusters` (or `hydragraph clusters CASE`) lists {ids.len()}")
        row = self.clusters.row(by_predicate=pl.col("cluster_id") == found[0], named=True)
        return Cluster(case=self, row=row)

    def account(self, account_id: str) -> AccountView:
        """One account: its row, links and ties. Raises UnknownName."""
        found = self.accounts.filter(account_id=account_id)
        if found.is_empty():
            raise UnknownName(f"no account has this id; the case holds {self.accounts.height} accounts")
        return AccountView(case=self, row=found.row(0, named=True))

    def evidence_path(self, a: str, b: str, *, alternatives: int = 2) -> Paths:
        """Why two accounts are tied, see `explain.evidence_path`; for two of one cluster inside it, if there is a way.

        Raises UnknownName; InputRefused for one account twice.
        """
        clusters = (self.account(a).row["cluster_id"], self.account(b).row["cluster_id"])
        one = clusters[0] is not None and clusters[0] == clusters[1]
        links = self.cluster(clusters[0]).links if one else self.links
        found = evidence_path(links, a, b, alternatives=alternatives, clusters=clusters)
        if one and found.steps.is_empty():
            found = evidence_path(self.links, a, b, alternatives=alternatives, clusters=clusters)
            found = replace(found, detour=found.steps.height > 0)
        return found.with_ties(self.ties)

    def expand(self, accounts: Sequence[str], *, count: int | None = 20) -> Suggestions:
        """Who else, from known accounts, see `explain.suggest`. Raises UnknownName, InputRefused for no account."""
        accounts = [accounts] if isinstance(accounts, str) else list(dict.fromkeys(accounts))
        unknown = len(accounts) - self.accounts.filter(pl.col("account_id").is_in(accounts)).height
        if unknown:
            which = f"{unknown} of {len(accounts)} accounts" if len(accounts) > 1 else "the account"
            raise UnknownName(f"{which} cannot be found by this id; the case holds {self.accounts.height} accounts")
        return suggest(self.links, accounts, count=count).with_members(self.accounts)

    def graph(self, cluster_id: str | None = None) -> nx.Graph[str]:
        """Bipartite networkx graph of all clusters, or of one; attributes as in `bipartite.networkx_graph`."""
        if cluster_id is not None:
            return self.cluster(cluster_id).graph()
        members = self.accounts.filter(pl.col("cluster_id").is_not_null())
        return networkx_graph(members, self.links)

    def plot_lives(self, assessments: Sequence[str] = LEADS) -> Figure:
        """Lives and replacements of the clusters assessed so as a matplotlib figure, see `report.figures.lives_figure`."""
        from hydragraph.report.figures import lives_figure

        found = self.regrowth(assessments)
        return lives_figure(found.members, found.lineage, "Lives and replacements", found.sentence)

    def __repr__(self) -> str:
        counts = self.clusters["assessment"].value_counts().sort("assessment").rows()
        said = ", ".join(f"{n} {a}" for a, n in counts) or "no clusters"
        return printable(f"<Case {self.accounts.height} accounts, {said}>")

    def _repr_html_(self) -> str:
        return case_card(repr(self)[1:-1], self.clusters)


@dataclass(frozen=True, repr=False)
class Cluster:
    """One cluster of a case."""

    case: Case = field(compare=False)
    row: Mapping[str, Any]

    @property
    def id(self) -> str:
        """The stable cluster id."""
        return str(self.row["cluster_id"])

    @property
    def assessment(self) -> str:
        """coordinated, review or explained."""
        return str(self.row["assessment"])

    @property
    def explanation(self) -> str:
        """The sentence why."""
        return str(self.row["explanation"])

    @property
    def holding(self) -> str:
        """Where it falls apart, and how much of it stays when identifiers are lost, in words."""
        return holding_sentence(self.row)

    def _mine(self, table: str) -> pl.DataFrame:
        return self.case.table(table).filter(cluster_id=self.id)

    @cached_property
    def accounts(self) -> pl.DataFrame:
        """The members."""
        return self._mine("accounts")

    @cached_property
    def links(self) -> pl.DataFrame:
        """The members' links to identifiers."""
        return self.case.links.join(self.accounts.select("account_id"), on="account_id", how="semi").sort(
            *OUTPUT["links"].sort
        )

    @cached_property
    def identifiers(self) -> pl.DataFrame:
        """The identifiers that two or more members share: kind, value, members, accounts, bits; widest first."""
        return (
            self.links.group_by("kind", "value")
            .agg(members=pl.len(), accounts=pl.col("accounts").max(), bits=pl.col("bits").max())
            .filter(pl.col("members") > 1)
            .sort("members", "bits", "kind", "value", descending=[True, True, False, False])
        )

    @cached_property
    def ties(self) -> pl.DataFrame:
        """The evidence between pairs of members."""
        members = self.accounts.select("account_id")
        return self.case.ties.join(members, left_on="account_a", right_on="account_id", how="semi").sort(
            *OUTPUT["ties"].sort
        )

    @property
    def signals(self) -> pl.DataFrame:
        """The cluster's signals."""
        return self._mine("signals")

    @property
    def lineage(self) -> pl.DataFrame:
        """Replacements inside the cluster."""
        return self._mine("lineage")

    @cached_property
    def regrowth(self) -> Regrowth:
        """What followed the closings of its members: waves, times, surviving identifiers."""
        return Regrowth(self.accounts, self.lineage, self.links, last_known(self.case.accounts))

    @property
    def takedown(self) -> pl.DataFrame:
        """The cluster's takedown plan."""
        return self._mine("takedown")

    def plan(self, *, max_collateral: int | None = None, max_share: float | None = None) -> Plan:
        """The takedown plan under other limits than those the case was made with, see `takedown.plan_takedown`.

        max_collateral: accounts outside that one step may hit; max_share: that all steps may hit, as a share of the
        cluster's members. None: as in the case's settings. Raises InputRefused for a limit out of bounds.
        """
        settings = self.case.settings.with_(max_collateral=max_collateral, max_collateral_share=max_share)
        accused = self.case.accounts.filter(assessment="coordinated").select("account_id")
        number = (
            self.case.links.join(self.links.select("kind", "value").unique(), on=["kind", "value"], how="semi")
            .join(accused, on="account_id", how="semi")
            .group_by("kind", "value")
            .agg(number=pl.len())
        )
        return plan_cluster(
            self.id, self.accounts, self.links, number,
            max_collateral=settings.max_collateral, max_share=settings.max_collateral_share,
        )  # fmt: skip

    @cached_property
    def chokepoints(self) -> Chokepoints:
        """The fewest identifiers without which the cluster falls apart, see `takedown.cut_cluster`."""
        return cut_cluster(self.links)

    def graph(self) -> nx.Graph[str]:
        """Bipartite networkx graph of the cluster; attributes as in `bipartite.networkx_graph`."""
        return networkx_graph(self.accounts, self.links)

    def plot(self) -> Figure:
        """The cluster as a matplotlib figure."""
        from hydragraph.report.figures import cluster_figure

        return cluster_figure(self)

    def plot_lives(self) -> Figure:
        """Its members' lives and replacements as a matplotlib figure, see `report.figures.lives_figure`."""
        from hydragraph.report.figures import lives_figure

        title = f"Cluster {self.id}: lives and replacements"
        return lives_figure(self.accounts, self.lineage, title, self.regrowth.sentence)

    def __repr__(self) -> str:
        score = "-" if self.row["score"] is None else f"{self.row['score']:.2f}"
        return printable(f"<Cluster {self.id} {self.assessment}, {self.row['size']} accounts, score {score}>")

    def _repr_html_(self) -> str:
        return cluster_card(repr(self)[1:-1], self.row, self.signals)


@dataclass(frozen=True, repr=False)
class AccountView:
    """One account of a case."""

    case: Case = field(compare=False)
    row: Mapping[str, Any]

    @property
    def id(self) -> str:
        """The account id."""
        return str(self.row["account_id"])

    @property
    def links(self) -> pl.DataFrame:
        """Its links; empty for an account outside every cluster."""
        return self.case.links.filter(account_id=self.id)

    @property
    def ties(self) -> pl.DataFrame:
        """Its ties, strongest first: other, bits, shared, kinds, synchrony_bits."""
        mine = (pl.col("account_a") == self.id) | (pl.col("account_b") == self.id)
        other = pl.when(pl.col("account_a") == self.id).then("account_b").otherwise("account_a")
        return (
            self.case.ties.filter(mine)
            .select(other.alias("other"), "bits", "shared", "kinds", "synchrony_bits")
            .sort("bits", "other", descending=[True, False])
        )

    @property
    def cluster(self) -> Cluster | None:
        """The cluster it belongs to, if any."""
        return None if self.row["cluster_id"] is None else self.case.cluster(self.row["cluster_id"])

    def __repr__(self) -> str:
        return printable(f"<Account in cluster {self.row['cluster_id'] or 'none'}, {self.links.height} links>")


def open_case(path: str | Path, *, held: object = None) -> Case:
    """The case in folder `path`. held: what must live as long as it.

    Raises NotACase when the folder is not one, or was written by an older version and lacks a file or a column. Whether
    what a table holds can be read is found out when it is.
    """
    path = Path(path)
    manifest = read_manifest(path / MANIFEST)
    if manifest is None:
        raise NotACase(f"not a case: the folder has no readable {MANIFEST}; `hydragraph analyze` makes one")
    if lacks := lacking(path):
        raise NotACase(f"an incomplete case, or one of an older version: {lacks}; analyse the source again")
    return Case(path=path, manifest=manifest, held=held)


def write_case(
    out: str | Path,
    tables: Mapping[str, pl.DataFrame],
    manifest: Callable[[], Mapping[str, Any]],
    *,
    force: bool = False,
    finish: Callable[[Case], None] | None = None,
) -> Case:
    """Write a case whole or not at all: build a hidden folder beside `out`, then rename.

    tables: every table of schema.OUTPUT. manifest: called last, so that it can hold the time of the writing itself.
    finish: called with the case while it is still beside its place, to add the report.
    Raises CaseExists if `out` is there and `force` is not set, and NotWritable if there is no room or no permission; a
    folder that is not a case is never replaced.
    """
    out = Path(out)
    refuse_to_replace(out, force=force)
    place = out.resolve()  # where a link points to
    with saying_what_to_do(place):
        return _write_case(out, place, tables, manifest, finish)


def _write_case(
    out: Path,
    place: Path,
    tables: Mapping[str, pl.DataFrame],
    manifest: Callable[[], Mapping[str, Any]],
    finish: Callable[[Case], None] | None,
) -> Case:
    place.parent.mkdir(parents=True, exist_ok=True)
    take_back(place, BUILDING)
    building = beside(place, BUILDING)
    building.mkdir()
    try:
        with ThreadPoolExecutor(1) as pool:  # the tables are written while the report is made from those in memory
            written = pool.submit(_write_tables, building, tables)
            if finish is not None:
                case = Case(path=building, manifest=manifest())
                case._held.update(tables)
                finish(case)
            written.result()
        (building / MANIFEST).write_text(json.dumps(manifest(), indent=2, sort_keys=False) + "\n", "utf-8")
        take_place(building, place, keep_decisions)  # also the decisions taken while the new case was made
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return open_case(out)


def _write_tables(folder: Path, tables: Mapping[str, pl.DataFrame]) -> None:
    for name, table in OUTPUT.items():
        frame = tables[name]
        if frame.schema != table.schema:
            frame = table.conform(frame)
        # level 1 takes two thirds of the time of the default for files of the same size
        frame.write_parquet(folder / f"{name}.parquet", compression="zstd", compression_level=1, statistics=True)


def refuse_to_replace(out: Path, *, force: bool) -> None:
    """Raise CaseExists unless `out` is free, an empty folder, or a case that may be replaced; never the current folder,
    which a rename would take from under the user's feet."""
    if out.resolve() == Path.cwd():
        raise CaseExists("the output folder is the current folder; name a folder inside it or elsewhere")
    if out.resolve().is_mount():
        raise CaseExists("the output folder is a disk of its own, which cannot be replaced; name a folder inside it")
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    # other programs call their files manifest.json too, and accounts.parquet may be somebody's source
    own = any((out / f"{name}.parquet").is_file() for name in OUTPUT if name not in INPUT)
    if not own or not (out / MANIFEST).is_file():
        raise CaseExists("the output folder exists and is not a case; choose another folder")
    if not force:
        raise CaseExists("a case is there already; choose another folder or replace it with --force")
