// What the chat page does in the browser: sources, cards and notes at a click, the list of
// conversations, the address. It knows nothing of what an answer says.
() => {
  const find = (selector) => document.querySelector(selector);
  const root = find(".gradio-container .contain"); // styles reach no farther
  const act = (name, data = {}) =>
    document.dispatchEvent(new CustomEvent("tutor:do", { detail: { name, ...data } }));
  const call = (name, data) =>
    new Promise((done, failed) =>
      document.dispatchEvent(new CustomEvent("tutor:call", { detail: { name, data, done, failed } })));
  const chat = () => find("#current-chat")?.dataset.chat ?? "";
  const observe = (target, react) =>
    new MutationObserver(react).observe(target, { childList: true, subtree: true });

  function element(tag, properties = {}, ...children) {
    const made = Object.assign(document.createElement(tag), properties);
    made.append(...children);
    return made;
  }

  function tell(text) {
    const said = element("p", { className: "message", textContent: text });
    said.setAttribute("role", "status");
    find("#status .message")?.replaceWith(said);
  }

  // --- Sources: the passage behind a marker ---

  // The answer that was clicked, while no other has become the newest: the panel shows its
  // sources, however late they come, and else those of the newest.
  let chosen = null;
  let wanted = null; // the passage of it that is still to be shown
  // The place of the marker that led to the sources last: an answer is drawn again when
  // follow-ups are suggested below it, and its markers are other elements then.
  let followed = { turn: null, at: 0 };
  const panel = find("#sources-panel");
  const sourcesIn = (part) => panel.querySelector(`${part} .sources`)?.id.replace("sources-", "");
  const newestTurn = () => sourcesIn("#newest-sources");
  const shownTurn = () =>
    panel.classList.contains("chosen") ? sourcesIn("#chosen-sources") : newestTurn();
  const answerOf = (turn) =>
    find(`#chat a:is([href^="#source-${turn}-"], [href="#copy-${turn}"])`)?.closest(".bot-row");
  const plain = (text) => text.replace(/[\s*_`|>#-]+/g, "");

  // The sources of another turn come from the server; until they are there, wait.
  let arrived;
  function reveal() {
    const newest = newestTurn();
    if (chosen && chosen.newest !== newest) {
      // An answer may be clicked before its own sources are there as those of the newest.
      chosen = chosen.turn === newest ? { turn: newest, newest } : null;
      if (!chosen) wanted = null;
    }
    const isOlder = chosen && chosen.turn !== chosen.newest;
    const before = arrived;
    arrived = sourcesIn("#chosen-sources");
    panel.classList.toggle("chosen", !!isOlder && arrived === chosen.turn);
    // Replies may overtake each other: the one that counts is asked for again.
    if (isOlder && arrived !== before && arrived !== chosen.turn) act("pick", { turn: chosen.turn });
    if (!wanted || shownTurn() !== wanted.turn) return;
    const { turn, number, sentence } = wanted;
    wanted = null;
    const passage = number && panel.querySelector(`#source-${turn}-${number}`);
    if (!passage) return;
    passage.open = true;
    const marks = [...passage.querySelectorAll("mark")];
    const own = marks.find((mark) => sentence && plain(sentence).startsWith(plain(mark.textContent)));
    if (isDrawer()) panel.scrollIntoView();
    (own ?? marks[0] ?? passage).scrollIntoView({ block: isDrawer() ? "nearest" : "center", behavior: "smooth" });
    passage.focus({ preventScroll: true });
    passage.classList.remove("flash");
    void passage.offsetWidth; // lets the animation start again
    passage.classList.add("flash");
  }

  function backToAnswer() {
    const answer = answerOf(shownTurn());
    const isSame = answer && followed.turn === shownTurn();
    const marker = isSame ? answer.querySelectorAll("a.citation")[followed.at] : null;
    (marker ?? answer)?.scrollIntoView({ block: marker ? "center" : "start" });
    marker?.focus({ preventScroll: true });
  }

  function pick(turn, number, sentence) {
    chosen = { turn, newest: newestTurn() };
    wanted = { turn, number, sentence };
    reveal();
    if (turn !== newestTurn()) act("pick", { turn });
  }

  // --- The card of a marker: note, heading, sentence ---

  const card = element("div", { id: "citation-card", hidden: true });
  card.setAttribute("role", "tooltip");
  root.append(card);
  const told = new WeakMap();
  const linesOf = (link) => {
    if (link.title) told.set(link, link.title.split("\n"));
    link.removeAttribute("title"); // or the browser would show it as well
    return told.get(link) ?? ["", "", ""];
  };

  function showCard(link) {
    const [note, heading, sentence] = linesOf(link);
    card.replaceChildren(
      element("b", { textContent: note }),
      element("span", { className: "heading", textContent: heading }),
      element("q", { textContent: sentence }));
    card.hidden = false;
    link.setAttribute("aria-describedby", card.id);
    const at = link.getBoundingClientRect();
    const left = Math.min(at.left, innerWidth - card.offsetWidth - 12);
    const above = at.top - card.offsetHeight - 8;
    card.style.left = `${Math.max(left, 12)}px`;
    card.style.top = `${above > 8 ? above : at.bottom + 8}px`;
  }

  const hideCard = () => { card.hidden = true; };
  const overCitation = (event) => event.target.closest?.("a.citation");
  for (const name of ["mouseover", "focusin"]) {
    document.addEventListener(name, (event) => {
      const link = overCitation(event);
      if (link) showCard(link);
    });
  }
  for (const name of ["mouseout", "focusout"]) {
    document.addEventListener(name, (event) => { if (overCitation(event)) hideCard(); });
  }
  document.addEventListener("scroll", hideCard, true);

  // --- Dialogs: a whole note, a comment ---

  function dialog(id, label, ...children) {
    const made = element("dialog", { id }, ...children);
    made.setAttribute("aria-label", label);
    // Escape closes the dialog and nothing else.
    made.addEventListener("keydown", (event) => {
      if (event.key === "Escape") event.stopPropagation();
    });
    made.addEventListener("click", (event) => { if (event.target === made) made.close(); });
    made.addEventListener("close", () => { if (history.state?.dialog === id) history.back(); });
    root.append(made);
    return made;
  }

  // Back closes a dialog and does nothing else.
  function openDialog(made) {
    if (made.open) return;
    made.showModal();
    history.pushState({ dialog: made.id }, "");
  }

  const noteView = find("#note-view");
  const close = element("button", { type: "button", className: "close", textContent: "Close" });
  const noteDialog = dialog("note-dialog", "Note", close, noteView);
  close.addEventListener("click", () => noteDialog.close());
  let arriving = false;
  const isNarrow = () => matchMedia("(max-width: 860px)").matches;

  function openNote(turn, number) {
    arriving = true;
    noteDialog.classList.add("loading");
    openDialog(noteDialog);
    act("note", { turn, number });
  }

  function arrive() {
    if (!arriving || !noteView.querySelector("h2")) return;
    arriving = false;
    noteDialog.classList.remove("loading");
    const outline = noteView.querySelector("nav details");
    if (outline) outline.open = !isNarrow();
    const here = noteView.querySelector("nav a.here");
    here?.scrollIntoView({ block: "center" });
    const place = here && noteView.querySelector(here.hash);
    (noteView.querySelector("mark, .cited-formula") ?? place)?.scrollIntoView({ block: "center" });
    noteView.querySelector("article")?.focus({ preventScroll: true });
  }

  noteDialog.addEventListener("click", (event) => {
    const link = event.target.closest("nav a");
    if (!link) return;
    event.preventDefault();
    if (isNarrow()) link.closest("details").open = false;
    noteView.querySelector(link.hash)?.scrollIntoView({ block: "start", behavior: "smooth" });
  });

  const comment = element("textarea", { id: "comment", rows: 3, maxLength: 4000 });
  const asked = element("label", { htmlFor: "comment" });
  const skip = element("button", { type: "button", textContent: "Skip" });
  const keep = element("button", { className: "primary", textContent: "Keep comment" });
  const form = element("form", { method: "dialog" }, asked, comment, element("div", {}, skip, keep));
  const commentDialog = dialog("comment-dialog", "Comment on this answer", form);
  commentDialog.className = "ask";
  skip.addEventListener("click", () => commentDialog.close());
  let rated = null;
  form.addEventListener("submit", () => rate({ ...rated, comment: comment.value }));
  comment.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
  });

  const rate = (data) =>
    call("rate", data).then(
      () => tell(data.comment ? "Your comment is kept." : data.rating ? "Your rating is kept." : "Your rating is removed."),
      () => tell("Your rating couldn't be kept. The terminal shows why."));

  function onRate(link, rating, turn) {
    const isOn = link.classList.contains("on");
    for (const each of link.parentElement.children) each.classList.remove("on");
    link.classList.toggle("on", !isOn);
    rated = { turn, rating: isOn ? "" : rating };
    rate({ ...rated, comment: "" });
    if (isOn) return;
    asked.textContent = rating === "up" ? "What was good about it? (optional)" : "What was wrong with it? (optional)";
    comment.value = "";
    openDialog(commentDialog);
    comment.focus();
  }

  // --- What can be done with an answer ---

  async function onCopy(turn) {
    const text = await call("copied", { chat: chat(), turn }).catch(() => "");
    if (!text) {
      tell("The answer can't be read any more. Load the page again.");
      return;
    }
    try {
      await navigator.clipboard.writeText(text);
      tell("Copied with its sources.");
    } catch {
      tell("The browser doesn't let the page copy. Select the text instead.");
    }
  }

  function onEdit(turn) {
    act("edit", { turn });
    find("#question textarea").focus();
  }

  function onAnswerLink(link) {
    const [name, turn, number] = link.hash.slice(1).split("-");
    if (name === "source") {
      const row = link.closest(".bot-row");
      followed = { turn, at: [...row.querySelectorAll("a.citation")].indexOf(link) };
      pick(turn, number, linesOf(link)[2]);
    } else if (name === "note") openNote(turn, number);
    else if (name === "copy") onCopy(turn);
    else if (name === "edit") onEdit(turn);
    else if (name === "up" || name === "down") onRate(link, name, turn);
    else if (link.matches(".suggestion")) act("suggest", { question: link.textContent });
    else return false;
    return true;
  }

  // --- Conversations: their list, its drawer, the address ---

  const list = find("#history-list");
  const side = find("#history");
  const drawer = find("#show-history button");
  const isDrawer = () => drawer.offsetParent !== null;

  function showDrawer(isShown) {
    side.classList.toggle("open", isShown);
    drawer.setAttribute("aria-expanded", String(isShown));
    if (isShown) keepInView();
    if (isShown) find("#new-chat").focus();
    else if (isDrawer()) drawer.focus();
  }

  function startRename(button) {
    const item = button.closest("li");
    const title = item.querySelector(".open .title").textContent;
    const box = element("input", { className: "title-box", value: title, maxLength: 200 });
    box.setAttribute("aria-label", "Title of the conversation");
    let isOver = false;
    const end = (isKept) => {
      if (isOver) return;
      isOver = true;
      box.remove();
      item.classList.remove("renaming");
      if (isKept && box.value !== title) act("rename", { chat: button.value, title: box.value });
    };
    box.addEventListener("keydown", (event) => {
      if (event.key === "Enter") end(true);
      if (event.key === "Escape") end(false);
      event.stopPropagation();
    });
    box.addEventListener("blur", () => end(true));
    item.classList.add("renaming");
    item.prepend(box);
    box.select();
  }

  async function download(id) {
    const exported = await call("exported", { chat: id }).catch(() => null);
    if (!exported) {
      tell("The conversation couldn't be exported. The terminal shows why.");
      return;
    }
    const href = URL.createObjectURL(new Blob([exported.text]));
    const link = element("a", { download: exported.name, href });
    link.click();
    URL.revokeObjectURL(link.href);
  }

  side.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    if (button.matches(".rename")) startRename(button);
    else if (button.matches(".export")) download(button.value);
    else if (button.matches(".delete")) act("delete", { chat: button.value });
    else if (button.matches(".restore")) {
      const reopen = button.matches(".was-open");
      if (reopen) open(button.value);
      act("restore", { chat: button.value, reopen });
    } else if (button.matches(".open, #new-chat")) {
      const id = button.matches(".open") ? button.value : "";
      open(id);
      if (id) act("open", { chat: id });
      showDrawer(false);
      if (!isDrawer()) find("#question textarea").focus();
    }
  });
  addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !side.matches(".open") || event.target.matches("li input")) return;
    event.stopPropagation(); // it closes the drawer and stops no answer
    showDrawer(false);
  }, true);
  drawer.setAttribute("aria-expanded", "false");
  drawer.setAttribute("aria-controls", "history");

  // What one chooses is in the address at once: an answer that comes late is no choice.
  const addressed = () =>
    new URLSearchParams(location.search).get("chat")?.match(/^[0-9a-f]{32}$/)?.[0] ?? "";
  let opened = addressed(); // the conversation that was chosen last; "" is a new one
  let current = chat();

  function addressOf(id) {
    const url = new URL(location);
    if (id) url.searchParams.set("chat", id);
    else url.searchParams.delete("chat");
    return url;
  }

  function open(id) {
    opened = id;
    if (id !== addressed()) history.pushState(null, "", addressOf(id));
  }

  // The open conversation is in view once it is opened, or moves to the top; what else is done to
  // the list leaves it where it is scrolled to.
  let placed = null;
  function keepInView() {
    if (!list.offsetParent) return;
    const item = list.querySelector("[aria-current]");
    const place = item && `${item.value} ${listed()[0] === item.value}`;
    if (place !== placed) item?.scrollIntoView({ block: "nearest" });
    placed = place;
  }

  // Only the server knows when the first question of a new chat is kept, and when the open chat is
  // gone; neither is a step that one would go back to.
  const listed = () => [...list.querySelectorAll("button.open")].map((each) => each.value);
  let known = listed();
  function address() {
    const before = { current, known };
    current = chat();
    known = listed();
    keepInView();
    if (current === before.current) return;
    const isBegun = !opened && !before.known.includes(current);
    const isGone = opened === before.current && !current;
    if (isBegun || isGone) {
      opened = current;
      history.replaceState(null, "", addressOf(current));
    } else if (current && current !== opened) {
      act("open", { chat: opened }); // its answer was overtaken by one that isn't wanted any more
    }
  }

  addEventListener("popstate", () => {
    for (const each of document.querySelectorAll("dialog[open]")) each.close();
    if (addressed() === opened) return;
    opened = addressed();
    act("open", { chat: opened });
  });

  // --- Clicks and changes anywhere ---

  document.addEventListener("click", (event) => {
    const link = event.target.closest("#chat a, #sources-panel a.open-note");
    if (link?.hash && onAnswerLink(link)) {
      event.preventDefault();
      hideCard();
      return;
    }
    if (event.target.closest("#to-answer")) backToAnswer();
    if (event.target.closest("#show-history")) showDrawer(true);
    else if (side.matches(".open") && !side.contains(event.target)) showDrawer(false);
    const answer = event.target.closest("#chat .bot-row");
    if (!answer || event.target.closest("a, button") || String(getSelection())) return;
    const own = answer.querySelector('a:is([href^="#source-"], [href^="#copy-"])');
    if (own) pick(own.hash.split("-")[1], null);
  });
  // --- A new question is seen, wherever one has scrolled to: in a narrow window the page scrolls, too ---

  const lastQuestion = () => [...document.querySelectorAll('#chat a[href^="#edit-"]')].at(-1)?.hash;
  let lastShown = lastQuestion();
  function showNewest() {
    if (lastShown === lastQuestion()) return;
    lastShown = lastQuestion();
    scrollTo(0, 0);
    const rows = find("#chat [role=log]");
    rows?.scrollTo(0, rows.scrollHeight);
  }

  // --- A page that waits for an answer and hears nothing asks how it stands ---

  let heard = Date.now();
  for (const part of ["#chat", "#status"]) observe(find(part), () => { heard = Date.now(); });
  setInterval(() => {
    if (!find("#stop")?.offsetParent || Date.now() - heard < 3000) return;
    heard = Date.now();
    act("refresh");
  }, 1000);

  // Gradio names each message by its Markdown, signs, links and all.
  observe(find("#chat"), () => {
    for (const each of document.querySelectorAll("#chat [data-testid][aria-label]")) {
      each.removeAttribute("aria-label");
    }
    showNewest();
  });
  observe(panel, reveal);
  observe(noteView, arrive);
  observe(list, address);
}
