// What the labelling page does beside what Label Studio does by itself. Without it:
// - a drag that begins inside a box moves that box, also with a label chosen to draw with;
// - boxes have no names until each person finds the setting;
// - the second-best label of a box is told only beside a box that is selected;
// - nobody is told a key, nor how far the project is;
// - a click with a label chosen begins a box that the next click ends, where ours fetches the object's box.
// It reads objects of Label Studio's. Where one is missing, the page works as it would without this script.
(() => {
  "use strict";
  const DRAG_PX = 4;
  const SEED_PX = 8;
  const AGAIN_PX = 12;
  const LOOK_MS = 1000;
  const PROGRESS_MS = 60000;
  const NOTE_MS = 5000;
  const keys = JSON.parse(document.getElementById("labelloop-keys").textContent);
  const remembered = {
    get(name) { try { return localStorage.getItem(name); } catch { return ""; } },
    set(name, value) { try { localStorage.setItem(name, value); } catch { /* A browser that keeps nothing. */ } },
  };

  // Names on boxes, in a browser that has no settings of the editor yet: a person's own are kept in this place.
  if (remembered.get("labelStudio:settings") === null) {
    remembered.set("labelStudio:settings", JSON.stringify({ showLabels: true }));
  }

  // What is under the pointer, as the event finds it: the image, and the box on it or undefined. Null outside.
  function under(event) {
    const annotation = window.Htx?.annotationStore?.selected;
    const image = [...(annotation?.names?.values() ?? [])].find(
      (tag) => tag.stageRef?.container?.()?.contains(event.target),
    );
    if (!image) return null;
    image.stageRef.setPointersPositions(event);
    const shape = image.stageRef.getIntersection(image.stageRef.getPointerPosition());
    const region = annotation.regions.find(
      (one) => one.type === "rectangleregion" && shape?.name?.().startsWith(`${one.id} `),
    );
    return { annotation, image, region, shape, tool: image.getToolsManager().findSelectedTool() };
  }

  // A mouse event of ours, by so many pixels from where the press was.
  function send(type, press, by, more) {
    const { clientX, clientY, screenX, screenY, view, target } = press;
    const place = { clientX: clientX + by, clientY: clientY + by, screenX: screenX + by, screenY: screenY + by };
    target.dispatchEvent(new MouseEvent(type, { ...place, view, bubbles: true, cancelable: true, ...more }));
  }

  // Ctrl and a drag draw over a box, in Label Studio: from where the press began.
  const drawFrom = (press) => send("mousedown", press, 0, { buttons: 1, ctrlKey: true });

  const apart = (one, other) => Math.hypot(one.clientX - other.clientX, one.clientY - other.clientY);

  // A box that is not selected stays where it is; a click selects it. With a label chosen and nothing selected,
  // a drag draws, and a click fetches the object's box. The move tool moves what it gets.
  function hold(press) {
    if (press.button > 0 || press.ctrlKey || press.metaKey || press.shiftKey) return;
    const found = under(press);
    if (!found) return;
    const { annotation, region, shape, tool } = found;
    const mouse = press.type === "mousedown";
    const draws = mouse && tool?.isDrawingTool && !tool.isDrawing && !annotation.isReadOnly() &&
      !annotation.hasSelection && !tool.isIncorrectLabel() && !tool.isIncorrectControl();
    const box = draws && tool.control?.type === "rectanglelabels" ? fetching(found, press) : null;
    const held = region && !region.inSelection && !annotation.isReadOnly() && tool?.fullName !== "MoveTool";
    if (held) shape.draggable(false);
    if (!held && !box) return;
    const move = (moved) => {
      if (apart(moved, press) < DRAG_PX) return;
      removeEventListener("mousemove", move, true);
      drawFrom(press);
    };
    if (held && draws) addEventListener("mousemove", move, true);
    const release = (released) => {
      removeEventListener("mousemove", move, true);
      if (box && apart(released, press) < DRAG_PX) box();
      // Once Label Studio has seen the event, too.
      if (held) setTimeout(() => { if (shape.getStage()) shape.draggable(!region.isReadOnly()); });
    };
    addEventListener(mouse ? "mouseup" : "touchend", release, { capture: true, once: true });
  }

  // By project, the number of its connection to our backend, null where it has none that answers clicks.
  const backends = new Map();
  const projectOfPage = () => location.pathname.match(/^\/projects\/(\d+)\//)?.[1];
  const api = (path) => `${window.APP_SETTINGS?.hostname ?? ""}/api/${path}`;
  function findBackend(project) {
    if (!project || backends.has(project)) return;
    backends.set(project, null);
    fetch(api(`projects/${project}/?include=ml_backends`))
      .then((answer) => answer.json())
      .then(({ ml_backends: every }) => {
        const ours = (every ?? []).find(({ interactive, title }) => interactive && title === "labelloop");
        backends.set(project, ours?.id ?? null);
      })
      .catch(() => backends.delete(project));
  }

  // The last box that a click fetched, for a click at the same place to fetch another size.
  let last = null;

  // What a click at the press shall do; null where it is Label Studio's.
  function fetching({ annotation, region, tool }, press) {
    const backend = backends.get(projectOfPage());
    if (!backend || tool.control.smart === false) return null;
    if (region && tool.dynamic) return null;
    if (region) {
      const same = last?.id === region.id && last.annotation === annotation.id && apart(last.press, press) < AGAIN_PX;
      const labels = region.results[0]?.mainValue ?? [];
      const chosen = tool.control.selectedValues?.() ?? [];
      if (!same || region.origin !== "prediction" || String(labels) !== String(chosen)) return null;
      return () => ask(annotation, backend, region, last.point, last.again + 1, last.press);
    }
    return () => {
      const before = new Set(annotation.regions.map(({ id }) => id));
      // Label Studio's tool draws the box that the answer replaces, so that labels and undo are as ever.
      send("mousemove", press, SEED_PX, { buttons: 1 });
      send("mouseup", press, SEED_PX, {});
      if (tool.dynamic) return; // Label Studio's smart tool asks itself.
      const made = annotation.regions.find(({ id }) => !before.has(id));
      if (made) ask(annotation, backend, made, null, 0, press);
    };
  }

  async function ask(annotation, backend, region, point, again, press) {
    const { id } = region;
    const asSubmitted = () => annotation.serializeAnnotation().find((one) => one.id === id);
    const drawn = asSubmitted();
    if (!drawn) return;
    const { x, y } = point ?? drawn.value;
    const hint = { ...drawn, id, type: "keypointlabels", value: { x, y, width: 0.5, keypointlabels: drawn.value.rectanglelabels } };
    last = null;
    const body = JSON.stringify({ task: Number(window.Htx.task.id), context: { result: [hint], again } });
    let answer = null;
    try {
      const headers = { "Content-Type": "application/json" };
      answer = await (await fetch(api(`ml/${backend}/interactive-annotating`), { method: "POST", headers, body })).json();
    } catch (error) {
      console.warn("labelloop: no box for a click:", error);
    }
    const box = answer?.data?.result?.[0];
    // What she has moved, relabelled or deleted meanwhile is hers.
    if (JSON.stringify(asSubmitted()?.value) !== JSON.stringify(drawn.value)) return;
    if (!box) {
      if (again === 0) region.deleteRegion();
      tell("The model does not answer; drag to draw the box.");
      return;
    }
    annotation.history.setReplaceNextUndoState(true);
    annotation.setSuggestions([{ ...box, id }]);
    annotation.acceptAllSuggestions();
    last = { id, annotation: annotation.id, point: { x, y }, again, press };
  }

  for (const press of ["mousedown", "touchstart"]) {
    addEventListener(press, (event) => {
      if (!event.isTrusted) return;
      try { hold(event); } catch (error) { console.warn("labelloop: boxes are not held:", error); }
    }, true);
  }

  // A proposed box whose second-best label is close names that one and its key, as long as it has its first label.
  // What is read is what labelloop/runner_up.py writes.
  const named = new WeakSet();
  function nameRunnersUp(annotation) {
    if (annotation.pk && annotation.type !== "prediction") return;
    for (const region of annotation.regions) {
      const name = /^or (.+), \d\.\d\d$/s.exec([region.meta?.text ?? []].flat()[0])?.[1];
      if (!name || named.has(region)) continue;
      named.add(region);
      const { getLabelText, labeling } = region;
      const label = labeling.getSelectedString();
      const key = labeling.from_name.findLabel(name)?.hotkey;
      const words = `, or ${name}${key ? ` [${key}]` : ""}`;
      const value = (join) => getLabelText(join) + (labeling.getSelectedString() === label ? words : "");
      Object.defineProperty(region, "getLabelText", { configurable: true, value });
      for (const highlighted of [true, false]) region.setHighlight(highlighted);  // Which draws it anew.
    }
  }

  function element(tag, style, ...children) {
    const made = document.createElement(tag);
    made.style.cssText = style;
    made.append(...children);
    return made;
  }

  // The keys, once for each person in a browser, below the image, until she has read them.
  const seen = `labelloop:keys:${window.APP_SETTINGS?.user?.id}`;
  let bar = null;
  function tellKeys() {
    if (bar || remembered.get(seen) !== null) return;
    const mac = navigator.platform.includes("Mac");
    const line = keys.map(([key, onMac, does]) =>
      element("span", "white-space:nowrap", element("b", "", mac ? onMac : key), ` ${does}`));
    const close = element("button", "border:1px solid #fff;border-radius:4px;padding:2px 10px;white-space:nowrap", "Got it");
    close.onclick = () => { remembered.set(seen, "1"); bar.remove(); };
    bar = element("aside",
      "position:fixed;left:12px;right:12px;bottom:60px;z-index:400;display:flex;flex-wrap:wrap;gap:4px 18px;" +
      "align-items:center;padding:10px 14px;border-radius:8px;background:#1f2937;color:#fff;font-size:13px;" +
      "max-width:932px", ...line, close);
    bar.id = "labelloop-keys-bar";
    document.body.append(bar);
  }

  // A sentence for some seconds, above the line of keys.
  function tell(words) {
    const note = element("aside",
      "position:fixed;left:12px;bottom:12px;z-index:401;padding:10px 14px;border-radius:8px;background:#1f2937;" +
      "color:#fff;font-size:13px", words);
    note.id = "labelloop-note";
    note.setAttribute("role", "status");
    document.getElementById(note.id)?.remove();
    document.body.append(note);
    setTimeout(() => note.remove(), NOTE_MS);
  }

  // How far the project is: the trainer keeps it in the description.
  const progress = element("span", "font-size:13px;white-space:nowrap;overflow:hidden;text-overflow:ellipsis");
  progress.id = "labelloop-progress";
  let asked = -Infinity;
  function tellProgress() {
    const header = document.querySelector(".lsf-menu-header__context-item_right > *");
    if (header && !progress.isConnected && innerWidth > 1000) header.prepend(progress);
    const project = projectOfPage();
    if (!project || document.hidden || performance.now() - asked < PROGRESS_MS) return;
    asked = performance.now();
    fetch(api(`projects/${project}/?include=description`))
      .then((answer) => answer.json())
      .then(({ description }) => {
        progress.textContent = /^\d+ of \d+ images? labelled[^.]*/.exec(description ?? "")?.[0] ?? "";
      })
      .catch(() => {});
  }

  setInterval(() => {
    const tags = [...(window.Htx?.annotationStore?.selected?.names?.values() ?? [])];
    const labelling = document.querySelector(".konvajs-content") && tags.some((tag) => tag.type === "rectanglelabels");
    if (bar) bar.style.display = labelling ? "flex" : "none";
    progress.hidden = !labelling;
    if (!labelling) return;
    try { nameRunnersUp(window.Htx.annotationStore.selected); } catch (error) { console.warn("labelloop: second-best labels:", error); }
    findBackend(projectOfPage());
    tellKeys();
    tellProgress();
  }, LOOK_MS);
})();
