"""A person's hand in Label Studio's editor: mouse and keys, each of them counted."""

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from bench.desk_plan import Step, What, Why
from playwright.sync_api import Page

Point = tuple[float, float]

PATIENCE_S = 30.0
FIT = "Shift+Digit1"
"""Label Studio's key for zooming until the image fits."""
LISTED = ".lsf-outliner-item"
"""A region in the list beside the image."""
SETTLE_MS = 150
"""What a person waits for anyway: the editor draws a box's new state."""

_STATE = """() => {
  const annotation = window.Htx?.annotationStore?.selected;
  const image = annotation?.names?.get("image");
  if (!image?.imageIsLoaded && !image?.stageRef) return null;
  return {
    task: window.Htx.task?.id ?? null,
    regions: annotation.regionStore.regions.map(r => ({id: r.id, x: r.x, y: r.y, width: r.width,
      height: r.height, label: r.labels[0] ?? null, selected: r.selected || r.inSelection})),
  };
}"""
_PLACE = """([x, y]) => {
  const image = window.Htx.annotationStore.selected.names.get("image");
  const frame = image.stageRef.container().getBoundingClientRect();
  const at = image.stageRef.getAbsoluteTransform().point(
    {x: x / 100 * image.stageWidth, y: y / 100 * image.stageHeight});
  return [frame.left + at.x, frame.top + at.y];
}"""
_SEEN = """([x, y]) => {
  const image = window.Htx.annotationStore.selected.names.get("image");
  const frame = image.stageRef.container().getBoundingClientRect();
  const at = image.stageRef.getAbsoluteTransform().point(
    {x: x / 100 * image.stageWidth, y: y / 100 * image.stageHeight});
  return at.x >= -1 && at.y >= -1 && at.x <= frame.width + 1 && at.y <= frame.height + 1;
}"""


@dataclass
class Hand:
    """Labels in one page. keys: by label, its key. actions: how many clicks, drags and keys, by why."""

    page: Page
    keys: tuple[str, ...]
    actions: Counter[Why] = field(default_factory=Counter)

    def state(self) -> dict[str, Any] | None:
        """The task's id and its regions (percent of the image); None while there is no image."""
        found: dict[str, Any] | None = self.page.evaluate(_STATE)
        return found

    def regions(self) -> list[dict[str, Any]]:
        found = self.state()
        assert found is not None, "no image in the editor"
        return list(found["regions"])

    def click(self, at: Point, why: Why) -> None:
        self.actions[why] += 1
        self.page.mouse.click(*self._place(at))
        self.page.wait_for_timeout(SETTLE_MS)

    def press(self, key: str, why: Why) -> None:
        self.actions[why] += 1
        self.page.keyboard.press(key)
        self.page.wait_for_timeout(SETTLE_MS)

    def drag(self, start: Point, end: Point, why: Why, holding: str | None = None) -> None:
        """One action, with a key held or without."""
        self.actions[why] += 1
        (x1, y1), (x2, y2) = self._place(start), self._place(end)
        if holding:
            self.page.keyboard.down(holding)
        self.page.mouse.move(x1, y1)
        self.page.mouse.down()
        self.page.mouse.move((x1 + x2) / 2, (y1 + y2) / 2, steps=4)
        self.page.mouse.move(x2, y2, steps=4)
        self.page.mouse.up()
        if holding:
            self.page.keyboard.up(holding)
        self.page.wait_for_timeout(SETTLE_MS)

    def do(self, step: Step, region: str | None, size: tuple[int, int]) -> None:
        """One step. region: the id of the box that it is about. size: the image's, in pixels.

        The editor may show the image too large by a little; who has to reach what is cut off fits it first.
        """
        x1, y1, x2, y2 = _percent(step.box, size)
        if not (self.page.evaluate(_SEEN, [x1, y1]) and self.page.evaluate(_SEEN, [x2, y2])):
            self.press(FIT, Why.VIEW)
        match step.what:
            case What.DRAW:
                self._draw(step, size)
            case What.DELETE:
                self._select(region, step.why)
                self.press("Backspace", step.why)
            case What.RELABEL:
                self._select(region, step.why)
                self.press(self.keys[step.label], step.why)
                self.press("Escape", step.why)
            case What.MOVE:
                self._move(step, region, size)
            case What.RESIZE:
                self._resize(step, region, size)

    def _draw(self, step: Step, size: tuple[int, int]) -> None:
        x1, y1, x2, y2 = _percent(step.box, size)
        rows = self.regions()
        inside = any(_holds(row, (x1, y1)) for row in rows)
        if any(row["selected"] for row in rows):  # else the key would change that one's label
            self.press("Escape", step.why)
        self.press(self.keys[step.label], step.why)
        self.drag((x1, y1), (x2, y2), step.why, holding="Control" if inside else None)

    def _move(self, step: Step, region: str | None, size: tuple[int, int]) -> None:
        """Selects it first: a box that is not selected may stay where it is."""
        self._select(region, step.why)
        row = self._row(region)
        x1, y1, x2, y2 = _percent(step.box, size)
        at, _ = self._point(row)
        by = (x1 + x2 - 2 * row["x"] - row["width"]) / 2, (y1 + y2 - 2 * row["y"] - row["height"]) / 2
        self.drag(at, (at[0] + by[0], at[1] + by[1]), step.why)

    def _resize(self, step: Step, region: str | None, size: tuple[int, int]) -> None:
        """Draws the corners that are out of place to where they belong."""
        self._select(region, step.why)
        x1, y1, x2, y2 = _percent(step.box, size)
        row = self._row(region)
        near = 1.5  # percent
        if abs(row["x"] - x1) > near or abs(row["y"] - y1) > near:
            self.drag((row["x"], row["y"]), (x1, y1), step.why)
            row = self._row(region)
        end = row["x"] + row["width"], row["y"] + row["height"]
        if abs(end[0] - x2) > near or abs(end[1] - y2) > near:
            self.drag(end, (x2, y2), step.why)

    def _select(self, region: str | None, why: Why) -> None:
        """By a click where no other box is; without such a place, or with another box above it, by a click in
        the list of regions.
        """
        row = self._row(region)
        point, free = self._point(row)
        if free:
            self.click(point, why)
            if self._row(region)["selected"]:
                return
        self.actions[why] += 1
        ids = [other["id"] for other in self.regions()]
        self.page.locator(LISTED).nth(ids.index(row["id"])).click()
        self.until(f"{row} to be selected", lambda: self._row(region)["selected"])

    def _point(self, row: dict[str, Any]) -> tuple[Point, bool]:
        """A point in a box that is in the fewest other boxes, and whether it is in none."""
        others = [other for other in self.regions() if other["id"] != row["id"]]
        steps = (0.5, 0.3, 0.7, 0.2, 0.8, 0.1, 0.9)
        grid = [(row["x"] + a * row["width"], row["y"] + b * row["height"]) for a in steps for b in steps]
        seen = [point for point in grid if self.page.evaluate(_SEEN, list(point))]
        counts = [sum(_holds(other, point) for other in others) for point in seen]
        least = counts.index(min(counts))
        return seen[least], counts[least] == 0

    def _row(self, region: str | None) -> dict[str, Any]:
        return next(row for row in self.regions() if row["id"] == region)

    def _place(self, at: Point) -> Point:
        x, y = self.page.evaluate(_PLACE, list(at))
        return float(x), float(y)

    def settled(self) -> dict[str, Any]:
        """The state, once it stays the same for a second: at first the editor makes the regions anew."""
        while True:
            before = self.until("an image", self.state)
            self.page.wait_for_timeout(1000)
            if self.state() == before:
                return dict(before)

    def until(self, what: str, probe: Callable[[], Any]) -> Any:
        deadline = time.monotonic() + PATIENCE_S
        while not (found := probe()):
            assert time.monotonic() < deadline, f"waited {PATIENCE_S:.0f} s in vain for {what}"
            self.page.wait_for_timeout(100)
        return found


def _percent(box: tuple[float, float, float, float], size: tuple[int, int]) -> tuple[float, ...]:
    (x1, y1, x2, y2), (width, height) = box, size
    return 100 * x1 / width, 100 * y1 / height, 100 * x2 / width, 100 * y2 / height


def _holds(row: dict[str, Any], point: Point) -> bool:
    x, y = point
    return bool(row["x"] < x < row["x"] + row["width"] and row["y"] < y < row["y"] + row["height"])
