"""Sequential digits: the 8 x 8 images of scikit-learn as sequences of 64 numbers, 10 classes, 5 stratified splits.

    python benchmarks/ssm/digits.py [--smoke]

Writes `results/digits.json`. Beside the state-space model stand a GRU, and logistic regression on the 64 numbers.
"""

from dataclasses import asdict

import torch
from batch import Batch, shuffled
from learning import Budget, Contender, Task, compete
from models import s4d_model, slow_systems
from record import Findings, Journal, main
from recurrent import GRU
from torch import Tensor
from torch.nn.functional import cross_entropy

from sciml.ssm import s4d_lin

SPLITS = 5
BUDGET = Budget(updates=1100, batch=64, weight_decay=0.05)
TUNING = Budget(updates=300, batch=64, weight_decay=0.05)


def digits() -> Batch:
    """All 1,797 images, row by row, values in [-1, 1]; (1797, 64, 1)."""
    from sklearn.datasets import load_digits

    pixels, classes = load_digits(return_X_y=True)
    return Batch(torch.as_tensor(pixels, dtype=torch.float32).unsqueeze(-1) / 8 - 1, torch.as_tensor(classes))


def split(data: Batch, number: int, folds: int = SPLITS) -> tuple[Batch, Batch]:
    """Training and test part of a stratified split."""
    from sklearn.model_selection import StratifiedKFold

    parts = list(StratifiedKFold(folds, shuffle=True, random_state=0).split(data.inputs[..., 0], data.targets))
    training, test = (torch.as_tensor(part) for part in parts[number])
    return data.rows(training), data.rows(test)


def percent_right(answers: Tensor, targets: Tensor) -> float:
    """Of the classes whose answer, averaged over time, is the largest."""
    return 100 * float((answers.mean(1).argmax(-1) == targets).double().mean())


def task(training: Batch, test: Batch, batch: int) -> Task:
    return Task(
        batches=shuffled(training, batch),
        loss=lambda answers, batch: cross_entropy(answers.mean(1), batch.targets),
        validate=lambda model: 100 - percent_right(model(test), test.targets),
        score=lambda model: {"accuracy": percent_right(model(test), test.targets)},
    )


def logistic(training: Batch, test: Batch) -> float:
    """Logistic regression on standardised pixels, its penalty chosen by cross-validation on the training part."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    penalties = {"logisticregression__C": [0.003, 0.01, 0.03, 0.1, 0.3, 1.0]}
    model = GridSearchCV(make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000)), penalties, cv=5)
    model.fit(training.inputs[..., 0].numpy(), training.targets.numpy())
    said = torch.as_tensor(model.predict(test.inputs[..., 0].numpy()))
    return 100 * float((said == test.targets).double().mean())


CONTENDERS = (
    Contender(
        "S4D, both ways",
        lambda: s4d_model(1, 10, width=64, blocks=3, state=32, spectrum=s4d_lin, both_ways=True, dropout=0.2),
        rates=(4e-3, 1e-2),
        groups=slow_systems,
    ),
    Contender("GRU, both ways", lambda: GRU(1, 10, width=110, both_ways=True, dropout=0.2), rates=(3e-3, 1e-2)),
)


def run(smoke: bool, journal: Journal) -> Findings:
    """All contenders on all splits; rates are chosen on a fifth of the training part of the first split."""
    budget, tuning = (Budget(4, 16), Budget(2, 16)) if smoke else (BUDGET, TUNING)
    data = digits()
    splits = {number: split(data, number) for number in range(2 if smoke else SPLITS)}
    tasks = {number: task(*parts, budget.batch) for number, parts in splits.items()}
    tuned_on = task(*split(splits[0][0], 0), budget.batch)
    rows = compete(CONTENDERS, tasks, budget, journal, tuned_on=tuned_on, tuning=tuning)
    for number, parts in splits.items():
        rows.append({"contender": "logistic regression on pixels", "seed": number, "accuracy": logistic(*parts)})
    settings = {"budget": asdict(budget), "tuning": asdict(tuning), "splits": len(splits)}
    return Findings(rows, settings, {"accuracy": ".2f"})


if __name__ == "__main__":
    main("digits", __doc__, run)
