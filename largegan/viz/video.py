"""Moving pictures for people: GIF always, MP4 where an encoder is installed."""

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from largegan.errors import ConfigError, EnvironmentFault
from largegan.files import output
from largegan.viz.pictures import as_image

ENDINGS = (".gif", ".mp4")


def check_video(path: Path) -> None:
    """Refuses, before anything is computed, what could not be written in the end."""
    if path.suffix.lower() not in ENDINGS:
        raise ConfigError(f"{path} is no video; give a name that ends in {' or '.join(ENDINGS)}")
    if path.suffix.lower() == ".mp4":
        encoder()


def encoder() -> str:
    """The ffmpeg program of the machine, or the one that imageio-ffmpeg brings."""
    found = shutil.which("ffmpeg")
    if found:
        return found
    try:
        from imageio_ffmpeg import get_ffmpeg_exe

        return get_ffmpeg_exe()
    except (ImportError, RuntimeError) as fault:
        raise EnvironmentFault(
            "MP4 needs an encoder, and there is no ffmpeg here; pip install imageio-ffmpeg, or "
            "choose a name that ends in .gif"
        ) from fault


def write_video(path: Path, frames: Sequence[Tensor], *, fps: int = 24) -> None:
    """uint8 frames `[C, H, W]` of one size -> GIF or MP4, never seen half-written.

    Raises `EnvironmentFault` when it cannot be encoded or written.
    """
    check_video(path)
    write = write_gif if path.suffix.lower() == ".gif" else write_mp4
    with output.writing(path) as partial:
        write(partial, frames, fps)


def write_gif(path: Path, frames: Sequence[Tensor], fps: int) -> None:
    """uint8 frames `[C, H, W]`, in a loop for ever."""
    first, *others = (as_image(frame).convert("RGB") for frame in frames)
    # GIF counts hundredths of a second, and players slow down what is below two of them.
    duration = max(20, round(1000 / fps, -1))
    how = {"format": "GIF", "duration": duration, "loop": 0, "comment": output.MARK}
    first.save(path, save_all=True, append_images=others, **how)


def write_mp4(path: Path, frames: Sequence[Tensor], fps: int) -> None:
    """H.264 with the colors that every player knows, which needs even sides: cropped by one."""
    height, width = frames[0].shape[1:]
    command = [encoder(), "-y", "-loglevel", "error", "-f", "rawvideo", "-pix_fmt", "rgb24"]
    command += ["-s", f"{width}x{height}", "-r", str(fps), "-i", "-"]
    command += ["-vf", "crop=trunc(iw/2)*2:trunc(ih/2)*2", "-pix_fmt", "yuv420p"]
    about = ["-metadata", f"comment={output.MARK}", "-movflags", "faststart"]  # said first
    command += ["-c:v", "libx264", *about, "-f", "mp4", str(path)]
    pixels = b"".join(as_image(frame).convert("RGB").tobytes() for frame in frames)
    done = subprocess.run(command, input=pixels, capture_output=True, check=False)
    if done.returncode:
        message = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
        raise EnvironmentFault(f"the encoder failed: {' '.join(message)}; choose a .gif instead")
