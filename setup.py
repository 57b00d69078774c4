"""The compiled files; all else about the package is in pyproject.toml."""

from setuptools import Extension, setup


def compiled(name: str) -> Extension:
    """A module of one C file."""
    return Extension(
        name,
        [f"{name.replace('.', '/')}.c"],
        depends=["distprop/loops/_strict.h"],
        optional=True,  # without a C compiler there is Python for it, with the same bits
        py_limited_api=True,
        # Nothing is contracted to fused operations, whose bits are others. errno and exceptions are nobody's concern.
        extra_compile_args=["-O3", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math"],
    )


setup(
    ext_modules=[
        compiled(f"distprop.{name}")
        for name in ("loops._compiled", "loops._images", "loops._normalizing", "runtime.wire._slates")
    ],
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
)
