"""The steps from one version of the schemas to the next; `pipeline.migration` takes them.

A change of a definition in `schemas/` that the tables of a laboratory must follow is a step:

1. A module ``m0002_what_it_does.py`` here with a function ``statements(tables)``, which yields the
   SQL that is still to be done, and at the end of `STEPS` the module. A step that was released is
   never edited.
2. MySQL commits each statement of that kind at once, and an upgrade may be killed between two: so
   each is yielded only as long as it is not done, which `Tables` knows. New tables need none: an
   upgrade ends by making all that are missing, as `init` does.
3. `tests/pipeline/test_migration.py` compares an upgraded database with a fresh one, column by
   column.
"""

from types import ModuleType

from pipeline.migrations import m0001_workers_and_provenance

STEPS: tuple[ModuleType, ...] = (m0001_workers_and_provenance,)
"""In their order: the first makes version 1."""
