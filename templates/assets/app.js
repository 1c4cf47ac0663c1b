// Keyboard: j/k next and previous mail, / search. Commands are copied with a click. Pages work without this file.
(() => {
  "use strict";
  const posts = () => [...document.querySelectorAll(".post, .threads li")];
  const step = (by) => {
    const all = posts();
    const top = all.findIndex((p) => p.getBoundingClientRect().top > 4);
    const at = by > 0 ? (top < 0 ? all.length - 1 : top) : Math.max(0, (top < 0 ? all.length : top) - 2);
    const goal = all[at];
    if (goal) {
      goal.scrollIntoView();
      const link = goal.querySelector("a");
      if (link) link.focus({ preventScroll: true });
    }
  };
  document.addEventListener("keydown", (e) => {
    if (e.ctrlKey || e.metaKey || e.altKey || /^(INPUT|TEXTAREA|SELECT)$/.test(e.target.tagName)) return;
    if (e.key === "j") step(1);
    else if (e.key === "k") step(-1);
    else if (e.key === "/") {
      const field = document.querySelector(".find input");
      if (field) { e.preventDefault(); field.focus(); }
    }
  });
  for (const block of document.querySelectorAll("pre.cmd")) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = "Copy";
    button.className = "copy";
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(block.textContent.trim());
      button.textContent = "Copied";
    });
    if (navigator.clipboard) block.after(button);
  }
})();
