"""Loads one side of an update for asking. Imported once a request misses the cache, because torch is slow to import.

Only what was fingerprinted is loaded: the tensors are taken from the files the checkpoint's headers were read from and
handed over by name, so no loader chooses files by itself; config.json chooses among the library's own architectures.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
import transformers
from safetensors import safe_open

from weightgate.lineage.errors import InputError, MissingExtraError, WeightgateError
from weightgate.probes.engine.numerics import Numerics
from weightgate.probes.engine.requests import Side

if TYPE_CHECKING:
    from weightgate.lineage.weights.checkpoint import Checkpoint
    from weightgate.lineage.weights.update import Update

_SHARE_OF_FREE_MEMORY = 0.8


class Loader:
    """Loads the sides of an update; parent and adapter share one copy of the weights where that is safe."""

    def __init__(self, update: Update, numerics: Numerics) -> None:
        self._update = update
        self._numerics = numerics
        self._base: Any = None

    def load(self, side: Side) -> Any:
        """The model of one side, ready to run: a ``PreTrainedModel``, with the adapter's layers in place.

        Raises:
            InputError: the architecture is unknown or needs code of its own, tensors are missing, left over in an
                adapter or of the wrong shape, or the adapter is of a kind that cannot be run safely.
            MissingExtraError: the child is an adapter and peft is not installed.
        """
        checkpoint = self._update.child if side == "child" else self._update.parent
        try:
            with _quiet():
                if checkpoint.kind == "adapter":
                    return _with_adapter(self._base_for(checkpoint), checkpoint)
                if side == "parent" and self._update.child.kind == "adapter":
                    return self._shared_base()
                return _full_model(checkpoint, self._numerics)
        except WeightgateError:
            raise
        except Exception as error:  # hostile configurations can make the library raise anything
            raise InputError(
                f"{checkpoint.path}: the {side} cannot be loaded: {type(error).__name__}: {str(error)[:500]}",
                remedy="check that transformers can load it with trust_remote_code=False",
            ) from error

    def _base_for(self, adapter: Checkpoint) -> Any:
        """What the adapter is put on: modules of its own, over the parent's weights where it leaves these alone."""
        if not _leaves_weights_alone(adapter):
            return _full_model(self._update.parent, self._numerics)
        base = self._shared_base()
        if hasattr(base, "hf_device_map"):  # its modules carry hooks that name each other
            return _full_model(self._update.parent, self._numerics)
        return _same_weights(base)

    def _shared_base(self) -> Any:
        if self._base is None:
            self._base = _full_model(self._update.parent, self._numerics)
        return self._base


def load_model(update: Update, side: Side, numerics: Numerics) -> Any:
    """The model of one side by itself; raises as `Loader.load`."""
    return Loader(update, numerics).load(side)


def _leaves_weights_alone(adapter: Checkpoint) -> bool:
    """Whether peft adds layers beside the base's weights only: some initialisations of LoRA rewrite them."""
    config = adapter.adapter_config or {}
    plain = config.get("init_lora_weights", True) in (True, False, "gaussian")
    return plain and str(config.get("peft_type", "")).upper() == "LORA"


def _same_weights(model: Any) -> Any:
    """A copy of a model's modules that holds the very tensors of the model."""
    tensors = itertools.chain(model.parameters(), model.buffers())
    return copy.deepcopy(model, {id(tensor): tensor for tensor in tensors})


def _full_model(checkpoint: Checkpoint, numerics: Numerics) -> Any:
    config = transformers.AutoConfig.from_pretrained(
        str(checkpoint.path), local_files_only=True, trust_remote_code=False
    )
    architecture = _architecture(checkpoint, config)
    model, loaded = architecture.from_pretrained(
        None,
        config=config,
        state_dict=_tensors(checkpoint),
        dtype=getattr(torch, numerics.dtype),
        attn_implementation="sdpa" if getattr(architecture, "_supports_sdpa", False) else "eager",
        output_loading_info=True,
        **_placement(checkpoint, numerics),
    )
    if missing := sorted(loaded["missing_keys"]):
        raise InputError(
            f"{checkpoint.path}: lacks {len(missing)} tensors of a {architecture.__name__}, first {missing[0]!r}",
            remedy="save the whole model; tensors that are not there would be filled with noise",
        )
    return model.to("mps").eval() if numerics.device == "mps" else model.eval()


def _architecture(checkpoint: Checkpoint, config: Any) -> Any:
    architectures = transformers.MODEL_FOR_CAUSAL_LM_MAPPING
    if type(config) not in architectures:
        raise InputError(
            f"{checkpoint.path}: transformers knows no causal language model of type {config.model_type!r}",
            remedy="models that need code of their own are not run; only their weights and files are audited",
        )
    found = architectures[type(config)]
    return found[0] if isinstance(found, tuple) else found


def _tensors(checkpoint: Checkpoint) -> dict[str, torch.Tensor]:
    tensors: dict[str, torch.Tensor] = {}
    for file in sorted({info.file for info in checkpoint.tensors.values()}):
        with safe_open(file, framework="pt") as opened:
            names = sorted(set(opened.keys()) & checkpoint.tensors.keys())
            tensors |= {name: opened.get_tensor(name) for name in names}
    if absent := sorted(checkpoint.tensors.keys() - tensors.keys()):
        raise InputError(
            f"{checkpoint.path}: tensor {absent[0]!r} is gone since it was opened", remedy="leave the files alone"
        )
    return tensors


def _placement(weights: Checkpoint, numerics: Numerics) -> dict[str, Any]:
    """Keyword arguments that put the model on one GPU, or spread it where it does not fit."""
    if numerics.device != "cuda":
        return {}
    needed = weights.parameters * getattr(torch, numerics.dtype).itemsize
    fits = needed < _SHARE_OF_FREE_MEMORY * torch.cuda.mem_get_info(0)[0]
    return {"device_map": {"": 0} if fits else "auto"}


def _with_adapter(base: Any, adapter: Checkpoint) -> Any:
    try:
        import peft
    except ImportError as error:
        raise MissingExtraError("an adapter", "probes") from error
    _refuse_unsafe(adapter)
    wrapped = peft.PeftModel.from_pretrained(base, str(adapter.path))
    # peft drops tensors it has no place for without a word: the child would then be scored as if it were the parent.
    placed = peft.set_peft_model_state_dict(wrapped, _tensors(adapter))
    missing = [name for name in placed.missing_keys if ".default" in name]
    if astray := sorted([*placed.unexpected_keys, *missing]):
        raise InputError(
            f"{adapter.path}: does not fit the parent: {len(astray)} tensors have no place or are missing, "
            f"the first is {astray[0]!r}",
            remedy="give the parent this adapter was trained on",
        )
    return wrapped.get_base_model().eval()


def _refuse_unsafe(adapter: Checkpoint) -> None:
    config = adapter.adapter_config or {}
    kind = str(config.get("peft_type", "")).upper()
    if kind == "XLORA" or config.get("megatron_config") is not None:
        raise InputError(
            f"{adapter.path}: a {kind} adapter whose configuration names other files or modules to load",
            remedy="merge it into the model and give the merged model as the child",
        )
    if config.get("num_virtual_tokens") is not None:
        raise InputError(
            f"{adapter.path}: a {kind} adapter (virtual tokens); these cannot be asked yet",
            remedy="give an adapter that changes weights, such as LoRA",
        )


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the library's progress bars and notices; problems are raised, not printed."""
    logging = transformers.utils.logging
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
