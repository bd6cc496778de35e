# The gradients of parameters: sums over the rows of a batch, in one of two ways, which its shapes decide.
#
#   by slices    The batch is cut into slices, whose number and borders depend on the number of its rows alone. Whoever
#                has a slice sums all gradients over its rows, while they are in the cache. Slices are added in pairs,
#                pairs in pairs, and so on: in one tree, of which a thread adds the branches that are all its own, and
#                what is left is added number by number. Where there are few parameters and many rows.
#   by weights   Each gradient is one sum over all rows. Threads share the weights: those of a dense layer in blocks of
#                inputs x outputs, for which a thread reads some columns of x and some of dz.
#
# Either way a number is computed by one thread, in an order that does not depend on how many there are.

cdef enum:
    SLICES = 32                                 # of a batch, at most
    BRANCHES = 10                               # of the tree of slices that a thread holds at once, at most
    SLICE_ROWS = 64                             # at least, in a slice
    PIECE_ROWS = 256                            # of a slice, at most, whose gradients are one chain
    NEAR = 524_288                              # bytes of gradients that stay in the second cache: more are not sliced,
    SMALL = 131_072                             # nor more than these
    FEW_SLICES = 16                             # into fewer than these
    CHUNK = 1024                                # rows by weights, at most, whose gradients are one chain; in a longer
    LONG = 512                                  # batch so many, and these chains are added in double

cdef struct Block:                              # of a weight
    Py_ssize_t from_unit, to_unit               # of a dense layer, inputs; or groups of them
    Py_ssize_t from_out, to_out                 # numbers of a unit: of a dense layer, outputs

cdef struct Stretch:                            # parts of the flat vector, equally long and equally far apart
    Py_ssize_t begin, n, count, step


cdef inline int slices_of(const Graph *graph, Py_ssize_t rows, const real *_) noexcept nogil:
    """Into how many slices a batch is cut. With one, its gradients are summed by weights: also where most parameters
    are in tables, of which the rows of a slice meet few."""
    cdef Py_ssize_t size = graph.n_parameters * <Py_ssize_t> sizeof(real), slices = min(SLICES, rows // SLICE_ROWS)
    if slices < 2 or size > NEAR or (size > SMALL and slices < FEW_SLICES) or graph.n_parameters > 4 * graph.work:
        return 1
    return <int> slices


cdef inline int pieces_of(Py_ssize_t rows) noexcept nogil:
    """Of a slice."""
    return <int> ((rows + PIECE_ROWS - 1) // PIECE_ROWS)


cdef inline Block all_of(const Op *op) noexcept nogil:
    return Block(from_unit=0, to_unit=op.units, from_out=0, to_out=op.unit)


cdef inline Stretch weights_of(const Op *op, const Block *block) noexcept nogil:
    """Where the weights of a block lie."""
    cdef Py_ssize_t units = block.to_unit - block.from_unit, n = block.to_out - block.from_out
    cdef Py_ssize_t begin = op.weight + block.from_unit * op.unit + block.from_out
    if op.operation == GROUPED:
        begin = op.weight + op.groups[block.from_unit].row * op.unit
        units = op.groups[block.to_unit].row - op.groups[block.from_unit].row
    if n == op.unit:
        return Stretch(begin=begin, n=units * n, count=1, step=0)
    return Stretch(begin=begin, n=n, count=units, step=op.unit)


cdef inline Stretch biases_of(const Op *op, const Block *block) noexcept nogil:
    """Where those biases lie whose gradients are found with a block: of a dense layer, with its first inputs."""
    cdef Py_ssize_t begin
    if op.bias >= 0 and op.operation == GROUPED:
        begin = op.groups[block.from_unit].bias
        return Stretch(begin=op.bias + begin, n=op.groups[block.to_unit].bias - begin, count=1, step=0)
    if op.bias >= 0 and op.operation != DENSE:
        return Stretch(
            begin=op.bias + block.from_unit * op.unit, n=(block.to_unit - block.from_unit) * op.unit, count=1, step=0)
    if op.bias >= 0 and block.from_unit == 0:
        return Stretch(begin=op.bias + block.from_out, n=block.to_out - block.from_out, count=1, step=0)
    return Stretch(begin=0, n=0, count=0, step=0)


cdef inlined parameter_gradients(
    const Rows *rows, int s, const Block *block, double *sums, real *gradients,
) noexcept nogil:
    """Over some rows, in one chain: dw = x^T dz, and with the first inputs db = the sum of dz."""
    cdef const Op *op = &rows.graph.ops[s]
    cdef const real *dz = dy_of(rows, op, gradients)
    cdef Py_ssize_t ldx = 0, units = block.to_unit - block.from_unit, n = block.to_out - block.from_out
    cdef const real *x = value_of(rows, op.source, &ldx, gradients)
    if op.operation == DENSE:
        dense_weight_gradient(
            rows.n, units, n, x + block.from_unit, ldx, dz + block.from_out, op.ld,
            gradients + op.weight + block.from_unit * op.unit + block.from_out, op.unit, zeros_of(rows, x),
            panel_of(rows, x))
        if block.from_unit == 0 and op.bias >= 0:
            dense_bias_gradient(
                rows.n, n, dz + block.from_out, op.ld, gradients + op.bias + block.from_out, zeros_of(rows, x))
    elif units > 0:
        op_gradient(rows, op, block.from_unit, units, x, ldx, dz, sums, gradients)


cdef void add_chain(Py_ssize_t n, bint first, bint last, real *gradients, double *sums) noexcept nogil:
    """Add what a chain has come to; with the last, the gradients become what all have."""
    cdef Py_ssize_t i
    if first and last:
        return
    if first:
        for i in range(n):
            sums[i] = gradients[i]
    elif last:
        for i in range(n):
            gradients[i] = <real> (sums[i] + gradients[i])
    else:
        for i in range(n):
            sums[i] += gradients[i]


# By slices.

cdef void piece_gradients(
    const Rows *rows, bint first, bint begins, bint ends, double *sums, real *gradients,
) noexcept nogil:
    """Of all parameters, over a piece of a slice, which begins or ends it. What batch norms have found over all rows
    is in the first piece of all."""
    cdef const Graph *graph = rows.graph
    cdef const Op *op
    cdef Block all
    cdef int s
    for s in range(graph.n_ops):
        op = &graph.ops[s]
        all = all_of(op)
        if op.operation == BATCH_NORM and not first:
            memset(gradients + op.weight, 0, op.n_out * sizeof(real))
            memset(gradients + op.bias, 0, op.n_out * sizeof(real))
        elif op.units > 0:
            parameter_gradients(rows, s, &all, <double *> NULL, gradients)
    if graph.end > graph.begin:
        add_chain(graph.end - graph.begin, begins, ends, gradients + graph.begin, sums + graph.begin)


cdef inline int level_of(int slice, int end) noexcept nogil:
    """Of the largest branch that begins with a slice, and ends before another one: it holds 2^level slices."""
    cdef int level = 0
    while slice & ((2 << level) - 1) == 0 and slice + (2 << level) <= end:
        level += 1
    return level


cdef inline int branches_of(int begin, int end) noexcept nogil:
    """Into how many these slices grow together."""
    cdef int n = 0
    while begin < end:
        begin += 1 << level_of(begin, end)
        n += 1
    return n


cdef inline void add_branch(Py_ssize_t n, const real *right, real *left) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(n):
        left[i] += right[i]


cdef void grow(
    const Graph *graph, int begin, int slice, real *branches, Py_ssize_t distance,
) noexcept nogil:
    """After a slice, the next of those from `begin` on, whose branches lie in a row: add those that belong together."""
    cdef int held = branches_of(begin, slice), left = branches_of(begin, slice + 1)
    while held >= left:
        add_branch(
            graph.end - graph.begin, <const real *> branches + held * distance + graph.begin,
            branches + (held - 1) * distance + graph.begin)
        held -= 1


cdef void add_branches(
    int slices, int threads, const real *held_by, Py_ssize_t distance, Py_ssize_t begin, Py_ssize_t end,
    real *gradients,
) noexcept nogil:
    """The gradients from `begin` to `end`, of what each thread's branches have come to; so many at a time that they
    stay near."""
    cdef real sums[BRANCHES][256]
    cdef int levels[BRANCHES]
    cdef const real *branches
    cdef Py_ssize_t at, n
    cdef int t, s, to, held
    for at in range(begin, end, 256):
        n, held = min(256, end - at), 0
        for t in range(threads):
            s, to = <int> share(slices, t, threads), <int> share(slices, t + 1, threads)
            branches = held_by + t * BRANCHES * distance + at
            while s < to:
                levels[held] = level_of(s, to)
                s += 1 << levels[held]
                memcpy(sums[held], branches, n * sizeof(real))
                branches += distance
                held += 1
                while held > 1 and levels[held - 1] == levels[held - 2]:
                    held -= 1
                    add_branch(n, <const real *> sums[held], sums[held - 1])
                    levels[held - 1] += 1
        while held > 1:
            held -= 1
            add_branch(n, <const real *> sums[held], sums[held - 1])
        memcpy(gradients + at, sums[0], n * sizeof(real))


cdef void gradients_by_slices(
    const Rows *rows, int slices, double *sums, real *branches, Py_ssize_t distance, real *gradients,
) noexcept nogil:
    """All of it, by one thread."""
    cdef Py_ssize_t from_row, n, at
    cdef Rows piece = rows[0]
    cdef int s, p, pieces
    for s in range(slices):
        from_row = share(rows.n, s, slices)
        n = share(rows.n, s + 1, slices) - from_row
        pieces = pieces_of(n)
        for p in range(pieces):
            at = from_row + share(n, p, pieces)
            piece.first, piece.n = rows.first + at, from_row + share(n, p + 1, pieces) - at
            piece.x = <const real *> rows.x + at * rows.graph.n_in
            if look_for_signals(rows.watch, piece.n * <double> rows.graph.n_parameters):
                return
            piece_gradients(
                &piece, s == 0 and p == 0, p == 0, p == pieces - 1, sums, branches + branches_of(0, s) * distance)
        grow(rows.graph, 0, s, branches, distance)
    add_branches(slices, 1, <const real *> branches, distance, rows.graph.begin, rows.graph.end, gradients)


# By weights.

cdef Block block_of(const Op *op, int thread, int threads) noexcept nogil:
    """A thread's block of a weight: of all ways to cut it into as many, the one whose thread reads the fewest columns
    of x and dz together. Outputs are parted where tiles are."""
    cdef Py_ssize_t tiles = (op.unit + WIDEST - 1) // WIDEST, down = threads, columns, fewest = -1
    cdef Py_ssize_t i
    if op.operation == DENSE:
        for i in range(1, threads + 1):
            columns = (op.units + i - 1) // i + min(op.unit, WIDEST * ((tiles * i + threads - 1) // threads))
            if threads % i == 0 and threads // i <= tiles and (fewest < 0 or columns <= fewest):
                down, fewest = i, columns
    i = threads // down
    return Block(
        from_unit=share(op.units, thread // i, down), to_unit=share(op.units, thread // i + 1, down),
        from_out=min(op.unit, WIDEST * share(tiles, thread % i, i)),
        to_out=min(op.unit, WIDEST * share(tiles, thread % i + 1, i)))


cdef inlined block_gradients(
    const Rows *rows, int s, const Block *block, double *sums, bint begins, bint ends, real *gradients,
) noexcept nogil:
    """Over a whole batch, or over a part of one that has sums, and begins or ends with it.

    Batch norms have summed their columns by then, over all rows.
    """
    if sums == NULL or rows.graph.ops[s].operation == BATCH_NORM:
        parameter_gradients(rows, s, block, <double *> NULL, gradients)
    else:
        long_gradients(rows, s, block, sums, begins, ends, gradients)


cdef outlined long_gradients(
    const Rows *rows, int s, const Block *block, double *sums, bint begins, bint ends, real *gradients,
) noexcept nogil:
    """Each of LONG rows is a chain of its own, and these are added in double. Of a table, so few rows meet little:
    there each dy is added in double at once. Without a watch, all of it is done."""
    cdef const Graph *graph = rows.graph
    cdef const Op *op = &graph.ops[s]
    cdef Rows part = rows[0]
    cdef Stretch weights = weights_of(op, block), biases = biases_of(op, block)
    cdef Py_ssize_t done = 0, i, at
    cdef bint first, last, table = op.operation == COLUMNS
    if table and begins:
        memset(sums + weights.begin, 0, weights.n * sizeof(double))
    while done < rows.n:
        part.first, part.n = rows.first + done, min(LONG, rows.n - done)
        part.x = <const real *> rows.x + done * graph.n_in
        if rows.watch != NULL and look_for_signals(
            rows.watch, part.n * <double> (op.n_out if table else weights.n * weights.count)
        ):
            return
        first, last = begins and done == 0, ends and done + part.n == rows.n
        parameter_gradients(&part, s, block, sums if table else NULL, gradients)
        if not table:
            for i in range(weights.count):
                at = weights.begin + i * weights.step
                add_chain(weights.n, first, last, gradients + at, sums + at)
            add_chain(biases.n, first, last, gradients + biases.begin, sums + biases.begin)
        done += part.n
    if table and ends:
        for i in range(weights.begin, weights.begin + weights.n):
            gradients[i] = <real> sums[i]


cdef inline Py_ssize_t rows_at_a_time(const Graph *graph) noexcept nogil:
    """That go through all the operations, there and back, between two looks at the signals."""
    return max(16, min(graph.block, <Py_ssize_t> (LONG_WORK * LANES_F / graph.work)))


cdef inline Py_ssize_t units_at_a_time(const Op *op, Py_ssize_t rows) noexcept nogil:
    """Whose gradients, over the rows of a chain or of all, are computed between two looks. Tables are left whole: each
    part of one would go through the rows again."""
    rows = min(rows, CHUNK)
    if op.operation == COLUMNS or rows * <double> op.units * op.unit <= LONG_WORK * LANES_F:
        return op.units
    return TILE_ROWS + <Py_ssize_t> (LONG_WORK * LANES_F / (max(1, rows) * <double> op.unit))


cdef void gradients_by_weights(const Rows *rows, double *sums, real *gradients) noexcept nogil:
    """All of it, by one thread."""
    cdef const Op *op
    cdef Block block
    cdef Py_ssize_t most
    cdef int s
    for s in range(rows.graph.n_ops):
        op = &rows.graph.ops[s]
        block, most = all_of(op), units_at_a_time(op, rows.n)
        while block.from_unit < op.units and not look_for_signals(
            rows.watch, rows.n * <double> op.unit * min(most, op.units)
        ):
            block.to_unit = min(op.units, block.from_unit + most)
            block_gradients(rows, s, &block, sums if rows.n > CHUNK else NULL, True, True, gradients)
            block.from_unit = block.to_unit
