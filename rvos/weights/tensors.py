"""A checkpoint file of any program -> its tensors. This module needs torch; its neighbours do not.

The one reader of files in PyTorch's two forms: zip, and the legacy form of torch < 1.6, in which
the official MUTR files are (`_use_new_zipfile_serialization=False`). A pickle inside names whatever
its program kept beside the tensors: argparse.Namespace, Path, numpy's scalars, a CfgNode. Here only
tensors and plain values come to life. Each other name becomes a `StandIn`, so nothing is imported
and nothing of a file is executed. Format: torch/serialization.py and torch/_utils.py of PyTorch.
"""

import math
import pickle
import pickletools
import re
import sys
import zipfile
from collections.abc import Callable, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import torch
from safetensors.torch import load_file
from torch import Tensor

from rvos.errors import InputError, list_problems
from rvos.masks.files import damaged_part, whole_or_not_at_all
from rvos.weights.whole import no_weights

MAGIC = 0x1950A86A20F9469CFC6C  # the first pickle of the legacy form; the second is 1001
LEFTOVERS = ("embeddings.position_ids", "total_ops", "total_params")  # old transformers; thop
_WRAPPERS = ("model", "state_dict", "model_state_dict", "module")  # module: DeepSpeed
# In front of a name: DDP, Lightning; within it, too: torch.compile, Fabric, FSDP.
_PREFIXES = re.compile(
    r"^((module|model)\.)+"
    r"|(?<![^.])(_orig_mod|_forward_module|_fsdp_wrapped_module|_checkpoint_wrapped_module)\."
)
_MAY_BE_INF = re.compile(r".*mask|(.*[._])?(min|max)(_\w+)?")
_STORAGES = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
    "ComplexFloatStorage": torch.complex64,
    "ComplexDoubleStorage": torch.complex128,
    "UntypedStorage": torch.uint8,
}
# Names that no weights need. A file that holds one is refused, although it could do nothing.
_HOSTILE = re.compile(
    r"(os|posix|nt|subprocess|shutil|sys|socket|pty|runpy|importlib|ctypes|webbrowser)(\..*)?"
    r"|(builtins|__builtin__)\.(eval|exec|execfile|compile|open|__import__|getattr|setattr)"
)


def read_state(path: str | Path) -> dict[str, Tensor]:
    """State dict in a file: plain, in `{"model": ...}`, or Lightning's `{"state_dict": ...}`.

    Prefixes of DDP, Lightning, torch.compile and FSDP, the `position_ids` buffer of old
    transformers and the counters of thop are dropped. Raises InputError for a file that does not
    exist, cannot be read or holds no tensors.
    """
    return state_of(read_content(path), path)


def state_of(content: Any, path: str | Path) -> dict[str, Tensor]:
    """The state dict in the content of the file `path`; see `read_state`."""
    for key in _WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping | StandIn):
            content = content[key]
    if not isinstance(content, Mapping):
        kind = content.name if isinstance(content, StandIn) else type(content).__name__
        raise InputError(f"{path}: holds a {kind}, expected a state dict")
    state = {
        _own_name(name): value.detach()
        for name, value in content.items()
        if isinstance(name, str) and isinstance(value, Tensor) and not name.endswith(LEFTOVERS)
    }
    if not state:
        inside = [key for key, value in content.items() if isinstance(value, Mapping) and value]
        hint = f"; a state dict may be in {inside!r:.100}: save it alone" if inside else ""
        raise InputError(f"{path}: holds no tensors{hint}")
    check_numbers(state, path)
    return state


def _own_name(name: str) -> str:
    """A tensor's name without what wrappers of a network put into it, in any order."""
    while (stripped := _PREFIXES.sub("", name)) != name:
        name = stripped
    return name


def check_numbers(state: Mapping[str, Tensor], where: str | Path) -> None:
    """Raise InputError that names the tensors with NaN or infinity.

    A mask may have infinity, and so may an extreme that a metric or an observer has seen so far.
    """
    wrong = [
        name
        for name, value in state.items()
        if (value.is_floating_point() or value.is_complex())  # what is quantized knows no isfinite
        and (value.isnan() if _MAY_BE_INF.fullmatch(name) else ~value.isfinite()).any()
    ]
    if wrong:
        raise InputError(list_problems(f"{where}: tensors that are not numbers (NaN, inf)", wrong))


def write_content(path: Path, content: Any) -> None:
    """`torch.save`, so that the file is whole or not there. Raises OSError with the path."""
    with whole_or_not_at_all(path) as file:
        try:
            torch.save(content, file)
        except RuntimeError as error:  # what PyTorch makes of a write that fails
            if isinstance(error.__context__, OSError):
                raise error.__context__ from None
            raise


def read_content(path: str | Path) -> Any:
    """Whatever a checkpoint file holds, on the CPU, with stand-ins for what is no plain value.

    A file of safetensors, too, whatever its name.

    Raises InputError where the file is missing, damaged, hostile, or no checkpoint.
    """
    path = Path(path)
    if path.is_dir():
        inside = ", ".join(sorted(p.name for p in path.iterdir())[:5])
        raise InputError(f"{path}: a folder, expected a file of weights; it holds {inside}")
    if not path.is_file():
        raise InputError(f"{path}: no such checkpoint")
    if damaged := damaged_part(path):
        raise InputError(f"{path}: damaged: the checksum of {damaged} is wrong; fetch it again")
    try:
        with path.open("rb") as file:
            begin = file.read(32)
            if what := no_weights(path):
                raise InputError(f"{path}: no weights but {what}")
            if begin[8:9] == b"{":  # behind the length of its header
                return load_file(path)
            if begin.startswith(b"PK"):
                with zipfile.ZipFile(file) as archive:
                    return _read_zip(archive)
            file.seek(0)
            return _read_legacy(file, path.stat().st_size)
    except InputError:
        raise
    except Hostile as error:
        raise InputError(f"{path}: refused: {error}") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from None
    except Exception as error:  # a file of other bytes fails in many ways
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        text = f"; it begins with {begin!r}" if begin.isascii() and b"PK" not in begin else ""
        raise InputError(
            f"{path}: not a readable checkpoint of {path.stat().st_size} bytes: {reason}{text}. It "
            "is truncated, or no file of PyTorch: fetch it again"
        ) from None


class Hostile(pickle.UnpicklingError):
    """A pickle that no program writes to keep weights."""


class StandIn:
    """Whatever a file holds beside tensors and plain values: accepts all, keeps and does nothing.

    A pickle may call it, fill it as a list, set or dict, and set its state.
    """

    __slots__ = ()
    name = "object of an unknown class"

    def __new__(cls, *values: Any, **named: Any) -> "StandIn":
        return super().__new__(cls)

    def __init__(self, *values: Any, **named: Any):
        pass

    def __call__(self, *values: Any, **named: Any) -> "StandIn":
        return self

    def __setitem__(self, key: Any, value: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        pass

    append = extend = add = __setstate__


class _Dict(dict[Any, Any]):
    """An OrderedDict of a file, without the attributes (`_metadata`) that it may carry."""

    __slots__ = ()

    def __setstate__(self, state: Any) -> None:
        pass


class _Allowed:
    """A name that a pickle may call. Not the function itself, so that BUILD cannot change it."""

    __slots__ = ("_call",)

    def __init__(self, call: Callable[..., Any]):
        self._call = call

    def __call__(self, *values: Any) -> Any:
        return self._call(*values)

    def __setstate__(self, state: Any) -> None:
        raise Hostile("it sets the state of a function")


class _Storage:
    """Bytes of tensors, and the type of their numbers as the file names it."""

    __slots__ = ("buffer", "dtype")

    def __init__(self, buffer: bytearray, dtype: torch.dtype):
        self.buffer, self.dtype = buffer, dtype

    def __setstate__(self, state: Any) -> None:
        raise Hostile("it sets the state of a storage")


def _tensor(storage: _Storage, offset: int, size: Any, stride: Any, *rest: Any) -> Tensor:
    """`torch._utils._rebuild_tensor_v2` and v3 (which has a dtype in `rest`), with bounds."""
    if not isinstance(storage, _Storage):
        raise Hostile("it makes a tensor of something else than a storage")
    size, stride = tuple(size), tuple(stride)
    numbers = (offset, *size, *stride)
    if len(size) != len(stride) or not all(type(n) is int and n >= 0 for n in numbers):
        raise pickle.UnpicklingError("a tensor's shape is no list of sizes and strides")
    dtype = next((value for value in rest if isinstance(value, torch.dtype)), storage.dtype)
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    count = math.prod(size) and last + 1
    if count * dtype.itemsize > len(storage.buffer):
        raise pickle.UnpicklingError("a tensor goes beyond its storage")
    if not count:
        return torch.empty(size, dtype=dtype)
    flat = torch.frombuffer(storage.buffer, dtype=dtype, count=count)
    return flat.as_strided(size, stride, offset)


def _parameter(data: Any, *rest: Any) -> Any:
    return data


def _from_type(make: Any, kind: Any, values: Any, state: Any) -> Any:
    return make(*values)  # whatever `make` is, the pickle could call it itself


_CALLS: dict[str, Callable[..., Any]] = {
    "collections.OrderedDict": _Dict,
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_tensor_v3": _tensor,
    "torch._utils._rebuild_parameter": _parameter,
    "torch._utils._rebuild_parameter_with_state": _parameter,
    "torch._tensor._rebuild_from_type_v2": _from_type,
}


class _Unpickler(pickle.Unpickler):
    """Values, tensors and stand-ins; `storage(key, size)` has the tensors' bytes."""

    def __init__(self, file: Any, storage: Callable[[str, int], bytearray] | None = None):
        _check_memo(file)
        super().__init__(file, encoding="utf-8")
        self._storage = storage

    def find_class(self, module: str, name: str) -> Any:
        whole = f"{module}.{name}"
        if whole in _CALLS:
            return _Allowed(_CALLS[whole])
        if module in ("torch", "torch.cuda", "torch.storage") and name in _STORAGES:
            return _STORAGES[name]
        if module == "torch" and isinstance(value := getattr(torch, name, None), torch.dtype):
            return value
        if _HOSTILE.fullmatch(whole):
            raise Hostile(f"it names {whole!r}, which is no part of weights but can run programs")
        return type("StandIn", (StandIn,), {"__slots__": (), "name": repr(whole)})

    def persistent_load(self, pid: Any) -> Any:
        """A storage: ("storage", type, key, place, number of values[, None])."""
        match pid:
            case ("storage", torch.dtype() as dtype, str(key), str(), int(count), *rest) if (
                self._storage is not None and rest in ([], [None]) and count >= 0
            ):
                return _Storage(self._storage(key, count * dtype.itemsize), dtype)
            case ("module", type() as stand_in, *_):  # a whole network, with its source code
                return stand_in
        raise Hostile("it refers to something outside that is no storage")


def _check_memo(file: Any) -> None:
    """Refuse a pickle that numbers its memo beyond its own length: the room would be made."""
    start = file.tell()
    size = file.seek(0, 2) - start
    file.seek(start)
    for opcode, value, _ in pickletools.genops(file):
        if opcode.name in ("PUT", "BINPUT", "LONG_BINPUT") and not 0 <= int(value or 0) <= size:
            raise Hostile("its memo has numbers beyond its length")
    file.seek(start)


def _read_zip(archive: zipfile.ZipFile) -> Any:
    """The form since torch 1.6: `<name>/data.pkl`, and each storage in `<name>/data/<key>`."""
    names = archive.namelist()
    inside = [name for name in names if re.fullmatch(r"[^/]+/data\.pkl", name)]
    if len(inside) != 1:
        raise pickle.UnpicklingError(f"a zip file without one data.pkl; it holds {names[:3]}")
    folder = inside[0].removesuffix("data.pkl")
    if f"{folder}constants.pkl" in names:
        raise pickle.UnpicklingError("a TorchScript program, not a state dict")
    order = f"{folder}byteorder"
    if order in names and archive.read(order) != sys.byteorder.encode():
        raise pickle.UnpicklingError("the other byte order")
    kept: dict[str, bytearray] = {}

    def storage(key: str, size: int) -> bytearray:
        if key not in kept:
            entry = archive.getinfo(f"{folder}data/{key}")
            if entry.compress_type != zipfile.ZIP_STORED or entry.file_size < size:
                raise pickle.UnpicklingError(f"storage {key!r} has not the size that is named")
            kept[key] = bytearray(entry.file_size)
            with archive.open(entry) as file:
                _fill(file, kept[key])
        return _of_size(kept[key], size)

    return _Unpickler(BytesIO(archive.read(inside[0])), storage).load()


def _read_legacy(file: BinaryIO, file_size: int) -> Any:
    """The form before: five pickles, then the size and the bytes of each storage.

    The pickles: a magic number, a version, the machine, the content, the keys of the storages.
    """
    if (_Unpickler(file).load(), _Unpickler(file).load()) != (MAGIC, 1001):
        raise pickle.UnpicklingError("neither a zip file nor PyTorch's legacy form")
    machine = _Unpickler(file).load()
    if isinstance(machine, dict) and machine.get("little_endian") != (sys.byteorder == "little"):
        raise pickle.UnpicklingError("the other byte order")
    kept: dict[str, bytearray] = {}

    def storage(key: str, size: int) -> bytearray:
        if key not in kept:
            if sum(map(len, kept.values())) + size > file_size:
                raise pickle.UnpicklingError("its storages are larger than the file")
            kept[key] = bytearray(size)
        return _of_size(kept[key], size)

    content = _Unpickler(file, storage).load()
    keys = _Unpickler(file).load()
    if not isinstance(keys, list) or {*keys} != kept.keys():
        raise pickle.UnpicklingError("its list of storages is another one")
    for key in keys:
        count = int.from_bytes(file.read(8), "little")
        if len(kept[key]) % max(count, 1) or bool(count) != bool(kept[key]):
            raise pickle.UnpicklingError(f"storage {key!r} has not the size that is named")
        _fill(file, kept[key])
    return content


def _of_size(buffer: bytearray, size: int) -> bytearray:
    if len(buffer) < size:
        raise pickle.UnpicklingError("a storage is named with two sizes")
    return buffer


def _fill(file: Any, buffer: bytearray) -> None:
    """Read exactly as many bytes as `buffer` has."""
    view = memoryview(buffer)
    while view:
        if not (count := file.readinto(view)):
            raise EOFError("it ends within a tensor")
        view = view[count:]
