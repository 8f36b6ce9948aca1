"""Files that appear complete or not at all, whatever happens to the process that writes them."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from atcore.base.files import replacing, write_bytes, write_text


def everything_under(folder: Path) -> dict[str, bytes | None]:
    """Relative names of all files with their content; None for folders."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
    }


def test_a_written_file_is_complete_and_alone(tmp_path: Path) -> None:
    write_bytes(tmp_path / "a" / "b" / "file", b"\x00content")
    assert everything_under(tmp_path) == {"a": None, "a/b": None, "a/b/file": b"\x00content"}
    write_bytes(tmp_path / "a" / "b" / "file", b"new")
    assert everything_under(tmp_path) == {"a": None, "a/b": None, "a/b/file": b"new"}


def test_text_is_written_as_utf_8_with_its_own_line_ends(tmp_path: Path) -> None:
    write_text(tmp_path / "text", "Käfer\n\r\n")
    assert (tmp_path / "text").read_bytes() == b"K\xc3\xa4fer\n\r\n"


def test_a_folder_is_replaced_as_a_whole(tmp_path: Path) -> None:
    for names in (["a", "b"], ["c"]):
        with replacing(tmp_path / "folder") as temporary:
            (temporary / "sub").mkdir(parents=True)
            for name in names:
                (temporary / "sub" / name).write_text(name)
    assert everything_under(tmp_path) == {"folder": None, "folder/sub": None, "folder/sub/c": b"c"}


def test_nothing_shows_under_the_final_name_before_the_end(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with replacing(path) as temporary:
        temporary.write_bytes(b"half")
        assert not path.exists()
        assert temporary.parent.parent == tmp_path  # same file system: the rename is atomic
    assert path.read_bytes() == b"half"


def write_half(path: Path, error: type[BaseException]) -> None:
    with replacing(path) as temporary:
        temporary.write_bytes(b"half of it")
        raise error


def write_half_a_folder(path: Path, error: Exception) -> None:
    with replacing(path) as temporary:
        temporary.mkdir()
        (temporary / "new").write_bytes(b"new")
        raise error


@pytest.mark.parametrize("old", [None, b"old"], ids=["no old file", "old file"])
@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_an_exception_leaves_everything_as_it_was(
    tmp_path: Path, error: type[BaseException], old: bytes | None
) -> None:
    path = tmp_path / "file"
    if old is not None:
        path.write_bytes(old)
    before = everything_under(tmp_path)
    with pytest.raises(error):
        write_half(path, error)
    assert everything_under(tmp_path) == before


def test_an_exception_leaves_the_old_folder_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "old").write_bytes(b"old")
    before = everything_under(tmp_path)
    with pytest.raises(ValueError, match="stop"):
        write_half_a_folder(tmp_path / "folder", ValueError("stop"))
    assert everything_under(tmp_path) == before


def test_writing_nothing_is_an_error_and_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with pytest.raises(FileNotFoundError), replacing(path):
        pass
    assert everything_under(tmp_path) == {"file": b"old"}


def test_a_full_disk_is_told_of_by_the_final_name(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    with (
        pytest.raises(OSError, match="No space left on device") as caught,
        replacing(folder) as temporary,
        replacing(temporary / "part"),
    ):
        Path("/dev/full").write_bytes(b"content")
    assert caught.value.filename == str(folder)
    assert everything_under(tmp_path) == {}


def test_others_may_read_the_file_as_the_umask_says(tmp_path: Path) -> None:
    umask = os.umask(0o022)
    try:
        write_bytes(tmp_path / "file", b"x")
    finally:
        os.umask(umask)
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o644


WRITER = """
import sys
from pathlib import Path
from atcore.base.files import replacing

with replacing(Path(sys.argv[1])) as temporary:
    target = temporary
    if sys.argv[2] == "folder":
        temporary.mkdir()
        target = temporary / "part"
    with target.open("wb") as file:
        file.write(b"half of it")
        file.flush()
        print("writing", flush=True)
        sys.stdin.read()
"""


def kill_while_writing(path: Path, kind: str) -> None:
    """Start a real process that writes `path`, and SIGKILL it when half is written."""
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path), kind],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"writing\n"
        process.kill()
        assert process.wait() == -signal.SIGKILL


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_a_killed_writer_leaves_no_file_under_the_final_name(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "result"
    kill_while_writing(path, kind)
    assert not path.exists()
    assert b"half of it" in everything_under(tmp_path).values()  # it was in the middle of writing


def test_a_killed_writer_leaves_the_old_file_and_the_next_one_cleans_up(tmp_path: Path) -> None:
    path = tmp_path / "result"
    path.write_bytes(b"old")
    kill_while_writing(path, "file")
    assert path.read_bytes() == b"old"
    write_bytes(path, b"new")
    assert everything_under(tmp_path) == {"result": b"new"}


def test_a_reader_of_the_old_file_keeps_the_old_content(tmp_path: Path) -> None:
    # The file is exchanged, never written over: another name of the old file still has it all.
    (tmp_path / "file").write_bytes(b"old")
    os.link(tmp_path / "file", tmp_path / "opened before")
    write_bytes(tmp_path / "file", b"new")
    assert everything_under(tmp_path) == {"file": b"new", "opened before": b"old"}


@pytest.mark.parametrize("name", ["model[1].json", "a*b", "what?"])
def test_cleaning_up_works_for_names_with_wildcards(tmp_path: Path, name: str) -> None:
    kill_while_writing(tmp_path / name, "file")
    write_bytes(tmp_path / name, b"new")
    assert everything_under(tmp_path) == {name: b"new"}


@pytest.mark.parametrize("other", ["model.json", "model.safetensors"])
def test_writers_of_files_with_a_common_beginning_do_not_disturb_each_other(
    tmp_path: Path, other: str
) -> None:
    with replacing(tmp_path / other) as temporary:
        temporary.write_bytes(b"other")
        write_bytes(tmp_path / "model", b"model")
    assert everything_under(tmp_path) == {"model": b"model", other: b"other"}


def test_hidden_files_and_folders_of_others_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / ".model.backup").mkdir()
    (tmp_path / ".model.backup" / "precious").write_bytes(b"mine")
    (tmp_path / ".model.notes").write_bytes(b"mine")
    before = everything_under(tmp_path)
    write_bytes(tmp_path / "model", b"new")
    assert everything_under(tmp_path) == before | {"model": b"new"}
