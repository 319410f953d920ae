"""The files that the pages show, taken at their word."""

from pathlib import Path

import pytest
from support.documents import PAGES, Block, blocks

from labelloop.detector import load_detector_config
from labelloop.label_check import check
from labelloop.settings import Settings
from trainer.training.length import reference_iterations


def shown(language: str) -> list[Block]:
    return [block for page in PAGES for block in blocks(page) if block.language == language]


@pytest.mark.parametrize("block", shown("xml"), ids=lambda block: block.page.stem)
def test_a_label_config_is_usable(block: Block) -> None:
    assert check(block.text) == []


def test_the_detector_config_loads(tmp_path: Path) -> None:
    [block] = shown("python")
    (tmp_path / "configs" / "detectors").mkdir(parents=True)
    (tmp_path / "configs" / "detectors" / "mine.py").write_text(block.text)
    settings = Settings(labelloop_home=tmp_path)
    config = load_detector_config("mine", settings)
    assert config.model.type == "YOLOX" and config.optimizer.type == "AdamW"
    assert reference_iterations("mine", settings) == 200
