"""The mapping file: other names for files and columns, and a sentence for everything it cannot mean."""

from __future__ import annotations

from pathlib import Path

import pytest

from hydragraph.errors import InputRefused
from hydragraph.loaders import Rows, Source, open_source


def mapped(folder: Path, toml: str, **files: str) -> Source:
    for name, text in files.items():
        path = folder / name.replace("___", "/").replace("__", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (folder / "map.toml").write_text(toml)
    return open_source(folder, mapping=folder / "map.toml")


def refusal(folder: Path, toml: str, **files: str) -> str:
    with pytest.raises(InputRefused) as caught:
        mapped(folder, toml, **files)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_files_and_columns_by_other_names(tmp_path: Path) -> None:
    source = mapped(
        tmp_path,
        '[events]\nfiles = ["usage-*.csv"]\ncolumns = { timestamp = "ts", account_id = "user", ip = "client_ip" }\n'
        'constant = { channel = "direct" }\n',
        usage_1__csv="x\n",
        **{
            "usage-1__csv": "ts,user,client_ip,ip\n2026-01-01,a,203.0.113.1,junk\n",
            "usage-2__csv": "user;ts\nb;2026-01-02\n",
        },
    )
    assert sorted(source.tables["events"].select("account_id", "ip", "channel").collect().rows()) == [
        ("a", "203.0.113.1", "direct"),
        ("b", None, "direct"),
    ]
    assert [i.file for i in source.inputs] == ["usage-1.csv", "usage-2.csv"]
    assert source.notes == (
        "Not read, because the name or format is none of the tables': usage_1.csv.",
        "events: columns not read, because they are not declared: ip.",
    )


WIDE = "id,device_id,phone\na,d1,\nb,d1,555\nc,,\n"


def test_one_wide_file_feeds_links_of_several_kinds(tmp_path: Path) -> None:
    source = mapped(
        tmp_path,
        '[[links]]\nfiles = ["users.csv"]\ncolumns = { account_id = "id", value = "device_id" }\n'
        'constant = { kind = "device" }\n'
        '[[links]]\nfiles = ["users.csv"]\ncolumns = { account_id = "id", value = "phone" }\n'
        'constant = { kind = "phone" }\n'
        '[accounts]\nfiles = ["users.csv"]\ncolumns = { account_id = "id" }\n',
        users__csv=WIDE,
    )
    assert sorted(source.tables["links"].collect().rows()) == [
        ("a", "device", "d1"),
        ("b", "device", "d1"),
        ("b", "phone", "555"),
    ]
    assert source.rows["links"] == Rows(read=6, kept=6, rejected=0, set_aside=3)
    assert source.rows["accounts"] == Rows(3, 3, 0, 0)
    assert source.notes == ("links: 3 rows set aside, because they hold no value of the kind the mapping gives.",)


def test_a_column_that_another_section_takes_is_not_told_as_unread(tmp_path: Path) -> None:
    source = mapped(
        tmp_path,
        '[accounts]\nfiles = ["users.csv"]\ncolumns = { account_id = "id", created_at = "since" }\n'
        '[[links]]\nfiles = ["users.csv", "more.csv"]\ncolumns = { account_id = "id", value = "device_id" }\n'
        'constant = { kind = "device" }\n',
        users__csv="id,since,device_id,plan\na,2026-01-01,d1,free\n",
        more__csv="id,device_id,since\nb,d1,2026-01-02\n",
    )
    assert source.notes == (
        "accounts: columns not read, because they are not declared: plan.",
        "links: columns not read, because they are not declared: plan, since.",  # since: that of more.csv
    )


def test_a_constant_address_kind_is_checked(tmp_path: Path) -> None:
    text = refusal(
        tmp_path,
        '[links]\ncolumns = { value = "addr" }\nconstant = { kind = "ip" }\n',
        links__csv="account_id,addr\na,1.2.3.4\nb,x\n",
    )
    assert "column value: not an IP address" in text


def test_columns_alone_map_the_file_of_the_tables_own_name(tmp_path: Path) -> None:
    source = mapped(
        tmp_path,
        '[links]\ncolumns = { account_id = "who" }\nseparator = "~"\n',
        links__csv="who~kind~value\na~device~x,y;z\n",
        api_keys__csv="account_id,api_key_id\na,k\n",
    )
    assert source.tables["links"].collect().rows() == [("a", "device", "x,y;z")]
    assert source.notes == ()


def test_folders_and_depth_in_globs(tmp_path: Path) -> None:
    files = {
        "in___2026___a__csv": "account_id,kind,value\na,device,1\n",
        "in___2026___deep___b__csv": "account_id,kind,value\nb,device,2\n",
        "in___2026___note__txt": "x",
    }
    by_folder = mapped(tmp_path, '[links]\nfiles = ["in/2026"]\n', **files)
    by_depth = mapped(tmp_path, '[links]\nfiles = ["**/*.csv"]\n')
    assert by_folder.rows == by_depth.rows == {"links": Rows(2, 2, 0, 0)}
    assert [i.file for i in by_depth.inputs] == ["in/2026/a.csv", "in/2026/deep/b.csv"]


def test_files_named_on_the_command_line_can_be_mapped(tmp_path: Path) -> None:
    (tmp_path / "dump.csv").write_text("account_id,api_key_id\na,k\n")
    (tmp_path / "m.toml").write_text('[api_keys]\nfiles = ["dump.csv"]\n')
    assert open_source(tmp_path / "dump.csv", mapping=tmp_path / "m.toml").rows["api_keys"].read == 1


LINKS = "account_id,kind,value\na,device,d\n"


@pytest.mark.parametrize(
    ("toml", "sentence"),
    [
        ("[links", "mapping file: not TOML"),
        ("[logins]\n", "no table is called 'logins'"),
        ("links = 5\n", "[links] must be a section"),
        ("[links]\ncolums = {}\n", "[links] has no setting 'colums'"),
        ('[links]\nfiles = "x.csv"\n', "[links] files: input should be a valid list"),
        ("[links]\nfiles = []\n", "[links] files: list should have at least 1 item"),
        ("[links]\ncolumns = { value = 5 }\n", "[links] columns.value: input should be a valid string"),
        ('[links]\nseparator = ";;"\n', "[links] separator: string should have at most 1 character"),
        ('[links]\ncolumns = { valeu = "v" }\n', "[links] has no column 'valeu'"),
        ('[links]\ncolumns = { value = "Home Country" }\n', "who people are is never evidence"),
        ('[links]\nconstant = { kind = "language" }\n', "who people are is never evidence"),
        ('[links]\nconstant = { value = "x" }\n', "value cannot be constant"),
        ('[links]\nconstant = { kind = " " }\n', "constant kind is empty"),
        ('[links]\ncolumns = { kind = "k" }\nconstant = { kind = "x" }\n', "mapped to a column and constant"),
        ('[links]\ncolumns = { value = "nowhere" }\n', "no file has the column 'nowhere'"),
        ('[links]\nfiles = ["*.parquet"]\n', "nothing in the source matches '*.parquet'"),
        ('[links]\nfiles = ["../x.csv"]\n', "leads out of the source"),
        ('[links]\nfiles = ["/etc/passwd"]\n', "leads out of the source"),
        ('[links]\nfiles = ["readme.md"]\n', "in no format that can be read"),
        ('[links]\nfiles = ["more.csv"]\n', "links.csv is called links as well"),
        ("[events]\n", "[events] names no files, and the source has no file called events"),
        ("[api-keys]\n[api_keys]\n", "two sections speak of api_keys"),
    ],
)
def test_what_a_mapping_cannot_mean_is_refused(tmp_path: Path, toml: str, sentence: str) -> None:
    assert sentence in refusal(tmp_path, toml, links__csv=LINKS, readme__md="", more__csv=LINKS)


def test_a_missing_mapping_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "links.csv").write_text(LINKS)
    with pytest.raises(InputRefused, match="mapping file: cannot be opened"):
        open_source(tmp_path, mapping=tmp_path / "none.toml")


def test_a_mapped_link_out_of_the_source_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out.csv").write_text(LINKS)
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "x.csv").symlink_to(tmp_path / "out.csv")
    assert "leads out of the source" in refusal(tmp_path / "in", '[links]\nfiles = ["x.csv"]\n')
