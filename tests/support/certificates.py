"""Certificates of an authority that is made for a test, by openssl."""

import subprocess
from pathlib import Path


def signed(folder: Path, host: str) -> Path:
    """Makes an authority and a certificate for a server at `host`, an address, good for two days.

    Returns: the authority's, ca.crt; server.crt and server.key lie beside it.
    """
    authority = folder / "ca.crt"
    (folder / "names").write_text(f"subjectAltName=IP:{host}\n")
    key = ("-newkey", "rsa:2048", "-nodes")
    for words in (
        ("req", "-x509", *key, "-subj", "/CN=company", "-days", "2", "-keyout", "ca.key", "-out", "ca.crt"),
        ("req", *key, "-subj", "/CN=server", "-keyout", "server.key", "-out", "server.csr"),
        (
            *("x509", "-req", "-in", "server.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial"),
            *("-days", "2", "-extfile", "names", "-out", "server.crt"),
        ),
    ):
        subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True, timeout=60)
    return authority
