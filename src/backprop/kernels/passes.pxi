# Rows on their way through a graph, forward and back, without the interpreter.
#
# Rows are independent of one another on the way forward and back, weights of one another in their updates. So a batch
# has two phases, with a meeting of the threads after each part:
#
#   rows      gather, forward, loss, backward to every dz   threads share the rows
#   weights   dw and db, then the update                    threads share each operation's units, or all parameters
#
# The sums over the rows between them are in gradients.pxi. Every number is computed in an order that does not depend on
# how many threads there are. A batch norm looks along the columns: before the part of the graph that it begins, the
# threads meet.

cdef enum:
    AHEAD = 8192                                # numbers of the next rows that are asked for, at most
    WIDE = 1_048_576                            # bytes of weights that outgrow the second cache,
    WIDE_ROWS = 128                             # and rows that pay for reading them


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


cdef inline Rows some_of(const Rows *rows, Py_ssize_t first, Py_ssize_t n, const real *_) noexcept nogil:
    """Those from `first` on of a place."""
    cdef Rows found = rows[0]
    found.x = <const real *> rows.x + (first - rows.first) * rows.graph.n_in
    found.first, found.n = first, n
    return found


# Forward.

cdef inlined dense_op_forward(
    const Rows *rows, const Op *op, const real *x, Py_ssize_t ldx, const real *parameters, real *y,
) noexcept nogil:
    dense_forward(
        rows.n, op.n_in, op.n_out, x, ldx, parameters + op.weight, parameters + op.bias if op.bias >= 0 else NULL, y,
        op.ld, zeros_of(rows, x), panel_of(rows, x))


cdef inline Py_ssize_t columns_at_a_time(Py_ssize_t rows, Py_ssize_t depth) noexcept nogil:
    """Of a product, whole tiles."""
    cdef Py_ssize_t most = WIDEST + <Py_ssize_t> (LONG_WORK * LANES_F / (<double> rows * depth))
    return most - most % WIDEST


cdef void dense_columns_forward(
    const Rows *rows, const Op *op, const real *parameters, Py_ssize_t at, Py_ssize_t end, Watch *watch,
) noexcept nogil:
    """Some of the outputs, so many at a time that between them signals can be looked for."""
    cdef Py_ssize_t n, ldx = 0, most = columns_at_a_time(rows.n, op.n_in)
    cdef const real *x = value_of(rows, op.source, &ldx, parameters)
    cdef real *y = y_of(rows, op, parameters)
    cdef const real *w = parameters + op.weight
    cdef const real *b = parameters + op.bias if op.bias >= 0 else NULL
    while at < end and not look_for_signals(watch, rows.n * <double> op.n_in * min(most, end - at)):
        n = min(most, end - at)
        matmul(
            Shape(
                m=rows.n, n=n, depth=op.n_in, row=ldx, step=1, ldb=op.n_out, ldc=op.ld, lds=0,
                packing=packing_for(rows.n, op.n_out, x), exact=op.ld % lanes(y) != 0),
            x, w + at, panel_of(rows, x), y + at, b + at if b != NULL else zeros_of(rows, x))
        at += n


cdef inlined forward_activation(const Rows *rows, int s, const real *parameters) noexcept nogil:
    cdef const Op *op = &rows.graph.ops[s]
    activation_forward(
        activation_of(rows.graph, s, rows.how.logits), <real> op.alpha, rows.n, op.n_out, op.ld,
        y_of(rows, op, parameters))


cdef const real *forward_rows(
    const Rows *rows, int begin, int end, const real *parameters, Py_ssize_t *ld,
) noexcept nogil:
    """Through some operations. Returns the last output.

    With a watch it looks for signals on its way; whoever gave it sees from the status whether it came to its end.
    """
    cdef const Graph *graph = rows.graph
    cdef const Op *op
    cdef const real *x
    cdef real *y
    cdef Py_ssize_t ldx = 0
    cdef int s
    for s in range(begin, end):
        op = &graph.ops[s]
        if op.implied or (op.operation == DROPOUT and not rows.how.drops):
            continue
        if rows.watch != NULL and look_for_signals(
            rows.watch, rows.n * (<double> op.units * op.unit + op.n_out)
        ):
            break
        x = value_of(rows, op.source, &ldx, parameters)
        y = y_of(rows, op, parameters)
        if op.operation != DENSE:
            op_forward(rows, op, x, ldx, parameters, y)
        elif rows.watch == NULL or columns_at_a_time(rows.n, op.n_in) >= op.n_out:
            dense_op_forward(rows, op, x, ldx, parameters, y)
        else:
            dense_columns_forward(rows, op, parameters, 0, op.n_out, rows.watch)
        forward_activation(rows, s, parameters)
    return value_of(rows, end - 1, ld, parameters)


cdef bint predict_rows(
    const Graph *graph, const real *parameters, const real *x, real *out, Py_ssize_t n, bint logits, real *work,
    Py_ssize_t capacity, real *scratch, Watch *watch,
) noexcept nogil:
    """The outputs (n, n_out) for x (n, n_in), a block of `capacity` rows at a time; whether x is finite.

    Also False where it was interrupted. Without a watch, that is not looked for.
    """
    cdef Pass how = Pass(
        seed=0, step=0, first_row=0, training=False, drops=False, repeats=0, keeps=False, logits=logits, momenta=NULL,
        rates=NULL)
    cdef Rows rows = Rows(
        graph=graph, how=&how, x=x, work=work, capacity=capacity, first=0, n=0, batch=0, scratch=scratch, watch=NULL)
    cdef Py_ssize_t done = 0, following, ld = 0
    cdef const real *y
    if capacity * graph.work > LONG_WORK * LANES_F:
        rows.watch = watch
    memset(scratch, 0, zeros_size(graph) * sizeof(real))
    while done < n:
        rows.n = min(n - done, capacity)
        rows.x = x + done * graph.n_in
        if watch != NULL and look_for_signals(watch, graph.work * rows.n + 4000):
            return False
        if not is_finite(rows.n * graph.n_in, x + done * graph.n_in):
            return False
        following = min(AHEAD, (n - done - rows.n) * graph.n_in)
        prefetch_panel(UNPACKED, 1, following, x + (done + rows.n) * graph.n_in, 0, 0, 1)
        y = forward_rows(&rows, 0, graph.n_ops, parameters, &ld)
        copy_rows(rows.n, graph.n_out, y, ld, out + done * graph.n_out, graph.n_out)
        done += rows.n
    return watch == NULL or atomic_get(watch.status) == RUNNING


# Between the parts: what batch norms take over all rows.

cdef void look_along_columns(
    const Rows *rows, int s, Py_ssize_t from_n, Py_ssize_t to_n, bint back, Watch *watch, const real *_,
) noexcept nogil:
    """What a batch norm's pass forward or back takes of some columns: a few at a time, and a look between them."""
    cdef const Op *op = &rows.graph.ops[s]
    cdef Py_ssize_t at, to
    for at in range(from_n, to_n, 8):
        to = min(to_n, at + 8)
        if look_for_signals(watch, 64.0 * rows.n):
            return
        if back:
            batch_norm_sums(rows, op, at, to, _)
        else:
            batch_norm_statistics(rows, op, at, to, _)


cdef bint keep_statistics(const Rows *rows, const real *_) noexcept nogil:
    """Let the running statistics follow those of a batch; whether they stay finite."""
    cdef bint finite = True
    cdef const Op *op
    cdef int s
    for s in range(rows.graph.n_ops):
        op = &rows.graph.ops[s]
        if op.operation == BATCH_NORM and pace_of(rows, op) > 0:
            finite &= batch_norm_follow(rows, op, _)
    return finite


# Backward.

cdef void backward_activation(const Rows *rows, int s, const real *_) noexcept nogil:
    """From an operation's dy to its dz."""
    cdef const Op *op = &rows.graph.ops[s]
    cdef int activation = activation_of(rows.graph, s, rows.how.logits)
    cdef const real *y = y_of(rows, op, _)
    cdef const real *z = NULL
    cdef real *dy = dy_of(rows, op, _)
    cdef Py_ssize_t ldz = op.ld, r
    if needs_z(activation):
        z = value_of(rows, op.source, &ldz, _)
    if ldz == op.ld:
        activation_backward(activation, <real> op.alpha, rows.n, op.n_out, op.ld, z, y, dy)
        return
    for r in range(rows.n):                             # z is the input, whose rows are not padded
        activation_backward(
            activation, <real> op.alpha, 1, op.n_out, op.n_out, z + r * ldz, y + r * op.ld, dy + r * op.ld)


cdef void pass_back(const Rows *rows, int s, const real *parameters, real *dx) noexcept nogil:
    """From an operation's dz to the gradients of what it takes."""
    cdef const Op *op = &rows.graph.ops[s]
    cdef Op other
    cdef Py_ssize_t ldx = 0, ld = 0
    cdef const real *x = value_of(rows, op.source, &ldx, parameters)
    cdef real *dz = dy_of(rows, op, parameters)
    cdef real *to = gradient_of(rows, op.source, dx, &ld)
    if to != NULL and op.operation == DENSE:
        dense_input_gradient(
            rows.n, op.n_in, op.n_out, dz, op.ld, parameters + op.weight, to, ld, op.adds, zeros_of(rows, x),
            panel_of(rows, x))
    elif to != NULL or op.operation == PERIODIC:
        op_backward(rows, op, x, ldx, parameters, dz, to, ld)
    if op.two:
        to = gradient_of(rows, op.other, dx, &ld)
        if to != NULL and op.operation == LERP:
            other = op[0]
            other.adds = op.adds_other
            scale_backward(rows, &other, x, ldx, parameters, dz, to, ld)
        elif to != NULL:
            add_rows(rows.n, op.n_out - op.other_at, dz + op.other_at, op.ld, to, ld, op.adds_other)


cdef void backward_part(const Rows *rows, int p, const real *parameters, real *dx) noexcept nogil:
    """From the dy of a part's last operation to every dz; dx (n, n_in) if wanted.

    The dz of the batch norm that begins the next part is passed back here, as it waits until all rows are summed.
    """
    cdef const Graph *graph = rows.graph
    cdef const Part *part = &graph.parts[p]
    cdef int s
    if part.end < graph.n_ops:
        pass_back(rows, part.end, parameters, dx)
    for s in range(part.end - 1, part.begin - 1, -1):
        if dx == NULL and not graph.ops[s].wanted:
            continue
        backward_activation(rows, s, parameters)
        if graph.ops[s].operation != BATCH_NORM:
            pass_back(rows, s, parameters, dx)


# Wide layers, product by product: the weights outgrow the second cache, and a thread with few rows would read them all.

cdef inline bint is_wide(const Op *op, const real *_) noexcept nogil:
    return (
        op.operation == DENSE and not op.implied and min(op.n_in, op.n_out) >= 2 * WIDEST
        and op.units * op.unit * <Py_ssize_t> sizeof(real) >= WIDE)


cdef int parts_of_columns(const Graph *graph, Py_ssize_t rows, int threads, const real *_) noexcept nogil:
    """Into how many parts threads cut the columns of wide layers, so that each has enough rows; 1: into none."""
    cdef int parts, s
    for s in range(graph.n_ops):
        if is_wide(&graph.ops[s], _):
            break
    else:
        return 1
    for parts in range(1, threads):
        if threads % parts == 0 and rows * parts >= WIDE_ROWS * threads:
            return parts
    return threads


cdef void wide_product(
    const Rows *batch, int s, int thread, int threads, int parts, bint back, const real *parameters, Watch *watch,
) noexcept nogil:
    """A thread's rows and columns of a dense layer's outputs; back: of the gradients of its inputs."""
    cdef const Op *op = &batch.graph.ops[s]
    cdef Py_ssize_t n = op.n_in if back else op.n_out, tiles = (n + WIDEST - 1) // WIDEST
    cdef Py_ssize_t at = min(n, WIDEST * share(tiles, thread % parts, parts))
    cdef Py_ssize_t end = min(n, WIDEST * share(tiles, thread % parts + 1, parts))
    cdef Py_ssize_t from_row = share(batch.n, thread // parts, threads // parts)
    cdef Py_ssize_t to_row = share(batch.n, thread // parts + 1, threads // parts)
    cdef Rows rows = some_of(batch, batch.first + from_row, to_row - from_row, parameters)
    if rows.n == 0:
        return
    if back:
        dense_columns_back(&rows, op, parameters, at, end, watch)
    else:
        dense_columns_forward(&rows, op, parameters, at, end, watch)


cdef void dense_columns_back(
    const Rows *rows, const Op *op, const real *parameters, Py_ssize_t at, Py_ssize_t end, Watch *watch,
) noexcept nogil:
    """Some of the gradients of its inputs, so many at a time that between them signals can be looked for."""
    cdef Py_ssize_t n, ld = 0, most = columns_at_a_time(rows.n, op.n_out)
    cdef const real *dz = dy_of(rows, op, parameters)
    cdef real *to = gradient_of(rows, op.source, <real *> NULL, &ld)
    while at < end and not look_for_signals(watch, rows.n * <double> op.n_out * min(most, end - at)):
        n = min(most, end - at)
        dense_input_gradient(
            rows.n, n, op.n_out, dz, op.ld, parameters + op.weight + at * op.n_out, to + at, ld, op.adds,
            zeros_of(rows, dz), panel_of(rows, dz))
        at += n
