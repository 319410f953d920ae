"""Writes a project's starting model, in a separate process: `python -m trainer.training.starting <project>`.

The last line that it prints says what was done, or what is wrong.
"""

import sys
import tempfile
from pathlib import Path

from labelloop.detector import load_detector_config
from labelloop.errors import in_one_line
from labelloop.registry import Card, ChampionMoved, Registry
from labelloop.settings import Settings
from trainer.env import get_settings
from trainer.system.children import die_with_parent


def write_starting_model(project_id: int, settings: Settings) -> str:
    """Makes sure that a project has a champion, by writing a starting model if necessary.

    Returns: the version in service.

    Raises:
        weights.WeightsError: the starting weights are unavailable. DetectorError: DETECTOR names no config.
    """
    # torch and mmdet take seconds to import. A command that finds a champion does not need them, and `main`
    # must be able to end with its parent while they are not imported yet.
    from trainer.training import bundle, weights
    from trainer.training.recipe import fit_model, looks_at_mirror_images

    models = Registry(settings.models_dir).project(project_id)
    champion = models.mend()
    if champion is not None:
        return champion
    broken = models.in_service()
    choice = weights.choose(settings)
    found = choice.weights(settings)
    config = load_detector_config(choice.detector, settings)
    fit_model(config, found.classes or [""])
    text = bundle.config_text(config)
    card = Card(
        detector=choice.detector,
        classes=found.classes,
        start_weights=found.source,
        mirrored=bool(found.classes) and looks_at_mirror_images(config),
        verdict="starting model",
        reason=choice.why,
        libraries=bundle.libraries(),
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        complete = bundle.write(folder, text, found.state, card, [])
        try:
            return models.succeed(broken, complete, text, folder / "weights.pth")
        except ChampionMoved as moved:
            if moved.champion is None:
                raise
            return moved.champion


def main(arguments: list[str]) -> int:
    die_with_parent()
    settings = get_settings()
    project_id = int(arguments[0])
    try:
        version = write_starting_model(project_id, settings)
    except Exception as error:
        print(in_one_line(error))
        return 1
    card = Registry(settings.models_dir).project(project_id).card(version)
    print(f"{version} is in service: {card.detector}, weights: {card.start_weights} ({card.reason})")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
