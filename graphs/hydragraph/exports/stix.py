"""STIX 2.1: one bundle, for sharing a lead with other providers (OpenCTI, MISP, TAXII, the library `stix2`).

    user-account          an account: user_id, account_created, is_disabled (it is closed); SCO
    ipv4-addr, ipv6-addr  an address range, as CIDR; SCO
    email-addr            an e-mail address; SCO
    observed-data         an account used an identifier: first_observed, last_observed, number_observed; refers to the
                          account, and to the address or e-mail address if the identifier is one
    relationship          related-to: the source took the place of the target, a closed account
    grouping              a cluster: name, description (why), confidence (the score in per cent), context
                          suspicious-activity (unspecified where it is assessed explained or a person found it innocent),
                          labels `assessment:` and `review-state:`; refers to everything above
    note                  what speaks against the assessment; and the note of each decision
    opinion               the decision that holds: agree (confirmed) or disagree (innocent)
    identity, extension-definition
                          this program, and what its extension holds

What STIX has no property for stands in the extension (`extension-definition--...`) of an object, under the names of the
case's columns: of a user-account the other columns of its row and its review_state; of an observed-data kind, value, bits
and accounts; of a relationship the other columns of lineage; of a grouping the other columns of its row. Links without a
time cannot be observed-data: they stand in the extension of the account, as `links`.

There is no threat-actor and no indicator: a cluster is a lead. Who decided stays in the case. Ids are UUIDv5, of accounts
and addresses as the standard derives them, of the others from the run and what they are about: the same case gives the
same ids. `created` is the last activity of the cluster; `modified` also the time of the decision that holds.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
import json
import re
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import polars as pl

    from hydragraph.exports.content import Content

Thing = dict[str, Any]

_OBSERVABLES = uuid.UUID("00abedb4-aa42-466c-9c01-fed23315a9b7")  # the namespace that STIX 2.1, section 2.9, gives
_OURS = uuid.uuid5(uuid.NAMESPACE_URL, "hydragraph")
_BEGUN = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
_MOST = 999_999_999
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+")
_OPINION = {"confirmed": "agree", "innocent": "disagree"}


def _id(kind: str, *about: str) -> str:
    """An id of our own; no two lists of texts give one."""
    return f"{kind}--{uuid.uuid5(_OURS, json.dumps([kind, *about]))}"


PROGRAM = _id("identity", "hydragraph")
EXTENSION = _id("extension-definition", "hydragraph")
"""Under this id the extension stands in every object that has one."""


def write(content: Content, path: Path) -> None:
    """Write the bundle to the file `path`, one object a line; row by row."""
    about = ["whole"] if content.whole else content.clusters["cluster_id"].to_list()
    with path.open("w", encoding="utf-8", newline="\n") as out:
        out.write(f'{{"type": "bundle", "id": "{_id("bundle", content.run, *about)}", "objects": [')
        before = "\n"
        for thing in (*_program(), *_things(content)):
            out.write(before + json.dumps(thing, ensure_ascii=False, allow_nan=False))
            before = ",\n"
        out.write("\n]}\n")


def _program() -> Iterator[Thing]:
    yield _object("identity", PROGRAM, _BEGUN) | {"name": "hydragraph", "identity_class": "system"}
    yield _object("extension-definition", EXTENSION, _BEGUN) | {
        "created_by_ref": PROGRAM,
        "name": "hydragraph",
        "description": "What hydragraph knows of an object beyond the properties of STIX. A cluster is a lead for a person.",
        "schema": "docs/exports.md of hydragraph lists the properties of each type of object.",
        "version": "1.0.0",
        "extension_types": ["property-extension"],
    }


def _things(content: Content) -> Iterator[Thing]:
    """The objects of one cluster after the other; an address that several of them use stands where it is first used."""
    frames = (content.accounts, _with_cluster(content), content.lineage, content.decisions)
    parts = [(frame.partition_by("cluster_id", as_dict=True), frame.clear()) for frame in frames]
    told: set[str] = set()
    for cluster in content.clusters.iter_rows(named=True):
        accounts, links, lineage, decisions = (
            part.get((cluster["cluster_id"],), none).to_dicts() for part, none in parts
        )
        seen = list(_seen(content.run, cluster, accounts, links, lineage))
        for thing in seen:
            if thing["id"] not in told:
                told.add(thing["id"])
                yield thing
        yield from _judged(content.run, cluster, decisions, list(dict.fromkeys(thing["id"] for thing in seen)))


def _with_cluster(content: Content) -> pl.DataFrame:
    whose = content.accounts.select("account_id", "cluster_id")
    return content.links.join(whose, on="account_id", how="left", maintain_order="left")


def _seen(run: str, cluster: Thing, accounts: list[Thing], links: list[Thing], lineage: list[Thing]) -> Iterator[Thing]:
    """What was observed of a cluster: accounts, addresses, observed data and replacements; an address as often as used."""
    untimed: dict[str, list[Thing]] = {}
    for link in links:
        if link["first_seen"] is None and link["last_seen"] is None:
            untimed.setdefault(link["account_id"], []).append(_held(link, "account_id", "cluster_id"))
    for account in accounts:
        yield _account(account, untimed.get(account["account_id"], []))
    about, created = (run, cluster["cluster_id"]), _created(cluster)
    for link in links:
        times = sorted(t for t in (link["first_seen"], link["last_seen"]) if t is not None)
        address = _address(link["kind"], link["value"])
        if address is not None:
            yield address
        if times:
            name = _id("observed-data", *about, link["account_id"], link["kind"], link["value"])
            yield _object("observed-data", name, created) | {
                "created_by_ref": PROGRAM,
                "first_observed": _time(times[0]),
                "last_observed": _time(times[-1]),
                "number_observed": min(max(link["count"] or 1, 1), _MOST),
                "object_refs": [_account_id(link["account_id"]), *([address["id"]] if address else [])],
                "extensions": _extension(_held(link, "account_id", "cluster_id", "first_seen", "last_seen", "count")),
            }
    for replacement in lineage:
        child, parent = replacement["child"], replacement["parent"]
        yield _object("relationship", _id("relationship", *about, child, parent), created) | {
            "created_by_ref": PROGRAM,
            "relationship_type": "related-to",
            "description": "The source took the place of the target, a closed account.",
            "source_ref": _account_id(child),
            "target_ref": _account_id(parent),
            "extensions": _extension(_held(replacement, "cluster_id", "child", "parent")),
        }


def _judged(run: str, cluster: Thing, decisions: list[Thing], seen: list[str]) -> Iterator[Thing]:
    """What is thought of a cluster: the grouping, the program's note, the people's notes and the opinion that holds."""
    about, created = (run, cluster["cluster_id"]), _created(cluster)
    last = decisions[-1] if decisions else None
    modified = max(created, last["when"]) if last else created
    grouping = _id("grouping", *about)
    state, assessment = cluster["review_state"], cluster["assessment"]
    suspicious = assessment != "explained" and state != "innocent"
    if seen:
        yield _object("grouping", grouping, created, modified) | {
            "created_by_ref": PROGRAM,
            "name": f"Accounts of cluster {cluster['cluster_id']}",
            **({"description": cluster["explanation"]} if cluster["explanation"] else {}),
            "context": "suspicious-activity" if suspicious else "unspecified",
            "labels": [f"assessment:{assessment}", f"review-state:{state}"],
            **({} if cluster["score"] is None else {"confidence": round(100 * cluster["score"])}),
            "object_refs": seen,
            "extensions": _extension(_held(cluster, "explanation")),
        }
        yield _object("note", _id("note", *about), created, modified) | {
            "created_by_ref": PROGRAM,
            "abstract": f"Assessed {assessment}, review state {state}",
            "content": f"For a person to look at, not a finding. Against it speaks: {cluster['against'] or 'nothing found'}",
            "object_refs": [grouping],
        }
        for number, decision in enumerate(decisions):
            if decision["note"]:
                yield _object("note", _id("note", *about, str(number)), decision["when"]) | {
                    "abstract": f"Decision of a person: {decision['decision']}",
                    "content": decision["note"],
                    "object_refs": [grouping],
                }
        if last and last["decision"] in _OPINION:
            yield _object("opinion", _id("opinion", *about, str(len(decisions))), last["when"]) | {
                "opinion": _OPINION[last["decision"]],
                **({"explanation": last["note"]} if last["note"] else {}),
                "object_refs": [grouping],
            }


def _account(row: Thing, links: list[Thing]) -> Thing:
    times = {} if row["created_at"] is None else {"account_created": _time(row["created_at"])}
    return {
        "type": "user-account",
        "spec_version": "2.1",
        "id": _account_id(row["account_id"]),
        "user_id": row["account_id"],
        **times,
        **({} if row["closed_at"] is None else {"is_disabled": True}),
        "extensions": _extension(_held(row, "account_id", "created_at") | ({"links": links} if links else {})),
    }


def _account_id(account: str) -> str:
    return _observable("user-account", user_id=account)


def _address(kind: str, value: str) -> Thing | None:
    """The observable that STIX has for an identifier; None if it has none."""
    from hydragraph.identifiers import IP_RANGE

    name = ""
    if kind == IP_RANGE:
        try:
            name = f"ipv{ipaddress.ip_network(value).version}-addr"
        except ValueError:
            return None
    elif kind == "email" and _EMAIL.fullmatch(value):
        name = "email-addr"
    if not name:
        return None
    return {"type": name, "spec_version": "2.1", "id": _observable(name, value=value), "value": value}


def _observable(kind: str, **contributing: str) -> str:
    """The id of an observable, from the canonical JSON of the properties that make it what it is."""
    return f"{kind}--{uuid.uuid5(_OBSERVABLES, json.dumps(contributing, ensure_ascii=False, separators=(',', ':')))}"


def _object(kind: str, name: str, created: dt.datetime, modified: dt.datetime | None = None) -> Thing:
    return {
        "type": kind,
        "spec_version": "2.1",
        "id": name,
        "created": _time(created, "milliseconds"),
        "modified": _time(modified or created, "milliseconds"),
    }


def _created(cluster: Thing) -> dt.datetime:
    last: dt.datetime | None = cluster["last_seen"]
    return last or _BEGUN


def _extension(held: Thing) -> Thing:
    return {EXTENSION: {"extension_type": "property-extension", **held}}


def _held(row: Thing, *but: str) -> Thing:
    """The values of a row that are there, fit for JSON."""
    return {
        name: _time(value) if isinstance(value, dt.datetime) else value
        for name, value in row.items()
        if value is not None and name not in but
    }


def _time(when: dt.datetime, precision: str = "microseconds") -> str:
    return when.astimezone(dt.UTC).replace(tzinfo=None).isoformat(timespec=precision) + "Z"
