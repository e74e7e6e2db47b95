"""Links -> the bipartite graph of accounts and identifiers, integer coded in canonical order."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from hydragraph.runs import changes, spread

if TYPE_CHECKING:
    import networkx as nx
    from numpy.typing import NDArray
    from scipy.sparse import csr_array


_SMALL_PART = -2.0


def _index(links: int) -> type[np.signedinteger[Any]]:
    """The narrowest type that numbers so many links in scipy's matrices."""
    return np.int32 if links < np.iinfo(np.int32).max else np.int64


@dataclass(frozen=True, repr=False)
class BipartiteGraph:
    """Accounts x identifiers with one link per pair.

    accounts: one row an account, sorted by account_id, by the raw ones where these are pseudonyms; the row number is the
        account's code.
    identifiers: kind, value, known (kind of the declared shared range that holds it, or null); sorted by kind, then
        value (the raw one); the row number is the identifier's code.
    links: account (UInt32 code), identifier (UInt32 code), count (Int64), first_seen, last_seen (UTC, may be null);
        sorted by account, identifier; each pair once.

    beyond: further accounts that use each identifier and are not here, shape (identifiers,); None: all are here.
    everybody: links of each kind of all accounts, those that are not here among them, shape (kinds,); None: all are here.

    The codes depend on the data only, never on the order in which rows were read.
    """

    accounts: pl.DataFrame
    identifiers: pl.DataFrame
    links: pl.DataFrame
    beyond: NDArray[np.int64] | None = None
    everybody: NDArray[np.int64] | None = None

    @cached_property
    def degree(self) -> NDArray[np.int64]:
        """Accounts per identifier, those `beyond` among them, shape (identifiers,)."""
        return self.here if self.beyond is None else self.here + self.beyond

    @cached_property
    def here(self) -> NDArray[np.int64]:
        """Accounts per identifier of those that are here, shape (identifiers,)."""
        return np.bincount(self.links["identifier"].to_numpy(), minlength=self.identifiers.height).astype(np.int64)

    @cached_property
    def kinds(self) -> list[str]:
        """The kinds of identifier present, sorted."""
        return self.identifiers["kind"].unique().sort().to_list()

    @cached_property
    def kind_code(self) -> NDArray[np.int64]:
        """Position in `kinds` of each identifier's kind, shape (identifiers,)."""
        codes = {k: i for i, k in enumerate(self.kinds)}
        column = self.identifiers["kind"].replace_strict(codes, return_dtype=pl.Int64) if codes else None
        return column.to_numpy() if column is not None else np.zeros(0, np.int64)

    @cached_property
    def matrix(self) -> csr_array:
        """Account x identifier incidence, 0/1, shape (accounts, identifiers), int32."""
        from scipy.sparse import csr_array

        # links are sorted by account, then identifier: compressed rows as they stand
        ends = np.cumsum(np.bincount(self.links["account"].to_numpy(), minlength=self.accounts.height))
        starts = np.concatenate([[0], ends]).astype(_index(self.links.height))
        column = self.links["identifier"].to_numpy().astype(starts.dtype)
        data = np.ones(len(column), dtype=np.int32)
        return csr_array((data, column, starts), shape=(self.accounts.height, self.identifiers.height))

    @cached_property
    def by_identifier(self) -> NDArray[np.int64]:
        """Row numbers of `links` in the order of identifier, then account, shape (links,)."""
        from scipy.sparse import csr_array

        rows = np.arange(self.links.height, dtype=self.matrix.indptr.dtype)
        # turning rows into columns is a counting sort
        turned = csr_array((rows, self.matrix.indices, self.matrix.indptr), shape=self.matrix.shape).tocsc()
        order: NDArray[np.int64] = turned.data
        return order

    @cached_property
    def users(self) -> csr_array:
        """Identifier x account incidence: `matrix` transposed, in compressed rows, for walking from an identifier."""
        from scipy.sparse import csr_array

        starts = np.concatenate([[0], np.cumsum(self.here)]).astype(self.matrix.indptr.dtype)
        account = self.links["account"].to_numpy()[self.by_identifier].astype(starts.dtype)
        return csr_array((self.matrix.data, account, starts), shape=self.matrix.shape[::-1])

    @cached_property
    def held(self) -> NDArray[np.int32]:
        """Identifiers of each kind that each account uses, shape (accounts, kinds)."""
        kinds = len(self.kinds)
        cell = self.links["account"].to_numpy().astype(np.int64) * kinds
        cell += self.kind_code[self.links["identifier"].to_numpy()]
        number = np.bincount(cell, minlength=self.accounts.height * kinds).astype(np.int32)
        return number.reshape(self.accounts.height, kinds)

    @cached_property
    def of_kind(self) -> NDArray[np.int64]:
        """Links of each kind, of everybody; shape (kinds,)."""
        return self.held.sum(axis=0, dtype=np.int64) if self.everybody is None else self.everybody

    @cached_property
    def shares(self) -> NDArray[np.bool_]:
        """Whether each account uses an identifier of each kind that others use, too, shape (accounts, kinds)."""
        identifier = self.links["identifier"].to_numpy()
        shared = np.flatnonzero(self.degree[identifier] > 1)
        found = np.zeros(self.held.shape, bool)
        found[self.links["account"].to_numpy()[shared], self.kind_code[identifier[shared]]] = True
        return found

    def links_of(self, accounts: NDArray[np.int64]) -> NDArray[np.int64]:
        """Row numbers of the links of some accounts (sorted codes), in the order of `links`."""
        starts = self.matrix.indptr
        return spread(starts[accounts].astype(np.int64), (starts[accounts + 1] - starts[accounts]).astype(np.int64))

    @cached_property
    def moment(self) -> NDArray[np.int64]:
        """When each link of `users` was used, in microseconds, if it was used once at a known time; -1 otherwise.

        Shape (links,), in the order of `users.indices`: by identifier, then account.
        """
        return moments(self.links)[self.by_identifier]

    @cached_property
    def focus(self) -> NDArray[np.float32]:
        """log2 of the share of its account's uses of this kind that each link of `users` stands for.

        0 where the account uses every identifier of the kind once, because then shares say nothing but how many there
        are. Shape (links,), in the order of `users.indices`.
        """
        count = np.maximum(self.links["count"].fill_null(1).to_numpy(), 1)
        return focus(self.links["account"].to_numpy(), self._kind_of_links, count)[self.by_identifier]

    @cached_property
    def passing(self) -> NDArray[np.bool_]:
        """Links that one request brought together with a link of another kind, as a small part of what the account does.

        Used once, at the same known moment as another such link of the account to a shared identifier of another kind,
        and at most a quarter of the account's uses of the kind: who came by an office once, and sent there what the
        office sends, brought one fact and not two. Shape (links,), in the order of `links`.
        """
        moment = np.empty(self.links.height, np.int64)
        moment[self.by_identifier] = self.moment
        share = np.empty(self.links.height, np.float32)
        share[self.by_identifier] = self.focus
        shared = self.degree[self.links["identifier"].to_numpy()] > 1
        return passing(self.links["account"].to_numpy(), self._kind_of_links, moment, share, shared)

    @cached_property
    def _kind_of_links(self) -> NDArray[np.int8]:
        """Kind of the identifier of each link, shape (links,)."""
        kind: NDArray[np.int8] = self.kind_code.astype(np.int8)[self.links["identifier"].to_numpy()]
        return kind

    def to_networkx(self) -> nx.Graph[str]:
        """The graph as networkx.Graph with plain values: see `networkx_graph` for nodes and attributes."""
        named = self.links.select(
            account_id=self.accounts["account_id"].gather(self.links["account"]),
            kind=self.identifiers["kind"].gather(self.links["identifier"]),
            value=self.identifiers["value"].gather(self.links["identifier"]),
            count="count",
            first_seen="first_seen",
            last_seen="last_seen",
            accounts=pl.Series(self.degree).gather(self.links["identifier"]),
        )
        return networkx_graph(self.accounts, named)

    def __repr__(self) -> str:
        sizes = f"{self.accounts.height} accounts, {self.identifiers.height} identifiers, {self.links.height} links"
        return f"<BipartiteGraph {sizes}>"


def moments(links: pl.DataFrame) -> NDArray[np.int64]:
    """When each link was used, as BipartiteGraph.moment has it, in the order of `links`."""
    once = (pl.col("count") == 1) & (pl.col("first_seen") == pl.col("last_seen"))
    return links.select(pl.when(once).then(pl.col("first_seen").cast(pl.Int64)).fill_null(-1)).to_series().to_numpy()


def focus(
    account: NDArray[np.integer[Any]], kind: NDArray[np.integer[Any]], count: NDArray[np.int64]
) -> NDArray[np.float32]:
    """BipartiteGraph.focus of links sorted by account, then kind, in their order; all arrays have shape (links,).

    All links of an account must be there. count: uses, at least 1.
    """
    share = np.zeros(len(count), np.float32)
    if not len(count):
        return share
    # the links of an account to the identifiers of one kind stand together
    start = np.flatnonzero(changes(account, kind))
    number = np.diff(np.append(start, len(count)))
    total = np.add.reduceat(count, start)
    often = np.flatnonzero(np.repeat(total != number, number))
    share[often] = np.log2(count[often] / np.repeat(total, number)[often])
    return share


def passing(
    account: NDArray[np.integer[Any]],
    kind: NDArray[np.integer[Any]],
    moment: NDArray[np.int64],
    share: NDArray[np.float32],
    shared: NDArray[np.bool_],
) -> NDArray[np.bool_]:
    """BipartiteGraph.passing of links sorted by account, then identifier, in their order; all arrays have shape (links,).

    share: `focus`. shared: whether more than one account uses the identifier.
    """
    once = np.flatnonzero((moment >= 0) & (share <= _SMALL_PART) & shared)
    order = np.lexsort((kind[once], moment[once], account[once]))
    once = once[order]
    same = (np.diff(account[once]) == 0) & (np.diff(moment[once]) == 0) & (np.diff(kind[once]) != 0)
    found = np.zeros(len(account), bool)
    found[once[:-1][same]] = True
    found[once[1:][same]] = True
    return found


def account_node(account_id: str) -> str:
    """Name of an account's node: `account:<account_id>`."""
    return f"account:{account_id}"


def identifier_node(kind: str, value: str) -> str:
    """Name of an identifier's node: `identifier:<kind>:<value>`; never equal to an account's."""
    return f"identifier:{kind}:{value}"


def networkx_graph(accounts: pl.DataFrame, links: pl.DataFrame) -> nx.Graph[str]:
    """Bipartite networkx graph with text nodes and plain attribute values.

    Account nodes: bipartite=0, kind="account", label (the account id) and every non-null column of `accounts`.
    Identifier nodes: bipartite=1, kind, value, label (the value), accounts (how many accounts of the source use it).
    Edges: count, first_seen, last_seen (ISO 8601 text), and bits and weight (= bits) where `links` has bits.
    A null is left out, because most graph formats cannot hold one.
    """
    import networkx as nx

    graph: nx.Graph[str] = nx.Graph()
    for row in accounts.sort("account_id").iter_rows(named=True):
        graph.add_node(
            account_node(row["account_id"]), bipartite=0, kind="account", label=row["account_id"], **_plain(row)
        )
    for row in links.sort("account_id", "kind", "value").iter_rows(named=True):
        node = identifier_node(row["kind"], row["value"])
        if node not in graph:
            graph.add_node(node, bipartite=1, kind=row["kind"], value=row["value"], label=row["value"])
            if row.get("accounts") is not None:
                graph.nodes[node]["accounts"] = row["accounts"]
        edge = _plain({k: row[k] for k in ("count", "first_seen", "last_seen", "bits") if k in row})
        if "bits" in edge:
            edge["weight"] = edge["bits"]
        graph.add_edge(account_node(row["account_id"]), node, **edge)
    return graph


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    return {k: v.isoformat() if hasattr(v, "isoformat") else v for k, v in row.items() if v is not None}
