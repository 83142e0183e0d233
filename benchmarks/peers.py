"""Measures RAG Tutor beside what a user would otherwise write, and beside what the machine allows.

    python benchmarks/peers.py [--repetitions N] [--results]

What is measured is in benchmarks/peers/, a program for each system, written as its own
documentation does. They take turns, each in a process of its own. The peers get environments of
their own in the cache folder (3 GB), made at the first run from the .txt files there, which pin
their versions; llama.cpp is compiled, for which it needs a C++ compiler and minutes. All read the
same notes and questions with the same published weights: the encoder's folder; the generator's
GGUF file or, for transformers, the same in bf16, as it is on the hub. Each uses all cores, and
else what it chooses by default. Prints tables; of the repetitions the median, the least and the
most:

- generation alone: the prompts of about 1,000 tokens that peers/rag_tutor_prompts.py chooses, and
  greedy answers. RAG Tutor's end where its model ends them, at MAX_TOKENS at the latest; the others
  write as many tokens to the same prompt, wherever their model would have ended, so that all do
  the same work. RAG Tutor's engine tries several tokens at once that follow in the prompt, and its
  adapter was trained to quote, so it needs fewer steps for them; it would need more where it
  doesn't quote.
- whole stacks: seconds to import and load the models; to index the notes after that; and to the
  first words and the end of an answer to the first ASKED of the same questions. The answers of
  LangChain and txtai have at most MAX_TOKENS; RAG Tutor's are what its page shows, so mostly
  quotations. hit@5 and recall@5 tell, by the rules of `rag-tutor eval`, how much of the evidence
  for benchmarks/questions/questions.jsonl is among the first five passages.
- limits: what peers/limits.py measures, and what follows from it for the published weights if each
  token is a step of its own.

Memory is the most that a process held, with all that it loaded. Needs Linux. --results also writes
the tables and a picture of the times to benchmarks/results/peers.md and peers.svg.
"""

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import venv
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from statistics import fmean, median
from typing import Any

from rag_tutor.config import cache_folder
from rag_tutor.domain import Answer, Chunk, Passage, Turn
from rag_tutor.evaluation import judge, read_items, summarise

HERE = Path(__file__).parent
NOTES = HERE.parent / "corpus"
PROGRAMS = HERE / "peers"
RESULTS = HERE / "results"
EVIDENCE = HERE / "questions" / "questions.jsonl"
ASKED = 3
MAX_TOKENS = 120
# Of each model: what a token is multiplied with in its layers, their number and their width. Rows
# of an embedding are only looked up, and of a prompt only the last token needs the head.
GENERATOR_LAYERS = (106_168_320, 30, 576)
ENCODER_LAYERS = (10_616_832, 6, 384)
BAR_WIDTH, BAR_COLOURS = 480, ("#a5b4fc", "#4338ca")

Run = dict[str, Any]


@dataclass(frozen=True, slots=True)
class System:
    """Something to measure: its program, and the environment that it needs, if not ours."""

    name: str
    program: str
    environment: str = ""


PROMPTS = System("RAG Tutor", "rag_tutor_prompts")
LIMITS = System("this machine", "limits")
START = System("RAG Tutor", "rag_tutor_start")
OUR_STACK = System("RAG Tutor", "rag_tutor_stack")
LANGCHAIN = System("LangChain", "langchain_stack", "stacks")
STACKS = (OUR_STACK, LANGCHAIN, System("txtai", "txtai_stack", "stacks"))
OUR_GENERATOR = System("RAG Tutor", "rag_tutor_generation")
LLAMA_CPP = System("llama.cpp", "llama_cpp_generation", "llama_cpp")
OPENVINO = System("OpenVINO GenAI", "openvino_generation", "openvino")
TRANSFORMERS = System("transformers", "transformers_generation", "stacks")
GENERATORS = (OUR_GENERATOR, LLAMA_CPP, OPENVINO, TRANSFORMERS)

Runs = dict[System, list[Run]]


class FailedError(Exception):
    """A system can't be measured; says why."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--repetitions", type=int, default=3, metavar="N")
    parser.add_argument("--results", action="store_true")
    options = parser.parse_args()
    missing: dict[System, str] = {}
    with tempfile.TemporaryDirectory() as name:
        runs = measure(Path(name), options.repetitions, missing)
    head = f"{platform.platform()}, {os.cpu_count()} cores, {options.repetitions} repetitions."
    told = [f"{system.name} was not measured: {why}" for system, why in missing.items()]
    report = "\n\n".join([head, *told, *(make(runs) for make in TABLES)])
    print(report)
    if options.results:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / "peers.svg").write_text(picture(runs), encoding="utf-8")
        report = f"{report}\n\n![The times as bars](peers.svg)\n"
        (RESULTS / "peers.md").write_text(report, encoding="utf-8")


def measure(folder: Path, repetitions: int, missing: dict[System, str]) -> Runs:
    """What each program printed, a turn after the other; those that fail are `missing`."""
    questions = [item["question"] for item in read_items(EVIDENCE)]
    job: Run = {"corpus": str(NOTES), "index": str(folder / "index"), "max_tokens": MAX_TOKENS}
    job |= run(PROMPTS, job | {"questions": questions})
    runs: Runs = {PROMPTS: [job], LIMITS: [run(LIMITS, {})]}
    job["asked"] = [prompt["question"] for prompt in job["prompts"]][:ASKED]
    job["searched"] = questions
    for repetition in range(repetitions):
        for system in (*STACKS, START, *GENERATORS):
            if system in missing:
                continue
            print(f"{repetition + 1}: {system.program}", file=sys.stderr)
            # The pages show the index that our stack has built.
            place = folder / f"{repetition}-{(OUR_STACK if system == START else system).program}"
            if not place.exists():
                shutil.copytree(NOTES, place / "corpus")
            own = {name: str(place / name) for name in ("corpus", "index", "data")}
            try:
                done = run(system, job | own)
            except FailedError as error:
                if not system.environment:
                    raise
                missing[system] = str(error)
                continue
            runs.setdefault(system, []).append(done)
            if system == OUR_GENERATOR:
                for prompt, answer in zip(job["prompts"], done["answers"], strict=True):
                    prompt["tokens"] = answer["written"]
        job["searched"] = []  # the same would be found again
    return runs


def run(system: System, job: Run) -> Run:
    """What a program prints, the means of its answers' times, and the `peak` of its memory in
    bytes. Raises FailedError.
    """
    environment = {k: v for k, v in os.environ.items() if not k.startswith("RAG_TUTOR_")}
    environment |= {"RAG_TUTOR_CACHE": str(cache_folder()), "HF_HUB_OFFLINE": "1"}
    command = [python_of(system.environment), str(PROGRAMS / f"{system.program}.py")]
    with tempfile.TemporaryFile("w+") as told, tempfile.TemporaryFile("w+") as said:
        json.dump(job, told)
        told.seek(0)
        process = subprocess.Popen(
            command, env=environment, stdin=told, stdout=subprocess.PIPE, stderr=said, text=True
        )
        printed = process.stdout.read() if process.stdout else ""
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            said.seek(0)
            last = said.read().strip().split("\n")[-1]
            raise FailedError(f"{system.program}.py ended with {process.returncode}: {last}")
    done: Run = json.loads(printed.strip().split("\n")[-1]) | {"peak": used.ru_maxrss * 1024}
    for name in done["answers"][0] if "answers" in done else ():
        done[name] = fmean(answer[name] for answer in done["answers"])
    return done


def python_of(environment: str) -> str:
    """The Python of an environment, which is made if it isn't there. Raises FailedError."""
    if not environment:
        return sys.executable
    folder = cache_folder() / "benchmarks" / "peers" / environment
    wanted, installed = PROGRAMS / f"{environment}.txt", folder / "installed.txt"
    python = folder / "bin" / "python"
    if not installed.is_file() or installed.read_bytes() != wanted.read_bytes():
        print(f"Installing {wanted.name} into {folder}", file=sys.stderr)
        venv.create(folder, clear=True, with_pip=True)
        install = ("-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r")
        if subprocess.run([python, *install, wanted]).returncode:
            raise FailedError(f"pip couldn't install {wanted.name}.")
        shutil.copy(wanted, installed)
    return str(python)


def column(runs: Runs, system: System, name: str) -> list[float]:
    """A figure of each repetition."""
    return [done[name] for done in runs.get(system, ())]


def shares(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    """What of their time ours is, in each repetition that has both."""
    return [a / b for a, b in zip(ours, theirs, strict=False)]


def cell(values: Sequence[float], digits: int = 2) -> str:
    """The median, the least and the most."""
    if not values:
        return ""
    middle, *ends = (f"{each:,.{digits}f}" for each in (median(values), min(values), max(values)))
    return f"{middle} ({'–'.join(ends)})" if len(values) > 1 else middle


def megabytes(values: Iterable[float]) -> str:
    return cell([each / 1e6 for each in values], 0)


def targets(runs: Runs) -> str:
    answer, index = column(runs, OUR_GENERATOR, "whole"), column(runs, OUR_STACK, "index")
    start = {name: column(runs, START, name) for name in runs[START][0]}
    rows = [
        (
            "answer: share of llama.cpp's time",
            shares(answer, column(runs, LLAMA_CPP, "whole")),
            0.5,
        ),
        ("of transformers' time", shares(answer, column(runs, TRANSFORMERS, "whole")), 0.25),
        ("index: share of LangChain's time", shares(index, column(runs, LANGCHAIN, "index")), 0.4),
        ("edited note: share of the index's", shares(column(runs, OUR_STACK, "edit"), index), 0.03),
        ("start to the page, s", start["page"], 3),
        ("start to the first words of an answer, s", start["first"], 6),
        ("import rag_tutor, s", start["import"], 0.1),
        ("rag-tutor --help, s", start["help"], 0.3),
        ("server's memory after some answers, MB", [n / 1e6 for n in start["resident"]], 900),
    ]
    cells = [[name, cell(values, 0 if aim > 100 else 3), f"{aim:g}"] for name, values, aim in rows]
    return table("Aims", ["", "measured", "at most"], cells)


def generation(runs: Runs) -> str:
    rows = []
    for system in filter(runs.get, GENERATORS):
        first = runs[system][0]
        rows.append(
            [
                f"{system.name} {first.get('engine', '')}".strip(),
                *(f"{first[name]:.0f}" for name in ("read", "written")),
                *(cell(column(runs, system, name)) for name in ("load", "first", "whole")),
                cell([tokens_per_second(done) for done in runs[system]], 0),
                megabytes(column(runs, system, "peak")),
            ]
        )
    head = ["", "prompt tokens", "written", "load s", "first s", "whole s", "then tokens/s"]
    return table("Generation alone", [*head, "memory MB"], rows)


def tokens_per_second(done: Run) -> float:
    return float((done["written"] - 1) / (done["whole"] - done["first"]))


def stacks(runs: Runs) -> str:
    rows = []
    for system in filter(runs.get, STACKS):
        first = runs[system][0]
        found = retrieval(first["found"])
        rows.append(
            [
                *(system.name, f"{first['chunks']}"),
                *(cell(column(runs, system, name)) for name in ("load", "index")),
                *(f"{found[name]:.3f}" for name in ("hit@5", "recall@5")),
                *(cell(column(runs, system, name)) for name in ("first", "whole")),
                megabytes(column(runs, system, "peak")),
            ]
        )
    head = ["", "chunks", "load s", "index s", "hit@5", "recall@5", "first s", "whole s"]
    return table("Whole stacks", [*head, "memory MB"], rows)


def retrieval(found: dict[str, list[dict[str, str]]]) -> dict[str, float]:
    """How well a system found the evidence, judged as our own."""

    def search(question: str, history: Sequence[Turn]) -> Turn:
        chunks = [
            Chunk(each["document"], (), 0, len(each["text"]), each["text"])
            for each in found[question]
        ]
        passages = tuple(Passage(chunk, 0.0, ()) for chunk in chunks)
        return Turn(question, question, Answer("", (), passages, refused=False))

    return summarise(judge([EVIDENCE], search, compare=False))["questions"]


def limits(runs: Runs) -> str:
    """What the machine allows for our prompts and our chunks."""
    machine, job, stack = runs[LIMITS][0], runs[PROMPTS][0], runs[OUR_STACK][0]
    read = runs[OUR_GENERATOR][0]["read"]
    prompt = operations(GENERATOR_LAYERS, read, attended=read / 2)
    notes = operations(ENCODER_LAYERS, stack["tokens"], attended=stack["tokens"] / stack["chunks"])
    sizes = {
        "the GGUF file": Path(job["gguf"]).stat().st_size,
        "bf16": sum(path.stat().st_size for path in Path(job["generator"]).glob("*.safetensors")),
    }
    rows = [
        [
            f"triad, weights of {name}: {size / 1e6:.0f} MB",
            f"{machine['bandwidth'] / 1e9:.1f} GB/s",
            f"{machine['bandwidth'] / size:.0f} tokens/s",
        ]
        for name, size in sizes.items()
    ]
    for name in ("fp32", "bf16", "int8"):
        rate = machine[name]
        allowed = f"a prompt in {prompt / rate:.2f} s, the notes in {notes / rate:.1f} s"
        rows.append([f"products in {name}", f"{rate / 1e9:,.0f} GFLOP/s", allowed])
    return table("Limits", ["", "measured", "allows for"], rows)


def operations(layers: tuple[int, int, int], tokens: float, attended: float) -> float:
    """Additions and multiplications of reading so many tokens, each of which attends to others."""
    weights, number, width = layers
    return 2 * tokens * (weights + 2 * attended * number * width)


def table(title: str, head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table below its title."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join([f"## {title}", "", *(f"| {' | '.join(line)} |" for line in lines)])


TABLES: tuple[Callable[[Runs], str], ...] = (targets, generation, stacks, limits)


def picture(runs: Runs) -> str:
    """The medians as bars, in SVG: whole answers, with what comes before their first token darker,
    and indexing.
    """
    parts, top = [], 0
    charts = [
        ("Seconds to the first token and to the end of an answer", GENERATORS, ("first", "whole")),
        ("Seconds to index the notes", STACKS, ("index",)),
    ]
    for title, systems, names in charts:
        parts.append(f'<text x="0" y="{top + 18}" font-weight="bold">{escape(title)}</text>')
        measured = [system for system in systems if system in runs]
        bars = [[median(column(runs, each, name)) for name in names] for each in measured]
        scale = BAR_WIDTH / max(map(max, bars))
        for row, (system, bar) in enumerate(zip(measured, bars, strict=True)):
            y = top + 30 + 26 * row
            parts.append(f'<text x="0" y="{y + 15}">{escape(system.name)}</text>')
            for value, colour in zip(reversed(bar), BAR_COLOURS, strict=False):
                parts.append(
                    f'<rect x="150" y="{y}" width="{value * scale:.1f}" height="20" '
                    f'fill="{colour}"/>'
                )
            at = 156 + bar[-1] * scale
            parts.append(f'<text x="{at:.1f}" y="{y + 15}">{bar[-1]:.2f}</text>')
        top += 30 + 26 * len(bars) + 24
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="-16 -8 {BAR_WIDTH + 240} {top}" '
        'font-family="sans-serif" font-size="14">\n<rect x="-16" y="-8" width="100%" '
        'height="100%" fill="white"/>'
    )
    return "\n".join([head, *parts, "</svg>\n"])


if __name__ == "__main__":
    main()
