# Rows on their way through a graph, forward and back, without the interpreter.
#
# Rows are independent of one another on the way forward and back, weights of one another in their gradients and
# updates. So a batch has two phases, with a meeting of the threads after each part:
#
#   rows      gather, forward, loss, backward to every dz     threads share the rows
#   weights   dw and db, then the update                      threads share the units of each step, then all parameters
#
# and every number is computed by one thread, in an order that does not depend on how many there are. A batch norm
# looks along the columns: it begins a new part of the steps, before which the threads meet.


cdef void copy_rows(
    Py_ssize_t rows, Py_ssize_t n, const real *x, Py_ssize_t ldx, real *y, Py_ssize_t ldy,
) noexcept nogil:
    cdef Py_ssize_t r
    for r in range(rows):
        copy_row(n, x + r * ldx, y + r * ldy)


cdef void copy_rows_watched(
    Py_ssize_t rows, Py_ssize_t n, const real *x, Py_ssize_t ldx, real *y, Py_ssize_t ldy, Watch *watch,
) noexcept nogil:
    cdef Py_ssize_t done = 0, some = 1 + PIECE // n
    while done < rows and not look_for_signals(watch, PIECE + n):
        some = min(some, rows - done)
        copy_rows(some, n, x + done * ldx, ldx, y + done * ldy, ldy)
        done += some


cdef void gather_rows(Py_ssize_t rows, Py_ssize_t n, const real *x, const int64_t *order, real *y) noexcept nogil:
    """Rows from all over x; the row after the next is asked for while this one is copied."""
    cdef Py_ssize_t r
    for r in range(rows):
        if r + 2 < rows:
            prefetch_panel(UNPACKED, 1, n, x + order[r + 2] * n, n, 0, 1)
        copy_row(n, x + order[r] * n, y + r * n)


cdef void normalise(
    const Graph *graph, const Pass *how, const Step *step, const real *parameters, Py_ssize_t rows, const real *x,
    Py_ssize_t ldx, real *work, Py_ssize_t capacity, real *y,
) noexcept nogil:
    """A batch norm: where a backward pass may follow, by what `column_statistics` has found; else by the running
    statistics, a few columns at a time."""
    cdef const real *running = <const real *> graph.buffers + step.buffer
    cdef double mean[WIDEST]
    cdef double rstd[WIDEST]
    cdef Py_ssize_t p, at, n
    if how.keeps:
        batch_norm_forward(
            rows, step.n_out, x, ldx, columns_of(graph, step, work, capacity, MEAN),
            columns_of(graph, step, work, capacity, RSTD), parameters + step.weight, parameters + step.bias, y, step.ld)
        return
    for p in range((step.n_out + WIDEST - 1) // WIDEST):
        at = p * WIDEST
        n = min(WIDEST, step.n_out - at)
        running_moments(n, step.alpha, running + at, running + step.n_out + at, mean, rstd)
        batch_norm_forward(
            rows, n, x + at, ldx, mean, rstd, parameters + step.weight + at, parameters + step.bias + at, y + at,
            step.ld)


cdef void combine(
    const Graph *graph, const Step *step, Py_ssize_t rows, const real *a, Py_ssize_t lda, const real *b,
    Py_ssize_t ldb, real *y,
) noexcept nogil:
    """Two outputs added, or side by side."""
    if step.operation == ADD:
        add_forward(rows, step.n_out, a, lda, b, ldb, y, step.ld)
    else:
        copy_rows(rows, step.n_in, a, lda, y, step.ld)
        copy_rows(rows, step.n_out - step.n_in, b, ldb, y + step.n_in, step.ld)


cdef void dense_forward_watched(
    Py_ssize_t rows, Py_ssize_t n_in, Py_ssize_t n_out, const real *x, Py_ssize_t ldx, const real *w, const real *b,
    real *y, Py_ssize_t ldy, const real *zeros, real *panel, Watch *watch,
) noexcept nogil:
    """dense_forward, so many outputs at a time that between them signals can be looked for."""
    cdef Py_ssize_t at = 0, n, most = WIDEST + <Py_ssize_t> (LONG_WORK * LANES_F / (<double> rows * n_in))
    if most >= n_out:
        dense_forward(rows, n_in, n_out, x, ldx, w, b, y, ldy, zeros, panel)
        return
    most -= most % WIDEST
    while at < n_out and not look_for_signals(watch, rows * <double> n_in * most):
        n = min(most, n_out - at)
        matmul(
            rows, n, n_in, x, ldx, 1, w + at, n_out, packing_for(rows, n_out, x), panel, y + at, ldy,
            b + at if b != NULL else zeros, 0, ldy % lanes(y) != 0)
        at += n


cdef const real *forward_rows(
    const Graph *graph, const Pass *how, int begin, int end, const real *parameters, Py_ssize_t from_row,
    Py_ssize_t rows, const real *x, real *work, Py_ssize_t capacity, real *scratch, Py_ssize_t *ld, Watch *watch=NULL,
) noexcept nogil:
    """Rows from_row... of a workspace: from the input x (rows, n_in) through some steps. Returns the last output.

    With a watch it looks for signals on its way; whoever gave it sees from the status whether it came to its end.
    """
    cdef Py_ssize_t lda, ldb
    cdef const Step *step
    cdef const real *a
    cdef const real *b
    cdef real *y
    cdef int s
    for s in range(begin, end):
        step = &graph.steps[s]
        if step.operation == DROPOUT and not how.training:
            continue
        if watch != NULL and look_for_signals(watch, rows * (<double> step.units * step.unit + step.n_out)):
            break
        a = value_of(graph, how, step.source, x, work, capacity, from_row, &lda)
        y = work + step.y * capacity + from_row * step.ld
        if step.operation == DENSE and watch != NULL:
            dense_forward_watched(
                rows, step.n_in, step.n_out, a, lda, parameters + step.weight,
                parameters + step.bias if step.bias >= 0 else NULL, y, step.ld, scratch, scratch + zeros_size(graph),
                watch)
        elif step.operation == DENSE:
            dense_forward(
                rows, step.n_in, step.n_out, a, lda, parameters + step.weight,
                parameters + step.bias if step.bias >= 0 else NULL, y, step.ld, scratch, scratch + zeros_size(graph))
        elif step.operation == DROPOUT:
            dropout(
                dropout_key(how, step.key), step.alpha, how.first_row + from_row, rows, step.n_out, step.ld, a, lda, y)
        elif step.operation == ACTIVATION:
            copy_rows(rows, step.n_out, a, lda, y, step.ld)
        elif step.operation == PRELU:
            prelu_forward(rows, step.n_out, a, lda, parameters + step.weight, y, step.ld)
        elif step.operation == LAYER_NORM:
            layer_norm_forward(
                rows, step.n_out, step.alpha, a, lda, parameters + step.weight, parameters + step.bias, y, step.ld,
                work + step.statistics * capacity + KEPT * from_row if how.keeps else NULL)
        elif step.operation == BATCH_NORM:
            normalise(graph, how, step, parameters, rows, a, lda, work, capacity, y)
        elif step.operation == COLUMNS:
            columns_forward(rows, step.n_columns, step.columns, parameters, a, lda, y, step.ld)
        else:
            b = value_of(graph, how, step.other, x, work, capacity, from_row, &ldb)
            combine(graph, step, rows, a, lda, b, ldb, y)
        activation_forward(
            activation_of(graph, s, how.logits), <real> step.alpha, rows, step.n_out, step.ld, y)
    return value_of(graph, how, end - 1, x, work, capacity, from_row, ld)


cdef void backward_activation(
    const Graph *graph, int activation, const Step *step, Py_ssize_t rows, const real *z, Py_ssize_t ldz, const real *y,
    real *dy,
) noexcept nogil:
    """From dy to dz. Where z is needed it may be the input, whose rows are not padded."""
    cdef Py_ssize_t r
    if not needs_z(activation) or ldz == step.ld:
        activation_backward(activation, <real> step.alpha, rows, step.n_out, step.ld, z, y, dy)
        return
    for r in range(rows):
        activation_backward(
            activation, <real> step.alpha, 1, step.n_out, step.n_out, z + r * ldz, y + r * step.ld, dy + r * step.ld)


cdef void backward_step(
    const Graph *graph, const Pass *how, const Step *step, const real *parameters, Py_ssize_t batch,
    Py_ssize_t from_row, Py_ssize_t rows, const real *a, Py_ssize_t lda, real *work, Py_ssize_t capacity,
    real *scratch, real *dy, real *to, Py_ssize_t ldt,
) noexcept nogil:
    """From a step's dz to the gradient of what it takes."""
    if step.operation == DENSE:
        dense_input_gradient(
            rows, step.n_in, step.n_out, dy, step.ld, parameters + step.weight, to, ldt, step.adds, scratch,
            scratch + zeros_size(graph))
    elif step.operation == PRELU:
        prelu_backward(rows, step.n_out, a, lda, parameters + step.weight, dy, step.ld, to, ldt, step.adds)
    elif step.operation == LAYER_NORM:
        layer_norm_backward(
            rows, step.n_out, a, lda, parameters + step.weight, work + step.statistics * capacity + KEPT * from_row, dy,
            step.ld, to, ldt, step.adds)
    elif step.operation == BATCH_NORM:
        batch_norm_backward(
            1 / <double> batch if pace_of(how, step, batch) > 0 else 0, rows, step.n_out, a, lda,
            columns_of(graph, step, work, capacity, MEAN), columns_of(graph, step, work, capacity, RSTD),
            parameters + step.weight,
            columns_of(graph, step, work, capacity, SUM_DY), columns_of(graph, step, work, capacity, SUM_PRODUCT), dy,
            step.ld, to, ldt, step.adds)
    elif step.operation == COLUMNS:
        columns_backward(rows, step.n_columns, step.columns, dy, step.ld, to, ldt, step.adds)
    else:
        if step.operation == DROPOUT and how.training:
            dropout(
                dropout_key(how, step.key), step.alpha, how.first_row + from_row, rows, step.n_out, step.ld, dy,
                step.ld, dy)
        pass_on(rows, step.n_in, dy, step.ld, to, ldt, step.adds)


cdef inline real *gradient_of(
    const Graph *graph, int s, real *dx, real *work, Py_ssize_t capacity, Py_ssize_t from_row, Py_ssize_t *ld,
) noexcept nogil:
    """Where the gradient of a step's output belongs, or that of the input: dx, which may be NULL."""
    if s == INPUT:
        ld[0] = graph.n_in
        return dx
    ld[0] = graph.steps[s].ld
    return work + graph.steps[s].dy * capacity + from_row * ld[0]


cdef void backward_rows(
    const Graph *graph, const Pass *how, int begin, int end, const real *parameters, Py_ssize_t batch,
    Py_ssize_t from_row, Py_ssize_t rows, const real *x, real *work, Py_ssize_t capacity, real *scratch, real *dx,
) noexcept nogil:
    """From the dy of step end - 1, in the workspace, to the dz of every step down to begin; dx (rows, n_in) if wanted.

    A batch norm's own dz is passed on with the part that it ends: first, all rows are summed.
    """
    cdef const Step *step
    cdef const real *a
    cdef real *dy
    cdef real *to
    cdef Py_ssize_t lda, ldt
    cdef int s
    for s in range(end - 1, begin - 1, -1):
        step = &graph.steps[s]
        dy = work + step.dy * capacity + from_row * step.ld
        a = value_of(graph, how, step.source, x, work, capacity, from_row, &lda)
        backward_activation(
            graph, activation_of(graph, s, how.logits), step, rows, a, lda,
            work + step.y * capacity + from_row * step.ld, dy)
        if step.operation == BATCH_NORM:
            return
        to = gradient_of(graph, step.source, dx, work, capacity, from_row, &ldt)
        if to != NULL:
            backward_step(
                graph, how, step, parameters, batch, from_row, rows, a, lda, work, capacity, scratch, dy, to, ldt)
        if step.operation == ADD or step.operation == JOIN:
            to = gradient_of(graph, step.other, dx, work, capacity, from_row, &ldt)
            if to != NULL and step.operation == ADD:
                pass_on(rows, step.n_out, dy, step.ld, to, ldt, step.adds_other)
            elif to != NULL:
                pass_on(rows, step.n_out - step.n_in, dy + step.n_in, step.ld, to, ldt, step.adds_other)


cdef void backward_norm(
    const Graph *graph, const Pass *how, int s, const real *parameters, Py_ssize_t batch, Py_ssize_t from_row,
    Py_ssize_t rows, const real *x, real *work, Py_ssize_t capacity, real *scratch, real *dx,
) noexcept nogil:
    """Pass on the dz of a batch norm, whose sums are known by now."""
    cdef const Step *step = &graph.steps[s]
    cdef Py_ssize_t lda, ldt
    cdef const real *a = value_of(graph, how, step.source, x, work, capacity, from_row, &lda)
    cdef real *to = gradient_of(graph, step.source, dx, work, capacity, from_row, &ldt)
    if to != NULL:
        backward_step(
            graph, how, step, parameters, batch, from_row, rows, a, lda, work, capacity, scratch,
            work + step.dy * capacity + from_row * step.ld, to, ldt)


cdef void column_statistics(
    const Graph *graph, const Pass *how, int s, Py_ssize_t from_n, Py_ssize_t to_n, Py_ssize_t rows, const real *x,
    real *work, Py_ssize_t capacity,
) noexcept nogil:
    """Mean and variance of some columns of what a batch norm takes; or the running ones, where those stay."""
    cdef const Step *step = &graph.steps[s]
    cdef Py_ssize_t lda, n = to_n - from_n
    cdef const real *a = value_of(graph, how, step.source, x, work, capacity, 0, &lda)
    cdef const real *running = <const real *> graph.buffers + step.buffer + from_n
    cdef double *mean = columns_of(graph, step, work, capacity, MEAN) + from_n
    cdef double *rstd = columns_of(graph, step, work, capacity, RSTD) + from_n
    if pace_of(how, step, rows) > 0:
        column_moments(
            rows, n, a + from_n, lda, step.alpha, mean, rstd,
            columns_of(graph, step, work, capacity, VARIANCE) + from_n)
    else:
        running_moments(n, step.alpha, running, running + step.n_out, mean, rstd)


cdef void column_sums(
    const Graph *graph, const Pass *how, int s, Py_ssize_t from_n, Py_ssize_t to_n, Py_ssize_t rows, const real *x,
    real *work, Py_ssize_t capacity,
) noexcept nogil:
    """What its backward pass takes of some columns."""
    cdef const Step *step = &graph.steps[s]
    cdef Py_ssize_t lda
    cdef const real *a = value_of(graph, how, step.source, x, work, capacity, 0, &lda)
    batch_norm_sums(
        rows, to_n - from_n, a + from_n, lda, columns_of(graph, step, work, capacity, MEAN) + from_n,
        columns_of(graph, step, work, capacity, RSTD) + from_n, work + step.dy * capacity + from_n, step.ld,
        columns_of(graph, step, work, capacity, SUM_DY) + from_n,
        columns_of(graph, step, work, capacity, SUM_PRODUCT) + from_n)


cdef void look_along_columns(
    const Graph *graph, const Pass *how, int s, Py_ssize_t from_n, Py_ssize_t to_n, Py_ssize_t rows, const real *x,
    real *work, Py_ssize_t capacity, bint back, Watch *watch,
) noexcept nogil:
    """What a batch norm's pass forward or back takes of some columns: a few at a time, and a look between them."""
    cdef Py_ssize_t at, to
    for at in range(from_n, to_n, 8):
        to = min(to_n, at + 8)
        if look_for_signals(watch, 64.0 * rows):
            return
        if back:
            column_sums(graph, how, s, at, to, rows, x, work, capacity)
        else:
            column_statistics(graph, how, s, at, to, rows, x, work, capacity)


cdef bint keep_statistics(
    const Graph *graph, const Pass *how, Py_ssize_t rows, real *work, Py_ssize_t capacity,
) noexcept nogil:
    """Let the running statistics follow those of a batch; whether they stay finite."""
    cdef bint finite = True
    cdef real *running
    cdef const Step *step
    cdef int s
    for s in range(graph.n_steps):
        step = &graph.steps[s]
        if step.operation == BATCH_NORM and pace_of(how, step, rows) > 0:
            running = <real *> graph.buffers + step.buffer
            finite &= batch_norm_running(
                rows, step.n_out, pace_of(how, step, rows), columns_of(graph, step, work, capacity, MEAN),
                columns_of(graph, step, work, capacity, VARIANCE), running, running + step.n_out)
    return finite


cdef inlined parameter_gradients(
    const Graph *graph, const Pass *how, int s, Py_ssize_t from_unit, Py_ssize_t to_unit, Py_ssize_t from_row,
    Py_ssize_t rows, const real *x, real *work, Py_ssize_t capacity, real *scratch, double *sums, real *gradients,
) noexcept nogil:
    """The gradients of some units of a step's weight: dw = x^T dz, and with the first of them db = the sum of dz."""
    cdef const Step *step = &graph.steps[s]
    cdef const real *dz = work + step.dy * capacity + from_row * step.ld
    cdef Py_ssize_t lda
    cdef const real *a = value_of(graph, how, step.source, x, work, capacity, from_row, &lda)
    if step.operation == DENSE:
        dense_weight_gradient(
            rows, to_unit - from_unit, step.n_out, a + from_unit, lda, dz, step.ld,
            gradients + step.weight + from_unit * step.unit, scratch, scratch + zeros_size(graph))
        if from_unit == 0 and step.bias >= 0:
            dense_bias_gradient(rows, step.n_out, dz, step.ld, gradients + step.bias, scratch)
    elif to_unit > from_unit:
        column_gradients(
            graph, step, from_unit, to_unit - from_unit, from_row, rows, a, lda, dz, work, capacity, sums, gradients)


cdef void column_gradients(
    const Graph *graph, const Step *step, Py_ssize_t at, Py_ssize_t n, Py_ssize_t from_row, Py_ssize_t rows,
    const real *a, Py_ssize_t lda, const real *dz, real *work, Py_ssize_t capacity, double *sums, real *gradients,
) noexcept nogil:
    """The same for a step with a number for each column; for tables, the numbers at... of them."""
    cdef real *dw = gradients + step.weight + at
    cdef real *db = gradients + step.bias + at
    cdef const double *sum_dy
    cdef const double *sum_product
    cdef Py_ssize_t i
    if step.operation == BATCH_NORM:
        sum_dy = columns_of(graph, step, work, capacity, SUM_DY)
        sum_product = columns_of(graph, step, work, capacity, SUM_PRODUCT)
        for i in range(n):
            dw[i], db[i] = <real> sum_product[at + i], <real> sum_dy[at + i]
        return
    if step.operation == PRELU:
        memset(dw, 0, n * sizeof(real))
        prelu_gradient(rows, n, a + at, lda, dz + at, step.ld, dw)
    elif step.operation == LAYER_NORM:
        layer_norm_gradient(
            rows, n, a + at, lda, work + step.statistics * capacity + KEPT * from_row, dz + at, step.ld, dw, db)
    else:
        if sums == NULL:
            memset(dw, 0, n * sizeof(real))
        columns_gradient(
            rows, step.n_columns, step.columns, a, lda, dz, step.ld, step.weight + at, step.weight + at + n, gradients,
            sums)


cdef inline void bias_range(
    const Step *step, Py_ssize_t from_unit, Py_ssize_t to_unit, Py_ssize_t *begin, Py_ssize_t *end,
) noexcept nogil:
    """Where those biases lie whose gradients are found with these units: of a dense layer, all with the first."""
    begin[0] = end[0] = max(0, step.bias)
    if step.bias < 0:
        return
    if step.operation != DENSE:
        begin[0], end[0] = step.bias + from_unit, step.bias + to_unit
    elif from_unit == 0:
        end[0] = step.bias + step.n_out


cdef void add_slice(Py_ssize_t n, bint first, bint last, real *gradients, double *sums) noexcept nogil:
    """Add what a slice of the rows has come to; with the last, the gradients become what all have."""
    cdef Py_ssize_t i
    if first:
        for i in range(n):
            sums[i] = gradients[i]
    elif last:
        for i in range(n):
            gradients[i] = <real> (sums[i] + gradients[i])
    else:
        for i in range(n):
            sums[i] += gradients[i]


cdef inlined chunk_gradients(
    const Graph *graph, const Pass *how, int s, Py_ssize_t from_unit, Py_ssize_t to_unit, Py_ssize_t rows,
    const real *x, real *work, Py_ssize_t capacity, real *scratch, double *sums, bint begins, bint ends,
    real *gradients, Watch *watch,
) noexcept nogil:
    """parameter_gradients, of a whole batch, or of a part of one that has sums, and begins or ends with it.

    Batch norms have summed their columns by then, over all rows.
    """
    if sums == NULL or graph.steps[s].operation == BATCH_NORM:
        parameter_gradients(
            graph, how, s, from_unit, to_unit, 0, rows, x, work, capacity, scratch, <double *> NULL, gradients)
    else:
        sliced_gradients(
            graph, how, s, from_unit, to_unit, rows, x, work, capacity, scratch, sums, begins, ends, gradients, watch)


cdef void sliced_gradients(
    const Graph *graph, const Pass *how, int s, Py_ssize_t from_unit, Py_ssize_t to_unit, Py_ssize_t rows,
    const real *x, real *work, Py_ssize_t capacity, real *scratch, double *sums, bint begins, bint ends,
    real *gradients, Watch *watch,
) noexcept nogil:
    """Each slice of the rows is a sum of its own, and these are added in double. Of a table, a slice meets few rows:
    there each dy is added in double at once. Without a watch, all of it is done."""
    cdef const Step *step = &graph.steps[s]
    cdef Py_ssize_t at = step.weight + from_unit * step.unit, n = (to_unit - from_unit) * step.unit, done = 0, some, i
    cdef Py_ssize_t bias, bias_end
    cdef bint first, last, table = step.operation == COLUMNS
    if table and begins:
        memset(sums + at, 0, n * sizeof(double))
    bias_range(step, from_unit, to_unit, &bias, &bias_end)
    while done < rows:
        some = min(SLICE, rows - done)
        if watch != NULL and look_for_signals(watch, some * <double> (step.n_out if table else n)):
            return
        first, last = begins and done == 0, ends and done + some == rows
        parameter_gradients(
            graph, how, s, from_unit, to_unit, done, some, x + done * graph.n_in, work, capacity, scratch,
            sums if table else NULL, gradients)
        if not table:
            add_slice(n, first, last, gradients + at, sums + at)
            add_slice(bias_end - bias, first, last, gradients + bias, sums + bias)
        done += some
    if table and ends:
        for i in range(at, at + n):
            gradients[i] = <real> sums[i]


cdef inline Py_ssize_t rows_at_a_time(const Graph *graph) noexcept nogil:
    """That go through all the steps, there and back, between two looks at the signals."""
    return max(16, min(graph.block, <Py_ssize_t> (LONG_WORK * LANES_F / graph.work)))


cdef inline Py_ssize_t units_at_a_time(const Step *step, Py_ssize_t rows) noexcept nogil:
    """Whose gradients, over a slice of the rows or all, are computed between two looks. Tables are left whole: each
    part of one would go through the rows again."""
    rows = min(rows, CHUNK)
    if step.operation == COLUMNS or rows * <double> step.units * step.unit <= LONG_WORK * LANES_F:
        return step.units
    return TILE_ROWS + <Py_ssize_t> (LONG_WORK * LANES_F / (max(1, rows) * <double> step.unit))


cdef bint predict_rows(
    const Graph *graph, const real *parameters, const real *x, real *out, Py_ssize_t rows, bint logits, real *work,
    Py_ssize_t capacity, real *scratch, Watch *watch,
) noexcept nogil:
    """The outputs (rows, n_out) for x (rows, n_in), a block of `capacity` rows at a time; whether x is finite.

    Also False where it was interrupted. Without a watch, that is not looked for.
    """
    cdef Pass how = Pass(
        seed=0, step=0, first_row=0, training=False, keeps=False, logits=logits, momenta=NULL)
    cdef Py_ssize_t done = 0, n, ahead, ld
    cdef bint long_block = capacity * graph.work > LONG_WORK * LANES_F
    cdef const real *y
    memset(scratch, 0, zeros_size(graph) * sizeof(real))
    while done < rows:
        n = min(rows - done, capacity)
        if watch != NULL and look_for_signals(watch, graph.work * n + 4000):
            return False
        if not is_finite(n * graph.n_in, x + done * graph.n_in):
            return False
        ahead = min(AHEAD, (rows - done - n) * graph.n_in)
        prefetch_panel(UNPACKED, 1, ahead, x + (done + n) * graph.n_in, 0, 0, 1)
        y = forward_rows(
            graph, &how, 0, graph.n_steps, parameters, 0, n, x + done * graph.n_in, work, capacity, scratch, &ld,
            watch if long_block else NULL)
        copy_rows(n, graph.n_out, y, ld, out + done * graph.n_out, graph.n_out)
        done += n
    return watch == NULL or atomic_get(watch.status) == RUNNING
