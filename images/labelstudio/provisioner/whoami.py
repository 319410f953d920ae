"""What Label Studio tells its pages of the person who is logged in."""

from typing import Any

from core.permissions import all_permissions
from users.serializers import BaseWhoAmIUserSerializer


class WhoAmI(BaseWhoAmIUserSerializer):  # type: ignore[misc]
    """Names a person's own permissions, by which the pages show buttons, instead of all."""

    def get_permissions(self, user: Any) -> list[str]:
        return [name for _, name in all_permissions if user.has_perm(name)]
