"""The appliance's overrides of Label Studio as a Django application: applied once its models are loaded."""

from django.apps import AppConfig


class Overrides(AppConfig):  # type: ignore[misc]
    """Applies the overrides when Label Studio starts. It has no models."""

    name = "provisioner"

    def ready(self) -> None:
        from provisioner import (
            adopted,
            backend_address,
            double_tasks,
            local_files,
            permissions,
            project_fields,
            s3_endpoints,
            signals,
            task_data,
            user_agent,
        )

        permissions.restrict()
        local_files.confine()
        double_tasks.join()
        backend_address.exempt()
        s3_endpoints.exempt()
        user_agent.introduce()
        signals.stay_for_others()
        task_data.give_to_image()
        project_fields.add()
        adopted.furnish_when_connected()
