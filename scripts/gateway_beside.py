"""Parts of gateway_beside.sh: a GGUF file in f32, llama.cpp's server by the package `xllamacpp`, and the comparison."""

import json
import os
import signal
import subprocess
import sys


def widen(source, target):
    """Writes a GGUF file with all tensors in f32, and everything else as it is."""
    import gguf

    reader = gguf.GGUFReader(source)
    architecture = reader.get_field("general.architecture").contents()
    writer = gguf.GGUFWriter(target, architecture)
    for name, field in reader.fields.items():
        if name.startswith("GGUF.") or name in ("general.architecture", "general.file_type"):
            continue
        kind = field.types[0]
        inner = field.types[-1] if kind == gguf.GGUFValueType.ARRAY else None
        writer.add_key_value(name, field.contents(), kind, sub_type=inner)
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    for tensor in reader.tensors:
        writer.add_tensor(tensor.name, gguf.dequantize(tensor.data, tensor.tensor_type).astype("float32"))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def ours(templar, model, threads):
    """Our gateway, until it is killed."""
    words = ["gateway", "--open", "--model", model, "--listen", "127.0.0.1:0", "--threads", threads]
    gateway = subprocess.Popen([templar, *words, "--data", "data", "--json"], stdout=subprocess.PIPE, text=True)
    print(json.loads(gateway.stdout.readline())["address"], flush=True)
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    gateway.terminate()
    gateway.wait()


def serve(model, threads):
    """llama.cpp's server with as many texts at once as our gateway writes, and no cache of prompts; until it is killed."""
    import xllamacpp

    parameters = xllamacpp.CommonParams()
    parameters.model.path = model
    parameters.hostnames, parameters.port = ["127.0.0.1"], 0
    parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = int(threads)
    parameters.n_parallel, parameters.n_ctx = 16, 16 * 1024
    parameters.cont_batching, parameters.cache_prompt, parameters.cache_ram_mib = True, False, 0
    server = xllamacpp.Server(parameters)
    print(f"{server.listening_address}/v1", flush=True)
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    # Without the server's own end, which takes seconds.
    os._exit(0)


def levels(path):
    with open(path) as file:
        events = [json.loads(line) for line in file]
    return {level["clients"]: level for event in events for level in event.get("levels", [])}


def compare(own, *others):
    """A row for each number of clients: our figures, those of each other server, and ours in parts of theirs."""
    ours = levels(own)
    print("| server | clients | tokens/s | first token ms | tokens/s, of it | first token, of it |")
    print("| --- | --- | --- | --- | --- | --- |")
    for path in (own, *others):
        for clients, level in levels(path).items():
            speed, first = level["tokens_per_second"], level["first_token_ms"]
            beside = "| | "
            if path != own:
                beside = f"| {ours[clients]['tokens_per_second'] / speed:.2f} | {ours[clients]['first_token_ms'] / first:.2f} "
            name = path.removesuffix(".json")
            print(f"| {name} | {clients} | {speed:.1f} | {first:.0f} {beside}|")


if __name__ == "__main__":
    command, *arguments = sys.argv[1:]
    {"widen": widen, "ours": ours, "serve": serve, "compare": compare}[command](*arguments)
