"""Holds a Ray cluster for as long as standard input is open: it ends with whoever started it, however that ends."""

import sys

import ray


def main(cpus: int, folder: str) -> None:
    """Start the cluster, say where it is, and wait."""
    started = ray.init(address="local", num_cpus=cpus, include_dashboard=False, log_to_driver=False, _temp_dir=folder)
    sys.stdout.write(started.address_info["gcs_address"] + "\n")
    sys.stdout.flush()
    sys.stdin.read()
    ray.shutdown()


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
