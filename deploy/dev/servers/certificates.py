"""The stack's own certificate authority, one that signed nothing, and the servers' certificate."""

import threading

from .common import TLS, run

CERTIFICATES = threading.Lock()  # servers start side by side


def make_certificates():
    with CERTIFICATES:
        if not (TLS / "server.crt").exists():
            make_certificates_once()


def make_certificates_once():
    TLS.mkdir(exist_ok=True)

    def openssl(*words):
        run(["openssl", *words], cwd=TLS)

    def authority(name, subject):
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "3650",
                "-subj", f"/CN={subject}", "-keyout", f"{name}.key", "-out", f"{name}.pem",
                "-addext", "keyUsage=critical,keyCertSign,cRLSign")

    authority("ca", "Holdfast development CA")
    authority("wrong-ca", "A CA that signed nothing")
    openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", "/CN=localhost",
            "-keyout", "server.key", "-out", "server.csr")
    (TLS / "server.ext").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=serverAuth\n"
                                    "basicConstraints=critical,CA:FALSE\n")
    openssl("x509", "-req", "-in", "server.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "3650",
            "-extfile", "server.ext", "-out", "server.crt.new")
    (TLS / "server.crt.new").rename(TLS / "server.crt")
