"""What holds of every reader: of a bad or interrupted recording nothing is stored."""

import pytest
from miniature import row_counts

from pipeline.ingest import insert
from pipeline.ingest.rows import BadRecording
from schemas.recording import Activity


def check_refusal(ingest, path, key, message, *options):
    before = row_counts()
    with pytest.raises(BadRecording, match=message) as caught:
        ingest(path, key, *options)
    assert "\n" not in str(caught.value)
    assert row_counts() == before


def check_interruption(ingest, path, key, monkeypatch):
    """Interrupt within the activity, stored in blocks of two units, and ingest once more."""
    before = row_counts()
    insert1, inserted = Activity.Block.insert1, []

    def interrupted(self, row):
        if len(inserted) == 2:
            raise KeyboardInterrupt
        inserted.append(row["activity_block"])
        insert1(row)

    monkeypatch.setattr(insert, "UNITS_PER_BLOCK", 2)
    with monkeypatch.context() as patch:
        patch.setattr(Activity.Block, "insert1", interrupted)
        with pytest.raises(KeyboardInterrupt):
            ingest(path, key)
    assert inserted == [0, 1]
    assert row_counts() == before
    assert ingest(path, key) is True
