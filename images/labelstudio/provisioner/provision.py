"""The provisioning itself: each step finds what is there and changes only what differs."""

import logging

from labelloop.labels import LabelConfigError
from labelloop.settings import Settings
from labelloop.studio import Studio, StudioError
from provisioner.administrators import has_labellers, unknown_admins
from provisioner.adopted import instruct_connected
from provisioner.backend import ensure_backend
from provisioner.bucket_storage import ensure_bucket
from provisioner.interactive import offer_clicks
from provisioner.label_config import LabelConfigFile, update_label_config
from provisioner.project import ensure_project
from provisioner.state import State, StateFile
from provisioner.storage import ensure_storage

log = logging.getLogger(__name__)


def provision(settings: Settings, file: StateFile) -> State:
    """Project, labels, storage, backend. Safe to kill and to run again; a second run changes nothing.

    A refused label config stops no other step. The state's `problem` says why it was refused.

    Raises:
        StudioError: Label Studio does not answer or refuses a request.
        BackendNotReady: the ML backend can't be connected yet; all else is done.
        LabelConfigError, ProjectError: there is no project yet, and the settings don't make one.
    """
    studio = Studio.connect(settings)
    if not studio.healthy():
        raise StudioError(f"Label Studio does not answer at {studio.url}/health yet")
    config = LabelConfigFile(settings)
    project = ensure_project(studio, settings, config, file)
    try:
        update_label_config(studio, project, config, file)
        file.update(problem=None)
    except LabelConfigError as error:
        file.update(problem=str(error))
    members = studio.request("GET", "/api/users/")
    file.update(unknown_admins=unknown_admins(settings, members), labellers=has_labellers(settings, members))
    ensure_storage(studio, settings, project["id"], file)
    ensure_bucket(studio, settings, project["id"], file)
    ensure_backend(studio, settings, project["id"], file)
    instruct_connected(studio, settings, file)
    offer_clicks(studio, settings, file)
    file.update(waiting=None, done=True)
    return file.state
