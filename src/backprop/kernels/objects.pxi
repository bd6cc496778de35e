# The module's face: objects that own memory, and arguments checked so that nothing reaches outside it.

cdef class Memory:
    """Zeroed memory, handed out in pieces aligned to the widest register."""
    cdef char *base
    cdef size_t used

    def __dealloc__(self):
        free(self.base)

    cdef int reserve(self, double size) except -1:
        """Room for pieces of so many bytes together, and for their alignment."""
        size += 4096
        if size < 4e18:
            self.base = <char *> calloc(<size_t> size, 1)
        if self.base == NULL:
            raise MemoryError(f"no {size / 2 ** 30:.1f} GiB for a workspace: fewer rows at a time need less")
        self.used = 64 - <size_t> self.base % 64
        return 0

    cdef void *take(self, double size) noexcept:
        cdef void *piece = self.base + self.used
        self.used += (<size_t> size + 63) // 64 * 64
        return piece


cdef object keep_buffers(Plan plan, real[::1] buffers):
    if buffers is not None and buffers.shape[0] > 0:
        plan.buffers = buffers
        plan.graph.n_buffers, plan.graph.buffers = buffers.shape[0], &buffers[0]


@cython.final
cdef class Plan:
    """A network lowered to steps over two flat vectors, which the caller allocates with SLACK numbers to spare.

    Each step is (operation, activation, alpha, n_in, n_out, weight, bias, source, other, key, extra): weight and bias
    are offsets, or -1; source and other the steps whose outputs it takes, or -1 for the input; extra is (momentum,
    offset in the buffers) of a batch norm, the momentum a number or a function that gives the present one, and (weight
    or -1, values, n, count) for so many columns side by side, one where there is no count. The first seven will do
    where each step takes the one before. Each penalty is (begin, end, l1, l2).
    """
    cdef Graph graph
    cdef Py_ssize_t n_given                             # steps that there is memory for
    cdef bint single
    cdef float[::1] parameters_f, gradients_f
    cdef double[::1] parameters_d, gradients_d
    cdef void *parameters
    cdef void *gradients
    cdef object buffers, dtype
    cdef list momenta                                   # of the batch norms
    cdef tuple row_shape
    cdef Tape tape

    def __cinit__(
        self, parameters not None, gradients not None, Py_ssize_t n_parameters, list steps not None, buffers=None,
        tuple penalties not None=(),
    ):
        cdef Py_ssize_t s, room
        cdef tuple given = tuple([tuple(step) for step in steps])
        self.single = memoryview(parameters).format == "f"
        if self.single:
            self.parameters_f, self.gradients_f = parameters, gradients
            self.parameters, self.gradients = &self.parameters_f[0], &self.gradients_f[0]
            room = min(self.parameters_f.shape[0], self.gradients_f.shape[0])
            keep_buffers[float](self, buffers)
        else:
            self.parameters_d, self.gradients_d = parameters, gradients
            self.parameters, self.gradients = &self.parameters_d[0], &self.gradients_d[0]
            room = min(self.parameters_d.shape[0], self.gradients_d.shape[0])
            keep_buffers[double](self, buffers)
        if not 0 <= n_parameters <= room - SLACK or not given:
            raise ValueError("a plan has steps, and SLACK numbers behind its parameters")
        self.graph.steps = <Step *> calloc(len(given), sizeof(Step))
        if self.graph.steps == NULL:
            raise MemoryError
        self.n_given, self.momenta = len(given), []
        self.graph.n_parameters = n_parameters
        # Weights that do not stay in the cache serve more rows before they leave it.
        self.graph.block = ROWS if n_parameters * (4 if self.single else 8) > FAR else BLOCK
        for s in range(len(given)):
            self.add(s, given[s])
        self.lay_out()
        self.graph.penalties = <Penalty *> calloc(max(1, len(penalties)), sizeof(Penalty))
        if self.graph.penalties == NULL:
            raise MemoryError
        for s in range(len(penalties)):
            self.penalise(&self.graph.penalties[s], penalties[s])
        self.graph.n_penalties = <int> len(penalties)
        self.dtype = empty(0, "f" if self.single else "d").dtype
        self.row_shape = (1, self.graph.n_out)

    cdef Py_ssize_t width_of(self, int s, Py_ssize_t before) except -1:
        """Of the output of one of the steps before, or of the input."""
        if not INPUT <= s < before:
            raise ValueError(f"step {before}: no such step before it as {s}")
        return self.graph.n_in if s == INPUT else self.graph.steps[s].n_out

    cdef int add(self, Py_ssize_t s, tuple given) except -1:
        """Check the next step against those before."""
        cdef Graph *graph = &self.graph
        cdef Step *step = &graph.steps[s]
        if len(given) == 7:
            given += (s - 1, INPUT, s, ())
        (step.operation, step.activation, step.alpha, step.n_in, step.n_out, step.weight, step.bias, step.source,
         step.other, step.key, extra) = given
        if s == 0:
            graph.n_in = step.n_in
        if not 0 < step.n_in < 2 ** 40 or not 0 < step.n_out < 2 ** 40 or not -1e300 < step.alpha < 1e300:
            raise ValueError(f"step {s}: sizes do not fit")
        if not 0 <= step.operation < OPERATION_COUNT or not 0 <= step.activation < ACTIVATION_COUNT:
            raise ValueError(f"step {s}: unknown operation or activation")
        if needs_z(step.activation) and step.operation != ACTIVATION:
            raise ValueError(f"step {s}: an activation whose derivative is taken from z is a step of its own")
        if self.width_of(step.source, s) != step.n_in:
            raise ValueError(f"step {s}: sizes do not fit")
        self.check_sizes(s, step)
        if step.operation == COLUMNS:
            self.add_columns(s, step, tuple(extra))
        elif step.operation == BATCH_NORM:
            momentum, step.buffer = extra
            step.norm = graph.n_norms
            graph.n_norms += 1
            self.momenta.append(momentum)
            if not 0 <= step.buffer <= graph.n_buffers - 2 * step.n_out:
                raise ValueError(f"step {s}: buffers do not fit")
            self.momentum(step.norm)
        if not 0 <= step.weight <= graph.n_parameters - step.units * <double> step.unit or (
            step.bias != -1 and not 0 <= step.bias <= graph.n_parameters - step.n_out
        ):
            raise ValueError(f"step {s}: parameters do not fit")
        graph.widest = max(graph.widest, step.n_in, step.n_out)
        graph.work += step.n_in * <double> step.n_out if step.operation == DENSE else step.n_out
        graph.n_out = step.n_out
        graph.n_steps = s + 1
        return 0

    cdef double momentum(self, int norm) except -1:
        """How fast the statistics of a batch norm are to follow, from now on."""
        cdef object given = self.momenta[norm]
        cdef double momentum = given() if callable(given) else given
        if not 0 <= momentum <= 1:
            raise ValueError(f"expected a momentum from 0 to 1, got {momentum}")
        return momentum

    cdef int read_momenta(self, double *momenta) except -1:
        cdef int i
        for i in range(self.graph.n_norms):
            momenta[i] = self.momentum(i)
        return 0

    cdef int check_sizes(self, Py_ssize_t s, Step *step) except -1:
        """What goes in and out of an operation, and what it has of parameters."""
        cdef bint fits = step.n_in == step.n_out
        step.units, step.unit = 0, 1
        if step.operation == DENSE:
            fits, step.units, step.unit = True, step.n_in, step.n_out
        elif step.operation == DROPOUT:
            fits = fits and 0 <= step.alpha < 1 and step.activation == IDENTITY
        elif step.operation == ADD:
            fits = fits and self.width_of(step.other, s) == step.n_out
        elif step.operation == JOIN:
            fits = self.width_of(step.other, s) == step.n_out - step.n_in
        elif step.operation == PRELU:
            step.units = step.n_out
        elif step.operation == LAYER_NORM or step.operation == BATCH_NORM:
            fits = fits and step.alpha >= 0 and step.bias >= 0
            step.units = step.n_out
        elif step.operation == COLUMNS:
            fits = step.source == INPUT
        if not fits:
            raise ValueError(f"step {s}: sizes or rate do not fit")
        if step.units == 0:
            step.weight, step.bias = 0, -1
        return 0

    cdef int add_columns(self, Py_ssize_t s, Step *step, tuple given) except -1:
        """The columns of the input, and the extent of their tables from `weight` on."""
        cdef Column *column
        cdef Py_ssize_t c
        cdef double n_in = 0, n_out = 0, end = 0
        step.columns = <Column *> calloc(max(1, len(given)), sizeof(Column))
        if step.columns == NULL:
            raise MemoryError
        step.weight, step.n_columns = self.graph.n_parameters, len(given)
        for c in range(len(given)):
            column = &step.columns[c]
            column.weight, column.values, column.n, column.count = given[c] if len(given[c]) == 4 else (*given[c], 1)
            if not 0 < column.n <= step.n_out or not 0 < column.values < 2 ** 40 or (
                not 0 < column.count <= step.n_in
            ) or (
                column.n != 1 if column.weight < 0 else
                column.values * <double> column.n > self.graph.n_parameters - column.weight
            ):
                raise ValueError(f"step {s}: column {c} does not fit")
            n_in += column.count
            n_out += column.count * <double> column.n
            if column.weight >= 0:
                self.graph.tables = True
                step.weight = min(step.weight, column.weight)
                end = max(end, column.weight + column.values * <double> column.n)
        if n_in != step.n_in or n_out != step.n_out:
            raise ValueError(f"step {s}: columns do not fit")
        step.units = max(0, <Py_ssize_t> end - step.weight)
        return 0

    cdef int lay_out(self) except -1:
        """Place the outputs and gradients in a workspace, and see which gradients are added to."""
        cdef Graph *graph = &self.graph
        cdef Py_ssize_t lanes = LANES_F if self.single else LANES_D
        cdef Step *step
        cdef int s
        for s in range(graph.n_steps):
            step = &graph.steps[s]
            step.ld = distance(step.n_out, lanes)
            graph.widest = max(graph.widest, step.ld)
            step.y = graph.y_width
            graph.y_width += step.ld
            if graph.y_width > <Py_ssize_t> 2 ** 40:
                raise ValueError(f"step {s}: rows do not fit into memory")
        graph.width = graph.y_width
        for s in range(graph.n_steps):
            step = &graph.steps[s]
            step.dy = graph.width
            graph.width += step.ld
            if step.operation == LAYER_NORM:
                step.statistics = graph.width
                graph.width += KEPT
            elif step.operation == BATCH_NORM:
                step.statistics = graph.at_end
                graph.at_end += 2 * COLUMNWISE * step.ld
        written = [False] * (graph.n_steps + 1)         # the input is the first of them
        for s in range(graph.n_steps - 1, -1, -1):
            step = &graph.steps[s]
            step.adds = written[step.source + 1]
            written[step.source + 1] = True
            if step.operation == ADD or step.operation == JOIN:
                step.adds_other = written[step.other + 1]
                written[step.other + 1] = True
        return 0

    cdef int penalise(self, Penalty *it, tuple given) except -1:
        it.begin, it.end, it.l1, it.l2 = given
        if not 0 <= it.begin <= it.end <= self.graph.n_parameters:
            raise ValueError("a penalty on parameters that there are not")
        return 0

    def __dealloc__(self):
        cdef Py_ssize_t s
        for s in range(self.n_given):
            free(self.graph.steps[s].columns)
        free(self.graph.steps)
        free(self.graph.penalties)

    @property
    def work(self):
        """Multiply-adds for one row on the way forward."""
        return self.graph.work

    def penalty(self):
        """What the penalties add to the loss."""
        if self.single:
            return penalty_forward(self.graph.n_penalties, self.graph.penalties, <const float *> self.parameters)
        return penalty_forward(self.graph.n_penalties, self.graph.penalties, <const double *> self.parameters)

    def predict(self, x not None, out not None, bint logits=False, int threads=1):
        """Write the outputs for x (rows, n_in) into out (rows, n_out); with logits, without the last activation.

        Whether all of x is finite: if not, what is in out is not to be used.
        """
        cdef int status = RUNNING
        if threads > 1 and len(x) >= 2 * self.graph.block and len(x) == len(out):
            return Prediction(self, x, out, logits).run(min(threads, len(x) // self.graph.block))
        return self.predict_rows(x, out, logits, &status)

    cdef object predict_rows(self, x, out, bint logits, int *status):
        if self.single:
            return predict[float](self, x, out, logits, status)
        return predict[double](self, x, out, logits, status)

    def answer(self, x, out=None):
        """predict, for a few rows, in a new array or in out; None for whatever the gate has to look at."""
        return self.short_answer(x, out)

    cdef object short_answer(self, x, out):
        """This is what a single row costs, so it goes through the buffer protocol once for x and once for the answer,
        and through no other object. Rows of another type, and Python's numbers, are converted on the way.
        """
        cdef Py_buffer view
        cdef object found = None
        if type(x) is not ndarray:
            if type(x) is not list and type(x) is not tuple:
                return None
            return few_numbers[float](self, x, out, NULL) if self.single else few_numbers[double](self, x, out, NULL)
        try:
            PyObject_GetBuffer(x, &view, PyBUF_FORMAT | PyBUF_STRIDES)
        except (BufferError, ValueError):               # dates, for one
            return None
        try:
            if view.ndim == 2 and view.shape[1] == self.graph.n_in and self.is_little(view.shape[0]):
                if self.single:
                    found = few_rows[float](self, &view, out, NULL)
                else:
                    found = few_rows[double](self, &view, out, NULL)
        finally:
            PyBuffer_Release(&view)
        return found

    cdef bint is_apart(self, const Py_buffer *view) noexcept:
        """Whether a contiguous buffer lies outside the parameters and their gradients."""
        cdef Py_ssize_t size = self.graph.n_parameters * (sizeof(float) if self.single else sizeof(double))
        return (
            is_apart(view, <const char *> self.parameters, <const char *> self.parameters + size)
            and is_apart(view, <const char *> self.gradients, <const char *> self.gradients + size))

    cdef bint is_little(self, Py_ssize_t rows) noexcept:
        """Whether so many rows are so little work that nothing pays but to do it."""
        return not self.graph.tables and 0 < rows <= self.graph.block and rows * self.graph.work <= LITTLE_WORK

    def forward(
        self, x not None, out not None, uint64_t seed=0, uint64_t step=0, bint training=True, bint logits=False,
    ):
        """As predict, keeping what backward needs: in training mode, or in evaluation mode, with the bits of predict.
        With logits, without the last activation, here and in backward."""
        cdef Pass how = Pass(
            seed=seed, step=step, first_row=0, training=training, keeps=True, logits=logits, momenta=NULL)
        if self.single:
            forward[float](self, x, out, how)
        else:
            forward[double](self, x, out, how)

    def backward(self, dy not None, dx=None, double penalties=1, bint parameters=True):
        """From dy (rows, n_out) of the last forward to the flat gradient, that of the penalties so many times included,
        and, where it is given, dx (rows, n_in). With parameters=False, the flat gradient is left as it is."""
        if self.single:
            backward[float](self, dy, dx, penalties, parameters)
        else:
            backward[double](self, dy, dx, penalties, parameters)


cdef class Predictor:
    """What a network inherits: `predict`, by a short way for a few rows that need no conversion."""
    cdef public Plan _plan
    cdef public bint _stale                              # its running statistics are those of other weights

    def predict(self, x, *, batch_size=None, threads=None, out=None):
        """What the network answers.

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
            Where to write the answer: contiguous, writable, of the network's dtype, apart from x. A call that Ctrl-C
            ends may have written a part of it.

        Returns
        -------
        numpy.ndarray, shape (batch, n_out)
        """
        cdef object answer = None
        if self._plan is not None and not self._stale and is_count(threads, 1024) and is_count(batch_size, 2 ** 40):
            answer = self._plan.short_answer(x, out)
        return self._predict(x, batch_size, threads, out) if answer is None else answer


cdef inline bint is_count(object given, int64_t most) except -1:
    """Whether this is None or a number that the gate lets pass, and that a few rows make no use of."""
    return given is None or (type(given) is int and 1 <= given <= most)


# The short way of a few rows. Where anything is other than expected, None: the gate looks again, and says what.

cdef inline object few_rows(Plan plan, const Py_buffer *view, out, const real *_):
    cdef Py_ssize_t size = sizeof(real)
    cdef const char *begin = <const char *> view.buf
    if is_own(view, _) and <size_t> begin % sizeof(real) == 0 and (
        view.strides[1] == size and view.strides[0] == view.shape[1] * size
    ):
        return answer[real](plan, <const real *> begin, view.shape[0], out, begin, begin + view.len)
    return few_others[real](plan, view, out, _)


cdef object few_others(Plan plan, const Py_buffer *view, out, const real *_):
    """Rows of another type or layout."""
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
        return answer[real](plan, x, rows, out, NULL, NULL)
    finally:
        if x != stack:
            free(x)


cdef inline bint is_own(const Py_buffer *view, const real *_) noexcept:
    """Whether these are numbers of this type."""
    if real is float:
        return view.format[0] == c"f" and view.format[1] == 0
    else:
        return view.format[0] == c"d" and view.format[1] == 0


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
        return answer[real](plan, into, rows, out, NULL, NULL)
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
        return type(row) is ndarray and take_array(row, n, x)
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


cdef object answer(Plan plan, const real *x, Py_ssize_t rows, out, const char *begin, const char *end):
    """What the network answers to x, of which the caller sees the bytes from begin to end."""
    cdef const Graph *graph = &plan.graph
    cdef bint finite
    cdef Py_buffer view
    if out is not None:
        return answer_into[real](plan, x, rows, out, begin, end)
    out = empty(plan.row_shape if rows == 1 else (rows, graph.n_out), plan.dtype)
    PyObject_GetBuffer(out, &view, PyBUF_WRITABLE)
    try:
        finite = predict_within(graph, <const real *> plan.parameters, x, <real *> view.buf, rows, False, NULL)
    finally:
        PyBuffer_Release(&view)
    return out if finite else None


cdef object answer_into(Plan plan, const real *x, Py_ssize_t rows, out, const char *begin, const char *end):
    cdef const Graph *graph = &plan.graph
    cdef bint finite
    cdef Py_buffer view
    if type(out) is not ndarray:
        return None
    try:
        PyObject_GetBuffer(out, &view, PyBUF_FORMAT | PyBUF_WRITABLE | PyBUF_C_CONTIGUOUS)
    except (BufferError, ValueError):
        return None
    try:
        finite = (
            view.ndim == 2 and view.shape[0] == rows and view.shape[1] == graph.n_out
            and is_own(&view, x) and <size_t> view.buf % sizeof(real) == 0
            and is_apart(&view, begin, end) and plan.is_apart(&view)
            and predict_within(graph, <const real *> plan.parameters, x, <real *> view.buf, rows, False, NULL))
    finally:
        PyBuffer_Release(&view)
    return out if finite else None


cdef inline bint is_apart(const Py_buffer *view, const char *begin, const char *end) noexcept:
    """Whether a contiguous buffer and these bytes do not overlap."""
    return end <= <const char *> view.buf or <const char *> view.buf + view.len <= begin


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


@cython.final
cdef class Prediction:
    """predict, by several threads: each takes the next run of rows until there is none, as some begin late."""
    cdef Plan plan
    cdef object x, out, error
    cdef bint logits
    cdef int parts, taken, status

    def __cinit__(self, Plan plan not None, x not None, out not None, bint logits):
        self.plan, self.x, self.out, self.logits = plan, x, out, logits
        self.status = RUNNING

    cdef void work(self) noexcept:
        cdef Py_ssize_t rows = len(self.x), i
        try:
            while atomic_get(&self.status) == RUNNING:
                i = atomic_add(&self.taken, 1) - 1
                if i >= self.parts:
                    break
                share = slice(rows * i // self.parts, rows * (i + 1) // self.parts)
                if not self.plan.predict_rows(self.x[share], self.out[share], self.logits, &self.status):
                    atomic_set(&self.status, DIVERGED)
        except BaseException as error:
            self.error = error
            atomic_set(&self.status, INTERRUPTED)

    def run(self, int threads):
        """Whether all of x is finite."""
        cdef list others = []
        self.parts = <int> min(8 * threads, len(self.x) // self.plan.graph.block)
        try:
            start_threads(lambda _: self.work(), threads, others)
            self.work()
        except BaseException:
            atomic_set(&self.status, INTERRUPTED)
            raise
        finally:
            join_threads(others, &self.status)
        if self.error is not None:
            raise self.error
        return self.status == RUNNING


@cython.final
cdef class Tape(Memory):
    """What a forward pass leaves for the backward pass: its input and every output."""
    cdef Py_ssize_t rows
    cdef Pass how
    cdef void *x
    cdef void *work
    cdef void *scratch
    cdef double *sums                                   # of the gradients, where there is more than one slice
    cdef double *momenta


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


cdef object forward(Plan plan, const real[:, ::1] x, real[:, ::1] out, Pass how):
    cdef const Graph *graph = &plan.graph
    cdef Py_ssize_t rows = x.shape[0]
    cdef Tape tape = plan.tape
    cdef int status = RUNNING
    cdef Watch watch
    check_rows(plan, rows, x.shape[1], out.shape[0], out.shape[1])
    plan.tape = None                                    # while it is written, no other thread shall find it
    if tape is None or tape.rows != rows:
        tape = Tape.__new__(Tape)
        tape.rows = rows
        tape.reserve(sizeof(real) * (
            <double> rows * (graph.n_in + graph.width) + graph.at_end + training_scratch_size(graph)
        ) + 8.0 * graph.n_norms + (8.0 * graph.n_parameters if rows > CHUNK else 0))
        tape.x = tape.take(sizeof(real) * <double> rows * graph.n_in)
        tape.work = tape.take(sizeof(real) * <double> workspace_size(graph, rows))
        tape.scratch = tape.take(sizeof(real) * <double> training_scratch_size(graph))
        if rows > CHUNK:
            tape.sums = <double *> tape.take(8.0 * graph.n_parameters)
        tape.momenta = <double *> tape.take(8.0 * graph.n_norms)
    if how.training:
        plan.read_momenta(tape.momenta)
    tape.how = how
    tape.how.momenta = tape.momenta
    with nogil:
        watch = begin_watch(&status, flush_subnormals())
        forward_all(plan, tape, &x[0, 0], &out[0, 0], &watch)
        restore_mode(watch.mode)
    end_watch(&watch)
    plan.tape = tape


cdef void forward_all(Plan plan, Tape tape, const real *x, real *out, Watch *watch) noexcept nogil:
    """From x to what a whole tape holds, and to the outputs; the running statistics follow at the end."""
    cdef const Graph *graph = &plan.graph
    cdef Py_ssize_t rows = tape.rows, ld = 0
    cdef const real *y
    cdef int begin = 0, end = part_end(graph, -1)
    copy_rows_watched(rows, graph.n_in, x, graph.n_in, <real *> tape.x, graph.n_in, watch)
    x = <const real *> tape.x
    forward_part(plan, tape, x, begin, end, watch)
    while end < graph.n_steps and atomic_get(watch.status) == RUNNING:
        look_along_columns(
            graph, &tape.how, end, 0, graph.steps[end].n_out, rows, x, <real *> tape.work, rows, False, watch)
        begin, end = end, part_end(graph, end)
        forward_part(plan, tape, x, begin, end, watch)
    if atomic_get(watch.status) == RUNNING:
        y = value_of(graph, &tape.how, end - 1, x, <const real *> tape.work, rows, 0, &ld)
        copy_rows_watched(rows, graph.n_out, y, ld, out, graph.n_out, watch)
    if atomic_get(watch.status) == RUNNING:
        keep_statistics(graph, &tape.how, rows, <real *> tape.work, rows)


cdef void forward_part(Plan plan, Tape tape, const real *x, int begin, int end, Watch *watch) noexcept nogil:
    cdef const Graph *graph = &plan.graph
    cdef Py_ssize_t done = 0, n, ld, most = rows_at_a_time(graph)
    while done < tape.rows and not look_for_signals(watch, graph.work * most + 4000):
        n = min(tape.rows - done, most)
        forward_rows(
            graph, &tape.how, begin, end, <const real *> plan.parameters, done, n, x + done * graph.n_in,
            <real *> tape.work, tape.rows, <real *> tape.scratch, &ld)
        done += n


cdef void backward_part(Plan plan, Tape tape, const real *x, int begin, int end, real *dx, Watch *watch) noexcept nogil:
    cdef const Graph *graph = &plan.graph
    cdef Py_ssize_t done = 0, n, most = rows_at_a_time(graph)
    cdef real *into
    while done < tape.rows and not look_for_signals(watch, graph.work * most + 4000):
        n = min(tape.rows - done, most)
        into = dx + done * graph.n_in if dx != NULL else NULL
        if end < graph.n_steps:
            backward_norm(
                graph, &tape.how, end, <const real *> plan.parameters, tape.rows, done, n, x + done * graph.n_in,
                <real *> tape.work, tape.rows, <real *> tape.scratch, into)
        backward_rows(
            graph, &tape.how, begin, end, <const real *> plan.parameters, tape.rows, done, n, x + done * graph.n_in,
            <real *> tape.work, tape.rows, <real *> tape.scratch, into)
        done += n


cdef object backward(Plan plan, const real[:, ::1] dy, real[:, ::1] dx, double penalties, bint parameters):
    cdef const Graph *graph = &plan.graph
    cdef Py_ssize_t rows = dy.shape[0]
    cdef int status = RUNNING
    cdef Watch watch
    cdef Tape tape = plan.tape
    if tape is None or tape.rows != rows:
        raise ValueError(f"dy: expected the {tape.rows} rows of the last forward, got {rows}" if tape is not None else
                         "dy: expected a forward before each backward, got none: the last forward failed, or never was")
    check_rows(plan, rows, dx.shape[1] if dx is not None else graph.n_in, dx.shape[0] if dx is not None else rows,
               dy.shape[1])
    plan.tape = None
    with nogil:
        watch = begin_watch(&status, flush_subnormals())
        backward_all(plan, tape, &dy[0, 0], &dx[0, 0] if dx is not None else NULL, &watch)
        if parameters:
            parameter_gradients_by_hand(plan, tape, &dy[0, 0], penalties, &watch)
        restore_mode(watch.mode)
    plan.tape = tape                                    # whatever came: it holds what the forward pass left
    end_watch(&watch)


cdef void backward_all(Plan plan, Tape tape, const real *dy, real *dx, Watch *watch) noexcept nogil:
    """From dy to every dz, and to dx."""
    cdef const Graph *graph = &plan.graph
    cdef const Step *last = &graph.steps[graph.n_steps - 1]
    cdef Py_ssize_t rows = tape.rows
    cdef real *work = <real *> tape.work
    cdef const real *x = <const real *> tape.x
    cdef int end = graph.n_steps, begin = part_before(graph, end)
    copy_rows_watched(rows, graph.n_out, dy, graph.n_out, work + last.dy * rows, last.ld, watch)
    backward_part(plan, tape, x, begin, end, dx, watch)
    while end > 0 and graph.steps[begin].operation == BATCH_NORM and atomic_get(watch.status) == RUNNING:
        look_along_columns(
            graph, &tape.how, begin, 0, graph.steps[begin].n_out, rows, x, work, rows, True, watch)
        begin, end = part_before(graph, begin), begin
        backward_part(plan, tape, x, begin, end, dx, watch)


cdef void parameter_gradients_by_hand(
    Plan plan, Tape tape, const real *_, double penalties, Watch *watch,
) noexcept nogil:
    """From every dz to the gradients of all parameters, those of the penalties so many times included."""
    cdef const Graph *graph = &plan.graph
    cdef const real *x = <const real *> tape.x
    cdef int s
    for s in range(graph.n_steps):
        gradients_by_hand(plan, tape, s, x, watch)
    if atomic_get(watch.status) == RUNNING:
        penalty_backward(
            graph.n_penalties, graph.penalties, penalties, 0, graph.n_parameters, <const real *> plan.parameters,
            <real *> plan.gradients)


cdef void gradients_by_hand(Plan plan, Tape tape, int s, const real *x, Watch *watch) noexcept nogil:
    """Those of a step's parameters."""
    cdef const Graph *graph = &plan.graph
    cdef const Step *step = &graph.steps[s]
    cdef Py_ssize_t at = 0, to, most = units_at_a_time(step, tape.rows)
    while at < step.units and not look_for_signals(watch, tape.rows * <double> step.unit * min(most, step.units)):
        to = min(step.units, at + most)
        chunk_gradients(
            graph, &tape.how, s, at, to, tape.rows, x, <real *> tape.work, tape.rows, <real *> tape.scratch,
            tape.sums, True, True, <real *> plan.gradients, watch)
        at = to


@cython.final
cdef class Rule(Memory):
    """An optimizer as the engine sees it, read and checked, for n parameters.

    The update is (kind, numbers, weight_decay, clip_value, clip_norm, average), where 0 is none; the state as many
    vectors (n,) as that kind keeps, the average last; the ranges (begin, end), ascending, are what it may change.
    """
    cdef Update update
    cdef tuple keep

    def __cinit__(
        self, update not None, tuple state not None, tuple ranges not None, int64_t step, Py_ssize_t n,
        bint single,
    ):
        cdef Update *it = &self.update
        cdef tuple numbers
        cdef Py_ssize_t i, end = 0
        if not isinstance(update, tuple):  # a named one, too
            raise TypeError(f"expected a tuple, got {type(update).__name__}")
        it.kind, numbers, it.weight_decay, it.clip_value, it.clip_norm, it.average = update
        if not NO_UPDATE < it.kind < UPDATE_COUNT or numbers is None or len(numbers) > 8:
            raise ValueError("an unknown optimizer")
        for i in range(len(numbers)):
            it.parameters[i] = numbers[i]
        if not 0 <= step < MOST_STEPS:
            raise ValueError(f"expected a number of steps from 0 to 2^62, got {step}")
        it.step = step
        self.keep = tuple([memoryview(vector) for vector in state])
        if single:
            read_state[float](it, state, n, NULL)
        else:
            read_state[double](it, state, n, NULL)
        self.reserve(sizeof(Range) * <double> len(ranges))
        it.ranges = <Range *> self.take(sizeof(Range) * <double> len(ranges))
        for i in range(len(ranges)):
            it.ranges[i].begin, it.ranges[i].end = ranges[i]
            if not end <= it.ranges[i].begin <= it.ranges[i].end <= n:
                raise ValueError("ranges of parameters that overlap, or that there are not")
            end = it.ranges[i].end
        it.n_ranges = len(ranges)
        it.plain = (
            it.n_ranges == 1 and it.ranges[0].begin == 0 and it.ranges[0].end == n
            and not (it.clip_value > 0 or it.clip_norm > 0 or it.average > 0))


cdef int read_state(Update *update, tuple state, Py_ssize_t n, const real *_) except -1:
    cdef real[::1] vector
    cdef int i, given = 0
    for i in range(4):
        if wants(update, i) and given < len(state):
            vector = state[given]
            if vector.shape[0] != n:
                raise ValueError("a state for each parameter")
            update.state[i] = &vector[0]
            given += 1
        elif wants(update, i):
            raise ValueError("too little state for this optimizer")
    if given != len(state):
        raise ValueError("too much state for this optimizer")
    return 0


@cython.final
cdef class Training(Memory):
    """A run of training: run() it, then read what it came to.

    x (rows, n_in); y (rows, targets) or None; labels (rows,) int64 or None; weights (rows,) float64 or None. The loss
    is what read_loss takes; update, state and ranges are those of a Rule, with the number of steps it has made, or the
    update is None, for gradients only, where with update_statistics the running statistics of batch norms follow all
    the same. To losses (epochs, 2) the weighted losses and the weights are added; outputs
    (rows, n_out), where given, are written.
    """
    cdef Run shared
    cdef Plan plan
    cdef Rule rule
    cdef tuple keep
    cdef int wanted
    cdef bint begun

    def __cinit__(
        self, Plan plan not None, x not None, y, labels, weights, *, loss not None, bint logits, bint mean,
        update, tuple state, tuple ranges, int64_t update_step, rates not None, Py_ssize_t batch_size,
        losses not None, outputs, bint shuffle, uint64_t seed, uint64_t first_epoch, uint64_t first_step, int threads,
        bint share_penalties=False, bint update_statistics=False,
    ):
        cdef Run *run = &self.shared
        run.graph = &plan.graph
        read_loss(loss, &run.loss)
        run.logits, run.mean, run.share_penalties = logits, mean, mean and share_penalties
        if update is not None:
            self.rule = Rule(update, state, ranges, update_step, plan.graph.n_parameters, plan.single)
            run.update = self.rule.update
        run.seed, run.first_epoch, run.first_step, run.batch = seed, first_epoch, first_step, batch_size
        run.update_statistics = (update is not None or update_statistics) and plan.graph.n_norms > 0
        self.plan, self.wanted = plan, max(1, threads)
        given = x, y, labels, weights, rates, losses, outputs
        self.keep = tuple([memoryview(array) for array in given if array is not None])
        if plan.single:
            prepare[float](self, run, x, y, labels, weights, rates, losses, outputs, shuffle)
        else:
            prepare[double](self, run, x, y, labels, weights, rates, losses, outputs, shuffle)

    cdef void work(self, int thread) noexcept:
        """This thread's part, once it is known how many threads there are."""
        cdef Run *run = &self.shared
        cdef int threads = 0
        cdef float_mode mode
        with nogil:
            while threads == 0:
                threads = atomic_get(&run.threads)
                give_way()
            if thread < threads:
                mode = flush_subnormals()
                if thread == 0:
                    run.watch = begin_watch(&run.status, mode)
                if self.plan.single:
                    train_epochs(run, <float *> self.plan.parameters, thread)
                else:
                    train_epochs(run, <double *> self.plan.parameters, thread)
                restore_mode(mode)

    def run(self):
        """Train; whether it came to its end. False: the loss, or a parameter, left the finite numbers.

        What a signal handler raised is raised after the last whole batch.
        """
        if self.begun:
            raise RuntimeError("a run of training runs once")
        self.begun = True
        others = []
        try:
            start_threads(lambda thread: self.work(thread), self.wanted, others)
            atomic_set(&self.shared.threads, <int> len(others) + 1)
            self.work(0)
        except BaseException:
            atomic_set(&self.shared.threads, -1)        # so that none begins
            raise
        finally:
            join_threads(others, &self.shared.status)
        end_watch(&self.shared.watch)
        return self.shared.status == RUNNING

    @property
    def steps(self):
        """Batches finished."""
        return self.shared.steps


cdef object prepare(
    Training training, Run *run, const real[:, ::1] x, const real[:, ::1] y, const int64_t[::1] labels,
    const double[::1] weights, const double[::1] rates, double[:, ::1] losses, real[:, ::1] outputs, bint shuffle,
):
    """Check the sizes of everything a run touches, and give it memory."""
    cdef const Graph *graph = run.graph
    cdef Py_ssize_t rows = x.shape[0]
    cdef double turned = 0
    run.rows, run.epochs, run.n_rates = rows, losses.shape[0], rates.shape[0]
    run.n_targets = target_width(&run.loss, graph.n_out)
    check_rows(training.plan, rows, x.shape[1], rows, graph.n_out)
    if (
        rows < 1 or run.batch < 1 or run.n_rates < 1 or losses.shape[1] != 2
        or (y is not None and (y.shape[0] != rows or y.shape[1] != run.n_targets))
        or (labels is not None and labels.shape[0] != rows)
        or (weights is not None and weights.shape[0] != rows)
        or (outputs is not None and (outputs.shape[0] != rows or outputs.shape[1] != graph.n_out))
    ):
        raise ValueError("lengths do not fit")
    if run.n_targets < 1 or (y is None and (labels is None or not takes_labels(&run.loss))):
        raise ValueError("outputs that the loss does not take, or no targets for it")
    run.batch = min(run.batch, rows)
    run.chunk = min(run.batch, CHUNK) if graph.at_end == 0 else run.batch
    run.most = rows_at_a_time(graph)
    run.units = units_of(graph)
    if training.wanted == 1 and outputs is None and can_turn(graph, run.logits, run.batch):
        turned = sizeof(real) * 8.0 * (graph.n_in + 2 * run.units + 2 * graph.n_out)
    training.reserve(
        sizeof(real) * (
            <double> run.chunk * (graph.width + graph.n_in) + graph.at_end
            + <double> training.wanted * training_scratch_size(graph))
        + 8.0 * (run.chunk + rows + graph.n_norms) + turned + (8.0 * graph.n_parameters if run.batch > CHUNK else 0))
    run.work = training.take(sizeof(real) * <double> workspace_size(graph, run.chunk))
    run.gathered = training.take(sizeof(real) * <double> run.chunk * graph.n_in)
    run.scratch = training.take(sizeof(real) * <double> training.wanted * training_scratch_size(graph))
    run.values = <double *> training.take(8.0 * run.chunk)
    if run.batch > CHUNK:
        run.sums = <double *> training.take(8.0 * graph.n_parameters)
    run.momenta = <double *> training.take(8.0 * graph.n_norms)
    training.plan.read_momenta(run.momenta)
    if turned > 0:
        run.turned = training.take(turned)
    run.order = <int64_t *> training.take(8.0 * rows) if shuffle else NULL
    run.gradients = training.plan.gradients
    run.x = &x[0, 0]
    run.y = &y[0, 0] if y is not None else NULL
    run.labels = &labels[0] if labels is not None else NULL
    run.weights = &weights[0] if weights is not None else NULL
    run.rates = &rates[0]
    run.losses = &losses[0, 0]
    run.outputs = &outputs[0, 0] if outputs is not None else NULL
