"""Compares an answer with what is expected of it."""

from answer import Answer, Expected
from query import absolute


class Wrong(Exception):
    """The answer breaks the rule; the text says how."""


def demand(holds: bool, text: str) -> None:
    if not holds:
        raise Wrong(text)


def judge(answer: Answer, expected: Expected) -> None:
    """Raises Wrong at the first difference."""
    if expected.rcode is not None:
        allowed = (expected.rcode,) if isinstance(expected.rcode, str) else expected.rcode
        demand(answer.rcode in allowed, f"{answer.rcode}, not {' or '.join(allowed)}")
    missing = expected.set_flags & ~answer.flags
    demand(not missing, f"flags {answer.flags:#06x} lack {missing:#06x}")
    surplus = expected.clear_flags & answer.flags
    demand(not surplus, f"flags {answer.flags:#06x} have {surplus:#06x}")
    if expected.answers is not None:
        compare_records(answer, expected)
    if expected.authority is not None:
        found = list(dict.fromkeys(rtype for _, rtype, _ in answer.authority))
        demand(found == expected.authority, f"authority section {found}, not {expected.authority}")
    if expected.negative_ttl is not None:
        found = answer.ttls(2)
        demand(found == [expected.negative_ttl], f"TTL of the SOA {found}, not {expected.negative_ttl}")
    if expected.glue is not None:
        found = sorted(data for _, _, data in answer.glue)
        demand(found == expected.glue, f"glue {found}, not {expected.glue}")
    if expected.largest is not None:
        demand(len(answer.wire) <= expected.largest, f"{len(answer.wire)} bytes, not at most {expected.largest}")
    compare_edns(answer, expected)


def compare_records(answer: Answer, expected: Expected) -> None:
    wanted = [(absolute(name), rtype, data) for name, rtype, data in expected.answers]
    # Owner names compare without regard to case: that the question's case is kept has a case of its own.
    found = [(name.lower(), rtype, data) for name, rtype, data in answer.answers]
    if not expected.in_order:
        wanted, found = sorted(wanted, key=str), sorted(found, key=str)
    agree = len(wanted) == len(found) and all(
        want[:2] == have[:2] and want[2] in (None, have[2]) for want, have in zip(wanted, found)
    )
    demand(agree, f"answers {found}, not {wanted}")


def compare_edns(answer: Answer, expected: Expected) -> None:
    if expected.edns is not None:
        demand((answer.edns >= 0) == expected.edns, "an OPT record" if answer.edns >= 0 else "no OPT record")
    if answer.edns >= 0:
        demand(answer.edns == 0, f"EDNS version {answer.edns}")
        # RFC 6891 section 6.1.4: every flag but DO is zero.
        demand(not answer.message.ednsflags & 0x7FFF, f"EDNS flags {answer.message.ednsflags & 0xFFFF:#06x}")
    if expected.scope is not None:
        found = answer.scope()
        demand(found == expected.scope, f"scope {found}, not {expected.scope}")
    for code in expected.present:
        demand(code in answer.options, f"no option {code}")
    for code in expected.absent:
        demand(code not in answer.options, f"option {code}")
