"""A certificate for one job: signed by itself, trusted by the job's processes only, gone with them."""

import datetime
import secrets
import shutil
import subprocess
from importlib.util import find_spec

from distprop.errors import UserError
from distprop.runtime.wire.seal import Credentials

DAYS = 3650  # it ends with its job, not by a clock
LEEWAY = 2  # days: hosts' clocks differ


def new_credentials() -> Credentials:
    """A fresh key and its certificate, by `cryptography`, else by the command openssl. Raises UserError."""
    if find_spec("cryptography"):
        certificate, key = _by_library()
    elif command := shutil.which("openssl"):
        certificate, key = _by_command(command)
    else:
        raise UserError(
            "`wire.tls: true` needs a certificate, and none can be made here",
            "neither the package cryptography nor the command openssl is there",
            "pip install cryptography, or give `wire.tls: {certificate: PATH, key: PATH}`",
        )
    return Credentials(certificate, key, certificate)


def _by_library() -> tuple[str, str]:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, _name())])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=LEEWAY))
        .not_valid_after(now + datetime.timedelta(days=DAYS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return made.public_bytes(pem).decode(), private.decode()


def _by_command(command: str) -> tuple[str, str]:
    """The key comes by a pipe, so that it is never in a file."""
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "-")
    about = ("-days", str(DAYS), "-subj", f"/CN={_name()}", "-batch")
    made = subprocess.run([command, "req", "-x509", *curve, *about], capture_output=True, text=True, check=False)  # noqa: S603
    if made.returncode:
        raise UserError("`wire.tls: true` needs a certificate, and openssl made none", made.stderr.strip()[-300:])
    key, mark, certificate = made.stdout.partition("-----BEGIN CERTIFICATE-----")
    return mark + certificate, key


def _name() -> str:
    return f"distprop-{secrets.token_hex(8)}"
