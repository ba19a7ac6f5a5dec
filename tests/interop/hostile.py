"""Pickles and archives that want to do harm, made by hand, and bytes changed at random."""

import io
import os
import pickle
import random
import struct
import tarfile
import zipfile

import torch

MARKER = "HOSTILE-WAS-HERE"


class Calls:
    """Pickles as a call of something."""

    def __init__(self, what, *arguments):
        self.what, self.arguments = what, arguments

    def __reduce__(self):
        return self.what, self.arguments


def _names(module: str, name: str, *, protocol: int) -> bytes:
    """A pickle that calls module.name with a text."""
    text = f"touch {MARKER}"
    if protocol == 0:
        return f"c{module}\n{name}\n(S'{text}'\ntR.".encode()
    short = b"".join(b"\x8c" + bytes([len(word)]) + word.encode() for word in (module, name))
    return b"\x80\x04" + short + b"\x93\x8c" + bytes([len(text)]) + text.encode() + b"\x85R."


def pickles() -> dict[str, bytes]:
    """Name -> a hostile pickle."""
    found = {}
    for module, name in (
        ("os", "system"),
        ("posix", "system"),
        ("subprocess", "Popen"),
        ("builtins", "eval"),
        ("builtins", "getattr"),
        ("builtins", "__import__"),
        ("__builtin__", "exec"),
        ("importlib", "import_module"),
        ("runpy", "run_path"),
        ("torch", "load"),
        ("torch.serialization", "load"),
        ("torch.hub", "load"),
        ("torch.utils.cpp_extension", "load"),
        ("numpy", "fromfile"),
        ("numpy.testing._private.utils", "runstring"),
        ("pickle", "loads"),
        ("operator", "attrgetter"),
        ("dnnlib.util", "open_url.system"),
        ("torch_utils.custom_ops", "../../x"),
    ):
        for protocol in (0, 4):
            found[f"{module}.{name} {protocol}"] = _names(module, name, protocol=protocol)
    chain = Calls(os.system, "true")
    for _ in range(30):
        chain = Calls(getattr, chain, "x")
    found["a chain of reduce"] = pickle.dumps(chain)
    found["10,000 lists"] = b"\x80\x04" + b"]" * 10_000 + b"a" * 9_999 + b"."
    found["10,000 tuples"] = b"\x80\x04)" + b"\x85" * 10_000 + b"."
    found["10,000 dictionaries"] = b"\x80\x04" + b"}K\x00" * 10_000 + b"N" + b"s" * 10_000 + b"."
    found["a key of 2^60 tuples"] = b"\x80\x04}K\x01" + b"2\x86" * 60 + b"Ns."
    found["a set of tuples"] = b"\x80\x04\x8f(K\x01" + b"2\x86" * 60 + b"\x90."
    text = b"X" + struct.pack("<I", 1 << 20) + b"a" * (1 << 20)
    codec = b"c_codecs\nencode\nq\x00"
    again = b"h\x00h\x01h\x02\x86R0"
    found["text encoded for ever"] = (
        b"\x80\x02" + codec + b"0" + text + b"q\x01" + b"0X\x06\x00\x00\x00latin1q\x02" + b"0"
        + again * 5000 + b"N."
    )  # fmt: skip
    found["a length of 2^62"] = b"\x80\x04\x8e" + struct.pack("<Q", 1 << 62) + b"abc."
    found["a number of 2^31 bytes"] = b"\x80\x04\x8b" + struct.pack("<i", 2**31 - 1) + b"1."
    found["a decimal of a million digits"] = b"I" + b"9" * 1_000_000 + b"\n."
    found["a million sets"] = b"\x80\x04" + b"\x8f" * 1_500_000 + b"."
    found["three million marks"] = b"\x80\x04" + b"(" * 3_000_000 + b"."
    found["an extension"] = b"\x80\x04\x82\x01."
    found["a buffer from outside"] = b"\x80\x05\x97."
    found["an id from outside"] = b"\x80\x04K\x01Q."
    found["memo of nothing"] = b"\x80\x04h\x07."
    found["pop of nothing"] = b"\x80\x040."
    found["cut inside"] = b"\x80\x04X\xff\x00\x00\x00abc"
    found["no end"] = b"\x80\x04N"
    return found


def tensor_file(**changes) -> bytes:
    """An archive as torch writes it, with members replaced, added or (None) left out."""
    whole = io.BytesIO()
    torch.save({"w": torch.arange(12.0).view(3, 4)}, whole)
    made = io.BytesIO()
    with zipfile.ZipFile(whole) as old, zipfile.ZipFile(made, "w") as new:
        names = old.namelist()
        prefix = names[0].split("/")[0]
        for name in names:
            content = changes.pop(name.removeprefix(f"{prefix}/"), old.read(name))
            if content is not None:
                new.writestr(name, content)
        for name, content in changes.items():
            new.writestr(f"{prefix}/{name}", content)
    return made.getvalue()


def shape_pickle(shape: bytes, stride: bytes, *, numel: int = 12) -> bytes:
    """`data.pkl` of a tensor of an odd shape; `shape` and `stride` push tuples."""
    identity = (
        b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpu"
        b"J" + struct.pack("<i", numel) + b"tQ"
    )
    return (
        b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n("
        + identity
        + b"K\x00"
        + shape
        + (stride + b"\x89ccollections\nOrderedDict\n)RtR.")
    )


def tar_file(tensors: dict[str, torch.Tensor]) -> bytes:
    """A state dictionary in torch's first format, which torch no longer writes."""
    storages, described = pickle.dumps(len(tensors), 2), pickle.dumps(len(tensors), 2)
    content = b"\x80\x02}("
    for i, (name, tensor) in enumerate(tensors.items()):
        flat = tensor.contiguous().flatten()
        storages += pickle.dumps((i, "cpu", torch.FloatStorage), 2)
        storages += struct.pack("<q", len(flat)) + flat.numpy().tobytes()
        described += pickle.dumps((100 + i, i, torch.FloatTensor), 2)
        described += struct.pack("<ii", tensor.dim(), 0)
        described += struct.pack(f"<{tensor.dim()}q", *tensor.shape)
        described += struct.pack(f"<{tensor.dim()}qq", *tensor.contiguous().stride(), 0)
        content += b"X" + struct.pack("<I", len(name)) + name.encode()
        content += f"P{100 + i}\n".encode()
    parts = {"sys_info": pickle.dumps({}, 2), "storages": storages + pickle.dumps([], 2)}
    parts |= {"tensors": described, "pickle": content + b"u."}
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        for name, data in parts.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return made.getvalue()


def _with_tensor(*push: bytes, numel: int = 12) -> bytes:
    """An archive whose tensor has an odd shape and stride."""
    return tensor_file(**{"data.pkl": shape_pickle(*push, numel=numel)})


def archives() -> dict[str, bytes]:
    """Name -> a hostile or damaged archive of torch."""
    compressed = io.BytesIO()
    with zipfile.ZipFile(compressed, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("x/data.pkl", shape_pickle(b"K\x03K\x04\x86", b"K\x04K\x01\x86"))
        file.writestr("x/data/0", b"\0" * 48)
    huge, most = b"J" + struct.pack("<i", 2**31 - 1), 2**31 - 1
    return {
        "compressed members": compressed.getvalue(),
        "no data.pkl": tensor_file(**{"data.pkl": None}),
        "no storage": tensor_file(**{"data/0": None}),
        "a short storage": tensor_file(**{"data/0": b"\0" * 40}),
        "a program": tensor_file(**{"constants.pkl": b"\x80\x02N."}),
        "a system call": tensor_file(**{"data.pkl": _names("os", "system", protocol=0)}),
        "a huge shape": _with_tensor(huge * 2 + b"\x86", b"K\x00" * 2 + b"\x86"),
        "a view beyond": _with_tensor(b"K\x03K\x05\x86", b"K\x05K\x01\x86"),
        "a negative stride": _with_tensor(b"K\x03\x85", b"J\xff\xff\xff\xff\x85"),
        "too large a storage": _with_tensor(b"K\x03\x85", b"K\x01\x85", numel=most),
        "a text": b"just words, no checkpoint\n",
        "nothing": b"",
        "half a zip": tensor_file()[:200],
    }


def mutate(data: bytes, random_: random.Random) -> bytes:
    """Flips, cuts, repeats or overwrites a part."""
    changed = bytearray(data)
    for _ in range(random_.choice((1, 1, 2, 4, 16))):
        kind, at = random_.randrange(5), random_.randrange(max(1, len(changed)))
        if kind == 0 and changed:
            changed[at % len(changed)] = random_.randrange(256)
        elif kind == 1:
            del changed[at : at + random_.choice((1, 4, 64))]
        elif kind == 2:
            changed[at:at] = changed[at : at + random_.choice((1, 8, 256))]
        elif kind == 3:
            changed[at:at] = random_.randbytes(random_.choice((1, 2, 8)))
        else:
            changed = changed[: max(1, at)] if random_.random() < 0.3 else changed
    return bytes(changed)


def seeds() -> list[bytes]:
    """Small files of every format, to be changed."""
    zipped, rows = io.BytesIO(), io.BytesIO()
    content = {
        "state": {"a.weight": torch.randn(3, 4), "a.bias": torch.zeros(3).half()},
        "step": 7,
        "config": {"lr": 1e-4, "names": ["x", "y"], "act": torch.nn.ReLU()},
    }
    torch.save(content, zipped)
    torch.save(content, rows, _use_new_zipfile_serialization=False)
    plain = pickle.dumps({"G": [1, 2.5, None, True, b"bytes", "text", (1, (2, 3)), {1, 2}]})
    tarred = tar_file({"a.weight": torch.randn(3, 4), "a.bias": torch.zeros(3)})
    return [zipped.getvalue(), rows.getvalue(), plain, pickle.dumps(content["state"], 2), tarred]
