// Keys that work on every page. Each page adds a file of its own; page.py calls them in turn.
() => {
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") document.querySelector("#stop")?.click();
    const typing = event.target.closest("input, textarea, [contenteditable=true]");
    if (event.key !== "/" || typing || event.ctrlKey || event.metaKey) return;
    const question = document.querySelector("#question textarea");
    if (!question?.offsetParent) return;
    event.preventDefault();
    question.focus();
  });
}
