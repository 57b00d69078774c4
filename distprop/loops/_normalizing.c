/* Rows (M, D) of float32, normalized one by one and on the way back: each is read and written while it is in the first
 * cache. And what is done to channels, over all their places.
 *
 * Sums of rows are made in float64, value i of a row in lane i modulo LANES, and half of the lanes is added to the other
 * half until one is left; all else is a single operation of IEEE 754 on float32. So the bits are those of NumPy's way
 * (distprop/nn/normal_rows.py, batch_norm.py), if the compiler neither contracts nor reorders: see the flags in
 * setup.py. */

#define Py_LIMITED_API 0x030B0000
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <math.h>
#include <string.h>

#include "_strict.h"

#define INLINE static inline __attribute__((always_inline))
#define EACH _Pragma("GCC ivdep") for (Py_ssize_t i = 0; i < width; i++)

enum { LANES = 16 };

/* ---- rows -------------------------------------------------------------------------------------------------------- */

/* Row r has number r modulo `kinds` of the scales and shifts. */
typedef struct {
    Py_ssize_t rows, width, kinds;
} Form;

INLINE double added_up(double *lanes) {
    for (int half = LANES / 2; half; half /= 2)
        for (int lane = 0; lane < half; lane++) lanes[lane] += lanes[lane + half];
    return lanes[0];
}

INLINE double sum(const float *a, Py_ssize_t width) {
    double lanes[LANES] = {0};
    Py_ssize_t i = 0;
    for (; i + LANES <= width; i += LANES)
        for (int lane = 0; lane < LANES; lane++) lanes[lane] += (double)a[i + lane];
    for (int lane = 0; i < width; i++, lane++) lanes[lane] += (double)a[i];
    return added_up(lanes);
}

INLINE double product_sum(const float *a, const float *b, Py_ssize_t width) {
    double lanes[LANES] = {0};
    Py_ssize_t i = 0;
    for (; i + LANES <= width; i += LANES)
        for (int lane = 0; lane < LANES; lane++) lanes[lane] += (double)a[i + lane] * (double)b[i + lane];
    for (int lane = 0; i < width; i++, lane++) lanes[lane] += (double)a[i] * (double)b[i];
    return added_up(lanes);
}

/* normal <- x, less its mean where there are shifts, over its root mean square; y <- normal scale + shift. inverse: what
 * a row was multiplied by. normal may be x. */
FOR_EACH_PROCESSOR
void distprop_normalize(const float *x, float *normal, float *inverse, float *y, const float *scales,
                        const float *shifts, double eps, const Form *form) {
    Py_ssize_t width = form->width;
    for (Py_ssize_t row = 0; row < form->rows; row++, x += width, normal += width, y += width) {
        const float *values = x, *scale = scales + row % form->kinds * width;
        if (shifts) {
            float mean = (float)(sum(x, width) / (double)width);
            EACH normal[i] = x[i] - mean;
            values = normal;
        }
        float factor = inverse[row] = (float)(1.0 / sqrt(product_sum(values, values, width) / (double)width + eps));
        if (shifts) {
            const float *shift = shifts + row % form->kinds * width;
            EACH normal[i] = values[i] * factor, y[i] = normal[i] * scale[i] + shift[i];
        } else
            EACH normal[i] = values[i] * factor, y[i] = normal[i] * scale[i];
    }
}

/* dy <- dx. sums: of dy normal for each kind, and behind them, where rows were centered, of dy: both are added to. */
FOR_EACH_PROCESSOR
void distprop_denormalize(float *dy, const float *normals, const float *inverse, const float *scales, double *sums,
                          int centered, const Form *form) {
    Py_ssize_t width = form->width;
    for (Py_ssize_t row = 0; row < form->rows; row++, dy += width, normals += width) {
        Py_ssize_t kind = row % form->kinds * width;
        const float *normal = normals, *scale = scales + kind;
        double *of_products = sums + kind, *of_all = centered ? of_products + form->kinds * width : NULL;
        EACH of_products[i] += (double)dy[i] * (double)normal[i];
        if (centered) EACH of_all[i] += (double)dy[i];
        EACH dy[i] *= scale[i];
        float along = (float)(product_sum(dy, normal, width) / (double)width), factor = inverse[row];
        if (centered) {
            float mean = (float)(sum(dy, width) / (double)width);
            EACH dy[i] = (dy[i] - mean - normal[i] * along) * factor;
        } else
            EACH dy[i] = (dy[i] - normal[i] * along) * factor;
    }
}

/* ---- channels ---------------------------------------------------------------------------------------------------- */

/* Lines of values, each the channels of some places; `height` of them make a block. */
typedef struct {
    Py_ssize_t lines, width, height, blocks;
} Lines;

/* sums, (2, blocks, width): of values and of their products with others, line by line. Where there is something to be
 * taken off the values, others <- values - off, and the sums are of that and of its squares. */
FOR_EACH_PROCESSOR
void distprop_sum_channels(const float *values, float *others, const float *off, float *sums, const Lines *form) {
    Py_ssize_t width = form->width;
    memset(sums, 0, 2 * form->blocks * width * sizeof(float));
    for (Py_ssize_t line = 0; line < form->lines; line++, values += width, others += width) {
        float *sum = sums + line / form->height * width, *products = sum + form->blocks * width;
        if (off)
            EACH {
                float value = values[i] - off[i];
                others[i] = value, sum[i] += value, products[i] += value * value;
            }
        else EACH sum[i] += values[i], products[i] += values[i] * others[i];
    }
}

/* out <- values factor + others slope + plus, without the term in the middle where there are no others. out may be
 * values. */
FOR_EACH_PROCESSOR
void distprop_mix_channels(const float *values, const float *factor, const float *others, const float *slope,
                           const float *plus, float *out, const Lines *form) {
    Py_ssize_t width = form->width;
    for (Py_ssize_t line = 0; line < form->lines; line++, values += width, out += width) {
        if (others) {
            EACH out[i] = values[i] * factor[i] + others[i] * slope[i] + plus[i];
            others += width;
        } else
            EACH out[i] = values[i] * factor[i] + plus[i];
    }
}

/* ---- from Python ------------------------------------------------------------------------------------------------- */

static PyObject *finish(int good, Py_buffer *views, int count) {
    while (count) PyBuffer_Release(&views[--count]);
    if (good) Py_RETURN_NONE;
    PyErr_SetString(PyExc_ValueError, "arrays and shapes do not fit together");
    return NULL;
}

/* Whether rows, and what there is one of for each row or kind, have the bytes that they must have. */
static int fits(const Form *form, const Py_buffer *rows, const Py_buffer *inverse, const Py_buffer *kinds) {
    Py_ssize_t value = sizeof(float);
    return form->rows >= 0 && form->width > 0 && form->kinds > 0 && rows->len == form->rows * form->width * value &&
           inverse->len == form->rows * value && kinds->len == form->kinds * form->width * value;
}

static PyObject *python_normalize(PyObject *module, PyObject *args) {
    (void)module;
    Py_buffer views[6]; /* x, normal, inverse, y, scales, shifts */
    double eps;
    Form form;
    if (!PyArg_ParseTuple(args, "y*w*w*w*y*z*d(nnn)", &views[0], &views[1], &views[2], &views[3], &views[4], &views[5],
                          &eps, &form.rows, &form.width, &form.kinds))
        return NULL;
    int good = fits(&form, &views[0], &views[2], &views[4]) && views[1].len == views[0].len &&
               views[3].len == views[0].len && (!views[5].buf || views[5].len == views[4].len);
    if (good) {
        Py_BEGIN_ALLOW_THREADS
        distprop_normalize(views[0].buf, views[1].buf, views[2].buf, views[3].buf, views[4].buf, views[5].buf, eps,
                           &form);
        Py_END_ALLOW_THREADS
    }
    return finish(good, views, 6);
}

static PyObject *python_denormalize(PyObject *module, PyObject *args) {
    (void)module;
    Py_buffer views[5]; /* dy, normal, inverse, scales, sums */
    int centered;
    Form form;
    if (!PyArg_ParseTuple(args, "w*y*y*y*w*p(nnn)", &views[0], &views[1], &views[2], &views[3], &views[4], &centered,
                          &form.rows, &form.width, &form.kinds))
        return NULL;
    int good = fits(&form, &views[0], &views[2], &views[3]) && views[1].len == views[0].len &&
               views[4].len == (1 + centered) * form.kinds * form.width * (Py_ssize_t)sizeof(double);
    if (good) {
        Py_BEGIN_ALLOW_THREADS
        distprop_denormalize(views[0].buf, views[1].buf, views[2].buf, views[3].buf, views[4].buf, centered, &form);
        Py_END_ALLOW_THREADS
    }
    return finish(good, views, 5);
}

static PyObject *python_sum_channels(PyObject *module, PyObject *args) {
    (void)module;
    Py_buffer views[4]; /* values, others, off, sums */
    Lines form;
    if (!PyArg_ParseTuple(args, "y*w*z*w*(nnn)", &views[0], &views[1], &views[2], &views[3], &form.lines, &form.width,
                          &form.height))
        return NULL;
    Py_ssize_t value = sizeof(float);
    int good = form.lines >= 0 && form.width > 0 && form.height > 0;
    if (good) {
        form.blocks = (form.lines + form.height - 1) / form.height;
        good = views[0].len == form.lines * form.width * value && views[1].len == views[0].len &&
               (!views[2].buf || views[2].len == form.width * value) &&
               views[3].len == 2 * form.blocks * form.width * value;
    }
    if (good) {
        Py_BEGIN_ALLOW_THREADS
        distprop_sum_channels(views[0].buf, views[1].buf, views[2].buf, views[3].buf, &form);
        Py_END_ALLOW_THREADS
    }
    return finish(good, views, 4);
}

static PyObject *python_mix_channels(PyObject *module, PyObject *args) {
    (void)module;
    Py_buffer views[6]; /* values, factor, others, slope, plus, out */
    Lines form;
    if (!PyArg_ParseTuple(args, "y*y*z*z*y*w*(nn)", &views[0], &views[1], &views[2], &views[3], &views[4], &views[5],
                          &form.lines, &form.width))
        return NULL;
    Py_ssize_t line = form.width * (Py_ssize_t)sizeof(float), all = form.lines * line;
    int good = form.lines >= 0 && form.width > 0 && views[0].len == all && views[5].len == all &&
               views[1].len == line && views[4].len == line &&
               (!views[2].buf || (views[2].len == all && views[3].buf && views[3].len == line));
    if (good) {
        Py_BEGIN_ALLOW_THREADS
        distprop_mix_channels(views[0].buf, views[1].buf, views[2].buf, views[3].buf, views[4].buf, views[5].buf,
                              &form);
        Py_END_ALLOW_THREADS
    }
    return finish(good, views, 6);
}

static PyMethodDef METHODS[] = {
    {"normalize", python_normalize, METH_VARARGS,
     "normalize(x, normal, inverse, y, scales, shifts, eps, form): see _normalizing.pyi."},
    {"denormalize", python_denormalize, METH_VARARGS,
     "denormalize(dy, normal, inverse, scales, sums, centered, form): see _normalizing.pyi."},
    {"sum_channels", python_sum_channels, METH_VARARGS,
     "sum_channels(values, others, off, sums, form): see _normalizing.pyi."},
    {"mix_channels", python_mix_channels, METH_VARARGS,
     "mix_channels(values, factor, others, slope, plus, out, form): see _normalizing.pyi."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef MODULE = {
    .m_base = PyModuleDef_HEAD_INIT,
    .m_name = "_normalizing",
    .m_doc = "Rows, normalized.",
    .m_methods = METHODS,
};

PyMODINIT_FUNC PyInit__normalizing(void) { return PyModule_Create(&MODULE); }
