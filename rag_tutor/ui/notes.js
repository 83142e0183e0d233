// The notes page in the browser: opens a note together with its text that isn't saved yet, keeps
// that text in the browser's storage from the first letter on, and gives it up once it is saved.
// It knows nothing of what a note says.
() => {
  const PREFIX = "rag-tutor:unsaved:";
  const OPEN = "rag-tutor:open-note";
  let saving = null; // the text that was sent to be saved, or into the trash
  let sent = null; // the text that was sent along when a note was opened
  let shown = null; // which showing of a note was seen already
  const noRoom = new Map(); // the texts that the browser's storage doesn't take, by their notes
  let reopened = false;
  let lastOpen = null; // where the list is to be found again
  let goesBack = false; // the open note is being closed, not deleted

  const title = () => document.querySelector("#note-title [data-note]");
  const rowOf = (note) => document.querySelector(`#notes button[value="${CSS.escape(note)}"]`);
  const box = () => document.querySelector("#editor textarea");
  const ask = (action, detail) =>
    document.dispatchEvent(new CustomEvent("tutor:note-" + action, { detail }));

  function load(note) {
    if (noRoom.has(note)) return noRoom.get(note);
    try {
      return JSON.parse(localStorage.getItem(PREFIX + note));
    } catch {
      return null;
    }
  }

  function keep(note, text, hash) {
    noRoom.delete(note);
    try {
      localStorage.setItem(PREFIX + note, JSON.stringify({ text, hash }));
    } catch {
      noRoom.set(note, { text, hash });
    }
    mark();
  }

  function forget(note) {
    noRoom.delete(note);
    localStorage.removeItem(PREFIX + note);
    for (const [other, { text, hash }] of [...noRoom]) keep(other, text, hash);
    mark();
  }

  function open(note) {
    const unsaved = load(note);
    saving = null;
    sent = { note, text: unsaved?.text ?? null };
    ask("open", { note, unsaved });
  }

  // A badge on each note with a text that isn't saved, and a warning of those that aren't kept.
  function mark() {
    for (const button of document.querySelectorAll("#notes button[value]")) {
      button.classList.toggle("unsaved", load(button.value) !== null);
    }
    const warning = document.querySelector("#no-room p");
    const said = noRoom.size
      ? `This browser has no room to keep the text of ${[...noRoom.keys()].join(", ")}. Save it now: ` +
        "it is lost if this page is closed or loaded anew."
      : "";
    if (warning && warning.textContent !== said) warning.textContent = said;
  }

  function onShown() {
    const note = title();
    if (!note) {
      // Before the first note, the page may have been loaded anew: then one is to be reopened.
      if (shown !== null) sessionStorage.removeItem(OPEN);
      const last = lastOpen;
      lastOpen = null;
      if (last === null) return;
      if (goesBack) {
        // The list is there again with the next frame.
        requestAnimationFrame(() => rowOf(last)?.scrollIntoView({ block: "center" }));
      } else {
        scrollTo(0, 0); // it was deleted: what is said about that stands above the list
        if (saving?.note === last && load(last)?.text === saving.text) forget(last);
      }
      goesBack = false;
      return;
    }
    if (note.dataset.shown === shown) return;
    shown = note.dataset.shown;
    const { note: name, hash, was, kind, event } = note.dataset;
    sessionStorage.setItem(OPEN, name);
    if (was) move(was, name);
    if (lastOpen === null) scrollTo(0, 0); // on a narrow page, the note takes the list's place
    lastOpen = name;
    if (event === "stale") {
      open(name);
      return;
    }
    const unsaved = load(name);
    if (event === "saved" && saving?.note === name) {
      if (unsaved?.text === saving.text) forget(name);
      else if (unsaved) keep(name, unsaved.text, hash);
      saving = null;
    } else if (kind === "text" && unsaved && sent?.note === name) {
      if (unsaved.text !== sent.text) open(name); // a letter was typed while it was on its way
      else if (event === "saved") forget(name); // it was the file's own text
    }
    mark();
  }

  function move(was, name) {
    if (was === name) return;
    const unsaved = load(was);
    forget(was); // first, or there may be no room
    if (unsaved) keep(name, unsaved.text, unsaved.hash);
  }

  function onListed() {
    mark();
    if (reopened || !document.querySelector("#notes button[value]")) return;
    reopened = true;
    const name = sessionStorage.getItem(OPEN);
    if (name && !title()) open(name);
  }

  // What can't be undone is asked for first.
  const confirmation = document.createElement("dialog");
  confirmation.className = "ask";
  confirmation.setAttribute("aria-labelledby", "empty-question");
  confirmation.innerHTML = `
    <form method="dialog">
      <p id="empty-question"></p>
      <div><button value="">Keep</button><button class="final" value="empty">Remove for good</button></div>
    </form>`;
  document.querySelector(".gradio-container .contain").append(confirmation); // styles reach no farther
  confirmation.addEventListener("close", () => {
    if (confirmation.returnValue === "empty") ask("empty", {});
  });
  // Escape closes the dialog and nothing else.
  confirmation.addEventListener("keydown", (event) => {
    if (event.key === "Escape") event.stopPropagation();
  });

  function confirmEmptying() {
    const count = document.querySelectorAll("#trash li").length;
    const notes = count === 1 ? "the note" : `all ${count} notes`;
    confirmation.querySelector("p").textContent = `Remove ${notes} in the trash? This can't be undone.`;
    confirmation.returnValue = "";
    confirmation.showModal();
  }

  function closeChip(event) {
    const chip = document.querySelector("#index-chip details[open]");
    if (chip && !(event.type === "click" && chip.contains(event.target))) chip.open = false;
  }

  function onClick(event) {
    closeChip(event);
    const pressed = (selector) => event.target.closest(selector);
    const row = pressed("#notes button[value]");
    const restore = pressed("#trash [data-restore]");
    const note = title()?.dataset;
    if (row) open(row.value);
    else if (restore) ask("restore", { key: restore.dataset.restore });
    else if (pressed("#trash [data-empty-trash]")) confirmEmptying();
    else if (pressed("#close-note")) goesBack = true;
    else if (note && pressed("#save, #keep-mine, #delete")) {
      saving = { note: note.note, text: box().value };
    } else if (note && pressed("#discard, #use-theirs")) forget(note.note);
  }

  function onInput(event) {
    const note = title()?.dataset;
    if (note?.kind === "text" && event.target === box()) {
      keep(note.note, event.target.value, note.hash);
    }
  }

  // The preview goes along with the text, as far down as that is.
  function follow() {
    const [text, preview] = [box(), document.querySelector("#preview")];
    if (!text || !preview) return;
    const share = text.scrollTop / (text.scrollHeight - text.clientHeight || 1);
    preview.scrollTop = share * (preview.scrollHeight - preview.clientHeight);
  }

  function onKey(event) {
    if (event.key === "Escape") closeChip(event);
    const save = document.querySelector("#save");
    if (event.key !== "s" || !(event.ctrlKey || event.metaKey) || !save?.offsetParent) return;
    event.preventDefault();
    save.click();
  }

  document.addEventListener("tutor:note-shown", onShown);
  document.addEventListener("tutor:notes-listed", onListed);
  document.addEventListener("click", onClick);
  document.addEventListener("input", onInput, { capture: true });
  document.addEventListener("tutor:note-previewed", () => requestAnimationFrame(follow));
  const ofText = (event) => event.target === box() && follow();
  document.addEventListener("scroll", ofText, { capture: true });
  document.addEventListener("keydown", onKey);
  addEventListener("beforeunload", (event) => {
    if (noRoom.size) event.preventDefault();
  });
}
