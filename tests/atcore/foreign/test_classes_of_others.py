"""From the outputs of a network to the classes of a dataset."""

import json
from pathlib import Path

import pytest
import torch
from foreign_networks import CLASSES, given, images, taken
from test_programs_of_others import answers, assert_close, record, seeded

from atcore.base.errors import UserError
from atcore.foreign.outputs import Grouped, outputs
from atcore.images.pixels import to_pixels


def listed(folder: Path, *names: str) -> str:
    (folder / "names.txt").write_text("\n".join(names) + "\n")
    return "names.txt"


def mapped(folder: Path, groups: object) -> str:
    (folder / "groups.json").write_text(json.dumps(groups))
    return "groups.json"


def test_outputs_are_put_into_the_order_of_the_classes_by_name(tmp_path: Path) -> None:
    record(seeded(), tmp_path / "mine.pt2")
    found = taken(given(tmp_path, None, classes=listed(tmp_path, "eel", "cat", "dog")))
    with torch.no_grad():
        assert_close(answers(found), seeded()(to_pixels(images()))[:, [1, 2, 0]])


def test_a_mark_of_byte_order_is_of_no_name(tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("\n".join(CLASSES), encoding="utf-8-sig")
    described = given(tmp_path, None, classes="names.txt")
    assert outputs(described, None, CLASSES).names == CLASSES


def test_outputs_of_classes_that_the_dataset_lacks_are_dropped_and_said(tmp_path: Path) -> None:
    record(seeded(5), tmp_path / "mine.pt2")
    names = listed(tmp_path, "cat", "ant", "dog", "eel", "bee")
    found = taken(given(tmp_path, None, classes=names))
    assert "Of its 5 outputs 2 are dropped: ant, bee." in found.facts.remarks
    with torch.no_grad():
        assert_close(answers(found), seeded(5)(to_pixels(images()))[:, [0, 2, 3]])


def test_the_same_number_of_outputs_in_front_is_not_all_of_them(tmp_path: Path) -> None:
    record(seeded(5), tmp_path / "mine.pt2")
    found = taken(given(tmp_path, None, classes=listed(tmp_path, *CLASSES, "ant", "bee")))
    assert answers(found).shape == (6, 3)


def test_groups_have_the_mean_probability_of_their_outputs(tmp_path: Path) -> None:
    record(seeded(6), tmp_path / "mine.pt2")
    names = ["tabby", "poodle", "siamese", "moray", "ant", "beagle"]
    groups = {"cat": ["siamese", "tabby"], "dog": ["poodle", "beagle"], "eel": ["moray"], "x": []}
    described = given(
        tmp_path, None, classes=listed(tmp_path, *names), groups=mapped(tmp_path, groups)
    )
    found = taken(described)
    with torch.no_grad():
        p = seeded(6)(to_pixels(images())).softmax(1)
        mean = torch.stack([(p[:, 0] + p[:, 2]) / 2, (p[:, 1] + p[:, 5]) / 2, p[:, 3]], 1)
        assert_close(answers(found).softmax(1), mean / mean.sum(1, keepdim=True))
    said = "Of its 6 outputs 5 are grouped into 3 classes by their mean probability."
    assert said in found.facts.remarks


def test_large_logits_keep_their_order_and_their_gradient() -> None:
    logits = torch.tensor([[300.0, -200.0, 299.0, 0.0]], requires_grad=True)
    found = Grouped(((1, 3), (0,), (2, 3)))(logits)
    assert found.argmax(1).item() == 1
    (gradient,) = torch.autograd.grad(found[0, 0], logits)
    torch.testing.assert_close(gradient, torch.tensor([[0.0, 0.0, 0.0, 1.0]]))


@pytest.mark.parametrize(
    ("names", "groups", "said"),
    [
        (["cat", "dog", "eels"], None, r"names\.txt: no output is called 'eel' \(near is 'eels'\)"),
        (["cat", "dog", "x", "y"], None, r"no output is called 'eel' \(there are cat, dog, x and"),
        (["cat", "dog", "eel", "eel"], None, r"names\.txt: 'eel' is the name of 2 outputs"),
        ([], None, r"names\.txt: no names in it"),
        (None, {"cat": ["cat"], "dog": ["dog"]}, r"groups\.json: no outputs for the class 'eel'"),
        (
            None,
            {"cat": ["dog"], "dog": ["dog"], "eel": ["x"]},
            r"groups\.json: no output is called",
        ),
        (None, {"cat": "dog"}, r"groups\.json: no mapping; it is JSON like"),
        (None, ["cat"], r"groups\.json: no mapping; it is JSON like"),
    ],
)
def test_what_names_no_outputs_is_refused(
    tmp_path: Path, names: list[str] | None, groups: object, said: str
) -> None:
    described = given(
        tmp_path,
        None,
        classes=None if names is None else listed(tmp_path, *names),
        groups=None if groups is None else mapped(tmp_path, groups),
    )
    with pytest.raises(UserError, match=said) as caught:
        outputs(described, None, CLASSES)
    assert "\n" not in str(caught.value)


def test_missing_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"names\.txt: cannot be read \(No such file"):
        outputs(given(tmp_path, None, classes="names.txt"), None, CLASSES)
    with pytest.raises(UserError, match=r"groups\.json: cannot be read \(No such file"):
        outputs(given(tmp_path, None, groups="groups.json"), None, CLASSES)


def test_a_repeated_name_that_no_class_has_is_no_matter(tmp_path: Path) -> None:
    # ImageNet has two cranes and two maillots.
    names = listed(tmp_path, "crane", "cat", "dog", "crane", "eel")
    assert outputs(given(tmp_path, None, classes=names), None, CLASSES).members == (
        (1,),
        (2,),
        (4,),
    )
