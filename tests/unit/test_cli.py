"""The command line: what it refuses and what its help says."""

from typer.testing import CliRunner

from faces2.cli.main import app
from faces2.service.settings import SimulatorSettings


def test_a_job_without_end_has_no_last_record() -> None:
    answer = CliRunner().invoke(app, ["pipeline", "--max", "5"])
    assert answer.exit_code == 2
    assert "--runner direct" in answer.output


def test_the_simulator_s_options_say_what_they_are() -> None:
    answer = CliRunner().invoke(app, ["simulate", "--help"], env={"COLUMNS": "300"})
    for name in ("controllers", "interval", "rate", "seed", "duration", "journal"):
        field = SimulatorSettings.model_fields[name]
        assert field.description in answer.output
        assert f"SIMULATOR_{name.upper()}" in answer.output
