"""The callback that records scikit-learn's attributes, stops early, and adapts the learning rate."""

from __future__ import annotations

from typing import Any

from .data import Rows
from .head import Head

__all__ = ["Monitor"]


class Monitor:
    """What scikit-learn does after each epoch.

    Parameters
    ----------
    mlp : MLPClassifier or MLPRegressor
    head : Head
    train : Rows
    held_out : Rows or None
        Validation data.
    """

    def __init__(self, mlp: Any, head: Head, train: Rows, held_out: Rows | None) -> None:
        self.mlp, self.head, self.held_out = mlp, head, held_out
        self.rows, self.seen, self.stopped = train.X, 0, False
        self.offset, self.val_offset = (mlp._loss_offset(rows) for rows in (train, held_out))

    def epochs_unseen(self, run: Any) -> int:
        """How many epochs may pass before it has to look: as many as must fail to improve before anything happens."""
        mlp = self.mlp
        if mlp.verbose or self.held_out is not None or mlp.learning_rate == "invscaling":
            return 1
        left: float = mlp.n_iter_no_change + 1 - mlp._no_improvement_count
        return int(min(max(1, left), run.epochs))

    def on_epoch_end(self, run: Any) -> None:
        """Look at the epochs since the last time."""
        for epoch in range(self.seen, run.epoch):
            self._record(run, epoch)
            self._adapt(run.optimizer)
            run.stop |= self.stopped
        self.seen = run.epoch

    def on_fit_end(self, run: Any) -> None:
        """Record what was done before an interruption."""
        for epoch in range(self.seen, run.epoch):
            self._record(run, epoch)

    def _record(self, run: Any, epoch: int) -> None:
        mlp, history = self.mlp, run.history
        mlp.n_iter_ += 1
        mlp.t_ += len(self.rows)
        mlp.loss_ = self.head.loss_scale * history["loss"][epoch] + self.offset
        mlp.loss_curve_.append(mlp.loss_)
        if mlp.verbose:
            print(f"Iteration {mlp.n_iter_}, loss = {mlp.loss_:.8f}")
        if self.held_out is not None:
            with mlp._averaged(self.rows):
                self._validate(run, self.held_out, history["val_loss"][epoch])
        if not mlp.early_stopping:
            mlp._no_improvement_count = mlp._no_improvement_count + 1 if mlp.loss_ > mlp.best_loss_ - mlp.tol else 0
            mlp.best_loss_ = min(mlp.best_loss_, mlp.loss_)

    def _validate(self, run: Any, held_out: Rows, loss: float) -> None:
        """Evaluate on the validation data, with the weights that the fit would end with."""
        mlp = self.mlp
        if mlp._averages:
            loss = run.network.evaluate(
                held_out.X, held_out.y, loss=self.head.loss, sample_weight=held_out.weights, threads=mlp.threads
            )["loss"]
        mlp.validation_loss_curve_.append(self.head.loss_scale * loss + self.val_offset)
        if mlp.early_stopping:
            self._judge(mlp._validation_score(run.network, held_out, -loss))

    def _judge(self, score: float) -> None:
        """Count the epochs without improvement of the validation score, and keep the best weights."""
        mlp = self.mlp
        mlp.validation_scores_.append(score)
        if mlp.verbose:
            print(f"Validation score: {score:f}")
        waits = score < mlp.best_validation_score_ + mlp.tol
        mlp._no_improvement_count = mlp._no_improvement_count + 1 if waits else 0
        if score > mlp.best_validation_score_:
            mlp.best_validation_score_ = score
            mlp._best = mlp._state()

    def _adapt(self, optimizer: Any) -> None:
        """Lower the learning rate, or stop, where it is time to."""
        mlp, scale = self.mlp, self.head.gradient_scale
        schedule = mlp.learning_rate if mlp.solver == "sgd" and mlp.optimizer is None else "constant"
        if schedule == "invscaling":
            _set_rate(optimizer, scale * mlp.learning_rate_init / (mlp.t_ + 1) ** mlp.power_t)
        if mlp._no_improvement_count <= mlp.n_iter_no_change:
            return
        what = "Validation score" if mlp.early_stopping else "Training loss"
        said = f"{what} did not improve more than tol={mlp.tol:f} for {mlp.n_iter_no_change} consecutive epochs."
        if schedule == "adaptive" and optimizer.learning_rate > 1e-6 * scale:
            _set_rate(optimizer, optimizer.learning_rate / 5)
            mlp._no_improvement_count = 0
            said += f" Setting learning rate to {optimizer.learning_rate / scale:f}"
        else:
            self.stopped = True
            said += " Stopping."
        if mlp.verbose:
            print(said)


def _set_rate(optimizer: Any, rate: float) -> None:
    """Change the learning rate: scikit-learn's velocity holds past steps, our momentum past gradients."""
    for momentum in optimizer.state.values():
        momentum *= optimizer.learning_rate / rate
    optimizer.learning_rate = rate
