"""A ``tensorrt`` package whose engines really compute, with ONNX Runtime, on the fake GPU.

It has the names of one real version and no others: :func:`package` removes from it what the table
of the real bindings does not list. It refuses what TensorRT refuses and is known to matter here.
"""

from __future__ import annotations

import contextlib
import ctypes
import enum
import gc
import hashlib
import json
import types
import weakref
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from edgead.runtimes.onnxruntime import library
from tests.tensorrt.bindings import presence

onnxruntime = library.load()
MAGIC = b"fake plan "
MIB = 1 << 20
_TYPES = {1: "FLOAT", 2: "UINT8", 3: "INT8", 6: "INT32", 7: "INT64", 9: "BOOL", 10: "HALF"}


class _Strict:
    """Like a pybind11 object: an attribute that its class has not cannot be set."""

    def __setattr__(self, name: str, value: Any) -> None:
        if not name.startswith("_") and not hasattr(type(self), name):
            raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'")
        object.__setattr__(self, name, value)


def package(version: str, driver: ctypes.CDLL) -> types.ModuleType:
    """Make the package of one version.

    Args:
        version: One of those in the table.
        driver: The fake GPU's library, loaded.
    """
    names = presence()[version]
    trt = types.ModuleType("tensorrt")
    trt.__version__ = version
    trt.problems = []  # what would have crashed or leaked
    trt.build_needs, trt.context_needs = MIB, MIB
    trt.during_build = lambda: None

    for kind in sorted({name.partition(".")[0] for name in names}):
        members = [n.partition(".")[2] for n in names if n.startswith(kind + ".") and names[n]]
        members = [n for n in members if n.isupper() or n[:1].isupper()]
        if kind not in ("ILogger", "Logger") and names[kind] and members and _is_enum(names, kind):
            setattr(trt, kind, enum.IntEnum(kind, {n: i for i, n in enumerate(members)}))
    severity = enum.IntEnum("Severity", ["INTERNAL_ERROR", "ERROR", "WARNING", "INFO", "VERBOSE"])

    class ILogger:
        Severity = severity
        INTERNAL_ERROR, ERROR, WARNING = severity.INTERNAL_ERROR, severity.ERROR, severity.WARNING
        INFO, VERBOSE = severity.INFO, severity.VERBOSE

        def __init__(self) -> None:
            self._made = True

        def log(self, severity: Any, msg: str) -> None:
            raise NotImplementedError

    def call(function: str, *arguments: Any) -> int:
        return int(getattr(driver, function)(*arguments))

    def allocate(size: int) -> int | None:
        address = ctypes.c_uint64()
        code = call("cuMemAlloc_v2", ctypes.byref(address), ctypes.c_size_t(size))
        if code == 201:
            trt.problems.append("memory was asked for while no context was current")
        return None if code else address.value

    def free(address: int) -> None:
        code = call("cuMemFree_v2", ctypes.c_uint64(address))
        if code:
            trt.problems.append(f"memory was freed while no context was current ({code})")

    def gpu() -> dict[str, Any]:
        value, name = ctypes.c_int(), ctypes.create_string_buffer(64)
        found = {}
        for key, attribute in (("major", 75), ("minor", 76), ("multiprocessors", 16)):
            call("cuDeviceGetAttribute", ctypes.byref(value), attribute, 0)
            found[key] = value.value
        call("cuDeviceGetName", name, 64, 0)
        return {**found, "name": name.value.decode(), "version": version}

    class ITensor(_Strict):
        name = shape = dtype = None

        def __init__(self, name: str, dtype: Any, shape: tuple[int, ...] = ()) -> None:
            self.name, self.dtype, self.shape = name, dtype, shape

    class ILayer(_Strict):
        name = num_outputs = precision = None

        def __init__(self, node: onnx.NodeProto, outputs: list[ITensor], strong: bool) -> None:
            self.name = node.name or f"(Unnamed Layer) [{node.op_type}]"
            self._outputs, self._strong, self._kind = outputs, strong, node.op_type
            self.num_outputs = len(outputs)
            self._pinned: dict[int, Any] = {}

        def get_output(self, index: int) -> ITensor:
            return self._outputs[index]

        def set_output_type(self, index: int, dtype: Any) -> None:
            if self._strong:
                raise RuntimeError("layer output types cannot be set in a strongly typed network")
            self._pinned[index] = dtype

    class INetworkDefinition(_Strict):
        num_layers = num_inputs = num_outputs = 0

        def __init__(self, explicit: bool, strong: bool) -> None:
            self._explicit, self._strong = explicit, strong
            self._model: onnx.ModelProto | None = None

        def _take(self, model: onnx.ModelProto) -> None:
            inferred = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
            values = {v.name: v for v in [*inferred.value_info, *inferred.input, *inferred.output]}

            def tensor(name: str) -> ITensor:
                kind = values[name].type.tensor_type
                sides = tuple(d.dim_value if d.dim_value else -1 for d in kind.shape.dim)
                return ITensor(name, trt.DataType[_TYPES[kind.elem_type]], sides)

            self._model = model
            self._inputs = [tensor(v.name) for v in model.graph.input]
            self._outputs = [tensor(v.name) for v in model.graph.output]
            self._layers = [
                ILayer(node, [tensor(n) for n in node.output], self._strong)
                for node in model.graph.node
            ]
            self.num_inputs, self.num_outputs = len(self._inputs), len(self._outputs)
            self.num_layers = len(self._layers)

        def get_input(self, index: int) -> ITensor:
            return self._inputs[index]

        def get_output(self, index: int) -> ITensor:
            return self._outputs[index]

        def get_layer(self, index: int) -> ILayer:
            return self._layers[index]

    class ParserError(_Strict):
        def __init__(self, text: str) -> None:
            self._text = text

        def desc(self) -> str:
            return self._text

    class OnnxParser(_Strict):
        num_errors = 0

        def __init__(self, network: INetworkDefinition, logger: Any) -> None:
            self._network, self._logger, self._errors = network, logger, []

        def parse(self, model: bytes) -> bool:
            try:
                proto = onnx.load_from_string(model)
                onnx.checker.check_model(proto)
            except Exception as error:
                return self._fail(f"Failed to parse the ONNX model: {error}")
            if not self._network._explicit:
                return self._fail("Network must have explicit batch dimension")
            opset = max(entry.version for entry in proto.opset_import)
            if opset > 17 and not names["NetworkDefinitionCreationFlag.STRONGLY_TYPED"]:
                return self._fail(f"opset {opset} is not supported")
            constants = {t.name: numpy_helper.to_array(t) for t in proto.graph.initializer}
            for node in proto.graph.node:
                if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
                    zero = constants[node.input[2]]
                    if zero.dtype != np.int8 or zero.any():
                        return self._fail(
                            "Assertion failed: shiftIsAllZeros(zeroPoint): TRT only supports "
                            "symmetric quantization"
                        )
                if node.op_type in ("ConvInteger", "DynamicQuantizeLinear", "QLinearConv"):
                    return self._fail(f"No importer registered for op: {node.op_type}")
            self._network._take(proto)
            return True

        def _fail(self, text: str) -> bool:
            self._errors.append(ParserError(text))
            self.num_errors = len(self._errors)
            return False

        def get_error(self, index: int) -> ParserError:
            return self._errors[index]

    class IOptimizationProfile(_Strict):
        def __init__(self) -> None:
            self._shapes: dict[str, Any] = {}

        def set_shape(self, input: str, min: Any, opt: Any, max: Any) -> None:
            self._shapes[input] = [list(min), list(opt), list(max)]

    class ITimingCache(_Strict):
        def __init__(self, content: bytes) -> None:
            self._content = content

        def serialize(self) -> bytes:
            return self._content

    class IBuilderConfig(_Strict):
        profiling_verbosity = int8_calibrator = default_device_type = DLA_core = None

        def __init__(self) -> None:
            self._flags = {"TF32"}
            self._profiles: list[IOptimizationProfile] = []
            self._workspace, self._features, self._timings = None, set(), None
            self._calibrates = None

        def set_flag(self, flag: Any) -> None:
            self._flags.add(flag.name)

        def clear_flag(self, flag: Any) -> None:
            self._flags.discard(flag.name)

        def set_memory_pool_limit(self, pool: Any, pool_size: int) -> None:
            self._workspace = pool_size

        def add_optimization_profile(self, profile: IOptimizationProfile) -> int:
            self._profiles.append(profile)
            return len(self._profiles) - 1

        def set_calibration_profile(self, profile: IOptimizationProfile) -> bool:
            self._calibrates = profile
            return True

        def set_preview_feature(self, feature: Any, enable: bool) -> None:
            self._features.add(feature.name)

        def create_timing_cache(self, serialized_timing_cache: bytes) -> ITimingCache | None:
            content = bytes(serialized_timing_cache)
            mark = f"timings {version} {gpu()['name']}".encode()
            if content and not content.startswith(mark):
                return None
            return ITimingCache(content or mark)

        def set_timing_cache(self, cache: ITimingCache, ignore_mismatch: bool) -> bool:
            self._timings = cache
            return True

        def get_timing_cache(self) -> ITimingCache | None:
            return self._timings

    class IInt8EntropyCalibrator2(_Strict):
        def __setattr__(self, name: str, value: Any) -> None:
            object.__setattr__(self, name, value)

    class IInt8MinMaxCalibrator(IInt8EntropyCalibrator2):
        pass

    for base in (IInt8EntropyCalibrator2, IInt8MinMaxCalibrator):
        for method in (
            "get_batch",
            "get_batch_size",
            "read_calibration_cache",
            "write_calibration_cache",
        ):
            setattr(base, method, lambda self, *_: None)

    class Builder(_Strict):
        num_DLA_cores = 0

        def __init__(self, logger: Any) -> None:
            if not getattr(logger, "_made", False):
                raise TypeError("ILogger.__init__ was not called")
            self._logger = logger

        def create_network(self, flags: int = 0) -> INetworkDefinition:
            kinds = trt.NetworkDefinitionCreationFlag.__members__
            known = {name: flags >> int(kind) & 1 for name, kind in kinds.items()}
            return INetworkDefinition(
                bool(known.get("EXPLICIT_BATCH")) or "STRONGLY_TYPED" in kinds,
                bool(known.get("STRONGLY_TYPED")) or not names["BuilderFlag.FP16"],
            )

        def create_builder_config(self) -> IBuilderConfig:
            return IBuilderConfig()

        def create_optimization_profile(self) -> IOptimizationProfile:
            return IOptimizationProfile()

        def build_serialized_network(
            self, network: INetworkDefinition, config: IBuilderConfig
        ) -> Any:
            complaint = self._complaint(network, config)
            if complaint:
                self._logger.log(severity.ERROR, complaint)
                return None
            scratch = allocate(trt.build_needs)
            if scratch is None:
                self._logger.log(
                    severity.ERROR,
                    f"Requested amount of GPU memory ({trt.build_needs} bytes) could not be "
                    "allocated",
                )
                return None
            if _get(config, "int8_calibrator"):
                self._calibrate(config.int8_calibrator)
            free(scratch)
            with contextlib.suppress(BaseException):  # what is raised in a call from C++ is lost
                trt.during_build()
            half = "FP16" in config._flags
            header = {
                **gpu(),
                "flags": sorted(config._flags),
                "profile": config._profiles[0]._shapes,
                "shares": "PROFILE_SHARING_0806" in config._features
                or names["NetworkDefinitionCreationFlag.STRONGLY_TYPED"],
                "layers": [
                    {
                        "Name": layer.name,
                        "LayerType": layer._kind,
                        "Outputs": [
                            {
                                "Name": out.name,
                                "Format/Datatype": "Half"
                                if half
                                and _get(layer, "precision") is None
                                and out.dtype.name == "FLOAT"
                                else out.dtype.name.title(),
                            }
                            for out in layer._outputs
                        ],
                    }
                    for layer in network._layers
                ],
            }
            config._timings._content += b" measured"
            text = json.dumps(header).encode()
            body = len(text).to_bytes(4, "big") + text + network._model.SerializeToString()
            return MAGIC + hashlib.sha256(body).digest() + body

        def _complaint(self, network: INetworkDefinition, config: IBuilderConfig) -> str | None:
            flags = config._flags & {"FP16", "INT8", "PREFER_PRECISION_CONSTRAINTS"}
            graph = network._model.graph
            readers = {n.op_type for n in graph.node if "image" in n.input}
            operators = {n.op_type for n in graph.node}
            halves = any(t.data_type == 10 for t in graph.initializer)
            if readers != {"Cast"}:
                return "[network] UINT8 inputs must directly feed into a cast layer"
            if network._strong and flags:
                return f"{sorted(flags)} cannot be set in a strongly typed network"
            if not network._strong and "QuantizeLinear" in operators and "INT8" not in flags:
                return "[network] Q/DQ layers need BuilderFlag.INT8"
            if not network._strong and halves and "FP16" not in flags:
                return "[network] half tensors need BuilderFlag.FP16"
            if network._inputs[0].shape[0] == -1 and not config._profiles:
                return "Network has dynamic inputs, but no optimization profile has been defined"
            if _get(config, "int8_calibrator") and config._calibrates is None:
                return "Calibration with dynamic inputs needs a calibration profile"
            return None

        def _calibrate(self, calibrator: Any) -> None:
            """Note the brightness that the calibrator put into the GPU's memory."""
            if calibrator.read_calibration_cache() is not None:
                return
            means = []
            while (batch := calibrator.get_batch(["image"])) is not None:
                pixels = (ctypes.c_uint8 * 64).from_address(batch[0])
                means.append(float(np.ctypeslib.as_array(pixels).mean()))
            calibrator.write_calibration_cache(json.dumps(means).encode())

    class EngineInspector(_Strict):
        def __init__(self, layers: Any) -> None:
            self._layers = layers

        def get_engine_information(self, format: Any) -> str:
            text = json.dumps({"Layers": self._layers})
            if version == "8.6.0":  # between the names of ONNX nodes, as they are
                text = text.replace('"Name": ', '"Metadata": "[a]\x1e[b]", "Name": ')
            return text

    class IExecutionContext(_Strict):
        def __init__(self, engine: ICudaEngine, memory: int, blocked: bool) -> None:
            self._engine, self._memory, self._blocked = engine, memory, blocked
            self._shape: tuple[int, ...] | None = None
            self._addresses: dict[str, int] = {}
            self._has_run = False
            self._calls: list[Any] = []
            weakref.finalize(self, free, memory)

        def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
            low, _, high = self._engine._header["profile"][name]
            if self._blocked:
                self._engine._log("Profile 0 has been chosen by another IExecutionContext")
                return False
            if any(not a <= s <= b for a, s, b in zip(low, shape, high, strict=True)):
                self._engine._log(f"Shape {shape} is outside of the optimization profile")
                return False
            self._shape, self._has_run = tuple(shape), False
            return True

        def set_tensor_address(self, name: str, memory: int) -> bool:
            self._addresses[name] = int(memory)
            return name in self._engine._io

        def get_tensor_shape(self, name: str) -> tuple[int, ...]:
            return (self._shape[0], *self._engine.get_tensor_shape(name)[1:])

        def execute_async_v3(self, stream_handle: int) -> bool:
            stream, recording = ctypes.c_void_p(stream_handle), ctypes.c_int()
            call("cuStreamIsCapturing", stream, ctypes.byref(recording))
            if self._shape is None or set(self._addresses) != set(self._engine._io):
                self._engine._log("Not all shapes and addresses are set")
                return False
            if recording.value and not self._has_run:
                self._engine._log("enqueueV3 must run once before it can be captured")
                return False
            self_ = weakref.ref(self)  # the callback must not keep the context alive
            run = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(lambda _data: self_()._compute())
            self._calls = [*self._calls[-8:], run]
            return call("cuLaunchHostFunc", stream, run, None) == 0

        def _compute(self) -> None:
            self._has_run = True
            count = int(np.prod(self._shape))
            pixels = (ctypes.c_uint8 * count).from_address(self._addresses["image"])
            image = np.ctypeslib.as_array(pixels).reshape(self._shape)
            outputs = ["anomaly_map", "score"]
            found = self._engine._session.run(outputs, {"image": image})
            for name, values in zip(outputs, found, strict=True):
                values = np.ascontiguousarray(values * trt.drift, np.float32)
                ctypes.memmove(self._addresses[name], values.ctypes.data, values.nbytes)

    trt.drift = np.float32(1)

    class ICudaEngine(_Strict):
        num_io_tensors = 0

        def __init__(self, header: dict[str, Any], model: bytes, log: Any) -> None:
            self._header, self._log = header, log
            graph = onnx.load_from_string(model).graph
            self._io = {v.name: v.type.tensor_type for v in [*graph.input, *graph.output]}
            self.num_io_tensors = len(self._io)
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads, options.log_severity_level = 1, 3
            self._session = onnxruntime.InferenceSession(
                model, options, providers=["CPUExecutionProvider"]
            )
            self._contexts: Any = weakref.WeakSet()

        def get_tensor_name(self, index: int) -> str:
            return list(self._io)[index]

        def get_tensor_dtype(self, name: str) -> Any:
            return trt.DataType[_TYPES[self._io[name].elem_type]]

        def get_tensor_shape(self, name: str) -> tuple[int, ...]:
            return tuple(d.dim_value or -1 for d in self._io[name].shape.dim)

        def create_execution_context(self) -> IExecutionContext | None:
            memory = allocate(trt.context_needs)
            if memory is None:
                self._log("Cuda Runtime (out of memory)")
                return None
            gc.collect()
            blocked = bool(self._contexts) and not self._header["shares"]
            made = IExecutionContext(self, memory, blocked)
            self._contexts.add(made)
            return made

        def create_engine_inspector(self) -> EngineInspector:
            return EngineInspector(self._header["layers"])

    class Runtime(_Strict):
        def __init__(self, logger: Any) -> None:
            self._logger = logger

        def deserialize_cuda_engine(self, serialized_engine: bytes) -> ICudaEngine | None:
            plan = bytes(serialized_engine)
            seal, body = plan[len(MAGIC) : len(MAGIC) + 32], plan[len(MAGIC) + 32 :]
            if not plan.startswith(MAGIC) or hashlib.sha256(body).digest() != seal:
                trt.problems.append("a damaged plan was deserialised, which can end the process")
                return None
            end = 4 + int.from_bytes(body[:4], "big")
            header = json.loads(body[4:end])
            here = gpu()
            if {key: header[key] for key in here} != here:
                trt.problems.append("a plan of another version or GPU was deserialised")
                return None

            def log(text: str) -> None:
                self._logger.log(severity.ERROR, text)

            return ICudaEngine(header, body[end:], log)

    made = [
        ILogger, ITensor, ILayer, INetworkDefinition, ParserError, OnnxParser, IOptimizationProfile,
        ITimingCache, IBuilderConfig, IInt8EntropyCalibrator2, IInt8MinMaxCalibrator, Builder,
        EngineInspector, IExecutionContext, ICudaEngine, Runtime,
    ]  # fmt: skip
    trt.invented = []
    for kind in made:
        if names[kind.__name__]:
            setattr(trt, kind.__name__, kind)
        for member in [m for m in vars(kind) if not m.startswith("_")]:
            full = f"{kind.__name__}.{member}"
            if full not in names:
                trt.invented.append(full)
            elif not names[full]:
                delattr(kind, member)
    return trt


def header(plan: bytes) -> dict[str, Any]:
    """Return what a plan says about its build."""
    body = plan[len(MAGIC) + 32 :]
    found: dict[str, Any] = json.loads(body[4 : 4 + int.from_bytes(body[:4], "big")])
    return found


def _get(thing: Any, name: str) -> Any:
    """Read an attribute that not every version has."""
    return getattr(thing, name, None)


def _is_enum(names: dict[str, bool], kind: str) -> bool:
    return f"{kind}.value" in names and f"{kind}.name" in names
