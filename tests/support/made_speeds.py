"""A machine on which it was measured how fast detectors train."""

from pathlib import Path

from labelloop.settings import Settings
from trainer.training import auto
from trainer.training.speed import Measured


def write_speeds(settings: Settings, configs: Path, iteration_s: dict[str, float]) -> None:
    """Writes what was measured of the repo's detectors. iteration_s: seconds of an iteration, of 300."""
    folder = settings.configs_dir / "detectors"
    folder.mkdir(parents=True, exist_ok=True)
    known = {}
    for name, seconds in iteration_s.items():
        (folder / f"{name}.py").write_text((configs / "detectors" / f"{name}.py").read_text())
        measured = Measured(iterations=300, iteration_s=seconds, look_s=0.05, ready_s=5.0, memory_gb=0.5)
        known[name] = auto.Kept(config="made", measured=measured)
    settings.cache_dir.mkdir(parents=True, exist_ok=True)
    speeds = auto.Speeds(machines={auto.machine(settings): known})
    (settings.cache_dir / auto.SPEED_FILE).write_text(speeds.model_dump_json())
