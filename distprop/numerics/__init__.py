"""What the bits depend on: BLAS kernel, CPU features, canary, fingerprint."""
