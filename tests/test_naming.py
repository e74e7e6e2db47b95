"""Which names of columns and kinds say who people are, and which do not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hydragraph.naming import refused_word
from hydragraph.schema import NAMED_THINGS, NOT_PEOPLE, REFUSED_WORDS

REFUSED = {
    "country": "country Country-Code countries geo_country geo.country geoCountry GEOCOUNTRY countrycode country2"
    " user_country ip_country_iso ｃountry COUNTRY_ID billing-country passport_country file_name_country",
    "nationality": "nationality Nationalities userNationality",
    "nation": "nation home_nation",
    "citizenship": "citizenship",
    "citizen": "citizen_of",
    "language": "language languages accept_language Accept-Language browserLanguage userlanguage device_language",
    "lang": "lang ui-lang langCode Langs",
    "locale": "locale user.locale localeId Locales",
    "timezone": "timezone timezones userTimezone usertimezone timezone_offset Time-Zone userTimeZone",
    "tz": "tz TZ userTZ tz_name client-tz",
    "utc_offset": "utc_offset utcOffset UTCOffsetMinutes",
    "name": "name names NAMEs user_name userName account_name customer-name name_hash device_owner_name contactName",
    "full_name": "full_name fullname FullName user_full_name userfullname",
    "first_name": "first_name firstname First-Names device_first_name",
    "surname": "surname SurName customerSurname",
    "display_name": "display_name displayName",
    "gender": "gender userGender genderCode usergender",
    "sex": "sex sexes",
    "religion": "religion religions userReligion",
    "ethnicity": "ethnicity ethnicities",
    "race": "race user_race",
    "date_of_birth": "date_of_birth dateOfBirth dateofbirth",
    "birth": "birth birthDate",
    "birth_date": "birthdate",
    "birthday": "birthday",
    "dob": "dob userDob",
    "age": "age age_group user_age ages",
    "iso_3166": "iso3166 ISO-3166-1",
}
PASSED = [
    # a word inside another word
    *(
        "hostname",
        "username",
        "username_hash",
        "filename",
        "namespace",
        "usage",
        "page",
        "storage",
        "traces",
        "embrace",
    ),
    *("destination_id", "combination", "localemail", "sextant", "sussex", "package", "message_id", "tzar", "golang"),
    *("status", "address", "tls", "tweet", ""),
    # names and ages of things
    *("device_name", "deviceName", "Device Names", "host-name", "model_name", "file_name", "api_key_name", "org_name"),
    *("companyName", "name_server", "account_age", "cache-age", "programming_language", "programmingLanguage"),
    *("language_model", "languageModels", "race_condition"),
    # who is proven, and not who somebody is: an identifier of one person or thing each
    *("national_id", "passport", "device", "user_agent", "ssn", "phone", "email", "postal_address", "login", "handle"),
]


@pytest.mark.parametrize(("word", "name"), [(word, name) for word, names in REFUSED.items() for name in names.split()])
def test_who_people_are_is_refused(word: str, name: str) -> None:
    assert refused_word(name) == word


@pytest.mark.parametrize("word", sorted(REFUSED_WORDS))
def test_every_word_is_refused_in_any_spelling(word: str) -> None:
    parts = word.split("_")
    spellings = [word, word.upper(), word.replace("_", "-"), word.replace("_", " "), word.replace("_", "")]
    spellings += [f"user_{word}", f"{word}_code", "user" + "".join(p.capitalize() for p in parts), f"{word}s"]
    assert [s for s in spellings if not refused_word(s)] == []


@pytest.mark.parametrize("name", PASSED)
def test_what_says_nothing_about_people_passes(name: str) -> None:
    assert refused_word(name) is None


@pytest.mark.parametrize("words", sorted(NOT_PEOPLE))
def test_things_pass_in_any_spelling_and_people_behind_them_do_not(words: str) -> None:
    camel = "".join(part.capitalize() for part in words.split("_"))
    spellings = [words, words.upper(), words.replace("_", "-"), words.replace("_", " "), words.replace("_", ""), camel]
    assert [s for s in [*spellings, f"the_{words}_id", f"{words}s"] if refused_word(s)] == []
    assert refused_word(f"{words}_country") == "country"
    assert refused_word(f"{words}_owner_name") == "name"


def test_no_word_is_a_thing_and_a_person_at_once() -> None:
    assert NAMED_THINGS.isdisjoint(REFUSED_WORDS)
    assert NOT_PEOPLE.isdisjoint(REFUSED_WORDS)


@given(st.text(max_size=20))
def test_any_name_passes_or_is_refused_by_a_word_of_the_schema(name: str) -> None:
    assert refused_word(name) in {None, *REFUSED_WORDS}
