"""One job of `make bench` in a process of its own: python benchmarks/speed_child.py JOB SOURCE OUT.

Prints one line of JSON. The process that starts it measures it from outside; what it says of its stages it measures itself.
"""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

EVENT_COLUMNS = {"api_key_id": "api_key", "ip": "ip", "template_hash": "template"}
"""Columns of the events that identify something, and the kind of each."""

WIDEST = 100
"""Accounts of an identifier beyond which a peer leaves it out, as its pairs grow with the square."""

Said = dict[str, Any]


def floor(source: Path, out: Path) -> Said:
    """DuckDB alone: every row of the source read once and summed up to account x identifier links, in memory."""
    return {"links": _duckdb_links(source).execute("select count(*) from links").fetchall()[0][0]}


def _duckdb_links(source: Path) -> Any:
    import duckdb

    con = duckdb.connect()
    con.execute(f"set threads = {os.cpu_count()}")
    events = f"'{source}/events/*.parquet'" if (source / "events").is_dir() else f"'{source}/events.parquet'"
    con.execute(
        "create table links (account_id text, kind text, value text, count bigint, first timestamp, last timestamp)"
    )
    rows = {
        kind: [f"select account_id, {column} v, timestamp a, timestamp b, 1 n from {events} where {column} is not null"]
        for column, kind in EVENT_COLUMNS.items()
    }
    rows["api_key"].append(f"select account_id, api_key_id, created_at, created_at, 1 from '{source}/api_keys.parquet'")
    rows["payment"] = [f"select account_id, instrument_id, added_at, added_at, 1 from '{source}/payments.parquet'"]
    for kind, parts in rows.items():
        con.execute(
            f"insert into links select account_id, '{kind}', v, sum(n), min(a), max(b) from"
            f" ({' union all '.join(parts)}) as t (account_id, v, a, b, n) group by account_id, v"
        )
    con.execute(
        "insert into links select account_id, kind, value, sum(coalesce(count, 1)), min(first_seen), max(last_seen) from"
        f" '{source}/links.parquet' group by account_id, kind, value"
    )
    return con


def hydragraph(source: Path, out: Path) -> Said:
    """The whole of `analyze`: seconds, processor seconds and peak memory of each stage, and the work it did."""
    import hydragraph as hg

    began: list[tuple[str, float]] = []
    with counted_passes() as passes:
        case = hg.analyze(source, out, force=True, progress=lambda stage: began.append((stage, _processor())))
    ends = [at for _, at in began[1:]] + [_processor()]
    processor = {name: end - at for (name, at), end in zip(began, ends, strict=True)}
    stages = [
        {
            "name": stage["name"],
            "seconds": stage["seconds"],
            "processor": round(processor[stage["name"]], 3),
            "peak": stage["peak_memory_bytes"],
        }
        for stage in json.loads((case.path / "manifest.json").read_text("utf-8"))["stages"]
    ]
    rows = {name: counts["read"] for name, counts in case.manifest["rows"].items()}
    work = case.manifest["work"]
    return {
        "stages": stages,
        "rows": rows,
        "passes": passes,
        "accounts": case.accounts.height,
        "clusters": case.clusters.height,
        **work,
    }


@contextmanager
def counted_passes() -> Iterator[dict[str, dict[str, int]]]:
    """How often the rows of each table are read while it lasts, by what for: checks (of any one file, at most) and links."""
    from hydragraph import links
    from hydragraph.loaders.scan import Part

    checks: Counter[tuple[str, str]] = Counter()
    found: dict[str, dict[str, int]] = {}
    collect, original = Part.collect, links.Gathered.read
    columns, given = links.link_columns, links.given_accounts

    def counting(part: Part, *arguments: Any, **more: Any) -> Any:
        table = part.feed.table
        checks[table, part.file.name] += 1
        most = max(n for (of, _), n in checks.items() if of == table)
        found.setdefault(table, {"checks": 0, "links": 0})["checks"] = most
        return collect(part, *arguments, **more)

    def read(gathered: Any, tables: Any, table: str, of: Any) -> None:
        found[table]["links"] += 1
        original(gathered, tables, table, of)

    def looked_at(tables: Any) -> Any:
        if "links" in tables:
            found["links"]["links"] += 1
        return columns(tables)

    def declared(tables: Any, codes: Any) -> Any:
        if "accounts" in tables:
            found["accounts"]["links"] += 1
        return given(tables, codes)

    Part.collect, links.Gathered.read = counting, read  # type: ignore[method-assign]
    links.link_columns, links.given_accounts = looked_at, declared
    try:
        yield found
    finally:
        Part.collect, links.Gathered.read = collect, original  # type: ignore[method-assign]
        links.link_columns, links.given_accounts = columns, given


def _processor() -> float:
    spent = os.times()
    return spent.user + spent.system


def pandas_louvain(source: Path, out: Path) -> Said:
    """pandas for the links, networkx's Louvain on the pairs of accounts that share one."""
    import networkx as nx
    import pandas as pd

    paths = (
        sorted((source / "events").glob("*.parquet")) if (source / "events").is_dir() else [source / "events.parquet"]
    )
    events = pd.concat([_pandas(path) for path in paths])
    parts = [
        events.groupby(["account_id", column])
        .size()
        .reset_index()[["account_id", column]]
        .set_axis(["account", "value"], axis=1)
        for column in EVENT_COLUMNS
    ]
    for name, column in (("api_keys", "api_key_id"), ("payments", "instrument_id"), ("links", "value")):
        parts.append(_pandas(source / f"{name}.parquet")[["account_id", column]].set_axis(["account", "value"], axis=1))
    links = pd.concat(parts).drop_duplicates()
    users = links.groupby("value")["account"].transform("size")
    narrow = links[(users > 1) & (users <= WIDEST)]
    pairs = narrow.merge(narrow, on="value").query("account_x < account_y").groupby(["account_x", "account_y"]).size()
    network: nx.Graph[str] = nx.Graph()
    network.add_weighted_edges_from((a, b, float(n)) for (a, b), n in pairs.items())
    return {
        "links": len(links),
        "pairs": len(pairs),
        "clusters": len(nx.community.louvain_communities(network, seed=0)),
    }


def _pandas(path: Path) -> Any:
    import polars as pl

    # pandas without pyarrow reads no Parquet; polars hands the columns over
    columns = pl.read_parquet(path)
    import pandas as pd

    return pd.DataFrame({name: columns[name].to_numpy() for name in columns.columns if name in _NEEDED})


_NEEDED = {"account_id", "api_key_id", "ip", "template_hash", "instrument_id", "value"}


def polars_leiden(source: Path, out: Path) -> Said:
    """polars for the links, igraph's Leiden on the pairs of accounts that share one."""
    import igraph

    links, a, b, weight, accounts = _polars_pairs(source)
    graph = igraph.Graph(n=accounts, edges=list(zip(a.tolist(), b.tolist(), strict=True)))
    found = graph.community_leiden(objective_function="modularity", weights=weight.tolist())
    return {"links": links, "pairs": len(a), "clusters": sum(size > 1 for size in found.sizes())}


def _polars_pairs(source: Path) -> tuple[int, Any, Any, Any, int]:
    import polars as pl

    events = pl.scan_parquet(
        f"{source}/events/*.parquet" if (source / "events").is_dir() else f"{source}/events.parquet"
    )
    named = ("account", "value")
    parts = [events.select(pl.col("account_id", column)).unique() for column in EVENT_COLUMNS]
    for name, column in (("api_keys", "api_key_id"), ("payments", "instrument_id"), ("links", "value")):
        parts.append(pl.scan_parquet(source / f"{name}.parquet").select("account_id", column))
    renamed = [part.rename(dict(zip(part.collect_schema().names(), named, strict=True))) for part in parts]
    links = pl.concat(renamed).drop_nulls().unique().collect(engine="streaming")
    codes = links.select(account=pl.col("account").rank("dense") - 1, value=pl.col("value").rank("dense") - 1)
    narrow = codes.filter(pl.len().over("value").is_between(2, WIDEST))
    pairs = (
        narrow.lazy().join(narrow.lazy(), on="value").filter(pl.col("account") < pl.col("account_right"))
        .group_by("account", "account_right").agg(shared=pl.len()).collect(engine="streaming")
    )  # fmt: skip
    a, b, shared = (pairs[c].to_numpy() for c in ("account", "account_right", "shared"))
    return links.height, a, b, shared, codes["account"].n_unique()


def duckdb_sknetwork(source: Path, out: Path) -> Said:
    """DuckDB for the links, scikit-network's Louvain on the bipartite graph."""
    from scipy.sparse import csr_matrix
    from sknetwork.clustering import Louvain

    con = _duckdb_links(source)
    rows = con.execute(
        "select dense_rank() over (order by account_id) - 1 a, dense_rank() over (order by kind, value) - 1 v from links"
    ).fetchnumpy()
    ones = [1.0] * len(rows["a"])
    matrix = csr_matrix((ones, (rows["a"], rows["v"])))
    labels = Louvain(random_state=0).fit_predict(matrix, force_bipartite=True)
    return {"links": len(ones), "clusters": int(labels.max()) + 1}


JOBS: dict[str, Callable[[Path, Path], Said]] = {
    job.__name__: job for job in (hydragraph, floor, pandas_louvain, polars_leiden, duckdb_sknetwork)
}


def main() -> int:
    """Do the job and print what it says."""
    job, source, out = sys.argv[1:]
    try:
        said = JOBS[job](Path(source), Path(out))
    except ModuleNotFoundError as error:
        said = {"missing": error.name}
    print(json.dumps(said))
    return 0


if __name__ == "__main__":
    sys.exit(main())
