"""What is to be taken along, checked before anything heavy begins."""

from dataclasses import dataclass

from labelloop.labels import LabelConfig
from trainer.loop import Loop
from trainer.peers.projects import Project
from trainer.takeaway.errors import CannotTake
from trainer.takeaway.forms import ABOUT, Format


@dataclass(frozen=True)
class Wish:
    """A version of a project's model, in one form. title, config: the project's."""

    project: int
    title: str
    config: LabelConfig
    version: str
    form: Format
    int8: bool = False

    def require_possible(self) -> None:
        """Raises CannotTake: the form has no 8 bits."""
        if self.int8 and not ABOUT[self.form].int8:
            able = " or ".join(form for form in Format if ABOUT[form].int8)
            raise CannotTake(f"INT8=1 is for FORMAT={able}; {self.form} stays in 32 bits")


def wish_of(loop: Loop, project: Project, version: str | None, form: Format, int8: bool) -> Wish:
    """version: None for the one in service.

    Raises:
        CannotTake: there is no such version, or the form has no 8 bits. RegistryError: it is damaged.
        LabelConfigError: no boxes are drawn in the project.
    """
    models = loop.models(project.id)
    chosen = version or models.champion()
    if chosen is None:
        raise CannotTake("there is no model yet; the starting model is being written, see `make status`")
    if chosen not in models.versions():
        raise CannotTake(f"there is no version {chosen[:40]!r}; `make models` lists what there is")
    models.check(chosen)
    wish = Wish(project.id, project.title, project.labels, chosen, form, int8)
    wish.require_possible()
    return wish
