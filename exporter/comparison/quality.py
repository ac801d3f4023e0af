"""How good vectors are, measured as the field does: scipy's correlations, trec_eval's rankings, scikit-learn's probes.

A metric is a function of drawn units (pairs, queries, texts), so that it can be computed again on a bootstrap's draw.
Similarity is the cosine, as the checkpoints that poolfold reads are compared; probes and clusters take vectors as they
are, as MTEB does.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from exporter.comparison.tasks import Labelled, Pairs, Retrieval, Task, Texts, Triplets
from poolfold.errors import InputError

Matrix = npt.NDArray[np.float32]
Rows = npt.NDArray[np.float64]
Draw = npt.NDArray[np.int64]
Metric = Callable[[Draw], float]
"""Numbers of drawn units, with repetition -> the metric on them; NaN where it is not defined on them."""

DECIDES = {Pairs: "spearman", Retrieval: "ndcg@10", Triplets: "accuracy", Labelled: "accuracy"}
"""The metric that decides, for each kind of task that has labels."""
CORRELATIONS = ("spearman", "pearson")
"""Metrics of all units together; the others are means over units, or nearly so."""
AGREEMENT = "agreement"
"""Of texts without labels: how far a strategy's neighbours are those of the trained one. It decides nothing."""

_FOLDS = 5
_NEIGHBOURS = 10
_RANKED = 1000
"""Documents of a query that trec_eval is given, its own limit."""
_BLOCK = 256
"""Rows whose similarities to all others are held at once."""
_SEED = 42
"""MTEB's."""


@dataclass(frozen=True)
class Quality:
    """The metrics of one strategy; each may be drawn again over `units` units."""

    units: int
    metrics: Mapping[str, Metric]


def unit_rows(vectors: Matrix) -> Rows:
    """Rows scaled to length one, float64 [n, dim]."""
    rows = vectors.astype(np.float64)
    scaled: Rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return scaled


def quality(task: Task, vectors: Matrix, reference: Matrix) -> Quality:
    """The metrics of a task.

    Args:
        task: the data.
        vectors: of the texts of its parts, one after the other, float32 [texts, dim].
        reference: those of the strategy that the checkpoint was trained with; what bare texts are held against.
    """
    match task:
        case Pairs():
            return _pairs(task, unit_rows(vectors))
        case Retrieval():
            rows, count = unit_rows(vectors), len(task.queries)
            return retrieval_quality(task, blocks(rows[:count], rows[count:]))
        case Triplets():
            return _triplets(task, unit_rows(vectors))
        case Labelled():
            return _labelled(task, vectors.astype(np.float64))
        case Texts():
            return _texts(unit_rows(vectors), unit_rows(reference)[: len(task.texts)])


def cosines(task: Pairs, vectors: Matrix) -> Rows:
    """The cosine of each pair, float64 [pairs]."""
    rows = unit_rows(vectors)
    cosines: Rows = (rows[: len(task.scores)] * rows[len(task.scores) :]).sum(axis=1)
    return cosines


def _pairs(task: Pairs, rows: Rows) -> Quality:
    from scipy import stats

    count = len(task.scores)
    scores = np.asarray(task.scores)
    if len(set(task.scores)) < 2:
        raise InputError("every pair has the same score, with which nothing correlates. Expected scores that differ.")
    cosines = (rows[:count] * rows[count:]).sum(axis=1)

    def correlation(statistic: Callable[..., tuple[float, float]]) -> Metric:
        def metric(draw: Draw) -> float:
            if np.ptp(scores[draw]) == 0:
                return float("nan")
            # A strategy that puts every text in one place tells nothing of them.
            if np.ptp(cosines[draw]) == 0:
                return 0.0
            return float(statistic(cosines[draw], scores[draw])[0])

        return metric

    return Quality(count, {"spearman": correlation(stats.spearmanr), "pearson": correlation(stats.pearsonr)})


def retrieval_quality(task: Retrieval, similarities: Iterable[tuple[int, Rows]]) -> Quality:
    """The metrics of a retrieval.

    Args:
        task: the data.
        similarities: of a few queries at a time with every document: number of the first query, float64 [queries,
            documents].
    """
    import pytrec_eval

    count, names = len(task.queries), np.array(list(task.documents), dtype=object)
    run: dict[str, dict[str, float]] = {}
    queries = list(task.queries)
    for start, similar in similarities:
        ranked = nearest(similar, _RANKED)
        for query, scores, best in zip(queries[start : start + len(similar)], similar, ranked, strict=True):
            run[query] = dict(zip(names[best].tolist(), scores[best].tolist(), strict=True))
    judged = {query: dict(documents) for query, documents in task.relevant.items()}
    measures = {
        "ndcg@10": "ndcg_cut_10", "mrr@10": "recip_rank", "accuracy@1": "success_1", "accuracy@3": "success_3",
        "accuracy@10": "success_10", "recall@10": "recall_10", "recall@100": "recall_100",
    }  # fmt: skip
    evaluator = pytrec_eval.RelevanceEvaluator(judged, {"ndcg_cut.10", "recall.10,100", "recip_rank", "success.1,3,10"})
    results = evaluator.evaluate(run)
    values = {name: np.array([results[query][measure] for query in queries]) for name, measure in measures.items()}
    # trec_eval's reaches to the end of the list; the field's stops at ten.
    values["mrr@10"] = np.where(values["mrr@10"] >= 1 / 10, values["mrr@10"], 0.0)
    return Quality(count, {name: _mean(each) for name, each in values.items()})


def _triplets(task: Triplets, rows: Rows) -> Quality:
    anchors, positives, negatives = np.split(rows, 3)
    nearer = (anchors * positives).sum(axis=1) > (anchors * negatives).sum(axis=1)
    return Quality(len(task.anchors), {"accuracy": _mean(nearer.astype(np.float64))})


def _mean(values: Rows) -> Metric:
    return lambda draw: float(values[draw].mean())


def _labelled(task: Labelled, rows: Rows) -> Quality:
    from sklearn.cluster import MiniBatchKMeans
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import f1_score, v_measure_score
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    # As numbers: scikit-learn's metrics are many times slower on texts.
    classes, labels, counts = np.unique(np.asarray(task.labels), return_inverse=True, return_counts=True)
    if len(classes) < 2 or counts.min() < 2:
        rare = ", ".join(str(name) for name in classes[counts < 2])
        got = f"one text only of {rare}" if rare else f"only {classes[0]}"
        raise InputError(
            f"a probe needs two classes or more with two texts each; got {got}. Add texts, or merge classes."
        )
    folds = StratifiedKFold(min(_FOLDS, int(counts.min())), shuffle=True, random_state=_SEED)
    probe = LogisticRegression(max_iter=1000, random_state=_SEED)
    with warnings.catch_warnings():
        # A probe that has not quite converged is as good a measure, and MTEB takes it too.
        warnings.simplefilter("ignore", ConvergenceWarning)
        predicted = cross_val_predict(probe, rows, labels, cv=folds)
    clusters = MiniBatchKMeans(len(classes), batch_size=500, n_init="auto", random_state=_SEED).fit_predict(rows)
    right = (predicted == labels).astype(np.float64)
    return Quality(
        len(labels),
        {
            "accuracy": _mean(right),
            "macro_f1": lambda draw: float(f1_score(labels[draw], predicted[draw], average="macro", zero_division=0)),
            "v_measure": lambda draw: float(v_measure_score(labels[draw], clusters[draw])),
        },
    )


def _texts(rows: Rows, reference: Rows) -> Quality:
    count = len(reference)
    rows, halves = rows[:count], rows[count:]
    wanted = min(_NEIGHBOURS, count - 1)
    agreement, cosine, spread = np.empty(count), np.empty(count), np.empty(count)
    for (start, similar), (_, trained) in zip(blocks(rows, rows), blocks(reference, reference), strict=True):
        places = np.arange(len(similar))
        own = slice(start, start + len(similar))
        # Of every text over the others: their mean is then that over all pairs.
        cosine[own] = (similar.sum(axis=1) - similar[places, start + places]) / (count - 1)
        near = np.exp(-2 * (2 - 2 * similar))
        spread[own] = (near.sum(axis=1) - near[places, start + places]) / (count - 1)
        for matrix in (similar, trained):
            matrix[places, start + places] = -np.inf
        agreement[own] = (_marked(similar, wanted) & _marked(trained, wanted)).sum(axis=1) / wanted
    # Wang and Isola 2020: uniformity is the logarithm of the mean of exp(-2 |x - y|^2) over pairs of texts, alignment
    # the mean of |x - y|^2 over texts that mean alike; |x - y|^2 is 2 - 2 cos.
    apart = 2 - 2 * (halves[:count] * halves[count:]).sum(axis=1)
    return Quality(
        count,
        {
            AGREEMENT: _mean(agreement),
            "anisotropy": _mean(cosine),
            "alignment": _mean(apart),
            "uniformity": lambda draw: float(np.log(spread[draw].mean())),
        },
    )


def blocks(rows: Rows, others: Rows) -> Iterator[tuple[int, Rows]]:
    """Similarities of a few rows at a time with all others: number of the first row, float64 [rows, others]."""
    for start in range(0, len(rows), _BLOCK):
        yield start, rows[start : start + _BLOCK] @ others.T


def nearest(similar: Rows, count: int) -> npt.NDArray[np.int64]:
    """The columns of the largest similarities of each row, the largest first; of equal ones the earlier.

    Args:
        similar: float [rows, others].
        count: of columns wanted.

    Returns:
        int64 [rows, count].
    """
    return np.argsort(-similar, axis=1, kind="stable")[:, :count]


def _marked(similar: Rows, count: int) -> npt.NDArray[np.bool_]:
    """Of each row, which others are its nearest, bool of the same shape."""
    marked = np.zeros(similar.shape, dtype=bool)
    np.put_along_axis(marked, nearest(similar, count), True, axis=1)
    return marked
