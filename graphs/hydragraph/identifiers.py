"""Raw value -> identifier: the declared registry of kinds, and how each is normalised, found missing and masked.

Normalising is element-wise, changes nothing the second time and never raises, whatever the text. Two rules stand above
the others: a placeholder is no identifier (every blank would become one giant hub), and an identifier is never read
as a number (00123 is not 123).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import polars as pl

from hydragraph.addresses import read_ranges
from hydragraph.naming import folded, words_of
from hydragraph.pseudonyms import is_pseudonym
from hydragraph.settings import Settings

HIDDEN = "…"
"""Stands for the part of a value that a report does not show."""

# ---------------------------------------------------------------- missing values

# Compared without case, blanks and punctuation, so that 'N/A', '<null>' and '(None)' are found too.
_PLACEHOLDERS = (
    *("null", "none", "nan", "nat", "nil", "na", "unknown", "undefined", "unspecified", "missing", "empty", "blank"),
    *("notavailable", "notapplicable", "notprovided", "notset", "novalue", "redacted"),
    "d41d8cd98f00b204e9800998ecf8427e",  # MD5 of nothing
    "da39a3ee5e6b4b0d3255bfef95601890afd80709",  # SHA-1 of nothing
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",  # SHA-256 of nothing
    "ffffffffffffffffffffffffffffffff",  # the UUID that is all ones
)
# What factories, emulators and privacy settings put in place of a device's own id.
_DEVICE_PLACEHOLDERS = (
    "9774d56d682e549c",
    "020000000000",
    "0123456789abcdef",
    "03000200040005000006000700080009",
    "tobefilledbyoem",
    "defaultstring",
    "systemserialnumber",
)
_EXACT_PLACEHOLDERS = (r"\N", "-1")  # a database dump's null; the usual "none" of integer columns
# Nothing but blanks, punctuation and zeros: '-', '0', '0000-0000', '::', '0x00'.
_NOTHING = r"^(?:0[xX])?[\s\p{P}\p{Sm}\p{Sk}\p{Sc}0]*$"
# One character over and over ('xxxx', '999999'). Short numbers such as 11 or 7777 may be real, so digits need six; long
# repeats stay, because no one types them as a blank.
_REPEATED = "^(?:{})$".format(
    "|".join([f"{c}{{3,16}}" for c in "abcdefghijklmnopqrstuvwxyz"] + [f"{c}{{6,16}}" for c in "123456789"])
)


def _is_blank(value: pl.Series, words: tuple[str, ...] = _PLACEHOLDERS, repeated: str = "") -> pl.Series:
    token = _token(value)
    blank = token.is_in(words) | value.is_in(_EXACT_PLACEHOLDERS) | value.str.contains(_NOTHING)
    return blank | token.str.contains(repeated) if repeated else blank


def _is_placeholder(value: pl.Series) -> pl.Series:
    return _is_blank(value, repeated=_REPEATED)


def _is_device_placeholder(value: pl.Series) -> pl.Series:
    return _is_blank(value, (*_PLACEHOLDERS, *_DEVICE_PLACEHOLDERS), _REPEATED)


def _token(value: pl.Series) -> pl.Series:
    return value.str.to_lowercase().str.replace_all(r"[^\p{L}\p{N}]+", "")


# ---------------------------------------------------------------- canonical forms

_HEXADECIMAL = r"^(?:0[xX])?[0-9a-fA-F]+(?:[-:][0-9a-fA-F]+)*$"
_HEXADECIMAL_LEAST = 8
_PHONE = r"^(?:tel:)?\(?\+?[0-9 ().\-/\u{2010}-\u{2015}]+$"
_INTERNATIONAL = r"^00([1-9][0-9]{6,14})$"


def _clean(value: pl.Series) -> pl.Series:
    """Without control and invisible format characters, Unicode NFKC, inner blanks as one space, trimmed."""
    places = value.str.contains("[^!-~]").arg_true()  # the rest cannot change
    visible = value.gather(places).str.replace_all(r"\s+", " ").str.replace_all(r"[\p{Cc}\p{Cf}]+", "")
    cleaned = _nfkc(visible).str.replace_all(r"\s+", " ").str.strip_chars(" ")
    return value.clone().scatter(places, cleaned) if len(places) else value


def _nfkc(value: pl.Series) -> pl.Series:
    places = value.str.contains(r"[^\x00-\x7F]").arg_true()  # the rest cannot change
    return value.clone().scatter(places, value.gather(places).str.normalize("NFKC")) if len(places) else value


def _opaque(value: pl.Series) -> pl.Series:
    """Case kept, because most tokens mean it; hexadecimal text (hashes, UUIDs, MAC addresses) lower-cased."""
    hexadecimal = value.str.contains(_HEXADECIMAL) & (value.str.len_bytes() >= _HEXADECIMAL_LEAST)
    return value.str.to_lowercase().zip_with(hexadecimal, value)


def _as_is(value: pl.Series) -> pl.Series:
    return value


def _lower(value: pl.Series) -> pl.Series:
    return _nfkc(value.str.to_lowercase())  # lower-casing can undo the composition


def _email(value: pl.Series) -> pl.Series:
    """Lower-cased; the part from '+' on removed; for Gmail dots too. Without exactly one '@' (a hash): opaque.

    Mail for a+1@x and a+2@x reaches one mailbox at Gmail, Outlook, iCloud, Fastmail, Proton and most others, and is the
    cheapest way to look like two people. Where a provider gives a '+' no such meaning, names with one hardly exist.
    """
    whole = _lower(value).str.replace_all(" ", "", literal=True).str.strip_chars_end(".")
    # After a leading '+' nothing would be left of the name.
    mailbox = whole.zip_with(whole.str.starts_with("+"), whole.str.replace(r"\+[^@]*@", "@"))
    mailbox = mailbox.str.replace("@googlemail.com$", "@gmail.com")
    undotted = mailbox.str.strip_suffix("@gmail.com").str.replace_all(".", "", literal=True)
    mailbox = (undotted + "@gmail.com").zip_with(mailbox.str.ends_with("@gmail.com") & (undotted != ""), mailbox)
    return mailbox.zip_with(whole.str.contains("^[^@]+@[^@]+$"), _opaque(value))


def _phone(value: pl.Series) -> pl.Series:
    """Digits, with '+' where one led; 00 before an international number is '+'. No country is guessed, so a number
    written with its country and one written without stay two. Text with letters (a hash, an extension) is opaque."""
    # '+44 (0)20 ...': the zero is dialled only inside the country.
    abroad = value.str.contains(r"^(?:tel:)?\(?(?:\+|00)")
    dialled = value.str.replace("(0)", "", literal=True).zip_with(abroad, value).str.replace_all("[^0-9]+", "")
    plus = value.str.contains(r"^(?:tel:)?\(?\+")
    number = ("+" + dialled).zip_with(plus, dialled.str.replace(_INTERNATIONAL, "+$1"))
    return number.zip_with(value.str.contains(_PHONE) & value.str.contains("[1-9]"), _opaque(value))


def _postal(value: pl.Series) -> pl.Series:
    return _lower(value).str.replace_all(r"[^\p{L}\p{M}\p{N}/#-]+", " ").str.strip_chars(" ")


def _document(value: pl.Series) -> pl.Series:
    """Letters and digits only, lower-cased: '12-34 AB' and '1234ab' are one document."""
    return _nfkc(_token(_lower(value)))


# ---------------------------------------------------------------- masks


def _shown(value: str) -> str:
    return value


def _ends(first: int, last: int) -> Callable[[str], str]:
    def hide(value: str) -> str:
        # At least four characters stay hidden, or the ends would tell all of a short value.
        if len(value) < first + last + 4:
            return value[:1] + HIDDEN if len(value) > 1 else HIDDEN
        return value[:first] + HIDDEN + value[len(value) - last :]

    return hide


_default_mask = _ends(4, 2)


def _mask_payment(value: str) -> str:
    digits = re.sub("[ -]", "", value)
    if re.fullmatch("[0-9]{13,19}", digits):  # card-like: the most a report may show (PCI DSS)
        return digits[:6] + HIDDEN + digits[-4:]
    return _default_mask(value)


def _mask_email(value: str) -> str:
    local, at, domain = value.partition("@")
    if not at or "@" in domain:
        return _default_mask(value)
    return (local[:1] if len(local) > 1 else "") + HIDDEN + "@" + domain


def _mask_tail(value: str) -> str:
    return HIDDEN + value[-2:] if len(value) >= 6 else HIDDEN


# ---------------------------------------------------------------- kinds


@dataclass(frozen=True)
class Kind:
    """One kind of identifier.

    name: as in `links.kind`. title: words for a reader. chance_bits: bits taken off what sharing one is worth before
    any data is seen, because strangers come to share such an identifier that easily (prior, 0: hardly ever).
    aliases: other names, blank-separated. form: canonical form of a cleaned value. missing: whether a value in that
    form stands for nothing. mask: what of it a report shows; `_shown` for kinds that say nothing about one person.
    blockable: whether a provider can refuse requests or accounts by it and thereby stop who uses it.
    """

    name: str
    title: str
    chance_bits: float
    aliases: str = ""
    form: Callable[[pl.Series], pl.Series] = _opaque
    missing: Callable[[pl.Series], pl.Series] = _is_placeholder
    mask: Callable[[str], str] = _default_mask
    blockable: bool = True

    def counted(self, number: int) -> str:
        """`1 payment instrument`, `2 payment instruments`."""
        plural = "es" if self.title.endswith(("s", "x", "ch", "sh")) else "s"
        return f"{number:,} {self.title}{'' if number == 1 else plural}"


CIRCUMSTANTIAL_BITS = 8.0
UNKNOWN_CHANCE_BITS = 6.0
"""chance_bits of a kind that is not in KINDS."""

IP_RANGE = "ip_range"

KINDS: dict[str, Kind] = {
    "api_key": Kind("api_key", "API key", 0, "key apikey api_key_id key_id", mask=_ends(6, 2)),
    "payment": Kind(
        "payment",
        "payment instrument",
        1,
        "card credit_card card_id card_fingerprint instrument instrument_id payment_method payment_instrument"
        " payment_fingerprint bank_account iban",
        mask=_mask_payment,
    ),
    IP_RANGE: Kind(
        IP_RANGE,
        "address range",
        10,
        "ip ipv4 ipv6 ip_address ip_addr ipaddress client_ip remote_ip source_ip login_ip signup_ip cidr subnet",
        mask=_shown,
    ),
    "device": Kind(
        "device",
        "device",
        2,
        "device_id deviceid device_fingerprint device_hash machine_id hardware_id hwid android_id idfa gaid imei mac"
        " mac_address",
        missing=_is_device_placeholder,
    ),
    "email": Kind("email", "e-mail address", 1, "e_mail mail email_address e_mail_address", _email, mask=_mask_email),
    "phone": Kind(
        "phone",
        "phone number",
        2,
        "phone_number phonenumber telephone tel mobile mobile_number msisdn",
        _phone,
        mask=_mask_tail,
    ),
    "template": Kind(
        "template", "request template", 7, "template_hash template_id prompt_template prompt_hash", mask=_shown
    ),
    # Everyone with one version of one browser or library has the same handshake.
    "tls": Kind(
        "tls", "TLS fingerprint", 9, "ja3 ja3n ja3_hash ja4 ja4_hash tls_hash tls_fingerprint", _lower, mask=_shown
    ),
    "user_agent": Kind("user_agent", "user agent", 12, "useragent ua", _as_is, blockable=False),
    "address": Kind(
        "address",
        "postal address",
        5,
        "postal_address street_address home_address mailing_address billing_address shipping_address",
        _postal,
    ),
    # Nobody checked it: it explains a group at least as often as it gives one away.
    "org": Kind(
        "org",
        "organisation the account says it belongs to",
        4,
        "org_id organisation organization organisation_id organization_id company company_id",
        blockable=False,
    ),
    "wallet": Kind("wallet", "wallet", 1, "wallet_id wallet_address crypto_wallet crypto_address"),
    "cookie": Kind("cookie", "browser cookie", 1, "cookie_id cookie_hash session_cookie"),
    "document": Kind("document", "identity document", 1, "document_id document_number", _document, mask=_mask_tail),
    "licence": Kind(
        "licence",
        "licence",
        1,
        "license driving_licence driving_license drivers_licence drivers_license driver_license",
        _document,
        mask=_mask_tail,
    ),
    "passport": Kind("passport", "passport", 1, "passport_id passport_number", _document, mask=_mask_tail),
    "national_id": Kind(
        "national_id",
        "national identity number",
        1,
        "nationalid national_id_number id_card identity_card",
        _document,
        mask=_mask_tail,
    ),
    "ssn": Kind("ssn", "social security number", 1, "social_security_number", _document, mask=_mask_tail),
    "tax_id": Kind("tax_id", "tax number", 1, "tax_number tin vat_id vat_number", _document, mask=_mask_tail),
}
"""The kinds known by name. Any other kind is read under its own name with the defaults of `Kind`."""

_NAMES = {alias: k.name for k in KINDS.values() for alias in (k.name, *k.aliases.split())}


def canonical_kind(name: str) -> str:
    """The one spelling of a kind: lower case, words joined by '_', aliases resolved ('E-Mail' -> email, 'ip' ->
    ip_range, 'deviceId' -> device). An unknown kind keeps its own name. Never raises."""
    plain = "_".join(re.findall(r"[^\W_]+", folded(name)))
    if plain in _NAMES:
        return _NAMES[plain]
    return _NAMES.get("_".join(words_of(name)), plain)


def kind(name: str) -> Kind:
    """The kind of that name or alias; for an unknown one the defaults under its own name."""
    canonical = canonical_kind(name)
    return KINDS.get(canonical) or Kind(canonical, canonical.replace("_", " "), UNKNOWN_CHANCE_BITS)


_kind = kind  # the functions below have a parameter of that name


# ---------------------------------------------------------------- columns of values


def is_circumstantial(name: str) -> bool:
    """Whether strangers share identifiers of this kind so easily (chance_bits of 8 or more: addresses, TLS
    fingerprints) that sharing them supports other evidence and is none by itself."""
    return kind(name).chance_bits >= CIRCUMSTANTIAL_BITS


def normalise(kind: str, values: pl.Series, settings: Settings) -> pl.Series:
    """The canonical form of each value of one kind: String, same length and order, null where there is none.

    Element-wise, and normalising twice changes nothing. Meant for unique values. Unreadable addresses are null here;
    `address_ranges` says why. Never raises, whatever the text.
    """
    rule = _kind(kind)
    if rule.name == IP_RANGE:
        return address_ranges(values, settings)["range"].alias(values.name)
    cleaned = _clean(values.cast(pl.String))
    form = rule.form(cleaned)
    return form.set(rule.missing(form) | cleaned.is_in(_EXACT_PLACEHOLDERS), None).alias(values.name)


def address_ranges(values: pl.Series, settings: Settings) -> pl.DataFrame:
    """Columns range and reason, as `addresses.read_ranges` gives them; placeholders such as 'unknown' are missing."""
    found = read_ranges(values, settings)
    odd = found["reason"].is_not_null().arg_true()
    if odd.is_empty():
        return found
    # What was not readable at first sight may be a placeholder or hold invisible characters.
    text = _clean(values.cast(pl.String).gather(odd))
    again = read_ranges(text.set(_is_blank(text), None), settings)
    return pl.DataFrame({c: found[c].scatter(odd, again[c]) for c in found.columns})


def mask(kind: str, values: pl.Series) -> pl.Series:
    """What a report shows of each value: see `mask_value`. String, same length and order; null stays null."""
    text = values.cast(pl.String)
    known = {value: mask_value(kind, value) for value in text.unique() if value is not None}
    return pl.Series(values.name, [None if v is None else known[v] for v in text], dtype=pl.String)


def mask_value(kind: str, value: str) -> str:
    """What a report shows of one value: address ranges, templates and TLS fingerprints whole; of a card number at most
    the first 6 and last 4 digits; of anything else a few characters at its ends, never the whole. Not reversible, and
    not unique: two values may look the same. Pseudonyms hide nothing more: they are shown whole."""
    if is_pseudonym(value):
        return value
    rule = _kind(kind)
    shown = rule.mask(value)
    return HIDDEN if shown == value and rule.mask is not _shown else shown
