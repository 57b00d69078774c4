"""The one compiled file; all else about the package is in pyproject.toml."""

from setuptools import Extension, setup

LOOP = Extension(
    "distprop.loops._compiled",
    ["distprop/loops/_compiled.c"],
    optional=True,  # without a C compiler NumPy does the same, to the same bits
    py_limited_api=True,
    # Nothing is contracted to fused operations, whose bits are others. errno and exceptions are nobody's concern.
    extra_compile_args=["-O3", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math"],
)

setup(ext_modules=[LOOP], options={"bdist_wheel": {"py_limited_api": "cp311"}})
