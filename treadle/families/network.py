"""The network behind the `mlp` family: trained with PyTorch, kept and answered as plain arrays."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from sklearn.base import BaseEstimator

if TYPE_CHECKING:
    import torch

PATIENCE = 8
BATCH_ROWS = 256


class Network(BaseEstimator):
    """A perceptron with an embedding a category and two hidden layers.

    Args:
        cardinalities: How many codes each of the last columns of X has; the columns before them are numbers.
        n_classes: 0 for regression.
        width: Units of a hidden layer.
        dropout: Share of units left out while training.
        rate: AdamW's learning rate.
        decay: AdamW's weight decay.
        epochs: Passes over the rows; at most, when there are valid rows.
        seed: Seed of weights and batches.
    """

    def __init__(
        self,
        cardinalities: list[int],
        n_classes: int = 0,
        width: int = 64,
        dropout: float = 0.1,
        rate: float = 2e-3,
        decay: float = 1e-4,
        epochs: int = 40,
        seed: int = 0,
    ) -> None:
        self.cardinalities = cardinalities
        self.n_classes = n_classes
        self.width = width
        self.dropout = dropout
        self.rate = rate
        self.decay = decay
        self.epochs = epochs
        self.seed = seed

    def fit(
        self,
        X: np.ndarray,
        y: np.ndarray,
        valid: tuple[np.ndarray, np.ndarray] | None = None,
        score: Callable[[np.ndarray, np.ndarray], float] | None = None,
        report: Callable[[int, float], None] | None = None,
        weights: np.ndarray | None = None,
    ) -> Self:
        """Train; with valid rows, keep the best epoch and stop eight epochs after it.

        Args:
            X: Numbers, then category codes, float32 (n, columns).
            y: Target (n,).
            valid: The same for rows that only judge.
            score: Takes target and answers, lower is better.
            report: Called with each epoch's score; may raise to stop the trial.
            weights: What each row counts in the loss (n,), 1 on average; all alike when left out.
        """
        import torch

        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            with torch.random.fork_rng():
                torch.manual_seed(self.seed)
                self._train(X, y, valid, score, report, weights)
        finally:
            torch.set_num_threads(threads)
        return self

    def _train(self, X: np.ndarray, y: np.ndarray, valid: Any, score: Any, report: Any, weights: Any) -> None:
        import torch

        self.centre_ = 0.0 if self.n_classes else float(np.mean(y))
        self.scale_ = 1.0 if self.n_classes else float(np.std(y)) or 1.0
        target = torch.tensor(y if self.n_classes else (y - self.centre_) / self.scale_)
        target = target.long() if self.n_classes else target.float()
        rows = torch.tensor(np.asarray(X, dtype=np.float32))
        net = self._build(X.shape[1] - len(self.cardinalities))
        optimizer = torch.optim.AdamW(net.parameters(), lr=self.rate, weight_decay=self.decay)
        loss = (torch.nn.CrossEntropyLoss if self.n_classes else torch.nn.MSELoss)(reduction="none")
        counts = torch.ones(len(rows)) if weights is None else torch.tensor(np.asarray(weights, dtype=np.float32))
        best, self.best_epoch_, weights = np.inf, self.epochs, {}
        for epoch in range(self.epochs):
            net.train()
            for batch in torch.randperm(len(rows)).split(BATCH_ROWS):
                if len(batch) > 1:
                    optimizer.zero_grad()
                    (loss(net(rows[batch]), target[batch]) * counts[batch]).mean().backward()
                    optimizer.step()
            if valid is None:
                continue
            self._remember(net)
            reached = score(valid[1], self._answer(valid[0]))
            if reached < best:
                best, self.best_epoch_, weights = reached, epoch + 1, self.weights_
            if report is not None:
                report(epoch, reached)
            if epoch + 1 - self.best_epoch_ >= PATIENCE:
                break
        if valid is None:
            self._remember(net)
        else:
            self.weights_ = weights

    def _build(self, numbers: int) -> torch.nn.Module:
        return build_network(
            numbers, self.cardinalities, self.width, self.dropout, max(self.n_classes, 1), bool(self.n_classes)
        )

    def _remember(self, net: torch.nn.Module) -> None:
        """Keep the weights as arrays: nothing of PyTorch is stored."""
        self.weights_ = {name: tensor.detach().numpy().copy() for name, tensor in net.state_dict().items()}

    def _answer(self, X: np.ndarray) -> np.ndarray:
        """Answers in float32 arithmetic, as the ONNX computes them."""
        w = self.weights_
        numbers = X.shape[1] - len(self.cardinalities)
        parts = [np.asarray(X[:, :numbers], dtype=np.float32)]
        for index, size in enumerate(self.cardinalities):
            codes = np.clip(X[:, numbers + index].astype(np.int64), 0, size - 1)
            parts.append(w[f"tables.{index}.weight"][codes])
        hidden = np.concatenate(parts, axis=1)
        for layer in ("first", "second"):
            hidden = np.maximum(hidden @ w[f"{layer}.weight"].T + w[f"{layer}.bias"], 0)
        out = hidden @ w["last.weight"].T + w["last.bias"]
        if not self.n_classes:
            return out[:, 0].astype(np.float64) * self.scale_ + self.centre_
        shifted = np.exp(out - out.max(axis=1, keepdims=True))
        return shifted / shifted.sum(axis=1, keepdims=True)

    def predict(self, X: np.ndarray) -> np.ndarray:
        """Values (n,), or the index of the likeliest class (n,)."""
        answer = self._answer(X)
        return answer.argmax(axis=1) if self.n_classes else answer

    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        """Probabilities (n, n_classes)."""
        return self._answer(X)


def embedding_width(cardinality: int) -> int:
    """Half the number of codes, at most 16."""
    return int(min(16, (cardinality + 1) // 2))


def build_network(
    numbers: int, cardinalities: list[int], width: int, dropout: float, outputs: int, classifies: bool
) -> torch.nn.Module:
    """The module: embeddings, two ReLU layers with dropout, a linear head."""
    import torch
    from torch import nn

    class Perceptron(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.tables = nn.ModuleList([nn.Embedding(size, embedding_width(size)) for size in cardinalities])
            inputs = numbers + sum(embedding_width(size) for size in cardinalities)
            self.first, self.second = nn.Linear(inputs, width), nn.Linear(width, width)
            self.last = nn.Linear(width, outputs)
            self.drop = nn.Dropout(dropout)

        def forward(self, rows: torch.Tensor) -> torch.Tensor:
            """(n, columns) → (n, n_classes), or (n,) for regression."""
            codes = rows[:, numbers:].long()
            parts = [rows[:, :numbers], *(table(codes[:, i]) for i, table in enumerate(self.tables))]
            hidden = self.drop(torch.relu(self.first(torch.cat(parts, dim=1))))
            out = self.last(self.drop(torch.relu(self.second(hidden))))
            return out if classifies else out[:, 0]

    return Perceptron()
