import yaml
from pydantic import TypeAdapter

from flows.overrides import Overrides
from tests.dvc_project import ROOT


def test_the_form_has_the_order_of_params_yaml_whatever_order_a_database_gives_its_keys() -> None:
    properties = TypeAdapter(Overrides).json_schema()["properties"]
    shuffled = dict(sorted(properties.items(), key=lambda item: len(item[0])))
    in_form = sorted(shuffled, key=lambda key: shuffled[key]["position"])
    assert in_form == list(yaml.safe_load((ROOT / "params.yaml").read_text()))
    assert properties["base"]["properties"]["model"]["position"] == 0
