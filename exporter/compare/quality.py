"""How good vectors are, measured as the field does: scipy's correlations, trec_eval's rankings, scikit-learn's probes.

A metric is a function of drawn units (pairs, queries, texts), so that it can be computed again on a bootstrap's draw.
Similarity is the cosine, as the checkpoints that poolfold reads are compared.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from exporter.compare.tasks import Labelled, Pairs, Retrieval, Task, Texts
from poolfold.errors import InputError

Matrix = npt.NDArray[np.float32]
Draw = npt.NDArray[np.int64]
Metric = Callable[[Draw], float]
"""Numbers of drawn units, with repetition -> the metric on them."""

DECIDES = {Pairs: "spearman", Retrieval: "ndcg@10", Labelled: "accuracy", Texts: "agreement"}
"""The metric that a verdict goes by."""

_FOLDS = 5
_NEIGHBOURS = 10
_SEED = 0


@dataclass(frozen=True)
class Quality:
    """The metrics of one strategy; each may be drawn again over `units` units."""

    units: int
    metrics: Mapping[str, Metric]


def unit_rows(vectors: Matrix) -> npt.NDArray[np.float64]:
    """Rows scaled to length one, float64 [n, dim]."""
    rows = vectors.astype(np.float64)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def quality(task: Task, vectors: Matrix, trained: Matrix) -> Quality:
    """The metrics of a task.

    Args:
        task: the data.
        vectors: of `task.texts`, float32 [texts, dim].
        trained: those of the strategy that the checkpoint was trained with; what bare texts are held against.
    """
    match task:
        case Pairs():
            return _pairs(task, unit_rows(vectors))
        case Retrieval():
            return _retrieval(task, unit_rows(vectors))
        case Labelled():
            return _labelled(task, unit_rows(vectors))
        case Texts():
            return _texts(unit_rows(vectors), unit_rows(trained))


def _pairs(task: Pairs, rows: npt.NDArray[np.float64]) -> Quality:
    from scipy import stats

    count = len(task.scores)
    scores = np.asarray(task.scores)
    if len(set(task.scores)) < 2:
        raise InputError("every pair has the same score, and nothing correlates with that. Expected scores that differ.")
    cosines = (rows[:count] * rows[count:]).sum(axis=1)

    def correlation(of: Callable[..., tuple[float, float]]) -> Metric:
        def metric(draw: Draw) -> float:
            # A draw may repeat one pair only: nothing varies then.
            if len(set(draw.tolist())) < 2 or np.ptp(scores[draw]) == 0:
                return float("nan")
            return float(of(cosines[draw], scores[draw])[0])

        return metric

    return Quality(count, {"spearman": correlation(stats.spearmanr), "pearson": correlation(stats.pearsonr)})


def _retrieval(task: Retrieval, rows: npt.NDArray[np.float64]) -> Quality:
    import pytrec_eval

    count, names = len(task.queries), list(task.documents)
    similar = rows[:count] @ rows[count:].T
    # trec_eval breaks ties by document name; what it is given is the order that a user would see.
    run = {
        query: {name: float(score) for name, score in zip(names, similar[number], strict=True)}
        for number, query in enumerate(task.queries)
    }
    judged = {query: dict(documents) for query, documents in task.relevant.items()}
    measures = {"ndcg@10": "ndcg_cut_10", "recall@10": "recall_10", "recall@100": "recall_100", "mrr": "recip_rank"}
    evaluator = pytrec_eval.RelevanceEvaluator(judged, {"ndcg_cut.10", "recall.10,100", "recip_rank"})
    found = evaluator.evaluate(run)
    values = {
        name: np.array([found[query][measure] for query in task.queries]) for name, measure in measures.items()
    }
    return Quality(count, {name: _mean(each) for name, each in values.items()})


def _mean(values: npt.NDArray[np.float64]) -> Metric:
    return lambda draw: float(values[draw].mean())


def _labelled(task: Labelled, rows: npt.NDArray[np.float64]) -> Quality:
    from sklearn.cluster import KMeans
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import f1_score, v_measure_score
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    labels = np.asarray(task.labels)
    classes, counts = np.unique(labels, return_counts=True)
    if len(classes) < 2 or counts.min() < 2:
        rare = ", ".join(str(name) for name in classes[counts < 2]) or "one class only"
        raise InputError(f"a probe needs two classes or more with two texts each; got {rare}. Add texts, or merge classes.")
    folds = StratifiedKFold(min(_FOLDS, int(counts.min())), shuffle=True, random_state=_SEED)
    probe = LogisticRegression(max_iter=1000, random_state=_SEED)
    predicted = cross_val_predict(probe, rows, labels, cv=folds)
    clusters = KMeans(len(classes), n_init=10, random_state=_SEED).fit_predict(rows)
    right = (predicted == labels).astype(np.float64)
    return Quality(
        len(labels),
        {
            "accuracy": _mean(right),
            "macro_f1": lambda draw: float(f1_score(labels[draw], predicted[draw], average="macro", zero_division=0)),
            "v_measure": lambda draw: float(v_measure_score(labels[draw], clusters[draw])),
        },
    )


def _texts(rows: npt.NDArray[np.float64], trained: npt.NDArray[np.float64]) -> Quality:
    similar = rows @ rows.T
    overlap = _neighbours(similar) & _neighbours(trained @ trained.T)
    wanted = min(_NEIGHBOURS, len(rows) - 1)
    others = ~np.eye(len(rows), dtype=bool)
    # Of every text the mean over the others: their own mean is that over all pairs.
    cosine = np.array([similar[i][others[i]].mean() for i in range(len(rows))])
    # Wang and Isola 2020: the logarithm of the mean of exp(-2 |x - y|^2), and |x - y|^2 = 2 - 2 cos.
    spread = np.array([np.exp(-2 * (2 - 2 * similar[i][others[i]])).mean() for i in range(len(rows))])
    return Quality(
        len(rows),
        {
            "agreement": _mean(overlap.sum(axis=1) / wanted),
            "anisotropy": _mean(cosine),
            "uniformity": lambda draw: float(np.log(spread[draw].mean())),
        },
    )


def _neighbours(similar: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """Of each text, which others are its nearest, bool [n, n]."""
    alone = similar.copy()
    np.fill_diagonal(alone, -np.inf)
    nearest = np.argsort(-alone, axis=1, kind="stable")[:, : min(_NEIGHBOURS, len(similar) - 1)]
    found = np.zeros(similar.shape, dtype=bool)
    np.put_along_axis(found, nearest, True, axis=1)
    return found
