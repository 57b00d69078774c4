"""The package's Python source as one zip file, for models that travel with the code that reads them."""

from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

PACKAGE = Path(__file__).parent
LONG_AGO = (1980, 1, 1, 0, 0, 0)  # the same source gives the same bytes


def write_source(path: Path) -> Path:
    """Write all modules of this package into the zip file `path`; compiled files have Python for them inside."""
    with ZipFile(path, "w") as archive:
        for file in sorted(PACKAGE.rglob("*.py")):
            name = file.relative_to(PACKAGE.parent).as_posix()
            archive.writestr(ZipInfo(name, LONG_AGO), file.read_bytes(), ZIP_DEFLATED)
    return path
