"use strict";
// Keys for the page of crops, which works without them: a letter marks a crop, Enter answers the page, Z takes the last back.
// It also measures how long the page was looked at. The page waits for this file, so that no key is lost to one that is
// shown already.

let looked = 0;
let since = document.hidden ? null : performance.now();
document.addEventListener("visibilitychange", () => {
  if (since !== null) looked += performance.now() - since;
  since = document.hidden ? null : performance.now();
});

const form = () => document.getElementById("crops");
const ticks = () => [...(form()?.querySelectorAll("input[type=checkbox]") ?? [])];

function count() {
  const but = document.getElementById("but");
  if (!but) return;
  const marked = ticks().filter((tick) => tick.checked).length;
  but.textContent = marked ? `but ${marked}` : "";
}

// How many crops stand in a line: as many as are as high as the first.
function perLine(all) {
  const top = all[0].closest("li").offsetTop;
  const below = all.findIndex((tick) => tick.closest("li").offsetTop > top);
  return below < 0 ? all.length : below;
}

function step(key) {
  const all = ticks();
  if (!all.length) return;
  const at = all.indexOf(document.activeElement);
  const by = { arrowleft: -1, arrowright: 1, arrowup: -perLine(all), arrowdown: perLine(all) }[key];
  const next = at < 0 ? 0 : at + by;
  (all[next] ?? all[at]).focus();
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey || event.repeat) return;
  if (event.target.closest("select, textarea, input:not([type=checkbox])")) return;
  const key = event.key.toLowerCase();
  if (key.startsWith("arrow")) {
    if (!form()) return;
    event.preventDefault();
    return step(key);
  }
  if (key === "enter" && event.target.closest("a, button, summary")) return;
  const target = document.querySelector(`[data-key="${CSS.escape(key)}"]`);
  if (!target) return;
  event.preventDefault();
  target.click();
});
document.addEventListener("change", count);
document.addEventListener("submit", (event) => {
  if (event.target !== form()) return;
  if (form().dataset.sent) return event.preventDefault(); // a second Enter before the next page is there
  form().dataset.sent = "yes";
  form().elements.seconds.value = ((looked + (since === null ? 0 : performance.now() - since)) / 1000).toFixed(1);
});
addEventListener("pageshow", (event) => {
  if (event.persisted) location.reload(); // the page was answered: back to what is before the person now
});
document.addEventListener("DOMContentLoaded", count);
