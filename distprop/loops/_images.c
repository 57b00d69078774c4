/* Copies and comparisons of images (N, H, W, C) of float32 that NumPy makes in many passes. Nothing is rounded here:
 * the bits are NumPy's. */

#define Py_LIMITED_API 0x030B0000
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>
#include <string.h>

#include "_strict.h"

enum { WIDE = 8, MOST_TAPS = 127 };
typedef float Floats __attribute__((vector_size(32), aligned(4)));
typedef int32_t Ints __attribute__((vector_size(32), aligned(4)));
typedef int8_t Bytes __attribute__((vector_size(8), aligned(1)));

typedef struct {
    Py_ssize_t n, h, w, c;
} Images;
typedef struct {
    Py_ssize_t down, across;
} Pair;

/* ---- the largest value under windows that lie side by side ------------------------------------------------------- */

/* The first of the largest values and its tap, for channels `at` to `at + WIDE` or one alone. A NaN is the largest of
 * all. 0.0 is added so that of 0 and -0 it is 0 whichever came first. */
FOR_EACH_PROCESSOR
void distprop_largest(const float *x, float *y, int8_t *winner, const Images *in, const Pair *size) {
    Py_ssize_t rows = in->h / size->down, places = in->w / size->across, c = in->c;
    for (Py_ssize_t row = 0; row < in->n * rows; row++) {
        const float *line = x + (row / rows * in->h + row % rows * size->down) * in->w * c;
        for (Py_ssize_t place = 0; place < places; place++, line += size->across * c, y += c, winner += c) {
            Py_ssize_t at = 0;
            for (; at + WIDE <= c; at += WIDE) {
                Floats best = *(const Floats *)(line + at);
                Ints which = {0}, tap = {0};
                for (Py_ssize_t i = 0; i < size->down; i++)
                    for (Py_ssize_t j = 0; j < size->across; j++, tap += 1) {
                        Floats value = *(const Floats *)(line + (i * in->w + j) * c + at);
                        Ints beats = value > best, takes = beats | (value != value);
                        which = (tap & beats) | (which & ~beats);
                        best = (Floats)(((Ints)value & takes) | ((Ints)best & ~takes));
                    }
                *(Floats *)(y + at) = best + 0.0f;
                *(Bytes *)(winner + at) = __builtin_convertvector(which, Bytes);
            }
            for (; at < c; at++) {
                float best = line[at];
                int which = 0;
                for (Py_ssize_t tap = 1; tap < size->down * size->across; tap++) {
                    float value = line[(tap / size->across * in->w + tap % size->across) * c + at];
                    if (value > best) which = (int)tap;
                    if (value > best || value != value) best = value;
                }
                y[at] = best + 0.0f, winner[at] = (int8_t)which;
            }
        }
    }
}

/* The way back: dy times 1 where the tap was the largest, and times 0 elsewhere; 0 under no window. */
FOR_EACH_PROCESSOR
void distprop_share(const float *dy, const int8_t *winner, float *dx, const Images *in, const Pair *size) {
    Py_ssize_t rows = in->h / size->down, places = in->w / size->across, c = in->c;
    if (in->h % size->down || in->w % size->across) memset(dx, 0, in->n * in->h * in->w * c * sizeof(float));
    Ints one = (Ints)((Floats){0} + 1.0f);
    for (Py_ssize_t row = 0; row < in->n * rows; row++) {
        float *line = dx + (row / rows * in->h + row % rows * size->down) * in->w * c;
        for (Py_ssize_t place = 0; place < places; place++, line += size->across * c, dy += c, winner += c) {
            Py_ssize_t at = 0;
            for (; at + WIDE <= c; at += WIDE) {
                Floats d = *(const Floats *)(dy + at);
                Ints which = __builtin_convertvector(*(const Bytes *)(winner + at), Ints), tap = {0};
                for (Py_ssize_t i = 0; i < size->down; i++)
                    for (Py_ssize_t j = 0; j < size->across; j++, tap += 1)
                        *(Floats *)(line + (i * in->w + j) * c + at) = d * (Floats)(one & (which == tap));
            }
            for (; at < c; at++)
                for (Py_ssize_t tap = 0; tap < size->down * size->across; tap++)
                    line[(tap / size->across * in->w + tap % size->across) * c + at] =
                        dy[at] * (winner[at] == tap ? 1.0f : 0.0f);
        }
    }
}

/* ---- patches ----------------------------------------------------------------------------------------------------- */

/* How a window of `size` slides over images: `before` values of padding precede them; `out` places. */
typedef struct {
    Pair size, stride, dilation, before, out;
} Window;

/* Writes the values under a row of the window, its left end at `from`: zeros where it lies on padding. */
static float *gather_row(const float *line, float *to, Py_ssize_t from, const Images *in, const Window *window) {
    Py_ssize_t taps = window->size.across, c = in->c, step = window->dilation.across;
    if (step == 1) {
        Py_ssize_t left = from < 0 ? -from : 0, right = from + taps > in->w ? from + taps - in->w : 0;
        left = left < taps ? left : taps, right = right < taps - left ? right : taps - left;
        memset(to, 0, left * c * sizeof(float));
        memcpy(to + left * c, line + (from + left) * c, (taps - left - right) * c * sizeof(float));
        memset(to + (taps - right) * c, 0, right * c * sizeof(float));
        return to + taps * c;
    }
    for (Py_ssize_t tap = 0; tap < taps; tap++, to += c) {
        Py_ssize_t at = from + tap * step;
        if (at < 0 || at >= in->w) memset(to, 0, c * sizeof(float));
        else memcpy(to, line + at * c, c * sizeof(float));
    }
    return to;
}

static void gather(const float *x, float *to, const Images *in, const Window *window) {
    Py_ssize_t row = window->size.across * in->c;
    for (Py_ssize_t image = 0; image < in->n; image++, x += in->h * in->w * in->c)
        for (Py_ssize_t i = 0; i < window->out.down; i++)
            for (Py_ssize_t j = 0; j < window->out.across; j++)
                for (Py_ssize_t tap = 0; tap < window->size.down; tap++) {
                    Py_ssize_t line = i * window->stride.down + tap * window->dilation.down - window->before.down;
                    Py_ssize_t from = j * window->stride.across - window->before.across;
                    if (line >= 0 && line < in->h) to = gather_row(x + line * in->w * in->c, to, from, in, window);
                    else memset(to, 0, row * sizeof(float)), to += row;
                }
}

/* Writes what lies under one tap at the places of a row, of one channel: zeros where that is padding. from: the tap's
 * place at the first of them. */
static float *plane_row(const float *line, float *to, Py_ssize_t from, const Images *in, const Window *window) {
    Py_ssize_t places = window->out.across, step = window->stride.across, place = 0;
    for (; place < places && from < 0; place++, from += step) *to++ = 0.0f;
    Py_ssize_t inside = from < in->w ? (in->w - from - 1) / step + 1 : 0, stop = place + inside;
    if (stop > places) stop = places;
    if (step * in->c == 1) {
        memcpy(to, line + from, (stop - place) * sizeof(float));
        to += stop - place, place = stop;
    }
    for (; place < stop; place++, from += step) *to++ = line[from * in->c];
    for (; place < places; place++) *to++ = 0.0f;
    return to;
}

/* The same as `gather`, in another order: taps, then channels, then images and places. */
static void planes(const float *x, float *to, const Images *in, const Window *window) {
    for (Py_ssize_t tap = 0; tap < window->size.down * window->size.across; tap++) {
        Py_ssize_t down = tap / window->size.across * window->dilation.down - window->before.down;
        Py_ssize_t across = tap % window->size.across * window->dilation.across - window->before.across;
        for (Py_ssize_t channel = 0; channel < in->c; channel++)
            for (Py_ssize_t image = 0; image < in->n; image++)
                for (Py_ssize_t i = 0; i < window->out.down; i++) {
                    Py_ssize_t line = i * window->stride.down + down;
                    if (line >= 0 && line < in->h)
                        to = plane_row(x + (image * in->h + line) * in->w * in->c + channel, to, across, in, window);
                    else memset(to, 0, window->out.across * sizeof(float)), to += window->out.across;
                }
    }
}

/* ---- from Python ------------------------------------------------------------------------------------------------- */

static PyObject *finish(int good, Py_buffer *views, int count) {
    while (count) PyBuffer_Release(&views[--count]);
    if (good) Py_RETURN_NONE;
    PyErr_SetString(PyExc_ValueError, "arrays and shapes do not fit together");
    return NULL;
}

/* Whether windows of this size fit, and x, y and winners have the values that they must have. */
static int fits(const Images *in, const Pair *size, Py_ssize_t x, Py_ssize_t y, Py_ssize_t winner) {
    if (in->n < 0 || in->h < 0 || in->w < 0 || in->c < 0 || size->down < 1 || size->across < 1) return 0;
    Py_ssize_t places = in->n * (in->h / size->down) * (in->w / size->across) * in->c;
    return size->down * size->across <= MOST_TAPS && winner == places && y == places * (Py_ssize_t)sizeof(float) &&
           x == in->n * in->h * in->w * in->c * (Py_ssize_t)sizeof(float);
}

static PyObject *python_largest(PyObject *module, PyObject *args) {
    (void)module;
    Py_buffer views[3]; /* x, y, winner */
    Images in;
    Pair size;
    if (!PyArg_ParseTuple(args, "y*w*w*(nnnn)(nn)", &views[0], &views[1], &views[2], &in.n, &in.h, &in.w, &in.c,
                          &size.down, &size.across))
        return NULL;
    int good = fits(&in, &size, views[0].len, views[1].len, views[2].len);
    if (good) {
        Py_BEGIN_ALLOW_THREADS
        distprop_largest(views[0].buf, views[1].buf, views[2].buf, &in, &size);
        Py_END_ALLOW_THREADS
    }
    return finish(good, views, 3);
}

static PyObject *python_share(PyObject *module, PyObject *args) {
    (void)module;
    Py_buffer views[3]; /* dy, winner, dx */
    Images in;
    Pair size;
    if (!PyArg_ParseTuple(args, "y*y*w*(nnnn)(nn)", &views[0], &views[1], &views[2], &in.n, &in.h, &in.w, &in.c,
                          &size.down, &size.across))
        return NULL;
    int good = fits(&in, &size, views[2].len, views[0].len, views[1].len);
    if (good) {
        Py_BEGIN_ALLOW_THREADS
        distprop_share(views[0].buf, views[1].buf, views[2].buf, &in, &size);
        Py_END_ALLOW_THREADS
    }
    return finish(good, views, 3);
}

static PyObject *gathered(PyObject *args, void (*write)(const float *, float *, const Images *, const Window *)) {
    Py_buffer views[2]; /* x, patches */
    Images in;
    Window w;
    if (!PyArg_ParseTuple(args, "y*w*(nnnn)(nn)(nn)(nn)(nn)(nn)", &views[0], &views[1], &in.n, &in.h, &in.w, &in.c,
                          &w.size.down, &w.size.across, &w.stride.down, &w.stride.across, &w.dilation.down,
                          &w.dilation.across, &w.before.down, &w.before.across, &w.out.down, &w.out.across))
        return NULL;
    Py_ssize_t value = sizeof(float), row = w.size.down * w.size.across * in.c;
    int good = in.n >= 0 && in.h >= 0 && in.w >= 0 && in.c >= 0 && w.size.down > 0 && w.size.across > 0 &&
               w.stride.across > 0 && w.out.down >= 0 && w.out.across >= 0 &&
               views[0].len == in.n * in.h * in.w * in.c * value &&
               views[1].len == in.n * w.out.down * w.out.across * row * value;
    if (good) {
        Py_BEGIN_ALLOW_THREADS
        write(views[0].buf, views[1].buf, &in, &w);
        Py_END_ALLOW_THREADS
    }
    return finish(good, views, 2);
}

static PyObject *python_gather(PyObject *module, PyObject *args) {
    (void)module;
    return gathered(args, gather);
}

static PyObject *python_planes(PyObject *module, PyObject *args) {
    (void)module;
    return gathered(args, planes);
}

static PyMethodDef METHODS[] = {
    {"largest", python_largest, METH_VARARGS, "largest(x, y, winner, shape, size): see _images.pyi."},
    {"share", python_share, METH_VARARGS, "share(dy, winner, dx, shape, size): see _images.pyi."},
    {"gather", python_gather, METH_VARARGS,
     "gather(x, patches, shape, size, stride, dilation, before, out): see _images.pyi."},
    {"planes", python_planes, METH_VARARGS, "planes: as gather, in another order: see _images.pyi."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef MODULE = {
    .m_base = PyModuleDef_HEAD_INIT,
    .m_name = "_images",
    .m_doc = "Loops over images.",
    .m_methods = METHODS,
};

PyMODINIT_FUNC PyInit__images(void) { return PyModule_Create(&MODULE); }
