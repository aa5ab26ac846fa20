"""Makes tests/golden/muon: twenty Muon steps on matrices of several shapes.

    python tests/golden/make_muon.py

Made with Python 3.11, torch 2.15.0, safetensors, numpy, on the CPU, in double precision. The singular value
decomposition is PyTorch's: the polynomials are applied to the singular values of the momentum, not to the matrix, so
that the golden shares no step of the computation with a program that multiplies matrices. What is given (weights,
gradients) is rounded to float32 first.

    golden.safetensors   NAME.start (rows, cols), NAME.gradients (steps, rows, cols), NAME.final: the weights after the
                         last step, NAME.momentum: the first moment then
"""
import os

import numpy as np
import torch
from safetensors.numpy import save_file

HERE = os.path.dirname(os.path.abspath(__file__))
STEPS, RATE, DECAY, MOMENTUM, SCALE = 20, 2e-2, 0.1, 0.9, 0.2
SIMPLE, NEAR_ONE = (3.4445, -4.7750, 2.0315), (2.0, -1.5, 0.5)
POLAR = [(8.2051, -22.9019, 16.4607), (4.0664, -2.8612, 0.5184), (3.9096, -2.8234, 0.5250), (3.2856, -2.4153, 0.4853),
         (2.2779, -1.6198, 0.3985), (1.8726, -1.2307, 0.3585), (1.8564, -1.2132, 0.3568), (1.875, -1.25, 0.375)]
# name: rows, columns, blocks of rows, nesterov, the polynomials
CASES = {
    "wide": (12, 40, 1, True, [SIMPLE] * 5),
    "tall": (40, 12, 1, True, [SIMPLE] * 5),
    "heads": (24, 20, 4, True, [SIMPLE] * 5),
    "plain_momentum": (16, 16, 1, False, [SIMPLE] * 5),
    "polar_express": (12, 40, 1, True, [POLAR[min(i, len(POLAR) - 1)] for i in range(9)]),
    "deepseek": (40, 12, 1, True, [SIMPLE] * 8 + [NEAR_ONE] * 2),
}


def direction(u, polynomials):
    left, values, right = torch.linalg.svd(u, full_matrices=False)
    values = values / (torch.linalg.norm(u) + 1e-7)
    for a, b, c in polynomials:
        values = a * values + b * values**3 + c * values**5
    return left @ torch.diag(values) @ right


def main():
    torch.set_num_threads(1)
    tensors = {}
    for name, (rows, cols, blocks, nesterov, polynomials) in CASES.items():
        random = np.random.Generator(np.random.PCG64(len(name)))
        start = random.standard_normal((rows, cols)).astype(np.float32)
        # A few directions have most of the gradient, as in training.
        gradients = random.standard_normal((STEPS, rows, cols)) * 0.3
        gradients += np.einsum("r,c->rc", random.standard_normal(rows), random.standard_normal(cols))[None]
        gradients = gradients.astype(np.float32)
        w, m = torch.tensor(start, dtype=torch.float64), torch.zeros(rows, cols, dtype=torch.float64)
        height = rows // blocks
        for g in torch.tensor(gradients, dtype=torch.float64):
            m = MOMENTUM * m + (1 - MOMENTUM) * g
            u = MOMENTUM * m + (1 - MOMENTUM) * g if nesterov else m
            x = torch.cat([direction(u[i * height : (i + 1) * height], polynomials) for i in range(blocks)])
            w = w - RATE * DECAY * w - RATE * SCALE * max(height, cols) ** 0.5 * x
        tensors |= {f"{name}.start": start, f"{name}.gradients": gradients,
                    f"{name}.final": w.numpy().astype(np.float32), f"{name}.momentum": m.numpy().astype(np.float32)}
    os.makedirs(os.path.join(HERE, "muon"), exist_ok=True)
    save_file(dict(sorted(tensors.items())), os.path.join(HERE, "muon", "golden.safetensors"), metadata={"format": "pt"})
    print(f"muon: {len(CASES)} cases of {STEPS} steps")


if __name__ == "__main__":
    main()
