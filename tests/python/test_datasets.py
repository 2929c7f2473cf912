"""Search, download and generation of data sets. No test connects to another machine."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import threading
import time
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mnistcnn
from emnist_files import emnist_contents, glyph
from idx_files import idx
from mnistcnn import _core
from mnistcnn.data import datasets

NOWHERE = "http://127.0.0.1:9/"  # no server listens on the discard port


def contents(name: str, seed: int = 0, train: int = 30, test: int = 20) -> dict[str, bytes]:
    """Return the contents of small valid files, keyed by the official names without .gz."""
    if name.startswith("emnist-"):
        return emnist_contents(name)
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
    return [file.name for file in datasets.SOURCES[name].files]


def put(folder: Path, name: str, compressed: bool = True, seed: int = 0) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for file, content in contents(name, seed).items():
        if compressed:
            (folder / f"{file}.gz").write_bytes(gzip.compress(content))
        else:
            (folder / file).write_bytes(content)
    return folder


@pytest.fixture(autouse=True)
def isolated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Simulate a machine without data sets and network, and return the cache folder."""
    monkeypatch.delenv("MNISTCNN_DATA", raising=False)
    monkeypatch.setenv("MNISTCNN_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    for variable in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(variable, raising=False)
    sources = {name: replace(source, mirrors=(NOWHERE,)) for name, source in datasets.SOURCES.items()}
    for name, source in sources.items():
        if source.archive is not None:
            sources[name] = replace(source, archive=replace(source.archive, mirrors=(NOWHERE,)))
    monkeypatch.setattr(datasets, "SOURCES", sources)
    return tmp_path / "cache"


# ---- search ----


@pytest.mark.parametrize("compressed", [True, False])
@pytest.mark.parametrize("name", ["mnist", "fashion_mnist", "kmnist", "qmnist"])
@pytest.mark.parametrize("layout", ["own", "torchvision"])
def test_all_folder_layouts_are_found(tmp_path: Path, name: str, layout: str, compressed: bool):
    folder = datasets.SOURCES[name].folder + "/raw" if layout == "torchvision" else name
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


def test_qmnist_labels_are_the_first_column(tmp_path: Path):
    put(tmp_path / "qmnist", "qmnist")
    train, _ = datasets.load("qmnist", root=tmp_path)
    facts = np.frombuffer(contents("qmnist")["qmnist-train-labels-idx2-int"], ">i4", offset=12).reshape(-1, 8)
    assert train.labels.tolist() == facts[:, 0].tolist()


def test_order_of_search(tmp_path: Path, isolated: Path, monkeypatch: pytest.MonkeyPatch):
    def first_pixel() -> int:
        return int(datasets.load("mnist", root=tmp_path / "root", download=False)[0].images[0, 0, 0, 0])

    places = [tmp_path / "data/MNIST/raw", isolated / "mnist", tmp_path / "env", tmp_path / "root/mnist"]
    monkeypatch.setenv("MNISTCNN_DATA", str(tmp_path / "env"))
    for seed, place in enumerate(places, 1):
        put(place, "mnist", seed=seed)
        assert first_pixel() == contents("mnist", seed)["train-images-idx3-ubyte"][16]


def test_files_in_an_unknown_folder_are_mnist_unless_its_name_differs(tmp_path: Path):
    put(tmp_path / "files", "mnist")
    put(tmp_path / "Fashion-MNIST", "fashion_mnist")
    assert datasets.available("mnist", root=tmp_path / "files")
    assert not datasets.available("fashion_mnist", root=tmp_path / "files")
    assert datasets.available("fashion_mnist", root=tmp_path / "Fashion-MNIST")
    assert not datasets.available("mnist", root=tmp_path / "Fashion-MNIST")


def test_files_in_an_unknown_folder_are_identified_by_checksum(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    put(tmp_path / "files", "kmnist")
    digest = hashlib.sha256((tmp_path / "files/t10k-labels-idx1-ubyte.gz").read_bytes()).hexdigest()
    source = datasets.SOURCES["kmnist"]
    files = (*source.files[:3], replace(source.files[3], sha256=digest))
    monkeypatch.setitem(datasets.SOURCES, "kmnist", replace(source, files=files))
    assert datasets.available("kmnist", root=tmp_path / "files")
    assert not datasets.available("mnist", root=tmp_path / "files")


def test_a_data_set_with_a_missing_file_is_not_available(tmp_path: Path):
    put(tmp_path / "mnist", "mnist")
    (tmp_path / "mnist/t10k-labels-idx1-ubyte.gz").unlink()
    assert not datasets.available("mnist", root=tmp_path)


def test_unknown_names_raise():
    for function in (datasets.load, datasets.available):
        with pytest.raises(ValueError, match=r"name must be one of mnist, fashion_mnist, kmnist.*got 'minst'"):
            function("minst")
    with pytest.raises(ValueError, match="did you mean 'fashion_mnist'"):
        datasets.load("Fashion-MNIST")


def test_the_error_of_a_download_has_the_reason_without_object_addresses(no_network: None, tmp_path: Path):
    with pytest.raises(datasets.DownloadError) as caught:
        datasets.load("kmnist", root=tmp_path, progress=False)
    tried = [line for line in str(caught.value).splitlines() if line.startswith("  http")]
    assert tried
    for line in tried:
        assert line.count("http") == 1, "the URL must occur once"
        assert "Connection" in line or "proxy" in line
        assert "HTTPConnectionPool" not in line
        assert "0x" not in line


def test_checksums_are_valid():
    digests = [file.sha256 for source in datasets.SOURCES.values() for file in source.files]
    digests += [source.archive.sha256 for source in datasets.SOURCES.values() if source.archive is not None][:1]
    assert len(set(digests)) == 16 + 24 + 1
    assert all(len(digest) == 64 and int(digest, 16) for digest in digests)


# ---- reading files ----


def test_the_error_of_a_damaged_file_names_it(tmp_path: Path):
    path = put(tmp_path / "mnist", "mnist") / "train-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(OSError, match=r"train-images-idx3-ubyte.gz: truncated"):
        datasets.load("mnist", root=tmp_path)


@pytest.mark.parametrize(
    ("file", "array", "text"),
    [
        ("train-images-idx3-ubyte", np.zeros((30, 27, 28), np.uint8), r"expected uint8 \[N, 28, 28\]"),
        ("train-images-idx3-ubyte", np.zeros((30, 28), np.int32), r"int32 of shape \[30, 28\]"),
        (
            "train-images-idx3-ubyte",
            np.zeros((29, 28, 28), np.uint8),
            "must have the same length, got 29 and 30",
        ),
        ("train-labels-idx1-ubyte", np.zeros((30, 2), np.uint8), r"labels of shape \[30, 2\]"),
        ("t10k-labels-idx1-ubyte", np.full(20, 10, np.uint8), "label 10 at index 0 is out of range"),
    ],
)
def test_files_with_other_content_raise(tmp_path: Path, file: str, array: np.ndarray, text: str):
    folder = put(tmp_path / "mnist", "mnist", compressed=False)
    (folder / file).write_bytes(idx(array))
    with pytest.raises(OSError, match=text):
        datasets.load("mnist", root=tmp_path)


# ---- download ----


class Mirror:
    """Local HTTP server of files that records the requests."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = files
        self.requested: list[str] = []
        mirror = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                name = self.path.strip("/")
                mirror.requested.append(name)
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
    """Start two mirrors of a small data set and register it as MNIST."""
    files = {f"{name}.gz": gzip.compress(content) for name, content in contents("mnist").items()}
    first, second = Mirror(dict(files)), Mirror(dict(files))
    source = datasets.SOURCES["mnist"]
    known = tuple(replace(file, sha256=hashlib.sha256(files[f"{file.name}.gz"]).hexdigest()) for file in source.files)
    changed = replace(source, mirrors=(first.url, second.url), files=known)  # type: ignore[arg-type]
    monkeypatch.setitem(datasets.SOURCES, "mnist", changed)
    yield first, second
    first.close()
    second.close()


def everything_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


FILES = sorted(f"{name}.gz" for name in contents("mnist"))


def test_files_are_downloaded_once(isolated: Path, mirrors: tuple[Mirror, Mirror]):
    assert not datasets.available("mnist")
    train, test = datasets.load("mnist", progress=False)
    assert (len(train), len(test)) == (30, 20)
    assert everything_in(isolated) == FILES
    assert datasets.available("mnist")
    datasets.load("mnist")
    assert (len(mirrors[0].requested), mirrors[1].requested) == (4, [])


def test_files_are_downloaded_to_root(tmp_path: Path, isolated: Path, mirrors: tuple[Mirror, Mirror]):
    datasets.load("mnist", root=tmp_path / "root", progress=False)
    assert everything_in(tmp_path / "root" / "mnist") == FILES
    assert everything_in(isolated) == []


def test_a_killed_download_leaves_no_file(isolated: Path, mirrors: tuple[Mirror, Mirror]):
    """There is no temporary file while the server sends the content; one of a killed write is removed."""
    seen: list[list[str]] = []

    class Files(dict[str, bytes]):
        def get(self, name: str, default: Any = None) -> Any:
            seen.append([each for each in everything_in(isolated) if each not in FILES])
            return super().get(name, default)

    mirrors[0].files = Files(mirrors[0].files)
    left = isolated / "mnist" / f".{FILES[0]}.abcd0123.part"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"half")
    datasets.load("mnist", progress=False)
    assert all(each in ([], [left.name]) for each in seen)
    assert everything_in(isolated) == FILES


def test_a_progress_bar_is_shown(mirrors: tuple[Mirror, Mirror], capsys: pytest.CaptureFixture[str]):
    datasets.load("mnist", progress=True)
    assert "100%" in capsys.readouterr().err


@pytest.mark.parametrize("broken", [None, b"<html>please log in</html>", b""])
def test_after_a_failed_download_the_next_mirror_is_used(
    isolated: Path, mirrors: tuple[Mirror, Mirror], broken: bytes | None
):
    first, second = mirrors
    if broken is None:
        del first.files["train-images-idx3-ubyte.gz"]
    else:
        first.files["train-images-idx3-ubyte.gz"] = broken
    train, _ = datasets.load("mnist", progress=False)
    assert len(train) == 30
    assert everything_in(isolated) == FILES
    assert len(second.requested) == 4  # the first mirror is tried last for the remaining files
    assert len(first.requested) == 1


def test_no_file_remains_if_all_mirrors_fail(isolated: Path, mirrors: tuple[Mirror, Mirror]):
    for mirror in mirrors:
        mirror.files["t10k-labels-idx1-ubyte.gz"] = b"wrong"
    with pytest.raises(datasets.DownloadError) as caught:
        datasets.load("mnist", progress=False)
    assert everything_in(isolated) == [name for name in FILES if name != "t10k-labels-idx1-ubyte.gz"]
    text = str(caught.value)
    assert mirrors[0].url in text
    assert mirrors[1].url in text
    assert "hash" in text
    for mirror in mirrors:  # the next call downloads missing files only
        mirror.requested.clear()
        mirror.files["t10k-labels-idx1-ubyte.gz"] = gzip.compress(contents("mnist")["t10k-labels-idx1-ubyte"])
    mirrors[1].files.clear()
    mirrors[0].files = {}
    with pytest.raises(datasets.DownloadError):
        datasets.load("mnist", progress=False)
    assert {name for mirror in mirrors for name in mirror.requested} == {"t10k-labels-idx1-ubyte.gz"}


def test_a_damaged_file_in_the_cache_is_downloaded_again(isolated: Path, mirrors: tuple[Mirror, Mirror]):
    datasets.load("mnist", progress=False)
    path = isolated / "mnist" / "train-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(OSError, match="truncated"):
        datasets.load("mnist", download=False)
    train, _ = datasets.load("mnist", progress=False)
    assert len(train) == 30


def test_the_error_without_network_lists_solutions(isolated: Path):
    with pytest.raises(datasets.DownloadError) as caught:
        datasets.load("mnist", progress=False)
    text = str(caught.value)
    assert isinstance(caught.value, OSError)
    for part in (
        NOWHERE,
        "train-images-idx3-ubyte.gz",
        "MNISTCNN_DATA",
        str(isolated / "mnist"),
        'load("digits")',
    ):
        assert part in text
    assert everything_in(isolated) == []
    with pytest.raises(datasets.DownloadError, match=r"mnist was not found .*download=False"):
        datasets.load("mnist", download=False)


def test_the_error_names_a_folder_that_cannot_be_created(tmp_path: Path, mirrors: tuple[Mirror, Mirror]):
    (tmp_path / "root").write_text("a file where the folder should be")
    with pytest.raises(datasets.DownloadError, match="root"):
        datasets.load("mnist", root=tmp_path / "root", progress=False)


# ---- EMNIST ----

SPLITS = {"byclass": 62, "bymerge": 47, "balanced": 47, "letters": 26, "digits": 10, "mnist": 10}


@pytest.mark.parametrize("split", SPLITS)
def test_emnist_is_upright_and_has_the_names_of_its_classes(tmp_path: Path, split: str):
    put(tmp_path / "emnist", f"emnist-{split}")
    train, test = datasets.load(f"emnist-{split}", root=tmp_path, download=False)
    assert (train.num_classes, len(train), len(test)) == (SPLITS[split], 2 * SPLITS[split], SPLITS[split])
    assert test.labels.tolist() == list(range(SPLITS[split]))
    for image, label in test:
        assert np.array_equal(image[0], glyph(test.classes[label]))
        assert not np.array_equal(image[0], image[0].T)
    assert len({image.tobytes() for image, _ in test}) == SPLITS[split]  # one picture per class
    assert train.images.flags.c_contiguous


def test_emnist_classes():
    classes = {split: "".join(datasets.SOURCES[f"emnist-{split}"].classes) for split in SPLITS}
    assert classes["byclass"] == "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
    assert classes["bymerge"] == classes["balanced"] == "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabdefghnqrt"
    assert classes["letters"] == "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    assert classes["digits"] == classes["mnist"] == "0123456789"


def test_emnist_without_a_split_raises_with_the_splits():
    with pytest.raises(ValueError, match=r"one of emnist-byclass, .*emnist-letters.*got 'emnist'"):
        datasets.load("emnist")
    with pytest.raises(ValueError, match="did you mean 'emnist-letters'"):
        datasets.load("emnist_letters")


@pytest.mark.parametrize("folder", ["EMNIST/raw", "emnist", "emnist/gzip", "gzip", "."])
def test_emnist_folders_are_found(tmp_path: Path, folder: str):
    put(tmp_path / folder, "emnist-digits", compressed=folder != "EMNIST/raw")
    assert datasets.available("emnist-digits", root=tmp_path)
    assert not datasets.available("emnist-letters", root=tmp_path)


def test_letters_with_a_label_of_zero_raise(tmp_path: Path):
    folder = put(tmp_path / "emnist", "emnist-letters", compressed=False)
    (folder / "emnist-letters-test-labels-idx1-ubyte").write_bytes(idx(np.zeros(26, np.uint8)))
    with pytest.raises(OSError, match=r"emnist-letters-test-labels.*label 0, expected labels from 1"):
        datasets.load("emnist-letters", root=tmp_path)


@pytest.fixture
def emnist(monkeypatch: pytest.MonkeyPatch) -> Iterator[Mirror]:
    """Start a mirror that has an archive of two splits, and single files of `digits`, and register it."""
    names, content = ("emnist-digits", "emnist-letters"), io.BytesIO()
    files = {
        name: {f"{file}.gz": gzip.compress(each) for file, each in emnist_contents(name).items()} for name in names
    }
    with zipfile.ZipFile(content, "w") as archive:
        for each in files.values():
            for file, data in each.items():
                archive.writestr(f"gzip/{file}", data)
        archive.writestr("gzip/emnist-digits-mapping.txt", "0 48")
    mirror = Mirror({"gzip.zip": content.getvalue(), **files["emnist-digits"]})
    for name in names:
        source = datasets.SOURCES[name]
        assert source.archive is not None
        known = tuple(
            replace(file, sha256=hashlib.sha256(files[name][f"{file.name}.gz"]).hexdigest()) for file in source.files
        )
        changed = replace(
            source.archive, mirrors=(f"{mirror.url}gzip.zip",), sha256=hashlib.sha256(content.getvalue()).hexdigest()
        )
        source = replace(source, mirrors=(mirror.url,), files=known, archive=changed)  # type: ignore[arg-type]
        monkeypatch.setitem(datasets.SOURCES, name, source)
    yield mirror
    mirror.close()


def test_single_files_of_emnist_are_preferred_to_the_archive(isolated: Path, emnist: Mirror):
    assert len(datasets.load("emnist-digits", progress=False)[0]) == 20
    assert "gzip.zip" not in emnist.requested
    assert everything_in(isolated / "emnist") == sorted(f"{name}.gz" for name in _names("emnist-digits"))


def test_the_archive_of_emnist_is_downloaded_once(isolated: Path, emnist: Mirror, capsys: pytest.CaptureFixture[str]):
    for file in _names("emnist-digits"):
        del emnist.files[f"{file}.gz"]
    assert datasets.load("emnist-letters", progress=True)[1].classes[25] == "Z"
    assert "100%" in capsys.readouterr().err
    letters = sorted(f"{name}.gz" for name in _names("emnist-letters"))
    assert everything_in(isolated) == [*letters, "gzip.zip"]  # only the files of this split
    emnist.requested.clear()
    assert datasets.available("emnist-digits")
    assert len(datasets.load("emnist-digits", download=False)[0]) == 20
    assert emnist.requested == []


def test_an_archive_of_the_user_is_extracted_to_the_cache(tmp_path: Path, isolated: Path, emnist: Mirror):
    (tmp_path / "data").mkdir()
    (tmp_path / "data/gzip.zip").write_bytes(emnist.files["gzip.zip"])
    datasets.load("emnist-letters", download=False)
    assert emnist.requested == []
    assert len(everything_in(isolated / "emnist")) == 4
    assert everything_in(tmp_path / "data") == ["gzip.zip"]


@pytest.mark.parametrize("content", [b"<html>moved</html>", b""])
def test_an_archive_with_other_content_is_not_kept(isolated: Path, emnist: Mirror, content: bytes):
    emnist.files["gzip.zip"] = content
    with pytest.raises(datasets.DownloadError) as caught:
        datasets.load("emnist-letters", progress=False)
    assert "gzip.zip: ValueError: the SHA-256 hash of the content is" in str(caught.value)
    assert "or the archive gzip.zip" in str(caught.value)
    assert everything_in(isolated) == []


def test_a_damaged_archive_is_replaced_in_the_cache_only(tmp_path: Path, isolated: Path, emnist: Mirror):
    for folder in (isolated / "emnist", tmp_path / "root"):
        folder.mkdir(parents=True)
        (folder / "gzip.zip").write_bytes(emnist.files["gzip.zip"][:1000])
    assert len(datasets.load("emnist-letters", progress=False)[0]) == 52
    for file in (isolated / "emnist").iterdir():
        file.unlink()
    with pytest.raises(OSError, match=r"root/gzip.zip could not be extracted"):
        datasets.load("emnist-letters", root=tmp_path / "root", progress=False)
    assert (tmp_path / "root/gzip.zip").stat().st_size == 1000


def test_a_changed_member_of_the_archive_is_refused(tmp_path: Path, emnist: Mirror):
    with zipfile.ZipFile(tmp_path / "gzip.zip", "w") as archive:
        for file, content in emnist_contents("emnist-letters", train=3).items():
            archive.writestr(f"gzip/{file}.gz", gzip.compress(content))
    with pytest.raises(OSError, match=r"gzip/emnist-letters-train-images.*SHA-256"):
        datasets.load("emnist-letters", root=tmp_path, download=False)


def test_a_network_is_trained_on_emnist_letters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    put(tmp_path / "emnist", "emnist-letters")
    train, test = datasets.load("emnist-letters", root=tmp_path)
    model = mnistcnn.create_model("budget_model3", num_classes=train.num_classes)
    mnistcnn.train(model, train, epochs=1, batch_size=26, progress=False)
    result = mnistcnn.test(model, test, progress=False)
    assert result.confusion.shape == (26, 26)
    assert [score.name for score in result.per_class] == list("ABCDEFGHIJKLMNOPQRSTUVWXYZ")


# ---- digits ----


@pytest.fixture
def small_digits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets, "_TRAIN_DIGITS", 300)
    monkeypatch.setattr(datasets, "_TEST_DIGITS", 100)


def same(first: Any, second: Any) -> bool:
    return all(
        np.array_equal(a.images, b.images) and np.array_equal(a.labels, b.labels)
        for a, b in zip(first, second, strict=True)
    )


def test_digits_have_70000_images():
    started = time.perf_counter()
    train, test = datasets.load("digits")
    seconds = time.perf_counter() - started
    print(f"70,000 digits in {seconds:.2f} s")
    assert repr(train) == "ImageSet 'digits': 60,000 images 1x28x28, 10 classes (0 … 9)"
    assert len(test) == 10000
    assert train.class_counts().min() > 5600
    assert seconds < 20  # 0.4 s on an idle machine


@pytest.mark.usefixtures("small_digits")
def test_digits_are_cached_and_depend_on_the_seed(isolated: Path, monkeypatch: pytest.MonkeyPatch):
    first = datasets.load("digits", seed=1)
    assert everything_in(isolated) == ["seed1.npz"]
    assert not same(first, datasets.load("digits", seed=2))
    monkeypatch.setattr(datasets, "_generated_digits", lambda seed: pytest.fail("the cache was not used"))
    assert same(first, datasets.load("digits", seed=1))
    train, test = first
    assert not np.array_equal(train.images[:100], test.images)


@pytest.mark.usefixtures("small_digits")
@pytest.mark.parametrize(
    "damage",
    [
        *("truncated", "empty", "flipped", "header", "foreign", "scalar", "other version", "missing array"),
    ],
)
def test_digits_are_generated_again_if_the_cache_is_damaged(isolated: Path, damage: str):
    first = datasets.load("digits")
    file = isolated / "digits/seed0.npz"
    content = bytearray(file.read_bytes())
    if damage == "truncated":
        file.write_bytes(content[:-100])
    elif damage == "empty":
        file.write_bytes(b"")
    elif damage == "header":
        file.write_bytes(content.replace(b"}", b" ", 1))
    elif damage == "flipped":
        content[len(content) // 2] ^= 255
        file.write_bytes(content)
    elif damage == "foreign":
        file.write_bytes(b"\x80\x04K\x01." * 100)
    elif damage == "missing array":
        np.savez(file, first[0].images)
    elif damage == "scalar":
        datasets._write_digits(0, [np.array(number, np.uint8) for number in range(4)])
    else:
        arrays = datasets._generated_digits(1)
        datasets._write_digits(0, arrays)
    assert same(first, datasets.load("digits"))
    assert datasets._read_digits(0) is not None  # repaired


@pytest.mark.usefixtures("small_digits")
def test_digits_load_without_a_writable_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    first = datasets.load("digits")
    (tmp_path / "blocked").write_text("")
    monkeypatch.setenv("MNISTCNN_CACHE", str(tmp_path / "blocked"))
    assert same(first, datasets.load("digits"))


@pytest.mark.usefixtures("small_digits")
def test_digits_load_if_the_disk_is_full(isolated: Path, monkeypatch: pytest.MonkeyPatch):
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    assert len(datasets.load("digits")[0]) == 300
    assert everything_in(isolated) == []


@pytest.mark.parametrize("seed", [-1, 2**64])
def test_seeds_out_of_range_raise(seed: int):
    with pytest.raises(ValueError, match=f"seed must be .*got {seed}"):
        datasets.load("digits", seed=seed)


# ---- load_auto ----


def test_load_auto_returns_mnist_if_available(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MNISTCNN_DATA", str(put(tmp_path / "mnist", "mnist")))
    train, _, message = datasets.load_auto()
    assert (train.name, message) == ("mnist", None)


@pytest.mark.usefixtures("small_digits")
def test_load_auto_gives_the_reason_for_the_fallback(isolated: Path):
    found = datasets.load_auto(progress=False)
    assert (found.train.name, found.test.name) == ("digits", "digits")
    assert found.message is not None
    assert found.message.startswith("NOT MNIST")
    assert NOWHERE in found.message


def test_digits_resemble_mnist(mnist: Any):
    train, _ = mnist
    images, labels = _core.draw_digits(1000, seed=0, first_index=0, threads=1)
    assert train.images.shape[1:] == images.shape[1:]
    assert abs(float(images.mean()) - float(train.images[:5000].mean())) < 8
    assert set(labels.tolist()) == set(train.classes and range(10))


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"train": True}, "load has no argument 'train'; it returns both sets: train_set, test_set = mnistcnn.load("),
        ({"transform": None}, "load has no argument 'transform'; mnistcnn.train normalizes the images, "),
        ({"rot": "data"}, "load has no argument 'rot'; did you mean 'root'? Choose from: name, root, download, "),
    ],
)
def test_unknown_arguments_raise_with_a_hint(given: dict[str, Any], text: str):
    with pytest.raises(TypeError) as caught:
        datasets.load("digits", **given)
    assert str(caught.value).startswith(text)
