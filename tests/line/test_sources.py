from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgead.line import mailbox
from edgead.line.errors import SourceError
from edgead.line.reader import Reader
from edgead.line.sources.base import EndOfFrames, Grabbed
from edgead.line.sources.camera import Camera, CameraOptions
from edgead.line.sources.folder import Folder, FolderOptions
from edgead.line.sources.picamera2 import Picamera2, Picamera2Options
from edgead.line.sources.rtsp import Rtsp, RtspOptions
from edgead.line.sources.video import Video, VideoOptions
from tests.conftest import part, write_photo
from tests.line.broker import free_port
from tests.line.judged import until

SYSTEM_PACKAGES = Path("/usr/lib/python3/dist-packages")
"""Debian's PyGObject; of one version of Python alone."""


def next_frame(source: Folder, seconds: float = 5.0) -> Grabbed:
    end = time.monotonic() + seconds
    while (frame := source.read(0.1)) is None:
        assert time.monotonic() < end
    return frame


def png(seed: int) -> bytes:
    return cv2.imencode(".png", part(seed))[1].tobytes()


def test_a_file_is_read_when_nobody_writes_to_it_any_more(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    write_photo(folder / "b.png", part(0))
    (folder / "notes.txt").write_text("no photo")
    (folder / ".a.png").write_bytes(png(1))
    data = png(2)
    with Folder(FolderOptions(folder, settled_s=0.2)) as source:
        assert next_frame(source).name == "b.png"
        source.judged(Grabbed(part(0), 0.0, "b.png"))
        with (folder / "a.png").open("wb") as stream:
            for byte in range(0, len(data), len(data) // 4):
                stream.write(data[byte : byte + len(data) // 4])
                stream.flush()
                os.utime(stream.fileno(), (1e9, 1e9 + byte))  # the clock of another computer
                assert source.read(0.1) is None
        frame = next_frame(source)
        assert frame.name == "a.png"
        assert np.array_equal(frame.picture, part(2))
        source.judged(frame)
        assert source.read(0.3) is None
        (folder / "a.png").write_bytes(png(3))  # another photo under the same name
        assert np.array_equal(next_frame(source).picture, part(3))


def test_a_damaged_file_is_a_frame_with_a_problem(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png(0)[:200])
    (tmp_path / "b.png").write_bytes(png(0))
    with Folder(FolderOptions(tmp_path, watch=False, settled_s=0)) as source:
        damaged = next_frame(source)
        assert damaged.picture is None
        assert "a.png" in (damaged.problem or "")
        source.judged(damaged)
        source.judged(next_frame(source))
        with pytest.raises(EndOfFrames):
            source.read(1)


def test_photos_that_were_judged_are_moved_deleted_or_remembered(tmp_path: Path) -> None:
    def judge_one(**options: object) -> str:
        with Folder(FolderOptions(tmp_path / "in", settled_s=0, **options)) as source:
            frame = next_frame(source)
            unjudged = sorted(path.name for path in (tmp_path / "in").iterdir())
            assert frame.name in unjudged
            source.judged(frame)
        return frame.name

    for name in ("a.png", "b\n.png", "c.png"):
        write_photo(tmp_path / "in" / name, part(0))
    write_photo(tmp_path / "out" / "a.png", part(9))
    assert judge_one(done="move", move_to=tmp_path / "out") == "a.png"
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a-1.png", "a.png"]
    assert judge_one(remember=tmp_path / "judged") == "b\n.png"
    assert judge_one(remember=tmp_path / "judged") == "c.png"
    with (tmp_path / "judged").open("a") as stream:
        stream.write("1 2 b\\u00")  # the process was killed
    with Folder(FolderOptions(tmp_path / "in", watch=False, settled_s=0)) as source:
        assert next_frame(source).name == "b\n.png"
    options = FolderOptions(tmp_path / "in", watch=False, remember=tmp_path / "judged")
    with Folder(options) as source, pytest.raises(EndOfFrames):
        source.read(1)
    assert judge_one(done="delete") == "b\n.png"
    assert [path.name for path in (tmp_path / "in").iterdir()] == ["c.png"]


def test_every_frame_of_a_video_comes_once(tmp_path: Path) -> None:
    path = tmp_path / "part.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 25, (90, 70))
    for seed in range(4):
        writer.write(part(seed, defect=seed == 2))
    writer.release()
    with Video(VideoOptions(path)) as source:
        frames = [source.read(1) for _ in range(4)]
        with pytest.raises(EndOfFrames):
            source.read(1)
    assert [frame.name for frame in frames] == [f"part.avi frame {count}" for count in (1, 2, 3, 4)]
    red = [int(frame.picture[..., 2].max()) for frame in frames]
    assert red[2] > 200 > max(red[0], red[1], red[3])
    with Video(VideoOptions(path, loop=True)) as source:
        looped = [frame for _ in range(10) if (frame := source.read(1)) is not None]
    assert len(looped) > 6
    path.write_bytes(b"no video")
    with pytest.raises(SourceError, match=r"part\.avi cannot be read as a video"):
        Video(VideoOptions(path)).open()


def test_a_camera_that_is_absent_or_busy_is_refused_in_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="/dev/video77 does not exist: there"):
        Camera(CameraOptions(77)).open()
    device = tmp_path / "video0"
    device.touch()
    with pytest.raises(SourceError, match="cannot be opened: it is used by another program, or"):
        Camera(CameraOptions(str(device))).open()
    waits = f"stream = open({str(device)!r}); print('open', flush=True); input()"
    command = [sys.executable, "-c", waits]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "open\n"
        with pytest.raises(SourceError, match=rf"busy: .* \(process {other.pid}\) has it open"):
            Camera(CameraOptions(str(device))).open()
        other.communicate("\n")


def test_what_a_raspberry_pi_has_and_this_machine_has_not_is_named() -> None:
    with pytest.raises(SourceError, match="apt install python3-picamera2"):
        Picamera2(Picamera2Options()).open()


_SERVER = """
import sys
sys.path.append({packages!r})
import gi
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer
Gst.init(None)
server = GstRtspServer.RTSPServer()
server.set_service(sys.argv[1])
factory = GstRtspServer.RTSPMediaFactory()
factory.set_launch(
    "( videotestsrc is-live=true pattern=ball ! video/x-raw,width=320,height=240,framerate=25/1 "
    "! {encoder} name=pay0 pt=96 )"
)
factory.set_shared(True)
server.get_mount_points().add_factory("/part", factory)
server.attach(None)
print("ready", flush=True)
GLib.MainLoop().run()
"""
_ENCODER = (
    "videoconvert ! x264enc tune=zerolatency speed-preset=ultrafast key-int-max=10 ! rtph264pay"
)


def gobject_python() -> str:
    """A Python that has Debian's PyGObject, or a skip."""
    for python in (sys.executable, "/usr/bin/python3"):
        code = f"import sys; sys.path.append({str(SYSTEM_PACKAGES)!r}); import gi"
        if shutil.which(python) and not subprocess.run([python, "-c", code], stderr=-3).returncode:
            return python
    pytest.skip("PyGObject is not installed: apt-get install python3-gi")


class RtspServer:
    def __init__(self) -> None:
        self.python, self.port = gobject_python(), free_port()
        self.process: subprocess.Popen[str] | None = None
        self.start()

    @property
    def url(self) -> str:
        return f"rtsp://user:secret@127.0.0.1:{self.port}/part"

    def start(self) -> None:
        code = _SERVER.format(packages=str(SYSTEM_PACKAGES), encoder=_ENCODER)
        command = [self.python, "-c", code, str(self.port)]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        assert self.process.stdout is not None
        if self.process.stdout.readline() != "ready\n":
            self.kill()
            pytest.skip("no RTSP server: apt-get install gir1.2-gst-rtsp-server-1.0")

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.communicate()
            self.process = None


@pytest.fixture
def rtsp_server() -> Iterator[RtspServer]:
    server = RtspServer()
    yield server
    server.kill()


def test_a_stream_that_is_lost_comes_back(
    rtsp_server: RtspServer, capsys: pytest.CaptureFixture[str]
) -> None:
    box = mailbox.Mailbox(is_live=True)
    reader = Reader(
        Rtsp(RtspOptions(rtsp_server.url)), "line", "rtsp", box, stale_s=2, frozen_frames=0
    )
    reader.start()
    try:
        until(lambda: box.frames > 3, 20)
        assert reader.status().settings == {"width": 320, "height": 240}
        rtsp_server.kill()
        until(lambda: reader.fault)
        assert "secret" not in str(reader.fault)
        before = box.frames
        rtsp_server.start()
        until(lambda: box.frames > before + 3)
    finally:
        reader.stop(10)
    assert "gives frames again, after" in capsys.readouterr().err


_ARAVIS = """
import json, sys
sys.path.append({packages!r})
from edgead.line.sources.aravis import Aravis, AravisOptions
options = AravisOptions("Aravis-Fake-GV01", 320, 240, exposure=5000, gain=2, fps=20)
with Aravis(options) as source:
    frames = []
    while len(frames) < 3:
        frame = source.read(2.0)
        frames += [] if frame is None else [frame]
    shapes = [(frame.picture.shape, str(frame.picture.dtype)) for frame in frames]
    moves = bool((frames[0].picture != frames[2].picture).any())
    print(json.dumps([shapes, moves, dict(source.settings())]))
try:
    Aravis(AravisOptions("nobody")).open()
except Exception as error:
    print(type(error).__name__, error)
"""


def test_a_genicam_camera_is_set_up_and_read() -> None:
    program = shutil.which("arv-fake-gv-camera-0.8")
    if program is None:
        pytest.skip("Aravis is not installed: apt-get install aravis-tools")
    code = _ARAVIS.format(packages=str(SYSTEM_PACKAGES))
    with subprocess.Popen([program, "-i", "127.0.0.1"], stderr=subprocess.DEVNULL) as camera:
        try:
            command = [sys.executable, "-c", code]
            done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        finally:
            camera.kill()  # it does not always heed other signals
    if "gir1.2-aravis" in done.stdout + done.stderr:
        pytest.skip("this Python cannot see Debian's PyGObject")
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.splitlines()
    assert first.startswith('[[[[240, 320], "uint8"], ')
    assert '"exposure": 5000.0, "gain": 2.0' in first
    assert '"width": 320, "height": 240' in first
    assert ", true, {" in first  # the picture moves
    assert second.startswith("SourceError nobody cannot be opened")
