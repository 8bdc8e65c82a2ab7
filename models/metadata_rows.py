"""From rows of the metadata database to a snapshot: what each pin is, and what it was when older frames arrived.

Rows of a database that is not ours may hold anything: a datapoint that can not be understood spoils only itself, a pin
that can not be is left out.
"""

from collections.abc import Iterable
from typing import Any

from faces2.models.frame import Datapoint
from faces2.models.metadata import PinKey, Sensor, Snapshot, Template, Timeline
from faces2.models.metadata_fields import FOREVER, INT32, TIMES, Mapping, datapoint_of, is_whole, mapping_of, scalar


def build_snapshot(
    version: int,
    datapoint_rows: Iterable[Any],
    pin_rows: Iterable[Any],
    past_template_rows: Iterable[Any] = (),
    past_pin_rows: Iterable[Any] = (),
) -> Snapshot:
    """From rows (template, id, label, offset, length, encoding, decimals, unit), (mac, connector, position, device,
    name, template, since) and, both in the order of `until`, (template, datapoints, until) and (mac, connector,
    position, device, name, template, since, until)."""
    templates = Templates(datapoint_rows, past_template_rows)
    mappings: dict[PinKey, list[Mapping]] = {}
    for pin, mapping in filter(None, map(mapping_of, past_pin_rows)):
        mappings.setdefault(pin, []).append(mapping)
    sensors = {}
    for pin, mapping in filter(None, map(mapping_of, pin_rows)):
        sensors[pin] = Sensor(mapping.device_id, mapping.name, templates.now(mapping.template_id))
        if pin in mappings or templates.changed_after(mapping.template_id, mapping.since):
            mappings.setdefault(pin, []).append(mapping)
    timelines = {pin: _timeline(held, templates) for pin, held in mappings.items()}
    return Snapshot(version, sensors, {pin: timeline for pin, timeline in timelines.items() if timeline})


class Templates:
    """Each template's versions: until when, and what it was; the present one is the last and lasts for ever."""

    def __init__(self, datapoint_rows: Iterable[Any], past_rows: Iterable[Any]) -> None:
        present: dict[int, list[Datapoint]] = {}
        for number, *fields in datapoint_rows:
            if is_whole(template_id := scalar(number), INT32):
                present.setdefault(template_id, []).append(datapoint_of(fields))
        # Versions that are the same are one object: frames of one object are decoded together.
        same: dict[Template, Template] = {}
        self._past: dict[int | None, list[tuple[int, Template]]] = {}
        for number, rows, end in past_rows:
            template_id, until = scalar(number), scalar(end)
            # While it had no datapoints it meant nothing: the next version holds for that time.
            if rows and is_whole(template_id, INT32) and is_whole(until, TIMES):
                template = Template(template_id, tuple(map(datapoint_of, rows)))
                self._past.setdefault(template_id, []).append((until, same.setdefault(template, template)))
        self._present: dict[int | None, Template] = {}
        for template_id, points in present.items():
            template = Template(template_id, tuple(points))
            self._present[template_id] = same.setdefault(template, template)

    def now(self, template_id: int | None) -> Template:
        """The present version; one without datapoints has none to offer, and is not unknown."""
        return self._present.get(template_id) or self._present.setdefault(template_id, Template(template_id, ()))

    def changed_after(self, template_id: int | None, micros: int) -> bool:
        """Whether a version ended after that time."""
        past = self._past.get(template_id)
        return past is not None and past[-1][0] > micros

    def between(self, template_id: int | None, begin: int, end: int) -> Iterable[tuple[int, Template]]:
        """The versions of that time, the last one until `end`."""
        for until, template in (*self._past.get(template_id, ()), (FOREVER, self.now(template_id))):
            if until > begin:
                yield min(until, end), template
            if until >= end:
                return


def _timeline(mappings: list[Mapping], templates: Templates) -> Timeline:
    """What was before the present, in the order of time; neighbours that are read the same way are one."""
    pieces: list[tuple[int, Sensor]] = []
    before = 0
    for device_id, name, template_id, since, until in mappings:
        # Where nothing was mapped before, the mapping counts as it was when it began.
        for end, template in templates.between(template_id, max(since, before), until):
            if pieces and pieces[-1][1].device_id == device_id and pieces[-1][1].template is template:
                pieces.pop()
            pieces.append((end, Sensor(device_id, name, template)))
        before = until
    if before == FOREVER:
        pieces.pop()
    return tuple(pieces)
