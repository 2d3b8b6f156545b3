# SPDX-License-Identifier: MIT
"""Train the model within a given wall-clock time.

Muon for the matrices of the blocks, AdamW for the embedding and the norms.  The learning rate warms up, stays
constant and falls linearly to zero in the last part of the time (--decay).  Checkpoints hold the weights, an
exponential average of them and the optimizer state; --resume continues from one (with other data, if wanted).

On a CPU, --processes 2 with one thread each is faster than one process with two threads: the processes meet once a
step, not in every operation.
"""

import argparse
import json
import os
import random
import time
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
import torch.nn.functional as F

from evaluate import Builtin
from model import CONFIG, Qwen3
from tokenizer import CUT

SEPARATOR = 0  # <|endoftext|>
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)


def orthogonal(matrices, steps=5):
    """Newton-Schulz iteration towards the nearest orthogonal matrices [count, rows <= cols]."""
    a, b, c = NEWTON_SCHULZ
    x = matrices.bfloat16()
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(steps):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.float()


class Muon:
    def __init__(self, params, momentum=0.95, decay=0.01):
        self.groups, self.momentum, self.decay = {}, momentum, decay
        for p in params:  # one batch of matrices per shape, wide side last
            self.groups.setdefault((min(p.shape), max(p.shape)), []).append(p)
        self.buffers = {s: torch.zeros(len(ps), *s, device=ps[0].device) for s, ps in self.groups.items()}

    @torch.no_grad()
    def step(self, rate, rank, ranks):
        for shape, params in self.groups.items():
            flip = [p.shape[0] > p.shape[1] for p in params]
            grads = torch.stack([p.grad.T if f else p.grad for p, f in zip(params, flip)])
            buffer = self.buffers[shape].lerp_(grads, 1 - self.momentum)
            grads = grads.lerp(buffer, self.momentum)
            if ranks == 1:
                updates = orthogonal(grads)
            else:  # every process does its share of the matrices
                updates = torch.zeros_like(grads)
                updates[rank::ranks] = orthogonal(grads[rank::ranks])
                dist.all_reduce(updates)
            for p, update, f in zip(params, updates, flip):
                p.mul_(1 - rate * self.decay)
                p.add_(update.T if f else update, alpha=-rate * max(1, p.shape[0] / p.shape[1]) ** 0.5)


class Mix:
    """Draws rows of length+1 tokens, filled with whole documents; the last one is cut at the end of the row."""

    def __init__(self, path, shares, length, seed):
        self.rng, self.length, self.parts = random.Random(seed), length, {}
        data = np.load(path)
        for part, share in shares.items():
            lengths = data[part + "_lengths"]
            starts = np.concatenate(([0], np.cumsum(lengths)))
            self.parts[part] = (data[part + "_tokens"], starts, [])
            shares = {**shares, part: share / lengths.mean()}
        self.names, self.weights = list(shares), list(shares.values())

    def document(self):
        tokens, starts, order = self.parts[self.rng.choices(self.names, self.weights)[0]]
        if not order:  # a new pass over this part
            order.extend(range(len(starts) - 1))
            self.rng.shuffle(order)
        i = order.pop()
        return tokens[starts[i] : starts[i + 1]].tolist()

    def row(self):
        row = [] if self.rng.random() < 0.4 else [SEPARATOR]  # some rows start without the separator
        while len(row) <= self.length:
            row += self.document()
            if row[-1] != CUT:
                row.append(SEPARATOR)
        return row[: self.length + 1]

    def batch(self, rows):
        return torch.tensor([self.row() for _ in range(rows)])


def combine(model, ranks, numbers):
    """Average the gradients, and a few numbers, over the processes."""
    if ranks > 1:
        grads = [p.grad for p in model.parameters()]
        flat = torch.cat([g.flatten() for g in grads] + [numbers]) / ranks
        dist.all_reduce(flat)
        *chunks, numbers = flat.split([g.numel() for g in grads] + [len(numbers)])
        for g, chunk in zip(grads, chunks):
            g.copy_(chunk.view_as(g))
    return numbers.tolist()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True, help="tokens.npz of tokenizer.py")
    parser.add_argument("--out", type=Path, required=True, help="folder for checkpoints and the log")
    parser.add_argument("--minutes", type=float, required=True)
    parser.add_argument("--decay", type=float, default=0.3, help="share of the time in which the rate falls to zero")
    parser.add_argument(
        "--shares", type=json.loads, default={"story": 0.2, "chat": 0.33, "talk": 0.02, "teacher": 0.05, "short": 0.4}
    )
    parser.add_argument("--rows", type=int, default=16, help="rows of 512 tokens in a step")
    parser.add_argument("--micro", type=int, default=8, help="rows computed at once")
    parser.add_argument("--rate", type=float, default=0.02, help="peak rate of Muon")
    parser.add_argument("--adam-rate", type=float, default=0.004)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--port", type=int, default=29517, help="on which the processes meet")
    parser.add_argument("--threads", type=int, default=2, help="of each process")
    parser.add_argument("--save-every", type=float, default=4, help="minutes")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--resume", type=Path, help="checkpoint to go on from")
    parser.add_argument("--init", help="model file (GGUF) whose weights to start from, without optimizer state")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    if args.processes == 1:
        train(0, args)
    else:
        torch.multiprocessing.spawn(train, (args,), nprocs=args.processes)


def train(rank, args):
    ranks = args.processes
    if ranks > 1:
        os.setsid()  # Linux shares a busy machine out by session: let each process count as one
        dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{args.port}", rank=rank, world_size=ranks)

    torch.manual_seed(args.seed)
    torch.set_num_threads(args.threads)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = (Builtin(args.init).model.train() if args.init else Qwen3(CONFIG)).to(device)
    matrices = [p for p in model.blocks.parameters() if p.ndim == 2]
    others = [p for p in model.parameters() if not any(p is m for m in matrices)]
    muon = Muon(matrices)
    adam = torch.optim.AdamW(others, betas=(0.9, 0.95), weight_decay=0.0, fused=True)
    average = {k: v.detach().clone() for k, v in model.state_dict().items()}
    step, seen = 0, 0
    if args.resume:
        state = torch.load(args.resume, map_location=device)
        model.load_state_dict(state["model"])
        adam.load_state_dict(state["adam"])
        muon.buffers, average, step, seen = state["muon"], state["average"], state["step"], state["seen"]

    def loss_of(rows):
        with torch.autocast(device, torch.bfloat16):
            logits = model(rows[:, :-1].masked_fill(rows[:, :-1] == CUT, SEPARATOR))
        return F.cross_entropy(logits.flatten(0, 1).float(), rows[:, 1:].flatten(), ignore_index=CUT)

    compute = torch.compile(loss_of) if args.compile else loss_of
    mix = Mix(args.data, args.shares, CONFIG["max_position_embeddings"], args.seed + step + 7919 * rank)
    log = (args.out / "log.txt").open("a") if rank == 0 else None
    start = saved = time.time()
    first, recent, progress = step, [], 0.0

    def save():
        torch.save(
            {
                "model": model.state_dict(),
                "average": average,
                "adam": adam.state_dict(),
                "muon": muon.buffers,
                "step": step,
                "seen": seen,
                "config": CONFIG,
            },
            args.out / "last.tmp",
        )
        (args.out / "last.tmp").rename(args.out / "last.pt")

    while progress < 1:
        warm = min(1, (step + 1) / 60) if not args.resume else 1
        factor = warm * min(1, max(0, 1 - progress) / args.decay) if args.decay else warm
        total, parts = 0.0, args.rows // args.micro // ranks
        for _ in range(parts):
            loss = compute(mix.batch(args.micro).to(device)) / parts
            loss.backward()
            total += loss.item()
        now = (time.time() - start) / (args.minutes * 60)
        progress, total = combine(model, ranks, torch.tensor([now, total]))
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        muon.step(args.rate * factor, rank, ranks)
        for group in adam.param_groups:
            group["lr"] = args.adam_rate * factor
        adam.step()
        model.zero_grad(set_to_none=True)
        step, seen = step + 1, seen + args.rows * CONFIG["max_position_embeddings"]
        with torch.no_grad():
            keep = min(0.997, step / (step + 10))
            for k, v in model.state_dict().items():
                average[k].lerp_(v, 1 - keep)
        recent.append(total)
        if rank:
            continue
        if step % 20 == 0:
            spent = time.time() - start
            line = (
                f"step {step} loss {sum(recent) / len(recent):.4f} rate {factor:.3f} "
                f"tokens {seen / 1e6:.2f}M {(step - first) * args.rows * 512 / spent:.0f}/s {spent / 60:.1f} min"
            )
            recent = []
            print(line, flush=True)
            print(line, file=log, flush=True)
        if time.time() - saved > args.save_every * 60:
            save()
            saved = time.time()
    if rank == 0:
        save()


if __name__ == "__main__":
    main()
