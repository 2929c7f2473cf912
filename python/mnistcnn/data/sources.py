"""Addresses, files, checksums and class names of the published data sets."""

from __future__ import annotations

import string
from dataclasses import dataclass
from typing import TypeAlias

DIGITS = tuple("0123456789")
_FASHION = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
_KUZUSHIJI = ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo")  # お き す つ な は ま や れ を


@dataclass(frozen=True)
class DataFile:
    """File of a data set."""

    name: str  # without .gz
    sha256: str  # of the official .gz


DataFiles: TypeAlias = tuple[DataFile, DataFile, DataFile, DataFile]


@dataclass(frozen=True)
class Archive:
    """Zip file that contains the files of a data set."""

    name: str
    sha256: str
    mirrors: tuple[str, ...]  # complete URLs


@dataclass(frozen=True)
class Source:
    """Location and layout of a published data set."""

    folder: str  # name of the directory that torchvision uses
    classes: tuple[str, ...]
    mirrors: tuple[str, ...]  # URLs, each completed with the name of a file and .gz
    files: DataFiles  # train images, train labels, test images, test labels
    own_folder: str = ""  # directory in the cache; default: the name of the data set
    archive: Archive | None = None  # tried after all mirrors
    transposed: bool = False  # the published images have rows and columns exchanged
    first_label: int = 0  # the published label of the first class


def _four(train_images: str, train_labels: str, test_images: str, test_labels: str) -> DataFiles:
    return (
        DataFile("train-images-idx3-ubyte", train_images),
        DataFile("train-labels-idx1-ubyte", train_labels),
        DataFile("t10k-images-idx3-ubyte", test_images),
        DataFile("t10k-labels-idx1-ubyte", test_labels),
    )


# ---- EMNIST ----
#
# The SHA-256 hashes of the 24 files were found in two independent public lists, which agree: the Git LFS pointers of
# github.com/aurelienduarte/emnist, and the table in `mnists.py` of Connor Olding. A third list, made from the members
# of NIST's archive, confirms those of `letters`. The hash of the archive is that of TensorFlow Datasets; torchvision
# has only its MD5. The class names are those of the published mapping files. The tests write small files in the
# published layout: they have never read the real ones.

_EMNIST_ARCHIVE = Archive(
    "gzip.zip",  # 561,753,746 bytes
    "fb9bb67e33772a9cc0b895e4ecf36d2cf35be8b709693c3564cea2a019fcda8e",
    ("https://biometrics.nist.gov/cs_links/EMNIST/gzip.zip",),
)
_EMNIST_MIRRORS = (  # of single files, which are much smaller than the archive
    "https://github.com/aurelienduarte/emnist/raw/master/gzip/",
    "https://huggingface.co/datasets/Heliosoph/EMNIST/resolve/main/",  # not all splits
)
_MERGED = (*DIGITS, *string.ascii_uppercase, *"abdefghnqrt")  # 15 lower-case letters share the class of the capital
_EMNIST_CLASSES = {
    "byclass": (*DIGITS, *string.ascii_uppercase, *string.ascii_lowercase),
    "bymerge": _MERGED,
    "balanced": _MERGED,
    "letters": tuple(string.ascii_uppercase),  # each with its lower-case letter
    "digits": DIGITS,
    "mnist": DIGITS,
}
_EMNIST_SHA256 = {
    "byclass": (
        "9e21987f03a6eb8b870187e785883ddad96947299587908f1a7ec2ca0f4be5f0",
        "f7ef403d48dc18a89dae0d83d11ee69cecb6e1c12c3a961d03712e495c02a8fa",
        "5ec835bd5d5b1a66378a132e727fef20fe994b3cc666899befcca5ac766f50cd",
        "501e305eeeacb093b162592d80e8a2632040872360fa6d85cfcb2200d91ca92a",
    ),
    "bymerge": (
        "39bf8c68037dad40db35348895f7e4e056e8c0a005ab78869c9fbc2c96e947be",
        "2c47293b9e62d6abf6ad05fbf67e40baa32adfd380b8d7b44dcc35534b64e1f1",
        "5e5815ec1b522089134435f7c55e75a00960b58414793593ffff23efc0821683",
        "8bda1516255683ba9071e141947ca0c91a911176065cdd6259b0b4d8dc5b5f35",
    ),
    "balanced": (
        "74295e75e4e9fa2c102147460ee7eb763653d5132d883a84fb88932bfb8d2db4",
        "b46d41e5156a0a8aaaa4d18979fdd1588850fa8571018acffd5d93b325a7d6ed",
        "117fc12b015e37ea98bfb2cbba3f77c3782c056cdbd219b87abfc8661d7135db",
        "a67cac948379b67270b9a4d0a01c8ec661598accf2f2b1964340b7c83cb175cd",
    ),
    "letters": (
        "6288f418a917e007bf5fddb823a2dc7a5c6a35031401b93292a539cb12bd881f",
        "9759af91ea6bccdf07a6040fd085861f2ec88e37f7c3f5760f6feb57106fbe5c",
        "50f0e93d75b99b463e9760b8345866f22587fa2c2fba472730a5ba09c693412d",
        "924955c31fe7fd809b7303b5c0141282955f4b8390c74cdfd5d80435e0f4b4cb",
    ),
    "digits": (
        "f7c95004d14d81af89522e67d8f0c781dfb3bd544181c81bfe1eb6b41c35b726",
        "6638a6ff5fe2eefd9cca2471995b46c82986b8e4b2a70d2f5ce8e05d7edb319e",
        "20ebe43509264f7639d37c835a3f0b009e90b29e00a099a03101abe1644a3f63",
        "bad1834c45d5988e270b99d43b13edc3fd898f658ffbc2caf2846ef27f7b05b0",
    ),
    "mnist": (
        "5f9942f441031c0f1f2e4d162059fd6e19ea808b34c328b6d16cab0ed24c78f2",
        "00c6d3c2342fdffb1711e0b5656cac4ce5862d2826399d383a9bac07d612e9f8",
        "b25640fa9e356c618132f5df347c95ef5bae6d9c2596be1de40f7e0ae1c3eac6",
        "bcc5385d38f083dba046f5f756e99b32f5ea7fad122c6243c71c2239873065ca",
    ),
}


def _emnist(split: str) -> Source:
    names = [f"emnist-{split}-{part}-ubyte" for part in _EMNIST_PARTS]
    train_images, train_labels, test_images, test_labels = map(DataFile, names, _EMNIST_SHA256[split])
    return Source(
        "EMNIST",
        _EMNIST_CLASSES[split],
        _EMNIST_MIRRORS,
        (train_images, train_labels, test_images, test_labels),
        own_folder="emnist",
        archive=_EMNIST_ARCHIVE,
        transposed=True,
        first_label=1 if split == "letters" else 0,
    )


_EMNIST_PARTS = ("train-images-idx3", "train-labels-idx1", "test-images-idx3", "test-labels-idx1")

# ---- all data sets ----

# SHA-256 of the files as first published; TensorFlow Datasets and torchvision use the same.
SOURCES = {
    "mnist": Source(
        "MNIST",
        DIGITS,
        (
            "https://ossci-datasets.s3.amazonaws.com/mnist/",
            "https://storage.googleapis.com/cvdf-datasets/mnist/",
            "http://yann.lecun.com/exdb/mnist/",
        ),
        _four(
            "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
            "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
            "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
            "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
        ),
    ),
    "fashion_mnist": Source(
        "FashionMNIST",
        _FASHION,
        (
            "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
            "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
            "https://storage.googleapis.com/tensorflow/tf-keras-datasets/",
        ),
        _four(
            "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
            "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
            "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
            "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
        ),
    ),
    "kmnist": Source(
        "KMNIST",
        _KUZUSHIJI,
        (
            "https://codh.rois.ac.jp/kmnist/dataset/kmnist/",
            "http://codh.rois.ac.jp/kmnist/dataset/kmnist/",
        ),
        _four(
            "51467d22d8cc72929e2a028a0428f2086b092bb31cfb79c69cc0a90ce135fde4",
            "e38f9ebcd0f3ebcdec7fc8eabdcdaef93bb0df8ea12bee65224341c8183d8e17",
            "edd7a857845ad6bb1d0ba43fe7e794d164fe2dce499a1694695a792adfac43c5",
            "20bb9a0ef54c7db3efc55a92eef5582c109615df22683c380526788f98e42a1c",
        ),
    ),
    "qmnist": Source(
        "QMNIST",
        DIGITS,
        (
            "https://raw.githubusercontent.com/facebookresearch/qmnist/master/",
            "https://github.com/facebookresearch/qmnist/raw/master/",
        ),
        (
            DataFile(
                "qmnist-train-images-idx3-ubyte",
                "9e26a7bf1683614e065d7b76460ccd52807165b3f22561fb782bd9f38c52b51d",
            ),
            DataFile(
                "qmnist-train-labels-idx2-int",
                "2c05dc77f6b916b38e455e97ab129a42a444f3dbef09b278a366f82904e0dd9f",
            ),
            DataFile(
                "qmnist-test-images-idx3-ubyte",
                "43fc22bf7498b8fc98de98369d72f752d0deabc280a43a7bcc364ab19e57b375",
            ),
            DataFile(
                "qmnist-test-labels-idx2-int",
                "9fbcbe594c3766fdf4f0b15c5165dc0d1e57ac604e01422608bb72c906030d06",
            ),
        ),
    ),
    **{f"emnist-{split}": _emnist(split) for split in _EMNIST_CLASSES},
}
