"""Tries to break the program, and reports on one page what came of it.

    python benchmarks/robustness.py [PART ...]

Runs tests/robustness/ with its whole numbers (RAG_TUTOR_ROBUSTNESS=full, an hour), and the attacks
of injection.py with the default models. What is right is checked there alone: a row for each test
shows how often something was tried, how often which outcome came of it (whatever is wrong fails
the test), and the most seconds that one of them took; where a test doesn't tell, its cases and
their whole time. The memory is that of the largest process. Writes
benchmarks/results/robustness.md; with names of parts (crash, notes, requests, injection), only
their sections are written anew.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results" / "robustness.md"
PARTS = {
    "crash": ("Crashes and full disks", "test_crash.py"),
    "notes": ("Bad notes", "test_bad_notes.py"),
    "requests": ("Requests that no page makes", "test_requests.py"),
    "injection": ("Injection", "test_injection.py"),
}
LONGEST = "longest"  # the property of a test that isn't an outcome


@dataclass(slots=True)
class Row:
    """What became of a test, of all its cases together."""

    outcomes: Counter[str] = field(default_factory=Counter)
    longest: float = 0.0
    failures: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Run:
    """A command that has ended: what it printed, its seconds, and the memory, in bytes, of the
    largest of its processes.
    """

    printed: str
    seconds: float
    memory: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    chosen = parser.parse_args().parts or list(PARTS)
    if unknown := set(chosen) - PARTS.keys():
        parser.error(f"no such part: {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    for part in chosen:
        section = tested(PARTS[part][1])
        if part == "injection":
            section += f"\n\n{attacked()}"
        print(f"## {PARTS[part][0]}\n\n{section}\n", flush=True)
        write(part, section)


def tested(file: str) -> str:
    """Run a file of tests, and tell what came of it."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", "-q", f"tests/robustness/{file}"]
        # The older family is the one that holds what tests record.
        done = run([*command, "-o", "junit_family=xunit1", f"--junitxml={report}"])
        try:
            cases = list(ElementTree.parse(report).iter("testcase"))  # noqa: S314 - pytest's own
        except FileNotFoundError:
            sys.exit(f"The tests couldn't be run:\n{done.printed}")
    rows = rows_of(cases)
    failed = sum(len(row.failures) for row in rows.values())
    head = f"{len(cases)} cases, {failed} failed, {_ran(done)}"
    failures = [f"- Failed: {name}: {why}" for name, row in rows.items() for why in row.failures]
    return "\n".join([head, "", *table(rows), *(["", *failures] if failures else [])])


def rows_of(cases: Sequence[ElementTree.Element]) -> dict[str, Row]:
    """A row for each test, by its name in words."""
    rows: dict[str, Row] = {}
    for case in cases:
        name = case.attrib["name"].partition("[")[0].removeprefix("test_").replace("_", " ")
        row = rows.setdefault(name, Row())
        told = {each.attrib["name"]: each.attrib["value"] for each in case.iter("property")}
        row.longest = max(row.longest, float(told.pop(LONGEST, case.attrib["time"])))
        failures = [*case.iter("failure"), *case.iter("error")]
        row.failures += [each.attrib["message"].split("\n")[0][:200] for each in failures]
        ended = "failed" if failures else "passed"
        ended = "skipped" if case.find("skipped") is not None else ended
        row.outcomes.update({key: int(value) for key, value in told.items()} or {ended: 1})
    return rows


def table(rows: dict[str, Row]) -> Iterator[str]:
    """The rows as Markdown."""
    yield "| test | tried | outcomes | longest s |"
    yield "|---|---:|---|---:|"
    for name, row in rows.items():
        told = ", ".join(f"{count:,} {outcome}" for outcome, count in row.outcomes.most_common())
        yield f"| {name} | {row.outcomes.total():,} | {told} | {row.longest:.2f} |"


def attacked() -> str:
    """Ask the questions of injection.py, and tell what came of it."""
    done = run([sys.executable, "benchmarks/injection.py"])
    return f"The same attacks with the default models, {_ran(done)}\n\n{done.printed.strip()}"


def run(command: Sequence[str]) -> Run:
    """Run a command with the whole numbers; what it says of its progress is shown as it comes."""
    started = time.monotonic()
    environment = os.environ | {"RAG_TUTOR_ROBUSTNESS": "full"}
    with tempfile.TemporaryFile("w+", encoding="utf-8") as output:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=output)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        printed = output.read()
    kilobytes = 1 if sys.platform == "darwin" else 1024  # where ru_maxrss is in bytes already
    return Run(printed, time.monotonic() - started, used.ru_maxrss * kilobytes)


def _ran(done: Run) -> str:
    return f"in {done.seconds / 60:.0f} min; at most {done.memory / 1e6:,.0f} MB of memory."


def write(part: str, section: str) -> None:
    """Replace a part's section of the page."""
    before = RESULTS.read_text(encoding="utf-8") if RESULTS.exists() else ""
    sections = dict(each.split("\n\n", 1) for each in before.strip().split("\n\n## ")[1:])
    sections[PARTS[part][0]] = section
    ordered = (
        f"## {title}\n\n{sections[title].strip()}"
        for title, _ in PARTS.values()
        if title in sections
    )
    RESULTS.write_text("\n\n".join(["# Robustness", *ordered]) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
