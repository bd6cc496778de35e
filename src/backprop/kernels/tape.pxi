# Forward and backward by hand.

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
