# Optimizers: one pass over a range of the flat vectors, reading like the paper.
#
# g gradient, p parameters, behind them the state. Where a new number would not be finite, parameter and state keep
# their old ones, and the kernel returns False: a diverging run ends with weights that can be looked at.
#
# Weight decay is coupled, and adds decay p to the gradient; or decoupled, and takes rate decay p from the parameter.
# One of the two is 0.

from libc.math cimport INFINITY, expm1, pow, sqrt, sqrtf

cdef enum UpdateKind:
    NO_UPDATE, SGD, RMSPROP, ADAGRAD, ADADELTA, ADAM, ADAMW, NADAM, RADAM, LION, RPROP
    UPDATE_COUNT                                # stays the last

OPTIMIZERS = {
    "sgd": SGD, "rmsprop": RMSPROP, "adagrad": ADAGRAD, "adadelta": ADADELTA, "adam": ADAM, "adamw": ADAMW,
    "nadam": NADAM, "radam": RADAM, "lion": LION, "rprop": RPROP,
}

cdef int64_t MOST_STEPS = 1 << 62               # that an optimizer has made, so that it can be counted on from there

cdef struct Range:
    Py_ssize_t begin, end
    int group                                   # whose numbers count there; below 0: those of the update itself

cdef struct Update:
    int kind
    double parameters[8]                        # of its kind: which they are, its kernel says
    double weight_decay, clip_value, clip_norm, average     # 0: none
    double rate_factor, decay_factor            # of a group: what the learning rate and the decay are multiplied by
    Update *groups                              # the same with other numbers, for some of the ranges
    int n_groups
    void *state[4]                              # NULL where there is none; the last is the average of the parameters
    Range *ranges                               # of the parameters that may change, ascending
    Py_ssize_t n_ranges
    bint plain                                  # that is all of them alike, and there is no clip and no average
    int64_t step                                # 1 for the first
    double rate                                 # what all parameters share in a step: see begin_step
    double one_minus_ema_decay                  # of the average
    double nesterov, bias_correction            # and with the Adams
    double epsilon, decoupled_decay


cdef inline real above_zero(double epsilon, const real *p) noexcept nogil:
    """An epsilon that is not lost in the type."""
    return <real> max(epsilon, smallest(p))


cdef bint sgd(const Update *u, Py_ssize_t n, const real *g, real *p, real *m) noexcept nogil:
    """m = momentum m + g;  p -= rate m, or rate (g + momentum m) with Nesterov's momentum."""
    cdef real momentum = <real> u.parameters[0], decay = <real> u.weight_decay, rate = <real> u.rate
    cdef bint nesterov = u.parameters[1] != 0, finite
    cdef real new_g, new_m, new_p, zero = 0
    cdef int broken = 0
    cdef Py_ssize_t i
    if m == NULL:
        for i in range(n):
            new_p = p[i] - rate * (g[i] + decay * p[i])
            finite = new_p * zero == zero
            broken |= not finite
            p[i] = choose(finite, new_p, p[i])
    else:
        for i in range(n):
            new_g = g[i] + decay * p[i]
            new_m = momentum * m[i] + new_g
            new_p = p[i] - rate * (new_g + momentum * new_m if nesterov else new_m)
            finite = new_p * zero + new_m * zero == zero
            broken |= not finite
            m[i] = choose(finite, new_m, m[i])
            p[i] = choose(finite, new_p, p[i])
    return not broken


# Where an option needs one more vector, the body is written once and always inlined, with constants for what there is:
# left to itself, GCC would load and store under a mask.

cdef inlined rmsprop_loop(
    bint has_momentum, bint centered, const Update *u, Py_ssize_t n, const real *g, real *p, real *v, real *m, real *a,
    bint *all_finite,
) noexcept nogil:
    cdef real alpha = <real> u.parameters[0], c = <real> (1 - u.parameters[0]), epsilon = above_zero(u.parameters[1], g)
    cdef real momentum = <real> u.parameters[2], decay = <real> u.weight_decay, rate = <real> u.rate
    cdef real new_g, new_v, new_a, new_m, new_p, spread, zero = 0
    cdef bint finite
    cdef int broken = 0
    cdef Py_ssize_t i
    for i in range(n):
        new_g = g[i] + decay * p[i]
        new_v = alpha * v[i] + c * new_g * new_g
        new_a = a[i] + c * (new_g - a[i]) if centered else zero
        spread = new_v - new_a * new_a
        spread = spread if spread > zero else zero              # below zero only by rounding
        new_m = new_g / (square_root(spread) + epsilon)
        new_m = momentum * m[i] + new_m if has_momentum else new_m
        new_p = p[i] - rate * new_m
        finite = new_p * zero + (new_v * zero + new_m * zero) == zero
        broken |= not finite
        v[i] = choose(finite, new_v, v[i])
        if centered:
            a[i] = choose(finite, new_a, a[i])
        if has_momentum:
            m[i] = choose(finite, new_m, m[i])
        p[i] = choose(finite, new_p, p[i])
    all_finite[0] = not broken


cdef bint rmsprop(
    const Update *u, Py_ssize_t n, const real *g, real *p, real *v, real *m, real *a,
) noexcept nogil:
    """v, a: running means of g^2 and, if centered, of g;  m = momentum m + g / (sqrt(v - a^2) + epsilon);  p -= rate m
    """
    cdef bint finite
    if m == NULL and a == NULL:
        rmsprop_loop(False, False, u, n, g, p, v, m, a, &finite)
    elif m == NULL:
        rmsprop_loop(False, True, u, n, g, p, v, m, a, &finite)
    elif a == NULL:
        rmsprop_loop(True, False, u, n, g, p, v, m, a, &finite)
    else:
        rmsprop_loop(True, True, u, n, g, p, v, m, a, &finite)
    return finite


cdef bint adagrad(const Update *u, Py_ssize_t n, const real *g, real *p, real *v) noexcept nogil:
    """v: the sum of g^2;  p -= rate g / (sqrt(v) + epsilon)."""
    cdef real epsilon = above_zero(u.parameters[0], g), decay = <real> u.weight_decay, rate = <real> u.rate
    cdef real new_g, new_v, new_p, zero = 0
    cdef bint finite
    cdef int broken = 0
    cdef Py_ssize_t i
    for i in range(n):
        new_g = g[i] + decay * p[i]
        new_v = v[i] + new_g * new_g
        new_p = p[i] - rate * new_g / (square_root(new_v) + epsilon)
        finite = new_p * zero + new_v * zero == zero
        broken |= not finite
        v[i] = choose(finite, new_v, v[i])
        p[i] = choose(finite, new_p, p[i])
    return not broken


cdef bint adadelta(const Update *u, Py_ssize_t n, const real *g, real *p, real *v, real *d) noexcept nogil:
    """v, d: running means of g^2 and step^2;  step = g sqrt(d + epsilon) / sqrt(v + epsilon);  p -= rate step."""
    cdef real rho = <real> u.parameters[0], c = <real> (1 - u.parameters[0]), epsilon = above_zero(u.parameters[1], g)
    cdef real decay = <real> u.weight_decay, rate = <real> u.rate
    cdef real new_g, new_v, new_d, new_p, step, zero = 0
    cdef bint finite
    cdef int broken = 0
    cdef Py_ssize_t i
    for i in range(n):
        new_g = g[i] + decay * p[i]
        new_v = rho * v[i] + c * new_g * new_g
        step = new_g * (square_root(d[i] + epsilon) / square_root(new_v + epsilon))
        new_d = rho * d[i] + c * step * step
        new_p = p[i] - rate * step
        finite = new_p * zero + (new_v * zero + new_d * zero) == zero
        broken |= not finite
        v[i] = choose(finite, new_v, v[i])
        d[i] = choose(finite, new_d, d[i])
        p[i] = choose(finite, new_p, p[i])
    return not broken


cdef inlined adam_loop(
    bint amsgrad, const Update *u, Py_ssize_t n, const real *g, real *p, real *m, real *v, real *w, bint *all_finite,
) noexcept nogil:
    cdef real c1 = <real> (1 - u.parameters[0]), beta2 = <real> u.parameters[1], c2 = <real> (1 - u.parameters[1])
    cdef real decay = <real> (0 if u.kind == ADAMW else u.weight_decay), decoupled = <real> u.decoupled_decay
    cdef real rate = <real> u.rate, bias_correction = <real> u.bias_correction, epsilon = above_zero(u.epsilon, g)
    cdef real new_g, new_m, new_v, new_w, new_p, zero = 0
    cdef bint finite
    cdef int broken = 0
    cdef Py_ssize_t i
    for i in range(n):
        new_g = g[i] + decay * p[i]
        new_m = m[i] + c1 * (new_g - m[i])
        new_v = beta2 * v[i] + c2 * new_g * new_g
        new_w = w[i] if amsgrad and w[i] > new_v else new_v
        new_p = p[i] - decoupled * p[i] - rate * new_m / (bias_correction * square_root(new_w) + epsilon)
        finite = new_p * zero + (new_m * zero + new_v * zero) == zero
        broken |= not finite
        m[i] = choose(finite, new_m, m[i])
        v[i] = choose(finite, new_v, v[i])
        if amsgrad:
            w[i] = choose(finite, new_w, w[i])
        p[i] = choose(finite, new_p, p[i])
    all_finite[0] = not broken


cdef bint adam(const Update *u, Py_ssize_t n, const real *g, real *p, real *m, real *v, real *w) noexcept nogil:
    """m, v: running means of g and g^2;  p -= learning_rate m' / (sqrt(v') + epsilon), with m', v' unbiased.

    With w, the largest v so far stands for v. RAdam differs in what all parameters share.
    """
    cdef bint finite
    if w == NULL:
        adam_loop(False, u, n, g, p, m, v, w, &finite)
    else:
        adam_loop(True, u, n, g, p, m, v, w, &finite)
    return finite


cdef bint nadam(const Update *u, Py_ssize_t n, const real *g, real *p, real *m, real *v) noexcept nogil:
    """Adam with the m that is to come:  p -= (rate m + nesterov g) / (sqrt(v') + epsilon)."""
    cdef real c1 = <real> (1 - u.parameters[0]), beta2 = <real> u.parameters[1], c2 = <real> (1 - u.parameters[1])
    cdef real decay = <real> u.weight_decay, rate = <real> u.rate, nesterov = <real> u.nesterov
    cdef real bias_correction = <real> u.bias_correction, epsilon = above_zero(u.epsilon, g)
    cdef real new_g, new_m, new_v, new_p, zero = 0
    cdef bint finite
    cdef int broken = 0
    cdef Py_ssize_t i
    for i in range(n):
        new_g = g[i] + decay * p[i]
        new_m = m[i] + c1 * (new_g - m[i])
        new_v = beta2 * v[i] + c2 * new_g * new_g
        new_p = p[i] - (rate * new_m + nesterov * new_g) / (bias_correction * square_root(new_v) + epsilon)
        finite = new_p * zero + (new_m * zero + new_v * zero) == zero
        broken |= not finite
        m[i] = choose(finite, new_m, m[i])
        v[i] = choose(finite, new_v, v[i])
        p[i] = choose(finite, new_p, p[i])
    return not broken


cdef bint lion(const Update *u, Py_ssize_t n, const real *g, real *p, real *m) noexcept nogil:
    """p -= rate sign(beta1 m + (1 - beta1) g);  m = beta2 m + (1 - beta2) g."""
    cdef real c1 = <real> (1 - u.parameters[0]), c2 = <real> (1 - u.parameters[1])
    cdef real rate = <real> u.rate, decoupled = <real> (u.rate * u.weight_decay)
    cdef real new_m, new_p, zero = 0
    cdef bint finite
    cdef int broken = 0
    cdef Py_ssize_t i
    for i in range(n):
        new_p = p[i] - decoupled * p[i] - rate * sign(m[i] + c1 * (g[i] - m[i]))
        new_m = m[i] + c2 * (g[i] - m[i])
        finite = new_p * zero + new_m * zero == zero
        broken |= not finite
        m[i] = choose(finite, new_m, m[i])
        p[i] = choose(finite, new_p, p[i])
    return not broken


cdef bint rprop(const Update *u, Py_ssize_t n, const real *g, real *p, real *before, real *size) noexcept nogil:
    """p -= sign(g) size. The size grows while g keeps its sign; else it shrinks, and p waits for a step."""
    cdef real eta_minus = <real> u.parameters[0], eta_plus = <real> u.parameters[1]
    cdef real least = <real> u.parameters[2], most = <real> u.parameters[3]
    cdef real agrees, new_g, new_size, new_p, one = 1, zero = 0
    cdef bint finite
    cdef int broken = 0
    cdef Py_ssize_t i
    for i in range(n):
        agrees = sign(g[i]) * sign(before[i])
        new_size = size[i] * choose(agrees > 0, eta_plus, choose(agrees < 0, eta_minus, one))
        new_size = new_size if new_size > least else least
        new_size = new_size if new_size < most else most
        new_g = choose(agrees < 0, zero, g[i])
        new_p = p[i] - sign(new_g) * new_size
        finite = new_p * zero + g[i] * zero == zero
        broken |= not finite
        before[i] = choose(finite, new_g, before[i])
        size[i] = choose(finite, new_size, size[i])
        p[i] = choose(finite, new_p, p[i])
    return not broken


cdef void average(Py_ssize_t n, real one_minus_decay, const real *p, real *a) noexcept nogil:
    """a: the running mean of p."""
    cdef Py_ssize_t i
    for i in range(n):
        a[i] += one_minus_decay * (p[i] - a[i])


cdef void clip(Py_ssize_t n, real scale, real most, const real *g, real *clipped) noexcept nogil:
    """scale g, and none of it beyond most. What is no number stays so."""
    cdef Py_ssize_t i
    cdef real x
    for i in range(n):
        x = scale * g[i]
        x = most if x > most else x
        clipped[i] = -most if x < -most else x


# What all parameters share in a step.

cdef double mu(const Update *u, double t) noexcept nogil:
    """The momentum of NAdam at step t: it warms up."""
    return u.parameters[0] * (1 - 0.5 * pow(0.96, t * u.parameters[3]))


cdef double mu_product(const Update *u, double t) noexcept nogil:
    """mu_1 mu_2 ... mu_t, from t alone: so the state of NAdam is its vectors and the number of steps.

    It is beta1^t prod (1 - q^i / 2) with q = 0.96^decay. The logarithm of 1 - x being -sum x^k / k, that of the product
    is a sum over k of geometric sums. Below 1e-17 it is nothing beside the 1 that it is taken from.
    """
    cdef double power = pow(u.parameters[0], t), x = u.parameters[3] * log(0.96), total = 0, half = 1, geometric
    cdef int k
    if power < 1e-17:
        return 0
    for k in range(1, 55):
        half *= 0.5
        geometric = t if -x < 1e-200 else exp(k * x) * expm1(k * x * t) / expm1(k * x)
        total += half * geometric / k
    return power * exp(-total)


cdef void begin_adam(Update *u, double learning_rate, double t) noexcept nogil:
    """A step of rate m / (bias_correction sqrt(v) + epsilon)."""
    cdef double beta1 = u.parameters[0], beta2 = u.parameters[1]
    cdef double power = pow(beta2, t), longest = 2 / (1 - beta2) - 1, length, product
    u.rate = learning_rate / (1 - pow(beta1, t))
    u.bias_correction = 1 / sqrt(1 - power)
    u.epsilon = u.parameters[2]
    u.decoupled_decay = learning_rate * u.weight_decay if u.kind == ADAMW else 0
    if u.kind == NADAM:
        product = mu_product(u, t)
        u.nesterov = learning_rate * (1 - mu(u, t)) / (1 - product)
        u.rate = learning_rate * mu(u, t + 1) / (1 - product * mu(u, t + 1))
    elif u.kind == RADAM:                               # how many steps v is the mean of: too few say nothing
        length = longest - 2 * t * power / (1 - power)
        if length > 5:
            u.rate *= sqrt((length - 4) * (length - 2) * longest / ((longest - 4) * (longest - 2) * length))
            u.rate, u.bias_correction = u.rate / u.bias_correction, 1
        else:
            u.bias_correction, u.epsilon = 0, 1


cdef inline void begin_own_step(Update *u, double learning_rate, double weight_decay) noexcept nogil:
    u.step += 1
    u.rate, u.weight_decay = learning_rate, weight_decay
    u.one_minus_ema_decay = 1 if u.step == 1 else 1 - u.average
    if u.kind == ADAM or u.kind == ADAMW or u.kind == NADAM or u.kind == RADAM:
        begin_adam(u, learning_rate, <double> u.step)


cdef void begin_groups(Update *u, double learning_rate, double weight_decay) noexcept nogil:
    cdef Update *group
    cdef int i
    for i in range(u.n_groups):
        group = &u.groups[i]
        begin_own_step(group, learning_rate * group.rate_factor, weight_decay * group.decay_factor)


cdef inline void begin_step(Update *u, double learning_rate, double weight_decay) noexcept nogil:
    """The next step, and what all parameters, and those of each group, share in it."""
    begin_own_step(u, learning_rate, weight_decay)
    if u.n_groups > 0:
        begin_groups(u, learning_rate, weight_decay)


cdef double clip_scale(const Update *u, const real *g) noexcept nogil:
    """What brings the norm of the gradient down to clip_norm; not a number, if the norm is none."""
    cdef double sizes = 0, squares = 0, norm
    cdef Py_ssize_t r
    if not u.clip_norm > 0:
        return 1
    for r in range(u.n_ranges):
        sums(u.ranges[r].end - u.ranges[r].begin, g + u.ranges[r].begin, &sizes, &squares)
    norm = sqrt(squares)
    if norm - norm != 0:
        return norm - norm
    return u.clip_norm / norm if norm > u.clip_norm else 1


cdef inline bint wants(const Update *u, int i) noexcept nogil:
    """Whether it keeps the vector number i."""
    if i == 3:
        return u.average > 0
    if u.kind == SGD:
        return i == 0 and u.parameters[0] != 0
    if u.kind == RMSPROP:
        return i == 0 or (i == 1 and u.parameters[2] != 0) or (i == 2 and u.parameters[3] != 0)
    if i == 2:
        return (u.kind == ADAM or u.kind == ADAMW) and u.parameters[3] != 0
    return i < (1 if u.kind == ADAGRAD or u.kind == LION else 2)


cdef inline real *vector(const Update *u, int i, Py_ssize_t at, const real *_) noexcept nogil:
    return <real *> u.state[i] + at if u.state[i] != NULL else NULL


cdef bint update(const Update *u, Py_ssize_t at, Py_ssize_t n, const real *g, real *p) noexcept nogil:
    """The rule itself, for n parameters; their state begins at `at`. Whether every new number is finite."""
    cdef real *a = vector(u, 0, at, g)
    cdef real *b
    cdef real *c
    if u.kind == SGD: return sgd(u, n, g, p, a)
    b, c = vector(u, 1, at, g), vector(u, 2, at, g)
    if u.kind == RMSPROP: return rmsprop(u, n, g, p, a, b, c)
    if u.kind == ADAGRAD: return adagrad(u, n, g, p, a)
    if u.kind == ADADELTA: return adadelta(u, n, g, p, a, b)
    if u.kind == NADAM: return nadam(u, n, g, p, a, b)
    if u.kind == LION: return lion(u, n, g, p, a)
    if u.kind == RPROP: return rprop(u, n, g, p, a, b)
    return adam(u, n, g, p, a, b, c)


cdef bint update_clipped(
    const Update *u, double scale, Py_ssize_t at, Py_ssize_t n, const real *g, real *p,
) noexcept nogil:
    """The same along the clipped gradient: in pieces, so that the gradient itself stays what it is."""
    cdef real clipped[256]
    cdef real most = <real> (u.clip_value if u.clip_value > 0 else INFINITY)
    cdef bint finite = True
    cdef Py_ssize_t done = 0, some
    while done < n:
        some = min(n - done, 256)
        clip(some, <real> scale, most, g + done, clipped)
        finite &= update(u, at + done, some, <const real *> clipped, p + done)
        done += some
    return finite


cdef bint update_range(
    const Update *u, double scale, Py_ssize_t at, Py_ssize_t end, const real *g, real *p,
) noexcept nogil:
    """What may change of the flat vector from `at` to `end` steps along its gradient; then the average follows."""
    cdef bint finite = True
    cdef Py_ssize_t r, begin, n
    cdef const Update *its
    for r in range(u.n_ranges):
        begin = max(at, u.ranges[r].begin)
        n = min(end, u.ranges[r].end) - begin
        its = u
        if u.ranges[r].group >= 0:
            its = &u.groups[u.ranges[r].group]
        if n > 0 and (u.clip_value > 0 or u.clip_norm > 0):
            finite &= update_clipped(its, scale, begin, n, g + begin, p + begin)
        elif n > 0:
            finite &= update(its, begin, n, g + begin, p + begin)
    if u.state[3] != NULL:
        average(end - at, <real> u.one_minus_ema_decay, p + at, vector(u, 3, at, p))
    return finite
