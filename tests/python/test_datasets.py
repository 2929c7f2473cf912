"""Finding, reading, downloading and drawing data sets. No test here leaves this machine."""

from __future__ import annotations

import gzip
import hashlib
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from idx_files import idx
from mnistcnn import _core
from mnistcnn.data import datasets

NOWHERE = "http://127.0.0.1:9/"  # nobody listens on the discard port


def contents(name: str, seed: int = 0, train: int = 30, test: int = 20) -> dict[str, bytes]:
    """Small files of the right form, by the official names without .gz."""
    generator = np.random.default_rng(seed)
    result = {}
    for count, (images, labels) in ((train, _names(name)[:2]), (test, _names(name)[2:])):
        result[images] = idx(generator.integers(0, 256, (count, 28, 28), dtype=np.uint8))
        classes = generator.integers(0, 10, count)
        if name == "qmnist":
            facts = generator.integers(0, 1000, (count, 8)).astype(np.int32)
            facts[:, 0] = classes
            result[labels] = idx(facts)
        else:
            result[labels] = idx(classes.astype(np.uint8))
    return result


def _names(name: str) -> list[str]:
    return [file.name for file in datasets._SOURCES[name].files]


def put(folder: Path, name: str, compressed: bool = True, seed: int = 0) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for file, content in contents(name, seed).items():
        if compressed:
            (folder / f"{file}.gz").write_bytes(gzip.compress(content))
        else:
            (folder / file).write_bytes(content)
    return folder


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without data sets and without network; returns the cache folder."""
    monkeypatch.delenv("MNISTCNN_DATA", raising=False)
    monkeypatch.setenv("MNISTCNN_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    for variable in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(variable, raising=False)
    sources = {name: replace(source, mirrors=(NOWHERE,)) for name, source in datasets._SOURCES.items()}
    monkeypatch.setattr(datasets, "_SOURCES", sources)
    return tmp_path / "cache"


# ---- finding ----


@pytest.mark.parametrize("compressed", [True, False])
@pytest.mark.parametrize("name", ["mnist", "fashion_mnist", "kmnist", "qmnist"])
@pytest.mark.parametrize("layout", ["own", "torchvision"])
def test_finds_every_layout(tmp_path: Path, name: str, layout: str, compressed: bool):
    folder = datasets._SOURCES[name].folder + "/raw" if layout == "torchvision" else name
    put(tmp_path / "here" / folder, name, compressed)
    assert datasets.available(name, root=tmp_path / "here")
    train, test = datasets.load(name, root=str(tmp_path / "here"), download=False)
    expected = contents(name)
    images, labels = _names(name)[:2]
    assert train.images.tobytes() == expected[images][16:]
    assert len(test) == 20
    assert train.name == name
    assert train.num_classes == 10
    if name != "qmnist":
        assert train.labels.astype(np.uint8).tobytes() == expected[labels][8:]


def test_qmnist_takes_the_first_column(tmp_path: Path):
    put(tmp_path / "qmnist", "qmnist")
    train, _ = datasets.load("qmnist", root=tmp_path)
    facts = np.frombuffer(contents("qmnist")["qmnist-train-labels-idx2-int"], ">i4", offset=12).reshape(-1, 8)
    assert train.labels.tolist() == facts[:, 0].tolist()


def test_order_of_search(tmp_path: Path, alone: Path, monkeypatch: pytest.MonkeyPatch):
    def first_pixel() -> int:
        return int(datasets.load("mnist", root=tmp_path / "root", download=False)[0].images[0, 0, 0, 0])

    places = [tmp_path / "data/MNIST/raw", alone / "mnist", tmp_path / "env", tmp_path / "root/mnist"]
    monkeypatch.setenv("MNISTCNN_DATA", str(tmp_path / "env"))
    for seed, place in enumerate(places, 1):
        put(place, "mnist", seed=seed)
        assert first_pixel() == contents("mnist", seed)["train-images-idx3-ubyte"][16]


def test_a_bare_folder_of_files_is_mnist_unless_it_says_otherwise(tmp_path: Path):
    put(tmp_path / "files", "mnist")
    put(tmp_path / "Fashion-MNIST", "fashion_mnist")
    assert datasets.available("mnist", root=tmp_path / "files")
    assert not datasets.available("fashion_mnist", root=tmp_path / "files")
    assert datasets.available("fashion_mnist", root=tmp_path / "Fashion-MNIST")
    assert not datasets.available("mnist", root=tmp_path / "Fashion-MNIST")


def test_a_bare_folder_is_known_by_the_official_checksum(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    put(tmp_path / "files", "kmnist")
    digest = hashlib.sha256((tmp_path / "files/t10k-labels-idx1-ubyte.gz").read_bytes()).hexdigest()
    source = datasets._SOURCES["kmnist"]
    files = (*source.files[:3], replace(source.files[3], sha256=digest))
    monkeypatch.setitem(datasets._SOURCES, "kmnist", replace(source, files=files))
    assert datasets.available("kmnist", root=tmp_path / "files")
    assert not datasets.available("mnist", root=tmp_path / "files")


def test_three_of_four_files_are_not_enough(tmp_path: Path):
    put(tmp_path / "mnist", "mnist")
    (tmp_path / "mnist/t10k-labels-idx1-ubyte.gz").unlink()
    assert not datasets.available("mnist", root=tmp_path)


def test_unknown_names():
    for function in (datasets.load, datasets.available):
        with pytest.raises(ValueError, match="unknown data set 'minst', choose one of mnist, fashion_mnist, kmnist"):
            function("minst")
    with pytest.raises(ValueError, match="did you mean 'fashion_mnist'"):
        datasets.load("Fashion-MNIST")


def test_a_failed_download_tells_its_reason_and_no_addresses(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("NO_PROXY", "no_proxy", "MNISTCNN_DATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(datasets.DownloadError) as caught:
        datasets.load("kmnist", root=tmp_path, progress=False)
    tried = [line for line in str(caught.value).splitlines() if line.startswith("  http")]
    assert tried
    for line in tried:
        assert line.count("http") == 1, "the address once"
        assert "Connection" in line or "proxy" in line
        assert "HTTPConnectionPool" not in line
        assert "0x" not in line


def test_checksums_are_well_formed():
    digests = [file.sha256 for source in datasets._SOURCES.values() for file in source.files]
    assert len(set(digests)) == 16
    assert all(len(digest) == 64 and int(digest, 16) for digest in digests)


# ---- reading ----


def test_a_damaged_file_of_the_user_is_named(tmp_path: Path):
    path = put(tmp_path / "mnist", "mnist") / "train-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(OSError, match=r"train-images-idx3-ubyte.gz: truncated"):
        datasets.load("mnist", root=tmp_path)


@pytest.mark.parametrize(
    ("file", "array", "text"),
    [
        ("train-images-idx3-ubyte", np.zeros((30, 27, 28), np.uint8), r"expected uint8 \[N, 28, 28\]"),
        ("train-images-idx3-ubyte", np.zeros((30, 28), np.int32), r"int32 of shape \[30, 28\]"),
        ("train-images-idx3-ubyte", np.zeros((29, 28, 28), np.uint8), "29 images but 30 labels"),
        ("train-labels-idx1-ubyte", np.zeros((30, 2), np.uint8), r"labels of shape \[30, 2\]"),
        ("t10k-labels-idx1-ubyte", np.full(20, 10, np.uint8), "label 10 at index 0 is out of range"),
    ],
)
def test_files_that_are_not_mnist_are_refused(tmp_path: Path, file: str, array: np.ndarray, text: str):
    folder = put(tmp_path / "mnist", "mnist", compressed=False)
    (folder / file).write_bytes(idx(array))
    with pytest.raises(OSError, match=text):
        datasets.load("mnist", root=tmp_path)


# ---- downloading ----


class Mirror:
    """A local server of files; `broken` ones come with wrong content."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = files
        self.asked: list[str] = []
        mirror = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                name = self.path.strip("/")
                mirror.asked.append(name)
                content = mirror.files.get(name)
                self.send_response(200 if content is not None else 404)
                self.send_header("Content-Length", str(len(content or b"")))
                self.end_headers()
                self.wfile.write(content or b"")

            def log_message(self, *arguments: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True)
        self.thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def mirrors(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Mirror, Mirror]]:
    """Two mirrors of a small MNIST, which is made the official one."""
    files = {f"{name}.gz": gzip.compress(content) for name, content in contents("mnist").items()}
    first, second = Mirror(dict(files)), Mirror(dict(files))
    source = datasets._SOURCES["mnist"]
    known = tuple(replace(file, sha256=hashlib.sha256(files[f"{file.name}.gz"]).hexdigest()) for file in source.files)
    changed = replace(source, mirrors=(first.url, second.url), files=known)  # type: ignore[arg-type]
    monkeypatch.setitem(datasets._SOURCES, "mnist", changed)
    yield first, second
    first.close()
    second.close()


def everything_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


FILES = sorted(f"{name}.gz" for name in contents("mnist"))


def test_downloads_once(alone: Path, mirrors: tuple[Mirror, Mirror]):
    assert not datasets.available("mnist")
    train, test = datasets.load("mnist", progress=False)
    assert (len(train), len(test)) == (30, 20)
    assert everything_in(alone) == FILES
    assert datasets.available("mnist")
    datasets.load("mnist")
    assert (len(mirrors[0].asked), mirrors[1].asked) == (4, [])


def test_downloads_to_the_root(tmp_path: Path, alone: Path, mirrors: tuple[Mirror, Mirror]):
    datasets.load("mnist", root=tmp_path / "root", progress=False)
    assert everything_in(tmp_path / "root" / "mnist") == FILES
    assert everything_in(alone) == []


def test_shows_a_progress_bar(mirrors: tuple[Mirror, Mirror], capsys: pytest.CaptureFixture[str]):
    datasets.load("mnist", progress=True)
    assert "100%" in capsys.readouterr().err


@pytest.mark.parametrize("broken", [None, b"<html>please log in</html>", b""])
def test_a_bad_download_is_removed_and_the_next_mirror_asked(
    alone: Path, mirrors: tuple[Mirror, Mirror], broken: bytes | None
):
    first, second = mirrors
    if broken is None:
        del first.files["train-images-idx3-ubyte.gz"]
    else:
        first.files["train-images-idx3-ubyte.gz"] = broken
    train, _ = datasets.load("mnist", progress=False)
    assert len(train) == 30
    assert everything_in(alone) == FILES
    assert len(second.asked) == 4  # the first one is asked last from then on
    assert len(first.asked) == 1


def test_nothing_is_left_when_every_mirror_is_bad(alone: Path, mirrors: tuple[Mirror, Mirror]):
    for mirror in mirrors:
        mirror.files["t10k-labels-idx1-ubyte.gz"] = b"wrong"
    with pytest.raises(datasets.DownloadError) as caught:
        datasets.load("mnist", progress=False)
    assert everything_in(alone) == [name for name in FILES if name != "t10k-labels-idx1-ubyte.gz"]
    text = str(caught.value)
    assert mirrors[0].url in text
    assert mirrors[1].url in text
    assert "hash" in text
    for mirror in mirrors:  # only what is missing is fetched later
        mirror.asked.clear()
        mirror.files["t10k-labels-idx1-ubyte.gz"] = gzip.compress(contents("mnist")["t10k-labels-idx1-ubyte"])
    mirrors[1].files.clear()
    mirrors[0].files = {}
    with pytest.raises(datasets.DownloadError):
        datasets.load("mnist", progress=False)
    assert {name for mirror in mirrors for name in mirror.asked} == {"t10k-labels-idx1-ubyte.gz"}


def test_a_damaged_cache_is_downloaded_again(alone: Path, mirrors: tuple[Mirror, Mirror]):
    datasets.load("mnist", progress=False)
    path = alone / "mnist" / "train-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(OSError, match="truncated"):
        datasets.load("mnist", download=False)
    train, _ = datasets.load("mnist", progress=False)
    assert len(train) == 30


def test_without_network_the_error_says_what_helps(alone: Path):
    with pytest.raises(datasets.DownloadError) as caught:
        datasets.load("mnist", progress=False)
    text = str(caught.value)
    assert isinstance(caught.value, OSError)
    for part in (
        NOWHERE,
        "train-images-idx3-ubyte.gz",
        "MNISTCNN_DATA",
        str(alone / "mnist"),
        'load("digits")',
    ):
        assert part in text
    assert everything_in(alone) == []
    with pytest.raises(datasets.DownloadError, match="download is off"):
        datasets.load("mnist", download=False)


def test_a_folder_that_cannot_be_made_is_no_riddle(tmp_path: Path, mirrors: tuple[Mirror, Mirror]):
    (tmp_path / "root").write_text("a file where the folder should be")
    with pytest.raises(datasets.DownloadError, match="root"):
        datasets.load("mnist", root=tmp_path / "root", progress=False)


# ---- digits ----


@pytest.fixture
def few_digits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets, "_TRAIN_DIGITS", 300)
    monkeypatch.setattr(datasets, "_TEST_DIGITS", 100)


def same(first: Any, second: Any) -> bool:
    return all(
        np.array_equal(a.images, b.images) and np.array_equal(a.labels, b.labels)
        for a, b in zip(first, second, strict=True)
    )


def test_digits_full_size():
    started = time.perf_counter()
    train, test = datasets.load("digits")
    seconds = time.perf_counter() - started
    print(f"70,000 digits in {seconds:.2f} s")
    assert repr(train) == "ImageSet 'digits': 60,000 images 1x28x28, 10 classes (0 … 9)"
    assert len(test) == 10000
    assert train.class_counts().min() > 5600
    assert seconds < 20  # 0.4 s where nothing else runs


@pytest.mark.usefixtures("few_digits")
def test_digits_are_cached_and_depend_on_the_seed(alone: Path, monkeypatch: pytest.MonkeyPatch):
    first = datasets.load("digits", seed=1)
    assert len(everything_in(alone)) == 5
    assert not same(first, datasets.load("digits", seed=2))
    monkeypatch.setattr(datasets, "_drawn_digits", lambda seed: pytest.fail("not taken from the cache"))
    assert same(first, datasets.load("digits", seed=1))
    train, test = first
    assert not np.array_equal(train.images[:100], test.images)


@pytest.mark.usefixtures("few_digits")
@pytest.mark.parametrize("damage", ["truncated", "empty", "flipped", "foreign", "no note", "bad note", "old pen"])
def test_a_damaged_cache_is_drawn_again(alone: Path, damage: str):
    first = datasets.load("digits")
    images, note = alone / "digits/seed0-train-images.npy", alone / "digits/seed0.json"
    content = bytearray(images.read_bytes())
    if damage == "truncated":
        images.write_bytes(content[:-100])
    elif damage == "empty":
        images.write_bytes(b"")
    elif damage == "flipped":
        content[-50_000] ^= 255
        images.write_bytes(content)
    elif damage == "foreign":
        images.write_bytes(b"\x80\x04K\x01." * 100)
    elif damage == "no note":
        note.unlink()
    elif damage == "bad note":
        note.write_text("{")
    else:
        arrays = datasets._drawn_digits(1)
        datasets._write_digits(0, arrays)
    assert same(first, datasets.load("digits"))
    assert datasets._read_digits(0) is not None  # repaired


@pytest.mark.usefixtures("few_digits")
def test_an_unwritable_cache_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    first = datasets.load("digits")
    (tmp_path / "blocked").write_text("")
    monkeypatch.setenv("MNISTCNN_CACHE", str(tmp_path / "blocked"))
    assert same(first, datasets.load("digits"))


@pytest.mark.usefixtures("few_digits")
def test_a_full_disk_is_no_error(alone: Path, monkeypatch: pytest.MonkeyPatch):
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    assert len(datasets.load("digits")[0]) == 300
    assert everything_in(alone) == []


@pytest.mark.parametrize("seed", [-1, 2**64])
def test_digits_refuse_seeds(seed: int):
    with pytest.raises(ValueError, match="seed must be between 0 and"):
        datasets.load("digits", seed=seed)


# ---- auto ----


def test_auto_takes_mnist_when_it_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MNISTCNN_DATA", str(put(tmp_path / "mnist", "mnist")))
    train, _, message = datasets.load_auto()
    assert (train.name, message) == ("mnist", None)


@pytest.mark.usefixtures("few_digits")
def test_auto_says_loudly_why_it_is_not_mnist(alone: Path):
    found = datasets.load_auto(progress=False)
    assert (found.train.name, found.test.name) == ("digits", "digits")
    assert found.message is not None
    assert found.message.startswith("NOT MNIST")
    assert NOWHERE in found.message


def test_the_real_files(mnist: Any):
    train, _ = mnist
    images, labels = _core.draw_digits(1000, seed=0, first_index=0, threads=1)
    assert train.images.shape[1:] == images.shape[1:]
    assert abs(float(images.mean()) - float(train.images[:5000].mean())) < 8
    assert set(labels.tolist()) == set(train.classes and range(10))
