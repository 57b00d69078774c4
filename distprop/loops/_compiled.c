/* Plays a tape piece by piece: every value is read from memory once, and written once.
 *
 * Each operation is a single one of IEEE 754 on float32, as in NumPy's loops. So the bits are NumPy's, if the compiler
 * neither contracts nor reorders: see the flags in setup.py. */

#define Py_LIMITED_API 0x030B0000
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

#include "_strict.h"

#ifdef __SSE2__
#include <emmintrin.h>
#endif

enum {
    REGISTERS = 256,
    OPS = 512,
    ROOMS = 32,  /* registers that are written */
    PIECE = 512, /* values: 2 kB of the first cache for a register */
    LINE = 16,   /* values of a cache line */
    LANES = 16,  /* of a sum of squares: see squares.py */
    SUMS = 8     /* of a tape */
};
enum { ADD, SUBTRACT, MULTIPLY, DIVIDE, MINIMUM, MAXIMUM, SQRT, SIGN, COPY, FILL, SQUARES };

typedef struct {
    int code, out, a, b; /* b < 0: the scalar */
    float scalar;
} Op;

typedef struct {
    float *memory;
    int kept, read, room; /* read: before it is written. room: where a piece of it is written; -1 if it is not */
} Register;

typedef struct {
    Op ops[OPS];
    Register registers[REGISTERS];
    int reads[REGISTERS]; /* those that are read */
    int op_count, register_count, read_count, room_count, sum_count, streamed;
    size_t size, block_count;
    const size_t *stops; /* of blocks */
    double *sums;        /* [block][sum] */
} Tape;

#define EACH _Pragma("GCC ivdep") for (size_t i = 0; i < n; i++)
#define BINARY(operator)                                                                                               \
    if (b) EACH out[i] = a[i] operator b[i];                                                                           \
    else EACH out[i] = a[i] operator scalar;                                                                           \
    break

/* out may be a or b, and overlaps neither otherwise. */
FOR_EACH_PROCESSOR
void distprop_operate(int code, float *out, const float *a, const float *b, float scalar, size_t n) {
    switch (code) {
    case ADD: BINARY(+);
    case SUBTRACT: BINARY(-);
    case MULTIPLY: BINARY(*);
    case DIVIDE: BINARY(/);
    case MINIMUM: EACH out[i] = scalar < a[i] ? scalar : a[i]; break;
    case MAXIMUM: EACH out[i] = scalar > a[i] ? scalar : a[i]; break;
    case SQRT: EACH out[i] = sqrtf(a[i]); break;
    case SIGN: EACH out[i] = a[i] > 0 ? 1.0f : a[i] < 0 ? -1.0f : a[i] == 0 ? 0.0f : a[i]; break;
    case COPY: memmove(out, a, n * sizeof(float)); break;
    case FILL: EACH out[i] = scalar; break;
    }
}

/* Adds squares to the lanes. */
FOR_EACH_PROCESSOR
void distprop_square(const float *a, size_t n, double *lanes) {
    double sums[LANES];
    memcpy(sums, lanes, sizeof sums);
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int lane = 0; lane < LANES; lane++) sums[lane] += (double)a[i + lane] * (double)a[i + lane];
    for (int lane = 0; i < n; i++, lane++) sums[lane] += (double)a[i] * (double)a[i];
    memcpy(lanes, sums, sizeof sums);
}

/* Past the caches: what is next read a whole step later would only push out what is read now, and a line that is
 * written whole need not be read before. */
static void stream(float *to, const float *from, size_t n) {
#ifdef __SSE2__
    while (n && (uintptr_t)to % 16) *to++ = *from++, n--;
    for (; n >= 4; n -= 4, to += 4, from += 4) _mm_stream_ps(to, _mm_loadu_ps(from));
#endif
    memcpy(to, from, n * sizeof(float));
}

/* Asks for a share of what the piece at `start` will read, beside operation number i. Always inline: compilers leave
 * out calls of functions that do nothing but ask. */
static inline __attribute__((always_inline)) void fetch(const Tape *tape, size_t start, int i) {
    if (start + PIECE > tape->size) return;
    int lines = PIECE / LINE, all = lines * tape->read_count, until = all * (i + 1) / tape->op_count;
    for (int line = all * i / tape->op_count; line < until; line++)
        __builtin_prefetch(tape->registers[tape->reads[line / lines]].memory + start + line % lines * LINE);
}

/* Plays n values from `start` on: a piece of a block. rooms: memory for registers. lanes: of the block's sums. */
static void play_piece(const Tape *tape, size_t start, size_t n, float (*rooms)[PIECE], double (*lanes)[LANES]) {
    const float *now[REGISTERS]; /* where a register's values are */
    float *next[REGISTERS];      /* where they go when they are written */
    for (int r = 0; r < tape->register_count; r++) {
        const Register *one = &tape->registers[r];
        now[r] = one->memory + start;
        next[r] = one->kept && !tape->streamed ? one->memory + start : rooms[one->room < 0 ? 0 : one->room];
    }
    for (int i = 0; i < tape->op_count; i++) {
        const Op *op = &tape->ops[i];
        if (tape->streamed) fetch(tape, start + n, i);
        if (op->code == SQUARES) {
            distprop_square(now[op->a], n, *lanes++);
            continue;
        }
        distprop_operate(op->code, next[op->out], now[op->a], op->b < 0 ? NULL : now[op->b], op->scalar, n);
        now[op->out] = next[op->out];
    }
    for (const Register *one = tape->registers; tape->streamed && one < tape->registers + tape->register_count; one++)
        if (one->kept && one->room >= 0) stream(one->memory + start, rooms[one->room], n);
}

static void play(const Tape *tape) {
    _Alignas(64) float rooms[ROOMS][PIECE];
    size_t start = 0;
    for (size_t block = 0; block < tape->block_count; block++) {
        double lanes[SUMS][LANES] = {{0}};
        for (size_t stop = tape->stops[block]; start < stop;) {
            size_t n = stop - start < PIECE ? stop - start : PIECE;
            play_piece(tape, start, n, rooms, lanes);
            start += n;
        }
        for (int sum = 0; sum < tape->sum_count; sum++) {
            double total = lanes[sum][0];
            for (int lane = 1; lane < LANES; lane++) total += lanes[sum][lane];
            tape->sums[block * tape->sum_count + sum] = total;
        }
    }
#ifdef __SSE2__
    if (tape->streamed) _mm_sfence();
#endif
}

/* ---- from Python ------------------------------------------------------------------------------------------------- */

static int refuse(const char *why) {
    PyErr_SetString(PyExc_ValueError, why);
    return 0;
}

static void note_read(Tape *tape, int r) {
    Register *one = &tape->registers[r];
    if (one->room < 0 && !one->read) one->read = 1, tape->reads[tape->read_count++] = r;
}

static int read_op(PyObject *found, Tape *tape) {
    Op *op = &tape->ops[tape->op_count++];
    double scalar;
    if (!PyArg_ParseTuple(found, "iiiid", &op->code, &op->out, &op->a, &op->b, &scalar)) return 0;
    op->scalar = (float)scalar;
    int count = tape->register_count;
    if (op->code < ADD || op->code > SQUARES || op->out < 0 || op->out >= count || op->a < 0 || op->a >= count ||
        op->b >= count)
        return refuse("a tape names an operation or a register that does not exist");
    note_read(tape, op->a);
    if (op->b >= 0) note_read(tape, op->b);
    if (op->code == SQUARES) return ++tape->sum_count <= SUMS || refuse("a tape asks for too many sums");
    if (tape->registers[op->out].room < 0) tape->registers[op->out].room = tape->room_count++;
    return tape->room_count <= ROOMS || refuse("a tape writes to too many registers");
}

static int read_ops(PyObject *ops, Tape *tape) {
    Py_ssize_t count = PyList_Size(ops);
    if (count < 0) return 0;
    if (count > OPS) return refuse("a tape is too long");
    for (Py_ssize_t i = 0; i < count; i++)
        if (!read_op(PyList_GetItem(ops, i), tape)) return 0;
    return 1;
}

/* Views of what the registers stand for; those taken are counted, and given back by the caller. */
static int read_registers(PyObject *vectors, uint64_t kept, Tape *tape, Py_buffer *views, int *taken) {
    Py_ssize_t count = PyTuple_Size(vectors);
    if (count < 0) return 0;
    if (count > REGISTERS) return refuse("a tape has too many registers");
    tape->register_count = (int)count;
    for (Py_ssize_t r = 0; r < count; r++) {
        PyObject *vector = PyTuple_GetItem(vectors, r);
        tape->registers[r].kept = r < 64 && kept >> r & 1;
        tape->registers[r].room = -1, tape->registers[r].read = 0;
        Py_buffer *view = &views[*taken];
        int flags = PyBUF_ND | PyBUF_FORMAT | (tape->registers[r].kept ? PyBUF_WRITABLE : 0);
        if (PyObject_GetBuffer(vector, view, flags) < 0) return 0;
        if (!(*taken)++) tape->size = view->len / sizeof(float);
        if (strcmp(view->format, "f")) return refuse("a register is not of float32");
        if (view->len != (Py_ssize_t)(tape->size * sizeof(float))) return refuse("registers differ in length");
        tape->registers[r].memory = view->buf;
    }
    return 1;
}

/* Where blocks end, in memory that the caller frees, with room for their sums behind. */
static int read_stops(PyObject *stops, Tape *tape, size_t **memory) {
    Py_ssize_t count = PyTuple_Size(stops);
    if (count < 0) return 0;
    size_t before = 0, *room = *memory = PyMem_Malloc(count * sizeof(size_t) + count * SUMS * sizeof(double));
    if (!room) return PyErr_NoMemory() != NULL;
    for (Py_ssize_t i = 0; i < count; before = room[i++]) {
        room[i] = PyLong_AsSize_t(PyTuple_GetItem(stops, i));
        if (PyErr_Occurred()) return 0;
        if (room[i] < before) return refuse("blocks are out of order");
    }
    tape->block_count = count, tape->stops = room, tape->sums = (double *)(room + count);
    return before == tape->size || refuse("blocks do not end where the registers do");
}

/* A list for each sum, with a value a block. */
static PyObject *told(const Tape *tape) {
    PyObject *lists = PyList_New(tape->sum_count);
    for (int sum = 0; lists && sum < tape->sum_count; sum++) {
        PyObject *list = PyList_New(tape->block_count);
        for (size_t block = 0; list && block < tape->block_count; block++) {
            PyObject *value = PyFloat_FromDouble(tape->sums[block * tape->sum_count + sum]);
            if (!value || PyList_SetItem(list, block, value) < 0) Py_CLEAR(list);
        }
        if (!list || PyList_SetItem(lists, sum, list) < 0) Py_CLEAR(lists);
    }
    return lists;
}

static PyObject *python_play(PyObject *module, PyObject *args) {
    (void)module;
    PyObject *ops, *vectors, *stops, *answer = NULL;
    unsigned long long kept;
    Tape tape;
    Py_buffer views[REGISTERS];
    size_t *memory = NULL;
    int taken = 0;
    tape.op_count = tape.register_count = tape.read_count = tape.room_count = tape.sum_count = 0, tape.size = 0;
    if (!PyArg_ParseTuple(args, "OOKOp", &ops, &vectors, &kept, &stops, &tape.streamed)) return NULL;
    if (read_registers(vectors, kept, &tape, views, &taken) && read_ops(ops, &tape) &&
        read_stops(stops, &tape, &memory)) {
        Py_BEGIN_ALLOW_THREADS
        play(&tape);
        Py_END_ALLOW_THREADS
        answer = told(&tape);
    }
    while (taken) PyBuffer_Release(&views[--taken]);
    PyMem_Free(memory);
    return answer;
}

static PyMethodDef METHODS[] = {
    {"play", python_play, METH_VARARGS, "play(ops, vectors, kept, stops, streamed): see _compiled.pyi."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef MODULE = {
    .m_base = PyModuleDef_HEAD_INIT,
    .m_name = "_compiled",
    .m_doc = "Tapes, played by compiled loops.",
    .m_methods = METHODS,
};

PyMODINIT_FUNC PyInit__compiled(void) { return PyModule_Create(&MODULE); }
