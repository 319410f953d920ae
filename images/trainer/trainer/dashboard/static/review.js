"use strict";
// Keys for the page of doubts, which works without them: a letter presses the button of the doubt that is marked. The page
// waits for this file, so that no key is lost to one that is shown already.

function doubts() {
  return [...document.querySelectorAll(".doubt:has(form)")];
}

function mark(doubt, scroll = true) {
  for (const other of document.querySelectorAll(".doubt.current")) other.classList.remove("current");
  if (!doubt) return;
  doubt.classList.add("current");
  if (!scroll) return;
  doubt.closest(".suspects > li").scrollIntoView({ block: "nearest" });
  doubt.scrollIntoView({ block: "nearest" });
}

function step(by) {
  const all = doubts();
  const at = all.findIndex((doubt) => doubt.classList.contains("current"));
  mark(all[Math.min(Math.max(at + by, 0), all.length - 1)]);
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey || event.repeat) return;
  if (event.target.closest("select, input, textarea")) return;
  const key = event.key.toLowerCase();
  if (key === "n" || key === "p") return step(key === "n" ? 1 : -1);
  const scope = key === "u" ? document : document.querySelector(".doubt.current");
  scope?.querySelector(`[data-key="${CSS.escape(key)}"]`)?.click();
});
document.addEventListener("focusin", (event) => {
  const doubt = event.target.closest(".doubt:has(form)");
  if (doubt) mark(doubt, false); // what moves under a mouse that is pressed gets no click
});
document.addEventListener("DOMContentLoaded", () => {
  const asked = location.hash.startsWith("#doubt-") ? document.getElementById(location.hash.slice(1)) : null;
  if (asked) mark(asked);
  else doubts()[0]?.classList.add("current");
});
