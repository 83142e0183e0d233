// The few things that the pages can't do from the server: following a citation to its
// passage, and the keys. It knows nothing of what an answer says.
() => {
  let wanted = null;

  const panel = () => document.querySelector("#sources-panel");
  const shownTurn = () => {
    const shown = [...panel().querySelectorAll(".sources")].find((each) => each.offsetParent);
    return shown ? Number(shown.id.split("-")[1]) : null;
  };

  // The sources of another turn come from the server; until they are there, wait.
  function reveal() {
    if (!wanted || shownTurn() !== wanted.turn) return;
    const { turn, number } = wanted;
    wanted = null;
    const passage = number && panel().querySelector(`#source-${turn}-${number}`);
    if (!passage) return;
    passage.open = true;
    (passage.querySelector("mark") ?? passage).scrollIntoView({ block: "center", behavior: "smooth" });
    passage.focus({ preventScroll: true });
    passage.classList.remove("flash");
    void passage.offsetWidth; // lets the animation start again
    passage.classList.add("flash");
  }

  function pick(turn, number) {
    wanted = { turn, number };
    if (shownTurn() === turn) reveal();
    else document.dispatchEvent(new CustomEvent("tutor:pick", { detail: { turn, number } }));
  }

  function onClick(event) {
    const citation = event.target.closest("#chat a.citation");
    if (citation) {
      event.preventDefault();
      const [, turn, number] = citation.hash.split("-").map(Number);
      pick(turn, number);
      return;
    }
    if (event.target.closest("#notes button")) {
      document.querySelector("#note-editor").scrollIntoView({ behavior: "smooth" });
      return;
    }
    const answer = event.target.closest("#chat .bot-row");
    if (!answer || event.target.closest("a, button") || String(getSelection())) return;
    pick([...document.querySelectorAll("#chat .bot-row")].indexOf(answer), null);
  }

  function onKey(event) {
    if (event.key === "Escape") document.querySelector("#stop")?.click();
    const typing = event.target.closest("input, textarea, [contenteditable=true]");
    if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey) {
      const question = document.querySelector("#question textarea");
      if (question?.offsetParent) {
        event.preventDefault();
        question.focus();
      }
    }
  }

  document.addEventListener("click", onClick);
  document.addEventListener("keydown", onKey);
  new MutationObserver(reveal).observe(panel(), { childList: true, subtree: true });
}
