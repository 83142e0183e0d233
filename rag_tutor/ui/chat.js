// Follows a citation to its passage. It knows nothing of what an answer says.
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
    const answer = event.target.closest("#chat .bot-row");
    if (!answer || event.target.closest("a, button") || String(getSelection())) return;
    pick([...document.querySelectorAll("#chat .bot-row")].indexOf(answer), null);
  }

  document.addEventListener("click", onClick);
  new MutationObserver(reveal).observe(panel(), { childList: true, subtree: true });
}
