"""Card numbers: which texts look like one, and when a column holds them. The tool never works on card numbers.

A text looks like a card number if its 13 to 19 digits, with single blanks or hyphens between them at most, begin with an
issuer's prefix, have a length that this issuer uses, and end in the right check digit (ISO/IEC 7812-1, Luhn). One other
number in ten has that check digit by chance, and at best one in ten with an issuer's prefix. So one column is judged
as a whole: card numbers are nearly all of what has their shape, numeric ids at most a tenth.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

import polars as pl

SHAPE = r"^\s*[0-9](?:[ -]?[0-9]){12,18}\s*$"
"""13 to 19 digits, and at most one blank or hyphen between two of them."""

MAYBE = r"^\s*[2-68](?:[ -]?[0-9]){12,18}\s*$"
"""SHAPE with a digit in front with which an issuer's prefix begins."""

_ISSUERS = (
    ("4", (13, 16, 19)),  # Visa
    ("5[1-5]", (16,)),  # Mastercard
    ("222[1-9]|22[3-9]|2[3-6]|27[01]|2720", (16,)),  # Mastercard
    ("3[47]", (15,)),  # American Express
    ("6011|64[4-9]|65", (16, 17, 18, 19)),  # Discover
    ("30[0-5]|3095|36|3[89]", (14, 16, 17, 18, 19)),  # Diners Club
    ("352[89]|35[3-8]", (16, 17, 18, 19)),  # JCB
    ("62|81", (16, 17, 18, 19)),  # UnionPay
    ("5018|5020|5038|5893|6304|6759|676[1-3]", (13, 14, 16, 17, 18, 19)),  # Maestro
    ("220[0-4]", (16, 17, 18, 19)),  # Mir
    ("60|82|508|353|356", (16,)),  # RuPay
    ("506[01]", (16, 18, 19)),  # Verve
    ("5019", (16,)),  # Dankort
)
"""Prefix and lengths of each issuer. Not among them: 15 digits but for American Express, because 15 digits with this check
digit are a phone's IMEI."""
_PREFIX = {length: "|".join(p for p, of in _ISSUERS if length in of) for length in range(13, 20)}

# As printed on cards: 4-4-4-4, 4-4-4-4-3, 4-6-5 and 4-6-4. No other number is written so.
_PRINTED = r"^\s*[0-9]{4}(?:(?:[ -][0-9]{4}){3}(?:[ -][0-9]{3})?|[ -][0-9]{6}[ -][0-9]{4,5})\s*$"

_DISGUISED = r"^[\p{Nd}\s\p{Pd}\p{Cf}\p{Cc}._]{13,}$"
"""Digits of any script and width, with blanks, dashes, dots and invisible characters between them."""

MOST_BY_CHANCE = 2
"""So many texts that look like card numbers are no sign of a column of them, if it holds much else; see `Found`."""
SMALL_SHARE = 0.1


@dataclass(frozen=True)
class Found:
    """What the distinct values of a column, or of one kind of links, hold. shaped: texts of the shape; alike: those that
    look like card numbers; printed: those of them in groups as on cards; values: all."""

    shaped: int
    alike: int
    printed: int
    values: int

    @property
    def doubtful(self) -> bool:
        """Whether more than half of what has the shape looks like card numbers: of numeric ids at most a tenth does."""
        return 2 * self.alike > self.shaped

    @property
    def refused(self) -> bool:
        """Whether it holds card numbers beyond doubt: it is doubtful, and they are three or more, a tenth of all values, or
        printed as on cards.

        Fewer may be chance: of 2,000 identifiers of 16 hexadecimal digits one has no letter.
        """
        return self.doubtful and (self.beyond_chance or self.alike >= SMALL_SHARE * self.values)

    @property
    def beyond_chance(self) -> bool:
        """Whether it takes no count of all values to refuse what is doubtful."""
        return self.alike > MOST_BY_CHANCE or self.printed > 0


def looks_like_card(text: pl.Series) -> pl.Series:
    """Whether each text looks like a card number. Boolean, same length and order; null is none."""
    shaped = text.str.contains(SHAPE).fill_null(False)
    found = pl.repeat(False, len(text), dtype=pl.Boolean, eager=True)
    at = shaped.arg_true()
    if at.is_empty():
        return found
    return found.scatter(at, _is_card(text.gather(at).str.replace_all(r"[^0-9]+", "")))


def _is_card(digits: pl.Series) -> pl.Series:
    """The same of texts of 13 to 19 digits."""
    length = digits.str.len_bytes()
    issued = pl.repeat(False, len(digits), dtype=pl.Boolean, eager=True)
    for n, prefix in _PREFIX.items():
        issued |= (length == n) & digits.str.contains(f"^(?:{prefix})")
    number = digits.str.zfill(20)  # zeros in front add nothing; the last digit is at an even place from the right
    total = pl.repeat(0, len(digits), dtype=pl.Int32, eager=True)
    for place in range(20):
        digit = number.str.slice(place, 1).cast(pl.Int32)
        doubled = 2 * digit
        total += digit if place % 2 else doubled - 9 * (doubled > 9).cast(pl.Int32)
    return issued & (total % 10 == 0)


def undisguised(texts: pl.Series) -> pl.Series:
    """Those texts that are nothing but digits and what may stand between them, as plain digits and hyphens; the others are
    left out."""
    found = texts.filter(texts.str.contains(_DISGUISED).fill_null(False))
    odd = (~found.str.contains("^[0-9]*$")).arg_true()  # numeric ids are as they should be
    return found.clone().scatter(odd, pl.Series([_plain(text) for text in found.gather(odd)], dtype=pl.String))


def _plain(text: str) -> str:
    digits = "".join(str(unicodedata.decimal(c)) if c.isdecimal() else c for c in text)
    seen = "".join(
        c for c in digits if unicodedata.category(c) != "Cf" and (c.isspace() or unicodedata.category(c) != "Cc")
    )
    return re.sub("[^0-9]+", "-", seen).strip("-")


def judge(texts: pl.Series, values: int | None = None) -> Found:
    """What the distinct ones of `texts` hold. values: how many distinct values there are, if `texts` are only those of the
    SHAPE."""
    shaped = texts.filter(texts.str.contains(SHAPE)).unique()
    alike = shaped.filter(looks_like_card(shaped))
    printed = int(alike.str.contains(_PRINTED).sum())
    return Found(len(shaped), len(alike), printed, texts.drop_nulls().n_unique() if values is None else values)
