"""The appliance's overrides of Label Studio as a Django application: applied once its models are loaded."""

from django.apps import AppConfig


class Overrides(AppConfig):  # type: ignore[misc]
    """Applies the overrides when Label Studio starts. It has no models."""

    name = "provisioner"

    def ready(self) -> None:
        from provisioner import (
            adopted,
            backend_address,
            backend_title,
            bucket_keys,
            counts,
            double_tasks,
            ended_sessions,
            finite,
            image_tasks,
            label_stream,
            least_certain,
            local_files,
            permissions,
            project_fields,
            queue_counts,
            s3_endpoints,
            signals,
            single_rows,
            storage_kinds,
            task_columns,
            task_data,
            task_locks,
            token_login,
            user_agent,
        )

        permissions.restrict()
        local_files.confine()
        double_tasks.join()
        backend_address.exempt()
        backend_title.lead_to_the_dashboard()
        ended_sessions.note()
        label_stream.keep_the_projects_order()
        label_stream.give_each_another_task()
        least_certain.take_few()
        s3_endpoints.exempt()
        bucket_keys.take_over()
        user_agent.introduce()
        signals.stay_for_others()
        task_data.give_to_image()
        project_fields.add()
        queue_counts.count_by_number()
        task_locks.end_in_time()
        finite.refuse_infinite()
        adopted.furnish_when_connected()
        counts.leave_keys_alone()
        token_login.look_up_once()
        single_rows.read_without_transaction()
        storage_kinds.ask_at_once()
        task_columns.ask_once()
        image_tasks.watch()
