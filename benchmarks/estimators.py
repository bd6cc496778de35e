"""The estimators beside scikit-learn's: the time of a fit and of a prediction, in the same run.

    python benchmarks/estimators.py [--repeat 5] [--only TEXT] [--threads 1|all|both]

The two take turns, with the same settings and seeds, and each gives its median; a ratio is how many times as long
scikit-learn takes. Scores stand beside the times, which are those of an epoch: the two may end after different numbers
of them. One thread means one processor, for the whole process.
"""

import statistics
import sys
import time
import timeit
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from run import processor, timed, turns


def works() -> dict[str, tuple[object, dict[str, object]]]:
    """What to load and how to train: each name says the data, and what is not a default."""
    from sklearn import datasets

    def scaled(name: str) -> object:
        def load() -> tuple[object, object]:
            x, y = getattr(datasets, f"load_{name}")(return_X_y=True)
            return (x - x.mean(0)) / (x.std(0) + 1e-9), (y - y.mean()) / y.std() if name == "diabetes" else y

        return load

    def large() -> tuple[object, object]:
        return datasets.make_classification(100_000, 50, n_informative=20, random_state=0)

    small = {
        f"{name}{said}": (scaled(name), settings)
        for name in ("breast_cancer", "digits", "wine", "diabetes")
        for said, settings in {
            "": {},
            ", early stopping": {"early_stopping": True},
            ", lbfgs": {"solver": "lbfgs"},
            ", 16-16 in batches of 16": {"hidden_layer_sizes": (16, 16), "batch_size": 16},
        }.items()
    }
    wide = {"hidden_layer_sizes": (256, 256), "max_iter": 3}
    return small | {
        "digits, float32": (lambda: [part.astype("float32") for part in scaled("digits")()], {}),
        "100,000 x 50": (large, {"max_iter": 3}),
        "100,000 x 50, 256-256": (large, wide),
    }


def measure(repeat: int, only: str) -> None:
    """All rows, in this process."""
    from sklearn import neural_network

    import backprop as bp

    config = bp.show_config()
    print(f"\n{config['threads']} thread(s), {config['isa']} ({config['register_bits']} bits), {processor()}")
    for name, (load, settings) in works().items():
        if only not in name:
            continue
        x, y = load()
        kind = "MLPRegressor" if name.startswith("diabetes") else "MLPClassifier"
        seconds: dict[str, dict[str, list[float]]] = {"fit": {}, "predict": {}}
        scores: dict[str, list[float]] = {}
        for seed in range(repeat):
            for library, module in (("backprop", bp), ("scikit-learn", neural_network)):
                model = getattr(module, kind)(random_state=seed, **settings)
                time.sleep(0.2)  # until the last library's threads no longer spin
                took = timeit.timeit(lambda m=model, x=x, y=y: m.fit(x, y), number=1)
                seconds["fit"].setdefault(library, []).append(took / model.n_iter_)
                calls = max(1, 20_000 // len(x))
                took = timeit.timeit(lambda m=model, x=x: m.predict(x), number=calls) / calls
                seconds["predict"].setdefault(library, []).append(took)
                scores.setdefault(library, []).append(model.score(x, y))
        print(f"\n{name}: score {', '.join(f'{statistics.mean(s):.3f} ({k})' for k, s in scores.items())}")
        for what, by in seconds.items():
            ours, theirs = (statistics.median(by[library]) for library in ("backprop", "scikit-learn"))
            unit = "an epoch of fit" if what == "fit" else what
            print(f"    {unit:<16} {timed(ours):>10}  scikit-learn {timed(theirs):>10}  {theirs / ours:6.2f}x")


if __name__ == "__main__":
    turns(__file__, __doc__, measure, 5)
