"""python -m benchmarks [PART ...] [--json FILE] [--cases A B C D E] [--quick]; parts: see benchmarks.running."""

import signal
import sys
from typing import Any

from distprop.installation import PACKAGE, hidden_package, uncompiled
from distprop.numerics.kernel import environment, reexecute_with


def _leave(number: int, _: Any) -> None:
    """End as on an error: processes, hosts and folders go, too."""
    sys.exit(128 + number)


def _require_compiled() -> None:
    """End with exit code 2 where figures would be those of Python instead of the compiled loops."""
    if missing := uncompiled():
        print(f"distprop in {PACKAGE} is not compiled: its figures would say nothing", file=sys.stderr)
        print(f"  why: there is no {', '.join(missing)}", file=sys.stderr)
        hidden = hidden_package()
        where = f"; the package in {hidden} is compiled, and hidden by this folder" if hidden else ""
        print(f"  fix: pip install -e .{where}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    _require_compiled()
    reexecute_with(environment("auto"))
    signal.signal(signal.SIGTERM, _leave)
    from benchmarks.running import main

    main()
