"""python -m benchmarks [PART ...] [--json FILE] [--cases A B C D E] [--quick]; parts: see benchmarks.running."""

import signal
import sys
from typing import Any

from distprop.numerics.kernel import environment, reexecute_with


def _leave(number: int, _: Any) -> None:
    """End as on an error: processes, hosts and folders go, too."""
    sys.exit(128 + number)


if __name__ == "__main__":
    reexecute_with(environment("auto"))
    signal.signal(signal.SIGTERM, _leave)
    from benchmarks.running import main

    main()
