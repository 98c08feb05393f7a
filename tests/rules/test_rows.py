"""Every row of every installed plugin survives the round trip that its op's declaration generates."""

import json

import pytest

from convcore.errors import ConvcoreError
from convcore.host import host
from convcore.rules import RuleSet
from convcore.testing.rules import check_row


def rulesets():
    h = host()
    for name, framework in h.frameworks.items():
        if framework.rules:
            try:
                yield name, h.rules(name)
            except (ConvcoreError, ImportError) as e:
                yield name, e


def rows():
    for name, rules in rulesets():
        if not isinstance(rules, RuleSet):
            yield pytest.param(rules, id=f"{name}-rules")
            continue
        for row in rules.rows():
            when = "".join(f",{k}" for k in row.when)
            yield pytest.param(row, id=f"{name}-{row.foreign}-{row.op_name}-{row.since or ''}..{row.until or ''}{when}")


@pytest.mark.parametrize("row", list(rows()))
def test_row_comes_back(row):
    if isinstance(row, BaseException):
        raise row
    report = check_row(row)
    assert report.exact > 0


@pytest.mark.parametrize(("name", "rules"), list(rulesets()), ids=lambda v: v if isinstance(v, str) else "")
def test_rules_are_plain_data(name, rules):
    if not isinstance(rules, RuleSet):
        pytest.skip("its rules do not load, which test_row_comes_back reports")
    table = json.loads(json.dumps(rules.to_json()))
    assert len(table) >= len(rules.rows()) > 0
    assert all(r.get("op") or (r.get("foreign") and r.get("function")) for r in table)
