// Keys that work on every page, and the address, which names the page that is shown. Each page adds
// a file of its own; page.py calls them in turn.
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

  // Back leads to the page before, and a reload comes back to the one that was open.
  const tabs = document.querySelector("#pages > .tab-wrapper [role=tablist]");
  const name = (tab) => tab.textContent.trim().toLowerCase();
  const addressed = () => new URLSearchParams(location.search).get("tab") ?? "chat";
  function show() {
    const wanted = [...tabs.children].find((tab) => name(tab) === addressed());
    if (wanted?.ariaSelected === "false") wanted.click();
  }
  new MutationObserver(() => {
    const shown = name(tabs.querySelector("[aria-selected=true]"));
    if (shown === addressed()) return;
    const url = new URL(location);
    if (shown === "chat") url.searchParams.delete("tab");
    else url.searchParams.set("tab", shown);
    history.pushState(null, "", url);
  }).observe(tabs, { attributeFilter: ["aria-selected"], subtree: true });
  addEventListener("popstate", show);
  show();

  // Gradio calls its example questions a list, but they are buttons, which no list may hold.
  const mend = () => {
    for (const list of document.querySelectorAll(".examples[role=list]")) list.setAttribute("role", "group");
  };
  new MutationObserver(mend).observe(document.body, { childList: true, subtree: true });
  mend();
}
