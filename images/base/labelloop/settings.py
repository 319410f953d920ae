"""All settings of the appliance, typed. They come from the process environment, secrets from files."""

import os
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, SecretStr
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SecretsSettingsSource,
    SettingsConfigDict,
)

from labelloop import layout, ranges, schedule
from labelloop.bucket import Bucket
from labelloop.database_place import DatabaseAccess, DatabasePlace, name_in_service
from labelloop.errors import Explained
from labelloop.outside import Outside, ca_files


def within(name: str, default: Any = ...) -> Any:
    """A field with the range that the setting `name` has."""
    least, most = {**ranges.WHOLE_NUMBERS, **ranges.NUMBERS}[name]
    return Field(default, ge=least, le=most)


class MissingSecret(Explained):
    """A service lacks a secret that it needs."""


class Settings(BaseSettings):
    """Settings by environment name (case-insensitive); see configs/loop.env for what an operator may set.

    mlbackend_for_studio is the ML backend's address at Label Studio, where that is another one than here.
    labelstudio_port and dashboard_port are those at which browsers reach Label Studio and the dashboard.

    Secrets are optional, since each service gets only those it needs. Each is a file of its name in the
    folder SECRETS_DIR. Read them with `secret`.
    """

    model_config = SettingsConfigDict(extra="ignore", env_ignore_empty=True)

    labelloop_home: Path = Path("/labelloop")
    labelstudio_url: str = f"http://labelstudio:{layout.LABELSTUDIO_PORT}"
    mlbackend_url: str = f"http://mlbackend:{layout.MLBACKEND_PORT}"
    mlbackend_for_studio: str = ""
    backends: int = within("BACKENDS", 1)
    trainer_url: str = f"http://trainer:{layout.TRAINER_PORT}"

    admin_email: str = "admin@labelloop.local"
    admins: str = ""
    admin_password: SecretStr | None = None
    api_token: SecretStr | None = None
    secret_key: SecretStr | None = None
    s3_access_key: SecretStr | None = None
    s3_secret_key: SecretStr | None = None
    backend_password: SecretStr | None = None
    trainer_password: SecretStr | None = None
    database_password: SecretStr | None = None

    database_url: str = ""
    database_ca: Path | None = None

    label_config: Path = Path("configs/labels/everyday.xml")
    project_title: str = "labelloop"

    detector: str = "auto"
    round_minutes: float = within("ROUND_MINUTES", 5.0)
    accelerator: Literal["cpu", "cuda"] = "cpu"
    threads: int = Field(default_factory=lambda: len(os.sched_getaffinity(0)), ge=1)
    training_processes: Literal["auto"] | Annotated[int, within("TRAINING_PROCESSES")] = 1
    cluster: Literal["none", "ray"] = "none"
    ray_address: str = ""
    cluster_dir: Path | None = None
    cluster_port: int = within("CLUSTER_PORT", layout.CLUSTER_PORT)
    score_threshold: float = within("SCORE_THRESHOLD", 0.3)

    retrain_every: int = within("RETRAIN_EVERY", 50)
    iterations: int = within("ITERATIONS", 0)
    holdout_percent: int = within("HOLDOUT_PERCENT", 20)
    holdout_min: int = within("HOLDOUT_MIN", 1)
    missing_percent: int = within("MISSING_PERCENT", 2)
    gate_confidence: float = within("GATE_CONFIDENCE", 0.8)
    import_every: float = within("IMPORT_EVERY", 20.0)
    costs: Literal["quick", "careful"] = "quick"
    cache_gb: float = within("CACHE_GB", 10.0)

    public_url: str = Field("", pattern=f"^{ranges.PUBLIC_URL}$")
    public_dashboard_url: str = Field("", pattern=f"^{ranges.PUBLIC_URL}$")
    labelstudio_port: int = within("LABELSTUDIO_PORT", layout.LABELSTUDIO_PORT)
    dashboard_port: int = within("DASHBOARD_PORT", layout.default_dashboard_port(layout.LABELSTUDIO_PORT))
    log_level: str = "INFO"

    images: str = Field("", pattern=f"^{ranges.IMAGES}$")
    s3_endpoint: str = Field("", pattern=f"^{ranges.S3_ENDPOINT}$")
    s3_region: str = Field("", pattern=f"^{ranges.S3_REGION}$")
    user_agent: str = Field(ranges.USER_AGENT, pattern=f"^{ranges.USER_AGENTS}$")
    image_hosts: str = Field("", pattern=f"^{ranges.IMAGE_HOSTS}$")
    http_proxy: str = ""
    https_proxy: str = ""
    no_proxy: str = ""
    ca_bundle: Path | None = None

    @property
    def configs_dir(self) -> Path:
        return self.labelloop_home / "configs"

    @property
    def volumes_dir(self) -> Path:
        return self.labelloop_home / "volumes"

    @property
    def images_dir(self) -> Path:
        return self.volumes_dir / layout.IMAGES

    @property
    def labelstudio_dir(self) -> Path:
        return self.volumes_dir / layout.LABELSTUDIO

    @property
    def database_path(self) -> Path:
        """Label Studio's database."""
        return self.labelstudio_dir / layout.DATABASE_FILE

    @property
    def database_name_path(self) -> Path:
        return self.labelstudio_dir / layout.DATABASE_NAME_FILE

    @property
    def postgres(self) -> DatabaseAccess | None:
        """Where Label Studio's database is; None when it is SQLite's file, `database_path`.

        Raises:
            ValueError: DATABASE_URL is none of PostgreSQL's.
            MissingSecret: DATABASE_PASSWORD is not set.
        """
        if not self.database_url:
            return None
        place = DatabasePlace.parse(self.database_url)
        return DatabaseAccess(
            place.named(name_in_service(self.database_name_path, place.name)),
            self.secret("database_password"),
            self.labelloop_home / self.database_ca if self.database_ca else None,
        )

    @property
    def provisioned_path(self) -> Path:
        """The provisioner's record of what it has connected."""
        return self.labelstudio_dir / layout.PROVISIONED_FILE

    @property
    def uploads_dir(self) -> Path:
        """Where Label Studio keeps images uploaded through its own page: <project id>/<file>."""
        return self.volumes_dir / layout.UPLOADS

    @property
    def models_dir(self) -> Path:
        return self.volumes_dir / layout.MODELS

    @property
    def rounds_dir(self) -> Path:
        return self.volumes_dir / layout.ROUNDS

    @property
    def cache_dir(self) -> Path:
        return self.volumes_dir / layout.CACHE

    @property
    def cache_bytes(self) -> int:
        """How much of other servers' images is kept."""
        return round(self.cache_gb * 1e9)

    @property
    def cluster_address(self) -> str:
        """The cluster's head, host:port: RAY_ADDRESS, or what the head has written into CLUSTER_DIR; ""
        before it has.
        """
        if self.ray_address or self.cluster_dir is None:
            return self.ray_address
        try:
            return (self.cluster_dir / layout.ADDRESS_FILE).read_text(encoding="ascii").strip()
        except OSError:
            return ""

    @property
    def pool_url(self) -> str:
        """Where the cluster's detectors answer; "" without a cluster."""
        return "" if self.cluster == "none" else f"http://127.0.0.1:{layout.pool_port(self.cluster_port)}"

    @property
    def admin_addresses(self) -> frozenset[str]:
        """The e-mail addresses in ADMINS: the administrators besides the account of ADMIN_EMAIL."""
        return frozenset(word.strip().lower() for word in self.admins.split(",") if word.strip())

    @property
    def label_config_path(self) -> Path:
        """The path in LABEL_CONFIG; a relative one starts from labelloop_home."""
        return self.labelloop_home / self.label_config

    @property
    def bucket(self) -> Bucket | None:
        """The bucket that IMAGES names."""
        return Bucket.parse(self.images) if self.images else None

    @property
    def outside(self) -> Outside:
        """How hosts outside are asked."""
        ca_bundle = self.labelloop_home / self.ca_bundle if self.ca_bundle else None
        return Outside(
            user_agent=self.user_agent,
            image_hosts=",".join(filter(None, (self.image_hosts, self.s3_endpoint))),
            http_proxy=self.http_proxy,
            https_proxy=self.https_proxy,
            no_proxy=self.no_proxy,
            ca_files=ca_files(ca_bundle),
        )

    @property
    def comparable_from(self) -> int:
        """The number of labelled images from which versions can be compared."""
        return schedule.comparable_from(self.holdout_min, self.holdout_percent)

    def next_round_at(self, last: int, champion_knows_labels: bool) -> int:
        """The number of labelled images at which the next round starts by itself; see `schedule`."""
        return schedule.next_round_at(last, self.comparable_from, champion_knows_labels, self.retrain_every)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Makes the environment win over the files of SECRETS_DIR."""
        folder = os.environ.get("SECRETS_DIR")
        files = [SecretsSettingsSource(settings_cls, folder)] if folder else []
        return init_settings, env_settings, *files

    def secret(self, name: str) -> str:
        """The value of a secret field.

        Raises:
            MissingSecret: neither SECRETS_DIR nor the environment holds it.
        """
        value: SecretStr | None = getattr(self, name)
        if value is None:
            raise MissingSecret(
                f"{name.upper()} is not set, nor a file of SECRETS_DIR. `make up` writes it; start the stack "
                "through make."
            )
        return value.get_secret_value()


@cache
def get_settings() -> Settings:
    return Settings()
