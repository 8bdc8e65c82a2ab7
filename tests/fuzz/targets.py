"""All that is fuzzed, and how much of the cases each is given: what is slow or seldom, less."""

from collections.abc import Mapping, Sequence

from tests.fuzz.engine import Target
from tests.fuzz.target_bridge import Bridge
from tests.fuzz.target_certgen import Certgen
from tests.fuzz.target_encoded import Encoded
from tests.fuzz.target_last_resort import LastResort
from tests.fuzz.target_metadata import Cached, Rows
from tests.fuzz.target_readings import ProcessedRecords
from tests.fuzz.target_records import Records
from tests.fuzz.target_settings import Environment

TARGETS: Sequence[Target] = (
    Bridge(),
    Records(),
    Records("records-crc", check_crc=True),
    Encoded(),
    LastResort(),
    ProcessedRecords(),
    Rows(),
    Cached(),
    Certgen(),
    Environment(),
)
SHARES: Mapping[str, int] = {
    "bridge": 300,
    "records": 330,
    "records-crc": 30,
    "encoded": 50,
    "last-resort": 10,
    "readings": 200,
    "metadata": 50,
    "redis": 20,
    "certgen": 5,
    "settings": 5,
}
