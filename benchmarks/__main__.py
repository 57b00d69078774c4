"""python -m benchmarks [PART ...] [--json FILE] [--cases A B C D E] [--quick]; parts: see benchmarks.running."""

from distprop.numerics.kernel import environment, reexecute_with

if __name__ == "__main__":
    reexecute_with(environment("auto"))
    from benchmarks.running import main

    main()
