# The objects that Python sees own memory, and check every size, so that nothing reaches outside it. A plan is a graph
# and the flat vectors that it runs over.


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
