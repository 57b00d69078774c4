/* What all loops that compute have in common: included before anything is computed. */

#ifdef __FAST_MATH__
#error "distprop's bits are those of strict IEEE 754 arithmetic: compile without -ffast-math"
#endif

/* One machine code for each generation of processors, chosen when the module is loaded; they differ in speed alone. */
#if defined(__x86_64__) && defined(__GLIBC__) && defined(__GNUC__) && !defined(__clang__)
#define FOR_EACH_PROCESSOR __attribute__((target_clones("default", "avx2", "avx512f")))
#else
#define FOR_EACH_PROCESSOR
#endif
