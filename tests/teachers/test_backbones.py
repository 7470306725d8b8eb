from __future__ import annotations

import hashlib
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from edgead.calibration import cache
from edgead.errors import EdgeadError, UsageError
from edgead.networks.resnet import Trunk
from edgead.teachers import backbones
from edgead.teachers._download import Published
from edgead.teachers.backbones import load_backbone

State = dict[str, Tensor]


def trunk(architecture: str = "resnet18", seed: int = 1) -> Trunk:
    torch.manual_seed(seed)
    return Trunk(architecture)


def torchvisions(network: Trunk) -> State:
    """A whole classifier's file: what no detector uses is in it too."""
    state = dict(network.state_dict())
    state["layer4.0.conv1.weight"] = torch.zeros(512, 256, 3, 3)
    state["fc.weight"], state["fc.bias"] = torch.zeros(1000, 512), torch.zeros(1000)
    return state


def old(network: Trunk) -> State:
    """Files from before batch normalisation counted its batches."""
    return {k: v for k, v in torchvisions(network).items() if "num_batches" not in k}


def test_names_are_torchvisions() -> None:
    names = set(Trunk("wide_resnet50_2").state_dict())
    for name in (
        "conv1.weight",
        "bn1.running_mean",
        "layer1.0.downsample.0.weight",
        "layer2.3.conv3.weight",
        "layer3.5.bn2.bias",
    ):
        assert name in names
    shapes = {k: tuple(v.shape) for k, v in Trunk("wide_resnet50_2").state_dict().items()}
    assert shapes["layer1.0.conv1.weight"] == (128, 64, 1, 1)
    assert shapes["layer3.0.conv2.weight"] == (512, 512, 3, 3)


@pytest.mark.parametrize(
    "wrap",
    [
        torchvisions,
        old,
        lambda n: {"state_dict": {f"module.{k}": v for k, v in torchvisions(n).items()}},
        lambda n: {"model": torchvisions(n)},
    ],
    ids=["torchvision", "old", "timm checkpoint", "model entry"],
)
def test_public_files_load_as_they_are(tmp_path: Path, wrap: Callable[[Trunk], State]) -> None:
    original, path = trunk().eval(), tmp_path / "weights.pth"
    torch.save(wrap(original), path)
    network = trunk(seed=2).eval()
    spec = load_backbone(network, str(path))
    x = torch.randn(1, 3, 64, 64)
    for found, expected in zip(network(x), original(x), strict=True):
        torch.testing.assert_close(found, expected)
    assert "not stated" in spec.licence
    assert spec.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_safetensors_of_halves_load_too(tmp_path: Path) -> None:
    original, path = trunk(), tmp_path / "model.safetensors"
    half = {k: v.half() if v.is_floating_point() else v for k, v in torchvisions(original).items()}
    save_file(half, path, {"name": "mine", "licence": "CC0", "validation": "0.3 unexplained"})
    network = trunk(seed=2)
    spec = load_backbone(network, str(path))
    assert (spec.name, spec.licence, spec.validation) == ("mine", "CC0", "0.3 unexplained")
    assert torch.equal(network.conv1.weight, half["conv1.weight"].float())


def test_random_weights_only_when_asked_for_and_they_say_so() -> None:
    spec = load_backbone(trunk(), "random")
    assert "not pretrained" in spec.source
    assert spec.sha256 == load_backbone(trunk(), "random").sha256
    assert spec.sha256 != load_backbone(trunk(seed=2), "random").sha256


def refused(path: Path, state: object, architecture: str = "resnet18") -> str:
    torch.save(state, path)
    with pytest.raises(EdgeadError) as error:
        load_backbone(trunk(architecture), str(path))
    assert str(path) in str(error.value)
    return str(error.value)


def test_files_of_other_networks_are_refused_with_both_sides(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    said = refused(path, torchvisions(trunk()), "wide_resnet50_2")
    assert "does not fit wide_resnet50_2" in said
    assert "64x64x3x3 in the file and 128x64x1x1" in said
    deeper = torchvisions(trunk())
    deeper["layer1.2.conv1.weight"] = torch.zeros(64, 64, 3, 3)
    assert "layer1.2.conv1.weight" in refused(path, deeper)
    assert "'features.0.weight'" in refused(path, {"features.0.weight": torch.zeros(3)})
    assert "does not hold a state dict" in refused(path, [1, 2])
    assert "is empty" in refused(path, {})


class _Runs:
    def __reduce__(self) -> tuple[object, tuple[str, ...]]:
        return print, ("code ran while weights were loaded",)


def test_damaged_changed_and_unsafe_files_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "resnet18.pth"
    torch.save(torchvisions(trunk()), path)
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(EdgeadError, match=r"resnet18\.pth is damaged"):
        load_backbone(trunk(), str(path))
    named = tmp_path / "resnet18-f37072fd.pth"
    torch.save(torchvisions(trunk()), named)
    with pytest.raises(EdgeadError, match="truncated or was changed.*f37072fd"):
        load_backbone(trunk(), str(named))
    path.write_bytes(pickle.dumps({"conv1.weight": _Runs()}, protocol=2))
    with pytest.raises(EdgeadError):
        load_backbone(trunk(), str(path))
    assert capsys.readouterr().out == ""
    with pytest.raises(UsageError, match="does not exist"):
        load_backbone(trunk(), str(tmp_path / "gone.pth"))


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in place of PyTorch's download host, and an empty cache."""
    folder = tmp_path / "host"
    folder.mkdir()
    torch.save(torchvisions(trunk()), folder / "resnet18.pth")
    data = (folder / "resnet18.pth").read_bytes()
    sha256 = hashlib.sha256(data).hexdigest()
    name = f"resnet18-{sha256[:8]}.pth"
    (folder / "resnet18.pth").rename(folder / name)
    monkeypatch.setitem(backbones.PUBLISHED, "resnet18", Published(name, sha256, len(data)))
    monkeypatch.setattr(backbones, "DOWNLOADS", folder.as_uri() + "/")
    monkeypatch.setenv("EDGEAD_CACHE", str(tmp_path / "cache"))
    return folder


def test_published_weights_are_fetched_once(host: Path) -> None:
    network = trunk(seed=2)
    spec = load_backbone(network, None)
    assert "ImageNet" in spec.name
    torch.testing.assert_close(network.conv1.weight, trunk().conv1.weight)
    for file in host.iterdir():
        file.unlink()
    assert load_backbone(trunk(seed=3), None) == spec


def test_a_wrong_download_is_thrown_away(host: Path) -> None:
    (file,) = host.iterdir()
    file.write_bytes(file.read_bytes()[:-10])
    with pytest.raises(EdgeadError, match=r"sha256.*discarded"):
        load_backbone(trunk(), None)
    assert not list(cache.folder().glob("*"))


def test_without_a_network_the_error_says_what_to_fetch_and_where_to_put_it(host: Path) -> None:
    (file,) = host.iterdir()
    file.unlink()
    with pytest.raises(EdgeadError) as error:
        load_backbone(trunk(), None)
    said = str(error.value)
    assert backbones.DOWNLOADS + file.name in said
    assert str(cache.folder() / file.name) in said
    assert "--teacher FILE" in said
    assert "--teacher MODEL=FILE" in said


@pytest.mark.parametrize("architecture", ["resnet18", "wide_resnet50_2"])
def test_the_network_that_left_the_package_is_refused_with_what_to_use(
    architecture: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGEAD_CACHE", str(tmp_path))
    with pytest.raises(UsageError, match="no longer in this package") as error:
        load_backbone(trunk(architecture), "distilled")
    for instead in ("--model reverse-distillation-lite0 or stfpm-lite0", "--teacher FILE"):
        assert instead in str(error.value)
    assert not list(tmp_path.iterdir())


def test_the_pinned_hashes_are_those_in_the_published_names() -> None:
    for published in backbones.PUBLISHED.values():
        assert len(published.sha256) == 64
        assert f"-{published.sha256[:8]}.pth" in published.file
