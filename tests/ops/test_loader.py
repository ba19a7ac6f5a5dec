"""The loader: real compilations for GPUs that are not here, and a driver that only takes notes."""

import ctypes as ct
import os
import threading

import pytest
import torch

from largegan.errors import ConfigError, EnvironmentFault
from largegan.ops.runtime import backend, cubins, driver, loader, nvrtc
from largegan.ops.runtime.plan import Plan

HEADER = "struct Params { const float* x; float* y; int n; };\n"
SOURCE = """#include "common.cuh"
extern "C" __global__ void kernel(const Params p) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < p.n) p.y[i] = SCALE * p.x[i];
}
"""
DOUBLE = (("SCALE", "2.0f"),)
PARAMS = bytes(range(20))
PLAN = Plan("scale.cu", DOUBLE, (3, 1, 1), (128, 2, 1), 64 << 10, PARAMS)
CUDA0 = torch.device("cuda", 0)


@pytest.fixture(autouse=True)
def kernels(tmp_path, monkeypatch):
    """A folder of two files, an empty cache, and a loader that has done nothing yet."""
    folder = tmp_path / "kernels"
    folder.mkdir()
    (folder / "scale.cu").write_text(SOURCE)
    (folder / "common.cuh").write_text(HEADER)
    (folder / "broken.cu").write_text("__device__ int f() { return unknown; }")
    monkeypatch.setattr(cubins, "KERNELS", folder)
    monkeypatch.setenv("LARGEGAN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(backend, "_environment", "auto")
    monkeypatch.setattr(loader, "_loaded", {})
    monkeypatch.setattr(backend, "_said", set())
    cubins.sources.cache_clear()
    yield folder
    cubins.sources.cache_clear()


@pytest.fixture
def compilations(monkeypatch):
    """What the compiler was asked for, each entry a target; it still compiles."""
    targets, compile = [], nvrtc.Compiler.compile
    monkeypatch.setattr(
        nvrtc.Compiler, "compile", lambda self, *a: targets.append(a[3]) or compile(self, *a)
    )
    return targets


class Notes:
    """Stands for libcuda: every call succeeds and is written down, unless told to `fail`."""

    context = 0  # of the calling thread

    def __init__(self):
        self.calls, self.fail, self.launched = [], {}, []
        self.cuLaunchKernel = lambda *a: self.launch(*a)  # a function: `argtypes` is set on it

    def __getattr__(self, name: str):
        def call(*arguments):
            self.calls.append(name)
            self.act(name, *arguments)
            return self.fail.get(name, 0)

        return call

    def act(self, name: str, *arguments) -> None:
        if name == "cuDeviceGet":
            arguments[0]._obj.value = arguments[1]
        elif name == "cuDevicePrimaryCtxRetain":
            arguments[0]._obj.value = 1000 + arguments[1].value
        elif name == "cuCtxGetCurrent":
            arguments[0]._obj.value = self.context or None
        elif name in ("cuCtxPushCurrent_v2", "cuCtxPopCurrent_v2"):
            self.context = arguments[0].value if "Push" in name else 0
        elif name == "cuModuleLoadData":
            assert self.context
            arguments[0]._obj.value = len(arguments[1])
        elif name == "cuModuleGetFunction":
            arguments[0]._obj.value = arguments[1].value
        elif name == "cuDeviceGetAttribute":
            arguments[0]._obj.value = 227 << 10
        elif name == "cuFuncGetAttribute":
            arguments[0]._obj.value = 1 << 10
        elif name == "cuGetErrorString":
            arguments[1]._obj.value = b"told to fail"

    def launch(self, function, *arguments):
        *sizes, shared, stream, pointers, extra = arguments
        self.launched.append((self.context, sizes, shared, stream, extra))
        address = ct.cast(pointers, ct.POINTER(ct.c_void_p))[0]
        assert ct.string_at(address, len(PARAMS)) == PARAMS
        return self.fail.get("cuLaunchKernel", 0)


@pytest.fixture
def gpu(monkeypatch):
    """A machine that has GPUs of compute capability 9.0, in so far as the loader can tell."""
    notes = Notes()
    fake = driver.Driver(notes)
    monkeypatch.setattr(loader, "driver", lambda: fake)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda index: (9, 0))
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: False)
    monkeypatch.setattr(torch._C, "_cuda_getCurrentRawStream", lambda i: 70 + i, raising=False)
    return notes


# The compiler


@pytest.mark.parametrize("capability", [80, 90, 100])
def test_it_compiles_for_gpus_that_are_not_here(capability):
    code, origin = cubins.binary("scale.cu", DOUBLE, capability)
    assert code.startswith(b"\x7fELF") and origin == "NVRTC"
    # The architecture is in the flags of the ELF header (byte 49 on, since CUDA 13).
    assert capability in (code[48], code[49])


def test_a_gpu_newer_than_the_compiler_gets_the_newest_code_that_drivers_translate():
    compiler = nvrtc.compiler()
    newest = compiler.architectures[-1]
    assert compiler.target(newest) == f"sm_{newest}"
    assert compiler.target(newest + 10) == f"compute_{newest}"
    code, _ = cubins.binary("scale.cu", DOUBLE, newest + 10)
    assert b".target sm_" in code and code.endswith(b"\0")
    with pytest.raises(EnvironmentFault, match=r"no GPU as old as compute capability 3\.5"):
        compiler.target(35)


def test_errors_of_the_source_are_told():
    with pytest.raises(EnvironmentFault, match=r"broken\.cu.*unknown.*undefined"):
        cubins.binary("broken.cu", (), 90)
    with pytest.raises(EnvironmentFault, match=r"nothing\.cu is not in"):
        cubins.binary("nothing.cu", (), 90)


def test_no_compiler_at_all(monkeypatch):
    monkeypatch.setattr(nvrtc, "candidates", lambda: iter(["/nowhere/libnvrtc.so.13"]))
    nvrtc.compiler.cache_clear()
    try:
        with pytest.raises(EnvironmentFault, match=r"nvidia-cuda-nvrtc.*nowhere"):
            nvrtc.compiler()
    finally:
        nvrtc.compiler.cache_clear()


# The cache


def test_what_was_compiled_once_is_not_compiled_again(compilations):
    first = cubins.binary("scale.cu", DOUBLE, 90)
    again = cubins.binary("scale.cu", DOUBLE, 90)
    assert first.code == again.code and again.origin == "cache" and compilations == ["sm_90"]
    assert not list(cubins.folder().glob("*.part"))


def test_the_key_has_all_that_the_code_depends_on(kernels, monkeypatch):
    keys = [cubins.key("scale.cu", DOUBLE, 90), cubins.key("scale.cu", DOUBLE, 80)]
    keys.append(cubins.key("scale.cu", (("SCALE", "3.0f"),), 90))
    (kernels / "common.cuh").write_text(HEADER + "// other\n")
    cubins.sources.cache_clear()
    keys.append(cubins.key("scale.cu", DOUBLE, 90))
    (kernels / "scale.cu").write_text(SOURCE + "// other\n")
    cubins.sources.cache_clear()
    keys.append(cubins.key("scale.cu", DOUBLE, 90))
    monkeypatch.setattr(cubins, "OPTIONS", ("--std=c++17", "--use_fast_math"))
    keys.append(cubins.key("scale.cu", DOUBLE, 90))
    monkeypatch.setattr(cubins, "_version", lambda: "99.0")
    keys.append(cubins.key("scale.cu", DOUBLE, 90))
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize("damage", [lambda c: c[:-1], lambda c: b"", lambda c: c[:-1] + b"?"])
def test_a_damaged_file_is_compiled_again_and_replaced(damage, compilations):
    good = cubins.binary("scale.cu", DOUBLE, 90).code
    (path,) = cubins.folder().iterdir()
    content = path.read_bytes()
    path.write_bytes(damage(content))
    assert cubins.binary("scale.cu", DOUBLE, 90) == cubins.Binary(good, "NVRTC")
    assert path.read_bytes() == content and len(compilations) == 2


@pytest.mark.parametrize("what", ["a file in its place", "full"])
def test_a_cache_that_cannot_be_written_costs_the_compilation_alone(what, tmp_path, monkeypatch):
    if what == "full":
        monkeypatch.setattr(os, "fdopen", refuse)
    else:
        (tmp_path / "cache").write_text("no folder")
    for _ in range(2):
        assert cubins.binary("scale.cu", DOUBLE, 90).origin == "NVRTC"
    assert what != "full" or not list(cubins.folder().iterdir())


def refuse(handle, *rest):
    os.close(handle)
    raise OSError(28, "No space left on device")


def test_threads_that_publish_at_once_leave_one_good_file():
    path = cubins.folder() / "some.cubin"
    threads = [
        threading.Thread(target=cubins.publish, args=(path, b"code" * 9999)) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert cubins.read(path) == b"code" * 9999 and list(path.parent.iterdir()) == [path]


# The driver


def test_a_launch(gpu):
    assert backend.launch(PLAN, CUDA0)
    assert gpu.launched == [(1000, [3, 1, 1, 128, 2, 1], 64 << 10, 70, None)]
    assert gpu.context == 0  # as it was
    before = len(gpu.calls)
    assert backend.launch(PLAN, CUDA0)
    assert "cuModuleLoadData" not in gpu.calls[before:]
    assert backend.launch(PLAN, torch.device("cuda", 1))  # a module and a context of its own
    assert gpu.launched[-1][0] == 1001 and gpu.launched[-1][3] == 71
    assert gpu.calls.count("cuModuleLoadData") == 2


def test_a_thread_that_has_the_context_keeps_it(gpu):
    gpu.context = 1000
    assert backend.launch(PLAN, CUDA0)
    assert "cuCtxPushCurrent_v2" not in gpu.calls and gpu.context == 1000


def test_threads_that_launch_at_once_load_once(gpu, compilations):
    gpu.context = 1000
    threads = [threading.Thread(target=backend.launch, args=(PLAN, CUDA0)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(gpu.launched) == 6 and compilations == ["sm_90"]
    assert gpu.calls.count("cuModuleLoadData") == 1


def test_machine_code_of_the_cache_that_does_not_load_is_compiled_again(gpu, monkeypatch):
    cubins.binary("scale.cu", DOUBLE, 90)
    refusals = iter([218, 0])
    act = gpu.act

    def once(name, *arguments):
        act(name, *arguments)
        if name == "cuModuleLoadData":
            gpu.fail[name] = next(refusals)

    monkeypatch.setattr(gpu, "act", once)
    assert backend.launch(PLAN, CUDA0) and gpu.calls.count("cuModuleLoadData") == 2


def test_more_shared_memory_than_there_is_is_refused_before_the_launch(gpu):
    with pytest.warns(match="262144 bytes of shared memory.*may have 231424"):
        assert not backend.launch(PLAN._replace(shared=256 << 10), CUDA0)
    assert not gpu.launched


def test_loading_inside_a_capture_is_refused(gpu, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: True)
    with pytest.raises(RuntimeError, match="run the step once before capturing"):
        backend.launch(PLAN, CUDA0)
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: False)
    assert backend.launch(PLAN, CUDA0)
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: True)
    assert backend.launch(PLAN, CUDA0)


# What is used, and what is said


@pytest.mark.parametrize("step", ["cuModuleLoadData", "cuModuleGetFunction", "cuLaunchKernel"])
def test_whatever_fails_one_warning_names_the_reason(gpu, step):
    gpu.fail[step] = 999
    with pytest.warns(match=r"scale\.cu.*failed with CUDA error 999 \(told to fail\)") as found:
        assert [backend.launch(PLAN, CUDA0) for _ in range(3)] == [False] * 3
    assert len(found) == 1
    with backend.using("require"), pytest.raises(EnvironmentFault, match="CUDA error 999"):
        backend.launch(PLAN, CUDA0)


def test_without_compiler_the_cache_still_serves(gpu, monkeypatch):
    cubins.binary("scale.cu", DOUBLE, 90)
    version = cubins._version()

    def none():
        raise EnvironmentFault("no NVRTC library was found")

    monkeypatch.setattr(nvrtc, "compiler", none)
    assert cubins._version.__wrapped__() == torch.version.cuda == version
    assert backend.launch(PLAN, CUDA0)
    with pytest.warns(match="no NVRTC library was found"):
        assert not backend.launch(PLAN._replace(defines=(("SCALE", "5.0f"),)), CUDA0)


def test_no_driver(monkeypatch):
    monkeypatch.setattr(driver, "LIBRARY", "libcuda-of-nobody.so")
    with pytest.raises(EnvironmentFault, match=r"libcuda-of-nobody\.so was not found"):
        driver.driver.__wrapped__()


def test_modes(monkeypatch):
    x = torch.ones(1, device="meta")
    assert backend.mode() == "auto" and not backend.usable(x)
    with backend.redirected(lambda plan: None):
        assert backend.usable(x) and not backend.usable(x.double())
        with backend.using("eager"):
            assert not backend.usable(x)
        monkeypatch.setattr(backend, "_environment", "require")
        assert backend.mode() == "require"
        monkeypatch.setattr(backend, "_environment", "fast")
        with pytest.raises(ConfigError, match="LARGEGAN_OPS is 'fast'; set it to one of require"):
            backend.usable(x)


def test_plans_go_where_they_are_redirected():
    plans = []
    with backend.redirected(plans.append):
        assert backend.launch(PLAN, torch.device("cpu"))
    assert plans == [PLAN]


def test_a_word_that_is_none_is_refused_without_a_gpu_too(monkeypatch):
    monkeypatch.setattr(backend, "_environment", "fast")
    with pytest.raises(ConfigError, match="LARGEGAN_OPS is 'fast'"):
        backend.usable(torch.ones(1))
