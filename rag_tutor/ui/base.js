// Keys that work on every page. Each page adds a file of its own; page.py calls them in turn.
() => {
  document.addEventListener("keydown", (event) => {
    const question = document.querySelector("#question textarea");
    if (!question?.offsetParent) return; // another page is shown
    if (event.key === "Escape" && !event.isComposing) document.querySelector("#stop")?.click();
    const typing = event.target.closest("input, textarea, [contenteditable=true]");
    if (event.key !== "/" || typing || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    question.focus();
  });

  // Gradio calls its example questions a list, but they are buttons, which no list may hold.
  const mend = () => {
    for (const list of document.querySelectorAll(".examples[role=list]")) list.setAttribute("role", "group");
  };
  new MutationObserver(mend).observe(document.body, { childList: true, subtree: true });
  mend();
}
