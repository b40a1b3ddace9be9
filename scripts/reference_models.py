#!/usr/bin/env python3
"""Makes tiny random models with what PyTorch computes for them, for `templar model check`.

    python3 -m venv reference && reference/bin/pip install torch transformers
    reference/bin/python scripts/reference_models.py models
    for folder in models/*; do templar model check "$folder" || break; done

Each folder holds a model as `transformers` saves it, `expected.safetensors` (input_ids, logits, loss) and
`expected.json` (loss, L2 norm and first values of each gradient, a greedy continuation, some steps of AdamW and of
Muon), all computed in f32. The set
covers tied and untied heads, grouped heads, heads of another width, the scaled rotation of Llama 3, normed queries and
keys, other bases, shards, bf16 and f16.

With --logits FOLDER, compares instead: `transformers` loads the model of that folder (such as one that
`templar model export` made) and prints the largest difference of its logits from those in the folder's
`expected.safetensors`, or, where there is none, from those in the one given with --against.
"""

import argparse
import copy
import json
import pathlib

import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM, Qwen3Config, Qwen3ForCausalLM

SIZES = dict(
    vocab_size=384,
    hidden_size=48,
    intermediate_size=112,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    max_position_embeddings=256,
    rms_norm_eps=1e-5,
    bos_token_id=1,
    eos_token_id=2,
    tie_word_embeddings=False,
    attn_implementation="eager",
)
LLAMA3 = dict(
    rope_type="llama3",
    rope_theta=500000.0,
    factor=8.0,
    low_freq_factor=1.0,
    high_freq_factor=4.0,
    original_max_position_embeddings=32,
)

# name: (class, changed sizes, how it is saved)
CASES = {
    "untied": ("llama", {}, {}),
    "tied": ("llama", dict(tie_word_embeddings=True), {}),
    "one_kv_head": ("llama", dict(num_key_value_heads=1), {}),
    "all_kv_heads": ("llama", dict(num_key_value_heads=4), {}),
    "wide_heads": ("llama", dict(head_dim=32), {}),
    "narrow_heads": ("llama", dict(head_dim=6, num_attention_heads=6, num_key_value_heads=3), {}),
    "llama3_rope": ("llama", dict(rope_parameters=LLAMA3), {}),
    "other_base": ("llama", dict(rope_parameters=dict(rope_type="default", rope_theta=1e6)), {}),
    "normed_heads": ("qwen3", dict(head_dim=16), {}),
    "normed_tied": ("qwen3", dict(head_dim=24, tie_word_embeddings=True), {}),
    "sharded": ("llama", dict(num_hidden_layers=4), dict(max_shard_size="100KB")),
    "bf16": ("llama", {}, dict(dtype=torch.bfloat16)),
    "f16": ("llama", dict(tie_word_embeddings=True), dict(dtype=torch.float16)),
    "odd_sizes": ("llama", dict(hidden_size=36, intermediate_size=77, vocab_size=301, head_dim=18), {}),
    "deep": ("llama", dict(num_hidden_layers=8), {}),
}


def make(folder, kind, sizes, saving, seed):
    """Writes one model and its figures."""
    torch.manual_seed(seed)
    config_class, model_class = dict(llama=(LlamaConfig, LlamaForCausalLM), qwen3=(Qwen3Config, Qwen3ForCausalLM))[kind]
    config = config_class(**{**SIZES, **sizes})
    model = model_class(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            # Norms unlike 1, and matrices large enough that a mistake shows.
            parameter.add_(0.1 * torch.randn_like(parameter)) if parameter.dim() == 1 else parameter.mul_(3)
    dtype = saving.get("dtype", torch.float32)
    model.to(dtype).save_pretrained(folder, **{key: value for key, value in saving.items() if key != "dtype"})
    # The figures are of the stored parameters, in f32. Loaded anew: a cast there and back would round the rotation, too.
    model = model_class.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()

    tokens = torch.randint(3, config.vocab_size, (2, 48))
    logits = model(input_ids=tokens).logits
    loss = torch.nn.functional.cross_entropy(logits[:, :-1].reshape(-1, config.vocab_size), tokens[:, 1:].reshape(-1))
    loss.backward()
    gradients = {
        name: dict(
            shape=list(parameter.shape),
            norm=float(parameter.grad.double().norm()),
            first=[float(value) for value in parameter.grad.flatten()[:8]],
        )
        for name, parameter in model.named_parameters()
    }
    training = [train(model, tokens, rule) for rule in ("adamw", "muon")]
    prompt = tokens[0, :8]
    greedy = [int(token) for token in prompt]
    with torch.no_grad():
        for _ in range(24):
            greedy.append(int(model(input_ids=torch.tensor([greedy])).logits[0, -1].argmax()))
    tensors = dict(input_ids=tokens, logits=logits.detach().contiguous(), loss=loss.detach().reshape(1))
    save_file(tensors, str(folder / "expected.safetensors"))
    expected = dict(
        loss=float(loss),
        gradients=gradients,
        greedy_prompt=[int(token) for token in prompt],
        greedy_tokens=greedy,
        training=training,
    )
    (folder / "expected.json").write_text(json.dumps(expected, indent=1))


def orthogonal(update):
    """Five rounds of the polynomial that brings all singular values near 1, in f32."""
    a, b, c = 3.4445, -4.7750, 2.0315
    x = update / (update.norm() + 1e-7)
    x = x.T if update.size(0) > update.size(1) else x
    for _ in range(5):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.T if update.size(0) > update.size(1) else x


def train(model, tokens, rule, steps=8, rate=1e-2, decay=0.1, momentum=0.95):
    """Some steps on the same tokens: PyTorch's AdamW, or Muon by its formulas with AdamW for the rest."""
    model = copy.deepcopy(model)
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    hidden, matrices, norms = [], [], []
    for name, parameter in model.named_parameters():
        is_hidden = rule == "muon" and parameter.dim() == 2 and ".layers." in name
        (hidden if is_hidden else matrices if parameter.dim() == 2 else norms).append(parameter)
    groups = [dict(params=matrices, weight_decay=decay), dict(params=norms, weight_decay=0.0)]
    optimiser = torch.optim.AdamW([group for group in groups if group["params"]], lr=rate, betas=(0.9, 0.95), eps=1e-8)
    momenta = [torch.zeros_like(parameter) for parameter in hidden]
    losses = []
    for _ in range(steps):
        model.zero_grad()
        logits = model(input_ids=tokens).logits[:, :-1]
        loss = torch.nn.functional.cross_entropy(logits.reshape(-1, logits.shape[-1]), tokens[:, 1:].reshape(-1))
        losses.append(float(loss))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        with torch.no_grad():
            for parameter, mean in zip(hidden, momenta):
                mean.lerp_(parameter.grad, 1 - momentum)
                direction = orthogonal(parameter.grad.lerp(mean, momentum))
                parameter.mul_(1 - rate * decay).sub_(direction, alpha=rate * 0.2 * max(parameter.shape) ** 0.5)
    moved = {name: float((parameter - before[name]).double().norm()) for name, parameter in model.named_parameters()}
    return dict(
        hidden_matrices=rule,
        learning_rate=rate,
        beta1=0.9,
        beta2=0.95,
        epsilon=1e-8,
        weight_decay=decay,
        clip_norm=1.0,
        losses=losses,
        moved=moved,
    )


def compare(folder, against):
    """Prints how far the logits of `transformers` are from the expected ones."""
    expected = load_file(str((against or folder) / "expected.safetensors"))
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    with torch.no_grad():
        logits = model(input_ids=expected["input_ids"]).logits
    print(f"{folder}: largest difference of a logit {float((logits - expected['logits']).abs().max()):.2e}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--logits", action="store_true", help="compare a model's logits instead of making models")
    parser.add_argument("--against", type=pathlib.Path, help="folder whose expected.safetensors is compared with")
    arguments = parser.parse_args()
    if arguments.logits:
        return compare(arguments.folder, arguments.against)
    for seed, (name, (kind, sizes, saving)) in enumerate(CASES.items()):
        folder = arguments.folder / name
        folder.mkdir(parents=True, exist_ok=True)
        make(folder, kind, sizes, saving, seed)
        print(folder)


if __name__ == "__main__":
    main()
