"""From an ONNX file to an engine, with the one calling sequence that TensorRT 8.5 to 11 share.

Features are found by asking (``hasattr``, ``__members__``), never by version numbers.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from edgead.errors import EdgeadError, UsageError
from edgead.export.tensorrt import onnx_nodes
from edgead.export.tensorrt.options import EngineOptions
from edgead.export.tensorrt.signals import signals_after
from edgead.runtimes.tensorrt import library
from edgead.runtimes.tensorrt.device import Device, OutOfDeviceMemory
from edgead.runtimes.tensorrt.library import has
from edgead.runtimes.tensorrt.session import INPUT, MAP, SCORE

_MIB = 1 << 20
_WORKSPACE_MIB = 1024


@dataclass(frozen=True)
class Built:
    """A built engine and details of its build.

    Attributes:
        plan: The engine.
        seconds: Duration of the build, without parsing.
        shares_profile: Whether the engine may have several execution contexts at once.
        strongly_typed: Whether the graph's types alone decided the precision of each layer.
        layers: The layers as TensorRT describes them; empty where it does not.
        workspace_mib: Limit of the scratch memory.
        free_mib: Free memory of the GPU before the build.
        timing_cache: Timing cache for the next build.
        reused_timings: Whether an earlier build's measurements were used.
        warnings: Warnings of TensorRT.
    """

    plan: bytes
    seconds: float
    shares_profile: bool
    strongly_typed: bool
    layers: list[dict[str, Any]]
    workspace_mib: int
    free_mib: int
    timing_cache: bytes
    reused_timings: bool
    warnings: list[str] = field(default_factory=list)


def build(
    trt: Any,
    device: Device,
    model: bytes,
    options: EngineOptions,
    timing_cache: bytes = b"",
    calibrator: Any = None,
    say: Callable[[str], None] = print,
) -> Built:
    """Build an engine for this GPU; inside ``with device.current():``.

    Args:
        trt: The tensorrt package.
        device: The GPU.
        model: Serialised ONNX model with edgead's contract: FP32, FP16-typed, or with Q/DQ pairs.
        options: Precision, batch, memory, DLA.
        timing_cache: Timing cache of an earlier build on this GPU with this version, or empty.
        calibrator: A TensorRT calibrator, for INT8 from an FP32 graph.
        say: Called with a progress message before the long part begins.

    Raises:
        UsageError: This GPU or version does not support an option.
        OutOfDeviceMemory: The GPU's memory is not enough.
        EdgeadError: TensorRT cannot read the model or builds no engine; has its reason.
    """
    log = library.new_log(trt)
    try:
        builder = trt.Builder(log)
    except TypeError as error:  # how pybind11 says that a factory returned nothing
        raise EdgeadError(
            f"TensorRT {trt.__version__} cannot start a build on {device.name}: "
            f"{library.reason(log, str(error))}"
        ) from error
    if options.dla_core is not None:
        _require_dla(builder, device, options)
    strongly_typed = _can_type_strongly(trt, options, calibrator)
    network = builder.create_network(_network_flags(trt, strongly_typed))
    _parse(trt, network, onnx_nodes.cast_first(model), log)
    config = builder.create_builder_config()
    free, total = (size // _MIB for size in device.memory())
    workspace = options.workspace_mib or max(1, min(_WORKSPACE_MIB, free // 2))
    say(
        f"{device.name}: {free} of {total} MiB free; the build may use {workspace} MiB of "
        "workspace (--workspace)"
    )
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, workspace * _MIB)
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    profile = _add_profile(builder, network, config, options)
    shares_profile = _share_profile(trt, config)
    if options.precision == "fp32":
        # TF32 keeps ten bits of a value, like FP16; scores must be those of FP32.
        config.clear_flag(trt.BuilderFlag.TF32)
    if not strongly_typed:
        _set_precision(trt, config, network, onnx_nodes.tail(model), options)
    if calibrator is not None:
        config.int8_calibrator = calibrator
        config.set_calibration_profile(profile)
    if options.dla_core is not None:
        config.default_device_type = trt.DeviceType.DLA
        config.DLA_core = options.dla_core
        config.set_flag(trt.BuilderFlag.GPU_FALLBACK)
    cache, reused = _timing_cache(config, timing_cache)
    del log.errors[:]
    start = time.perf_counter()
    with signals_after(say):
        plan = builder.build_serialized_network(network, config)
    seconds = time.perf_counter() - start
    if plan is None:
        raise _build_failed(trt, device, log, workspace)
    measured = cache.serialize() if cache is not None else b""
    return Built(
        plan=bytes(plan),
        seconds=seconds,
        shares_profile=shares_profile,
        strongly_typed=strongly_typed,
        layers=_layers(trt, bytes(plan), log),
        workspace_mib=workspace,
        free_mib=free,
        timing_cache=bytes(measured),
        reused_timings=reused,
        warnings=list(dict.fromkeys(log.warnings)),
    )


def _can_type_strongly(trt: Any, options: EngineOptions, calibrator: Any) -> bool:
    if not has(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED"):
        return False
    if not has(trt.BuilderFlag, "FP16"):
        return True  # nothing else is left
    # Calibration and, while there are flags for it, DLA choose types layer by layer.
    return calibrator is None and options.dla_core is None


def _network_flags(trt: Any, strongly_typed: bool) -> int:
    kinds = trt.NetworkDefinitionCreationFlag
    flags = 0
    if has(kinds, "EXPLICIT_BATCH"):
        flags |= 1 << int(kinds.EXPLICIT_BATCH)
    if strongly_typed:
        flags |= 1 << int(kinds.STRONGLY_TYPED)
    return flags


def _parse(trt: Any, network: Any, model: bytes, log: Any) -> None:
    parser = trt.OnnxParser(network, log)
    if not parser.parse(model):
        found = [str(parser.get_error(index).desc()) for index in range(parser.num_errors)]
        reason = " ".join(found[0].split()) if found else library.reason(log)
        raise EdgeadError(f"TensorRT {trt.__version__} cannot read the ONNX file: {reason}")
    outputs = {
        network.get_output(index).name: network.get_output(index)
        for index in range(network.num_outputs)
    }
    image = network.get_input(0)
    is_ours = (
        network.num_inputs == 1
        and image.name == INPUT
        and image.dtype == trt.DataType.UINT8
        and set(outputs) == {MAP, SCORE}
    )
    if not is_ours:
        raise EdgeadError(
            f"TensorRT {trt.__version__} read another graph than edgead writes: input "
            f"{image.name} {image.dtype}, outputs {', '.join(outputs)}; export the detector again"
        )


def _add_profile(builder: Any, network: Any, config: Any, options: EngineOptions) -> Any:
    item = tuple(int(side) for side in network.get_input(0).shape)[1:]
    profile = builder.create_optimization_profile()
    smallest, tuned, largest = ((count, *item) for count in options.batch)
    profile.set_shape(INPUT, smallest, tuned, largest)
    config.add_optimization_profile(profile)
    return profile


def _share_profile(trt: Any, config: Any) -> bool:
    """Let several contexts use the one profile; TensorRT 8.5 cannot, 10 always can."""
    if has(trt.PreviewFeature, "PROFILE_SHARING_0806"):
        config.set_preview_feature(trt.PreviewFeature.PROFILE_SHARING_0806, True)
        return True
    return has(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED")


def _set_precision(
    trt: Any, config: Any, network: Any, tail: set[str], options: EngineOptions
) -> None:
    """Allow lower precisions layer by layer, but not after the last convolution."""
    if options.precision == "fp32":
        return
    config.set_flag(trt.BuilderFlag.FP16)
    if options.precision == "int8":
        config.set_flag(trt.BuilderFlag.INT8)
    config.set_flag(trt.BuilderFlag.PREFER_PRECISION_CONSTRAINTS)
    floats = (trt.DataType.FLOAT, trt.DataType.HALF)
    for index in range(network.num_layers):
        layer = network.get_layer(index)
        outputs = [layer.get_output(number) for number in range(layer.num_outputs)]
        is_tail = layer.name in tail or any(output.name in tail for output in outputs)
        if is_tail and all(output.dtype in floats for output in outputs):
            layer.precision = trt.DataType.FLOAT
            for number in range(layer.num_outputs):
                layer.set_output_type(number, trt.DataType.FLOAT)


def _require_dla(builder: Any, device: Device, options: EngineOptions) -> None:
    cores = int(builder.num_DLA_cores)
    assert options.dla_core is not None
    if options.dla_core >= cores:
        has_them = f"has {cores} DLA cores (0 to {cores - 1})" if cores else "has no DLA core"
        raise UsageError(
            f"--dla {options.dla_core} cannot be used: here, {device.name} {has_them}: "
            "leave the option out to build for the GPU"
        )


def _timing_cache(config: Any, stored: bytes) -> tuple[Any, bool]:
    if stored:
        cache = config.create_timing_cache(stored)
        if cache is not None and config.set_timing_cache(cache, False):
            return cache, True
    cache = config.create_timing_cache(b"")
    if cache is not None and config.set_timing_cache(cache, False):
        return cache, False
    return None, False


def _build_failed(trt: Any, device: Device, log: Any, workspace: int) -> EdgeadError:
    reasons = " ".join(log.errors)
    if library.is_out_of_memory(reasons):
        free, total = (size // _MIB for size in device.memory())
        return OutOfDeviceMemory(
            f"TensorRT {trt.__version__} built no engine because the memory of {device.name} is "
            f"full ({free} of {total} MiB free, workspace {workspace} MiB): close other programs, "
            "or build with a smaller --workspace or --batch"
        )
    return EdgeadError(
        f"TensorRT {trt.__version__} built no engine on {device.name}: {library.reason(log)}"
    )


def _layers(trt: Any, plan: bytes, log: Any) -> list[dict[str, Any]]:
    """Describe the engine's layers: name, kind, and the types that they write."""
    runtime = trt.Runtime(log)
    engine = runtime.deserialize_cuda_engine(plan)
    if engine is None:
        return []  # opening it for the check says why
    inspector = engine.create_engine_inspector()
    try:
        text = inspector.get_engine_information(trt.LayerInformationFormat.JSON)
        # TensorRT 8.6 separates the ONNX nodes of a layer by bare control characters.
        layers = json.loads(text, strict=False)["Layers"]
    except (ValueError, KeyError, TypeError):
        return []
    return [
        {
            "name": entry.get("Name"),
            "kind": entry.get("LayerType"),
            "writes": [written.get("Format/Datatype") for written in entry.get("Outputs", [])],
        }
        for entry in layers
        if isinstance(entry, dict)
    ]
