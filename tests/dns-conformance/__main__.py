"""Asks every server every case and prints the table. Fails if ours breaks a rule, or if a server cannot be asked."""

import argparse
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from case import Case
from cases import ALL
from servers import CONTROLS, OURS
from servers.server import Program, Running

PASS, FAIL, SKIP = "pass", "FAIL", "-"

# Outcome and, if it is a failure, why; in the order of the cases.
Column = list[tuple[str, str]]


def judge(program: Program, running: Running, case: Case) -> tuple[str, str]:
    if case.needs is not None and case.needs not in program.offers:
        return SKIP, ""
    try:
        case.run(running.at)
    except Exception as error:  # Whatever goes wrong while asking is the server's failure.
        return FAIL, f"{type(error).__name__}: {error}"
    return PASS, ""


def column(program: Program, directory: Path) -> Column:
    running = Running(program, directory / program.name)
    try:
        return [judge(program, running, case) for case in ALL]
    finally:
        running.stop()


def table(columns: dict[str, Column]) -> str:
    width = max(len(case.name) for case in ALL)
    rule_width = max(len(case.rule) for case in ALL)
    lines = [" ".join([" " * width, "rule".ljust(rule_width), *(f"{name:>8}" for name in columns)])]
    for i, case in enumerate(ALL):
        cells = (f"{found[i][0]:>8}" for found in columns.values())
        lines.append(" ".join([case.name.ljust(width), case.rule.ljust(rule_width), *cells]))
    for what in (PASS, FAIL, SKIP):
        cells = (f"{sum(cell[0] == what for cell in found):>8}" for found in columns.values())
        lines.append(" ".join([f"sum of {what}".ljust(width), " " * rule_width, *cells]))
    return "\n".join(lines)


def suspects(columns: dict[str, Column]) -> list[str]:
    """Cases that no control passes although some offer what they are about: more likely the case is wrong."""
    controls = [found for name, found in columns.items() if name != OURS.name]
    names = []
    for i, case in enumerate(ALL):
        outcomes = {found[i][0] for found in controls}
        if FAIL in outcomes and PASS not in outcomes:
            names.append(case.name)
    return names


def main() -> int:
    parser = argparse.ArgumentParser(prog="dns-conformance", description=__doc__)
    parser.add_argument("--only-ours", action="store_true", help="do not start the other servers")
    parser.add_argument("--why", action="store_true", help="say why other servers failed, too")
    args = parser.parse_args()
    programs = [OURS] if args.only_ours else [OURS, *CONTROLS]
    with tempfile.TemporaryDirectory(prefix="dns-conformance-") as directory, ThreadPoolExecutor(len(programs)) as pool:
        found = list(pool.map(lambda program: column(program, Path(directory)), programs))
    columns = dict(zip((program.name for program in programs), found))
    print(table(columns))
    if not args.only_ours:
        print("\nfailed by every control that offers it:", ", ".join(suspects(columns)) or "none")
    for name, outcomes in columns.items():
        for case, (outcome, why) in zip(ALL, outcomes):
            if outcome == FAIL and (args.why or name == OURS.name):
                print(f"{name}: {case.name} (RFC {case.rule}): {why}")
    return int(any(outcome == FAIL for outcome, _ in columns[OURS.name]))


if __name__ == "__main__":
    sys.exit(main())
