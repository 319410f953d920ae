"""The bucket with images that the setting IMAGES names."""

from dataclasses import dataclass

SCHEME = "s3://"


@dataclass(frozen=True)
class Bucket:
    """A bucket, or what is in it below a prefix, which ends with no slash.

    >>> Bucket.parse("s3://photos/line-3/")
    Bucket(name='photos', prefix='line-3')
    """

    name: str
    prefix: str

    @classmethod
    def parse(cls, url: str) -> "Bucket":
        name, _, prefix = url.removeprefix(SCHEME).partition("/")
        return cls(name, prefix.strip("/"))

    @property
    def url(self) -> str:
        """Where it is, which is also the title of its storage in Label Studio.

        >>> Bucket("photos", "").url
        's3://photos'
        """
        return f"{SCHEME}{self.name}/{self.prefix}" if self.prefix else f"{SCHEME}{self.name}"
