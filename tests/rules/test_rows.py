"""Every row of every installed plugin survives the round trip that its op's declaration generates."""

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
