"""Measures retrieval with each component switched off in turn, and prints tables.

    python benchmarks/retrieval.py [--questions FILE …] [--data FOLDER] [--without PART …]

The questions and conversations over the notes in corpus/ are by default those in
benchmarks/questions/. FOLDER holds public sets: `NAME/` with corpus.jsonl, queries.jsonl and
qrels/test.tsv (BEIR's layout), and perhaps `chunking_eval/`; their indexes are kept in the cache
folder.
With `--without`, one row is measured and printed; else the whole ablation, which is written to
benchmarks/results/ too: retrieval-notes.md, together with each question that wasn't found, and
with `--data` retrieval-public.md. The metrics of the public sets are those of ir-measures.
"""

import argparse
import csv
import json
import random
import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean, median

import ir_measures
import numpy as np
from ir_measures import R, nDCG

from rag_tutor.chunking import searchable_text
from rag_tutor.config import Settings, cache_folder
from rag_tutor.corpus import read_document
from rag_tutor.domain import Answer, Chunk, Passage, Turn
from rag_tutor.evaluation import DEPTH, Judgement, judge, read_items, summarise
from rag_tutor.indexing import update_index
from rag_tutor.retrieval import DEFAULT_WEIGHTS, Weights
from rag_tutor.segment import Rows
from rag_tutor.store import open_store, write_store
from rag_tutor.tutor import open_tutor
from rag_tutor.words import content_words

HERE = Path(__file__).parent
NOTES = HERE.parent / "corpus"
RESULTS = HERE / "results"
# Recall is measured at 100 documents, and a document may have several chunks.
PUBLIC_DEPTH = 300
RANK_CONSTANT = 60
SEED = 7
NOTHING = Answer("", (), (), refused=False)

Search = Callable[[str, Sequence[Turn]], Turn]


@dataclass(frozen=True, slots=True)
class Variant:
    """What of the retrieval is switched on."""

    name: str
    weights: Weights = DEFAULT_WEIGHTS
    headings: bool = True
    rewriting: bool = True
    spelling: bool = True
    ranks: bool = False


NO_READER = replace(DEFAULT_WEIGHTS, reader=0)
NO_SENTENCES = replace(NO_READER, dense=NO_READER.dense + NO_READER.sentences, sentences=0)
DENSE = replace(NO_SENTENCES, bm25=0)
BM25 = replace(NO_SENTENCES, dense=0)
EVERYTHING = Variant("+ reader (everything)")
ABLATION = [
    Variant("dense only", DENSE),
    Variant("BM25 only", BM25),
    Variant("dense + BM25, ranks fused", NO_SENTENCES, ranks=True),
    Variant("dense + BM25, scores added", NO_SENTENCES),
    Variant("+ sentences", NO_READER),
    EVERYTHING,
    Variant("everything, without headings", headings=False),
    Variant("everything, without rewriting", rewriting=False),
    Variant("everything, without spelling", spelling=False),
]
NOTE_METRICS = ("hit@1", "hit@5", "recall@5", "recall@10", "mrr", "answered", "refused")
PUBLIC_METRICS = (nDCG @ 10, R @ 100)
PARTS = ("dense", "bm25", "sentences", "reader", "headings", "rewriting", "spelling")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    own = sorted((HERE / "questions").glob("*.jsonl"))
    parser.add_argument("--questions", nargs="+", type=Path, default=own, metavar="FILE")
    parser.add_argument("--data", type=Path, metavar="FOLDER")
    parser.add_argument("--without", nargs="+", choices=PARTS, metavar="PART")
    options = parser.parse_args()
    variants = [without(options.without)] if options.without else ABLATION
    scored = variants[0] if options.without else EVERYTHING
    report = {"retrieval-notes.md": [notes_tables(options.questions, variants)]}
    if options.data:
        names = sorted(path.parent.name for path in options.data.glob("*/queries.jsonl"))
        public = report["retrieval-public.md"] = [public_table(options.data, names, variants)]
        if scored.headings and (options.data / "chunking_eval").is_dir():
            public.append(chunking_table(options.data / "chunking_eval", scored))
    for name, tables in report.items():
        text = "\n\n".join(tables)
        print(text, end="\n\n")
        if not options.without:
            RESULTS.mkdir(exist_ok=True)
            (RESULTS / name).write_text(text + "\n", encoding="utf-8")


def without(parts: Sequence[str]) -> Variant:
    """The variant that lacks some parts."""
    weights = {part: 0 for part in parts if hasattr(DEFAULT_WEIGHTS, part)}
    return Variant(
        "without " + ", ".join(parts),
        replace(DEFAULT_WEIGHTS, **weights),
        headings="headings" not in parts,
        rewriting="rewriting" not in parts,
        spelling="spelling" not in parts,
    )


def notes_tables(files: Sequence[Path], variants: Sequence[Variant]) -> str:
    """The measures over the notes, a row for each variant, and what the last one missed."""
    index = cache_folder() / "benchmarks" / "notes" / "index"
    settings = Settings(corpus=NOTES, index=index)
    plain = replace(settings, index=index.with_name("index-without-headings"))
    update_index(NOTES, index, open_tutor(settings).encoder)
    misspelt = index.parent / "misspelt.jsonl"
    misspelt.write_text("\n".join(misspell(files)), encoding="utf-8")
    rows, missed = [], ""
    for variant in variants:
        if not variant.headings:
            drop_headings(index, plain.index)
        search = searching(settings if variant.headings else plain, variant)
        clock = Clock(search)
        # A person's wording is the same in all, and as typed is a variant of its own here.
        judgements = list(judge(files, clock.search, compare=variant == EVERYTHING))
        groups = summarise(judgements)
        if variant == EVERYTHING or not variant.spelling:
            groups["questions, misspelt"] = summarise(judge([misspelt], search))["questions"]
        if variant == EVERYTHING or not variant.rewriting:
            changed = summarise(judge(files, after_others(files, search), compare=False))
            groups["questions, after another topic"] = changed["questions"]
        for group, found in groups.items():
            if group == "follow-ups, as typed":
                continue
            metrics = [f"{found[name]:.3f}" if name in found else "" for name in NOTE_METRICS]
            rows.append([variant.name, f"{found['n']} {group}", *metrics, clock.ms(group)])
        if variant == EVERYTHING:
            missed = misses(judgements)
    rows.sort(key=lambda row: row[1].split(" ", 1)[1])
    notes = table("The notes", ["", "", *NOTE_METRICS, "ms"], rows)
    return "\n\n".join(filter(None, [notes, missed]))


def misspell(files: Iterable[Path]) -> Iterator[str]:
    """The questions of some files, each with two letters of its longest word exchanged."""
    chance = random.Random(SEED)
    for item in (item for path in files for item in read_items(path) if "turns" not in item):
        word = max(re.findall(r"[a-zA-Z]+", item["question"]), key=len)
        at = chance.randrange(1, len(word) - 1)
        slip = word[:at] + word[at + 1] + word[at] + word[at + 2 :]
        yield json.dumps(item | {"question": item["question"].replace(word, slip)})


def after_others(files: Iterable[Path], search: Search) -> Search:
    """The search for a question that is asked somewhere in a conversation about other things."""
    items = [item for path in files for item in read_items(path)]
    said = [
        [Turn(turn["question"], turn.get("standalone", turn["question"]), NOTHING) for turn in each]
        for each in (item["turns"] for item in items if "turns" in item)
    ]
    chance = random.Random(SEED)

    def asked(question: str, history: Sequence[Turn]) -> Turn:
        before = chance.choice(said)
        return search(question, before[: chance.randint(1, len(before))])

    return asked


def drop_headings(index: Path, plain: Path) -> None:
    """Build the same index again, without the headings above each chunk."""
    store = open_store(index)
    encoder = open_tutor(Settings(index=index)).encoder
    chunks = [replace(chunk, heading=()) for chunk in store.chunks]
    texts = [searchable_text(chunk) for chunk in chunks]
    vectors, sentences = encoder.encode_passages(
        [each.text for each in texts], [each.sentences for each in texts]
    )
    ends = np.cumsum([len(each.sentences) for each in texts])
    parts = np.split(sentences.astype(np.float16), ends[:-1])
    words = [content_words(each.text) for each in texts]
    write_store(plain, store.kind, [Rows(store.versions, chunks, vectors, parts, words)])


def public_table(data: Path, names: Sequence[str], variants: Sequence[Variant]) -> str:
    """nDCG@10, recall@100 and the time of each public set, a row for each variant.

    They are indexed with headings, and hold no follow-ups and hardly a slip: only what the
    weights switch off is measured there.
    """
    measured = [
        variant
        for variant in variants
        if variant == EVERYTHING or (variant.headings and variant.weights != DEFAULT_WEIGHTS)
    ]
    if not measured:
        return f"Public sets: not measured {', '.join(each.name for each in variants)}."
    rows = []
    for name in names:
        settings = public_index(name, corpus_files(data / name / "corpus.jsonl"))
        queries, qrels = read_queries(data / name)
        for variant in measured:
            clock = Clock(searching(settings, variant, PUBLIC_DEPTH))
            run = [
                ir_measures.ScoredDoc(query, document, score)
                for query, text in queries.items()
                for document, score in documents(clock.search(text, ()))
            ]
            found = ir_measures.calc_aggregate(PUBLIC_METRICS, qrels, run)
            metrics = [f"{found[metric]:.3f}" for metric in PUBLIC_METRICS]
            rows.append([name, variant.name, *metrics, clock.ms(name)])
    return table("Public sets", ["", "", *map(str, PUBLIC_METRICS), "ms"], rows)


def corpus_files(path: Path) -> dict[str, str]:
    """A note for each document of a BEIR corpus: its title as a heading, and its text."""
    with path.open(encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    return {
        f"{row['_id']}.md": f"# {' '.join(row['title'].split())}\n\n{row['text']}" for row in rows
    }


def public_index(name: str, notes: dict[str, str]) -> Settings:
    """Settings of an index over some notes, which are kept in the cache folder."""
    folder = cache_folder() / "benchmarks" / name
    (folder / "corpus").mkdir(parents=True, exist_ok=True)
    for note, text in notes.items():
        path = folder / "corpus" / note
        if not path.exists():
            path.write_text(text, encoding="utf-8")
    settings = Settings(corpus=folder / "corpus", index=folder / "index")
    update_index(settings.corpus, settings.index, open_tutor(settings).encoder)
    return settings


def read_queries(folder: Path) -> tuple[dict[str, str], list[ir_measures.Qrel]]:
    """The queries that are judged, and the judgements."""
    with (folder / "qrels" / "test.tsv").open(encoding="utf-8") as file:
        judged = list(csv.reader(file, delimiter="\t"))[1:]
    qrels = [ir_measures.Qrel(query, document, int(grade)) for query, document, grade in judged]
    wanted = {qrel.query_id for qrel in qrels}
    with (folder / "queries.jsonl").open(encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    return {row["_id"]: row["text"] for row in rows if row["_id"] in wanted}, qrels


def documents(turn: Turn) -> list[tuple[str, float]]:
    """The documents found in the order of their best passages, each with a score that falls."""
    names = [each.chunk.document_id.removesuffix(".md") for each in turn.answer.passages]
    return [(name, 1 / rank) for rank, name in enumerate(dict.fromkeys(names), start=1)]


def chunking_table(folder: Path, variant: Variant) -> str:
    """Recall, precision and intersection over union of the first five chunks, in characters.

    As in Smith and Troynikov, "Evaluating Chunking Strategies for Retrieval", Chroma 2024.
    """
    notes = {path.name: path.read_text(encoding="utf-8") for path in folder.glob("corpora/*.md")}
    settings = public_index("chunking_eval", notes)
    search = searching(settings, variant, 5)
    with (folder / "questions_df.csv").open(encoding="utf-8", newline="") as file:
        questions = list(csv.DictReader(file))
    rows = []
    for row in questions:
        name = f"{row['corpus_id']}.md"
        text = read_document(settings.corpus, name).text
        wanted = characters(
            span_of(text, each["content"]) for each in json.loads(row["references"])
        )
        passages = search(row["question"], ()).answer.passages
        chunks = [passage.chunk for passage in passages]
        found = characters((each.start, each.end) for each in chunks if each.document_id == name)
        read = sum(len(each.text) for each in chunks)
        both = len(wanted & found)
        rows.append((both / len(wanted), both / read, both / (read + len(wanted) - both)))
    means = [f"{fmean(column):.3f}" for column in zip(*rows, strict=True)]
    return table("Chunks", ["", "recall", "precision", "IoU"], [[f"{len(rows)} questions", *means]])


def span_of(text: str, content: str) -> tuple[int, int]:
    start = text.index(content)
    return start, start + len(content)


def characters(spans: Iterable[tuple[int, int]]) -> set[int]:
    return {place for start, end in spans for place in range(start, end)}


def misses(judgements: Iterable[Judgement]) -> str:
    """Each question without evidence among the first five, and what came first instead."""
    lines = ["## Not among the first five", ""]
    for each in judgements:
        wanted_group = each.group in ("questions", "first turns", "follow-ups")
        if not wanted_group or each.metrics.get("hit@5", 1):
            continue
        chunk = each.turn.answer.passages[0].chunk
        wanted = each.item["evidence"][0]
        lines.append(f"- **{each.item['question']}** ({each.group})")
        if each.turn.standalone != each.turn.question:
            lines.append(f"  - searched for: {each.turn.standalone}")
        lines.append(f"  - wanted: {wanted['doc']}: “{' '.join(wanted['quote'].split())}”")
        lines.append(f"  - found: {chunk.document_id}: {' > '.join(chunk.heading[-2:])}")
    return "\n".join(lines)


class Clock:
    """Times a search, by whether there is a history."""

    def __init__(self, search: Search) -> None:
        self._search = search
        self._times: dict[bool, list[float]] = {True: [], False: []}

    def search(self, question: str, history: Sequence[Turn]) -> Turn:
        """The same search, timed."""
        started = time.perf_counter()
        turn = self._search(question, history)
        self._times[bool(history)].append(time.perf_counter() - started)
        return turn

    def ms(self, group: str) -> str:
        """The median time of a query in milliseconds."""
        times = self._times[group == "follow-ups"]
        return f"{1000 * median(times):.0f}" if times else ""


def searching(settings: Settings, variant: Variant, depth: int = DEPTH) -> Search:
    """The search that a variant makes."""
    if variant.ranks:
        parts = [replace(variant, ranks=False, weights=weights) for weights in (DENSE, BM25)]
        searches = [searching(settings, part, 2 * depth) for part in parts]
        return lambda question, history: rank_fusion(
            [search(question, history) for search in searches], depth
        )
    tutor = open_tutor(settings, variant.weights)
    tutor.search("warm up")
    if not variant.spelling:
        tutor.store.spellings = {}
    return lambda question, history: tutor.search(
        question, history if variant.rewriting else (), depth
    )


def rank_fusion(turns: Sequence[Turn], depth: int) -> Turn:
    """Fuse lists by rank: Cormack, Clarke and Buettcher, "Reciprocal Rank Fusion", SIGIR 2009."""
    scores: dict[Chunk, float] = {}
    for turn in turns:
        for rank, passage in enumerate(turn.answer.passages, start=1):
            chunk = passage.chunk
            scores[chunk] = scores.get(chunk, 0) + 1 / (RANK_CONSTANT + rank)
    best = sorted(scores, key=lambda chunk: -scores[chunk])[:depth]
    passages = tuple(Passage(chunk, scores[chunk], ()) for chunk in best)
    return replace(turns[0], answer=replace(turns[0].answer, passages=passages))


def table(title: str, head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table below its title."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join([f"## {title}", "", *(f"| {' | '.join(line)} |" for line in lines)])


if __name__ == "__main__":
    main()
