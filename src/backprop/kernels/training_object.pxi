# A run of training, as Python sees it.

@cython.final
cdef class Training(Memory):
    """A run of training: run() it, then read what it came to.

    x (rows, n_in); y (rows, targets) or None; labels (rows,) int64 or None; weights (rows,) float64 or None. The loss
    is what read_loss takes; update, state and ranges are those of a Rule, with the number of steps it has made, and
    decays, where given, its weight decay, which like the rates is one number or one for each batch; or the update is
    None, for gradients only, where with update_statistics the running statistics of batch norms follow all
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
        bint share_penalties=False, bint update_statistics=False, decays=None,
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
        given = x, y, labels, weights, rates, decays, losses, outputs
        self.keep = tuple([memoryview(array) for array in given if array is not None])
        if plan.single:
            prepare[float](self, run, x, y, labels, weights, rates, decays, losses, outputs, shuffle)
        else:
            prepare[double](self, run, x, y, labels, weights, rates, decays, losses, outputs, shuffle)

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
                    run.watch = begin_watch(&run.status, mode, &run.stop)
                if self.plan.single:
                    train_epochs(run, <float *> self.plan.parameters, thread)
                else:
                    train_epochs(run, <double *> self.plan.parameters, thread)
                restore_mode(mode)

    def run(self):
        """Train; whether it came to its end. False: the loss, or a parameter, left the finite numbers.

        What a signal handler raised is raised after the last whole batch; where stop() ended it, KeyboardInterrupt.
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
        if self.shared.status == INTERRUPTED:
            raise KeyboardInterrupt
        return self.shared.status == RUNNING

    def stop(self):
        """From whichever thread: end run(), under way or yet to come, as Ctrl-C does; not if it is about to end."""
        atomic_set(&self.shared.stop, 1)

    @property
    def steps(self):
        """Batches finished."""
        return self.shared.steps


cdef object prepare(
    Training training, Run *run, const real[:, ::1] x, const real[:, ::1] y, const int64_t[::1] labels,
    const double[::1] weights, const double[::1] rates, const double[::1] decays, double[:, ::1] losses,
    real[:, ::1] outputs, bint shuffle,
):
    """Check the sizes of everything a run touches, and give it memory."""
    cdef const Graph *graph = run.graph
    cdef Py_ssize_t rows = x.shape[0]
    run.rows, run.epochs, run.n_rates = rows, losses.shape[0], rates.shape[0]
    run.n_targets = target_width(&run.loss, graph.n_out)
    check_rows(training.plan, rows, x.shape[1], rows, graph.n_out)
    expect(rows > 0, "at least one row")
    expect(run.batch > 0, "batches of at least one row")
    expect(run.n_rates > 0, "at least one learning rate")
    expect(decays is None or decays.shape[0] > 0, "at least one weight decay")
    expect(losses.shape[1] == 2, "two losses an epoch")
    expect(run.n_targets > 0, f"outputs that the loss takes, got {graph.n_out}")
    expect(y is not None or (labels is not None and takes_labels(&run.loss)), "targets, or labels for a loss of labels")
    expect(y is None or (y.shape[0] == rows and y.shape[1] == run.n_targets), f"targets ({rows}, {run.n_targets})")
    expect(labels is None or labels.shape[0] == rows, f"{rows} labels")
    expect(weights is None or weights.shape[0] == rows, f"{rows} weights")
    expect(outputs is None or (outputs.shape[0] == rows and outputs.shape[1] == graph.n_out),
           f"outputs ({rows}, {graph.n_out})")
    run.batch = min(run.batch, rows)
    give_memory(training, run, outputs is None, shuffle, &x[0, 0])
    run.gradients = training.plan.gradients
    run.x = &x[0, 0]
    run.y = &y[0, 0] if y is not None else NULL
    run.labels = &labels[0] if labels is not None else NULL
    run.weights = &weights[0] if weights is not None else NULL
    run.rates = &rates[0]
    run.decays, run.n_decays = &run.update.weight_decay, 1
    if decays is not None:
        run.decays, run.n_decays = &decays[0], decays.shape[0]
    run.losses = &losses[0, 0]
    run.outputs = &outputs[0, 0] if outputs is not None else NULL


cdef object give_memory(Training training, Run *run, bint no_outputs, bint shuffle, const real *_):
    """To the workspace, once where threads share rows or weights; for each thread where they share slices."""
    cdef const Graph *graph = run.graph
    cdef int threads = training.wanted, slices = slices_of(graph, run.batch, _)
    cdef bint own = slices > 1 and graph.n_parts == 1
    cdef double work, inputs, sums = 0, tiny = 0
    cdef double batches = <double> run.epochs * ((run.rows + run.batch - 1) // run.batch)
    run.orders = max(1, min(threads, run.epochs, ORDERS // run.rows)) if shuffle else 0
    run.most = rows_at_a_time(graph)
    run.chunk = run.batch if graph.n_parts > 1 else min(run.batch, CHUNK)
    run.piece = min(PIECE_ROWS, max(2 * SLICE_ROWS, 1 + run.batch // SLICES)) if own else 0
    run.next_work = padded(workspace_size(graph, run.piece), LINE)
    run.next_gathered = padded(run.piece * graph.n_in, LINE)
    run.apart = padded(graph.n_parameters + SLACK, LINE)
    work = max(<double> run.chunk * graph.width + graph.at_end + 8, threads * <double> run.next_work)
    inputs = max(run.chunk * <double> graph.n_in, threads * <double> run.next_gathered)
    if slices == 1 and run.batch > CHUNK:
        sums = run.apart
    elif run.batch > slices * <double> PIECE_ROWS:
        sums = threads * <double> run.apart
    if threads == 1 and no_outputs and is_tiny(graph, run.logits, run.batch):
        tiny = 16.0 * (graph.n_in + 2 * units_of(graph) + 3 * graph.n_out)
    training.reserve(
        sizeof(real) * (
            work + inputs + threads * <double> training_scratch_size(graph) + tiny
            + (threads * BRANCHES * <double> run.apart if slices > 1 else 0))
        + 8.0 * (run.batch + run.orders * <double> run.rows + graph.n_norms + graph.n_schedules * batches + sums
                 + slices)
        + sizeof(Seat) * threads + sizeof(TinyLayer) * graph.n_ops)
    run.work, run.gathered = training.take(sizeof(real) * work), training.take(sizeof(real) * inputs)
    run.scratch = training.take(sizeof(real) * <double> threads * training_scratch_size(graph))
    if slices > 1:
        run.branches = training.take(sizeof(real) * threads * BRANCHES * <double> run.apart)
    run.unit_major = training.take(sizeof(real) * tiny) if tiny > 0 else NULL
    run.layers = <TinyLayer *> training.take(sizeof(TinyLayer) * <double> graph.n_ops)
    run.values = <double *> training.take(8.0 * run.batch)
    run.sums, run.slice_losses = <double *> training.take(8.0 * sums), <double *> training.take(8.0 * slices)
    run.seats = <Seat *> training.take(sizeof(Seat) * <double> threads)
    run.momenta = <double *> training.take(8.0 * graph.n_norms)
    training.plan.read_momenta(run.momenta)
    run.dropout_rates = <double *> training.take(8.0 * graph.n_schedules * batches)
    training.plan.read_rates(run.first_step, <Py_ssize_t> batches, run.dropout_rates)
    run.order = <int64_t *> training.take(8.0 * run.orders * run.rows) if run.orders > 0 else NULL
