# Forward and backward by hand.

@cython.final
cdef class Tape(Memory):
    """What a forward pass leaves for the backward pass: its input and every output."""
    cdef Py_ssize_t rows
    cdef Py_ssize_t batch                               # of which these rows are all, or some
    cdef object shards                                  # whoever sums over the others; None: there are none
    cdef Pass how
    cdef void *x
    cdef void *work
    cdef void *scratch
    cdef double *sums                                   # of the gradients, where several chains are added
    cdef void *branches                                 # of the tree of slices
    cdef double *momenta
    cdef double *rates


cdef object forward(Plan plan, const real[:, ::1] x, real[:, ::1] out, Pass how, shards):
    cdef const Graph *graph = &plan.graph
    cdef Py_ssize_t rows = x.shape[0], sums, branches
    cdef Tape tape = plan.tape
    cdef int status = RUNNING
    cdef Watch watch
    check_rows(plan, rows, x.shape[1], out.shape[0], out.shape[1])
    plan.tape = None                                    # while it is written, no other thread shall find it
    if tape is None or tape.rows != rows:
        tape = Tape.__new__(Tape)
        tape.rows = rows
        sums = graph.n_parameters if rows > CHUNK else 0
        branches = BRANCHES if slices_of(graph, rows, &x[0, 0]) > 1 else 0
        tape.reserve(sizeof(real) * (
            <double> rows * (graph.n_in + graph.width) + graph.at_end + training_scratch_size(graph)
            + branches * <double> graph.n_parameters) + 8.0 * (graph.n_norms + graph.n_schedules + sums))
        tape.x = tape.take(sizeof(real) * <double> rows * graph.n_in)
        tape.work = tape.take(sizeof(real) * <double> workspace_size(graph, rows))
        tape.scratch = tape.take(sizeof(real) * <double> training_scratch_size(graph))
        tape.sums = <double *> tape.take(8.0 * sums)
        tape.branches = tape.take(sizeof(real) * branches * <double> graph.n_parameters)
        tape.momenta = <double *> tape.take(8.0 * graph.n_norms)
        tape.rates = <double *> tape.take(8.0 * graph.n_schedules)
    if how.training:
        plan.read_momenta(tape.momenta)
        plan.read_rates(how.step, 1, tape.rates)
    tape.how = how
    tape.how.momenta, tape.how.rates = tape.momenta, tape.rates
    tape.shards, tape.batch = shards, rows if shards is None else shards.batch
    if shards is not None:
        forward_in_shards(plan, tape, x, out)
    else:
        with nogil:
            watch = begin_watch(&status, flush_subnormals())
            forward_all(plan, tape, &x[0, 0], &out[0, 0], &watch)
            restore_mode(watch.mode)
        end_watch(&watch)
    plan.tape = tape


cdef Rows rows_of(Plan plan, Tape tape) noexcept nogil:
    """All of them."""
    return Rows(
        graph=&plan.graph, how=&tape.how, x=tape.x, work=tape.work, capacity=tape.rows, first=0, n=tape.rows,
        batch=tape.batch, scratch=tape.scratch, watch=NULL)


cdef void forward_all(Plan plan, Tape tape, const real *x, real *out, Watch *watch) noexcept nogil:
    """From x to what a whole tape holds, and to the outputs; the running statistics follow at the end."""
    cdef const Graph *graph = &plan.graph
    cdef Rows rows = rows_of(plan, tape)
    cdef Py_ssize_t ld = 0
    cdef const real *y
    cdef int p
    copy_rows_watched(rows.n, graph.n_in, x, graph.n_in, <real *> tape.x, graph.n_in, watch)
    for p in range(graph.n_parts):
        if p > 0:
            look_along_columns(&rows, graph.parts[p].begin, 0, graph.ops[graph.parts[p].begin].n_out, False, watch, x)
        pass_through(plan, tape, p, True, <real *> NULL, watch)
    if atomic_get(watch.status) == RUNNING:
        y = value_of(&rows, graph.n_ops - 1, &ld, x)
        copy_rows_watched(rows.n, graph.n_out, y, ld, out, graph.n_out, watch)
    if atomic_get(watch.status) == RUNNING:
        keep_statistics(&rows, x)


cdef void pass_through(Plan plan, Tape tape, int p, bint forward, real *dx, Watch *watch) noexcept nogil:
    """All rows through a part of the graph, some at a time; back, dx (rows, n_in) is wanted or NULL."""
    cdef const Graph *graph = &plan.graph
    cdef const Part *part = &graph.parts[p]
    cdef const real *parameters = <const real *> plan.parameters
    cdef Rows rows = rows_of(plan, tape)
    cdef Py_ssize_t ld = 0, most = rows_at_a_time(graph)
    while rows.first < tape.rows and not look_for_signals(watch, graph.work * most + 4000):
        rows.n = min(tape.rows - rows.first, most)
        rows.x = <const real *> tape.x + rows.first * graph.n_in
        if forward:
            forward_rows(&rows, part.begin, part.end, parameters, &ld)
        else:
            backward_part(&rows, p, parameters, dx + rows.first * graph.n_in if dx != NULL else NULL)
        rows.first += rows.n


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
    if tape.shards is not None:
        backward_in_shards(plan, tape, dy)
        plan.tape = tape
        return
    with nogil:
        watch = begin_watch(&status, flush_subnormals())
        backward_all(plan, tape, &dy[0, 0], &dx[0, 0] if dx is not None else NULL, &watch)
        if parameters:
            gradients_by_hand(plan, tape, &dy[0, 0], penalties, &watch)
        restore_mode(watch.mode)
    plan.tape = tape                                    # whatever came: it holds what the forward pass left
    end_watch(&watch)


cdef void backward_all(Plan plan, Tape tape, const real *dy, real *dx, Watch *watch) noexcept nogil:
    """From dy to every dz, and to dx."""
    cdef const Graph *graph = &plan.graph
    cdef const Op *last = &graph.ops[graph.n_ops - 1]
    cdef Rows rows = rows_of(plan, tape)
    cdef int p
    copy_rows_watched(rows.n, graph.n_out, dy, graph.n_out, dy_of(&rows, last, dy), last.ld, watch)
    for p in range(graph.n_parts - 1, -1, -1):
        pass_through(plan, tape, p, False, dx, watch)
        if p > 0:
            look_along_columns(&rows, graph.parts[p].begin, 0, graph.ops[graph.parts[p].begin].n_out, True, watch, dy)


cdef void gradients_by_hand(Plan plan, Tape tape, const real *_, double penalties, Watch *watch) noexcept nogil:
    """From every dz to the gradients of all parameters, those of the penalties so many times included."""
    cdef const Graph *graph = &plan.graph
    cdef real *gradients = <real *> plan.gradients
    cdef Rows rows = rows_of(plan, tape)
    cdef int slices = slices_of(graph, rows.n, _)
    rows.watch = watch
    if slices > 1:
        gradients_by_slices(
            &rows, slices, tape.sums, <real *> tape.branches, graph.n_parameters, gradients)
    else:
        gradients_by_weights(&rows, tape.sums, gradients)
    if atomic_get(watch.status) == RUNNING:
        penalty_backward(
            graph.n_penalties, graph.penalties, penalties, 0, graph.n_parameters, <const real *> plan.parameters,
            gradients)


# In shards: the rows of a tape are some of a batch, and parts of its shards; what batch norms take over all rows, the
# shards sum up between the parts of the graph. Then each shard has gradients of its own.

cdef enum ColumnSum:
    SUM_X, SUM_SQUARES, SUM_OF_DY, SUM_OF_PRODUCT


cdef object forward_in_shards(Plan plan, Tape tape, const real[:, ::1] x, real[:, ::1] out):
    cdef const Graph *graph = &plan.graph
    cdef Rows rows = rows_of(plan, tape)
    cdef Py_ssize_t ld = 0
    cdef const real *y
    cdef float_mode mode = flush_subnormals()
    cdef int p, status = RUNNING
    cdef Watch watch = begin_watch(&status, mode)
    try:
        copy_rows(rows.n, graph.n_in, &x[0, 0], graph.n_in, <real *> tape.x, graph.n_in)
        for p in range(graph.n_parts):
            if p > 0:
                statistics_of_shards[real](&rows, graph.parts[p].begin, tape.shards, &x[0, 0])
            pass_through(plan, tape, p, True, <real *> NULL, &watch)
        y = value_of(&rows, graph.n_ops - 1, &ld, &x[0, 0])
        copy_rows(rows.n, graph.n_out, y, ld, &out[0, 0], graph.n_out)
        keep_statistics(&rows, &x[0, 0])
    finally:
        restore_mode(mode)
    end_watch(&watch)


cdef object backward_in_shards(Plan plan, Tape tape, const real[:, ::1] dy):
    """To every dz."""
    cdef const Graph *graph = &plan.graph
    cdef const Op *last = &graph.ops[graph.n_ops - 1]
    cdef Rows rows = rows_of(plan, tape)
    cdef float_mode mode = flush_subnormals()
    cdef int p, status = RUNNING
    cdef Watch watch = begin_watch(&status, mode)
    try:
        copy_rows(rows.n, graph.n_out, &dy[0, 0], graph.n_out, dy_of(&rows, last, &dy[0, 0]), last.ld)
        for p in range(graph.n_parts - 1, -1, -1):
            pass_through(plan, tape, p, False, <real *> NULL, &watch)
            if p > 0:
                sums_of_shards[real](&rows, graph.parts[p].begin, tape.shards, &dy[0, 0])
    finally:
        restore_mode(mode)
    end_watch(&watch)


cdef object statistics_of_shards(const Rows *rows, int s, shards, const real *_):
    """Mean and variance of a batch norm's columns, over all shards."""
    cdef const Op *op = &rows.graph.ops[s]
    cdef double *mean = columns_of(rows, op, MEAN, _)
    cdef double *rstd = columns_of(rows, op, RSTD, _)
    cdef double *variance = columns_of(rows, op, VARIANCE, _)
    cdef double[::1] found
    cdef Py_ssize_t i
    if not pace_of(rows, op) > 0:
        batch_norm_statistics(rows, op, 0, op.n_out, _)
        return
    found = sum_over_shards[real](rows, op, SUM_X, shards, _)
    for i in range(op.n_out):
        mean[i] = found[i] / rows.batch
    found = sum_over_shards[real](rows, op, SUM_SQUARES, shards, _)
    for i in range(op.n_out):
        variance[i] = found[i] / rows.batch
        rstd[i] = 1 / sqrt(variance[i] + op.alpha)


cdef object sums_of_shards(const Rows *rows, int s, shards, const real *_):
    """Of dy and of dy x' over a batch norm's columns, over all shards."""
    cdef const Op *op = &rows.graph.ops[s]
    cdef double *sum_dy = columns_of(rows, op, SUM_DY, _)
    cdef double *sum_product = columns_of(rows, op, SUM_PRODUCT, _)
    cdef double[::1] found = sum_over_shards[real](rows, op, SUM_OF_DY, shards, _)
    cdef Py_ssize_t i
    for i in range(op.n_out):
        sum_dy[i] = found[i]
    found = sum_over_shards[real](rows, op, SUM_OF_PRODUCT, shards, _)
    for i in range(op.n_out):
        sum_product[i] = found[i]


cdef object sum_over_shards(const Rows *rows, const Op *op, ColumnSum which, shards, const real *_):
    """Over the rows of each shard here, and then over all shards."""
    cdef double[:, ::1] sums = shards.room(op.n_out)
    cdef const double *mean = columns_of(rows, op, MEAN, _)
    cdef const double *rstd = columns_of(rows, op, RSTD, _)
    cdef Py_ssize_t ldx = 0, k, c, n, begin, end
    cdef const real *x = value_of(rows, op.source, &ldx, _)
    cdef const real *dy = dy_of(rows, op, _)
    for k in range(sums.shape[0]):
        begin, end = shards.bounds[k], shards.bounds[k + 1]
        expect(0 <= begin <= end <= rows.n, f"bounds within {rows.n} rows")
        for c in range(0, op.n_out, 8):
            n = min(8, op.n_out - c)
            if which == SUM_X:
                add_columns(end - begin, n, x + begin * ldx + c, ldx, &sums[k, c])
            elif which == SUM_SQUARES:
                add_squares(end - begin, n, x + begin * ldx + c, ldx, mean + c, &sums[k, c])
            elif which == SUM_OF_DY:
                add_columns(end - begin, n, dy + begin * op.ld + c, op.ld, &sums[k, c])
            else:
                add_products(
                    end - begin, n, x + begin * ldx + c, ldx, dy + begin * op.ld + c, op.ld, mean + c, rstd + c,
                    &sums[k, c])
    return shards.total()


cdef object gradients_of_rows(Plan plan, Py_ssize_t begin, Py_ssize_t end, double penalties, const real *_):
    """From every dz of the rows of a shard to the gradients of all parameters."""
    cdef const Graph *graph = &plan.graph
    cdef Tape tape = plan.tape
    cdef Rows rows = rows_of(plan, tape)
    cdef real *gradients = <real *> plan.gradients
    cdef int slices, status = RUNNING
    cdef Watch watch = begin_watch(&status, flush_subnormals())
    rows.first, rows.n, rows.watch = begin, end - begin, &watch
    rows.x = <const real *> tape.x + begin * graph.n_in
    slices = slices_of(graph, rows.n, _)
    if slices > 1:
        gradients_by_slices(&rows, slices, tape.sums, <real *> tape.branches, graph.n_parameters, gradients)
    else:
        gradients_by_weights(&rows, tape.sums, gradients)
    penalty_backward(
        graph.n_penalties, graph.penalties, penalties, 0, graph.n_parameters, <const real *> plan.parameters, gradients)
    restore_mode(watch.mode)
    end_watch(&watch)


cdef object read_tape(Plan plan, int s, real[:, ::1] y, real[:, ::1] dz):
    """Copy what the last passes left of an operation."""
    cdef const Op *op
    cdef Tape tape = plan.tape
    cdef Py_ssize_t ld = 0
    cdef const real *kept
    cdef Rows rows
    if tape is None:
        raise ValueError("tape: expected a forward and a backward before it, got none")
    if not 0 <= s < plan.graph.n_ops:
        raise ValueError(f"tape: expected one of {plan.graph.n_ops} operations, got {s}")
    op = &plan.graph.ops[s]
    if y.shape[0] != tape.rows or y.shape[1] != op.n_out or dz.shape[0] != tape.rows or dz.shape[1] != op.n_out:
        raise ValueError(f"tape: expected two arrays ({tape.rows}, {op.n_out}), got others")
    rows = rows_of(plan, tape)
    if op.implied:                                      # it has not been written out so far
        kept = value_of(&rows, op.source, &ld, &y[0, 0])
        op_forward(&rows, op, kept, ld, <const real *> plan.parameters, y_of(&rows, op, &y[0, 0]))
    kept = value_of(&rows, s, &ld, &y[0, 0])
    copy_rows(rows.n, op.n_out, kept, ld, &y[0, 0], op.n_out)
    copy_rows(rows.n, op.n_out, dy_of(&rows, op, &y[0, 0]), op.ld, &dz[0, 0], op.n_out)
