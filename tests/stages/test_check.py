"""The stage check: what it refuses before DVC reads a file, and when its lists of settings and code change."""

import json
import os
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import yaml

from app.cli import main as pseudoword
from pseudoword.settings.messages import BadSettings
from stages.check.__main__ import main
from stages.check.code import file_digest, forget_code
from tests.dvc_project import begin_project
from tests.project import ROOT, shipped_params

FOLDER = Path("data/thing")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    FOLDER.mkdir(parents=True)
    (FOLDER / "a.png").touch()
    Path("data/embeddings").mkdir()
    for name in ("templates", "models"):
        Path(name).symlink_to(ROOT / name)
    write(data={"folder": str(FOLDER)})
    return tmp_path


def write(**changes: Any) -> None:
    content = shipped_params()
    content["data"] = {"folder": str(FOLDER)}
    for section, values in changes.items():
        content[section] |= values
    Path("params.yaml").write_text(yaml.safe_dump(content))


def refused() -> list[str]:
    with pytest.raises(BadSettings) as error:
        main()
    first, *lines = str(error.value).splitlines()
    assert first == "params.yaml is not valid:"
    return [line.strip() for line in lines]


def written() -> dict[str, bytes]:
    return {path.as_posix(): path.read_bytes() for path in sorted(Path("outputs").rglob("*")) if path.is_file()}


@pytest.mark.parametrize(
    ("folder", "answer"),
    [
        ("data/thnig", "data.folder: 'data/thnig' is not there, did you mean 'data/thing'?"),
        ("elsewhere/x", "data.folder: 'elsewhere/x' is not there; seen from {here}"),
        ("~/thing", "data.folder: found '~/thing', which DVC takes as it is written; write {home}/thing"),
        ("data/thing/a.png", "data.folder: 'data/thing/a.png' is a file; wanted the folder that the pictures lie in"),
        ("gone", "data.folder: 'gone' is a link to nowhere, which is not there"),
        (".", "data.folder: '.' holds the pipeline's own outputs; give the pictures a folder of their own"),
        ("outputs/x", "data.folder: 'outputs/x' holds the pipeline's own outputs; give the pictures a folder"),
    ],
)
def test_a_folder_that_cannot_be_is_refused(project: Path, folder: str, answer: str) -> None:
    Path("gone").symlink_to("nowhere")
    Path("outputs/x").mkdir(parents=True)
    write(data={"folder": folder})
    (line,) = refused()
    assert line.startswith(answer.format(here=project, home=Path.home()))


def test_what_is_no_file_is_named(project: Path) -> None:
    os.mkfifo(FOLDER / "pipe.png")
    (FOLDER / "null.png").symlink_to("/dev/null")
    (FOLDER / "gone.png").symlink_to("/nowhere/a.png")
    (FOLDER / "deep").mkdir()
    (FOLDER / "deep/round").symlink_to("..")
    assert refused() == [
        "data.folder: data/thing/gone.png is a link to /nowhere/a.png, which is not there; mend it, or take it away",
        "data.folder: data/thing/null.png is a link to a device, which DVC would wait for; take it away",
        "data.folder: data/thing/pipe.png is a named pipe, which DVC would wait for; take it away",
        f"data.folder: data/thing/deep/round leads back to {(FOLDER).resolve()}, round and round; take it away",
    ]


NO_UTF8 = "has a name that is not UTF-8, which DVC cannot write down; rename it"


def test_a_name_that_dvc_cannot_write_down_is_refused(project: Path) -> None:
    (FOLDER / os.fsdecode(b"notes \xff.txt")).touch()
    (FOLDER / os.fsdecode(b"caf\xe9")).mkdir()
    (FOLDER / os.fsdecode(b"caf\xe9/b.png")).touch()
    (FOLDER / os.fsdecode(b"caf\xe9/caf\xe9.jpg")).touch()
    (FOLDER / "café.jpg").touch()
    assert refused() == [
        rf"data.folder: data/thing/caf\xe9 {NO_UTF8}",
        rf"data.folder: data/thing/notes \xff.txt {NO_UTF8}",
        rf"data.folder: data/thing/caf\xe9/caf\xe9.jpg {NO_UTF8}",
    ]


@pytest.mark.parametrize("command", ["check", "status", "doctor"])
def test_each_command_tells_of_a_name_that_dvc_cannot_write_down(
    project: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    (FOLDER / os.fsdecode(b"caf\xe9.jpg")).touch()
    assert pseudoword([command]) == 1
    assert rf"data/thing/caf\xe9.jpg {NO_UTF8}" in capsys.readouterr().err


def test_a_link_to_a_picture_or_a_folder_is_taken(project: Path) -> None:
    Path("elsewhere").mkdir()
    Path("elsewhere/b.png").touch()
    (FOLDER / "b.png").symlink_to(Path("elsewhere/b.png").resolve())
    (FOLDER / "more").symlink_to(Path("elsewhere").resolve())
    main()


def test_many_of_a_kind_are_counted(project: Path) -> None:
    for number in range(15):
        (FOLDER / f"{number:02d}.png").symlink_to("nowhere")
    lines = refused()
    assert len(lines) == 11 and lines[-1] == "data.folder: 5 more of the kind"


@pytest.mark.parametrize(
    ("changes", "answer"),
    [
        ({"base": {"model": "models/toyword"}}, "base.model: found 'models/toyword', which is not there, did you mean"),
        ({"base": {"model": "sd15.safetensors"}}, "base.model: found 'sd15.safetensors', which is not there"),
        ({"base": {"model": "/models/sd"}}, "base.model: found '/models/sd', which is not there"),
        ({"base": {"vae": "~/vae.pt"}}, "base.vae: found '~/vae.pt', wanted the path in full: "),
        ({"judge": {"texts": "./clip"}}, "judge.texts: found './clip', which is not there"),
        ({"word": {"init_file": "none.pt"}}, "word.init_file: found 'none.pt', wanted the name of a file in data/emb"),
        ({"train": {"template": "none.txt"}}, "train.template: found 'none.txt', wanted a file with one prompt a line"),
        ({"evaluate": {"prompts": "none.txt"}}, "evaluate.prompts: found 'none.txt', wanted a file with one prompt"),
    ],
)
def test_a_file_that_is_missing_is_refused(project: Path, changes: dict[str, Any], answer: str) -> None:
    write(**changes)
    (line,) = refused()
    assert line.startswith(answer)


@pytest.mark.parametrize(
    ("changes", "answer"),
    [
        ({"base": {"model": "pipe"}}, "base.model: 'pipe' is a pipe or a device"),
        ({"judge": {"images": "pipe"}}, "judge.images: 'pipe' is a pipe or a device"),
        (
            {"judge": {"images": "data"}},
            "judge.images: 'data' is a folder without a config.json, wanted a folder saved",
        ),
        ({"judge": {"texts": "params.yaml"}}, "judge.texts: 'params.yaml' is a file, wanted a folder saved by transf"),
        ({"caption": {"model": "data"}}, "caption.model: 'data' is a folder without a config.json, wanted a folder sa"),
        (
            {"train": {"template": "pipe"}},
            "train.template: found 'pipe', wanted a file with one prompt a line: pipe: is",
        ),
        (
            {"evaluate": {"prompts": "/dev/zero"}},
            "evaluate.prompts: found '/dev/zero', wanted a file with one prompt a",
        ),
        (
            {"word": {"init_file": "pipe.pt"}},
            "word.init_file: found 'pipe.pt', wanted a file that can be read (it is a",
        ),
        ({"evaluate": {"together_with": ["pipe.pt"]}}, "evaluate.together_with: found 'pipe.pt', wanted a file that c"),
    ],
)
def test_what_is_no_model_or_would_be_waited_for_is_refused(
    project: Path, changes: dict[str, Any], answer: str
) -> None:
    os.mkfifo("pipe")
    Path("data/embeddings").mkdir(exist_ok=True)
    Path("data/embeddings/pipe.pt").symlink_to(Path("pipe").resolve())
    write(**changes)
    (line,) = refused()
    assert line.startswith(answer)


def test_a_folder_or_file_that_is_no_tagger_is_refused(project: Path) -> None:
    for model, reason in (
        ("tagger", "there is no file tagger/model.onnx"),
        ("tagger", "neither selected_tags.csv nor tags.txt lies beside tagger/model.onnx"),
        ("tagger/model.onnx", "neither selected_tags.csv nor tags.txt lies beside tagger/model.onnx"),
    ):
        write(caption={"tagger": {"model": model}})
        Path("tagger").mkdir(exist_ok=True)
        assert refused() == [f"caption.tagger.model: '{model}' cannot be used as a tagger: {reason}"]
        Path("tagger/model.onnx").touch()
    Path("tagger/tags.txt").touch()
    main()


def test_a_model_that_may_not_be_read_is_refused(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("sd15.safetensors").touch()
    write(base={"model": "sd15.safetensors"})
    monkeypatch.setattr(os, "access", lambda path, _: path != Path("sd15.safetensors"))
    assert refused() == ["base.model: 'sd15.safetensors' may not be read; change its permissions"]


@pytest.mark.parametrize("model", ["stable-diffusion-v1-5/stable-diffusion-v1-5", "gpt2", "models/of-another"])
def test_a_hub_id_is_left_to_the_hub(project: Path, model: str) -> None:
    write(base={"model": model})
    main()


def test_a_name_that_an_embedding_has_already_is_refused_unless_it_may_be_overwritten(project: Path) -> None:
    Path("data/embeddings/Snorf.pt").touch()
    assert refused() == [
        "word.name: data/embeddings/Snorf.pt has the name 'snorf' already; choose another, or set word.overwrite: true"
    ]
    write(word={"overwrite": True})
    main()


def test_a_small_file_comes_to_the_same_as_the_shipped_one(project: Path) -> None:
    shipped = shipped_params()
    main()
    before = written()
    small = {"data": {"folder": str(FOLDER)}, "base": {"model": shipped["base"]["model"]},
             "word": {key: shipped["word"][key] for key in ("name", "init_text")}}  # fmt: skip
    Path("params.yaml").write_text(yaml.safe_dump(small))
    main()
    assert written() == before


def test_what_decides_the_number_of_samples_is_watched_and_how_they_are_split_is_not(project: Path) -> None:
    def trained(**train: Any) -> bytes:
        write(train=train)
        main()
        return Path("outputs/settings/train.json").read_bytes()

    assert trained(batch=4) == trained(batch=8) == trained()
    assert trained(batch=4, accumulation=4) == trained(batch=8, accumulation=2) != trained(batch=4, accumulation=2)


def test_another_face_model_of_the_same_name_is_watched(project: Path) -> None:
    content = shipped_params()["preprocess"]["focal"]
    write(preprocess={"crop": "focal", "focal": content | {"face_model": "yunet.onnx"}})
    Path("yunet.onnx").write_bytes(b"one")
    main()
    before = written()
    Path("yunet.onnx").write_bytes(b"another")
    main()
    changed = {path for path, content in written().items() if content != before[path]}
    assert changed == {
        "outputs/settings/preprocess.json",
        "outputs/settings/doctor.json",
        "outputs/settings/report.json",
    }


def test_a_stage_is_given_the_axes_over_its_own_keys(project: Path) -> None:
    content = shipped_params() | {"data": {"folder": str(FOLDER)}}
    content["sweep"] = {"train.seed": [0, 1], "word.vectors": [2, 3]}
    Path("params.yaml").write_text(yaml.safe_dump(content))
    main()
    axes = {stage: json.loads(Path(f"outputs/settings/{stage}.json").read_text())["settings"].get("sweep")
            for stage in ("curate", "train", "export")}  # fmt: skip
    assert axes == {"curate": {"word.vectors": [2, 3]}, "train": content["sweep"], "export": None}


def test_other_versions_than_the_word_was_learned_with_are_told(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = {"settings": {}, "pictures": 1, "samples_per_update": 1, "windows": 1, "templates": ["a [name]"],
              "device": "cpu", "precision": "float32",
              "model": {"name": "models/toyworld", "family": "sd1", "resolution": 64}}  # fmt: skip
    Path("outputs/words/base").mkdir(parents=True)
    path = Path("outputs/words/base/settings.json")
    for versions, told in (
        ({"pydantic": version("pydantic"), "pseudoword": "0.0"}, ""),
        ({"pydantic": "1.0", "nowhere": "3"}, f"pydantic 1.0, now {version('pydantic')}; nowhere 3, now missing. "),
    ):
        path.write_text(json.dumps(record | {"versions": versions}))
        main()
        assert capsys.readouterr().out.partition("was learned with ")[2].partition("Nothing")[0] == told


@pytest.mark.parametrize(("threads", "told"), [(None, ""), (3, ""), (8, "8 threads, now 3, which rounds otherwise. ")])
def test_another_number_of_threads_is_told(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, threads: int | None, told: str
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    record = {"settings": {}, "pictures": 1, "samples_per_update": 1, "windows": 1, "templates": ["a [name]"],
              "device": "cpu", "precision": "float32", "versions": {}, "threads": threads,
              "model": {"name": "models/toyworld", "family": "sd1", "resolution": 64}}  # fmt: skip
    Path("outputs/words/base").mkdir(parents=True)
    Path("outputs/words/base/settings.json").write_text(json.dumps(record))
    main()
    assert capsys.readouterr().out.partition("was learned with ")[2].partition("Nothing")[0] == told
    assert written().keys() == {name for name in written() if name.startswith(("outputs/code", "outputs/settings"))} | {
        "outputs/words/base/settings.json"
    }
    before = written()
    monkeypatch.setenv("OMP_NUM_THREADS", "8")
    main()
    assert written() == before  # nothing that DVC watches knows of the threads


def dvc_repro(folder: Path) -> str:
    """What `dvc repro` says, which has to fail."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(
        [sys.executable, "-m", "dvc", "repro"], cwd=folder, env=environment, capture_output=True, text=True, timeout=200
    )
    assert done.returncode != 0
    return done.stdout + done.stderr


def test_dvc_stops_at_check_where_it_would_hang_or_fail_itself(project: Path) -> None:
    begin_project(project)
    shutil.copy(ROOT / "dvc.yaml", "dvc.yaml")
    os.mkfifo(FOLDER / "pipe.png")
    (FOLDER / "gone.png").symlink_to("/nowhere/a.png")
    said = dvc_repro(project)
    assert "pipe.png is a named pipe" in said and "gone.png is a link to /nowhere/a.png" in said
    for folder, answer in (("data/thnig", "did you mean 'data/thing'?"), ("~/thing", f"write {Path.home()}/thing")):
        write(data={"folder": folder})
        said = dvc_repro(project)
        assert answer in said and "failed to reproduce 'check'" in said and "Running stage 'preprocess'" not in said


SOURCE = '''
"""About."""
import os  # a remark

class A(dict):
    """About."""
    size: int = 3

    async def f(self, x, /, y=(1, 2), *z, k: str = "é", **more) -> "A | None":
        """About."""
        match x:
            case {"a": [1, *rest], **others} if rest:
                return f"{x!r:>{y}} and {k=}" f"{z}" "end"
            case A(size=0) | None:
                return -1.5e-3 + 2j if x else b"\\x00"
        with open(x) as a, open(y) as b:
            yield [i async for i in a if i not in b]
        try:
            del self[x:y, ...]
        except* ValueError as error:
            raise KeyError from error
        lambda *, q=10**30: (w := q)
'''


def test_what_is_remembered_of_the_code_changes_nothing(project: Path) -> None:
    main()
    before = written()
    memory = Path(".scratch/check/modules.json")
    remembered = json.loads(memory.read_text())
    assert len(remembered["modules"]) > 50
    others = {**remembered, "by": "another version of the walk", "modules": {
        key: ["0" * 16, names] for key, (_, names) in remembered["modules"].items()}}  # fmt: skip
    for text in ("{", "[]", json.dumps(others)):
        memory.write_text(text)
        forget_code()
        main()
        assert written() == before


def digest(folder: Path, source: str) -> str:
    path = folder / f"{abs(hash(source))}.py"
    path.write_text(source)
    return file_digest(path)


def test_the_digest_of_code_is_the_same_on_every_python(tmp_path: Path) -> None:
    """Of 3.11, 3.12 and 3.13 alike, whose `ast.dump` gives three texts for it."""
    assert digest(tmp_path, SOURCE) == "de182a441e85e2e1"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("# a remark", "# another"),
        ('"""About."""', '"""About something else."""'),
        ('\n    """About."""\n', "\n"),
        ("(1, 2)", "( 1,\n  2, )"),
        ('"é"', "'\\u00e9'"),
        ("10**30", "10 ** 30"),
    ],
)
def test_what_means_the_same_has_the_same_digest(tmp_path: Path, old: str, new: str) -> None:
    changed = SOURCE.replace(old, new)
    assert changed != SOURCE and digest(tmp_path, changed) == digest(tmp_path, SOURCE)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("(1, 2)", "(1, 3)"),
        ('"é"', '"e"'),
        ("size: int = 3", "size: int = True"),
        ('"end"', '" end"'),
        ("!r", "!s"),
        ("{k=}", "{k}"),
        (">{y}", "<{y}"),
        ("not in", "in"),
        ("x, /, y", "x, y"),
        ("*, q", "q"),
        ("except*", "except"),
        ('b"\\x00"', '"\\x00"'),
        ("async for", "for"),
        ("del self[x:y, ...]", "del self[x:, ...]"),
        ("raise KeyError from error", "raise KeyError"),
    ],
)
def test_what_means_something_else_has_another_digest(tmp_path: Path, old: str, new: str) -> None:
    changed = SOURCE.replace(old, new)
    assert changed != SOURCE and digest(tmp_path, changed) != digest(tmp_path, SOURCE)
