# Training. A run is what the threads share.

cdef enum:
    NEAR = 524_288                              # bytes of a gradient that its update still finds in the second cache

cdef struct Run:
    const Graph *graph
    Loss loss
    bint logits                                 # the loss takes logits: the last activation is left out
    Update update
    bint mean                                   # a batch counts for the mean of its rows, or for their sum
    bint update_statistics                      # the running ones follow each batch
    bint share_penalties                        # the penalties are divided with that sum, not added to the mean
    Py_ssize_t rows, batch, chunk
    Py_ssize_t most                             # rows that go through all operations without a look at the signals
    int64_t epochs
    uint64_t seed, first_epoch, first_step
    int threads
    void *gradients
    double *sums                                # of the gradients, where a batch has more than one slice; or NULL
    const void *x
    const void *y
    Py_ssize_t n_targets                        # in a row of y
    const int64_t *labels
    const double *weights
    const double *rates                         # learning rate: one, or one for each batch
    Py_ssize_t n_rates
    void *outputs                               # predictions of each row, for the metrics; or NULL
    void *work
    void *gathered
    void *scratch
    void *unit_major                            # for tiny batches on one thread; or NULL
    Py_ssize_t n_units
    double *momenta                             # of each batch norm, at the beginning of the run
    double *values
    double *losses                              # two an epoch: the sum of its losses, and of the weights; added to
    int64_t *order                              # NULL: as they come
    char apart[64]                              # lines of the cache that one thread writes and another reads
    int status, verdict, arrived, generation
    char aside[64]
    int64_t steps                               # batches finished
    Watch watch                                 # of thread 0


cdef void shuffle_watched(uint64_t seed, uint64_t epoch, Py_ssize_t n, int64_t *order, Watch *watch) noexcept nogil:
    cdef Py_ssize_t done = 0, to
    while done < n and not look_for_signals(watch, 20.0 * min(n, PIECE)):
        to = min(n, done + PIECE)
        shuffle(seed, epoch, done, to, order)
        done = to


cdef inline Py_ssize_t share(Py_ssize_t n, int thread, int threads) noexcept nogil:
    """Where a thread's part of n begins, and the one before it ends. A division is dear in a tiny network."""
    return n * thread if threads == 1 else n * thread // threads


cdef int meet(Run *run) noexcept nogil:
    """Wait for the other threads. All leave with the same verdict: the status when the last of them came."""
    cdef int generation, spins = 0
    if run.threads == 1:
        return run.status
    generation = atomic_get(&run.generation)
    if atomic_add(&run.arrived, 1) == run.threads:
        run.arrived = 0
        run.verdict = atomic_get(&run.status)
        atomic_set(&run.generation, generation + 1)
    else:
        while atomic_get(&run.generation) == generation:
            spins += 1
            if spins < 4000:
                spin_pause()
            else:
                give_way()
    return run.verdict


cdef void keep_outputs(
    Run *run, const Pass *how, Py_ssize_t rows, const real *y_hat, Py_ssize_t ld, const int64_t *order, Py_ssize_t at,
) noexcept nogil:
    """The predictions, in the order of the rows, for the metrics of an epoch."""
    cdef const Op *last = &run.graph.ops[run.graph.n_ops - 1]
    cdef Py_ssize_t r, n = run.graph.n_out
    cdef real *out
    for r in range(rows):
        out = <real *> run.outputs + (order[r] if order != NULL else at + r) * n
        memcpy(out, y_hat + r * ld, n * sizeof(real))
        if how.logits:
            activation_forward(last.activation, <real> last.alpha, 1, n, n, out)


cdef inlined train_loss(
    Run *run, Py_ssize_t rows, const real *y_hat, Py_ssize_t ld, const int64_t *order, Py_ssize_t at, double norm,
    double *values, real *dy, Py_ssize_t ldd,
) noexcept nogil:
    """The weighted losses of the rows order[0], order[1]... or at, at + 1... and their gradients."""
    cdef Py_ssize_t r, n = run.graph.n_out
    loss_rows(
        &run.loss, rows, n, y_hat, ld, <const real *> run.y + at * run.n_targets if run.y != NULL else NULL,
        run.labels + at if run.labels != NULL else NULL, order, run.weights + at if run.weights != NULL else NULL,
        norm, values, dy, ldd)
    if run.weights != NULL:
        for r in range(rows):
            values[r] *= run.weights[order[r] if order != NULL else at + r]


cdef inline Rows chunk_of(
    Run *run, const Pass *how, int thread, Py_ssize_t first, Py_ssize_t n, const real *_,
) noexcept nogil:
    """Rows `first`... of an epoch, as this thread sees them; where they are shuffled, `gather_rows` brings them."""
    cdef Rows rows = Rows(
        graph=run.graph, how=how, x=run.gathered, work=run.work, capacity=run.chunk, first=0, n=n, batch=n,
        scratch=<real *> run.scratch + thread * training_scratch_size(run.graph), watch=NULL)
    if run.order == NULL:
        rows.x = <const real *> run.x + first * run.graph.n_in
    return rows


cdef void train_part(
    Run *run, const Rows *chunk, const real *parameters, int thread, Py_ssize_t first, double norm, int p,
    bint forward, bint backward,
) noexcept nogil:
    """This thread's rows of a chunk through a part of the graph, there and back. Before the first part they are
    gathered, after the last they have a loss."""
    cdef const Graph *graph = run.graph
    cdef const Part *part = &graph.parts[p]
    cdef const Op *last = &graph.ops[graph.n_ops - 1]
    cdef Rows rows = chunk[0]
    cdef Py_ssize_t to_row = share(chunk.n, thread + 1, run.threads), ld = 0, at
    cdef const real *y_hat
    cdef const int64_t *order = NULL
    rows.first = share(chunk.n, thread, run.threads)
    while rows.first < to_row:
        rows.n = min(to_row - rows.first, run.most)
        if thread == 0:
            look_for_signals(&run.watch, 2 * graph.work * rows.n + 4000)
        if atomic_get(&run.status) != RUNNING:
            return
        at = first + rows.first
        if run.order != NULL:
            order, at = run.order + at, 0
        rows.x = <const real *> chunk.x + rows.first * graph.n_in
        if forward and p == 0 and run.order != NULL:
            gather_rows(rows.n, graph.n_in, <const real *> run.x, order, <real *> rows.x)
        if forward:
            y_hat = forward_rows(&rows, part.begin, part.end, parameters, &ld)
            if part.end == graph.n_ops:
                if run.outputs != NULL:
                    keep_outputs(run, rows.how, rows.n, y_hat, ld, order, at)
                train_loss(
                    run, rows.n, y_hat, ld, order, at, norm, run.values + rows.first, dy_of(&rows, last, parameters),
                    last.ld)
        if backward:
            backward_part(&rows, p, parameters, <real *> NULL)
        rows.first += rows.n


cdef void train_rows(
    Run *run, const Pass *how, const real *parameters, int thread, Py_ssize_t first, Py_ssize_t n, double norm,
) noexcept nogil:
    """The rows of a chunk from x to the loss and every dz; where a batch norm looks along columns, threads meet."""
    cdef const Graph *graph = run.graph
    cdef Rows rows = chunk_of(run, how, thread, first, n, parameters)
    cdef int p, last = graph.n_parts - 1
    if thread == 0 and run.threads > 1:
        look_for_signals(&run.watch, 4e6)                      # a meeting may last long
    for p in range(last):
        train_part(run, &rows, parameters, thread, first, norm, p, True, False)
        if not train_columns(run, &rows, thread, graph.parts[p].end, False, parameters):
            return
    train_part(run, &rows, parameters, thread, first, norm, last, True, True)
    for p in range(last - 1, -1, -1):
        if not train_columns(run, &rows, thread, graph.parts[p].end, True, parameters):
            return
        train_part(run, &rows, parameters, thread, first, norm, p, False, True)


cdef bint train_columns(Run *run, const Rows *rows, int thread, int s, bint back, const real *_) noexcept nogil:
    """This thread's columns of a batch norm, between two meetings; whether to go on."""
    cdef Watch elsewhere = watch_elsewhere(&run.status)
    cdef Py_ssize_t n = run.graph.ops[s].n_out
    if meet(run) != RUNNING:
        return False
    look_along_columns(
        rows, s, share(n, thread, run.threads), share(n, thread + 1, run.threads), back,
        &run.watch if thread == 0 else &elsewhere, _)
    return meet(run) == RUNNING


cdef inlined train_tiny(
    int side, Run *run, const Pass *how, const real *parameters, Py_ssize_t first, Py_ssize_t rows, double norm,
) noexcept nogil:
    """A whole tiny batch: from its rows to the gradients of all parameters."""
    cdef const Graph *graph = run.graph
    cdef Py_ssize_t r, at = first, n = graph.n_out, n_units = run.n_units
    cdef const int64_t *order = NULL
    cdef real *x = <real *> run.unit_major
    cdef real *y_hat = x + (graph.n_in + n_units - n) * side
    cdef real *dy = y_hat + n_units * side
    cdef real *y_rows = dy + n * side if n > 1 else y_hat
    cdef real *dy_rows = y_rows + n * side if n > 1 else dy
    look_for_signals(&run.watch, 2 * graph.work * rows + 4000)
    if run.order != NULL:
        order, at = run.order + first, 0
        for r in range(rows):
            transpose_rows(1, graph.n_in, <const real *> run.x + order[r] * graph.n_in, 0, 1, x + r, 0, side)
    elif rows < run.rows or run.steps == 0:             # else they are there
        transpose_rows(rows, graph.n_in, <const real *> run.x + first * graph.n_in, graph.n_in, 1, x, 1, side)
    tiny_forward(side, graph, how.logits, parameters, x)
    if n > 1:
        transpose_rows(rows, n, y_hat, 1, side, y_rows, n, 1)
    train_loss(run, rows, y_rows, n, order, at, norm, run.values, dy_rows, n)
    if n > 1:
        transpose_rows(rows, n, dy_rows, n, 1, dy, 1, side)
    tiny_backward(
        side, graph, how.logits, rows, n_units, parameters, x, <const real *> run.scratch, <real *> run.gradients)


cdef void train_update(Run *run, real *parameters, double scale, Py_ssize_t at, Py_ssize_t end) noexcept nogil:
    """Some parameters step along their gradient."""
    cdef const real *g = <const real *> run.gradients
    cdef bint finite
    if run.update.plain:
        finite = update(&run.update, at, end - at, g + at, parameters + at)
    else:
        finite = update_range(&run.update, scale, at, end, g, parameters)
    if not finite:
        atomic_set(&run.status, DIVERGED)


cdef void train_gradients(
    Run *run, const Pass *how, real *parameters, int thread, Py_ssize_t first, Py_ssize_t n, double *sums,
    bint begins, bint ends, double penalties, bint at_once,
) noexcept nogil:
    """The gradient of this thread's share of each weight, over a chunk of rows, with which its batch begins or ends.
    Then the penalties', so many times; and at once, the weight steps along it."""
    cdef const Graph *graph = run.graph
    cdef const Op *op
    cdef Py_ssize_t at, to, end, most, bias, bias_end
    cdef Watch elsewhere = watch_elsewhere(&run.status)
    cdef Watch *watch = &run.watch if thread == 0 else &elsewhere
    cdef Rows rows = chunk_of(run, how, thread, first, n, <const real *> parameters)
    cdef int s
    rows.watch = NULL if at_once else watch
    for s in range(graph.n_ops):
        op = &graph.ops[s]
        if op.units == 0:
            continue
        at, end = share(op.units, thread, run.threads), share(op.units, thread + 1, run.threads)
        if at_once:
            most = TILE_ROWS + NEAR // (op.unit * <Py_ssize_t> sizeof(real))
        else:
            most = units_at_a_time(op, n)
        while at < end:
            to = min(end, at + most)
            if not at_once and look_for_signals(watch, <double> n * op.unit * (to - at)):
                return
            chunk_gradients(&rows, s, at, to, sums, begins, ends, <real *> run.gradients)
            if ends and penalties > 0:
                penalty_backward(
                    graph.n_penalties, graph.penalties, penalties, op.weight + at * op.unit,
                    op.weight + to * op.unit, <const real *> parameters, <real *> run.gradients)
            if at_once:
                train_update(run, parameters, 1, op.weight + at * op.unit, op.weight + to * op.unit)
                bias_range(op, at, to, &bias, &bias_end)
                if bias < bias_end:
                    train_update(run, parameters, 1, bias, bias_end)
            at = to


cdef bint train_batch(
    Run *run, Pass *how, real *parameters, int thread, Py_ssize_t first, Py_ssize_t rows, double *loss, double *weight,
) noexcept nogil:
    """One step of training on rows first... of an epoch; adds to the epoch's loss and weight. False: stop here.

    A step may be abandoned until its update begins. Where it is short, nobody needs to: then each weight is updated as
    soon as its gradient is known, while that is still in the cache.
    """
    cdef Py_ssize_t done = 0, n, r, n_parameters = run.graph.n_parameters
    cdef bint at_once = False
    cdef double *sums = run.sums if rows > CHUNK else NULL
    cdef double batch_loss = 0, batch_weight = 0, norm = 1, penalties = 1, scale = 1
    cdef Rows batch
    if run.weights == NULL:
        batch_weight = rows
    else:
        for r in range(first, first + rows):
            batch_weight += run.weights[run.order[r] if run.order != NULL else r]
    if run.mean:
        norm = 1 / batch_weight if batch_weight > 0 else 0
    if run.share_penalties:
        penalties = norm
    if run.graph.n_penalties > 0:
        batch_loss = penalty_forward(run.graph.n_penalties, run.graph.penalties, <const real *> parameters)
        if run.share_penalties:
            batch_loss *= 1.0 if batch_weight > 0 else 0.0
        elif run.mean:
            batch_loss *= batch_weight
    while done < rows:
        n = min(rows - done, run.chunk)
        how.first_row = done
        if run.unit_major != NULL and run.batch <= 4:
            train_tiny(4, run, how, <const real *> parameters, first, rows, norm)
        elif run.unit_major != NULL:
            train_tiny(8, run, how, <const real *> parameters, first, rows, norm)
        else:
            train_rows(run, how, parameters, thread, first + done, n, norm)
        if meet(run) != RUNNING:
            return False
        for r in range(n):
            batch_loss += run.values[r]
        if not batch_loss - batch_loss == 0:
            atomic_set(&run.status, DIVERGED)           # every thread comes to the same sum, and leaves here
            return False
        at_once = (
            run.update.kind != NO_UPDATE and run.unit_major == NULL and done + n == rows and n_parameters > TINY
            and n * <double> n_parameters <= LONG_WORK * LANES_F and not run.update.clip_norm > 0)
        if run.unit_major == NULL:
            train_gradients(
                run, how, parameters, thread, first + done, n, sums, done == 0, done + n == rows, penalties, at_once)
        elif run.graph.n_penalties > 0:
            penalty_backward(
                run.graph.n_penalties, run.graph.penalties, penalties, 0, n_parameters, <const real *> parameters,
                <real *> run.gradients)
        if meet(run) != RUNNING:
            return False
        done += n
    if run.update.kind != NO_UPDATE and not at_once:
        if run.update.clip_norm > 0:
            scale = clip_scale(&run.update, <const real *> run.gradients)
        train_update(
            run, parameters, scale, share(n_parameters, thread, run.threads),
            share(n_parameters, thread + 1, run.threads))
        if meet(run) != RUNNING:
            return False
    if thread == 0 and run.update_statistics:
        batch = chunk_of(run, how, thread, first, rows, <const real *> parameters)
        if not keep_statistics(&batch, <const real *> parameters):
            atomic_set(&run.status, DIVERGED)
    loss[0] += batch_loss
    weight[0] += batch_weight
    return True


cdef void train_epochs(Run *run, real *parameters, int thread) noexcept nogil:
    """All epochs of a run, in step with the other threads."""
    cdef Pass how = Pass(
        seed=run.seed, step=0, first_row=0, training=True, keeps=True, logits=run.logits, momenta=run.momenta)
    cdef int64_t epoch, step = 0
    cdef Py_ssize_t first
    cdef double loss, weight
    for epoch in range(run.epochs):
        if run.order != NULL:
            if thread == 0:
                shuffle_watched(run.seed, run.first_epoch + <uint64_t> epoch, run.rows, run.order, &run.watch)
            if meet(run) != RUNNING:
                return
        loss, weight = run.losses[2 * epoch], run.losses[2 * epoch + 1]
        first = 0
        while first < run.rows:
            how.step = run.first_step + <uint64_t> step
            if thread == 0:
                begin_step(&run.update, run.rates[min(step, run.n_rates - 1)])
            if not train_batch(run, &how, parameters, thread, first, min(run.batch, run.rows - first), &loss, &weight):
                return
            first += run.batch
            step += 1
            if thread == 0:
                run.steps = step
        if thread == 0:
            run.losses[2 * epoch], run.losses[2 * epoch + 1] = loss, weight
