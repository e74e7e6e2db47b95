import hashlib
import ipaddress
from itertools import pairwise

import polars as pl
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from hydragraph import addresses
from hydragraph.identifiers import (
    HIDDEN,
    KINDS,
    UNKNOWN_CHANCE_BITS,
    address_ranges,
    canonical_kind,
    kind,
    mask,
    mask_value,
    normalise,
)
from hydragraph.naming import refused_word
from hydragraph.settings import Settings

SETTINGS = Settings()
SHOWN = ("ip_range", "template", "tls")
HIDDEN_KINDS = [*sorted(set(KINDS) - set(SHOWN)), "tweet"]


def one(name: str, value: str | None, settings: Settings = SETTINGS) -> str | None:
    return normalise(name, pl.Series([value], dtype=pl.String), settings).item()


def read(text: str | None, settings: Settings = SETTINGS) -> tuple[str | None, str | None]:
    return address_ranges(pl.Series([text], dtype=pl.String), settings).row(0)


# ---------------------------------------------------------------- kinds


@pytest.mark.parametrize(
    ("spelled", "name"),
    [
        ("ip", "ip_range"),
        ("IP", "ip_range"),
        ("IPv4", "ip_range"),
        ("IP Address", "ip_range"),
        ("IPAddress", "ip_range"),
        ("e-mail", "email"),
        (" Email ", "email"),
        ("card", "payment"),
        ("instrument_id", "payment"),
        ("Key", "api_key"),
        ("api-key", "api_key"),
        ("ja3", "tls"),
        ("JA4", "tls"),
        ("TLS fingerprint", "tls"),
        ("deviceId", "device"),
        ("userAgent", "user_agent"),
        ("org_id", "org"),
        ("template_hash", "template"),
        ("address", "address"),
        ("tweet", "tweet"),
        ("My  Kind", "my_kind"),
        ("", ""),
    ],
)
def test_a_kind_has_one_spelling(spelled, name):
    assert canonical_kind(spelled) == name


def test_every_kind_is_declared_under_its_own_name_and_no_alias_twice():
    aliases = [alias for k in KINDS.values() for alias in k.aliases.split()]
    assert [k.name for k in KINDS.values()] == list(KINDS)
    assert len(set(aliases)) == len(aliases)
    assert set(aliases).isdisjoint(KINDS)
    assert all(canonical_kind(alias) == k.name for k in KINDS.values() for alias in k.aliases.split())
    assert not any(refused_word(n) for n in [*aliases, *KINDS])
    assert all(k.title and k.chance_bits >= 0 for k in KINDS.values())


def test_an_unknown_kind_keeps_its_name_and_gets_the_defaults():
    assert (kind("Shared Post").name, kind("Shared Post").title) == ("shared_post", "shared post")
    assert kind("tweet").chance_bits == UNKNOWN_CHANCE_BITS == 6


def test_what_strangers_share_easily_starts_lower():
    bits = {name: kind(name).chance_bits for name in KINDS}
    assert (bits["api_key"], bits["payment"], bits["template"], bits["ip_range"], bits["user_agent"]) == (
        0,
        1,
        7,
        10,
        12,
    )
    assert "says" in kind("org").title  # nobody checked it


@given(st.text(max_size=20))
@example("İx")
def test_naming_a_kind_never_fails_and_is_stable(name):
    assert canonical_kind(canonical_kind(name)) == canonical_kind(name) == kind(name).name


# ---------------------------------------------------------------- missing values

PLACEHOLDERS = [
    *("", " ", "\t\n", "\u200b", "null", "NULL", "None", "nan", "N/A", "n/a", "na", "NA", "unknown", "Undefined"),
    *("-", "--", "0", "000", "0000-0000", "00000000-0000-0000-0000-000000000000", "0.0.0.0", "::", "xxxx", "XXX"),
    *("(null)", "<none>", "\\N", "-1", "?", "...", "999999", "0x0000000000000000000000000000000000000000"),
    "FFFFFFFF-ffff-ffff-ffff-FFFFFFFFFFFF",
    *(hashlib.new(algorithm, b"").hexdigest() for algorithm in ("md5", "sha1", "sha256")),
]


@pytest.mark.parametrize("name", [*KINDS, "tweet"])
def test_placeholders_are_missing_in_every_kind(name):
    found = normalise(name, pl.Series([None, *PLACEHOLDERS], dtype=pl.String), SETTINGS)
    assert found.to_list() == [None] * (len(PLACEHOLDERS) + 1)


@pytest.mark.parametrize(
    "value", ["test", "1", "11", "7777", "a", "ab", "00123", "nana", "x1", "none-of-it", "😀", "b" * 64]
)
def test_short_and_plain_values_are_not_placeholders(value):
    assert one("device", value) == value


def test_ids_that_factories_and_privacy_settings_hand_to_everyone_are_no_device():
    values = [
        "02:00:00:00:00:00",
        "9774d56d682e549c",
        "To be filled by O.E.M.",
        "0123456789ABCDEF",
        "3f:a1:00:12:9c:7e",
    ]
    assert normalise("device", pl.Series(values), SETTINGS).to_list() == [None] * 4 + ["3f:a1:00:12:9c:7e"]
    assert one("cookie", "9774d56d682e549c") is not None


# ---------------------------------------------------------------- canonical forms


@pytest.mark.parametrize(
    ("name", "raw", "canonical"),
    [
        ("payment", " 00123 ", "00123"),
        ("payment", "card_Ab1", "card_Ab1"),
        ("api_key", "Sk-AbC\x00dEf\u200b", "Sk-AbCdEf"),
        ("api_key", "ＡＢＣ１２３", "ABC123"),
        ("device", "550E8400-E29B-41D4-A716-446655440000", "550e8400-e29b-41d4-a716-446655440000"),
        ("device", "AA:BB:CC:DD:EE:0F", "aa:bb:cc:dd:ee:0f"),
        ("template", "89D0D1D1D164AC3BF84CDA7911941734", "89d0d1d1d164ac3bf84cda7911941734"),
        ("template", "BEEF", "BEEF"),  # too short to be taken for a hash
        ("wallet", "0xAB5801a7D398351b8bE11C439e05C5B3259aeC9B", "0xab5801a7d398351b8be11c439e05c5b3259aec9b"),
        ("wallet", "1BoatSLRHtKNngkdXEeobR76b53LETtpyT", "1BoatSLRHtKNngkdXEeobR76b53LETtpyT"),
        ("tls", "T13D1516H2_8DAAF6152771", "t13d1516h2_8daaf6152771"),
        ("user_agent", "curl/8.5\t\r\n (x)", "curl/8.5 (x)"),
        ("tweet", "a  b\tc", "a b c"),
        ("address", "123 Main St.,  Las Vegas NV", "123 main st las vegas nv"),
        ("address", "Šafářova 5/7", "šafářova 5/7"),
        ("passport", "x 123-45", "x12345"),
        ("ssn", "001-02-3456", "001023456"),
        ("email", " Ann@Example.ORG. ", "ann@example.org"),
        ("email", "a.n.n+trial7@GMail.com", "ann@gmail.com"),
        ("email", "a.nn@googlemail.com", "ann@gmail.com"),
        ("email", "a.nn+7@example.org", "a.nn@example.org"),
        ("email", "+ann@example.org", "+ann@example.org"),
        ("email", ".@gmail.com", ".@gmail.com"),
        ("email", " A@B@C ", "A@B@C"),
        ("email", "no address", "no address"),
        ("email", "5D41402ABC4B2A76B9719D911017C592", "5d41402abc4b2a76b9719d911017c592"),
        ("phone", "(702) 919-1300", "7029191300"),
        ("phone", "+49 30 1234-567", "+49301234567"),
        ("phone", "0049 30 1234567", "+49301234567"),
        ("phone", "+49 (0)30 1234567", "+49301234567"),
        ("phone", "tel:(+49) 30 1234567", "+49301234567"),
        ("phone", "00123", "00123"),
        ("phone", "030 1234567", "0301234567"),
        ("phone", "555-1234 x12", "555-1234 x12"),
    ],
)
def test_one_canonical_form(name, raw, canonical):
    assert one(name, raw) == canonical
    assert one(name, canonical) == canonical


def test_numbers_given_as_numbers_become_text():
    assert normalise("payment", pl.Series("card", [123, None, 0]), SETTINGS).to_list() == ["123", None, None]
    assert normalise("payment", pl.Series("card", [123]), SETTINGS).name == "card"
    assert normalise("email", pl.Series([], dtype=pl.Null), SETTINGS).dtype == pl.String


def test_the_values_handed_in_are_left_alone():
    values = ["Ｋ", "é", "1.2.3.4\u200b", "fe80::1", "none", None]
    for name in ("email", "ip_range", "tweet"):
        given_in = pl.Series(values, dtype=pl.String)
        normalise(name, given_in, SETTINGS)
        assert given_in.to_list() == values


# Text that is likely to go wrong: many blanks, separators, digits, marks that compose, look-alike forms.
awkward = st.text(
    alphabet=st.one_of(
        st.sampled_from("aAbBxX019 +@.-:/()[]%\t\x00\u0301\u200bİΣßＡ＠가"), st.characters(codec="utf-8")
    )
)
texts = st.one_of(
    awkward,
    st.emails(),
    st.uuids().map(str),
    st.ip_addresses().map(str),
    st.sampled_from(PLACEHOLDERS),
    st.from_regex(r"\+?(00)?[0-9 ()/-]{0,18}", fullmatch=True),
    st.from_regex(r"[A-Za-z.+]{0,6}@[Gg]mail\.com\.?", fullmatch=True),
)


@given(st.sampled_from([*KINDS, "tweet"]), st.lists(texts | st.none(), max_size=6))
@example("email", ["a@x .", "J\u030c@x.org", "+a+b@gmail.com"])
@example("document", ["e-\u0301", "ᄀ-ᅡ", "Σ Σ"])
@example("phone", ["+0049123456789", "00(0)1234567"])
def test_normalising_is_idempotent_element_wise_and_never_fails(name, values):
    once = normalise(name, pl.Series(values, dtype=pl.String), SETTINGS)
    assert once.dtype == pl.String
    assert normalise(name, once, SETTINGS).to_list() == once.to_list()
    assert [one(name, v) for v in values] == once.to_list()
    assert "" not in once


@given(st.sampled_from(sorted(set(KINDS) - {"ip_range"})), texts)
def test_blanks_around_and_controls_inside_make_no_difference(name, value):
    assert one(name, f" \t{value}\x00 \u200b") == one(name, value)


# ---------------------------------------------------------------- addresses


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("203.0.113.9", "203.0.113.0/24"),
        (" 203.0.113.9\n", "203.0.113.0/24"),
        ("203.0.113.9\u200b", "203.0.113.0/24"),
        ("203.0.113.9:443", "203.0.113.0/24"),
        ("198.51.100.0/24", "198.51.100.0/24"),
        ("198.51.100.77/24", "198.51.100.0/24"),
        ("198.51.100.128/28", "198.51.100.0/24"),
        ("198.51.0.0/16", "198.51.0.0/16"),
        ("172.0.0.0/8", "172.0.0.0/8"),  # holds private addresses, but not only
        ("172.32.0.1", "172.32.0.0/24"),
        ("100.128.0.1", "100.128.0.0/24"),
        ("2001:db8::1", "2001:db8::/56"),
        ("2001:0DB8:0000:12ff:0:0:0:1", "2001:db8:0:1200::/56"),
        ("2001:db8::1%eth0", "2001:db8::/56"),
        ("[2001:db8::1]:443", "2001:db8::/56"),
        ("[2001:db8::1]", "2001:db8::/56"),
        ("2001:db8::1:443", "2001:db8::/56"),  # a whole address, no port
        ("2001:db8:1:2::/64", "2001:db8:1::/56"),
        ("2001:db8::/32", "2001:db8::/32"),
        ("dddd::1", "dddd::/56"),  # no placeholder, although one letter over and over
        ("::ffff:203.0.113.9", "203.0.113.0/24"),
        ("::ffff:cb00:7109", "203.0.113.0/24"),
        ("0:0:0:0:0:ffff:cb00:7109", "203.0.113.0/24"),
        ("::ffff:203.0.0.0/112", "203.0.0.0/16"),
        ("64:ff9b::203.0.113.9", "203.0.113.0/24"),
        ("2002:cb00:7109::1", "2002:cb00:7109::/56"),  # 6to4 and Teredo stay IPv6
        ("2001:0:4136:e378:8000:63bf:3fff:fdd2", "2001:0:4136:e300::/56"),
    ],
)
def test_an_address_goes_into_its_range(text, found):
    assert read(text) == (found, None)
    assert one("ip", text) == found


NO_EVIDENCE = [
    *(None, "", " ", "unknown", "N/A", "-", "0", "0.0.0.0", "00.00.00.00", "0.0.0.0/0", "0.1.2.3"),
    *("10.0.0.5", "10.255.255.255", "10.1.2.0/24", "10.0.0.0/8", "172.16.0.1", "172.31.255.255", "192.168.1.1"),
    *("192.168.0.0/16", "127.0.0.1", "169.254.3.4", "100.64.0.1", "100.127.255.255", "224.0.0.251", "255.255.255.255"),
    *("10.0.0.5:443", "64.0.0.0/2", "::", "::/0", "0:0:0:0:0:0:0:0", "::1", "fe80::1", "fe80::1%eth0", "fd12:3456::1"),
    *("fc00::/7", "ff02::1", "fec0::1", "64:ff9b:1::1", "::ffff:10.0.0.5", "64:ff9b::192.168.1.1", "::ffff:0:0/96"),
    *("::203.0.113.9", "2000::/3"),
]


@pytest.mark.parametrize("text", NO_EVIDENCE)
def test_what_every_network_reuses_is_missing_and_no_error(text):
    assert read(text) == (None, None)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("010.0.0.1", addresses.LEADING_ZERO),
        ("203.0.113.09", addresses.LEADING_ZERO),
        ("203.0.113.256", addresses.UNREADABLE),
        ("203.0.113", addresses.UNREADABLE),
        ("3405803785", addresses.UNREADABLE),
        ("localhost", addresses.UNREADABLE),
        ("203.0.113.9%eth0", addresses.UNREADABLE),
        ("[203.0.113.9]:80", addresses.UNREADABLE),
        ("2001:db8::1::2", addresses.UNREADABLE),
        ("2001:db8:1:2:3:4:5:6:443", addresses.UNREADABLE),
        ("2001:db8:1:2:3:4:5", addresses.UNREADABLE),
        ("203.0.113.9, 198.51.100.1", addresses.SEVERAL),
        ("203.0.113.9 198.51.100.1", addresses.SEVERAL),
        ("203.0.113.0/33", addresses.BAD_PREFIX),
        ("203.0.113.0/", addresses.BAD_PREFIX),
        ("203.0.113.0/255.255.255.0", addresses.BAD_PREFIX),
        ("2001:db8::/129", addresses.BAD_PREFIX),
        ("203.0.113.9:65536", addresses.BAD_PORT),
        ("203.0.113.9:", addresses.BAD_PORT),
        ("203.0.113.9:http", addresses.BAD_PORT),
        ("203.0.113.9:80/24", addresses.BAD_PORT),
        ("203.0.113.9/24:80", addresses.BAD_PREFIX),
    ],
)
def test_what_cannot_be_read_says_why_without_the_value(text, reason):
    assert read(text) == (None, reason)
    assert text not in reason
    assert one("ip_range", text) is None


def test_the_prefixes_are_settings():
    wide = Settings(ipv4_prefix=16, ipv6_prefix=48)
    single = Settings(ipv4_prefix=32, ipv6_prefix=128)
    assert read("203.0.113.9", wide) == ("203.0.0.0/16", None)
    assert read("203.0.113.9", single) == ("203.0.113.9/32", None)
    assert read("2001:db8:1:2::5", wide) == ("2001:db8:1::/48", None)
    assert read("2001:db8:1:2::5", single) == ("2001:db8:1:2::5/128", None)


def test_a_table_keeps_its_order_and_length():
    values = pl.Series(
        ["203.0.113.9", None, "2001:db8::1", "odd", "10.0.0.1", "198.51.100.4", "fe80::1", "::ffff:198.51.100.9"]
    )
    found = address_ranges(values, SETTINGS)
    assert found.schema == {"range": pl.String, "reason": pl.String}
    assert found["range"].to_list() == [
        *("203.0.113.0/24", None, "2001:db8::/56", None, None, "198.51.100.0/24", None, "198.51.100.0/24")
    ]
    assert found["reason"].to_list() == [None, None, None, addresses.UNREADABLE, None, None, None, None]
    assert address_ranges(values.clear(), SETTINGS).shape == (0, 2)


def test_no_address_of_the_fast_ipv6_way_can_be_missing():
    in_use = ipaddress.ip_network("2000::/3")
    assert all(not in_use.overlaps(ipaddress.ip_network((low, bits))) for low, bits in addresses.NOT_EVIDENCE_V6)


v4 = st.one_of(st.ip_addresses(v=4), st.integers(0, 15).map(lambda i: ipaddress.IPv4Address(0xCB007100 + i)))
v6 = st.one_of(
    st.ip_addresses(v=6),
    st.integers(0, 2**125 - 1).map(lambda i: ipaddress.IPv6Address(2**125 + i)),
    # Zeros in any place, so that '::' stands anywhere.
    st.lists(st.sampled_from([0, 0, 1, 0xABC, 0x2001, 0xFFFF]), min_size=8, max_size=8).map(
        lambda groups: ipaddress.IPv6Address(sum(g << 16 * (7 - i) for i, g in enumerate(groups)))
    ),
)
settings_ = st.builds(Settings, ipv4_prefix=st.integers(8, 32), ipv6_prefix=st.integers(16, 128))


@given(v4 | v6, settings_)
def test_the_range_holds_the_address_and_is_canonical(address, settings):
    found, reason = read(str(address), settings)
    assert reason is None
    assume(found is not None)
    network = ipaddress.ip_network(found)
    assert str(network) == found
    unwrapped = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF) if network.version < address.version else address
    assert unwrapped in network
    assert network.prefixlen == (settings.ipv4_prefix if network.version == 4 else settings.ipv6_prefix)
    assert read(found, settings) == (found, None)


@given(v4, st.integers(0, 65535))
def test_all_forms_of_an_ipv4_address_are_one(address, port):
    plain = read(str(address))
    forms = [f"{address}/32", f"{address}:{port}", f" {address} ", f"::ffff:{address}", f"::FFFF:{address}/128"]
    forms += [f"[::ffff:{address}]:{port}", f"64:ff9b::{address}", f"0:0:0:0:0:ffff:{address}"]
    assert [read(form) for form in forms] == [plain] * len(forms)


@given(v6, st.integers(0, 65535), settings_)
def test_all_forms_of_an_ipv6_address_are_one(address, port, settings):
    plain = read(str(address), settings)
    forms = [address.exploded, address.exploded.upper(), f"[{address}]:{port}", f"{address}%eth0", f"{address}/128"]
    forms += [":".join(f"{int(group, 16):x}" for group in address.exploded.split(":"))]
    assert [read(form, settings) for form in forms] == [plain] * len(forms)


@given(
    st.one_of(
        st.builds(lambda a, n: f"{a}/{n}", v4, st.integers(0, 33)),
        st.builds(lambda a, n: f"{a}:{n}", v4, st.integers(0, 99999)),
        st.from_regex(r"[0-9]{1,3}(\.[0-9]{1,3}){3}", fullmatch=True),
        st.from_regex(r"[23][0-9a-f:]{0,30}", fullmatch=True),
        v6.map(str),
    ),
    settings_,
)
def test_the_fast_way_and_the_careful_way_agree(text, settings):
    assert addresses.read_ranges(pl.Series([text]), settings).rows() == addresses._read_each(
        pl.Series([text]), settings
    )


@given(awkward)
def test_no_text_breaks_the_reader_and_a_reason_never_carries_it(text):
    found, reason = read(text)
    assert found is None or reason is None
    assert reason is None or reason in {
        *(addresses.UNREADABLE, addresses.LEADING_ZERO, addresses.SEVERAL, addresses.BAD_PREFIX, addresses.BAD_PORT)
    }


# ---------------------------------------------------------------- masks


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("payment", "4111111111111111", "411111…1111"),
        ("card", "4111 1111 1111 1111", "411111…1111"),
        ("payment", "card_12345678", "card…78"),
        ("payment", "card_1", "c…"),
        ("payment", "c", "…"),
        ("api_key", "sk-abcdef123456", "sk-abc…56"),
        ("api_key", "key_1", "k…"),
        ("email", "ann@example.org", "a…@example.org"),
        ("email", "a@example.org", "…@example.org"),
        ("email", "a@b@c", "a…"),
        ("phone", "+49301234567", "…67"),
        ("phone", "112", "…"),
        ("ssn", "001023456", "…56"),
        ("ip", "203.0.113.0/24", "203.0.113.0/24"),
        ("template", "89d0d1d1", "89d0d1d1"),
        ("ja3", "89d0d1d1", "89d0d1d1"),
        ("tweet", "89d0d1d1d164", "89d0…64"),
        ("tweet", "", "…"),
    ],
)
def test_what_a_report_shows(name, value, shown):
    assert mask_value(name, value) == shown
    assert mask(name, pl.Series("v", [value, None, value])).to_list() == [shown, None, shown]
    assert mask(name, pl.Series("v", [], dtype=pl.String)).dtype == pl.String


@given(st.sampled_from(HIDDEN_KINDS), texts | st.from_regex("[0-9]{1,20}", fullmatch=True))
@example("tweet", "a…")
@example("email", "…@x")
def test_a_mask_hides(name, value):
    assume(value != HIDDEN)  # nothing in it to hide
    shown = mask_value(name, value)
    assert HIDDEN in shown
    assert shown != value
    assert value not in shown or value == "" or (name == "email" and "@" in shown)
    kept = shown.replace(HIDDEN, "", 1)
    if "@" not in shown and not (name == "payment" and value.replace(" ", "").replace("-", "").isdigit()):
        assert len(kept) <= max(1, len(value) - 4) or len(kept) == 1


@given(st.text("0123456789", min_size=13, max_size=19), st.sampled_from(["", " ", "-"]))
def test_a_card_number_shows_at_most_six_and_four(digits, separator):
    value = separator.join(digits[i : i + 4] for i in range(0, len(digits), 4))
    first, last = mask_value("payment", value).split(HIDDEN)
    assert (first, last) == (digits[:6], digits[-4:])


def test_values_that_differ_may_look_the_same_when_masked_but_stay_in_order():
    values = pl.Series([f"key_{i:08d}" for i in range(100)])
    masked = mask("api_key", values)
    assert all(a[-2:] != b[-2:] for a, b in pairwise(masked))
    assert masked.n_unique() == 100
