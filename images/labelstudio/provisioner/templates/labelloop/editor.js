// What the labelling page does beside what Label Studio does by itself. Without it:
// - a drag that begins inside a box moves that box, also with a label chosen to draw with;
// - boxes have no names until each person finds the setting;
// - the second-best label of a box is told only beside a box that is selected;
// - nobody is told a key, nor how far the project is.
// It reads objects of Label Studio's. Where one is missing, the page works as it would without this script.
(() => {
  "use strict";
  const DRAG_PX = 4;
  const LOOK_MS = 1000;
  const PROGRESS_MS = 60000;
  const keys = JSON.parse(document.getElementById("labelloop-keys").textContent);
  const remembered = {
    get(name) { try { return localStorage.getItem(name); } catch { return ""; } },
    set(name, value) { try { localStorage.setItem(name, value); } catch { /* A browser that keeps nothing. */ } },
  };

  // Names on boxes, in a browser that has no settings of the editor yet: a person's own are kept in this place.
  if (remembered.get("labelStudio:settings") === null) {
    remembered.set("labelStudio:settings", JSON.stringify({ showLabels: true }));
  }

  // The box under the pointer, as the event finds it; null where there is none.
  function boxUnder(event) {
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
    return region ? { annotation, region, shape, tool: image.getToolsManager().findSelectedTool() } : null;
  }

  // Ctrl and a drag draw over a box, in Label Studio: from where the press began.
  function drawFrom(press) {
    const { clientX, clientY, screenX, screenY, view, target } = press;
    const place = { clientX, clientY, screenX, screenY, view, bubbles: true, cancelable: true };
    target.dispatchEvent(new MouseEvent("mousedown", { ...place, buttons: 1, ctrlKey: true }));
  }

  // A box that is not selected stays where it is; a click selects it. With a label chosen and nothing selected,
  // the drag draws. The move tool moves what it gets.
  function hold(press) {
    if (press.button > 0 || press.ctrlKey || press.metaKey || press.shiftKey) return;
    const { annotation, region, shape, tool } = boxUnder(press) ?? {};
    if (!region || region.inSelection || annotation.isReadOnly() || tool?.fullName === "MoveTool") return;
    shape.draggable(false);
    const mouse = press.type === "mousedown";
    const draws =
      mouse && tool?.isDrawingTool && !annotation.hasSelection && !tool.isIncorrectLabel() && !tool.isIncorrectControl();
    const move = (moved) => {
      if (Math.hypot(moved.clientX - press.clientX, moved.clientY - press.clientY) < DRAG_PX) return;
      removeEventListener("mousemove", move, true);
      drawFrom(press);
    };
    if (draws) addEventListener("mousemove", move, true);
    const release = () => {
      removeEventListener("mousemove", move, true);
      // Once Label Studio has seen the event, too.
      setTimeout(() => { if (shape.getStage()) shape.draggable(!region.isReadOnly()); });
    };
    addEventListener(mouse ? "mouseup" : "touchend", release, { capture: true, once: true });
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

  // How far the project is: the trainer keeps it in the description.
  const progress = element("span", "font-size:13px;white-space:nowrap;overflow:hidden;text-overflow:ellipsis");
  progress.id = "labelloop-progress";
  let asked = -Infinity;
  function tellProgress() {
    const header = document.querySelector(".lsf-menu-header__context-item_right > *");
    if (header && !progress.isConnected && innerWidth > 1000) header.prepend(progress);
    const project = location.pathname.match(/^\/projects\/(\d+)\//)?.[1];
    if (!project || document.hidden || performance.now() - asked < PROGRESS_MS) return;
    asked = performance.now();
    fetch(`${window.APP_SETTINGS?.hostname ?? ""}/api/projects/${project}/?include=description`)
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
    tellKeys();
    tellProgress();
  }, LOOK_MS);
})();
