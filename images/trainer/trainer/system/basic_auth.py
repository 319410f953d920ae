"""Who may ask a service's routes: basic auth, as a dependency of FastAPI's."""

import secrets
from collections.abc import Callable
from typing import Annotated

from fastapi import Depends, HTTPException, status
from fastapi.security import HTTPBasic, HTTPBasicCredentials


def only(user: str, password: str) -> Callable[[HTTPBasicCredentials], None]:
    """Refuses everybody else with 401."""

    def known_caller(given: Annotated[HTTPBasicCredentials, Depends(HTTPBasic())]) -> None:
        user_matches = secrets.compare_digest(given.username.encode(), user.encode())
        password_matches = secrets.compare_digest(given.password.encode(), password.encode())
        if not (user_matches and password_matches):
            raise HTTPException(
                status.HTTP_401_UNAUTHORIZED, "wrong user or password", headers={"WWW-Authenticate": "Basic"}
            )

    return known_caller
