// The theme, which this browser keeps: system, light or dark.
() => {
  const KEY = "rag-tutor-theme";
  const system = matchMedia("(prefers-color-scheme: dark)");

  function show() {
    const theme = localStorage.getItem(KEY) ?? "system";
    const isDark = theme === "system" ? system.matches : theme === "dark";
    document.body.classList.toggle("dark", isDark);
    document.documentElement.style.colorScheme = isDark ? "dark" : "light";
  }

  document.addEventListener("tutor:theme", (event) => {
    localStorage.setItem(KEY, event.detail);
    show();
  });
  // Gradio sets its own guess when it starts, and when the system's theme changes.
  new MutationObserver(show).observe(document.body, { attributeFilter: ["class"] });
  system.addEventListener("change", show);
  addEventListener("storage", show); // another window has chosen
  show();
}
