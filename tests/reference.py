"""Every kernel a second time: plain, slow, obvious NumPy, under the same name.

Notation, as in the kernels: B rows (a batch), I inputs, O outputs;

    x (B,I), w (I,O), b (O,), z = x w + b, y = f(z);  dv is the gradient of the loss with respect to v.

Where a kernel works in place, its twin returns a new array. The arithmetic is float64, whatever comes in; only what
is a matter of bits (random numbers) is done in the kernel's own type. Nothing here is imported from the library.
"""

import math
from functools import partial

import numpy as np

double = partial(np.asarray, dtype=np.float64)

# kernels/dense.pxi, kernels/matmul.pxi


def matmul(a, b, start):
    """C = start + a b, one element at a time: the sum over k in ascending order."""
    c = np.broadcast_to(double(start), (a.shape[0], b.shape[1])).copy()
    for k in range(a.shape[1]):
        c += np.outer(double(a[:, k]), double(b[k]))
    return c


def dense_forward(x, w, b):
    return matmul(x, w, b)


def dense_backward(x, w, dz):
    """dx, dw, db."""
    return matmul(dz, w.T, 0), matmul(x.T, dz, 0), double(dz).sum(axis=0)


# kernels/activations.pxi, kernels/elementary.pxi


def exponential(z):
    with np.errstate(over="ignore", under="ignore"):
        return np.exp(double(z))


def sigmoid_forward(z):
    e = exponential(-abs(double(z)))
    return np.where(z >= 0, 1, e) / (1 + e)


def sigmoid_backward(y, dy):
    return dy * y * (1 - y)


def tanh_forward(z):
    return np.tanh(double(z))


def tanh_backward(y, dy):
    return dy * (1 - y * y)


def relu_forward(z):
    return np.where(z <= 0, 0, double(z))


def relu_backward(y, dy):
    return np.where(y > 0, dy, 0)


def leaky_relu_forward(slope, z):
    return np.where(z <= 0, slope * double(z), z)


def leaky_relu_backward(slope, y, dy):
    return np.where(y > 0, dy, slope * dy)


def elu_forward(alpha, z):
    return np.where(z > 0, double(z), alpha * np.expm1(np.minimum(double(z), 0)))


def elu_backward(alpha, y, dy):
    return np.where(y > 0, dy, dy * (y + alpha))


SELU_LAMBDA, SELU_ALPHA = 1.0507009873554804934193349852946, 1.6732632423543772848170429916717


def selu_forward(z):
    return SELU_LAMBDA * elu_forward(SELU_ALPHA, z)


def selu_backward(y, dy):
    return elu_backward(SELU_ALPHA, y / SELU_LAMBDA, SELU_LAMBDA * dy)


def normal(z):
    """The share of the normal distribution below z."""
    return np.vectorize(math.erfc, otypes=[float])(-double(z) / math.sqrt(2)) / 2


def gelu_forward(z):
    return z * normal(z)


def gelu_backward(z, dy):
    return dy * (normal(z) + z * exponential(-z * z / 2) / math.sqrt(2 * math.pi))


def gelu_tanh_forward(z):
    """Half of 1 + tanh u is the sigmoid of 2 u, which is right where tanh u is almost -1."""
    return z * sigmoid_forward(math.sqrt(8 / math.pi) * (double(z) + 0.044715 * double(z) ** 3))


def gelu_tanh_backward(z, dy):
    s = sigmoid_forward(math.sqrt(8 / math.pi) * (z + 0.044715 * z**3))
    return dy * (s + z * s * (1 - s) * math.sqrt(8 / math.pi) * (1 + 3 * 0.044715 * z**2))


def silu_forward(z):
    return z * sigmoid_forward(z)


def silu_backward(z, dy):
    s = sigmoid_forward(z)
    return dy * s * (1 + z * (1 - s))


def mish_forward(z):
    return z * np.tanh(softplus_forward(z))


def mish_backward(z, dy):
    t = np.tanh(softplus_forward(z))
    return dy * (t + z * sigmoid_forward(z) * (1 - t * t))


def sin_forward(z):
    return np.sin(double(z))


def sin_backward(z, dy):
    return dy * np.cos(z)


def cos_forward(z):
    return np.cos(double(z))


def cos_backward(z, dy):
    return -dy * np.sin(z)


def softplus_forward(z):
    return np.logaddexp(0, double(z))


def softplus_backward(y, dy):
    return dy * -np.expm1(-y)


def softsign_forward(z):
    return double(z) / (1 + abs(double(z)))


def softsign_backward(y, dy):
    return dy * (1 - abs(y)) ** 2


def hard_sigmoid_forward(z):
    return np.clip((double(z) + 3) / 6, 0, 1)


def hard_sigmoid_backward(y, dy):
    return np.where((y > 0) & (y < 1), dy / 6, 0)


def hard_tanh_forward(z):
    return np.clip(double(z), -1, 1)


def hard_tanh_backward(y, dy):
    return np.where((y > -1) & (y < 1), dy, 0)


def exp_forward(z):
    return exponential(z)


def exp_backward(y, dy):
    return dy * y


def softmax_forward(z):
    e = exponential(double(z) - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def softmax_backward(y, dy):
    return y * (dy - (dy * y).sum(axis=1, keepdims=True))


def log_softmax_forward(z):
    """The largest number of a row is told from the others, whose sum may be next to nothing."""
    z = double(z) - z.max(axis=1, keepdims=True)
    others = exponential(z)
    np.put_along_axis(others, z.argmax(axis=1)[:, None], 0, axis=1)
    return z - np.log1p(others.sum(axis=1, keepdims=True))


def log_softmax_backward(y, dy):
    return dy - exponential(y) * dy.sum(axis=1, keepdims=True)


NEEDS_Z = {"gelu", "gelu_tanh", "silu", "mish", "sin", "cos"}


def activation_forward(name, slope, z):
    if name == "identity":
        return double(z)
    given = (slope,) if name in ("leaky_relu", "elu") else ()
    return globals()[f"{name}_forward"](*given, z)


def activation_backward(name, slope, z, y, dy):
    if name == "identity":
        return double(dy)
    given = (slope,) if name in ("leaky_relu", "elu") else ()
    return globals()[f"{name}_backward"](*given, double(z if name in NEEDS_Z else y), double(dy))


# kernels/losses.pxi: the value of each row (B,), and dy (B,O) = scale[row] times its gradient. tiny is the smallest
# normal number of the kernel's type.


def safe_log(p, tiny):
    """Log p, and below tiny its tangent there."""
    return np.where(p > tiny, np.log(np.maximum(p, tiny)), np.log(tiny) + (p - tiny) / tiny)


# Of one number: (value, slope), arrays of any shape.


def absolute_error(y_hat, y):
    return abs(y_hat - y), np.sign(y_hat - y)


def huber(y_hat, y, delta):
    d = y_hat - y
    far = abs(d) > delta
    return np.where(far, delta * (abs(d) - delta / 2), d * d / 2), np.where(far, delta * np.sign(d), d)


def log_cosh(y_hat, y):
    d = y_hat - y
    return np.logaddexp(d, -d) - np.log(2), np.tanh(d)


def pinball(y_hat, y, level):
    d = y_hat - y
    return np.where(d > 0, (1 - level) * d, -level * d), np.where(d > 0, 1 - level, np.where(d < 0, -level, 0))


def hinge(y_hat, y):
    sign = np.where(y > 0, 1, -1)
    return np.maximum(0, 1 - sign * y_hat), np.where(sign * y_hat < 1, -sign, 0)


def squared_hinge(y_hat, y):
    short, slope = hinge(y_hat, y)
    return short**2, 2 * short * slope


def poisson(y_hat, y, of_log, tiny):
    if of_log:
        rate = exponential(y_hat)
        return rate - y * y_hat, rate - y
    return y_hat - y * safe_log(y_hat, tiny), 1 - y / np.maximum(y_hat, tiny)


def log_sigmoid(z):
    return -np.logaddexp(0, -z)


def faded(p, rest, log_p, gamma):
    """-(1 - p)^gamma log p, and its derivative by log p."""
    ratio = np.where(rest > 0, log_p / np.where(rest > 0, rest, 1), -1)
    return -(rest**gamma) * log_p, rest**gamma * (gamma * p * ratio - 1)


def binary_focal(y_hat, y, from_logits, gamma, one, zero, tiny):
    if from_logits:
        p, rest, log_p, log_rest = (
            sigmoid_forward(y_hat),
            sigmoid_forward(-y_hat),
            log_sigmoid(y_hat),
            log_sigmoid(-y_hat),
        )
        dp, drest = rest, -p
    else:
        p, rest = y_hat, 1 - y_hat
        log_p, log_rest = safe_log(p, tiny), safe_log(rest, tiny)
        dp, drest = 1 / np.maximum(p, tiny), -1 / np.maximum(rest, tiny)
    (value, slope), (other, other_slope) = faded(p, rest, log_p, gamma), faded(rest, p, log_rest, gamma)
    return one * y * value + zero * (1 - y) * other, one * y * slope * dp + zero * (1 - y) * other_slope * drest


# Of rows.


def averaged(found, scale):
    values, slope = found
    return values.mean(axis=1), scale[:, None] * slope / slope.shape[1]


def mean_squared_error(y_hat, y, scale):
    d = double(y_hat) - y
    return (d * d).mean(axis=1), scale[:, None] * 2 * d / d.shape[1]


def weighted_cross_entropy(y_hat, from_logits, y, smoothing, weight, scale, tiny):
    p, t, rest = double(y_hat), *(double(one) * (1 - smoothing) + smoothing / 2 for one in (y, 1 - double(y)))
    if from_logits:
        values = -weight * t * log_sigmoid(p) - rest * log_sigmoid(-p)
        d = rest * sigmoid_forward(p) - weight * t * sigmoid_forward(-p)
    else:
        least = tiny * np.maximum(weight, 1)
        values = -weight * t * safe_log(p, least) - rest * safe_log(1 - p, tiny)
        d = rest / np.maximum(1 - p, tiny) - weight * t / np.maximum(p, least)
    return values.mean(axis=1), scale[:, None] / p.shape[1] * d


def binary_cross_entropy(y_hat, from_logits, y, scale, tiny):
    p, t = double(y_hat), double(y)
    if from_logits:
        values = np.maximum(p, 0) - p * t + np.log1p(exponential(-abs(p)))
        d = sigmoid_forward(p) - t
    else:
        values = -t * safe_log(p, tiny) - (1 - t) * safe_log(1 - p, tiny)
        d = (1 - t) / np.maximum(1 - p, tiny) - t / np.maximum(p, tiny)
    return values.mean(axis=1), scale[:, None] * d / p.shape[1]


def smoothed(q, smoothing):
    return q * (1 - smoothing) + smoothing / q.shape[1]


def cross_entropy(y_hat, from_logits, y, smoothing, scale, tiny):
    z, q = double(y_hat), smoothed(y, smoothing)
    if from_logits:
        log_p = log_softmax_forward(z)
        d = q.sum(axis=1, keepdims=True) * softmax_forward(z) - q
    else:
        log_p = safe_log(z, tiny)
        d = -q / np.maximum(z, tiny)
    return -(q * log_p).sum(axis=1), scale[:, None] * d


def kl_divergence(y_hat, from_logits, y, scale, tiny):
    value, dy = cross_entropy(y_hat, from_logits, y, 0, scale, tiny)
    return value + (y * np.log(np.where(y > 0, y, 1))).sum(axis=1), dy


def focal(y_hat, from_logits, y, gamma, scale, tiny):
    z = double(y_hat)
    p, log_p = (softmax_forward(z), log_softmax_forward(z)) if from_logits else (z, safe_log(z, tiny))
    value, slope = faded(p, -np.expm1(log_p) if from_logits else 1 - p, log_p, gamma)
    d = y * slope
    d = d - d.sum(axis=1, keepdims=True) * p if from_logits else d / np.maximum(p, tiny)
    return (y * value).sum(axis=1), scale[:, None] * d


def quantiles(y_hat, y, levels, scale):
    return averaged(
        pinball(double(y_hat), np.repeat(double(y), len(levels), axis=1), np.tile(levels, y.shape[1])), scale
    )


def gaussian_nll(y_hat, y, scale):
    mean, s = double(y_hat[:, ::2]), double(y_hat[:, 1::2])
    inverse = exponential(-np.maximum(s, -1400) / 2)
    z = (mean - y) * inverse
    d = np.stack([z * inverse, (1 - np.where(s > -1400, z * z, 0)) / 2], axis=2).reshape(y_hat.shape)
    return ((s + z * z) / 2).mean(axis=1), scale[:, None] * d / y.shape[1]


def cosine_similarity(y_hat, y, scale, tiny):
    values, dy = np.ones(len(y)), np.zeros(y.shape)
    for r, (a, b) in enumerate(zip(double(y_hat), double(y), strict=True)):
        if abs(a).max() >= tiny and abs(b).max() >= tiny:
            u, v = a / abs(a).max(), b / abs(b).max()
            u, v, size = u / np.linalg.norm(u), v / np.linalg.norm(v), abs(a).max() * np.linalg.norm(u)
            values[r] -= u @ v
            dy[r] = (u * (u @ v) - v) / size
    return values, scale[:, None] * dy


def loss_rows(name, from_logits, numbers, y_hat, y, labels, weights, norm):
    scale = norm * (np.ones(len(y_hat)) if weights is None else weights)
    tiny = float(np.finfo(y_hat.dtype).tiny)
    z, y = double(y_hat), double(y) if y is not None else np.eye(y_hat.shape[1])[labels]
    elementwise = {"mean_absolute_error": absolute_error, "huber": huber, "log_cosh": log_cosh, "hinge": hinge,
                   "squared_hinge": squared_hinge}  # fmt: skip
    if name in elementwise:
        return averaged(elementwise[name](z, y, *numbers), scale)
    if name == "poisson":
        return averaged(poisson(z, y, from_logits, math.sqrt(tiny)), scale)
    if name == "focal":
        *numbers, apart = numbers
        if z.shape[1] == 1 or apart:
            return averaged(binary_focal(z, y, from_logits, *numbers, tiny), scale)
        return focal(z, from_logits, y, numbers[0], scale, tiny)
    if name == "binary_cross_entropy" and numbers:
        return weighted_cross_entropy(z, from_logits, y, numbers[0], np.array(numbers[1:]), scale, tiny)
    if name == "quantile":
        return quantiles(z, y, numbers, scale)
    if name in ("mean_squared_error", "gaussian_nll"):
        return globals()[name](z, y, scale)
    if name == "cosine_similarity":
        return cosine_similarity(z, y, scale, tiny)
    return globals()[name](z, from_logits, y, *numbers, scale, tiny)


# kernels/optimizers.pxi: the new p and the new state s, by the names of the library, at step t, from 1. `it` is anything
# with the attributes of the library's optimizer.


def sgd(it, t, p, g, s):
    g = g + it.weight_decay * p
    if not it.momentum:
        return p - it.learning_rate * g, {}
    m = it.momentum * s["momentum"] + g
    return p - it.learning_rate * (g + it.momentum * m if it.nesterov else m), {"momentum": m}


def rmsprop(it, t, p, g, s):
    g = g + it.weight_decay * p
    new = {"square": it.alpha * s["square"] + (1 - it.alpha) * g * g}
    spread = new["square"]
    if it.centered:
        new["mean"] = it.alpha * s["mean"] + (1 - it.alpha) * g
        spread = np.maximum(spread - new["mean"] ** 2, 0)
    step = g / (np.sqrt(spread) + it.epsilon)
    if it.momentum:
        new["momentum"] = step = it.momentum * s["momentum"] + step
    return p - it.learning_rate * step, new


def adagrad(it, t, p, g, s):
    g = g + it.weight_decay * p
    v = s["sum"] + g * g
    return p - it.learning_rate * g / (np.sqrt(v) + it.epsilon), {"sum": v}


def adadelta(it, t, p, g, s):
    g = g + it.weight_decay * p
    v = it.rho * s["square"] + (1 - it.rho) * g * g
    step = np.sqrt(s["step"] + it.epsilon) / np.sqrt(v + it.epsilon) * g
    return p - it.learning_rate * step, {"square": v, "step": it.rho * s["step"] + (1 - it.rho) * step * step}


def moments(it, g, s):
    return {
        "mean": it.beta1 * s["mean"] + (1 - it.beta1) * g,
        "square": it.beta2 * s["square"] + (1 - it.beta2) * g * g,
    }


def adam(it, t, p, g, s, decoupled=False):
    new = moments(it, g if decoupled else g + it.weight_decay * p, s)
    v = new["square"]
    if it.amsgrad:
        new["largest"] = v = np.maximum(s["largest"], v)
    m_hat, v_hat = new["mean"] / (1 - it.beta1**t), v / (1 - it.beta2**t)
    shrink = it.learning_rate * it.weight_decay * p if decoupled else 0
    return p - shrink - it.learning_rate * m_hat / (np.sqrt(v_hat) + it.epsilon), new


def adamw(it, t, p, g, s):
    return adam(it, t, p, g, s, decoupled=True)


def nadam(it, t, p, g, s):
    def mu(i):
        return it.beta1 * (1 - 0.5 * 0.96 ** (i * it.momentum_decay))

    g = g + it.weight_decay * p
    new = moments(it, g, s)
    product = math.prod(mu(i) for i in range(1, min(t, 10_000) + 1))  # of more, it is 0
    m_hat = mu(t + 1) * new["mean"] / (1 - product * mu(t + 1)) + (1 - mu(t)) * g / (1 - product)
    return p - it.learning_rate * m_hat / (np.sqrt(new["square"] / (1 - it.beta2**t)) + it.epsilon), new


def radam(it, t, p, g, s):
    new = moments(it, g + it.weight_decay * p, s)
    m_hat, power = new["mean"] / (1 - it.beta1**t), it.beta2**t
    longest = 2 / (1 - it.beta2) - 1
    length = longest - 2 * t * power / (1 - power)
    if length <= 5:
        return p - it.learning_rate * m_hat, new
    r = math.sqrt((length - 4) * (length - 2) * longest / ((longest - 4) * (longest - 2) * length))
    return p - it.learning_rate * m_hat * r * math.sqrt(1 - power) / (np.sqrt(new["square"]) + it.epsilon), new


def lion(it, t, p, g, s):
    """Chen et al. 2023, algorithm 2."""
    c = it.beta1 * s["mean"] + (1 - it.beta1) * g
    p = p - it.learning_rate * (np.sign(c) + it.weight_decay * p)
    return p, {"mean": it.beta2 * s["mean"] + (1 - it.beta2) * g}


def rprop(it, t, p, g, s):
    turned = np.sign(g) * np.sign(s["gradient"])
    factor = np.where(turned > 0, it.eta_plus, np.where(turned < 0, it.eta_minus, 1))
    step, g = np.clip(factor * s["step"], it.step_min, it.step_max), np.where(turned < 0, 0, g)
    return p - np.sign(g) * step, {"gradient": g, "step": step}


def clip(it, g):
    norm = math.sqrt((g * g).sum())
    if it.clip_norm and norm > it.clip_norm:
        g = g * (it.clip_norm / norm)
    return np.clip(g, -it.clip_value, it.clip_value) if it.clip_value else g


def update(it, t, p, g, s):
    p, g, s = double(p), clip(it, double(g)), {name: double(vector) for name, vector in s.items()}
    p, new = globals()[type(it).__name__.lower()](it, t, p, g, s)
    if it.average:
        new["average"] = p if t == 1 else it.average * s["average"] + (1 - it.average) * p
    return p, new


# kernels/penalties.pxi: what is added to the loss, and to the gradient of w.


def penalty(l1, l2, w):
    w = double(w)
    return l1 * abs(w).sum() + l2 * (w * w).sum(), l1 * np.sign(w) + 2 * l2 * w


# kernels/random.pxi, bit for bit


def mix(seed, i):
    z = (seed + (i + 1) * 0x9E3779B97F4A7C15) % 2**64
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB % 2**64
    return z ^ (z >> 31)


def hash32(x):
    x = (x ^ (x >> 16)) * 0x21F0AAAD % 2**32
    x = (x ^ (x >> 15)) * 0xD35A2D97 % 2**32
    return x ^ (x >> 15)


def shuffle(seed, epoch, n):
    """The permutation of an epoch."""
    key, order = mix(seed, epoch), []
    for i in range(n):
        j = int((mix(key, i) >> 11) * 2.0**-53 * (i + 1))
        order.append(i)
        order[i], order[j] = order[j], i
    return order


def dropout_key(seed, step, s):
    """The key of the layer number s in a step of training."""
    return mix(mix(seed, step), s + 1000)


def dropout_mask(key, rate, from_row, rows, n):
    """Which numbers (rows, n) are kept."""
    kept = np.empty((rows, n), bool)
    for r in range(rows):
        row_key = mix(key, from_row + r)
        for i in range(n):
            bits = hash32((hash32((i + row_key) % 2**32) + (row_key >> 32)) % 2**32)
            kept[r, i] = bits >= int(rate * 2**32)
    return kept


def dropout(key, rate, from_row, x):
    return np.where(dropout_mask(key, rate, from_row, *x.shape), double(x) / (1 - rate), 0)


# kernels/passes.pxi: a network's layers in training, from x to the (z, y) of each, and from dy back to dx and the flat
# gradient. A layer here is anything with the attributes of the library's.


def forward_rows(layers, x, seed=0, step=0):
    found, y = [], double(x)
    for s, layer in enumerate(layers):
        if hasattr(layer, "weight"):
            z = dense_forward(y, layer.weight, layer.bias if layer.use_bias else 0)
        elif hasattr(layer, "rate"):
            z = dropout(dropout_key(seed, step, s), layer.rate, 0, y)
        else:
            z = y
        y = activation_forward(layer.activation.name, layer.activation.slope, z)
        found.append((z, y))
    return found


def backward_rows(layers, x, found, dy, seed=0, step=0):
    gradients = []
    for s, layer in reversed(list(enumerate(layers))):
        before = found[s - 1][1] if s else double(x)
        dz = activation_backward(layer.activation.name, layer.activation.slope, *found[s], dy)
        if hasattr(layer, "weight"):
            dy, dw, db = dense_backward(before, layer.weight, dz)
            dw += penalty(layer.l1, layer.l2, layer.weight)[1]
            gradients = [dw.ravel(), *([db] if layer.use_bias else []), *gradients]
        elif hasattr(layer, "rate"):
            dy = dropout(dropout_key(seed, step, s), layer.rate, 0, dz)
        else:
            dy = dz
    return dy, np.concatenate(gradients)


# kernels/interface.pxi


def all_finite(x):
    return all(math.isfinite(number) for number in x)


# kernels/layers.pxi: y, and from dy: dx and the gradients of the parameters.


def prelu_forward(x, slope):
    return np.where(x > 0, x, slope * double(x))


def prelu_backward(x, slope, dy):
    return np.where(x > 0, dy, slope * double(dy)), np.where(x > 0, 0, double(dy) * x).sum(axis=0)


def scale_forward(x, weight):
    return double(x) * weight


def scale_backward(x, weight, dy):
    return double(dy) * weight, (double(dy) * x).sum(axis=0)


def lerp_forward(x, other, weight):
    return (1 - double(weight)) * x + weight * double(other)


def lerp_backward(x, other, weight, dy):
    """dx, the same for the other, and the gradient of the weight."""
    return (1 - double(weight)) * dy, weight * double(dy), (double(dy) * (double(other) - x)).sum(axis=0)


# kernels/embeddings.pxi: their groups are those of the library.


def waves(x, weight, bias, row, column, quarters):
    angle = 2 * math.pi * (double(x[:, [column]]) * weight[row] + quarters / 4)
    return angle if bias is None else angle + bias[row]


def periodic_forward(x, groups, weight, bias):
    return np.hstack([
        np.cos(waves(x, weight, bias, row, column, quarters)) if n else double(x[:, [column]])
        for column, n, row, quarters in groups
    ])  # fmt: skip


def periodic_backward(x, groups, weight, bias, dy):
    """dx, and the gradients of weight and bias."""
    dx, dw, db, at = np.zeros(x.shape), np.zeros(weight.shape), np.zeros(weight.shape), 0
    for column, n, row, quarters in groups:
        if n:
            dz = -np.sin(waves(x, weight, bias, row, column, quarters)) * dy[:, at : at + n]
            dx[:, column] += (2 * math.pi * dz * weight[row]).sum(axis=1)
            dw[row] += (2 * math.pi * dz * x[:, [column]]).sum(axis=0)
            db[row] += dz.sum(axis=0)
        else:
            dx[:, column] += dy[:, at]
        at += n or 1
    return dx, dw, db


def binned(groups, edges):
    """Each group's column and its edges, if it has such."""
    at = 0
    for column, n in groups:
        yield column, edges[at : at + n + 1] if n else None
        at += n + 1 if n else 0


def shares(x, edges):
    """Of each bin, the share of it below x; the first and the last one go on beyond their outer edge."""
    found = (double(x)[:, None] - edges[:-1]) / np.diff(double(edges))
    low, high = np.zeros(found.shape[1]), np.ones(found.shape[1])
    low[0], high[-1] = -np.inf, np.inf
    return np.clip(found, low, high)


def piecewise_forward(x, groups, edges):
    return np.hstack([
        double(x[:, [column]]) if own is None else shares(x[:, column], own) for column, own in binned(groups, edges)
    ])  # fmt: skip


def piecewise_backward(x, groups, edges, dy):
    dx, at = np.zeros(x.shape), 0
    for column, own in binned(groups, edges):
        n = 1 if own is None else len(own) - 1
        slope = 1 if own is None else (
            np.eye(n)[(x[:, [column]] >= own[1:-1]).sum(axis=1)] / np.diff(double(own)))  # fmt: skip
        dx[:, column] += (dy[:, at : at + n] * slope).sum(axis=1)
        at += n
    return dx


def grouped_forward(x, groups, weight, bias):
    parts, at, row, group = [], 0, 0, 0
    for n, width in groups:
        if width:
            parts.append(dense_forward(x[:, at : at + n], weight[row : row + n], bias[group]))
            row, group = row + n, group + 1
        else:
            parts.append(double(x[:, at : at + n]))
        at += n
    return np.hstack(parts)


def grouped_backward(x, groups, weight, dy):
    """dx, and the gradients of weight and bias."""
    dx, dw, db, at, to, row = [], [], [], 0, 0, 0
    for n, width in groups:
        dz = dy[:, to : to + (width or n)]
        if width:
            found = dense_backward(x[:, at : at + n], weight[row : row + n], dz)
            dx, dw, db, row = [*dx, found[0]], [*dw, found[1]], [*db, found[2]], row + n
        else:
            dx.append(double(dz))
        at, to = at + n, to + (width or n)
    return np.hstack(dx), np.vstack(dw), np.array(db)


def norm_forward(axis, x, weight, bias, epsilon):
    """Over a row (axis 1) or over a column (axis 0)."""
    x = double(x)
    return (x - x.mean(axis, keepdims=True)) / np.sqrt(x.var(axis, keepdims=True) + epsilon) * weight + bias


def norm_backward(axis, x, weight, epsilon, dy):
    x, g = double(x), double(dy) * weight
    rstd = 1 / np.sqrt(x.var(axis, keepdims=True) + epsilon)
    x = (x - x.mean(axis, keepdims=True)) * rstd
    dx = rstd * (g - g.mean(axis, keepdims=True) - x * (g * x).mean(axis, keepdims=True))
    return dx, (dy * x).sum(axis=0), dy.sum(axis=0)


def running(momentum, kept, batch):
    return kept + momentum * (batch - kept)


def columns_forward(x, tables):
    return np.concatenate([x[:, [c]] if t is None else t[x[:, c].astype(int)] for c, t in enumerate(tables)], axis=1)


def columns_backward(x, tables, dy):
    """dx, and the gradient of each table."""
    dx, gradients, at = np.zeros(x.shape), [], 0
    for c, table in enumerate(tables):
        if table is None:
            dx[:, c] = dy[:, at]
        else:
            gradient = np.zeros(table.shape)
            np.add.at(gradient, x[:, c].astype(int), dy[:, at : at + table.shape[1]])
            gradients.append(gradient)
        at += 1 if table is None else table.shape[1]
    return dx, gradients
