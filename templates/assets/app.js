// Makes pages nicer and is needed by none: j/k mails and rows, n/p remarks (files where there are none), f/F files, / search,
// ? help; copy buttons; the strip of versions begins at the shown one.
(() => {
  "use strict";
  const all = (what) => [...document.querySelectorAll(what)];
  const step = (what, by) => {
    const places = all(what).filter((p) => p.offsetParent !== null || p.closest("details:not([open])"));
    if (!places.length) return;
    const last = places.findLastIndex((p) => p.getBoundingClientRect().top < 20);
    const own = places.findIndex((p) => p.contains(document.activeElement));
    const at = own >= 0 && what !== ".file" && what !== ".remark" ? own : last;
    const goal = places[Math.min(places.length - 1, Math.max(0, at + by))];
    for (let box = goal.parentElement; (box = box?.closest("details")); box = box.parentElement) box.open = true;
    goal.scrollIntoView({ block: goal.tagName === "LI" ? "nearest" : "start", behavior: "instant" });
    (goal.querySelector(":scope > summary, a.title") || goal).focus({ preventScroll: true });
  };
  const remarks = all(".remark").length ? ".remark" : ".file";
  const keys = {
    j: () => step(".post, .rows > li", 1),
    k: () => step(".post, .rows > li", -1),
    n: () => step(remarks, 1),
    p: () => step(remarks, -1),
    f: () => step(".file", 1),
    F: () => step(".file", -1),
    "/": () => document.querySelector(".find input")?.focus(),
    "?": () => document.querySelector('nav a[href$="/help/"]')?.click(),
  };
  document.addEventListener("keydown", (e) => {
    if (e.ctrlKey || e.metaKey || e.altKey || e.target.closest("input, textarea, select")) return;
    const act = keys[e.key];
    if (act) {
      e.preventDefault();
      act();
    }
  });
  const shown = document.querySelector(".versions .current");
  if (shown) shown.parentElement.scrollLeft = shown.offsetLeft - shown.parentElement.clientWidth / 2;
  if (!navigator.clipboard) return;
  for (const block of all("pre.cmd")) {
    const box = document.createElement("div");
    box.className = "cmdbox";
    block.replaceWith(box);
    const button = document.createElement("button");
    button.type = "button";
    button.className = "copy";
    button.textContent = "Copy";
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(block.textContent.trim());
      button.textContent = "Copied";
      setTimeout(() => (button.textContent = "Copy"), 2000);
    });
    box.append(block, button);
  }
})();
