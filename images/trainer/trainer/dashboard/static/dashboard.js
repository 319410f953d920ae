"use strict";
// The pages work without this. It keeps what is marked data-poll fresh, says aloud when a round's state changes, keeps logs
// at their end, applies a form marked data-instant while its controls are moved, shows times in the reader's zone, and says
// what the glossary's words mean where they stand.

const EVERY_MS = 2000;

function announce(before, after) {
  const line = document.getElementById("announcement");
  if (line && after && before !== after) line.textContent = after;
}

// A chart stays until its successor is there; one from the same address stays, with the newer words.
function keepPictures(old, part) {
  const shown = [...old.querySelectorAll("picture")];
  [...part.querySelectorAll("picture")].forEach((fresh, index) => {
    const kept = shown[index];
    if (!kept) return;
    const next = document.importNode(fresh, true).querySelector("img");
    const image = kept.querySelector("img");
    fresh.replaceWith(kept);
    image.alt = next.alt;
    const address = next.getAttribute("src");
    if ((kept.dataset.wanted ?? image.getAttribute("src")) === address) return;
    kept.dataset.wanted = address;
    const swap = () => kept.replaceWith(next.parentNode);
    next.decode().then(swap, swap);
  });
}

function replaceParts(box, html) {
  const fresh = new DOMParser().parseFromString(html, "text/html").body;
  const spoken = box.querySelector("[data-announce]")?.dataset.announce;
  const kept = new Map([...box.children].map((part) => [part.id, part]));
  const parts = [...fresh.children].map((part) => {
    const old = kept.get(part.id);
    if (!old || old.dataset.html === part.outerHTML) return old ?? part;
    part.dataset.html = part.outerHTML;
    keepPictures(old, part);
    for (const details of old.querySelectorAll("details[open]")) {
      const name = details.querySelector("summary").textContent;
      for (const other of part.querySelectorAll("details"))
        if (other.querySelector("summary").textContent === name) other.open = true;
    }
    return part;
  });
  if (parts.some((part, index) => box.children[index] !== part) || parts.length !== box.children.length) {
    const focused = box.contains(document.activeElement) && document.activeElement.getAttribute("href");
    box.replaceChildren(...parts);
    if (focused) box.querySelector(`a[href="${CSS.escape(focused)}"]`)?.focus();
  }
  announce(spoken, box.querySelector("[data-announce]")?.dataset.announce);
  follow(box);
}

function follow(root) {
  for (const log of root.querySelectorAll("[data-follow]"))
    if (document.activeElement !== log) log.scrollTop = log.scrollHeight;
}

async function poll(box) {
  if (!document.hidden) {
    const lost = document.getElementById("connection");
    try {
      const answer = await fetch(box.dataset.poll, { signal: AbortSignal.timeout(30000) });
      if (answer.status === 401) return location.reload();
      if (!answer.ok) throw new Error(answer.status);
      replaceParts(box, await answer.text());
      if (lost) lost.hidden = true;
      if (box.dataset.then && box.querySelector("[data-settled]")) return await renew(box.dataset.then);
    } catch {
      if (lost) lost.hidden = false;
    }
  }
  setTimeout(poll, EVERY_MS, box);
}

// Work is over: a part of the page is fetched anew, with its results.
async function renew(id) {
  const answer = await fetch(location.href);
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
  document.getElementById(id).replaceWith(document.importNode(fresh.getElementById(id), true));
}

async function apply(form) {
  const box = document.getElementById(form.dataset.instant);
  form.latest?.abort();
  form.latest = new AbortController();
  try {
    const query = new URLSearchParams(new FormData(form));
    const answer = await fetch(`${form.dataset.part}?${query}`, { signal: form.latest.signal });
    if (answer.ok) box.innerHTML = await answer.text();
  } catch {
    // A newer position of the control has taken over, or the next one will.
  }
}

for (const box of document.querySelectorAll("[data-poll]")) {
  for (const part of box.children) part.dataset.html = part.outerHTML;
  setTimeout(poll, EVERY_MS, box);
}
for (const form of document.querySelectorAll("form[data-instant]")) form.addEventListener("input", () => apply(form));
document.addEventListener("toggle", (event) => event.target.open && follow(event.target), true);
follow(document);

// Times come in UTC.
const ZONE = Intl.DateTimeFormat().resolvedOptions().timeZone;

function inZone(iso) {
  const at = new Date(iso);
  const two = (number) => String(number).padStart(2, "0");
  const day = [at.getFullYear(), two(at.getMonth() + 1), two(at.getDate())].join("-");
  return `${day} ${two(at.getHours())}:${two(at.getMinutes())}`;
}

function showTimes(root) {
  for (const time of root.querySelectorAll("time[datetime]:not([title])")) {
    const utc = time.textContent;
    time.textContent = inZone(time.dateTime);
    time.title = `${time.textContent} ${ZONE}, ${utc}`;
  }
}

// A .term shows its title beside it while it has the focus or the mouse, and by a tap. Enter, a click or a second tap leads to
// the glossary.
const tip = document.createElement("p");
Object.assign(tip, { id: "tip", className: "tip", role: "tooltip", hidden: true });
document.body.append(tip);
let explained = null;
let tapped = null;

function explain(term) {
  if (term === explained) return;
  if (explained) {
    explained.title = tip.textContent;
    explained.removeAttribute("aria-describedby");
  }
  explained = term;
  tip.hidden = !term;
  if (!term) return;
  tip.textContent = term.title;
  term.removeAttribute("title"); // the browser's own tooltip would stand there too
  term.setAttribute("aria-describedby", "tip");
  placeTip();
}

function placeTip() {
  if (!explained) return;
  if (!explained.isConnected) return explain(null);
  const word = explained.getBoundingClientRect();
  const left = Math.min(word.left, innerWidth - tip.offsetWidth - 8);
  const below = word.bottom + tip.offsetHeight < innerHeight;
  tip.style.left = `${Math.max(8, left)}px`;
  tip.style.top = `${below ? word.bottom : word.top - tip.offsetHeight}px`;
}

const termAt = (event) => event.target.closest?.(".term") ?? null;
document.addEventListener("focusin", (event) => explain(termAt(event)));
document.addEventListener("focusout", () => explain(null));
document.addEventListener("pointerover", (event) => {
  if (event.pointerType === "mouse" && event.target !== tip) explain(termAt(event) ?? document.activeElement?.closest(".term"));
});
document.addEventListener("pointerdown", (event) => {
  tapped = event.pointerType === "mouse" ? null : termAt(event);
  if (tapped && tapped === explained) tapped = null;
  else if (!tapped && event.target !== tip) explain(null);
});
document.addEventListener("click", (event) => {
  if (tapped && termAt(event) === tapped) {
    event.preventDefault();
    explain(tapped);
  }
  tapped = null;
});
document.addEventListener("keydown", (event) => event.key === "Escape" && explain(null));
addEventListener("scroll", placeTip, { passive: true, capture: true });

document.getElementById("zone")?.replaceChildren(`Times are in the zone ${ZONE}.`);
showTimes(document);
new MutationObserver(() => {
  showTimes(document);
  placeTip();
}).observe(document.body, { childList: true, subtree: true });
