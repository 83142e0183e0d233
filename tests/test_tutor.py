import itertools
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from rag_tutor.config import AnswerLength, Settings
from rag_tutor.conversation import MAX_QUESTION_CHARACTERS
from rag_tutor.corpus import read_document, save_document
from rag_tutor.domain import Answer, Generator, Turn
from rag_tutor.errors import (
    ConversationError,
    IndexMissingError,
    ModelUnavailableError,
    StaleIndexError,
)
from rag_tutor.grounding import MARKER, MISSING
from rag_tutor.indexing import update_index
from rag_tutor.tutor import Reply, Tutor
from tests.conftest import MakeTutor
from tests.fakes import HashedEncoder, OverlapReader, QuotingGenerator, ScriptedGenerator

CROWNED = "Napoleon was crowned emperor in 1804 in Paris."
QUESTION = "When was Napoleon crowned emperor?"


def ask(tutor: Tutor, question: str, history: tuple[Turn, ...] = ()) -> Answer:
    return list(tutor.reply(question, history))[-1].turn.answer


def test_a_supported_sentence_is_shown_with_its_exact_place(
    make_tutor: MakeTutor, corpus: Path
) -> None:
    answer = ask(make_tutor(ScriptedGenerator(CROWNED)), QUESTION)
    assert answer.text.startswith(f"{CROWNED} [{answer.citations[0].number}]")
    for citation in answer.citations:
        document = read_document(corpus, citation.passage.chunk.document_id)
        assert document.text[citation.start : citation.end] == citation.quote
        assert answer.passages[citation.number - 1] == citation.passage
    assert answer.citations[0].quote == CROWNED


@pytest.mark.parametrize(
    "invented",
    [
        "Napoleon was crowned emperor in 1815 in Paris.",
        "Napoleon was crowned king of Spain.",
        "Bananas are yellow fruits that grow on plants.",
        "",
        "[1] [2] [99]",
        "[1][1][1][1] ]] [[ [a] []",
    ],
)
def test_what_no_passage_supports_is_not_shown_but_the_notes_are_quoted(
    make_tutor: MakeTutor, invented: str
) -> None:
    answer = ask(make_tutor(ScriptedGenerator(invented)), QUESTION)
    assert answer.text.startswith("From your notes:")
    assert f"> - {CROWNED}" in answer.text
    assert not invented or invented not in answer.text


REVOLUTION = "The French Revolution began in 1789 with the storming of the Bastille."


def test_an_answer_begins_with_what_was_asked(make_tutor: MakeTutor) -> None:
    answer = ask(make_tutor(ScriptedGenerator(f"{REVOLUTION} {CROWNED}")), QUESTION)
    assert answer.text.startswith(CROWNED)
    assert REVOLUTION not in answer.text


@pytest.mark.parametrize(
    "sentence",
    ["Answer: Dew forms on cold nights from moist air.", "Dew is water: see https://dew.org/."],
)
def test_a_labelled_sentence_or_one_with_a_link_may_lead(
    make_tutor: MakeTutor, corpus: Path, sentence: str
) -> None:
    save_document(corpus, "dew.md", f"# Dew\n\n{sentence}\n")
    tutor = make_tutor(ScriptedGenerator(sentence))
    update_index(corpus, tutor.settings.index, HashedEncoder())
    assert ask(tutor, "What is dew?").text.startswith(sentence)


@pytest.mark.parametrize(("length", "sentences"), [("short", 1), ("normal", 2), ("detailed", 2)])
def test_a_short_answer_is_one_sentence(
    make_tutor: MakeTutor, length: AnswerLength, sentences: int
) -> None:
    tutor = make_tutor(ScriptedGenerator(f"{CROWNED} {REVOLUTION}"))
    tutor.settings = replace(tutor.settings, answer_length=length)
    answer = ask(tutor, QUESTION)
    assert answer.text.startswith(CROWNED)
    assert (REVOLUTION in answer.text) is (sentences == 2)
    assert len([each for each in answer.citations if each.support == "verbatim"]) == sentences


@pytest.mark.parametrize(("length", "goes_on"), [("short", False), ("normal", True)])
def test_what_else_the_notes_say_follows_unless_the_answer_is_to_be_short(
    make_tutor: MakeTutor, length: AnswerLength, goes_on: bool
) -> None:
    tutor = make_tutor(ScriptedGenerator(CROWNED))
    tutor.settings = replace(tutor.settings, answer_length=length)
    question = "Did the French Revolution begin with the Bastille, and was Napoleon emperor?"
    answer = ask(tutor, question)
    assert (f"From your notes:\n\n> - {REVOLUTION}" in answer.text) is goes_on


def test_an_explanation_quotes_more_than_a_fact(
    make_tutor: MakeTutor, corpus: Path, index: Path
) -> None:
    facts = ("cools fast", "looks grey", "covers oceans", "holds iron", "feels heavy", "rings well")
    note = " ".join(f"Basalt from lava {fact}." for fact in facts)
    save_document(corpus, "basalt.md", note)
    update_index(corpus, index, HashedEncoder())
    tutor = make_tutor(ScriptedGenerator(""))
    fact, explanation = (
        ask(tutor, f"{start} basalt from lava behaves") for start in ("tell whether", "explain how")
    )
    assert len(fact.citations) == 3
    assert len(explanation.citations) == 5


def test_every_marker_has_a_citation_and_none_names_no_passage(make_tutor: MakeTutor) -> None:
    answer = ask(make_tutor(ScriptedGenerator(f"{CROWNED} [99] [7] Then he left. [3]")), QUESTION)
    markers = [int(number) for number in MARKER.findall(answer.text)]
    assert markers == [citation.number for citation in answer.citations]
    assert "99" not in answer.text


def test_a_generator_that_leaves_the_notes_is_stopped(make_tutor: MakeTutor) -> None:
    generator = ScriptedGenerator("Bananas are yellow fruits that grow. " * 50)
    ask(make_tutor(generator), QUESTION)
    assert generator.closed
    assert generator.words_said < 20


FILLING = "And so it is with this as it was with that before it. " * 5
STEPS = "# Bread\n\n" + "\n\n".join(
    f"- {title} is a step of making bread from dough. {FILLING}"
    for title in ("Kneading", "Proving", "Shaping", "Scoring", "Baking", "Cooling", "Slicing")
)


@pytest.mark.parametrize(
    ("question", "said"),
    [
        ("List the steps of making bread from dough", "Nothing of the kind."),
        (
            "after kneading, what makes bread from dough",
            "- Kneading is a step of making bread from dough. [1]",
        ),
    ],
    ids=["asked for", "begun by the generator"],
)
def test_a_list_is_whole_also_where_a_search_finds_a_few_of_its_items(
    make_tutor: MakeTutor, corpus: Path, encoder: HashedEncoder, question: str, said: str
) -> None:
    save_document(corpus, "bread.md", STEPS)
    tutor = make_tutor(ScriptedGenerator(said))
    tutor.settings = replace(tutor.settings, passages=1)
    update_index(corpus, tutor.settings.index, encoder)
    answer = ask(tutor, question)
    lines = [line for line in answer.text.split("\n") if line.startswith("- ")]
    assert [line.split()[1] for line in lines] == [
        *("Kneading", "Proving", "Shaping", "Scoring", "Baking", "Cooling", "Slicing")
    ]
    assert len(answer.passages) > 1
    for citation in answer.citations:
        assert answer.passages[citation.number - 1] == citation.passage
        assert STEPS[citation.start : citation.end] == citation.quote


def test_a_repeated_sentence_is_shown_once(make_tutor: MakeTutor) -> None:
    answer = ask(make_tutor(ScriptedGenerator(f"{CROWNED} " * 5)), QUESTION)
    assert answer.text.count(CROWNED) == 1


@pytest.mark.parametrize("written", [CROWNED, ""], ids=["written", "quoted"])
def test_what_stands_in_two_notes_is_cited_once_with_the_other_place(
    make_tutor: MakeTutor, corpus: Path, index: Path, encoder: HashedEncoder, written: str
) -> None:
    save_document(
        corpus, "france.md", f"# Paris\n\n{CROWNED} Its river is the Seine, as all know.\n"
    )
    update_index(corpus, index, encoder)
    answer = ask(make_tutor(ScriptedGenerator(written)), QUESTION)
    assert answer.text.count(CROWNED) == 1
    [cited] = [each for each in answer.citations if each.quote == CROWNED]
    [also] = cited.also
    assert {each.passage.chunk.document_id for each in (cited, also)} == {
        "france.md",
        "history.txt",
    }
    assert also.quote == CROWNED
    assert answer.passages[also.number - 1] == also.passage


@pytest.mark.parametrize("written", [CROWNED, ""], ids=["written", "quoted"])
@pytest.mark.parametrize("length", ["short", "normal"])
def test_notes_that_disagree_are_shown_side_by_side(
    make_tutor: MakeTutor,
    corpus: Path,
    index: Path,
    encoder: HashedEncoder,
    written: str,
    length: AnswerLength,
) -> None:
    other = "Napoleon was crowned as the emperor in 1805."
    save_document(corpus, "france.md", f"# Paris\n\n{other} Its river is the Seine.\n")
    update_index(corpus, index, encoder)
    tutor = make_tutor(ScriptedGenerator(written))
    tutor.settings = replace(tutor.settings, answer_length=length)
    answer = ask(tutor, QUESTION)
    assert answer.text.startswith("Your notes disagree:\n\n> - ")
    assert answer.text.count(CROWNED) == answer.text.count(other) == 1
    assert {each.quote for each in answer.citations[:2]} == {CROWNED, other}
    markers = [int(number) for number in MARKER.findall(answer.text)]
    assert markers == [citation.number for citation in answer.citations]


def test_the_text_only_grows_while_it_is_written(make_tutor: MakeTutor) -> None:
    replies = list(make_tutor(ScriptedGenerator(CROWNED)).reply(QUESTION))
    texts = [reply.turn.answer.text for reply in replies]
    assert all(later.startswith(text) for text, later in itertools.pairwise(texts))
    assert [reply.stage for reply in replies][:2] == ["searching", "reading"]
    assert replies[-1].stage == "done"
    assert replies[-1].timings_ms["total"] >= replies[-1].timings_ms["first_token"] > 0


def test_a_question_beyond_the_notes_is_declined_without_asking_a_model(
    make_tutor: MakeTutor,
) -> None:
    generator = ScriptedGenerator("Bread is baked in ovens.")
    answer = ask(make_tutor(generator), "How do I bake sourdough bread?")
    assert answer.refused
    assert "can't find" in answer.text
    assert "None of them mentions “bake” or “sourdough” or “bread”" in answer.text
    assert answer.citations == ()
    assert generator.prompts == []


def test_a_follow_up_beyond_the_notes_is_declined(make_tutor: MakeTutor) -> None:
    tutor = make_tutor()
    first = list(tutor.reply("What is a chloroplast?"))[-1].turn
    assert not first.answer.refused
    follow_up = "and how do bakers knead sourdough bread?"
    assert list(tutor.reply(follow_up, (first,)))[-1].turn.answer.refused


def test_a_follow_up_is_searched_and_asked_with_its_topic(make_tutor: MakeTutor) -> None:
    generator = ScriptedGenerator()
    tutor = make_tutor(generator)
    first = list(tutor.reply("What is a Chloroplast?"))[-1].turn
    second = list(tutor.reply("and why is damage to it a problem?", (first,)))[-1].turn
    assert second.standalone == "and why is damage to it a problem? (Chloroplast)"
    assert "chloroplast" in generator.prompts[-1]
    assert any("because the plant" in citation.quote for citation in second.answer.citations)


def test_a_misspelt_question_is_searched_as_it_was_meant(make_tutor: MakeTutor) -> None:
    turn = list(make_tutor().reply("When was Napolen crowned emperer?"))[-1].turn
    assert turn.question == "When was Napolen crowned emperer?"
    assert turn.standalone == "When was Napoleon crowned emperor?"
    assert CROWNED in turn.answer.citations[0].quote


def test_a_new_chat_starts_clean(make_tutor: MakeTutor) -> None:
    generator = ScriptedGenerator()
    tutor = make_tutor(generator)
    ask(tutor, "What is a chloroplast?")
    reply = list(tutor.reply("and why is it a problem?"))[-1]
    assert reply.turn.standalone == "and why is it a problem?"


def test_a_question_asked_again_is_answered_at_once(make_tutor: MakeTutor) -> None:
    generator = ScriptedGenerator(CROWNED, CROWNED, CROWNED)
    tutor = make_tutor(generator)
    first = list(tutor.reply(QUESTION))[-1].turn
    [again] = tutor.reply(QUESTION)
    assert (again.stage, again.turn) == ("done", first)
    assert len(generator.prompts) == 1

    ask(tutor, QUESTION, (first,))
    assert len(generator.prompts) == 2, "what was said before may change what is meant"


def test_a_server_is_asked_the_same_question_again(
    corpus: Path, index: Path, encoder: HashedEncoder
) -> None:
    generator = ScriptedGenerator(CROWNED, CROWNED)
    settings = Settings(corpus, index, encoder.name, "http://127.0.0.1:9/v1#any")
    tutor = Tutor(settings, lambda: encoder, OverlapReader, lambda: generator)
    for _ in range(2):
        assert CROWNED in ask(tutor, QUESTION).text
    assert len(generator.prompts) == 2


def test_closing_a_reply_stops_the_generator(make_tutor: MakeTutor) -> None:
    generator = ScriptedGenerator(f"{CROWNED} The French Revolution began in 1789 " + "x " * 100)
    reply = make_tutor(generator).reply(QUESTION)
    assert any(part.turn.answer.text for part in reply)
    reply.close()
    assert generator.closed
    assert generator.words_said < 50


def test_a_rebuilt_index_is_used_by_the_next_question(
    make_tutor: MakeTutor, corpus: Path, index: Path, encoder: HashedEncoder
) -> None:
    tutor = make_tutor(QuotingGenerator())
    assert CROWNED in ask(tutor, QUESTION).text
    save_document(corpus, "history.txt", "Napoleon was crowned emperor in 1805 in Milan.\n")
    update_index(corpus, index, encoder)
    answer = ask(tutor, QUESTION)
    assert "1805 in Milan" in answer.text
    assert "1804" not in answer.text


def test_a_search_gives_passages_and_no_text(make_tutor: MakeTutor) -> None:
    turn = make_tutor().search(QUESTION, limit=1)
    assert [CROWNED in passage.chunk.text for passage in turn.answer.passages] == [True]
    assert (turn.answer.text, turn.answer.refused) == ("", False)


def test_only_a_generator_that_was_not_trained_for_it_is_told_how_to_answer(
    make_tutor: MakeTutor,
) -> None:
    prompts = {}
    for knows in (True, False):
        generator = ScriptedGenerator(CROWNED)
        generator.knows_the_task = knows
        assert ask(make_tutor(generator), QUESTION).text.startswith(CROWNED)
        prompts[knows] = generator.prompts[0]
    assert MISSING in prompts[False]
    assert MISSING not in prompts[True]


def trained_to_quote(*replies: str) -> ScriptedGenerator:
    generator = ScriptedGenerator(*replies)
    generator.knows_the_task = True
    return generator


def test_nobody_waits_for_a_trained_generator_to_read_the_best_sentence(
    make_tutor: MakeTutor,
) -> None:
    generator = trained_to_quote(f"{CROWNED} {REVOLUTION}")
    replies = make_tutor(generator).reply(QUESTION)
    first = next(reply for reply in replies if reply.turn.answer.text)
    assert first.turn.answer.text == f"{CROWNED} [1]"
    assert first.turn.answer.citations[0].support == "quoted"
    assert generator.prompts == []

    whole = list(replies)[-1].turn.answer
    assert whole.text.startswith(f"{CROWNED} [1] {REVOLUTION}")
    assert whole.text.count(CROWNED) == 1


def test_a_short_answer_of_a_trained_generator_is_the_best_sentence(make_tutor: MakeTutor) -> None:
    generator = trained_to_quote(REVOLUTION)
    tutor = make_tutor(generator)
    tutor.settings = replace(tutor.settings, answer_length="short")
    assert ask(tutor, QUESTION).text == f"{CROWNED} [1]"
    assert generator.prompts == []


def test_a_sentence_that_needs_the_one_before_does_not_lead_an_answer(
    make_tutor: MakeTutor, corpus: Path, index: Path
) -> None:
    for needy in (
        "This made Caesar ruler of Gaul, of Rome and of Egypt.",
        "In summary, Caesar was made ruler of Gaul, of Rome and of Egypt.",
    ):
        save_document(corpus, "caesar.md", f"# War\n\nCaesar crossed the Rubicon. {needy}\n")
        update_index(corpus, index, HashedEncoder())
        asked = "What made Caesar ruler of Gaul, Rome and Egypt?"
        answer = ask(make_tutor(trained_to_quote()), asked)
        assert needy in answer.text
        assert not answer.text.startswith(needy)


def test_one_sentence_does_not_lead_the_answer_to_a_question_for_several_things(
    make_tutor: MakeTutor,
) -> None:
    generator = trained_to_quote(f"{CROWNED} {REVOLUTION}")
    replies = list(make_tutor(generator).reply("Give me all: Napoleon crowned emperor"))
    assert replies[-1].turn.answer.text.startswith(CROWNED)
    assert replies[-1].turn.answer.citations[0].support == "verbatim"


def test_a_quoted_sentence_stands_after_the_one_that_names_what_it_speaks_of(
    make_tutor: MakeTutor, corpus: Path, index: Path
) -> None:
    text = (
        "# Metals\n\nTin came from Cornwall. It makes bronze hard when copper is mixed with it.\n"
    )
    save_document(corpus, "metals.md", text)
    update_index(corpus, index, HashedEncoder())
    quoted = ask(make_tutor(), "What makes bronze hard when copper is mixed with it?").text
    assert "> - Tin came from Cornwall. [1]\n> - It makes bronze hard" in quoted

    save_document(corpus, "metals.md", text.replace("Tin came from Cornwall. ", ""))
    update_index(corpus, index, HashedEncoder())
    quoted = ask(make_tutor(), "What makes bronze hard when copper is mixed with it?").text
    assert "> - *Metals:* It makes bronze hard" in quoted


def test_several_questions_in_a_row_are_answered_one_by_one(make_tutor: MakeTutor) -> None:
    generator = trained_to_quote(CROWNED)
    asked = f"{QUESTION.rstrip('?')} and what releases energy from sugar?"
    answer = ask(make_tutor(generator), asked)
    energy = "A mitochondrion is the organelle that releases energy from sugar."
    assert answer.text.startswith(f"{CROWNED} [")
    assert f"] {energy} [" in answer.text
    assert generator.prompts == []
    for citation in answer.citations:
        assert answer.passages[citation.number - 1].chunk == citation.passage.chunk


def test_a_search_for_several_questions_in_a_row_finds_the_best_passage_of_each(
    make_tutor: MakeTutor, corpus: Path, index: Path
) -> None:
    for where in ("Notre Dame", "old Milan", "cold Moscow"):
        text = f"Napoleon crowned emperor: he was crowned emperor in {where}."
        save_document(corpus, f"{where}.md", text)
    update_index(corpus, index, HashedEncoder())
    asked = "Was Napoleon crowned emperor, or who crowned emperor Napoleon, and what makes energy?"
    found = make_tutor().search(asked, limit=2).answer.passages
    assert len(found) == 2
    assert any("releases energy from sugar" in passage.chunk.text for passage in found)


def test_a_generator_that_follows_instructions_answers_several_questions_itself(
    make_tutor: MakeTutor,
) -> None:
    generator = ScriptedGenerator(CROWNED)
    ask(make_tutor(generator), f"{QUESTION.rstrip('?')} and what releases energy from sugar?")
    [prompt] = generator.prompts
    assert CROWNED in prompt
    assert "releases energy" in prompt


def test_an_item_of_a_list_does_not_lead_an_answer(
    make_tutor: MakeTutor, corpus: Path, index: Path
) -> None:
    items = ("warm water wakes the yeast", "kneading makes dough stretch", "rest makes dough rise")
    save_document(corpus, "bread.md", "# Bread\n\n" + "\n".join(f"- {item}" for item in items))
    update_index(corpus, index, HashedEncoder())
    generator = trained_to_quote("\n".join(f"- {item}" for item in items))
    text = ask(make_tutor(generator), "Tell me of dough that is kneading and of rest").text
    assert [text.count(item) for item in items] == [1, 1, 1]


def test_a_prompt_fits_what_the_generator_reads(make_tutor: MakeTutor) -> None:
    generator = ScriptedGenerator(CROWNED)
    generator.context_tokens = 480
    ask(make_tutor(generator), "List all that Napoleon and the French Revolution did in Paris")
    wide = ScriptedGenerator(CROWNED)
    ask(make_tutor(wide), "List all that Napoleon and the French Revolution did in Paris")
    assert generator.count_tokens(generator.prompts[0]) <= 480 - 200 - 64
    assert len(wide.prompts[0]) > len(generator.prompts[0])


def test_a_heading_with_a_bracketed_number_makes_no_marker(
    make_tutor: MakeTutor, corpus: Path, index: Path, encoder: HashedEncoder
) -> None:
    save_document(corpus, "results.md", "# Results [1] of bread\n\nSome text stands here.")
    update_index(corpus, index, encoder)
    answer = ask(make_tutor(), "How do I bake sourdough bread rolls quickly at home?")
    assert answer.refused
    assert "Results" in answer.text
    assert not MARKER.search(answer.text)


@pytest.mark.parametrize("question", ["", "?!", "x" * (MAX_QUESTION_CHARACTERS + 1)])
def test_a_question_that_cannot_be_read_is_refused_before_any_work(
    make_tutor: MakeTutor, question: str
) -> None:
    with pytest.raises(ConversationError):
        ask(make_tutor(), question)


def test_a_missing_index_is_told(make_tutor: MakeTutor, index: Path) -> None:
    (index / "CURRENT").unlink()
    with pytest.raises(IndexMissingError, match="rag-tutor index"):
        ask(make_tutor(), QUESTION)


def test_an_index_of_another_encoder_names_the_command(
    make_tutor: MakeTutor, corpus: Path, index: Path, encoder: HashedEncoder
) -> None:
    encoder.name = "another"
    update_index(corpus, index, encoder)
    encoder.name = "hashed"
    with pytest.raises(StaleIndexError, match="rag-tutor index --encoder hashed --index"):
        ask(make_tutor(), QUESTION)


def test_a_model_that_fails_to_load_is_asked_for_again(
    make_tutor: MakeTutor, encoder: HashedEncoder
) -> None:
    attempts: list[int] = []

    def load() -> Generator:
        attempts.append(1)
        if len(attempts) == 1:
            raise ModelUnavailableError("not yet")
        return ScriptedGenerator(CROWNED)

    tutor = Tutor(make_tutor().settings, lambda: encoder, OverlapReader, load)
    with pytest.raises(ModelUnavailableError):
        ask(tutor, QUESTION)
    assert CROWNED in ask(tutor, QUESTION).text
    assert CROWNED in ask(tutor, QUESTION).text
    assert len(attempts) == 2


def test_conversations_do_not_share_anything(make_tutor: MakeTutor) -> None:
    tutor = make_tutor(ScriptedGenerator())
    one = tutor.reply("What is a chloroplast?")
    two = tutor.reply(QUESTION)
    parts: list[tuple[Reply, Reply]] = list(zip(one, two, strict=False))
    assert all(a.turn.question != b.turn.question for a, b in parts)
    assert all("Napoleon" not in a.turn.answer.text for a, _ in parts)


def test_a_model_may_be_made_of_another_one(corpus: Path, index: Path) -> None:
    encoder = HashedEncoder()
    settings = Settings(corpus=corpus, index=index, encoder=encoder.name)

    def load_generator() -> Generator:
        assert tutor.encoder is encoder
        return ScriptedGenerator()

    tutor = Tutor(settings, lambda: encoder, OverlapReader, load_generator)
    loading = threading.Thread(target=lambda: tutor.generator, daemon=True)
    loading.start()
    loading.join(5)
    assert not loading.is_alive()
