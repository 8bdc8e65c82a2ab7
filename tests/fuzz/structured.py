"""The same targets fed by Hypothesis: whole grammars instead of strokes, and its own way of making a failure small."""

import json
from collections.abc import Mapping

import hypothesis
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from faces2.service.settings import SECTIONS, variable
from tests.fuzz import fleet, target_certgen, target_metadata
from tests.fuzz.engine import Case, FindingError, HangError, Target, checked

Cases = SearchStrategy[Case]

_leaf = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
_values = st.recursive(_leaf, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4))


def _json(content: SearchStrategy[object]) -> SearchStrategy[bytes]:
    """As the standard library writes it: with NaN, Infinity and numbers of any length."""
    return st.builds(
        lambda each, ascii_only: json.dumps(each, ensure_ascii=ascii_only).encode(), content, st.booleans()
    )


def _object(**fields: SearchStrategy[object]) -> SearchStrategy[object]:
    """Each field is right, something else, or not there."""
    return st.fixed_dictionaries({}, optional={name: field | _values for name, field in fields.items()})


_stamps = st.datetimes(timezones=st.none() | st.timezones()).map(str) | st.datetimes().map(lambda at: at.isoformat())
_hex = st.builds(
    lambda raw, separator, upper: raw.hex(separator).upper() if upper and separator else raw.hex(),
    *(st.binary(max_size=40), st.sampled_from([" ", "", "  ", "-"]).map(lambda each: each[:1] or " "), st.booleans()),
)
_payloads = _object(timestamp=_stamps, data=_hex)
_macs = st.sampled_from(fleet.MACS) | st.from_regex(r"[0-9a-fA-F]{12}", fullmatch=True)
_modes = st.sampled_from(["sensor-mode", "access-control-mode", "alarm-mode"])
_connectors = st.from_regex(r"J?[0-5]", fullmatch=True)
_components = st.from_regex(r"(sensor|reader|siren|strike)-[0-7]", fullmatch=True)
_topics = st.builds(
    "{}/f2-{}/{}/{}/{}".format, st.sampled_from(["tele", "stat", "cmnd"]), _macs, _modes, _connectors, _components
)
_records = _object(device_mac=_macs, mode=_modes, connector=_connectors, component=_components, payload=_payloads)
_keys = st.none() | st.binary(max_size=20)
_readings = _object(device_id=st.integers(), datapoint_id=st.integers(), value=st.floats(), timestamp=_stamps)
_odd = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=10)
    | st.sampled_from(["Int16", "Float32"])
)
_templates = st.integers(1, 5)
_times = st.sampled_from([40, 60])
_environments = st.sampled_from(SECTIONS).flatmap(
    lambda section: st.tuples(
        st.just(section.__name__),
        st.dictionaries(
            st.sampled_from([variable(section, name) for name in section.model_fields]),
            st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=30),
            min_size=1,
        ),
        st.just(b"") | st.binary(),
    )
)

STRATEGIES: Mapping[str, Cases] = {
    "bridge": st.tuples(_topics | st.text(max_size=60), _json(_payloads | _values) | st.binary()),
    "records": st.tuples(_keys, st.none() | _json(_records | _values) | st.binary()),
    "encoded": st.tuples(
        *[st.none() | st.binary(max_size=300)] * 2,
        st.text(max_size=250),
        st.lists(st.tuples(st.text(), st.none() | st.binary()), max_size=3),
        *[st.integers(-1, 2**63 - 1)] * 4,
    ),
    "last-resort": st.tuples(
        st.none() | _json(_records | _values) | st.binary(), st.sampled_from(["", "Enrich", "Decode"])
    ),
    "readings": st.tuples(_keys, st.none() | _json(_readings | _values) | st.binary()),
    "metadata": st.tuples(
        st.lists(st.tuples(_templates, *[_odd] * 7) | st.sampled_from(target_metadata.POINTS), max_size=5),
        st.lists(st.tuples(*[_odd] * 7) | st.sampled_from(target_metadata.PINS), max_size=4),
        st.lists(
            st.tuples(_templates | _odd, st.none() | st.lists(st.tuples(*[_odd] * 7), max_size=2), _times | _odd),
            max_size=3,
        ),
        st.lists(st.tuples(*[_odd] * 8) | st.sampled_from(target_metadata.PAST_PINS), max_size=4),
    ),
    "certgen": st.tuples(
        _json(_object(mac=_macs | st.sampled_from(target_certgen.MACS))) | st.binary(),
        st.sampled_from(target_certgen.TYPES),
    ),
    "settings": _environments,
}


def explore(target: Target, examples: int, seed: int) -> int:
    """So many lists of cases; FindingError with the smallest that fails. Gives how many cases that were."""
    count, last = 0, list[Case]()

    @hypothesis.seed(seed)
    @hypothesis.settings(
        max_examples=examples, deadline=None, database=None, suppress_health_check=list(hypothesis.HealthCheck)
    )
    @given(st.lists(STRATEGIES[target.name], min_size=1, max_size=3))
    def example(cases: list[Case]) -> None:
        nonlocal count, last
        count, last = count + len(cases), cases
        checked(target, cases)

    try:
        example()
    except (Exception, HangError) as error:  # Hypothesis tries the smallest once more, last of all
        raise FindingError(target.name, last, error) from error
    return count
