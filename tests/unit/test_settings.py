"""Settings: a wrong one names itself, what it held and what is allowed; a secret is never shown."""

from pathlib import Path

import pytest

from faces2.service.describe import settings_table
from faces2.service.settings import (
    SECTIONS,
    BridgeSettings,
    CertgenSettings,
    FlinkSettings,
    KafkaSettings,
    PipelineSettings,
    PostgresSettings,
    RedisSettings,
    Section,
    ServiceSettings,
    SettingsError,
    SimulatorSettings,
    StackSettings,
    TimescaleSettings,
    load,
    variable,
)

DOCUMENT = Path(__file__).parents[2] / "docs" / "settings.md"
SECRET = "hunter2-hunter2"

FIELDS = [(section, name) for section in SECTIONS for name in section.model_fields]


@pytest.fixture(autouse=True)
def empty_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for section, name in FIELDS:
        monkeypatch.delenv(variable(section, name), raising=False)
    return tmp_path


@pytest.mark.parametrize(
    ("section", "name", "held", "says"),
    [
        (KafkaSettings, "KAFKA_PARTITIONS", "0", "greater than or equal to 1"),
        (KafkaSettings, "KAFKA_REPLICATION", "ten", "valid integer"),
        (RedisSettings, "REDIS_PORT", "65536", "less than or equal to 65535"),
        (RedisSettings, "REDIS_PORT", "", "valid integer"),
        (BridgeSettings, "BRIDGE_MAX_IN_FLIGHT", "1.5", "valid integer"),
        (PipelineSettings, "BATCH_SIZE", "-1", "greater than or equal to 1"),
        (PipelineSettings, "PROCESSING_INTERVAL", "5s", "valid integer"),
        (PipelineSettings, "PIPELINE_CRC_CHECK", "perhaps", "valid boolean"),
        (PipelineSettings, "PIPELINE_START", "now", "'earliest' or 'latest'"),
        (FlinkSettings, "FLINK_HEAP", "1 GB", "match pattern"),
        (SimulatorSettings, "SIMULATOR_INTERVAL", "0", "greater than 0"),
        (ServiceSettings, "LOG_LEVEL", "LOUD", "'DEBUG', 'INFO', 'WARNING' or 'ERROR'"),
        (StackSettings, "FACES2_TIMESCALE", "on", "'auto' or 'off'"),
        (StackSettings, "FACES2_DATA", "~nobody-of-this-name/data", "home directory"),
    ],
)
def test_a_wrong_value(
    section: type[Section], name: str, held: str, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, held)
    field = next(field for each, field in FIELDS if variable(each, field) == name and each is section)
    with pytest.raises(SettingsError) as refused:
        load(section)
    text = str(refused.value)
    assert text.startswith(f"{name}={held!r}: ")
    assert says in text
    assert text.endswith(f"({section.model_fields[field].description})")
    assert "\n" not in text


@pytest.mark.parametrize("section", [PostgresSettings, TimescaleSettings])
def test_all_that_is_wrong_is_named_at_once_and_no_secret_is(
    section: type[Section], monkeypatch: pytest.MonkeyPatch
) -> None:
    prefix = section.model_config["env_prefix"]
    with pytest.raises(SettingsError, match=f"^{prefix}PASSWORD is not set: its password"):
        load(section)
    monkeypatch.setenv(f"{prefix}PASSWORD", SECRET)
    assert SECRET not in repr(load(section)) + str(load(section)) + repr(load(section).model_dump())
    monkeypatch.setenv(f"{prefix}PORT", "none")
    if section is PostgresSettings:
        monkeypatch.setenv("SCHEMA_PARAMS", "drop table; --")
    with pytest.raises(SettingsError) as refused:
        load(section)
    names = [line.split("=")[0] for line in str(refused.value).splitlines()]
    assert names == [f"{prefix}PORT"] + (["SCHEMA_PARAMS"] if section is PostgresSettings else [])
    assert SECRET not in str(refused.value)
    with pytest.raises(SettingsError, match=r"PASSWORD=\*\*\*: ") as refused:
        load(section, password=[SECRET])
    assert SECRET not in str(refused.value)


def test_the_environment_goes_before_the_file_and_overrides_before_both(
    empty_environment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (empty_environment / ".env").write_text("REDIS_PORT=1111\nREDIS_HOST=file\nOTHER=x\n")
    assert (load(RedisSettings).port, load(RedisSettings).host) == (1111, "file")
    monkeypatch.setenv("REDIS_PORT", "2222")
    assert load(RedisSettings).port == 2222
    assert load(RedisSettings, port=3333).port == 3333


def test_the_certificate_api_is_found_where_it_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load(CertgenSettings).url == "http://127.0.0.1:8080"
    monkeypatch.setenv("CERTGEN_PORT", "18080")
    assert load(CertgenSettings).url == "http://127.0.0.1:18080"
    monkeypatch.setenv("CERTGEN_URL", "https://certgen:443")
    assert load(CertgenSettings).url == "https://certgen:443"
    monkeypatch.setenv("CERTGEN_PORT", "none")
    with pytest.raises(SettingsError, match=r"^CERTGEN_PORT='none'"):
        load(CertgenSettings)


def test_the_names_of_the_design() -> None:
    fixed = """POSTGRES_HOST POSTGRES_PORT POSTGRES_USER POSTGRES_PASSWORD POSTGRES_DB SCHEMA_PARAMS TIMESCALE_HOST
    TIMESCALE_PORT TIMESCALE_USER TIMESCALE_PASSWORD TIMESCALE_DB KAFKA_BROKERS KAFKA_RAW_TOPIC KAFKA_PROCESSED_TOPIC
    KAFKA_DEAD_LETTER_TOPIC REDIS_HOST REDIS_PORT MQTT_HOST MQTT_PORT CERTGEN_URL BATCH_SIZE PROCESSING_INTERVAL"""
    names = [variable(section, name) for section, name in FIELDS]
    assert {*fixed.split()} <= {*names}
    assert len(names) == len({*names})
    defaults = PipelineSettings()
    assert (defaults.batch_size, defaults.processing_interval, defaults.max_batch_wait_ms) == (1000, 5, 1000)


@pytest.mark.parametrize(("section", "name"), FIELDS)
def test_every_setting_says_what_it_is(section: type[Section], name: str) -> None:
    assert section.model_fields[name].description


def test_the_document_is_the_settings() -> None:
    held = DOCUMENT.read_text() if DOCUMENT.exists() else ""
    assert held == settings_table(), "write it anew: .venv/bin/faces2 settings > docs/settings.md"


def test_a_dotenv_that_is_no_text(empty_environment: Path) -> None:
    (empty_environment / ".env").write_bytes(b"KAFKA_BROKERS=\xff\n")
    with pytest.raises(SettingsError, match=r"\.env is no UTF-8 text"):
        load(KafkaSettings)
