from __future__ import annotations

import hashlib
import pickle
import random
import zipfile
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from edgead.errors import EdgeadError, UsageError
from edgead.networks.pdn import PDN
from edgead.teachers import pdn
from edgead.teachers._download import Published
from edgead.teachers.pdn import SHIPPED, load_pdn_teacher


def source(size: str) -> PDN:
    torch.manual_seed(1)
    return PDN(size, 384)


def in_nelsons_layout(network: PDN) -> OrderedDict[str, torch.Tensor]:
    """nelson1425/EfficientAD: an nn.Sequential, keys '0.weight', '0.bias', '3.weight', ..."""
    layers: list[nn.Module] = []
    for layer in network.layers:
        layers.append(layer)
    return nn.Sequential(*layers).state_dict()


def in_anomalibs_layout(network: PDN) -> dict[str, torch.Tensor]:
    """anomalib: 'conv1.weight', 'conv1.bias', 'conv2.weight', ..."""
    return {
        f"conv{number}.{kind}": getattr(layer, kind).detach()
        for number, layer in enumerate(network.convolutions, 1)
        for kind in ("weight", "bias")
    }


@pytest.mark.parametrize("layout", [in_nelsons_layout, in_anomalibs_layout])
@pytest.mark.parametrize("size", ["s", "m"])
def test_public_key_layouts_load_as_they_are(tmp_path: Path, layout, size: str) -> None:
    original, network = source(size), PDN(size, 384)
    path = tmp_path / "teacher.pth"
    torch.save(layout(original), path)
    spec = load_pdn_teacher(network, size, str(path))
    x = torch.randn(1, 3, 64, 64)
    torch.testing.assert_close(network(x), original(x))
    assert "not stated" in spec.licence


@pytest.mark.parametrize("size", sorted(SHIPPED))
def test_the_shipped_teachers_load_and_say_where_they_are_from(size: str) -> None:
    network = PDN(size, 384)
    spec = load_pdn_teacher(network, size, None)
    assert "Apache-2.0" in spec.licence
    assert all(bool(torch.isfinite(p).all()) for p in network.parameters())
    file = Path(pdn.__file__).with_name(SHIPPED[size])
    assert file.stat().st_size < 6e6
    assert spec.sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
    assert file.with_suffix(".md").is_file()


def test_a_size_without_a_shipped_teacher_says_where_to_get_one() -> None:
    with pytest.raises(UsageError, match="no teacher for efficientad-m .*teacher_medium.*anomalib"):
        load_pdn_teacher(PDN("m", 384), "m", None)


class _Runs:
    def __reduce__(self) -> tuple[object, tuple[str, ...]]:
        return print, ("code ran while a teacher was loaded",)


def test_files_that_would_run_code_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "teacher.pth"
    torch.save({"conv1.weight": _Runs()}, path)
    with pytest.raises(EdgeadError, match="runs code"):
        load_pdn_teacher(PDN("s", 384), "s", str(path))
    path.write_bytes(pickle.dumps(_Runs(), protocol=2))
    with pytest.raises(EdgeadError):
        load_pdn_teacher(PDN("s", 384), "s", str(path))
    assert capsys.readouterr().out == ""


def test_a_teacher_of_another_size_is_refused_with_both_sides(tmp_path: Path) -> None:
    path = tmp_path / "teacher.safetensors"
    save_file(dict(source("m").state_dict()), path)
    with pytest.raises(EdgeadError, match="does not fit efficientad-s: .*256x3x4x4.*128x3x4x4"):
        load_pdn_teacher(PDN("s", 384), "s", str(path))


def test_damaged_and_missing_files_are_named(tmp_path: Path) -> None:
    path = tmp_path / "teacher.safetensors"
    path.write_bytes(b"no tensors")
    with pytest.raises(EdgeadError, match=r"teacher\.safetensors is damaged"):
        load_pdn_teacher(PDN("s", 384), "s", str(path))
    network = tmp_path / "network.onnx"
    network.write_bytes(b"")
    with pytest.raises(EdgeadError, match=r"distill-teacher --from .*network\.onnx"):
        load_pdn_teacher(PDN("s", 384), "s", str(network))
    with pytest.raises(UsageError, match="does not exist"):
        load_pdn_teacher(PDN("s", 384), "s", str(tmp_path / "gone.pth"))


@pytest.fixture
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in place of anomalib's download host, with an archive like its own."""
    folder = tmp_path / "host"
    folder.mkdir()
    state = {
        f"conv{i}.{k}": v
        for i, layer in enumerate(PDN("s", 384).convolutions, 1)
        for k, v in layer.state_dict().items()
    }
    torch.save(state, tmp_path / "small.pth")
    path = folder / "efficientad_pretrained_weights.zip"
    with zipfile.ZipFile(path, "w") as opened:
        opened.write(tmp_path / "small.pth", "weights/pretrained_teacher_small.pth")
    data = path.read_bytes()
    published = Published(path.name, hashlib.sha256(data).hexdigest(), len(data))
    monkeypatch.setattr(pdn, "ANOMALIB_ARCHIVE", published)
    monkeypatch.setattr(pdn, "ANOMALIB_HOST", folder.as_uri() + "/")
    monkeypatch.setenv("EDGEAD_CACHE", str(tmp_path / "cache"))
    return path


def test_anomalibs_teacher_is_fetched_once_and_its_licence_told(
    archive: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = load_pdn_teacher(PDN("s", 384), "s", "anomalib")
    assert "which states no licence for the weights" in spec.licence
    assert spec.licence in capsys.readouterr().err
    archive.unlink()
    assert load_pdn_teacher(PDN("s", 384), "s", "anomalib") == spec
    with pytest.raises(UsageError, match="no teacher for efficientad-n"):
        load_pdn_teacher(PDN("n", 384), "n", "anomalib")


def test_a_changed_file_in_the_cache_is_refused_and_gets_no_provenance(
    archive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    load_pdn_teacher(PDN("s", 384), "s", "anomalib")
    cached = tmp_path / "cache" / archive.name
    whole = bytearray(cached.read_bytes())
    whole[len(whole) // 2] ^= 1
    for data in (bytes(whole), whole[:-1], b"", whole + b"more"):
        cached.write_bytes(data)
        capsys.readouterr()
        with pytest.raises(EdgeadError, match=f"is not the published file.*rm {cached}"):
            load_pdn_teacher(PDN("s", 384), "s", "anomalib")
        assert capsys.readouterr().err == ""
    # What lies beside the archive has no published hash, and is not taken for its content.
    cached.unlink()
    archive.unlink()
    torch.save(in_anomalibs_layout(source("s")), cached.with_name("pretrained_teacher_small.pth"))
    with pytest.raises(EdgeadError, match="cannot be downloaded"):
        load_pdn_teacher(PDN("s", 384), "s", "anomalib")


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_damaged_bytes_of_a_teacher_are_one_sentence(tmp_path: Path, suffix: str) -> None:
    path, rng = tmp_path / f"teacher{suffix}", random.Random(0)
    state = {"conv1.weight": torch.ones(4, 3, 3, 3), "conv1.bias": torch.zeros(4)}
    if suffix == ".pth":
        torch.save(state, path)
    else:
        save_file(state, path)
    whole = path.read_bytes()
    for _ in range(300):
        data = bytearray(whole)
        for _ in range(rng.randrange(1, 4)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        path.write_bytes(data[: rng.randrange(len(data))] if rng.random() < 0.2 else data)
        with pytest.raises(EdgeadError, match=path.name) as error:  # whole, it does not fit either
            load_pdn_teacher(PDN("s", 384), "s", str(path))
        assert "\n" not in str(error.value)


def test_weights_that_are_no_numbers_are_damage(tmp_path: Path) -> None:
    path = tmp_path / "teacher.safetensors"
    state = dict(source("s").state_dict())
    next(iter(state.values()))[0] = float("nan")
    save_file(state, path)
    with pytest.raises(EdgeadError, match="values that are not finite numbers"):
        load_pdn_teacher(PDN("s", 384), "s", str(path))


def test_without_a_network_the_error_says_where_the_teacher_goes(archive: Path) -> None:
    archive.unlink()
    with pytest.raises(EdgeadError, match=r"cannot be downloaded .*put it at .*--teacher FILE"):
        load_pdn_teacher(PDN("s", 384), "s", "anomalib")
