# Predictions: by several threads, by one, and by the short way of a few rows.

from cpython.buffer cimport PyBUF_FORMAT, PyBUF_STRIDES, PyBuffer_Release, PyObject_GetBuffer
from cpython.float cimport PyFloat_AS_DOUBLE
from cpython.long cimport PyLong_AsLongLongAndOverflow
from libc.stdint cimport int8_t, int16_t, int32_t, uint8_t, uint16_t, uint32_t

from numpy import dtype, float64

cdef extern from "arrays.h":
    ctypedef struct Dtype:
        char byteorder
        int number
    ctypedef struct Array:                      # of NumPy
        char *data
        int ndim, flags
        Py_ssize_t *shape
        Dtype *dtype
    const int CARRAY_RO, CARRAY, OF_FLOAT, OF_DOUBLE, WARNS_OF_WRITING
    void **array_api                            # NULL: NumPy's ABI is one that is not known
    int find_array_api(object capsule) except -1
    bint is_array(object x)
    object new_rows(object dtype, Py_ssize_t rows, Py_ssize_t n)

try:
    from numpy._core._multiarray_umath import _ARRAY_API
    find_array_api(_ARRAY_API)
except ImportError:
    pass

cdef enum:
    LITTLE_WORK = 200_000                       # multiply-adds not worth letting another thread run meanwhile


cdef class Predictor:
    """What a network inherits: `predict`, by a short way for a few rows that need no conversion."""
    cdef public Plan _plan
    cdef public bint _stale                             # its running statistics are those of other weights

    def predict(self, x, *, batch_size=None, threads=None, out=None):
        """The outputs of the network.

        Never changes the network; may be called from many threads at once.

        Parameters
        ----------
        x : array_like, shape (batch, n_in)
            Any layout and real type; contiguous arrays of the network's own dtype are not copied.
        batch_size : int or None, default None
            How many rows to convert and compute at a time; the result is the same. None: all.
        threads : int or None, default None
            How many threads share the rows; the result is the same. None: as many as pay.
        out : numpy.ndarray, shape (batch, n_out), optional
            Where to write the outputs: contiguous, writable, of the network's dtype, apart from x. A call that Ctrl-C
            ends may have written a part of it.

        Returns
        -------
        numpy.ndarray, shape (batch, n_out)
        """
        cdef object outputs = None
        if self._plan is not None and not self._stale and is_count(threads, 1024) and is_count(batch_size, 2 ** 40):
            outputs = few(self._plan, x, out)
        return self._predict(x, batch_size, threads, out) if outputs is None else outputs


cdef inline bint is_count(object given, int64_t most) except -1:
    """Whether this is None or a valid number, of which a few rows make no use."""
    return given is None or (type(given) is int and 1 <= given <= most)


@cython.final
cdef class Prediction(Blocks):
    """predict, by several threads: each takes the next run of rows until there is none, as some begin late."""
    cdef const void *x
    cdef void *out
    cdef void *memory
    cdef Py_ssize_t rows, size                          # of x; and numbers of a thread's memory
    cdef bint logits
    cdef int parts

    def __cinit__(self, Plan plan not None, x not None, out not None, bint logits, int threads):
        cdef Graph *graph = &plan.graph
        self.plan, self.logits, self.threads, self.rows = plan, logits, threads, len(x)
        self.x = self.numbers("x", x, (self.rows, graph.n_in), plan.single)
        self.out = self.numbers("out", out, (self.rows, graph.n_out), plan.single, True)
        self.parts = <int> max(threads, min(8 * threads, self.rows // graph.block))
        self.size = padded(graph.block * graph.y_width + scratch_size(graph), 16)
        self.reserve(8.0 * threads * self.size, False)
        self.memory = self.take(8.0 * threads * self.size)

    cdef void blocks(self, int thread, Watch *watch) noexcept nogil:
        if self.plan.single:
            predict_parts(self, thread, watch, <const float *> self.plan.parameters)
        else:
            predict_parts(self, thread, watch, <const double *> self.plan.parameters)


cdef void predict_parts(Prediction to, int thread, Watch *watch, const real *parameters) noexcept nogil:
    cdef const Graph *graph = &to.plan.graph
    cdef real *work = <real *> to.memory + thread * to.size
    cdef Py_ssize_t begin, end
    cdef int i = atomic_add(&to.taken, 1) - 1
    while i < to.parts:
        begin, end = share(to.rows, i, to.parts), share(to.rows, i + 1, to.parts)
        if not predict_rows(
            graph, parameters, <const real *> to.x + begin * graph.n_in, <real *> to.out + begin * graph.n_out,
            end - begin, to.logits, work, graph.block, work + graph.block * graph.y_width, watch,
        ):
            if atomic_get(&to.status) == RUNNING:
                atomic_set(&to.status, DIVERGED)
            return
        i = atomic_add(&to.taken, 1) - 1


cdef int check_rows(Plan plan, Py_ssize_t rows, Py_ssize_t n_in, Py_ssize_t out_rows, Py_ssize_t n_out) except -1:
    if n_in != plan.graph.n_in or n_out != plan.graph.n_out or rows != out_rows:
        raise ValueError(
            f"expected ({rows}, {plan.graph.n_in}) and ({rows}, {plan.graph.n_out}), "
            f"got ({rows}, {n_in}) and ({out_rows}, {n_out})")
    return 0


cdef object predict(Plan plan, const real[:, ::1] x, real[:, ::1] out, bint logits, int *status):
    cdef bint finite
    cdef Watch watch = begin_watch(status, 0)
    check_rows(plan, x.shape[0], x.shape[1], out.shape[0], out.shape[1])
    with nogil:
        finite = predict_within(
            &plan.graph, <const real *> plan.parameters, &x[0, 0], &out[0, 0], x.shape[0], logits, &watch)
    end_watch(&watch)
    return finite


# The short way of a few rows. Where anything is other than expected, None: validation looks again, and says what.

cdef object few(Plan plan, x, out):
    """This is what a single row costs, so of x and of the outputs only the fields are looked at. Rows of
    another type or layout, and Python's numbers, are converted on the way.
    """
    cdef const Array *array = <const Array *> x
    if array_api == NULL:
        return None
    if not is_array(x):
        if type(x) is not list and type(x) is not tuple:
            return None
        return few_numbers[float](plan, x, out, NULL) if plan.single else few_numbers[double](plan, x, out, NULL)
    if not is_plain(plan, array, CARRAY_RO) or array.shape[1] != plan.graph.n_in:
        return few_others(plan, x, out)
    if not plan.is_little(array.shape[0]):
        return None
    if plan.single:
        return outputs_of[float](plan, <const float *> array.data, array.shape[0], out, array.data)
    return outputs_of[double](plan, <const double *> array.data, array.shape[0], out, array.data)


cdef inline bint is_plain(Plan plan, const Array *array, int flags) noexcept:
    """Whether these are rows of the network's own numbers, one after the other."""
    return (
        array.ndim == 2 and array.flags & (flags | WARNS_OF_WRITING) == flags
        and array.dtype.number == (OF_FLOAT if plan.single else OF_DOUBLE) and array.dtype.byteorder == c"=")


cdef object few_others(Plan plan, x, out):
    """Rows of another type or layout."""
    cdef Py_buffer view
    cdef object found = None
    try:
        PyObject_GetBuffer(x, &view, PyBUF_FORMAT | PyBUF_STRIDES)
    except (BufferError, ValueError):               # dates, for one
        return None
    try:
        if view.ndim == 2 and view.shape[1] == plan.graph.n_in and plan.is_little(view.shape[0]):
            if plan.single:
                found = few_converted[float](plan, &view, out, NULL)
            else:
                found = few_converted[double](plan, &view, out, NULL)
    finally:
        PyBuffer_Release(&view)
    return found


cdef object few_converted(Plan plan, const Py_buffer *view, out, const real *_):
    cdef Py_ssize_t rows = view.shape[0], n = view.shape[1]
    cdef real stack[1024]
    cdef real *x = stack
    if view.itemsize == 0 or <size_t> view.buf % <size_t> view.itemsize != 0:
        return None
    if rows * n > 1024:
        x = <real *> malloc(rows * n * sizeof(real))
        if x == NULL:
            raise MemoryError
    try:
        if not convert(view, x):
            return None
        return outputs_of[real](plan, x, rows, out, NULL)
    finally:
        if x != stack:
            free(x)


ctypedef fused number:
    float
    double
    int8_t
    int16_t
    int32_t
    int64_t
    uint8_t
    uint16_t
    uint32_t
    uint64_t


cdef bint convert_from(const Py_buffer *view, const number *_, real *x) noexcept:
    """Rows of any layout become rows one after the other, each number rounded as NumPy rounds it."""
    cdef Py_ssize_t r, i
    cdef const char *row = <const char *> view.buf
    for r in range(view.shape[0]):
        for i in range(view.shape[1]):
            x[i] = <real> (<const number *> (row + i * view.strides[1]))[0]
        row += view.strides[0]
        x += view.shape[1]
    return True


cdef bint convert(const Py_buffer *view, real *x) noexcept:
    """From these types of the machine's own byte order; False for others, or where numbers lie askew."""
    cdef char kind = view.format[0]
    cdef Py_ssize_t size = view.itemsize
    if view.format[1] != 0 or view.strides[0] % size != 0 or view.strides[1] % size != 0:
        return False
    if kind == c"d": return convert_from[double, real](view, NULL, x)
    if kind == c"f": return convert_from[float, real](view, NULL, x)
    if kind == c"?": return convert_from[uint8_t, real](view, NULL, x)
    if kind in (c"b", c"h", c"i", c"l", c"q"):
        if size == 8: return convert_from[int64_t, real](view, NULL, x)
        if size == 4: return convert_from[int32_t, real](view, NULL, x)
        if size == 2: return convert_from[int16_t, real](view, NULL, x)
        return convert_from[int8_t, real](view, NULL, x)
    if kind in (c"B", c"H", c"I", c"L", c"Q"):
        if size == 8: return convert_from[uint64_t, real](view, NULL, x)
        if size == 4: return convert_from[uint32_t, real](view, NULL, x)
        if size == 2: return convert_from[uint16_t, real](view, NULL, x)
        return convert_from[uint8_t, real](view, NULL, x)
    return False


@cython.boundscheck(True)
cdef object few_numbers(Plan plan, x, out, const real *_):
    """Rows as lists or tuples of Python's numbers, or as arrays."""
    cdef Py_ssize_t rows = len(x), n = plan.graph.n_in, r
    cdef real stack[1024]
    cdef real *into = stack
    if not plan.is_little(rows):
        return None
    if rows * n > 1024:
        into = <real *> malloc(rows * n * sizeof(real))
        if into == NULL:
            raise MemoryError
    try:
        for r in range(rows):
            if not take_row(x[r], n, into + r * n):
                return None
        return outputs_of[real](plan, into, rows, out, NULL)
    finally:
        if into != stack:
            free(into)


@cython.boundscheck(True)
cdef bint take_row(object row, Py_ssize_t n, real *x) except -1:
    """One row of them; whether it is one."""
    cdef Py_ssize_t i
    cdef int64_t whole
    cdef int beyond = 0
    cdef object value
    if type(row) is not list and type(row) is not tuple:
        return is_array(row) and take_array(row, n, x)
    if len(row) != n:
        return False
    for i in range(n):
        value = row[i]
        if type(value) is float or type(value) is float64:
            x[i] = <real> PyFloat_AS_DOUBLE(value)
        elif type(value) is int:
            whole = PyLong_AsLongLongAndOverflow(value, &beyond)
            if beyond != 0 or not -(2 ** 53) <= whole <= 2 ** 53:   # what a double holds exactly
                return False
            x[i] = <real> <double> whole
        else:
            return False
    return True


cdef bint take_array(object row, Py_ssize_t n, real *x) except -1:
    """A row that is an array of floating-point numbers. Whole ones may be rounded otherwise beside other rows."""
    cdef Py_buffer view
    cdef Py_ssize_t i
    cdef bint taken = False
    try:
        PyObject_GetBuffer(row, &view, PyBUF_FORMAT | PyBUF_STRIDES)
    except (BufferError, ValueError):
        return False
    if view.ndim == 1 and view.shape[0] == n and view.format[1] == 0 and (
        <size_t> view.buf % <size_t> view.itemsize == 0 and view.strides[0] % view.itemsize == 0
    ):
        taken = view.format[0] == c"f" or view.format[0] == c"d"
        for i in range(n if taken else 0):
            if view.format[0] == c"f":
                x[i] = <real> (<const float *> (<const char *> view.buf + i * view.strides[0]))[0]
            else:
                x[i] = <real> (<const double *> (<const char *> view.buf + i * view.strides[0]))[0]
    PyBuffer_Release(&view)
    return taken


cdef object outputs_of(Plan plan, const real *x, Py_ssize_t rows, out, const char *given):
    """The outputs for x; given is where x lies if the caller sees it, else NULL."""
    cdef const Graph *graph = &plan.graph
    if out is None:
        out = new_rows(plan.dtype, rows, graph.n_out)
    elif not takes_outputs(plan, out, rows, given):
        return None
    finite = predict_within(
        graph, <const real *> plan.parameters, x, <real *> (<const Array *> out).data, rows, False, NULL)
    return out if finite else None


cdef bint takes_outputs(Plan plan, out, Py_ssize_t rows, const char *given):
    """Whether this is an array for the outputs of so many rows, apart from those and from the parameters."""
    cdef const Array *array = <const Array *> out
    cdef Py_ssize_t size = sizeof(float) if plan.single else sizeof(double), written = rows * plan.graph.n_out * size
    return (
        is_array(out) and is_plain(plan, array, CARRAY)
        and array.shape[0] == rows and array.shape[1] == plan.graph.n_out
        and (given == NULL or is_apart(array.data, written, given, given + rows * plan.graph.n_in * size))
        and plan.is_apart(array.data, written))


cdef inline bint is_apart(const char *data, Py_ssize_t size, const char *begin, const char *end) noexcept:
    """Whether so many bytes of data and those from begin to end do not overlap."""
    return end <= data or data + size <= begin


cdef int predict_within(
    const Graph *graph, const real *parameters, const real *x, real *out, Py_ssize_t rows, bint logits, Watch *watch,
) except -1 nogil:
    """predict_rows, in memory of its own: of the stack where that is enough; whether all of x is finite."""
    cdef float_mode mode
    cdef Py_ssize_t capacity = max(1, min(rows, graph.block))
    cdef Py_ssize_t size = capacity * graph.y_width + (
        zeros_size(graph) if capacity < TILE_ROWS else scratch_size(graph))
    cdef real stack[2048]
    cdef real *work = stack
    cdef bint finite
    if size > 2048:
        work = <real *> malloc(size * sizeof(real))
        if work == NULL:
            raise MemoryError
    mode = flush_subnormals()
    if watch != NULL:
        watch.mode = mode
    finite = predict_rows(
        graph, parameters, x, out, rows, logits, work, capacity, work + capacity * graph.y_width, watch)
    restore_mode(mode)
    if work != stack:
        free(work)
    return finite
