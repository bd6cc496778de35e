"""What knows the answer by another way: central differences, and the same networks and losses in PyTorch."""

import functools

import numpy as np

import backprop as bp

# Differences.


def differences(f, x, h=6e-6):
    """The gradient of f, a number, with respect to the array x, changed in place meanwhile."""
    gradient = np.empty_like(x)
    for at in np.ndindex(x.shape):
        kept = x[at]
        x[at] = kept + h
        above = f()
        x[at] = kept - h
        gradient[at] = (above - f()) / (2 * h)
        x[at] = kept
    return gradient


def error(gradient, numeric):
    """As `check_gradients` measures it."""
    size = np.maximum(abs(gradient), abs(numeric))
    return float((abs(gradient - numeric) / np.maximum(size, max(size.max() / 100, 1e-300))).max())


# PyTorch.


def torch_activation(torch, activation):
    f, slope = torch.nn.functional, activation.slope
    return {
        "identity": lambda z: z, "sigmoid": torch.sigmoid, "tanh": torch.tanh, "relu": torch.relu,
        "leaky_relu": functools.partial(f.leaky_relu, negative_slope=slope),
        "elu": functools.partial(f.elu, alpha=slope), "selu": torch.selu, "gelu": f.gelu,
        "gelu_tanh": functools.partial(f.gelu, approximate="tanh"), "silu": f.silu, "mish": f.mish,
        "softplus": functools.partial(f.softplus, threshold=500), "softsign": f.softsign,
        "hard_sigmoid": lambda z: f.relu6(z + 3) / 6,  # f.hardsigmoid's derivative is a sixth of float32
        "hard_tanh": f.hardtanh, "exp": torch.exp, "sin": torch.sin, "cos": torch.cos,
        "softmax": functools.partial(torch.softmax, dim=1), "log_softmax": functools.partial(torch.log_softmax, dim=1),
    }[activation.name]  # fmt: skip


class InTorch:
    """The same network of PyTorch's functions: its parameters, in the order of ours; whether it trains; a call."""

    def __init__(self, torch, net):
        self.torch, self.layers, self.training = torch, list(net.layers), True
        self.own = {id(leaf): [torch.nn.Parameter(torch.tensor(getattr(leaf, name))) for name in leaf.shapes()]
                    for leaf in net.leaves.values()}  # fmt: skip
        self.running = {id(leaf): [torch.tensor(leaf.running_mean), torch.tensor(leaf.running_variance)]
                        for leaf in net.leaves.values() if isinstance(leaf, bp.BatchNorm)}  # fmt: skip
        self.parameters = [tensor for own in self.own.values() for tensor in own]

    def __call__(self, x):
        return self._sequence(self.layers, x)

    def flat(self, tensors):
        """As one vector of ours."""
        return self.torch.cat([tensor.detach().ravel() for tensor in tensors]).numpy()

    def penalty(self):
        """What the layers' l1 and l2 add to the loss."""
        leaves = [leaf for layer in self.layers for _, leaf in layer.leaves()]
        weights = [(leaf, self.own[id(leaf)][0]) for leaf in leaves if hasattr(leaf, "l1")]
        return sum(layer.l1 * w.abs().sum() + layer.l2 * w.square().sum() for layer, w in weights)

    def _sequence(self, layers, x):
        for layer in layers:
            x = self._layer(layer, x)
            if not isinstance(layer, bp.ParametricActivation):
                x = torch_activation(self.torch, layer.activation)(x)
        return x

    def _layer(self, layer, x):
        """Its output, before an activation that it has."""
        torch, own = self.torch, self.own.get(id(layer), [])
        f = torch.nn.functional
        match layer:
            case bp.Dense():
                return x @ own[0] + (own[1] if layer.use_bias else 0)
            case bp.Activation():
                return x
            case bp.Dropout() if not self.training:
                return x
            case bp.Clip():
                return x if self.training else x.clamp(layer.low, layer.high)
            case bp.Residual():
                return x + self._sequence(layer.layers, x)
            case bp.Ordered():
                z = torch.cat([self._layer(leaf, x) for _, leaf in layer.leaves()], dim=1)
                return torch.cat([z[:, :1], f.softplus(z[:, 1:])], dim=1).cumsum(dim=1)
            case bp.Concatenate():
                return torch.cat([self._sequence(branch, x) for branch in layer.branches], dim=1)
            case bp.PReLU():
                return f.prelu(x, *own)
            case bp.Scale():
                return x * own[0]
            case bp.ParametricActivation():
                return torch.lerp(x, torch_activation(torch, layer.activation)(x), own[0].expand_as(x))
            case bp.PeriodicEmbedding():
                return self._waves(layer, x)
            case bp.PiecewiseLinearEmbedding():
                return self._bins(layer, x)
            case bp.LayerNorm():
                return f.layer_norm(x, x.shape[1:], *own, layer.epsilon)
            case bp.BatchNorm():
                batch = self.training and layer.momentum > 0
                return f.batch_norm(x, *self.running[id(layer)], *own, batch, layer.momentum, layer.epsilon)
            case bp.Columns():
                tables = {column: self.own[id(table)][0] for column, table in layer.embeddings.items()}
                columns = range(x.shape[1])
                return torch.cat([tables[c][x[:, c].long()] if c in tables else x[:, [c]] for c in columns], dim=1)
        raise TypeError(f"expected a layer that is the same in PyTorch, got {layer!r}")

    def _waves(self, layer, x):
        torch, parts = self.torch, []
        (frequencies, *phases), (weight, bias) = (self.own[id(part)] for part in layer.parts)
        embedded = list(range(layer.n_in) if layer.columns is None else layer.columns)
        for column in range(layer.n_in):
            if column in embedded:
                row, own = embedded.index(column), x[:, [column]]
                angle = 2 * torch.pi * own * frequencies[row]
                waves = torch.cos(angle + phases[0][row]) if phases else torch.cat([angle.cos(), angle.sin()], 1)
                n = waves.shape[1]
                made = waves @ weight[row * n : (row + 1) * n] + bias[row]
                parts += [made, own] if phases else [torch.relu(made)]
            else:
                parts.append(x[:, [column]])
        return torch.cat(parts, dim=1)

    def _bins(self, layer, x):
        torch, parts, at, row = self.torch, [], 0, 0
        weight, bias = self.own[id(layer.parts[1])] if len(layer.parts) > 1 else (None, None)
        for column, edges in enumerate(layer.edges):
            own = x[:, [column]]
            if edges is None:
                parts.append(own)
                continue
            edges = torch.tensor(edges)
            found = (own - edges[:-1]) / edges.diff()
            low, high = torch.zeros(len(edges) - 1), torch.ones(len(edges) - 1)
            low[0], high[-1] = -torch.inf, torch.inf
            found = torch.clamp(found, low, high)
            if weight is not None:
                taken = weight[at : at + len(edges)]
                found = own * taken[-1] + bias[row] + found @ taken[:-1]
            parts.append(found)
            at, row = at + len(edges), row + 1
        return torch.cat(parts, dim=1)


def torch_rows(torch, loss, z, y):
    """The loss of each row, from PyTorch's own functions as far as it has them."""
    f, name, none = torch.nn.functional, loss.kernel, {"reduction": "none"}
    if (
        name in ("cross_entropy", "kl_divergence", "focal")
        and z.shape[1] > 1
        and not getattr(loss, "multi_label", False)
    ):
        log_p = torch.log_softmax(z, dim=1) if loss.from_logits else torch.log(z)
        if name == "kl_divergence":
            return f.kl_div(log_p, y, **none).sum(dim=1)
        if name == "cross_entropy":
            return f.cross_entropy(log_p, y, label_smoothing=loss.label_smoothing, **none)
        q = f.one_hot(y, z.shape[1]) if y.ndim == 1 else y
        return -(q * (1 - log_p.exp()) ** loss.gamma * log_p).sum(dim=1)
    if name in ("binary_cross_entropy", "focal"):
        p = torch.sigmoid(z) if loss.from_logits else z
        each = f.binary_cross_entropy_with_logits if loss.from_logits else f.binary_cross_entropy
        if name == "binary_cross_entropy":
            y = y * (1 - loss.label_smoothing) + loss.label_smoothing / 2
            if loss.from_logits:
                return each(z, y, pos_weight=torch.tensor(loss.pos_weight, dtype=torch.float64), **none).mean(dim=1)
            weight = torch.tensor(loss.pos_weight, dtype=torch.float64)
            return (weight * y * each(z, torch.ones_like(z), **none)
                    + (1 - y) * each(z, torch.zeros_like(z), **none)).mean(dim=1)  # fmt: skip
        one, zero = (1, 1) if loss.alpha is None else (loss.alpha, 1 - loss.alpha)
        ones, zeros = torch.ones_like(z), torch.zeros_like(z)
        return (
            one * y * (1 - p) ** loss.gamma * each(z, ones, **none)
            + zero * (1 - y) * p**loss.gamma * each(z, zeros, **none)
        ).mean(dim=1)
    if name in ("hinge", "squared_hinge"):
        sign = 2 * f.one_hot(y, z.shape[1]) - 1 if y.ndim == 1 else y
        return (torch.clamp(1 - sign * z, min=0) ** (2 if name == "squared_hinge" else 1)).mean(dim=1)
    if name == "quantile":
        levels = torch.tensor(loss.lower(False).numbers, dtype=torch.float64)
        d = y[:, :, None] - z.reshape(*y.shape, len(levels))
        return torch.maximum(levels * d, (levels - 1) * d).mean(dim=(1, 2))
    if name == "gaussian_nll":
        return f.gaussian_nll_loss(z[:, ::2], y, torch.exp(z[:, 1::2]), eps=1e-300, **none).mean(dim=1)
    if name == "cosine_similarity":
        return f.cosine_embedding_loss(z, y, torch.ones(len(z)), **none)
    if name == "poisson":
        return f.poisson_nll_loss(z, y, log_input=loss.log_input, eps=0, **none).mean(dim=1)
    return {
        "mean_squared_error": lambda: f.mse_loss(z, y, **none),
        "mean_absolute_error": lambda: f.l1_loss(z, y, **none),
        "huber": lambda: f.huber_loss(z, y, delta=loss.delta, **none),
        "log_cosh": lambda: torch.log(torch.cosh(z - y)),
    }[name]().mean(dim=1)


def torch_loss(torch, loss, y_hat, y, weights):
    """The same loss from PyTorch's own functions."""
    rows = torch_rows(torch, loss, y_hat, torch.tensor(y))
    weights = torch.ones(len(y)) if weights is None else torch.tensor(weights)
    total = (rows * weights).sum()
    return total / weights.sum() if loss.reduction == "mean" else total
