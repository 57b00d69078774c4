"""Print the lowest version of each base dependency that pyproject.toml admits, as pip requirements."""

import re
import tomllib
from pathlib import Path

project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
for requirement in project["dependencies"]:
    print(re.sub(r">=([\w.]+).*", r"==\1", requirement))
