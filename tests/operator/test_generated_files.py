from pathlib import Path

import pytest

from tools.generate.__main__ import generated, stale

ROOT = Path(__file__).parents[2]


def test_crd_chart_and_reference_say_what_the_models_say() -> None:
    assert stale(ROOT) == [], "run `python -m tools.generate`"


@pytest.mark.slow
def test_a_stale_file_is_noticed(tmp_path: Path) -> None:
    for path, text in generated(tmp_path).items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    victim = next(iter(generated(tmp_path)))

    victim.write_text(victim.read_text() + "# edited by hand\n")

    assert stale(tmp_path) == [victim]
