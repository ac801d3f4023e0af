"""What `import poolfold` costs, and what the light runtime does without."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

import poolfold
from tests.artifacts import expected, write_artifact

ROOT = Path(__file__).parents[2]
HEAVY = ("torch", "transformers", "onnx", "onnx_ir", "onnxscript", "huggingface_hub", "safetensors", "click", "rich")
BLOCK = f"""
import sys
for name in {HEAVY!r}:
    sys.modules[name] = None
"""


def run(script: str, *args: object) -> str:
    command = [sys.executable, "-c", script, *map(str, args)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout


def test_the_import_is_light_and_fast():
    script = """
import json, sys, time
start = time.process_time()
import poolfold
seconds = time.process_time() - start
print(json.dumps([seconds, sorted(sys.modules)]))
"""
    # The best of three: a busy machine can only slow it down.
    runs = [json.loads(run(script)) for _ in range(3)]
    assert min(seconds for seconds, _ in runs) < 0.5
    loaded = set(runs[0][1])
    assert "poolfold" in loaded
    assert not loaded & {*HEAVY, "onnxruntime", "tokenizers"}


def test_encode_works_where_nothing_heavy_is_installed(tmp_path: Path):
    write_artifact(tmp_path / "DIR")
    script = f"""{BLOCK}
import json, poolfold
with poolfold.load(sys.argv[1]) as encoder:
    print(json.dumps(encoder.encode(["w1 w2", "w3"]).tolist()))
"""
    assert json.loads(run(script, tmp_path / "DIR")) == expected(["w1 w2", "w3"]).tolist()


def test_the_calls_that_people_know_need_no_pytorch(tmp_path: Path):
    write_artifact(tmp_path / "DIR")
    script = f"""{BLOCK}
import asyncio, poolfold
with poolfold.load(sys.argv[1]) as encoder:
    vectors = encoder.encode_query(["w1 w2", "w3"], normalize_embeddings=True)
    print(encoder.similarity(vectors, vectors).shape, encoder.device, len(list(encoder.encode_iter(["w1"]))))
    print(asyncio.run(encoder.aencode("w1")).shape, encoder.token_counts(["w1"]), encoder.tokenize("w1").keys())
    try:
        encoder.encode("w1", convert_to_tensor=True)
    except poolfold.TargetUnavailable as error:
        print(error)
"""
    out = run(script, tmp_path / "DIR")
    assert out.startswith("(2, 2) cpu 1\n(8,) [3] dict_keys(['input_ids', 'attention_mask'])\nPyTorch is not available")


@pytest.mark.parametrize("name", HEAVY)
def test_the_block_blocks(name: str):
    with pytest.raises(subprocess.CalledProcessError) as caught:
        run(f"{BLOCK}\nimport {name}")
    assert "ModuleNotFoundError" in caught.value.stderr


def test_the_public_names_are_there():
    assert all(hasattr(poolfold, name) for name in poolfold.__all__)
    assert callable(poolfold.load)
    assert poolfold.__version__[0].isdigit()
    with pytest.raises(AttributeError, match="no attribute 'lod'"):
        _ = poolfold.lod
