# Training. A run is what the threads share.

cdef enum:
    LINE = 16                                   # numbers, at least, of which the next is in another line of the cache
    ORDERS = 4_194_304                          # rows whose order is found before they are trained on, at most
    LOOKS = 64                                  # tiny batches from one look at the signals to the next
    SPINS = 500                                 # looks at whether others have come, before giving way

cdef const double PATIENCE = 0.02               # seconds that a thread has waited before it is asked why

cdef enum Meeting:
    BETWEEN                                     # phases: what each thread has to do is shared anew
    WITHIN                                      # a phase: each goes on with the rows that it has
    ALONE                                       # one has worked while the others waited

cdef struct Seat:                               # of a thread at the meetings: a line of the cache of its own
    int came, verdict                           # to so many meetings; of thread 0: and what they came to
    double waited                               # seconds, after it gave way
    char apart[48]

cdef struct Run:
    const Graph *graph
    Loss loss
    bint logits                                 # the loss takes logits: the last activation is left out
    Update update
    bint mean                                   # a batch counts for the mean of its rows, or for their sum
    bint update_statistics                      # the running ones follow each batch
    bint share_penalties                        # the penalties are divided with that sum, not added to the mean
    Py_ssize_t rows, batch
    Py_ssize_t chunk                            # rows of the workspace that all share
    Py_ssize_t piece                            # rows of one that each thread has for itself
    Py_ssize_t most                             # rows that go through all operations without a look at the signals
    int64_t epochs
    uint64_t seed, first_epoch, first_step
    int threads
    void *gradients
    double *sums                                # of gradients, where several chains are added
    void *branches                              # the gradients of slices, BRANCHES for each thread, so far apart
    Py_ssize_t apart
    double *slice_losses
    const void *x
    const void *y
    Py_ssize_t n_targets                        # in a row of y
    const int64_t *labels
    const double *weights
    const double *rates                         # learning rate: one, or one for each batch; weight decay, likewise
    const double *decays
    Py_ssize_t n_rates, n_decays
    void *outputs                               # predictions of each row, for the metrics; or NULL
    void *work                                  # of all, or of each thread, the next so many numbers on; as the inputs
    void *gathered                              # are, and the losses of each row
    Py_ssize_t next_work, next_gathered
    void *scratch
    void *unit_major                            # for tiny batches on one thread; or NULL
    TinyLayer *layers                           # likewise
    double *momenta                             # of each batch norm, at the beginning of the run
    double *dropout_rates                       # of each dropout with a schedule, batch by batch
    double *values
    double *losses                              # two an epoch: the sum of its losses, and of the weights; added to
    int64_t *order                              # of the rows, for so many epochs, one by one; NULL: as they come
    Py_ssize_t orders
    Seat *seats
    double since                                # when the waiting at meetings began to be counted
    char before[64]                             # a line of the cache that one thread writes and others read
    int status
    int stop                                    # asked for, by whichever thread
    char behind[64]
    int64_t steps                               # batches finished
    Watch watch                                 # of thread 0

cdef struct Step:                               # of training, as each thread knows it
    Py_ssize_t first, rows                      # of an epoch
    double norm                                 # what the gradient of a row is multiplied by
    double penalties                            # how many times those of the layers count
    double loss, weight                         # of all rows; as thread 0 alone may know
    bint updated                                # the parameters have stepped together with their gradients


cdef void shuffle_watched(uint64_t seed, uint64_t epoch, Py_ssize_t n, int64_t *order, Watch *watch) noexcept nogil:
    cdef Py_ssize_t done = 0, to
    while done < n and not look_for_signals(watch, 20.0 * min(n, PIECE)):
        to = min(n, done + PIECE)
        shuffle(seed, epoch, done, to, order)
        done = to


cdef inline void wait_for(int *came, int meeting, double *waited) noexcept nogil:
    """Until a thread has come, and perhaps gone on. This one is awake for some microseconds, then gives way to whoever
    else wants the processor."""
    cdef double since = 0
    cdef int spins = 0
    while <int> (<unsigned int> atomic_get(came) - <unsigned int> meeting) < 0:
        spins += 1
        if spins < SPINS:
            spin_pause()
            continue
        if since == 0:
            since = seconds_now()
        give_way()
    if since > 0:
        waited[0] += seconds_now() - since


cdef void drop_threads(Run *run, Meeting meeting) noexcept nogil:
    """Go on with half of them, where one waits for most of a tenth of a second: others use the processors, or there is
    nothing for it to do. All are here."""
    cdef double longest = 0, now
    cdef int i
    for i in range(run.threads):
        longest = max(longest, run.seats[i].waited)
    if meeting == WITHIN or (meeting == BETWEEN and longest < PATIENCE):
        return
    now = seconds_now()
    if meeting == BETWEEN and now - run.since < 5 * PATIENCE:
        return
    if meeting == BETWEEN and longest > (now - run.since) * 2 / 3:
        run.threads //= 2
    run.since = now
    for i in range(run.threads):
        run.seats[i].waited = 0


cdef int meet_others(Run *run, int thread, Meeting kind) noexcept nogil:
    cdef Seat *first = run.seats
    cdef Seat *own = run.seats + thread
    cdef int meeting = <int> (<unsigned int> own.came + 1), i
    if thread > 0:
        atomic_set(&own.came, meeting)
        wait_for(&first.came, meeting, &own.waited)
        return first.verdict if thread < run.threads else LEFT
    for i in range(1, run.threads):
        wait_for(&run.seats[i].came, meeting, &own.waited)
    first.verdict = atomic_get(&run.status)
    drop_threads(run, kind)
    atomic_set(&own.came, meeting)
    return first.verdict


cdef inline int meet(Run *run, int thread, Meeting kind) noexcept nogil:
    """Wait for the other threads. All leave with the same verdict: the status when the last of them came."""
    return run.status if run.threads == 1 else meet_others(run, thread, kind)


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


cdef inline Rows rows_of_run(
    Run *run, const Pass *how, int thread, Py_ssize_t first, Py_ssize_t rows, int place, Py_ssize_t capacity,
    const real *_,
) noexcept nogil:
    """Rows `first`... of an epoch in a place of the workspace, as a thread sees them; where they are shuffled,
    `gather_rows` brings them."""
    cdef Rows found = Rows(
        graph=run.graph, how=how, x=<real *> run.gathered + place * run.next_gathered,
        work=<real *> run.work + place * run.next_work, capacity=capacity, first=0, n=rows, batch=rows,
        scratch=<real *> run.scratch + thread * training_scratch_size(run.graph), watch=NULL)
    if run.order == NULL:
        found.x = <const real *> run.x + first * run.graph.n_in
    return found


cdef inline bint goes_on(Run *run, const Rows *rows, int thread) noexcept nogil:
    """Whether these rows may begin a way through the graph."""
    if thread == 0:
        look_for_signals(&run.watch, 2 * run.graph.work * rows.n + 4000)
    return atomic_get(&run.status) == RUNNING


cdef inline void begin_rows(Run *run, const Rows *rows, Py_ssize_t at, const real *_) noexcept nogil:
    """Gather rows, of which the first of their place is row `at` of the epoch."""
    if run.order != NULL:
        gather_rows(
            rows.n, run.graph.n_in, <const real *> run.x, run.order + at + rows.first, <real *> rows.x)


cdef void end_rows(
    Run *run, const Rows *rows, const real *parameters, Py_ssize_t at, double norm, double *values,
) noexcept nogil:
    """From the last output to the losses and its gradient."""
    cdef const Op *last = &run.graph.ops[run.graph.n_ops - 1]
    cdef Py_ssize_t ld = 0, row = at + rows.first
    cdef const int64_t *order = NULL
    cdef const real *y_hat = value_of(rows, run.graph.n_ops - 1, &ld, parameters)
    if run.order != NULL:
        order, row = run.order + row, 0
    if run.outputs != NULL:
        keep_outputs(run, rows.how, rows.n, y_hat, ld, order, row)
    train_loss(run, rows.n, y_hat, ld, order, row, norm, values + rows.first, dy_of(rows, last, parameters), last.ld)


cdef void train_part(
    Run *run, const Rows *rows, const real *parameters, int thread, Py_ssize_t at, double norm, int p,
    bint forward, bint backward, double *values,
) noexcept nogil:
    """A thread's rows through a part of the graph, there and back. Before the first part they are gathered, after the
    last they have a loss. The first row of their place is row `at` of the epoch."""
    cdef const Part *part = &run.graph.parts[p]
    cdef Rows some
    cdef Py_ssize_t done = 0, ld = 0
    while done < rows.n:
        some = some_of(rows, rows.first + done, min(rows.n - done, run.most), parameters)
        if not goes_on(run, &some, thread):
            return
        if forward and p == 0:
            begin_rows(run, &some, at, parameters)
        if forward:
            forward_rows(&some, part.begin, part.end, parameters, &ld)
            if part.end == run.graph.n_ops:
                end_rows(run, &some, parameters, at, norm, values)
        if backward:
            backward_part(&some, p, parameters, <real *> NULL)
        done += some.n


cdef bint train_rows(
    Run *run, const Rows *rows, const real *parameters, int thread, Py_ssize_t at, double norm, double *values,
) noexcept nogil:
    """A thread's rows from x to the loss and every dz; where a batch norm looks along columns, threads meet. False:
    stop here."""
    cdef const Graph *graph = run.graph
    cdef int p, last = graph.n_parts - 1
    for p in range(last):
        train_part(run, rows, parameters, thread, at, norm, p, True, False, values)
        if not train_columns(run, rows, thread, graph.parts[p].end, False, parameters):
            return False
    train_part(run, rows, parameters, thread, at, norm, last, True, True, values)
    for p in range(last - 1, -1, -1):
        if not train_columns(run, rows, thread, graph.parts[p].end, True, parameters):
            return False
        train_part(run, rows, parameters, thread, at, norm, p, False, True, values)
    return True


cdef bint train_product(
    Run *run, const Rows *batch, int s, int thread, int parts, bint back, const real *parameters,
) noexcept nogil:
    """This thread's part of a wide product, between two meetings; whether to go on."""
    cdef Watch elsewhere = watch_elsewhere(&run.status)
    if meet(run, thread, WITHIN) != RUNNING:
        return False
    wide_product(
        batch, s, thread, run.threads, parts, back, parameters, &run.watch if thread == 0 else &elsewhere)
    return meet(run, thread, WITHIN) == RUNNING


cdef bint train_wide(
    Run *run, const Rows *batch, const Rows *own, const real *parameters, int thread, int parts, Py_ssize_t at,
    double norm, double *values,
) noexcept nogil:
    """As train_rows, where layers are wide, whose columns threads share too: all meet before each of their products and
    after it. All else each does to its own rows. False: stop here."""
    cdef const Graph *graph = run.graph
    cdef const Op *op
    cdef Py_ssize_t ld = 0
    cdef int s
    if goes_on(run, own, thread):
        begin_rows(run, own, at, parameters)
    for s in range(graph.n_ops):
        if not is_wide(&graph.ops[s], parameters):
            forward_rows(own, s, s + 1, parameters, &ld)
        elif train_product(run, batch, s, thread, parts, False, parameters):
            forward_activation(own, s, parameters)
        else:
            return False
    end_rows(run, own, parameters, at, norm, values)
    for s in range(graph.n_ops - 1, -1, -1):
        op = &graph.ops[s]
        if not op.wanted:
            continue
        backward_activation(own, s, parameters)
        if not is_wide(op, parameters) or gradient_of(own, op.source, <real *> NULL, &ld) == NULL:
            pass_back(own, s, parameters, <real *> NULL)
        elif not train_product(run, batch, s, thread, parts, True, parameters):
            return False
    return True


cdef bint train_columns(Run *run, const Rows *rows, int thread, int s, bint back, const real *_) noexcept nogil:
    """This thread's columns of a batch norm, between two meetings; whether to go on."""
    cdef Watch elsewhere = watch_elsewhere(&run.status)
    cdef Rows batch = some_of(rows, 0, rows.batch, _)
    cdef Py_ssize_t n = run.graph.ops[s].n_out
    if meet(run, thread, WITHIN) != RUNNING:
        return False
    look_along_columns(
        &batch, s, share(n, thread, run.threads), share(n, thread + 1, run.threads), back,
        &run.watch if thread == 0 else &elsewhere, _)
    return meet(run, thread, WITHIN) == RUNNING


cdef inlined train_tiny(
    int side, Run *run, Py_ssize_t first, Py_ssize_t rows, double norm, double *loss, const real *zeros,
) noexcept nogil:
    """A whole tiny batch: from its rows to the gradients of all parameters."""
    cdef Py_ssize_t r, n_in = run.graph.n_in, n = run.graph.n_out
    cdef const TinyLayer *layer = run.layers
    cdef const TinyLayer *last = run.layers + run.graph.n_ops - 1
    cdef const int64_t *order = NULL
    cdef real *x = <real *> layer.x
    cdef real *dy = <real *> last.dy
    cdef real *y = dy + 3 * n * side
    cdef const real *y_hat = <const real *> last.y
    cdef int activation = last.activation
    cdef bint squares = n == 1 and run.loss.kind == MEAN_SQUARED_ERROR and run.weights == NULL
    if run.order != NULL:
        order = run.order + first
        for r in range(rows):
            transpose_rows(1, n_in, <const real *> run.x + order[r] * n_in, 0, 1, x + r, 0, side)
            if squares:
                y[r] = (<const real *> run.y)[order[r]]
    elif rows < run.rows or run.steps == 0:             # else they are there
        transpose_rows(rows, n_in, <const real *> run.x + first * n_in, n_in, 1, x, 1, side)
        if squares:
            memcpy(y, <const real *> run.y + first, rows * sizeof(real))
    while layer <= last:
        tiny_forward(side, layer, zeros)
        layer += 1
    if squares:
        squared_errors(side, rows, y_hat, y, norm, loss, dy)
    else:
        tiny_loss(side, run, rows, y_hat, order, first if order == NULL else 0, norm, loss, dy)
    for r in range(n):
        unit_backward(side, activation, y_hat + r * side, dy + r * side)
    other_units_backward(side, last, zeros)
    while layer > run.layers:
        layer -= 1
        tiny_backward(side, layer, rows, zeros)


cdef void tiny_loss(
    int side, Run *run, Py_ssize_t rows, const real *y_hat, const int64_t *order, Py_ssize_t at, double norm,
    double *loss, real *dy,
) noexcept nogil:
    """The losses, one row after the other, and their gradients."""
    cdef Py_ssize_t r, n = run.graph.n_out
    cdef real *y_rows = dy + n * side
    cdef real *dy_rows = y_rows + n * side
    if n == 1:                                          # rows of one number are a unit
        train_loss(run, rows, y_hat, 1, order, at, norm, run.values, dy, 1)
    else:
        transpose_rows(rows, n, y_hat, 1, side, y_rows, n, 1)
        train_loss(run, rows, <const real *> y_rows, n, order, at, norm, run.values, dy_rows, n)
        transpose_rows(rows, n, <const real *> dy_rows, n, 1, dy, 1, side)
    for r in range(rows):
        loss[0] += run.values[r]


cdef inline bint is_finite_loss(Run *run, double loss) noexcept nogil:
    """If not, the run ends here. Every thread comes to the same sum."""
    if loss - loss == 0:
        return True
    atomic_set(&run.status, DIVERGED)
    return False


cdef void train_penalties(Run *run, const Step *step, Py_ssize_t begin, Py_ssize_t end, const real *p) noexcept nogil:
    """What they add to some gradients."""
    if step.penalties > 0:
        penalty_backward(
            run.graph.n_penalties, run.graph.penalties, step.penalties, begin, end, p, <real *> run.gradients)


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


# A step in one of three ways: False, or a status that is not RUNNING, means stop here.

cdef inlined train_tiny_batch(Run *run, const real *parameters, Step *step) noexcept nogil:
    """On one thread, all rows at once."""
    cdef const real *zeros = <const real *> run.scratch
    if run.steps % LOOKS == 0 and look_for_signals(&run.watch, LOOKS * (2 * run.graph.work * step.rows + 4000)):
        return
    if side_of(run.batch, zeros) == 4:
        train_tiny(4, run, step.first, step.rows, step.norm, &step.loss, zeros)
    elif side_of(run.batch, zeros) == 8:
        train_tiny(8, run, step.first, step.rows, step.norm, &step.loss, zeros)
    else:
        train_tiny(16, run, step.first, step.rows, step.norm, &step.loss, zeros)
    if run.graph.n_penalties > 0:
        train_penalties(run, step, 0, run.graph.n_parameters, parameters)
    is_finite_loss(run, step.loss)


cdef void train_slice(
    Run *run, Pass *how, const real *parameters, int thread, const Step *step, int s, int slices, real *gradients,
) noexcept nogil:
    """A slice of a batch: to its gradients from x or, with batch norms, from every dz."""
    cdef Py_ssize_t from_row = share(step.rows, s, slices), n = share(step.rows, s + 1, slices) - from_row, begin, r
    cdef int p, pieces = pieces_of(n)
    cdef double loss = 0
    cdef Rows rows
    for p in range(pieces):
        begin = from_row + share(n, p, pieces)
        rows = rows_of_run(run, how, thread, step.first, step.rows, 0, run.chunk, parameters)
        rows = some_of(&rows, begin, from_row + share(n, p + 1, pieces) - begin, parameters)
        if run.graph.n_parts == 1:
            how.first_row = begin
            rows = rows_of_run(run, how, thread, step.first + begin, rows.n, thread, run.piece, parameters)
            train_rows(run, &rows, parameters, thread, step.first + begin, step.norm, run.values + begin)
        if atomic_get(&run.status) != RUNNING:
            return
        for r in range(begin, begin + rows.n):
            loss += run.values[r]
        piece_gradients(
            &rows, s == 0 and p == 0, p == 0, p == pieces - 1, run.sums + thread * run.apart, gradients)
    run.slice_losses[s] = loss


cdef bint train_by_slices(
    Run *run, Pass *how, real *parameters, int thread, Step *step, int slices,
) noexcept nogil:
    """Threads share the slices, meet, and share the parameters."""
    cdef int s, threads = run.threads                  # after a meeting there may be fewer
    cdef int begin = <int> share(slices, thread, threads), end = <int> share(slices, thread + 1, threads)
    cdef Py_ssize_t lines = (run.graph.n_parameters + LINE - 1) // LINE, at, to
    cdef real *branches = <real *> run.branches + thread * BRANCHES * run.apart
    cdef double loss = step.loss
    cdef Rows rows
    if run.graph.n_parts > 1:
        how.first_row = 0
        at, to = share(step.rows, begin, slices), share(step.rows, end, slices)
        rows = rows_of_run(run, how, thread, step.first, step.rows, 0, run.chunk, <const real *> parameters)
        rows = some_of(&rows, at, to - at, <const real *> parameters)
        if not train_rows(run, &rows, <const real *> parameters, thread, step.first, step.norm, run.values):
            return False
    for s in range(begin, end):
        train_slice(
            run, how, <const real *> parameters, thread, step, s, slices, branches + branches_of(begin, s) * run.apart)
        grow(run.graph, begin, s, branches, run.apart)
    if meet(run, thread, BETWEEN) != RUNNING:
        return False
    for s in range(slices):
        loss += run.slice_losses[s]
    if not is_finite_loss(run, loss):
        return False
    for at in range(step.rows if thread == 0 else 0):          # in the order of a loss by hand
        step.loss += run.values[at]
    at = LINE * share(lines, thread, run.threads)
    to = min(run.graph.n_parameters, LINE * share(lines, thread + 1, run.threads))
    add_branches(slices, threads, <const real *> run.branches, run.apart, at, to, <real *> run.gradients)
    train_penalties(run, step, at, to, <const real *> parameters)
    step.updated = run.update.kind != NO_UPDATE and not run.update.clip_norm > 0
    if step.updated:
        train_update(run, parameters, 1, at, to)
    return meet(run, thread, BETWEEN) == RUNNING


cdef void train_weights(
    Run *run, const Rows *rows, real *parameters, int thread, const Step *step, bint begins, bint ends,
) noexcept nogil:
    """The gradients of this thread's block of each weight, over a chunk of rows with which its batch begins or ends.
    Then the penalties'; and if it is to be updated, the weight steps along it, while that is still in the cache."""
    cdef const Graph *graph = run.graph
    cdef const Op *op
    cdef Block block, part
    cdef Stretch weights, biases
    cdef double *sums = run.sums if step.rows > CHUNK else NULL
    cdef Watch elsewhere = watch_elsewhere(&run.status)
    cdef Watch *watch = &run.watch if thread == 0 else &elsewhere
    cdef Rows some = rows[0]
    cdef Py_ssize_t most, i, at
    cdef int s
    some.watch = NULL if step.updated else watch
    for s in range(graph.n_ops):
        op = &graph.ops[s]
        part = block = block_of(op, thread, run.threads)
        most = units_at_a_time(op, rows.n)
        if step.updated:
            most = TILE_ROWS + NEAR // ((block.to_out - block.from_out) * <Py_ssize_t> sizeof(real))
        while part.from_unit < block.to_unit:
            part.to_unit = min(block.to_unit, part.from_unit + most)
            weights, biases = weights_of(op, &part), biases_of(op, &part)
            if not step.updated and look_for_signals(watch, <double> rows.n * weights.n * weights.count):
                return
            block_gradients(&some, s, &part, sums, begins, ends, <real *> run.gradients)
            for i in range(weights.count):
                at = weights.begin + i * weights.step
                if ends:
                    train_penalties(run, step, at, at + weights.n, <const real *> parameters)
                if step.updated:
                    train_update(run, parameters, 1, at, at + weights.n)
            if step.updated and biases.n > 0:
                train_update(run, parameters, 1, biases.begin, biases.begin + biases.n)
            part.from_unit = part.to_unit


cdef bint train_by_weights(Run *run, Pass *how, real *parameters, int thread, Step *step) noexcept nogil:
    """Threads share the rows, chunk by chunk, meet, share the weights, and meet.

    A step may be abandoned until its update begins. Where it is short, nobody needs to: then each weight is updated
    together with its gradient.
    """
    cdef Py_ssize_t done = 0, n, r, at
    cdef int parts
    cdef Rows rows, own
    while done < step.rows:
        n = min(step.rows - done, run.chunk)
        how.first_row = done
        rows = rows_of_run(run, how, thread, step.first + done, n, 0, run.chunk, <const real *> parameters)
        parts = parts_of_columns(run.graph, n, run.threads, <const real *> parameters)
        at = share(n, thread, run.threads)
        own = some_of(&rows, at, share(n, thread + 1, run.threads) - at, <const real *> parameters)
        if not (
            train_rows(run, &own, <const real *> parameters, thread, step.first + done, step.norm, run.values)
            if parts == 1 or run.graph.n_parts > 1 else
            train_wide(
                run, &rows, &own, <const real *> parameters, thread, parts, step.first + done, step.norm, run.values)
        ) or meet(run, thread, BETWEEN) != RUNNING:
            return False
        for r in range(n):
            step.loss += run.values[r]
        if not is_finite_loss(run, step.loss):
            return False
        step.updated = (
            run.update.kind != NO_UPDATE and done + n == step.rows and not run.update.clip_norm > 0
            and run.graph.n_parameters > TINY and n * <double> run.graph.n_parameters <= LONG_WORK * LANES_F)
        train_weights(run, &rows, parameters, thread, step, done == 0, done + n == step.rows)
        if meet(run, thread, BETWEEN) != RUNNING:
            return False
        done += n
    return True


cdef bint train_large_batch(Run *run, Pass *how, real *parameters, int thread, Step *step) noexcept nogil:
    """To its gradients, by slices or by weights."""
    cdef int slices = slices_of(run.graph, step.rows, <const real *> parameters)
    if slices > 1:
        return train_by_slices(run, how, parameters, thread, step, slices)
    return train_by_weights(run, how, parameters, thread, step)


cdef inline Step begin_batch(Run *run, Py_ssize_t first, Py_ssize_t rows, const real *parameters) noexcept nogil:
    """What the rows weigh together, and what the penalties add to their loss."""
    cdef Step step = Step(first=first, rows=rows, norm=1, penalties=1, loss=0, weight=0, updated=False)
    cdef Py_ssize_t r
    if run.weights == NULL:
        step.weight = rows
    else:
        for r in range(first, first + rows):
            step.weight += run.weights[run.order[r] if run.order != NULL else r]
    if run.mean:
        step.norm = 1 / step.weight if step.weight > 0 else 0
    if run.share_penalties:
        step.penalties = step.norm
    if run.graph.n_penalties > 0:
        step.loss = penalty_forward(run.graph.n_penalties, run.graph.penalties, parameters)
        if run.share_penalties:
            step.loss *= 1.0 if step.weight > 0 else 0.0
        elif run.mean:
            step.loss *= step.weight
    return step


cdef inlined train_batch(
    bint tiny, Run *run, Pass *how, real *parameters, int thread, Py_ssize_t first, Py_ssize_t rows, double *loss,
    double *weight, bint *on,
) noexcept nogil:
    """One step of training on rows first... of an epoch; adds to the epoch's loss and weight. Not `on`: stop here."""
    cdef Step step = begin_batch(run, first, rows, <const real *> parameters)
    cdef Py_ssize_t n_parameters = run.graph.n_parameters
    cdef double scale = 1
    cdef Rows batch
    if thread == 0 and not tiny and run.threads > 1:
        look_for_signals(&run.watch, 4e6)                      # a meeting may last long
    if tiny:
        train_tiny_batch(run, <const real *> parameters, &step)
        on[0] = atomic_get(&run.status) == RUNNING
    else:
        on[0] = train_large_batch(run, how, parameters, thread, &step)
    if not on[0]:
        return
    if run.update.kind != NO_UPDATE and not step.updated:
        if run.update.clip_norm > 0:
            scale = clip_scale(&run.update, <const real *> run.gradients)
        train_update(
            run, parameters, scale, share(n_parameters, thread, run.threads),
            share(n_parameters, thread + 1, run.threads))
        on[0] = meet(run, thread, BETWEEN) == RUNNING
        if not on[0]:
            return
    if thread == 0 and run.update_statistics:
        batch = rows_of_run(run, how, thread, first, rows, 0, run.chunk, <const real *> parameters)
        if not keep_statistics(&batch, <const real *> parameters):
            atomic_set(&run.status, DIVERGED)
    loss[0] += step.loss
    weight[0] += step.weight


cdef bint shuffle_rows(Run *run, int thread, int64_t epoch) noexcept nogil:
    """The orders of the next epochs, each by one thread. False: stop here."""
    cdef Watch elsewhere = watch_elsewhere(&run.status)
    cdef int64_t o = thread
    while o < min(run.orders, run.epochs - epoch):
        shuffle_watched(
            run.seed, run.first_epoch + <uint64_t> (epoch + o), run.rows, run.order + o * run.rows,
            &run.watch if thread == 0 else &elsewhere)
        o += run.threads
    return meet(run, thread, ALONE) == RUNNING


cdef inlined train_epochs_of(bint tiny, Run *run, real *parameters, int thread) noexcept nogil:
    """`tiny` is constant at each call: what stands around a tiny batch takes as long as its arithmetic."""
    cdef Pass how = Pass(
        seed=run.seed, step=0, first_row=0, training=True, drops=True, repeats=0, keeps=True, logits=run.logits,
        momenta=run.momenta, rates=NULL)
    cdef int64_t epoch, step = 0
    cdef Py_ssize_t first, begin = 0
    cdef double loss, weight
    cdef bint on
    for epoch in range(run.epochs):
        if run.order != NULL:
            begin = epoch % run.orders * run.rows
            if begin == 0 and not shuffle_rows(run, thread, epoch):
                return
        loss, weight = run.losses[2 * epoch], run.losses[2 * epoch + 1]
        first = 0
        while first < run.rows:
            if not tiny:
                how.step = run.first_step + <uint64_t> step
                how.rates = run.dropout_rates + step * run.graph.n_schedules
            if thread == 0:
                begin_step(
                    &run.update, run.rates[min(step, run.n_rates - 1)], run.decays[min(step, run.n_decays - 1)])
            train_batch(
                tiny, run, &how, parameters, thread, begin + first, min(run.batch, run.rows - first), &loss, &weight,
                &on)
            if not on:
                return
            first += run.batch
            step += 1
            if thread == 0:
                run.steps = step
        if thread == 0:
            run.losses[2 * epoch], run.losses[2 * epoch + 1] = loss, weight


cdef outlined train_tiny_epochs(Run *run, real *parameters) noexcept nogil:
    cdef const real *zeros = <const real *> run.scratch
    place_tiny_layers(
        side_of(run.batch, zeros), run.graph, run.logits, <const real *> parameters, zeros, <real *> run.unit_major,
        <real *> run.gradients, run.layers)
    train_epochs_of(True, run, parameters, 0)


cdef outlined train_epochs(Run *run, real *parameters, int thread) noexcept nogil:
    """All epochs of a run, in step with the other threads."""
    if run.unit_major != NULL:
        train_tiny_epochs(run, parameters)
    else:
        train_epochs_of(False, run, parameters, thread)
