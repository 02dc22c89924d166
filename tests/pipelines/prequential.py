"""What a partition's learner does, written a second time and on its own: standard scaling by Welford's moments, logistic
regression by stochastic gradient descent, every event predicted before it is learned, and the metrics of those
predictions. Plain Python: slow, and easy to check against the papers."""

import math


def partition_of(key, partitions):
    """Where Java's producer, and so a pipeline's source, sends a key: murmur2 of its bytes."""
    mask, multiplier = 0xFFFFFFFF, 0x5BD1E995
    data = key.encode()
    digest = 0x9747B28C ^ len(data)
    whole = len(data) & ~3
    for at in range(0, whole, 4):
        word = int.from_bytes(data[at:at + 4], "little") * multiplier & mask
        word = (word ^ word >> 24) * multiplier & mask
        digest = digest * multiplier & mask ^ word
    if whole < len(data):
        digest = (digest ^ int.from_bytes(data[whole:], "little")) * multiplier & mask
    digest = (digest ^ digest >> 13) * multiplier & mask
    return (digest ^ digest >> 15) % 2**31 % partitions


class ScaledLogisticRegression:
    """x' = (x - mean) / deviation of what was learned so far, 0 for a feature that was constant; then
    p = sigmoid(w x' + b), and per example, with y of -1 or 1 and g = -y / (exp(y z) + 1): w -= rate g x', b -= rate g."""

    def __init__(self, features, rate):
        self.rate = rate
        self.rows = 0
        self.mean = [0.0] * features
        self.variance = [0.0] * features
        self.weights = [0.0] * features
        self.intercept = 0.0

    def scaled(self, x):
        return [(value - mean) / math.sqrt(variance) if variance > 0 else 0.0
                for value, mean, variance in zip(x, self.mean, self.variance)]

    def margin(self, inputs):
        return sum(map(float.__mul__, self.weights, inputs)) + self.intercept

    def predict(self, x):
        return 1 / (1 + math.exp(-self.margin(self.scaled(x))))

    def learn(self, x, label):
        self.rows += 1
        rows, mean, variance = self.rows, self.mean, self.variance
        for j, value in enumerate(x):
            before = value - mean[j]
            mean[j] += before / rows
            variance[j] += (before * (value - mean[j]) - variance[j]) / rows
        inputs = self.scaled(x)
        y = 1 if label else -1
        gradient = -y / (math.exp(y * self.margin(inputs)) + 1)
        self.intercept -= self.rate * gradient
        step = self.rate * gradient
        self.weights = [weight - step * value for weight, value in zip(self.weights, inputs)]


def auc(pairs):
    """ROC AUC of (score, label) pairs by ranks; equal scores count half."""
    pairs = sorted(pairs)
    rank_sum, positives, at = 0.0, 0, 0
    while at < len(pairs):
        end = at
        while end < len(pairs) and pairs[end][0] == pairs[at][0]:
            end += 1
        here = sum(label for _, label in pairs[at:end])
        rank_sum += here * (at + 1 + end) / 2
        positives += here
        at = end
    return (rank_sum - positives * (positives + 1) / 2) / (positives * (len(pairs) - positives))


def metrics(pairs):
    """Of (score, label) pairs, by the names that a report gives them. A score above one half says 1; log loss takes
    scores no nearer than 1e-15 to 0 and 1."""
    counts = {"tp": 0, "fp": 0, "tn": 0, "fn": 0}
    losses = []
    for score, label in pairs:
        counts[("t" if (score > 0.5) == bool(label) else "f") + ("p" if score > 0.5 else "n")] += 1
        losses.append(-math.log(min(max(score if label else 1 - score, 1e-15), 1 - 1e-15)))
    precision = counts["tp"] / (counts["tp"] + counts["fp"])
    recall = counts["tp"] / (counts["tp"] + counts["fn"])
    return {"rows": len(pairs), "confusion": counts, "accuracy": (counts["tp"] + counts["tn"]) / len(pairs),
            "precision": precision, "recall": recall, "f1": 2 * precision * recall / (precision + recall),
            "auc": auc(pairs), "log_loss": math.fsum(losses) / len(losses)}
