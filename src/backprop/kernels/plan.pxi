# The objects that Python sees own memory, and check every size, so that nothing reaches outside it. A plan is a graph
# and the flat vectors that it runs over.


cdef object keep_buffers(Plan plan, real[::1] buffers):
    if buffers is not None and buffers.shape[0] > 0:
        plan.buffers = buffers
        plan.graph.n_buffers, plan.graph.buffers = buffers.shape[0], &buffers[0]


@cython.final
cdef class Plan:
    """A network lowered to operations over two flat vectors, which the caller allocates with SLACK numbers to spare.

    Each op is (operation, activation, alpha, n_in, n_out, weight, bias, source, other, key, extra): weight and bias
    are offsets, or -1; source and other the ops whose outputs it takes, or -1 for the input; extra is (momentum,
    offset in the buffers) of a batch norm, the momentum a number or a function that gives the present one, (function
    of the first step and the number of steps,) of a dropout whose rates that gives, (most,) of a clip, and (weight or
    -1, values, n, count) for so many columns side by side, one where there is no count. The first seven will do where
    each takes the one before. Each penalty is (begin, end, l1, l2).
    """
    cdef Graph graph
    cdef Py_ssize_t n_given                             # operations that there is memory for
    cdef bint single
    cdef float[::1] parameters_f, gradients_f
    cdef double[::1] parameters_d, gradients_d
    cdef void *parameters
    cdef void *gradients
    cdef object buffers, dtype
    cdef list momenta                                   # of the batch norms
    cdef list schedules                                 # of the dropouts that have one
    cdef Tape tape

    def __cinit__(
        self, parameters not None, gradients not None, Py_ssize_t n_parameters, list ops not None, buffers=None,
        tuple penalties not None=(),
    ):
        cdef Py_ssize_t s, size
        cdef tuple given = tuple([tuple(op) for op in ops])
        self.single = memoryview(parameters).format == "f"
        if self.single:
            self.parameters_f, self.gradients_f = parameters, gradients
            self.parameters, self.gradients = &self.parameters_f[0], &self.gradients_f[0]
            size = min(self.parameters_f.shape[0], self.gradients_f.shape[0])
            keep_buffers[float](self, buffers)
        else:
            self.parameters_d, self.gradients_d = parameters, gradients
            self.parameters, self.gradients = &self.parameters_d[0], &self.gradients_d[0]
            size = min(self.parameters_d.shape[0], self.gradients_d.shape[0])
            keep_buffers[double](self, buffers)
        if not 0 <= n_parameters <= size - SLACK:
            raise ValueError(
                f"expected ROOM ({SLACK}) numbers behind {n_parameters} parameters and their gradients, got vectors of "
                f"{size}")
        if not given:
            raise ValueError("expected at least one operation, got none")
        self.graph.ops = <Op *> calloc(len(given), sizeof(Op))
        self.graph.parts = <Part *> calloc(len(given) + 1, sizeof(Part))
        self.graph.penalties = <Penalty *> calloc(max(1, len(penalties)), sizeof(Penalty))
        if self.graph.ops == NULL or self.graph.parts == NULL or self.graph.penalties == NULL:
            raise MemoryError
        self.n_given, self.momenta, self.schedules = len(given), [], []
        self.graph.n_parameters = self.graph.begin = n_parameters
        # Weights that do not stay in the cache serve more rows before they leave it.
        self.graph.block = ROWS if n_parameters * (4 if self.single else 8) > FAR else BLOCK
        for s in range(len(given)):
            self.add(s, given[s])
        self.graph.ops[self.graph.n_ops - 1].implied = False
        self.place_in_workspace()
        self.find_parts()
        for s in range(len(penalties)):
            self.penalize(&self.graph.penalties[s], penalties[s])
        self.graph.n_penalties = <int> len(penalties)
        self.dtype = dtype("f" if self.single else "d")

    cdef int add(self, Py_ssize_t s, tuple given) except -1:
        """Check the next operation against those before."""
        cdef Graph *graph = &self.graph
        cdef Op *op = &graph.ops[s]
        if len(given) == 7:
            given += (s - 1, INPUT, s, ())
        (op.operation, op.activation, op.alpha, op.n_in, op.n_out, op.weight, op.bias, op.source, op.other, op.key,
         extra) = given
        if s == 0:
            graph.n_in = op.n_in
        if not 0 <= op.operation < OPERATION_COUNT:
            raise ValueError(f"operation {s}: expected a code of OPERATIONS, got {op.operation}")
        if not 0 <= op.activation < ACTIVATION_COUNT:
            raise ValueError(f"{self.name_of(s)}: expected a code of ACTIVATIONS, got {op.activation}")
        if not 0 < op.n_in < 2 ** 40 or not 0 < op.n_out < 2 ** 40:
            raise ValueError(f"{self.name_of(s)}: expected sizes from 1 to 2^40, got {op.n_in} and {op.n_out}")
        if needs_z(op.activation) and op.operation != ACTIVATION:
            raise ValueError(
                f"{self.name_of(s)}: expected an activation whose derivative is taken from its output, got one of "
                "NEEDS_Z, which is an operation of its own")
        self.check_sizes(s, op)
        if KINDS[op.operation].wants & GROUPS:
            self.add_groups(s, op, extra)
        elif op.operation == COLUMNS:
            self.add_columns(s, op, tuple(extra))
        elif op.operation == BATCH_NORM:
            self.add_batch_norm(s, op, extra)
        elif op.operation == CLIP:
            op.most, = extra
            if not op.alpha <= op.most < 1e300:
                raise ValueError(f"{self.name_of(s)}: expected a number from {op.alpha} on, got {op.most}")
        elif op.operation == DROPOUT and extra:
            self.schedules += extra
            graph.n_schedules = op.schedule = <int> len(self.schedules)
        self.check_parameters(s, op)
        self.find_encoding(s, op)
        op.wanted = op.units > 0 or self.is_wanted(op.source) or (op.two and self.is_wanted(op.other))
        if op.units > 0:
            graph.begin = min(graph.begin, op.weight, op.bias if op.bias >= 0 else op.weight)
            graph.end = max(graph.end, op.weight + op.n_weights, op.bias + op.n_biases if op.bias >= 0 else 0)
        graph.widest = max(graph.widest, op.n_in, op.n_out)
        graph.work += self.work_of(op)
        graph.n_out = op.n_out
        graph.n_ops = s + 1
        return 0

    cdef str name_of(self, Py_ssize_t s):
        """Of an operation, for messages."""
        names = {code: name for name, code in OPERATIONS.items()}
        return f"operation {s} ({names[self.graph.ops[s].operation]})"

    cdef Py_ssize_t width_of(self, int taken, Py_ssize_t s) except -1:
        """Of the output of an operation before this one, or of the input."""
        if not INPUT <= taken < s:
            raise ValueError(
                f"{self.name_of(s)}: expected the output of an operation before it, or -1 for the input, got {taken}")
        return self.graph.n_in if taken == INPUT else self.graph.ops[taken].n_out

    cdef int expect_size(self, Py_ssize_t s, str what, Py_ssize_t wanted, Py_ssize_t size) except -1:
        if size != wanted:
            raise ValueError(f"{self.name_of(s)}: expected {wanted} {what}, got {size}")
        return 0

    cdef int check_sizes(self, Py_ssize_t s, Op *op) except -1:
        """What goes in and out of an operation, by the table of layers.pxi."""
        cdef int wants = KINDS[op.operation].wants
        self.expect_size(s, "inputs, as many as its source has outputs", self.width_of(op.source, s), op.n_in)
        if wants & AS_WIDE:
            self.expect_size(s, "outputs, as many as inputs", op.n_in, op.n_out)
        op.two = wants & (OTHER_AS_WIDE | OTHER_BESIDE) != 0
        op.other_at = op.n_in if wants & OTHER_BESIDE else 0
        if op.two:
            self.expect_size(
                s, "outputs of the other operation", op.n_out - op.other_at, self.width_of(op.other, s))
        if wants & FROM_INPUT and op.source != INPUT:
            raise ValueError(f"{self.name_of(s)}: expected the input as its source (-1), got {op.source}")
        least, below = (0.0, 1.0) if wants & RATE else (0.0, 1e300) if wants & EPSILON else (-1e300, 1e300)
        if not least <= op.alpha < below:
            raise ValueError(f"{self.name_of(s)}: expected a number from {least} to below {below}, got {op.alpha}")
        if wants & PLAIN and op.activation != IDENTITY:
            raise ValueError(f"{self.name_of(s)}: expected the identity for its activation, got code {op.activation}")
        return 0

    cdef int check_parameters(self, Py_ssize_t s, Op *op) except -1:
        """That its weight and bias lie in the flat vectors; what threads share of the weight."""
        cdef int wants = KINDS[op.operation].wants
        cdef double size
        if op.operation == DENSE:
            op.units, op.unit = op.n_in, op.n_out
        elif op.operation != COLUMNS and not wants & GROUPS:
            op.units, op.unit = op.n_out if wants & WEIGHT else 0, 1
        if not wants & GROUPS:
            op.n_biases = op.n_out
        if wants & BIAS and op.bias == -1:
            raise ValueError(f"{self.name_of(s)}: expected an offset of its bias, got -1")
        if op.operation != DENSE and not wants & (BIAS | GROUPS):
            op.bias = -1
        if op.units == 0:
            op.unit, op.weight, op.bias = 1, 0, -1
        size = op.n_weights if wants & GROUPS else op.units * <double> op.unit
        if not 0 <= op.weight <= self.graph.n_parameters - size or (
            op.bias != -1 and not 0 <= op.bias <= self.graph.n_parameters - op.n_biases
        ):
            raise ValueError(
                f"{self.name_of(s)}: expected {size:.0f} weights and {op.n_biases} biases within "
                f"{self.graph.n_parameters} parameters, got offsets {op.weight} and {op.bias}")
        op.n_weights = <Py_ssize_t> size
        return 0

    cdef int add_batch_norm(self, Py_ssize_t s, Op *op, extra) except -1:
        """Its place among the batch norms, and where its running statistics lie."""
        momentum, op.buffer = extra
        op.norm = self.graph.n_norms
        self.graph.n_norms += 1
        self.momenta.append(momentum)
        if not 0 <= op.buffer <= self.graph.n_buffers - 2 * op.n_out:
            raise ValueError(
                f"{self.name_of(s)}: expected {2 * op.n_out} running statistics within {self.graph.n_buffers} buffers, "
                f"got the offset {op.buffer}")
        self.momentum(op.norm)
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

    cdef int read_rates(self, uint64_t first, Py_ssize_t count, double *rates) except -1:
        """Of the dropouts with a schedule, side by side, in so many steps."""
        cdef const double[::1] found
        cdef Py_ssize_t i, n = self.graph.n_schedules
        cdef int k
        for k in range(self.graph.n_schedules):
            found = self.schedules[k](first, count)
            expect(found.shape[0] == count, f"a rate for each of {count} steps")
            for i in range(count):
                expect(0 <= found[i] < 1, "rates from 0 to below 1")
                rates[i * n + k] = found[i]
        return 0

    cdef int add_columns(self, Py_ssize_t s, Op *op, tuple given) except -1:
        """The columns of the input, and the extent of their tables from `weight` on."""
        cdef Column *column
        cdef Py_ssize_t c
        cdef double n_in = 0, n_out = 0, end = 0
        op.columns = <Column *> calloc(max(1, len(given)), sizeof(Column))
        if op.columns == NULL:
            raise MemoryError
        op.weight, op.n_columns = self.graph.n_parameters, len(given)
        for c in range(len(given)):
            column = &op.columns[c]
            column.weight, column.values, column.n, column.count = given[c] if len(given[c]) == 4 else (*given[c], 1)
            if not 0 < column.n <= op.n_out or not 0 < column.values < 2 ** 40 or (
                not 0 < column.count <= op.n_in
            ) or (
                column.n != 1 if column.weight < 0 else
                column.values * <double> column.n > self.graph.n_parameters - column.weight
            ):
                raise ValueError(
                    f"{self.name_of(s)}: expected a table within {self.graph.n_parameters} parameters, or a column "
                    f"that goes on as it is, for column {c}, got {given[c]}")
            n_in += column.count
            n_out += column.count * <double> column.n
            if column.weight >= 0:
                self.graph.tables = True
                op.weight = min(op.weight, column.weight)
                end = max(end, column.weight + column.values * <double> column.n)
        if n_in != op.n_in or n_out != op.n_out:
            raise ValueError(
                f"{self.name_of(s)}: expected columns for {op.n_in} inputs and {op.n_out} outputs, got them for "
                f"{n_in:.0f} and {n_out:.0f}")
        op.units, op.unit = max(0, <Py_ssize_t> end - op.weight), 1
        return 0

    cdef int add_groups(self, Py_ssize_t s, Op *op, extra) except -1:
        """The groups of an operation, one after the other: of its outputs, and of the inputs of a grouped dense one.
        Each is given as four numbers, which say what goes in and what comes out; 0 of that: it goes on as it is."""
        cdef Group *group
        cdef Py_ssize_t g, first, wide, row, quarters, rows = 0, edges
        cdef bint grouped = op.operation == GROUPED, piecewise = op.operation == PIECEWISE, fits
        edges, given = extra
        op.groups = <Group *> calloc(len(given) + 1, sizeof(Group))
        if op.groups == NULL:
            raise MemoryError
        op.n_groups = len(given)
        for g in range(op.n_groups):
            first, wide, row, quarters = given[g]       # a column or, if grouped, how many inputs; outputs
            group = &op.groups[g]
            group.passes, group.begins, group.quarters, group.edges = wide == 0, True, quarters, edges
            group.n = first if grouped else 1
            group.input = group.input if grouped else first
            group.source, group.row = group.input, group.row if grouped else row
            group.bins = wide if piecewise else 0
            group.n_out = group.n if group.passes else wide
            if not group.passes and not piecewise:
                op.unit = wide if op.unit == 0 else op.unit
                rows = max(rows, group.row + group.n)
            fits = 0 <= group.input < op.n_in and 0 < group.n <= op.n_in - group.input and 0 <= group.row <= op.n_in
            fits &= 0 < group.n_out <= op.n_out - group.to and group.bins <= MOST_BINS and -4 < quarters < 4
            fits &= group.passes or piecewise or wide == op.unit
            edges += group.bins + 1 if group.bins > 0 else 0
            fits &= (0 <= group.edges and edges <= self.graph.n_buffers) or not piecewise
            if not fits or rows * <double> op.unit > self.graph.n_parameters:
                raise ValueError(
                    f"{self.name_of(s)}: expected groups that fit {op.n_in} inputs, {op.n_out} outputs, at most "
                    f"{MOST_BINS} bins and the arrays, got group {g} of {given[g]}")
            group[1].to, group[1].input = group.to + group.n_out, group.input + group.n
            group[1].row, group[1].bias = rows, group.bias + (0 if group.passes else op.unit)
            if not grouped:
                group.bias = group.row * op.unit
        group = &op.groups[op.n_groups]
        self.expect_size(s, "outputs of its groups", op.n_out, group.to)
        if grouped:
            self.expect_size(s, "inputs of its groups", op.n_in, group.input)
        op.n_weights = rows * op.unit
        op.n_biases = group.bias if grouped else op.n_weights
        op.units = op.n_groups if grouped and rows > 0 else rows
        return 0

    cdef int find_encoding(self, Py_ssize_t s, Op *op) except -1:
        """A dense or grouped operation that takes an encoding, or a copy of it, is computed from what is encoded."""
        cdef Graph *graph = &self.graph
        cdef const Op *source = &graph.ops[op.source] if op.source != INPUT else NULL
        op.encoding = <int> s if op.operation == PIECEWISE else -1
        op.implied = op.operation == PIECEWISE
        if source != NULL and source.encoding >= 0 and not source.encoded:
            if op.operation == DROPOUT or (op.operation == ACTIVATION and op.activation == IDENTITY):
                op.encoding, op.dropped = source.encoding, source.dropped or op.operation == DROPOUT
            elif op.operation in (DENSE, GROUPED):
                op.encoding, op.dropped = source.encoding, source.dropped
                self.encode(op, &graph.ops[source.encoding])
        if source != NULL and source.operation == PIECEWISE and not op.encoded:
            graph.ops[op.source].implied = False
        if op.two and op.other != INPUT:
            graph.ops[op.other].implied = False
        return 0

    cdef int encode(self, Op *op, const Op *encoding) except -1:
        """Give it a group for each of the encoding, as long as none is cut by its own."""
        cdef Group *groups = <Group *> calloc(encoding.n_groups + 1, sizeof(Group))
        cdef Group whole
        cdef const Group *own = op.groups if op.operation == GROUPED else &whole
        cdef const Group *bins
        cdef Py_ssize_t g, at
        cdef bint fits = True
        if groups == NULL:
            raise MemoryError
        memset(&whole, 0, sizeof(Group))
        whole.n, whole.n_out = op.n_in, op.n_out
        for g in range(encoding.n_groups):
            bins = &encoding.groups[g]
            if bins.to >= own.input + own.n:
                own += 1
            at = bins.to - own.input
            fits &= at + bins.n_out <= own.n and (not own.passes or own.n == 1)
            groups[g] = own[0]
            groups[g].input, groups[g].n, groups[g].source = bins.to, bins.n_out, bins.source
            groups[g].bins, groups[g].edges, groups[g].begins = bins.bins, bins.edges, at == 0
            groups[g].row = own.row + (0 if own.passes else at)
            groups[g].bias = own.bias + (0 if at == 0 or own.passes else op.unit)
        if not fits:
            free(groups)
            return 0
        groups[encoding.n_groups].row = op.n_weights // op.unit if op.unit > 0 else 0
        groups[encoding.n_groups].bias = op.n_biases
        free(op.groups)
        op.operation, op.groups, op.n_groups, op.encoded = GROUPED, groups, encoding.n_groups, True
        op.units = op.n_groups if op.units > 0 else 0
        return 0

    cdef double work_of(self, const Op *op) noexcept:
        """Multiply-adds for one row; of bins, what a row adds to their sums and a search."""
        if op.operation == DENSE:
            return op.n_in * <double> op.n_out
        if op.encoded:
            return op.n_groups * (2.0 * op.unit + 16)
        return op.n_weights + 4.0 * op.n_out if op.n_groups > 0 else op.n_out

    cdef bint is_wanted(self, int source) noexcept:
        return source != INPUT and self.graph.ops[source].wanted

    cdef int place_in_workspace(self) except -1:
        """Where the outputs and gradients lie in a workspace, and which gradients are added to."""
        cdef Graph *graph = &self.graph
        cdef Py_ssize_t lanes = LANES_F if self.single else LANES_D
        cdef Op *op
        cdef int s
        for s in range(graph.n_ops):
            op = &graph.ops[s]
            op.ld = distance(op.n_out, lanes)
            graph.widest = max(graph.widest, op.ld)
            op.y = graph.y_width
            graph.y_width += op.ld
            if graph.y_width > <Py_ssize_t> 2 ** 40:
                raise ValueError(f"{self.name_of(s)}: expected rows that fit into memory, got 2^40 numbers in one")
        graph.width = graph.y_width
        for s in range(graph.n_ops):
            op = &graph.ops[s]
            op.dy = graph.width
            graph.width += op.ld
            if op.operation == LAYER_NORM:
                op.statistics = graph.width
                graph.width += KEPT
            elif op.operation == BATCH_NORM:
                op.statistics = graph.at_end
                graph.at_end += 2 * COLUMNWISE * op.ld
        written = [False] * (graph.n_ops + 1)           # the input is the first of them
        for s in range(graph.n_ops - 1, -1, -1):
            op = &graph.ops[s]
            op.adds = written[op.source + 1]
            written[op.source + 1] = True
            if op.two:
                op.adds_other = written[op.other + 1]
                written[op.other + 1] = True
        return 0

    cdef void find_parts(self) noexcept:
        """The first may hold nothing: then the input goes into a batch norm."""
        cdef Graph *graph = &self.graph
        cdef int s
        graph.n_parts = 1
        for s in range(graph.n_ops):
            if graph.ops[s].operation == BATCH_NORM:
                graph.parts[graph.n_parts - 1].end = s
                graph.parts[graph.n_parts].begin = s
                graph.n_parts += 1
        graph.parts[graph.n_parts - 1].end = graph.n_ops

    cdef int penalize(self, Penalty *it, tuple given) except -1:
        it.begin, it.end, it.l1, it.l2 = given
        if not 0 <= it.begin <= it.end <= self.graph.n_parameters:
            raise ValueError(
                f"expected a penalty on some of {self.graph.n_parameters} parameters, got {it.begin} to {it.end}")
        return 0

    def __dealloc__(self):
        cdef Py_ssize_t s
        for s in range(self.n_given):
            free(self.graph.ops[s].columns)
            free(self.graph.ops[s].groups)
        free(self.graph.ops)
        free(self.graph.parts)
        free(self.graph.penalties)

    @property
    def work(self):
        """Multiply-adds for one row on the way forward."""
        return self.graph.work

    def slices(self, Py_ssize_t rows):
        """Into how many a batch of so many rows is cut for its gradients; 1: they are shared by weights."""
        if self.single:
            return slices_of(&self.graph, rows, <const float *> NULL)
        return slices_of(&self.graph, rows, <const double *> NULL)

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
        cdef Prediction shared
        if threads > 1 and len(x) >= 2 * BLOCK:
            shared = Prediction(self, x, out, logits, min(threads, len(x) // BLOCK))
            shared.run()
            return shared.status == RUNNING
        return self.predict_rows(x, out, logits, &status)

    cdef object predict_rows(self, x, out, bint logits, int *status):
        if self.single:
            return predict[float](self, x, out, logits, status)
        return predict[double](self, x, out, logits, status)

    def predict_few(self, x, out=None):
        """predict, for a few rows, in a new array or in out; None for whatever needs validation."""
        return few(self, x, out)

    cdef bint is_apart(self, const char *data, Py_ssize_t size) noexcept:
        """Whether so many bytes of data lie outside the parameters and their gradients."""
        cdef Py_ssize_t own = self.graph.n_parameters * (sizeof(float) if self.single else sizeof(double))
        return (
            is_apart(data, size, <const char *> self.parameters, <const char *> self.parameters + own)
            and is_apart(data, size, <const char *> self.gradients, <const char *> self.gradients + own))

    cdef bint is_little(self, Py_ssize_t rows) noexcept:
        """Whether so many rows are so little work that nothing pays but to do it."""
        return not self.graph.tables and 0 < rows <= self.graph.block and rows * self.graph.work <= LITTLE_WORK

    def forward(
        self, x not None, out not None, uint64_t seed=0, uint64_t step=0, bint training=True, bint logits=False,
        Py_ssize_t first_row=0, shards=None,
    ):
        """As predict, keeping what backward needs: in training mode, or in evaluation mode, with the bits of predict.
        With logits, without the last activation, here and in backward.

        With shards, the rows are some of a batch, of which the first is its row first_row: it has their number as
        `batch`, its shards among them between the `bounds`, `room(n)` for sums over each (shards, n), and `total()` of
        these over all shards, (n,)."""
        cdef Pass how = Pass(
            seed=seed, step=step, first_row=first_row, training=training, drops=training, repeats=0, keeps=True,
            logits=logits, momenta=NULL, rates=NULL)
        if self.single:
            forward[float](self, x, out, how, shards)
        else:
            forward[double](self, x, out, how, shards)

    def backward(self, dy not None, dx=None, double penalties=1, bint parameters=True):
        """From dy (rows, n_out) of the last forward to the flat gradient, that of the penalties so many times included,
        and, where it is given, dx (rows, n_in). With parameters=False, the flat gradient is left as it is."""
        if self.single:
            backward[float](self, dy, dx, penalties, parameters)
        else:
            backward[double](self, dy, dx, penalties, parameters)

    def gradients_of(self, Py_ssize_t begin, Py_ssize_t end, double penalties=1):
        """After a backward in shards, to the flat gradient: that of some rows, and of the penalties so many times."""
        if self.tape is None or self.tape.shards is None or not 0 <= begin < end <= self.tape.rows:
            raise ValueError(f"rows: expected some of those of the last forward in shards, got {begin} to {end}")
        if self.single:
            gradients_of_rows[float](self, begin, end, penalties, NULL)
        else:
            gradients_of_rows[double](self, begin, end, penalties, NULL)

    def tape_of(self, int op, y not None, dz not None):
        """What the last forward and its backward left of an op: its outputs, and the gradient with respect to its
        numbers before the activation, both (rows, n_out)."""
        if self.single:
            read_tape[float](self, op, y, dz)
        else:
            read_tape[double](self, op, y, dz)
