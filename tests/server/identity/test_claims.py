"""What a token must claim, whoever signed it."""

import pytest
from amaters_server.identity.claims import ClaimRules, Claims, checked
from amaters_server.model.errors import AuthenticationError, CredentialExpiredError

NOW = 1_800_000_000.0
LEAST = {"sub": "a", "exp": NOW + 1}


def refusal(claims: dict[str, object], rules: ClaimRules | None = None) -> str:
    with pytest.raises(AuthenticationError) as raised:
        checked(claims, rules or ClaimRules(), NOW)
    return str(raised.value)


def test_subject_and_end_are_enough():
    assert checked(LEAST, ClaimRules(), NOW) == Claims("a", "a", (), NOW + 1)


def test_the_leeway_puts_the_end_off():
    rules = ClaimRules(leeway=60)

    assert checked({"sub": "a", "exp": NOW - 59}, rules, NOW).expires_at == NOW + 1
    with pytest.raises(CredentialExpiredError):
        checked({"sub": "a", "exp": NOW - 60}, rules, NOW)


@pytest.mark.parametrize("exp", [None, "soon", True, [], {}, float("nan"), float("inf"), 10**400])
def test_a_token_without_a_sound_end_is_refused(exp):
    assert "`exp` claim" in refusal({"sub": "a", "exp": exp})


@pytest.mark.parametrize("claim", ["nbf", "iat"])
def test_a_token_from_the_future_is_refused(claim):
    assert "only in 61 s" in refusal({**LEAST, claim: NOW + 61}, ClaimRules(leeway=60))
    assert checked({**LEAST, claim: NOW + 60}, ClaimRules(leeway=60), NOW)


@pytest.mark.parametrize("sub", [None, "", 7, "a\nb", "a" * 513, ["a"]])
def test_a_subject_has_to_be_a_name(sub):
    assert "no `sub` claim" in refusal({**LEAST, "sub": sub})


def test_a_name_that_is_not_printable_gives_way_to_the_subject():
    assert checked({**LEAST, "name": "a\x1b[2J"}, ClaimRules(), NOW).name == "a"


@pytest.mark.parametrize("iss", [None, "https://other", ["https://issuer"], 7])
def test_the_issuer_is_compared_as_a_whole(iss):
    assert "https://issuer" in refusal({**LEAST, "iss": iss}, ClaimRules(issuer="https://issuer"))


def test_a_token_for_an_audience_is_refused_where_none_is_configured():
    assert "none is configured here" in refusal({**LEAST, "aud": "amaters"})


def test_roles_may_be_one_text_or_a_list_and_lie_deep():
    rules = ClaimRules(roles_claim="realm_access.roles")
    claims = {**LEAST, "realm_access": {"roles": ["user", "reader", "user"]}}

    assert checked(claims, rules, NOW).roles == ("user", "reader")
    assert checked({**LEAST, "roles": "admin"}, ClaimRules(), NOW).roles == ("admin",)
    assert checked({**LEAST, "realm_access": 7}, rules, NOW).roles == ()


@pytest.mark.parametrize("roles", [7, {"admin": 1}, ["a", 7], ["a\n"], [""], ["a"] * 65])
def test_roles_that_are_no_list_of_names_are_refused(roles):
    assert "no list of at most 64 roles" in refusal({**LEAST, "roles": roles})
