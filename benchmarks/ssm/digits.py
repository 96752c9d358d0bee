"""Sequential digits: the 8 x 8 images of scikit-learn as sequences of 64 numbers, 10 classes, 5 stratified splits.

    python benchmarks/ssm/digits.py [--smoke]

Writes `results/digits.json`. Beside the state-space model stand a GRU, and logistic regression on the 64 numbers.
"""

import torch
from batch import Batch, shuffled
from learning import Budget, Task
from torch import Tensor
from torch.nn.functional import cross_entropy

SPLITS = 5
BUDGET = Budget(updates=1100, batch=64, weight_decay=0.05)


def digits() -> Batch:
    """All 1,797 images, row by row, values in [-1, 1]; (1797, 64, 1)."""
    from sklearn.datasets import load_digits

    data = load_digits()
    images = torch.as_tensor(data.data, dtype=torch.float32).unsqueeze(-1) / 8 - 1
    return Batch(images, torch.as_tensor(data.target))


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
    return 100 * float(model.score(test.inputs[..., 0].numpy(), test.targets.numpy()))
