# Single kernels for Python: what activations, losses and optimizers call when they are used by hand, and the tests.

ROOM = SLACK                                    # numbers that a Plan wants behind the flat vectors
REGISTER_BITS = LANES_F * 32


def all_finite(const real[::1] x not None):
    """Whether there is no infinity and no NaN."""
    cdef Py_ssize_t n = x.shape[0], done = 0, some
    cdef bint finite = True
    cdef int status = RUNNING
    cdef Watch watch
    with nogil:
        watch = begin_watch(&status, mode_now())
        while finite and done < n and not look_for_signals(&watch, PIECE):
            some = min(n - done, PIECE)
            finite = is_finite(some, &x[done])
            done += some
    end_watch(&watch)
    return finite


def activate(int activation, double slope, real[:, ::1] y not None):
    """y = f(y), in place."""
    cdef Py_ssize_t rows = y.shape[0], n = y.shape[1], done = 0, some
    cdef int status = RUNNING
    cdef Watch watch
    expect(0 <= activation and activation < ACTIVATION_COUNT, "a code of ACTIVATIONS")
    if rows > 0 and n > 0:
        with nogil:
            watch = begin_watch(&status, mode_now())
            while done < rows and not look_for_signals(&watch, 20.0 * (PIECE + n)):
                some = min(rows - done, 1 + PIECE // n)
                activation_forward(activation, <real> slope, some, n, n, &y[done, 0])
                done += some
        end_watch(&watch)


def activate_backward(
    int activation, double slope, const real[:, ::1] y not None, real[:, ::1] dy not None, const real[:, ::1] z=None,
):
    """dy = dy f'(z) for y = f(z), in place; z is wanted where y does not tell the derivative."""
    cdef Py_ssize_t rows = y.shape[0], n = y.shape[1], done = 0, some
    cdef int status = RUNNING
    cdef Watch watch
    expect(0 <= activation and activation < ACTIVATION_COUNT, "a code of ACTIVATIONS")
    expect(y.shape[0] == dy.shape[0] and y.shape[1] == dy.shape[1], "y and dy of one shape")
    expect(z is not None or not needs_z(activation), "z, from which this derivative is taken")
    expect(z is None or (z.shape[0] == y.shape[0] and z.shape[1] == y.shape[1]), "y and z of one shape")
    if rows > 0 and n > 0:
        with nogil:
            watch = begin_watch(&status, mode_now())
            while done < rows and not look_for_signals(&watch, 20.0 * (PIECE + n)):
                some = min(rows - done, 1 + PIECE // n)
                activation_backward(
                    activation, <real> slope, some, n, n, &z[done, 0] if z is not None else NULL, &y[done, 0],
                    &dy[done, 0])
                done += some
        end_watch(&watch)


def loss_target_width(kind not None, Py_ssize_t n):
    """How many targets a row of n outputs has; 0 where the outputs do not come out even."""
    cdef Loss it
    read_loss(kind, &it)
    return target_width(&it, n)


def loss(
    kind not None, const real[:, ::1] y_hat not None, const real[:, ::1] y, const int64_t[::1] labels,
    const double[::1] weights, double norm, double[::1] values not None, real[:, ::1] dy not None,
):
    """The unweighted value of each row, and its gradient times weight * norm."""
    cdef Loss it
    cdef Py_ssize_t rows = y_hat.shape[0], n = y_hat.shape[1], done = 0, some
    cdef int status = RUNNING
    cdef Watch watch
    read_loss(kind, &it)
    expect(dy.shape[0] == rows and dy.shape[1] == n and values.shape[0] == rows, "values and dy for each row")
    expect(n == 0 or target_width(&it, n) > 0, "outputs that come out even")
    expect(y is not None or (labels is not None and takes_labels(&it)), "targets")
    expect(y is None or (y.shape[0] == rows and y.shape[1] == target_width(&it, n)), "targets for the outputs")
    expect(labels is None or labels.shape[0] == rows, "a label for each row")
    expect(weights is None or weights.shape[0] == rows, "a weight for each row")
    if rows > 0 and n > 0:
        with nogil:
            watch = begin_watch(&status, mode_now())
            while done < rows and not look_for_signals(&watch, 20.0 * (PIECE + n)):
                some = min(rows - done, 1 + PIECE // n)
                loss_rows(
                    &it, some, n, &y_hat[done, 0], n, &y[done, 0] if y is not None else NULL,
                    &labels[done] if labels is not None else NULL, NULL,
                    &weights[done] if weights is not None else NULL, norm, &values[done], &dy[done, 0], n)
                done += some
        end_watch(&watch)


def apply_update(
    kind not None, double learning_rate, int64_t step, real[::1] p not None, const real[::1] g not None,
    tuple state not None, tuple ranges not None,
):
    """One step of an optimizer over flat vectors; whether every parameter stayed finite."""
    cdef Py_ssize_t n = p.shape[0], done = 0, to
    cdef Rule rule
    cdef bint finite = True
    cdef double scale
    cdef int status = RUNNING
    cdef Watch watch
    expect(g.shape[0] == n, "a gradient for each parameter")
    expect(step > 0, "a number of the step, 1 for the first")
    rule = Rule(kind, state, ranges, step - 1, n, real is float)
    with nogil:
        watch = begin_watch(&status, flush_subnormals())
        begin_step(&rule.update, learning_rate, rule.update.weight_decay)
        scale = clip_scale(&rule.update, &g[0])
        while done < n and not look_for_signals(&watch, 10.0 * PIECE):
            to = min(n, done + PIECE)
            finite &= update_range(&rule.update, scale, done, to, &g[0], &p[0])
            done = to
        restore_mode(watch.mode)
    end_watch(&watch)
    return finite


def permutation(uint64_t seed, uint64_t epoch, int64_t[::1] order not None):
    """Write the order of the rows in this epoch."""
    cdef int status = RUNNING
    cdef Watch watch
    with nogil:
        watch = begin_watch(&status, mode_now())
        shuffle_watched(seed, epoch, order.shape[0], &order[0], &watch)
    end_watch(&watch)


def cpu_supports(str isa not None):
    """Whether this processor and its operating system run the build of that name."""
    return isa in SUPPORTED


cdef extern from "isa.h" nogil:
    int runs_avx2()
    int runs_avx512()

SUPPORTED = {"baseline"} | ({"avx2"} if runs_avx2() else set()) | ({"avx512"} if runs_avx512() else set())
