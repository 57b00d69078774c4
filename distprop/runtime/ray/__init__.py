"""The job on a Ray cluster: Ray places and starts the processes; the wire carries everything else."""
