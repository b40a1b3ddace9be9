"""PyTorch as an engine: reads requests as lines of JSON, answers with lines of JSON.

    reference.py MODEL_JSON PARAMETERS MODE THREADS SEQUENCES LENGTH DEVICE PRECISION

MODE is eager, compiled or transformers; DEVICE cpu, cuda, or auto for a GPU where there is one; PRECISION f32, or bf16 for
products in bf16 with masters in f32. The model is the one of templar: a Llama, written as leanly as PyTorch allows
(its own attention, norm and optimiser kernels), with parameters from a flat file of f32 in canonical order.
"""

import json
import resource
import sys
import time


def peak_bytes():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


import torch
import torch.nn.functional as F

idle_bytes = peak_bytes()


class Llama(torch.nn.Module):
    def __init__(self, config, flat):
        super().__init__()
        self.config = config
        self.names = []
        hidden, inner, width = config["hidden_size"], config["intermediate_size"], config["head_dim"]
        queries, keys = config["num_attention_heads"] * width, config["num_key_value_heads"] * width
        self.place, self.flat = 0, flat
        self.add("embed", config["vocab_size"], hidden)
        for layer in range(config["num_hidden_layers"]):
            self.add(f"input_norm_{layer}", hidden)
            self.add(f"q_{layer}", queries, hidden)
            self.add(f"k_{layer}", keys, hidden)
            self.add(f"v_{layer}", keys, hidden)
            self.add(f"o_{layer}", hidden, queries)
            self.add(f"middle_norm_{layer}", hidden)
            self.add(f"gate_{layer}", inner, hidden)
            self.add(f"up_{layer}", inner, hidden)
            self.add(f"down_{layer}", hidden, inner)
        self.add("norm", hidden)
        if not config["tie_word_embeddings"]:
            self.add("head", config["vocab_size"], hidden)
        assert self.place == flat.numel(), "parameters of another model"
        del self.flat
        frequencies = 1.0 / config["rope_theta"] ** (torch.arange(0, width, 2, dtype=torch.float64) / width)
        angles = torch.outer(torch.arange(config["length"], dtype=torch.float32), frequencies.float())
        angles = torch.cat((angles, angles), dim=-1)
        self.register_buffer("cosines", angles.cos())
        self.register_buffer("sines", angles.sin())

    def add(self, name, *shape):
        count = 1
        for size in shape:
            count *= size
        values = self.flat[self.place : self.place + count].reshape(shape).clone()
        self.place += count
        self.names.append(name)
        setattr(self, name, torch.nn.Parameter(values))

    def rotate(self, x):
        first, second = x.chunk(2, dim=-1)
        return x * self.cosines + torch.cat((-second, first), dim=-1) * self.sines

    def forward(self, tokens, targets):
        config, at = self.config, lambda name: getattr(self, name)
        sequences, length = tokens.shape
        hidden, width, epsilon = (config["hidden_size"],), config["head_dim"], config["rms_norm_eps"]
        x = F.embedding(tokens, self.embed)
        for i in range(config["num_hidden_layers"]):
            y = F.rms_norm(x, hidden, at(f"input_norm_{i}"), epsilon)
            q, k, v = (F.linear(y, at(f"{n}_{i}")).view(sequences, length, -1, width).transpose(1, 2) for n in "qkv")
            y = F.scaled_dot_product_attention(self.rotate(q), self.rotate(k), v, is_causal=True, enable_gqa=True)
            x = x + F.linear(y.transpose(1, 2).reshape(sequences, length, -1), at(f"o_{i}"))
            y = F.rms_norm(x, hidden, at(f"middle_norm_{i}"), epsilon)
            x = x + F.linear(F.silu(F.linear(y, at(f"gate_{i}"))) * F.linear(y, at(f"up_{i}")), at(f"down_{i}"))
        x = F.rms_norm(x, hidden, self.norm, epsilon)
        logits = F.linear(x, self.embed if config["tie_word_embeddings"] else self.head)
        return F.cross_entropy(logits.flatten(0, 1), targets.flatten())


class Trainer:
    def __init__(self, config, flat, compiled):
        self.device = config["device"]
        self.precision = torch.bfloat16 if config["precision"] == "bf16" else None
        self.model = Llama(config, flat).to(self.device)
        self.call = torch.compile(self.model) if compiled else self.model
        self.optimiser = None
        self.batch = tokens_of(config).to(self.device)

    def loss(self):
        tokens = self.batch
        with torch.autocast(self.device, dtype=self.precision, enabled=self.precision is not None):
            return self.call(tokens[:, :-1].contiguous(), tokens[:, 1:].contiguous())

    def wait(self):
        if self.device == "cuda":
            torch.cuda.synchronize()

    def train(self, steps):
        if self.optimiser is None:
            parameters = self.model.parameters()
            self.optimiser = torch.optim.AdamW(parameters, lr=3e-4, betas=(0.9, 0.95), weight_decay=0.1, fused=True)
        for _ in range(steps):
            self.optimiser.zero_grad(set_to_none=True)
            self.loss().backward()
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
            self.optimiser.step()
        self.wait()

    def evaluate(self, steps):
        with torch.no_grad():
            for _ in range(steps):
                self.loss()
        self.wait()

    def gradient(self, out):
        self.loss().backward()
        flat = torch.cat([getattr(self.model, name).grad.flatten() for name in self.model.names])
        torch.from_file(out, shared=True, size=flat.numel()).copy_(flat)


class Generator:
    """Generation by the `transformers` library, which keeps keys and values as ours does."""

    def __init__(self, config, flat):
        import transformers

        self.version = transformers.__version__
        names = "vocab_size hidden_size intermediate_size num_hidden_layers num_attention_heads num_key_value_heads"
        names += " head_dim max_position_embeddings rms_norm_eps tie_word_embeddings"
        chosen = {name: config[name] for name in names.split()}
        chosen |= {"bos_token_id": None, "eos_token_id": None, "pad_token_id": None}
        self.model = transformers.LlamaForCausalLM(transformers.LlamaConfig(**chosen)).eval()
        model, place = self.model.model, 0
        tensors = [model.embed_tokens.weight]
        for layer in model.layers:
            attention, mlp = layer.self_attn, layer.mlp
            tensors += [layer.input_layernorm.weight, attention.q_proj.weight, attention.k_proj.weight]
            tensors += [attention.v_proj.weight, attention.o_proj.weight, layer.post_attention_layernorm.weight]
            tensors += [mlp.gate_proj.weight, mlp.up_proj.weight, mlp.down_proj.weight]
        tensors += [model.norm.weight] + ([] if config["tie_word_embeddings"] else [self.model.lm_head.weight])
        with torch.no_grad():
            for tensor in tensors:
                tensor.copy_(flat[place : place + tensor.numel()].view_as(tensor))
                place += tensor.numel()
        self.prompt = tokens_of(config).flatten()

    def generate(self, tokens, texts):
        prompt = self.prompt[None, :tokens]
        for _ in range(texts):
            self.model.generate(prompt, max_new_tokens=tokens, min_new_tokens=tokens, do_sample=False)


def tokens_of(config):
    rows, columns = config["sequences"], config["length"] + 1
    place = torch.arange(rows * columns, dtype=torch.int64)
    return ((place * place * 31 + place) % config["vocab_size"]).view(rows, columns)


def main():
    model, parameters, mode, threads, sequences, length, device, precision = sys.argv[1:]
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.set_num_threads(int(threads))
    torch.manual_seed(0)
    config = json.loads(model) | {"sequences": int(sequences), "length": int(length)}
    config |= {"device": device, "precision": precision}
    with open(parameters, "rb") as file:
        flat = torch.frombuffer(bytearray(file.read()), dtype=torch.float32)
    engine = Generator(config, flat) if mode == "transformers" else Trainer(config, flat, mode == "compiled")
    del flat
    version = f"PyTorch {torch.__version__}" + ("" if device == "cpu" else f" on {torch.cuda.get_device_name()}")
    if mode == "transformers":
        version = f"transformers {engine.version}, {version}"
    say({"version": version})
    for line in sys.stdin:
        request = json.loads(line)
        what = request.pop("do")
        started = time.perf_counter()
        getattr(engine, what)(**request)
        say({"seconds": time.perf_counter() - started})


def say(answer):
    print(json.dumps(answer | {"idle_bytes": idle_bytes, "peak_bytes": peak_bytes()}), flush=True)


try:
    main()
except Exception as error:  # The other side has to hear of it on its own channel.
    say({"error": f"{type(error).__name__}: {error}"[:2000]})
    sys.exit(1)
