"""Whole models through convcore, each result run by its own framework: what agrees, what is refused, what is wrong.

    cd tests/matrix; PYTHONPATH=<folder with torchvision, timm, transformers> python -m whole TABLE [GROUP...]

TABLE: ``matrix`` (20 trained models and 20 architectures, each from every format to every format), ``applications`` (all of
keras.applications to ONNX, PyTorch and Keras), ``written`` (models of every source to Keras; groups: torchvision, timm,
segmentation, recurrent, transformers, zoo, caffe), ``backends`` (the matrix's models as Keras files on JAX and TensorFlow;
groups: jax, tensorflow, as far as they are installed; ``PYTHON_TENSORFLOW`` is the Python of an environment that has it, with
Keras of the same version), ``onnx`` (the ONNX models of the folder ``ONNX_ZOO``, by default those of ``tests/data/zoo``, at their
own opset, at 13 and at the newest, and to PyTorch; groups: published, quantised, by onnxruntime in three ways). Each model runs
in a process of its own and is written into
``record/TABLE.json`` when it is done, so a run can be stopped and go on: ``--left`` takes what is not in the record yet,
``--stale`` what is of another commit, ``--only NAME`` a single one. ``docs/generate.py`` makes the pages of the records. The
recorded or computed output of the source's own framework judges (1e-4 of its range), of models without one convcore's own check.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import multiprocessing
import os
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "torch")
os.environ.setdefault("OMP_NUM_THREADS", "1")
warnings.filterwarnings("ignore")
sys.path.insert(0, str(Path(__file__).parents[1]))

from whole.record import commit, read, write
from whole.tables import TABLES

Job = Callable[[Path], Any]


def in_child(job: Job, seconds: float) -> Any:
    """What a job gives, computed in a process of its own: what it holds is freed, and a crash is told as one."""
    with tempfile.TemporaryDirectory(prefix="convcore-whole-") as folder:  # here: a child that is killed takes nothing away
        return _found(job, Path(folder), seconds)


def _found(job: Job, folder: Path, seconds: float) -> Any:
    here, there = multiprocessing.get_context("fork").Pipe(duplex=False)

    def run() -> None:
        try:
            there.send(job(folder))
        except Exception as e:  # noqa: BLE001 - the row says it, and the sweep goes on
            text = (f"{type(e).__name__}: {e}".splitlines() or [""])[0][:200]
            there.send({"result": "failed", "why": text})

    child = multiprocessing.get_context("fork").Process(target=run)
    child.start()
    there.close()
    try:
        found = here.recv() if here.poll(seconds) else {"result": "failed", "why": f"not done after {seconds:.0f} s"}
    except EOFError:
        child.join()
        found = {"result": "failed", "why": f"the process ended with {child.exitcode}"}
    if child.is_alive():
        child.join(5)
        child.kill()
    child.join()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", choices=TABLES)
    parser.add_argument("groups", nargs="*", metavar="GROUP")
    parser.add_argument("--only", action="append", default=[], metavar="NAME")
    parser.add_argument("--left", action="store_true", help="only models that are not in the record yet")
    parser.add_argument("--stale", action="store_true", help="only models whose row is of another commit")
    parser.add_argument("--seconds", type=float, default=1200, help="time for one model")
    args = parser.parse_args()
    now = commit()
    for module in ("torch", "keras", "onnx"):  # once for all children
        with contextlib.suppress(ImportError):
            importlib.import_module(module)
    for group, cases in TABLES[args.table](args.groups):
        for name, job in cases:
            held = read(args.table).get(group, {}).get(name)
            if args.only and name not in args.only:
                continue
            if held is not None and (args.left or (args.stale and held["commit"] == now)):
                continue
            row = in_child(job, args.seconds) | {"commit": now}
            write(args.table, group, name, row)
            sys.stderr.write(f"{group} {name}: {row}\n")


if __name__ == "__main__":
    main()
