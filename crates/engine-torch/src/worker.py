"""templar's PyTorch worker: one process for each rank, started by the engine, which owns all shared state.

The engine writes every request to every rank's standard input, and reads an answer from every rank's standard output:
frames of a length (u32, little-endian) and a JSON object. Values go through files that both sides open: f32, or u32 for
tokens and indices, little-endian. A rank copies what it holds of a range of the flat buffer; no rank gathers it.
"""

import bisect
import json
import math
import os
import queue
import shutil
import struct
import sys
import threading
import time
import traceback
import warnings

STARTED = time.monotonic()
# Libraries print to standard output (NCCL does): the frames get descriptors of their own, before any import.
ANSWERS = os.fdopen(os.dup(1), "wb")
REQUESTS = os.fdopen(os.dup(0), "rb")
os.dup2(2, 1)
os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
# Ranks of one machine talk over the loopback; Gloo would look up the host's name otherwise.
os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo0" if sys.platform == "darwin" else "lo")

PROTOCOL = 1


def send(message):
    body = json.dumps(message).encode()
    ANSWERS.write(struct.pack("<I", len(body)) + body)
    ANSWERS.flush()


# Neither this worker nor what it calls needs NumPy.
warnings.filterwarnings("ignore", message=".*NumPy.*")
try:
    import torch
    import torch.distributed as dist
    import torch.nn.functional as F
    from torch import nn
    from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
    from torch.distributed.tensor import DTensor
    from torch.utils.checkpoint import checkpoint
except Exception as missing:
    traceback.print_exc()
    reason = f"{type(missing).__name__}: {missing}"
    send({"hello": PROTOCOL, "missing": reason, "python": sys.version.split()[0]})
    sys.exit(1)

IGNORED = -1  # u32::MAX, as the i32 that it is read as.
RANK, WORLD = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
LOCAL_RANK = int(os.environ.get("LOCAL_RANK", RANK))
# Rows for which logits exist at a time.
HEAD_ROWS = 1024


class Refusal(Exception):
    """A request that cannot be served; the state is as it was. Any other exception ends the worker."""


# The model. Modules are in the canonical order of parameters and have the names of Hugging Face.


def rotation(config, length, device):
    """Cosines and sines, [length, head_dim / 2], with frequency and angle rounded to f32 as Hugging Face does."""
    width, scaling = config["head_dim"], config.get("rope_scaling")
    frequency = 1.0 / config["rope_theta"] ** (torch.arange(0, width, 2, dtype=torch.int64).float() / width)
    if scaling:
        factor, low, high = scaling["factor"], scaling["low_freq_factor"], scaling["high_freq_factor"]
        context = scaling["original_max_position_embeddings"]
        wavelength = 2 * math.pi / frequency
        share = (context / wavelength - low) / (high - low)
        between = (1 - share) * frequency / factor + share * frequency
        slowed = torch.where(wavelength > context / low, frequency / factor, between)
        frequency = torch.where(wavelength < context / high, frequency, slowed)
    angle = torch.outer(torch.arange(length).float(), frequency)
    return angle.cos().to(device), angle.sin().to(device)


def rotate(x, table):
    """x: [sequences, length, heads, head_dim]; in f32, whatever x is."""
    cosine, sine = (part[:, None, :] for part in table)
    first, second = x.float().chunk(2, dim=-1)
    return torch.cat((first * cosine - second * sine, second * cosine + first * sine), dim=-1).to(x.dtype)


class Attention(nn.Module):
    def __init__(self, config):
        super().__init__()
        hidden, width, epsilon = config["hidden_size"], config["head_dim"], config["rms_norm_eps"]
        self.width = width
        queries, keys = config["num_attention_heads"] * width, config["num_key_value_heads"] * width
        self.q_proj = nn.Linear(hidden, queries, bias=False)
        self.k_proj = nn.Linear(hidden, keys, bias=False)
        self.v_proj = nn.Linear(hidden, keys, bias=False)
        self.q_norm = nn.RMSNorm(width, epsilon) if config.get("qk_norm") else None
        self.k_norm = nn.RMSNorm(width, epsilon) if config.get("qk_norm") else None
        self.o_proj = nn.Linear(queries, hidden, bias=False)

    def forward(self, x, table, mask):
        q, k, v = (w(x).unflatten(-1, (-1, self.width)) for w in (self.q_proj, self.k_proj, self.v_proj))
        if self.q_norm is not None:
            q, k = self.q_norm(q), self.k_norm(k)
        q, k, v = (part.transpose(1, 2) for part in (rotate(q, table), rotate(k, table), v))
        grouped = q.shape[1] != k.shape[1]
        mixed = F.scaled_dot_product_attention(q, k, v, mask, is_causal=mask is None, enable_gqa=grouped)
        return self.o_proj(mixed.transpose(1, 2).flatten(-2))


class Mlp(nn.Module):
    def __init__(self, config):
        super().__init__()
        hidden, inner = config["hidden_size"], config["intermediate_size"]
        self.gate_proj = nn.Linear(hidden, inner, bias=False)
        self.up_proj = nn.Linear(hidden, inner, bias=False)
        self.down_proj = nn.Linear(inner, hidden, bias=False)

    def forward(self, x):
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class Layer(nn.Module):
    recompute = False

    def __init__(self, config):
        super().__init__()
        self.input_layernorm = nn.RMSNorm(config["hidden_size"], config["rms_norm_eps"])
        self.self_attn = Attention(config)
        self.post_attention_layernorm = nn.RMSNorm(config["hidden_size"], config["rms_norm_eps"])
        self.mlp = Mlp(config)

    def run(self, x, table, mask):
        x = x + self.self_attn(self.input_layernorm(x), table, mask)
        return x + self.mlp(self.post_attention_layernorm(x))

    def forward(self, x, table, mask):
        # Within the layer, so that FSDP's hooks run once: its parameters are there for the second pass, too.
        if self.recompute and torch.is_grad_enabled():
            return checkpoint(self.run, x, table, mask, use_reentrant=False)
        return self.run(x, table, mask)


class Decoder(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.embed_tokens = nn.Embedding(config["vocab_size"], config["hidden_size"])
        self.layers = nn.ModuleList(Layer(config) for _ in range(config["num_hidden_layers"]))
        self.norm = nn.RMSNorm(config["hidden_size"], config["rms_norm_eps"])


class Llama(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.model = Decoder(config)
        tied = config["tie_word_embeddings"]
        self.lm_head = None if tied else nn.Linear(config["hidden_size"], config["vocab_size"], bias=False)

    def stream(self, inputs, table, mask):
        weight = self.model.embed_tokens.weight
        x = F.embedding(inputs.clamp(min=0), weight) * (inputs >= 0).unsqueeze(-1)
        for layer in self.model.layers:
            x = layer(x, table, mask)
        return self.model.norm(x)

    def head(self):
        return (self.model.embed_tokens if self.lm_head is None else self.lm_head).weight

    def forward(self, inputs, targets, table, mask, logits=None, scores=None):
        """The sum of the losses of each sequence, [sequences]; with `logits` [rows, vocab] only fills that, and with
        `scores` [2, rows] each target's loss, and 1 where it is the likeliest token."""
        x, head = self.stream(inputs, table, mask), self.head()
        rows, flat, parts = x.flatten(0, 1), targets.flatten(), []
        if scores is not None:
            for at in (flat != IGNORED).nonzero().flatten().split(HEAD_ROWS):
                found, wanted = F.linear(rows[at], head).float(), flat[at].long()
                scores[0, at] = F.cross_entropy(found, wanted, reduction="none")
                scores[1, at] = (found.argmax(-1) == wanted).float()
            return None

        def losses(x, targets):
            return F.cross_entropy(F.linear(x, head).float(), targets.long(), ignore_index=IGNORED, reduction="none")

        for start in range(0, len(rows), HEAD_ROWS):
            part = rows[start : start + HEAD_ROWS], flat[start : start + HEAD_ROWS]
            if logits is not None:
                logits[start : start + HEAD_ROWS].copy_(F.linear(part[0], head).float())
            elif torch.is_grad_enabled():
                parts.append(checkpoint(losses, *part, use_reentrant=False))
            else:
                parts.append(losses(*part))
        return None if logits is not None else torch.cat(parts).view(targets.shape).sum(-1)


def document_mask(inputs, end):
    """What each position sees, [sequences, 1, length, length]: what is after the last end before it, up to itself."""
    after_end = torch.zeros_like(inputs)
    after_end[:, 1:] = inputs[:, :-1] == end
    document, place = after_end.cumsum(-1), torch.arange(inputs.shape[1], device=inputs.device)
    same = document[:, :, None] == document[:, None, :]
    return (same & (place[:, None] >= place[None, :])).unsqueeze(1)


# What a rank holds of the flat buffer.


def rows_of(rows, rank, world):
    """The rows that a rank holds, by torch.chunk's rule: the last ranks may hold less, or nothing."""
    each = -(-rows // world)
    return min(rank * each, rows), min((rank + 1) * each, rows)


class Shards:
    """Ranges of the flat buffer that this rank holds: FSDP cuts each tensor by rows, so that each is one range."""

    def __init__(self, model):
        self.starts, self.parts, self.parameters, self.total = [], [], [], 0
        for _, parameter in model.named_parameters():
            shard, offset = parameter, 0
            if isinstance(parameter, DTensor):
                shard = parameter.to_local()
                first, end = rows_of(parameter.shape[0], RANK, WORLD)
                assert shard.shape[0] == end - first, "FSDP cuts tensors by another rule than this worker"
                offset = first * (parameter.numel() // parameter.shape[0])
            if shard.numel():
                self.starts.append(self.total + offset)
                self.parts.append(shard.numel())
                self.parameters.append(parameter)
            self.total += parameter.numel()

    def within(self, start, count):
        """(parameter, range of its shard, place in the flat buffer) for all that is in start .. start + count."""
        end = start + count
        for at in range(max(bisect.bisect_right(self.starts, start) - 1, 0), len(self.starts)):
            first, held = self.starts[at], self.parts[at]
            low, high = max(first, start), min(first + held, end)
            if first >= end:
                break
            if low < high:
                yield self.parameters[at], low - first, high - first, low


def local(tensor):
    return (tensor.to_local() if isinstance(tensor, DTensor) else tensor).detach().view(-1)


def mapped(path, dtype=torch.float32):
    """The values of a file. The engine sizes it before it names it, and never shrinks it: that would be a bus error."""
    return torch.from_file(path, shared=True, size=os.path.getsize(path) // 4, dtype=dtype)


# Muon. The formulas and their sources are at the top of the native engine's `muon.rs`; so are these numbers.

MOMENTUM = 0.95
POLYNOMIAL = 3.4445, -4.7750, 2.0315
ROUNDS = 5
USUAL_STEP = 0.2


def orthogonal(direction, dtype):
    """A matrix with the same singular vectors, and all singular values near 1."""
    x = (direction / (torch.linalg.vector_norm(direction, dtype=torch.float64) + 1e-7)).to(dtype)
    is_tall = x.shape[0] > x.shape[1]
    x = x.T if is_tall else x
    a, b, c = POLYNOMIAL
    for _ in range(ROUNDS):
        gram = x @ x.T
        x = a * x + (b * gram + c * (gram @ gram)) @ x
    return (x.T if is_tall else x).float().contiguous()


class Muon:
    """Moves the matrices of the layers. A rank gathers and works on every WORLD-th of them, and gives the others the
    result; so it holds three whole matrices at most, and the ranks work at the same time."""

    def __init__(self, parameters, weight_decay, dtype):
        self.parameters, self.weight_decay, self.dtype = parameters, weight_decay, dtype
        self.moves = set(parameters)
        self.clear()

    def clear(self):
        # Second moments have no use here. Somebody may write some all the same, and read them back.
        self.momenta, self.second_moments = {}, {}

    def tensor_of(self, what, parameter, makes):
        tensors = {"first_moment": self.momenta, "second_moment": self.second_moments}[what]
        if makes and parameter not in tensors:
            tensors[parameter] = torch.zeros_like(parameter)
        return tensors.get(parameter)

    def direction(self, parameter):
        """Updates the running mean; gives Nesterov's look ahead, whole on every rank."""
        momentum, gradient = self.tensor_of("first_moment", parameter, True), parameter.grad
        momentum.mul_(MOMENTUM).add_(gradient, alpha=1 - MOMENTUM)
        direction = momentum * MOMENTUM + gradient * (1 - MOMENTUM)
        return direction.full_tensor() if isinstance(direction, DTensor) else direction

    @torch.no_grad()
    def step(self, learning_rate):
        for first in range(0, len(self.parameters), WORLD):
            group, own = self.parameters[first : first + WORLD], None
            for rank, parameter in enumerate(group):
                direction = self.direction(parameter)
                if rank == RANK:
                    own = orthogonal(direction, self.dtype)
            for rank, parameter in enumerate(group):
                moved = own if rank == RANK else torch.empty(parameter.shape, device=parameter.device)
                if WORLD > 1:
                    dist.broadcast(moved, rank)
                low, high = rows_of(parameter.shape[0], RANK, WORLD) if isinstance(parameter, DTensor) else (0, None)
                size = USUAL_STEP * math.sqrt(max(parameter.shape))
                here = local(parameter)
                here.mul_(1 - learning_rate * self.weight_decay)
                here.add_(moved[low:high].flatten(), alpha=-learning_rate * size)


# The worker.


class Worker:
    model = None

    def __init__(self):
        self.tables, self.gradient_scale = {}, 1.0

    def open(self, request):
        config, self.config, self.rows = request["config"], request["config"], request["rows"]
        kind = request["device"]
        if kind == "auto":
            kind = "cuda" if torch.cuda.is_available() else "cpu"
        if kind == "cuda" and LOCAL_RANK >= torch.cuda.device_count():
            raise Refusal(f"PyTorch finds {torch.cuda.device_count()} GPUs, and rank {RANK} needs one of its own")
        self.device = torch.device(kind, LOCAL_RANK) if kind == "cuda" else torch.device(kind)
        where = {}
        if kind == "cuda":
            torch.cuda.set_device(self.device)
            where = {"device_id": self.device}
        backend = "nccl" if kind == "cuda" else "gloo"
        dist.init_process_group(backend, init_method=request["store"], rank=RANK, world_size=WORLD, **where)
        self.model = self.build(config, kind, request["precision"] == "bf16", request["compile"])
        # This list is kept: after a forward pass `parameters()` may name FSDP's gathered copies instead of the shards.
        self.shards, self.parameters = Shards(self.model), list(self.model.parameters())
        settings = request["optimiser"]
        self.clip = math.inf if settings["clip_norm"] is None else settings["clip_norm"]
        hidden = []
        if settings["hidden_matrices"] == "muon":
            named = self.model.named_parameters()
            hidden = [p for name, p in named if p.dim() > 1 and name.startswith("model.layers.")]
        dtype = torch.bfloat16 if request["precision"] == "bf16" else torch.float32
        self.muon = Muon(hidden, settings["weight_decay"], dtype)
        decayed = [p for p in self.parameters if p.dim() > 1 and p not in self.muon.moves]
        others = [p for p in self.parameters if p.dim() < 2]
        self.adamw = decayed + others
        groups = [dict(params=decayed, weight_decay=settings["weight_decay"]), dict(params=others, weight_decay=0.0)]
        betas = settings["beta1"], settings["beta2"]
        self.optimiser = torch.optim.AdamW(groups, lr=0.0, betas=betas, eps=settings["epsilon"], fused=True)
        name = torch.cuda.get_device_name(self.device) if kind == "cuda" else kind
        return {"parameters": self.shards.total, "held": sum(self.shards.parts), "device": name}

    def build(self, config, kind, is_bf16, compiles):
        with torch.device("meta"):
            model = Llama(config)
        mesh = dist.init_device_mesh(kind, (WORLD,))
        # Without the last, the rotation's tables would be rounded to bf16 on their way into a layer.
        policy = MixedPrecisionPolicy(torch.bfloat16 if is_bf16 else None, torch.float32, cast_forward_inputs=False)
        for layer in model.model.layers:
            if compiles:
                layer.compile()
            fully_shard(layer, mesh=mesh, mp_policy=policy, reshard_after_forward=WORLD > 1)
        fully_shard(model, mesh=mesh, mp_policy=policy)
        model.to_empty(device=self.device)
        with torch.no_grad():
            for parameter in model.parameters():
                local(parameter).zero_()
        return model

    def forget_copies(self):
        """To be called before parameters are touched. After a forward pass that no backward pass followed, FSDP keeps
        the gathered copies of its outer parameters and would compute with them afterwards."""
        for module in self.model.modules():
            if isinstance(module, FSDPModule):
                module.reshard()

    def state_of(self, parameter):
        """The optimiser's state of a parameter, made by hand so that moments can be written before a first step."""
        state = self.optimiser.state[parameter]
        if not state:
            step = torch.zeros((), device=self.device)
            state.update(step=step, exp_avg=torch.zeros_like(parameter), exp_avg_sq=torch.zeros_like(parameter))
        return state

    def tensor_of(self, what, parameter, makes):
        """A tensor of the flat buffers; none stands for zeros that were never touched."""
        if what == "parameters":
            return parameter
        if what == "gradient":
            if parameter.grad is None and makes:
                parameter.grad = torch.zeros_like(parameter)
            return parameter.grad
        if parameter in self.muon.moves:
            return self.muon.tensor_of(what, parameter, makes)
        if not makes and not self.optimiser.state[parameter]:
            return None
        return self.state_of(parameter)[{"first_moment": "exp_avg", "second_moment": "exp_avg_sq"}[what]]

    def read(self, request):
        """Copies what this rank holds of start .. start + count into the first `count` values of the file."""
        file, copied, start, what = mapped(request["file"]), 0, request["start"], request["what"]
        self.forget_copies()
        for parameter, low, high, place in self.shards.within(start, request["count"]):
            tensor, there = self.tensor_of(what, parameter, False), file[place - start : place - start + high - low]
            if tensor is None:
                there.zero_()
            else:
                there.copy_(local(tensor)[low:high])
            if what == "gradient" and self.gradient_scale != 1.0:
                there.div_(self.gradient_scale)
            copied += high - low
        return {"copied": copied}

    def write(self, request):
        """The way back of `read`."""
        file, copied, start, what = mapped(request["file"]), 0, request["start"], request["what"]
        self.forget_copies()
        if what == "gradient":
            self.unscale()
        for parameter, low, high, place in self.shards.within(start, request["count"]):
            there = file[place - start : place - start + high - low]
            copied += high - low
            tensor = self.tensor_of(what, parameter, bool(there.any()))
            # Zeros need no tensor: none stands for them.
            if tensor is not None:
                local(tensor)[low:high].copy_(there)
        return {"copied": copied}

    def unscale(self):
        """Undoes the clipping of the gradient that is kept."""
        if self.gradient_scale != 1.0:
            for parameter in self.parameters:
                if parameter.grad is not None:
                    local(parameter.grad).div_(self.gradient_scale)
        self.gradient_scale = 1.0

    def add_rounds(self, delta):
        """Adds to some places: rounds of ascending indices (u32), then values (f32). Gives what undoes it, and how many
        values this rank added."""
        undo, added, indices, values = [], 0, mapped(delta["file"], torch.int32), mapped(delta["file"])
        self.forget_copies()
        for start, count in delta["rounds"]:
            places = indices[start : start + count].long()
            for parameter, low, high, place in self.shards.within(0, self.shards.total):
                first, last = torch.searchsorted(places, torch.tensor([place, place + high - low])).tolist()
                if first < last:
                    at = (places[first:last] - place).to(self.device)
                    flat = local(parameter)
                    undo.append((flat, at, flat[at]))
                    flat[at] += values[start + count + first : start + count + last].to(self.device)
                    added += last - first
        return undo, added

    def add(self, request):
        return {"added": self.add_rounds(request["delta"])[1]}

    def batch(self, place, file):
        """This rank's sequences of a batch, in passes of at most `rows` positions: arguments of the model, and how many
        of their sequences are its own. All ranks have as many passes of the same shape: filled with ignored tokens."""
        start, count, length, end = place
        tokens = file[start : start + count * (length + 1)].view(count, length + 1)
        counted = int((tokens[:, 1:] != IGNORED).sum())
        each = -(-count // WORLD)
        tokens = tokens[RANK * each : (RANK + 1) * each]
        own = len(tokens)
        if own < each:
            tokens = torch.cat((tokens, torch.full((each - own, length + 1), IGNORED, dtype=torch.int32)))
        passes, step = [], max(1, self.rows // length)
        for first in range(0, each, step):
            part = tokens[first : first + step]
            passes.append((part, end, min(max(own - first, 0), len(part))))
        return passes, counted

    def arguments(self, tokens, end):
        tokens = tokens.to(self.device)
        inputs = tokens[:, :-1]
        mask = None if end < 0 else document_mask(inputs, end)
        return inputs, tokens[:, 1:], self.table(inputs.shape[1]), mask

    def table(self, length):
        if length not in self.tables:
            self.tables = {length: rotation(self.config, length, self.device)}
        return self.tables[length]

    def accumulate(self, places, file):
        """The gradient of the mean loss over all targets; gives that mean, the gradient's norm, and their number."""
        batches = [self.batch(place, file) for place in places]
        total = sum(counted for _, counted in batches)
        for parameter in self.parameters:
            parameter.grad = None
        self.gradient_scale = 1.0
        sums = torch.zeros(2, dtype=torch.float64, device=self.device)
        for passes, _ in batches:
            for tokens, end, _ in passes:
                part = self.model(*self.arguments(tokens, end)).sum()
                # FSDP takes the mean over the ranks.
                (part * (WORLD / total)).backward()
                sums[0] += part.detach()
        # In f64: over ten million values the f32 norm of a CPU is wrong by up to a thousandth, and not on all ranks alike.
        for parameter in self.parameters:
            sums[1] += torch.linalg.vector_norm(local(parameter.grad), dtype=torch.float64) ** 2
        if WORLD > 1:
            dist.all_reduce(sums)
            # Sums of many ranks may differ in their last bits; all clip by the same.
            dist.broadcast(sums, 0)
        loss, square = sums.tolist()
        return loss / total, math.sqrt(square), total

    def train(self, request):
        file = mapped(request["tokens"], torch.int32)
        loss, norm, total = self.accumulate(request["batches"], file)
        # The sums are the same on all ranks, so all of them refuse.
        if not (math.isfinite(loss) and math.isfinite(norm)):
            return {"not_finite": "the gradient" if math.isfinite(loss) else "the loss"}
        if norm > self.clip:
            self.gradient_scale = self.clip / norm
            torch._foreach_mul_([local(parameter.grad) for parameter in self.parameters], self.gradient_scale)
        for parameter in self.adamw:
            self.state_of(parameter)
        for group in self.optimiser.param_groups:
            group["lr"] = request["learning_rate"]
        self.optimiser.step()
        self.muon.step(request["learning_rate"])
        return {"loss": loss, "gradient_norm": norm, "tokens": total}

    def gradient(self, request):
        loss, norm, total = self.accumulate(request["batches"], mapped(request["tokens"], torch.int32))
        # JSON has no infinities: the engine reads a missing loss as one.
        return {"loss": loss if math.isfinite(loss) else None, "tokens": total}

    @torch.no_grad()
    def evaluate(self, request):
        """The mean loss of each of this rank's sequences, at the parameters or with a delta added for the while."""
        undo = []
        if request["delta"] is not None:
            undo, _ = self.add_rounds(request["delta"])
        losses = []
        (place,) = request["batches"]
        passes, _ = self.batch(place, mapped(request["tokens"], torch.int32))
        for tokens, end, own in passes:
            arguments = self.arguments(tokens, end)
            counted = (arguments[1] != IGNORED).sum(-1).clamp(min=1)
            losses += (self.model(*arguments).double() / counted)[:own].tolist()
        self.forget_copies()
        for flat, at, before in reversed(undo):
            flat[at] = before
        return {"losses": [loss if math.isfinite(loss) else None for loss in losses]}

    @torch.no_grad()
    def logits(self, request):
        """Fills this rank's rows of a file of [sequences, length, vocab]."""
        (place,) = request["batches"]
        _, count, length, _ = place
        file, vocabulary = mapped(request["file"]), self.config["vocab_size"]
        passes, _ = self.batch(place, mapped(request["tokens"], torch.int32))
        row, rows = RANK * -(-count // WORLD) * length, 0
        for tokens, end, own in passes:
            whole = torch.empty(len(tokens) * length, vocabulary, device=self.device)
            self.model(*self.arguments(tokens, end), whole)
            values = whole[: own * length].flatten()
            file[row * vocabulary : row * vocabulary + len(values)].copy_(values)
            row, rows = row + own * length, rows + own * length
        self.forget_copies()
        return {"rows": rows}

    @torch.no_grad()
    def score(self, request):
        """Fills this rank's sequences of a file of [2, sequences, length], of rows that have inputs and then targets."""
        (place,) = request["batches"]
        _, count, width, _ = place
        length, first, filled = (width + 1) // 2, RANK * -(-count // WORLD), 0
        file = mapped(request["file"]).view(2, count, length)
        passes, _ = self.batch(place, mapped(request["tokens"], torch.int32))
        for rows, _, own in passes:
            inputs, targets = rows.to(self.device).split(length, -1)
            scores = torch.zeros(2, inputs.numel(), device=self.device)
            self.model(inputs, targets, self.table(length), None, None, scores)
            file[:, first : first + own].copy_(scores.view(2, -1, length)[:, :own])
            first, filled = first + own, filled + own
        self.forget_copies()
        return {"sequences": filled}

    def set_step(self, request):
        for parameter in self.adamw:
            self.state_of(parameter)["step"].fill_(float(request["step"]))
        return {}

    def reset(self, request):
        self.optimiser.state.clear()
        self.muon.clear()
        return {}

    def recompute(self, request):
        for layer in self.model.model.layers:
            layer.recompute = request["recompute"]
        return {}


COMMANDS = {"open", "read", "write", "add", "train", "gradient", "evaluate", "logits", "score"}
COMMANDS |= {"set_step", "reset", "recompute"}


def listen(requests):
    """Runs beside the work: without the engine nothing is worth going on, and its files are of no use."""
    while len(head := REQUESTS.read(4)) == 4:
        body = REQUESTS.read(struct.unpack("<I", head)[0])
        requests.put(json.loads(body))
    if RANK == 0 and (folder := os.environ.get("TEMPLAR_RANKS_FOLDER")):
        shutil.rmtree(folder, ignore_errors=True)
    os._exit(0)


def main():
    worker, requests = Worker(), queue.Queue()
    threading.Thread(target=listen, args=(requests,), daemon=True).start()
    seconds = time.monotonic() - STARTED
    send({"hello": PROTOCOL, "torch": torch.__version__, "python": sys.version.split()[0], "seconds": seconds})
    while (request := requests.get())["do"] != "close":
        try:
            if request["do"] not in COMMANDS:
                raise Refusal(f"no such request: {request['do']}")
            send({"id": request["id"], "done": getattr(worker, request["do"])(request)})
        except Refusal as refusal:
            send({"id": request["id"], "refused": str(refusal)})
        except BaseException as error:
            traceback.print_exc()
            send({"id": request["id"], "failed": f"{type(error).__name__}: {error}"})
            os._exit(1)
    os._exit(0)


if __name__ == "__main__":
    main()
