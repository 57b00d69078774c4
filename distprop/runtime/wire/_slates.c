/* What two processes of a host say to each other in memory that both see, and waiting for it without sleeping. */

#define Py_LIMITED_API 0x030B0000
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <errno.h>
#include <sched.h>
#include <stdint.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>

enum { ROOM = 176, EVENTS = 64, LOOKS = 8, UNSAID = 0, SAID = 1, RING = 2, HEARD = 1, OTHER = 0, LATE = -1 };

/* Each of two processes writes one and reads the other's. */
typedef struct {
    uint64_t written; /* number of the last message that was put here */
    uint64_t length;
    unsigned char message[ROOM];
    uint64_t taken;    /* number of the last message that was taken from the other's slate */
    uint64_t received; /* bytes that came by the socket */
    uint64_t awake;    /* whether its writer looks at the other's slate, or soon will */
    uint64_t looks;    /* its writer's */
    uint64_t unused[4];
} Slate;
_Static_assert(sizeof(Slate) == 256, "slate.py makes them as large");

typedef struct {
    int socket;
    Slate *mine;
    const Slate *theirs;
    Py_buffer views[2];
    const char *expected; /* a frame, whose number is another; or NULL */
    size_t length;
} Pair;

static uint64_t load(const uint64_t *at) { return __atomic_load_n(at, __ATOMIC_ACQUIRE); }
static void store(uint64_t *at, uint64_t value) { __atomic_store_n(at, value, __ATOMIC_RELEASE); }
static void fence(void) { __atomic_thread_fence(__ATOMIC_SEQ_CST); }

/* ---- saying and hearing ------------------------------------------------------------------------------------------ */

/* Said only where all that was said before has been heard, whichever way it went: so nothing overtakes. A reader that
 * falls asleep says so and looks once more; who finds it asleep after writing rings: one of them sees the other. */
static int say(Slate *mine, const Slate *theirs, uint64_t sent, const Py_buffer *message) {
    uint64_t number = load(&mine->written);
    if (message->len > ROOM || !load(&theirs->awake) || load(&theirs->taken) != number ||
        load(&theirs->received) != sent)
        return UNSAID;
    mine->length = (uint64_t)message->len;
    memcpy(mine->message, message->buf, (size_t)message->len);
    store(&mine->written, number + 1);
    fence();
    return load(&theirs->awake) ? SAID : RING;
}

static int is_said(const Slate *mine, const Slate *theirs) { return load(&theirs->written) != load(&mine->taken); }

/* ---- waiting ----------------------------------------------------------------------------------------------------- */

static int any_said(const Pair *pairs, Py_ssize_t count) {
    for (Py_ssize_t i = 0; i < count; i++)
        if (is_said(pairs[i].mine, pairs[i].theirs)) return 1;
    return 0;
}

static void be_awake(const Pair *pairs, Py_ssize_t count, uint64_t awake) {
    for (Py_ssize_t i = 0; i < count; i++)
        if (load(&pairs[i].mine->awake) != awake) store(&pairs[i].mine->awake, awake);
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* The sockets that are ready, at once or within `seconds`, or none where something is said. Whoever has something to
 * compute goes first. Sockets are dearer to ask than slates. */
static int look(int epoll, const Pair *pairs, Py_ssize_t count, double seconds, struct epoll_event *ready) {
    be_awake(pairs, count, 1);
    int events = epoll_wait(epoll, ready, EVENTS, 0);
    double until = seconds > 0.0 ? now() + seconds : 0.0;
    for (int looks = 1; !events && !any_said(pairs, count) && until && now() < until; looks++) {
        sched_yield();
        if (!count || looks % LOOKS == 0) events = epoll_wait(epoll, ready, EVENTS, 0);
    }
    return events;
}

/* From here on who says something rings. What was said before is seen by whoever looks now. */
static void fall_asleep(const Pair *pairs, Py_ssize_t count) {
    be_awake(pairs, count, 0);
    fence();
}

/* ---- hearing what is expected ------------------------------------------------------------------------------------ */

/* What all expected frames have in common: a number, at so many bytes. */
typedef struct {
    size_t at;
    int64_t value;
} Number;

static int is_expected(const Pair *pair, Number number) {
    const unsigned char *said = pair->theirs->message;
    size_t behind = number.at + sizeof number.value;
    return pair->expected && pair->theirs->length == pair->length && !memcmp(said, pair->expected, number.at) &&
           !memcmp(said + number.at, &number.value, sizeof number.value) &&
           !memcmp(said + behind, pair->expected + behind, pair->length - behind);
}

/* Whether all that is expected is said, and nothing else. LATE: it is not all said yet. */
static int all_said(const Pair *pairs, Py_ssize_t count, Number number) {
    int found = HEARD;
    for (const Pair *one = pairs; one < pairs + count; one++) {
        if (!is_said(one->mine, one->theirs)) {
            if (one->expected) found = LATE;
        } else if (!is_expected(one, number))
            return OTHER;
    }
    return found;
}

static int any_socket(int epoll, const Pair *pairs) {
    struct epoll_event ready;
    if (!epoll_wait(epoll, &ready, 1, 0)) return 0;
    pairs[0].mine->looks = LOOKS - 1; /* the next look is at sockets, too */
    return 1;
}

/* As `look`, for what is expected on slates; of sockets and of all else it tells only that there is something. */
static int await(int epoll, const Pair *pairs, Py_ssize_t count, Number number, double seconds) {
    be_awake(pairs, count, 1);
    int found = LATE;
    double until = now() + seconds;
    for (int looks = 1; (found = all_said(pairs, count, number)) == LATE && now() < until; looks++) {
        if (looks % LOOKS == 0 && any_socket(epoll, pairs)) return OTHER;
        sched_yield();
    }
    return found;
}

static void take_all(const Pair *pairs, Py_ssize_t count) {
    for (const Pair *one = pairs; one < pairs + count; one++)
        if (one->expected) store(&one->mine->taken, load(&one->theirs->written));
}

/* ---- Python ------------------------------------------------------------------------------------------------------ */

static int borrow(PyObject *memory, Py_buffer *view, int flags) {
    if (PyObject_GetBuffer(memory, view, flags)) return 0;
    if (view->len >= (Py_ssize_t)sizeof(Slate) && (uintptr_t)view->buf % 8 == 0) return 1;
    PyErr_Format(PyExc_ValueError, "a slate is %zd aligned bytes", sizeof(Slate));
    PyBuffer_Release(view);
    return 0;
}

static int borrow_both(PyObject *mine, PyObject *theirs, Py_buffer *views) {
    if (!borrow(mine, &views[0], PyBUF_WRITABLE)) return 0;
    if (borrow(theirs, &views[1], PyBUF_SIMPLE)) return 1;
    PyBuffer_Release(&views[0]);
    return 0;
}

static void release_both(Py_buffer *views) {
    PyBuffer_Release(&views[0]);
    PyBuffer_Release(&views[1]);
}

static PyObject *python_say(PyObject *self, PyObject *args) {
    (void)self;
    PyObject *mine, *theirs;
    unsigned long long sent;
    Py_buffer message, views[2];
    if (!PyArg_ParseTuple(args, "OOy*K", &mine, &theirs, &message, &sent)) return NULL;
    PyObject *answer = NULL;
    if (borrow_both(mine, theirs, views)) {
        answer = PyLong_FromLong(say(views[0].buf, views[1].buf, sent, &message));
        release_both(views);
    }
    PyBuffer_Release(&message);
    return answer;
}

static PyObject *taken(Slate *mine, const Slate *theirs) {
    if (!is_said(mine, theirs)) Py_RETURN_NONE;
    uint64_t number = load(&theirs->written), length = theirs->length < ROOM ? theirs->length : ROOM;
    PyObject *message = PyBytes_FromStringAndSize((const char *)theirs->message, (Py_ssize_t)length);
    if (message) store(&mine->taken, number);
    return message;
}

static PyObject *python_take(PyObject *self, PyObject *args) {
    (void)self;
    PyObject *mine, *theirs;
    Py_buffer views[2];
    if (!PyArg_ParseTuple(args, "OO", &mine, &theirs) || !borrow_both(mine, theirs, views)) return NULL;
    PyObject *answer = taken(views[0].buf, views[1].buf);
    release_both(views);
    return answer;
}

static PyObject *python_heard(PyObject *self, PyObject *args) {
    (void)self;
    PyObject *mine;
    unsigned long long received;
    Py_buffer view;
    if (!PyArg_ParseTuple(args, "OK", &mine, &received) || !borrow(mine, &view, PyBUF_WRITABLE)) return NULL;
    store(&((Slate *)view.buf)->received, received);
    PyBuffer_Release(&view);
    Py_RETURN_NONE;
}

static int borrow_pairs(PyObject *slates, Pair *pairs, Py_ssize_t count, Py_ssize_t *borrowed) {
    for (; *borrowed < count; ++*borrowed) {
        Pair *pair = &pairs[*borrowed];
        PyObject *mine, *theirs, *one = PyTuple_GetItem(slates, *borrowed);
        if (!one || !PyArg_ParseTuple(one, "iOO", &pair->socket, &mine, &theirs)) return 0;
        if (!borrow_both(mine, theirs, pair->views)) return 0;
        pair->mine = pair->views[0].buf, pair->theirs = pair->views[1].buf;
    }
    return 1;
}

static int read_expected(PyObject *frames, size_t number_at, Pair *pairs, Py_ssize_t count) {
    if (PyTuple_Size(frames) != count) {
        if (!PyErr_Occurred()) PyErr_SetString(PyExc_ValueError, "a frame, or None, for each slate");
        return 0;
    }
    for (Py_ssize_t i = 0; i < count; i++) {
        PyObject *frame = PyTuple_GetItem(frames, i);
        char *bytes = NULL;
        Py_ssize_t length = 0;
        if (frame != Py_None && PyBytes_AsStringAndSize(frame, &bytes, &length)) return 0;
        if (bytes && (size_t)length < number_at + sizeof(int64_t)) {
            PyErr_SetString(PyExc_ValueError, "a frame ends before its number");
            return 0;
        }
        pairs[i].expected = bytes, pairs[i].length = (size_t)length;
    }
    return 1;
}

static int add(PyObject *list, int socket, unsigned events) {
    PyObject *one = Py_BuildValue("(iI)", socket, events);
    int failed = !one || PyList_Append(list, one);
    Py_XDECREF(one);
    return !failed;
}

static PyObject *told(const Pair *pairs, Py_ssize_t count, const struct epoll_event *ready, int events) {
    PyObject *list = PyList_New(0);
    int well = list != NULL;
    for (Py_ssize_t i = 0; well && i < count; i++)
        if (is_said(pairs[i].mine, pairs[i].theirs)) well = add(list, pairs[i].socket, 0);
    for (int i = 0; well && i < events; i++) well = add(list, ready[i].data.fd, ready[i].events);
    if (!well) Py_CLEAR(list);
    return list;
}

/* With the lock on Python: most looks find something on a slate. Sockets have their turn at every LOOKS-th of these. */
static int is_said_at_once(const Pair *pairs, Py_ssize_t count) {
    return count && ++pairs[0].mine->looks % LOOKS && any_said(pairs, count);
}

static PyObject *looked(int epoll, const Pair *pairs, Py_ssize_t count, double seconds) {
    struct epoll_event ready[EVENTS];
    int events = 0, trouble = 0;
    if (!is_said_at_once(pairs, count)) {
        Py_BEGIN_ALLOW_THREADS
        events = look(epoll, pairs, count, seconds, ready);
        trouble = errno;
        if (!events && !any_said(pairs, count)) fall_asleep(pairs, count);
        Py_END_ALLOW_THREADS
    }
    if (events >= 0) return told(pairs, count, ready, events);
    errno = trouble;
    return PyErr_SetFromErrno(PyExc_OSError);
}

/* What a call looks at. */
typedef struct {
    int epoll;
    Pair *pairs;
    Py_ssize_t count, borrowed;
} View;

static int open_view(View *view, PyObject *epoll, PyObject *slates) {
    view->epoll = PyObject_AsFileDescriptor(epoll), view->count = PyTuple_Size(slates), view->borrowed = 0;
    view->pairs = NULL;
    if (view->epoll < 0 || view->count < 0) return 0;
    view->pairs = PyMem_Malloc(sizeof(Pair) * (size_t)(view->count + 1));
    if (!view->pairs) return PyErr_NoMemory() != NULL;
    return borrow_pairs(slates, view->pairs, view->count, &view->borrowed);
}

static void close_view(View *view) {
    while (view->borrowed) release_both(view->pairs[--view->borrowed].views);
    PyMem_Free(view->pairs);
}

static PyObject *python_look(PyObject *self, PyObject *args) {
    (void)self;
    PyObject *epoll, *slates, *answer = NULL;
    double seconds;
    View view;
    if (!PyArg_ParseTuple(args, "OOd", &epoll, &slates, &seconds)) return NULL;
    if (open_view(&view, epoll, slates)) answer = looked(view.epoll, view.pairs, view.count, seconds);
    close_view(&view);
    return answer;
}

/* With the lock on Python where all is said already; sockets have their turn as in `look`. */
static int hear(const View *view, Number number, double seconds) {
    const Pair *pairs = view->pairs;
    if (++pairs[0].mine->looks % LOOKS == 0 && any_socket(view->epoll, pairs)) return OTHER;
    int found = all_said(pairs, view->count, number);
    if (found == LATE) {
        Py_BEGIN_ALLOW_THREADS
        found = await(view->epoll, pairs, view->count, number, seconds);
        Py_END_ALLOW_THREADS
    }
    if (found == HEARD) take_all(pairs, view->count);
    return found;
}

static PyObject *python_hear(PyObject *self, PyObject *args) {
    (void)self;
    PyObject *epoll, *slates, *frames, *answer = NULL;
    Py_ssize_t at;
    long long value;
    double seconds;
    View view;
    if (!PyArg_ParseTuple(args, "OOOnLd", &epoll, &slates, &frames, &at, &value, &seconds)) return NULL;
    Number number = {(size_t)at, value};
    if (open_view(&view, epoll, slates) && read_expected(frames, number.at, view.pairs, view.count))
        answer = PyLong_FromLong(view.count ? hear(&view, number, seconds) : OTHER);
    close_view(&view);
    return answer;
}

static PyMethodDef METHODS[] = {
    {"say", python_say, METH_VARARGS, "say(mine, theirs, message, sent): see _slates.pyi."},
    {"take", python_take, METH_VARARGS, "take(mine, theirs): see _slates.pyi."},
    {"heard", python_heard, METH_VARARGS, "heard(mine, received): see _slates.pyi."},
    {"look", python_look, METH_VARARGS, "look(epoll, slates, seconds): see _slates.pyi."},
    {"hear", python_hear, METH_VARARGS, "hear(epoll, slates, frames, at, number, seconds): see _slates.pyi."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef MODULE = {
    .m_base = PyModuleDef_HEAD_INIT,
    .m_name = "_slates",
    .m_doc = "Messages in shared memory.",
    .m_methods = METHODS,
};

PyMODINIT_FUNC PyInit__slates(void) { return PyModule_Create(&MODULE); }
