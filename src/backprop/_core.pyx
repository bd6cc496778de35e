# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
# cython: nonecheck=False, embedsignature=False, freethreading_compatible=True, auto_pickle=False
"""The compiled heart of backprop: kernels, and the engine that runs them without the interpreter.

Its text is kernels/*.pxi, in this order. Notation, everywhere: B rows (a batch), I inputs, O outputs;

    x (B,I), w (I,O), b (O,), z = x w + b, y = f(z);  dv is the gradient of the loss with respect to v.

Kernels come in pairs, _forward and _backward; inputs are const, outputs come last, nothing allocates, and each body is
written once for float and double (`real`). `ld` is the distance between the rows of a matrix. Python reaches only
the classes from plan.pxi on and the functions of interface.pxi, which check every size.
"""

cimport cython

include "kernels/types.pxi"
include "kernels/elementary.pxi"
include "kernels/reductions.pxi"

include "kernels/matmul.pxi"
include "kernels/dense.pxi"
include "kernels/activations.pxi"
include "kernels/slopes.pxi"
include "kernels/losses.pxi"
include "kernels/optimizers.pxi"
include "kernels/penalties.pxi"
include "kernels/random.pxi"

include "kernels/signals.pxi"
include "kernels/graph.pxi"
include "kernels/layers.pxi"
include "kernels/embeddings.pxi"
include "kernels/passes.pxi"
include "kernels/gradients.pxi"
include "kernels/tiny.pxi"
include "kernels/training.pxi"

include "kernels/memory.pxi"
include "kernels/plan.pxi"
include "kernels/blocks.pxi"
include "kernels/predict.pxi"
include "kernels/tape.pxi"
include "kernels/rule.pxi"
include "kernels/training_object.pxi"

include "kernels/pullback.pxi"
include "kernels/derivatives.pxi"
include "kernels/factorization.pxi"

include "kernels/interface.pxi"
