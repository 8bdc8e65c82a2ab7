"""Topics: exactly those of domain.md are a controller's."""

import pytest

from faces2.models.topic import BadTopicError, Topic, parse_topic, sensor_topic

MAC = "aabbccddee01"
COMPONENTS = {
    "sensor-mode": [f"sensor-{i}" for i in range(1, 7)],
    "access-control-mode": ["strike-1", "strike-2", "door-sensors", "reader-1", "reader-2", "exit-buttons"],
    "alarm-mode": ["siren-1", "siren-2", *(f"motion-sensor-{i}" for i in range(1, 6))],
}


@pytest.mark.parametrize("connector", ["J1", "J4", "1", "4"])
@pytest.mark.parametrize("kind", ["tele", "stat"])
@pytest.mark.parametrize(("mode", "component"), [(mode, c) for mode, all_of in COMPONENTS.items() for c in all_of])
def test_every_topic_of_the_domain(kind: str, mode: str, connector: str, component: str) -> None:
    text = f"{kind}/f2-{MAC}/{mode}/{connector}/{component}"
    assert parse_topic(text) == Topic(kind, MAC, mode, connector, component)


@pytest.mark.parametrize(
    "text",
    [
        "",
        f"cmnd/f2-{MAC}/sensor-mode/J1/sensor-1",
        f"tele/f2-{MAC.upper()}/sensor-mode/J1/sensor-1",
        "tele/f2-aa:bb:cc:dd:ee:01/sensor-mode/J1/sensor-1",
        f"tele/f2-{MAC}0/sensor-mode/J1/sensor-1",
        f"tele/{MAC}/sensor-mode/J1/sensor-1",
        f"tele/f2-{MAC}/other-mode/J1/sensor-1",
        f"tele/f2-{MAC}/sensor-mode/J0/sensor-1",
        f"tele/f2-{MAC}/sensor-mode/J5/sensor-1",
        f"tele/f2-{MAC}/sensor-mode/j1/sensor-1",
        f"tele/f2-{MAC}/sensor-mode/J1/sensor-0",
        f"tele/f2-{MAC}/sensor-mode/J1/sensor-7",
        f"tele/f2-{MAC}/sensor-mode/J1/siren-1",
        f"tele/f2-{MAC}/alarm-mode/J1/sensor-1",
        f"tele/f2-{MAC}/sensor-mode/J1/sensor-1/",
        f"/tele/f2-{MAC}/sensor-mode/J1/sensor-1",
        f"tele/f2-{MAC}/sensor-mode/J1/sensor-1\n",
        f"tele/f2-{MAC}/sensor-mode/J١/sensor-1",
        f"tele/f2-{MAC}/sensor-mode/J1",
    ],
)
def test_foreign_topics(text: str) -> None:
    with pytest.raises(BadTopicError, match="is not <tele"):
        parse_topic(text)


def test_the_topic_a_sensor_reports_on_parses_back() -> None:
    assert parse_topic(sensor_topic(MAC, 3, 2)) == Topic("tele", MAC, "sensor-mode", "J3", "sensor-2")
