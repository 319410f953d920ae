"""The appliance's overrides of Label Studio as a Django application: applied once its models are loaded."""

from django.apps import AppConfig


class Overrides(AppConfig):  # type: ignore[misc]
    """Applies the overrides when Label Studio starts. It has no models."""

    name = "provisioner"

    def ready(self) -> None:
        from provisioner import backend_address, local_files, permissions, project_fields

        permissions.restrict()
        local_files.confine()
        backend_address.exempt()
        project_fields.add()
