// Brings the editor into view where it stands below the list.
() => {
  document.addEventListener("click", (event) => {
    if (!event.target.closest("#notes button")) return;
    document.querySelector("#note-editor").scrollIntoView({ behavior: "smooth" });
  });
}
