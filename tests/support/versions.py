"""Versions in a registry for tests that never load them."""

from pathlib import Path

from labelloop.registry import Card, ProjectModels


def add_version(
    models: ProjectModels,
    folder: Path,
    round_id: int | None = None,
    look: int | None = None,
    images: int = 0,
) -> str:
    """Writes a version whose weights are no real ones; `folder` is for the file they come from.

    round_id: of the round that trained it; without one it is a starting model. look, images: as on the card.
    """
    folder.mkdir(parents=True, exist_ok=True)
    weights = folder / "made.pth"
    weights.write_bytes(b"weights")
    card = Card(
        detector="yolox_nano",
        classes=["ball", "crate"],
        start_weights="2 classes of made.pth",
        round=round_id,
        round_requested_at=None if round_id is None else "then",
        dataset_fingerprint=None if round_id is None else f"{round_id:064x}",
        look=look,
        images=images,
        verdict="starting model",
        reason="a test",
    )
    return models.write(card, "model = {}\n", weights)
