"""Names of columns and kinds: the words in them, and which of them say who people are."""

from __future__ import annotations

import re
import unicodedata

from hydragraph.schema import NOT_PEOPLE, REFUSED_WORDS, WHOLE_WORDS


def words_of(name: str) -> list[str]:
    """The words of a name, lower-cased; they part at anything but letters, at digits and inside camelCase."""
    parted = re.sub(r"([a-z0-9])([A-Z])|([A-Z])([A-Z][a-z])", r"\1\3 \2\4", unicodedata.normalize("NFKC", name))
    return re.findall(r"[^\W\d_]+|\d+", folded(parted))


def folded(name: str) -> str:
    """A name without upper case and full-width letters."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).lower())


def refused_word(name: str) -> str | None:
    """The word of schema.REFUSED_WORDS by which a name says who people are, None if it does not.

    The word stands there by itself ('user_country', 'Country-Code', 'billingCountry', 'firstname', 'Time Zone'), singular or
    plural, or, if it has six letters or more, inside another ('countrycode', 'usertimezone'; not 'hostname', 'usage').
    What schema.NOT_PEOPLE lists is no such word ('device_name'). Upper case and full-width letters make no difference.
    Not checked: words of other languages than English.
    """
    for words in (words_of(name), re.findall(r"[^\W_]+", folded(name))):
        people = _without(words, _NOT_PEOPLE)
        for start in range(len(people)):
            for end in range(start + 1, min(start + 4, len(people) + 1)):
                for word in sorted(_singulars("".join(people[start:end]))):
                    if word in _REFUSED:
                        return _REFUSED[word]
        for held, found in _REFUSED_INSIDE.items():
            if any(held in word for plural in people for word in _singulars(plural)):
                return found
    return None


_REFUSED = {word.replace("_", ""): word for word in sorted(REFUSED_WORDS)}
_REFUSED_INSIDE = {joined: word for joined, word in _REFUSED.items() if len(joined) >= 6 and word not in WHOLE_WORDS}
_NOT_PEOPLE = {words.replace("_", "") for words in NOT_PEOPLE}


def _without(words: list[str], phrases: set[str]) -> list[str]:
    """The words but for those that make one of the phrases, one or two in a row; a blank in their place joins nothing."""
    left, i = [], 0
    while i < len(words):
        found = [n for n in (2, 1) if not phrases.isdisjoint(_singulars("".join(words[i : i + n])))]
        left.append(" " if found else words[i])
        i += found[0] if found else 1
    return left


def _singulars(word: str) -> set[str]:
    ends = (("s", ""), ("es", ""), ("ies", "y"))
    return {word} | {word.removesuffix(end) + instead for end, instead in ends if word.endswith(end)}
