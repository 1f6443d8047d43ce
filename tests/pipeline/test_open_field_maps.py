"""The dictionary of rate maps: converted, saved, loaded and ingested to the bit."""

import numpy as np
import pytest
from foragers import Foragers
from miniature import row_counts
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.ingest.rate_map_dictionary import (
    ingest_dictionary,
    ingest_rate_maps,
    load_dictionary,
    save_dictionary,
)
from pipeline.ingest.rows import BadRecording
from schemas.open_field import Arena, FinishedRateMap, OpenField
from schemas.recording import Scan


@pytest.fixture(scope="module")
def foragers(tables):
    made = Foragers()
    yield made
    made.delete()


def dictionary():
    """Two arenas and three animals, with cells called by numbers and by words."""
    rng = np.random.default_rng(0)

    def animal(n_cells, ids, shape=(4, 6)):
        return {"resp": rng.gamma(1.0, 3.0, (*shape, n_cells)), "cell_ids": ids}

    return {
        "forager a": {"rosa": animal(2, [7, 3]), 12: animal(1, ["t1c1"])},
        "forager b": {
            "karl": animal(3, np.array(["x", "y", "zz"], object)),
            "rosa": animal(2, (7, 3), (24,)),
        },
    }


SIZES = {"forager a": (0.4, 0.6), "forager b": (0.8, 1.2)}


def stored(first_animal, n_animals):
    """Maps and names of cells by arena and animal, as the dictionary has them."""
    found = {}
    animals = f"animal_id BETWEEN {first_animal} AND {first_animal + n_animals - 1}"
    for row in (OpenField * FinishedRateMap & animals).to_dicts(order_by="KEY"):
        key = {a: row[a] for a in Scan.primary_key}
        names = (OpenField.Cell & key).to_arrays("cell_name", order_by="unit_id").tolist()
        maps = np.asarray(row["finished_maps"])
        found.setdefault(row["arena"], {})[row["animal_name"]] = key, maps, names
    return found


@pytest.mark.shared
def test_the_golden_data_set_comes_back_to_the_bit(foragers, shared, tmp_path):
    with np.load(shared / "golden/mec/synthetic_dataset.npz") as file:
        golden = {}
        for name in file.files:
            if name.startswith("resp|"):
                _, arena, animal = name.split("|")
                ids = file[f"cell_ids|{animal}"]
                parts = {"resp": file[name], "cell_ids": ids}
                golden.setdefault(float(arena), {})[animal] = parts
    path = tmp_path / "golden.npz"
    save_dictionary(path, {f"forager {side}": animals for side, animals in golden.items()})
    loaded = load_dictionary(path)
    assert list(loaded) == ["forager 1.0", "forager 1.5"]
    first = foragers.first_of(4)
    sizes = {f"forager {side}": (side, side) for side in golden}
    assert ingest_rate_maps(path, first, sizes) == 8
    before = row_counts()
    assert ingest_rate_maps(path, first, sizes) == 0
    assert row_counts() == before
    found = stored(first, 4)
    for session, (side, animals) in enumerate(golden.items(), 1):
        arena = f"forager {side}"
        assert Arena.box({"arena": arena}).width == Arena.box({"arena": arena}).height == side
        assert list(found[arena]) == list(animals)
        for index, (animal, parts) in enumerate(animals.items()):
            key, maps, names = found[arena][animal]
            assert key == {"animal_id": first + index, "session": session, "scan_idx": 1}
            assert names == parts["cell_ids"].tolist()
            assert maps.dtype == parts["resp"].dtype == np.float64
            assert maps.tobytes() == parts["resp"].tobytes()
            np.testing.assert_array_equal(loaded[arena][animal]["resp"], parts["resp"])


def test_a_dictionary_in_memory(foragers):
    given, first = dictionary(), foragers.first_of(3)
    assert ingest_dictionary(given, first, SIZES, (4, 6), "lab") == 4
    assert ingest_dictionary(given, first, SIZES, (4, 6), "lab") == 0
    found = stored(first, 3)
    keys = {(a, n): tuple(f[0].values()) for a, ns in found.items() for n, f in ns.items()}
    assert keys == {
        ("forager a", "rosa"): (first, 1, 1),
        ("forager a", "12"): (first + 1, 1, 1),
        ("forager b", "karl"): (first + 2, 2, 1),
        ("forager b", "rosa"): (first, 2, 1),
    }
    assert found["forager a"]["rosa"][2] == found["forager b"]["rosa"][2] == ["7", "3"]
    assert found["forager b"]["karl"][2] == ["x", "y", "zz"]
    # bin = ix * ny + iy (mec 8.1)
    flat, maps = given["forager b"]["rosa"]["resp"], found["forager b"]["rosa"][1]
    for ix, iy in ((0, 0), (0, 5), (2, 3), (3, 5)):
        np.testing.assert_array_equal(maps[ix, iy], flat[ix * 6 + iy])
    assert (Scan & {"animal_id": first, "session": 1}).fetch1("source_name") == "lab"
    # the same source under other numbers would give animals away
    with pytest.raises(BadRecording, match="is already there"):
        ingest_dictionary(given, first + 1, SIZES, (4, 6), "lab")


def test_an_arena_that_is_called_by_a_number_is_so_large(foragers, tmp_path):
    """As in the original; and as many bins in x as in y."""
    resp = np.random.default_rng(1).gamma(1.0, 1.0, (9, 2))
    given = {0.7: {"m": {"resp": resp, "cell_ids": [0, 1]}}}
    first = foragers.key()["animal_id"]
    assert ingest_dictionary(given, first) == 1
    assert Arena.box({"arena": "0.7"}).corners.tolist() == [[-0.35, -0.35], [0.35, 0.35]]
    np.testing.assert_array_equal(stored(first, 1)["0.7"]["m"][1], resp.reshape(3, 3, 2))


def test_one_bad_animal_and_nothing_is_stored(foragers):
    given, first = dictionary(), foragers.first_of(3)
    before = row_counts()
    given["forager b"]["rosa"]["resp"][:, 1] = np.nan
    with pytest.raises(BadRecording, match="rosa in 'forager b': the maps of 3 hold nothing but"):
        ingest_dictionary(given, first, SIZES, (4, 6))
    given = dictionary()
    given["forager b"]["rosa"]["resp"] = np.ones((5, 6, 2))
    with pytest.raises(BadRecording, match=r"rosa has maps of 5 x 6 bins, .* have 4 x 6"):
        ingest_dictionary(given, first, SIZES)
    assert row_counts() == before
    ingest_dictionary(dictionary(), first, SIZES, (4, 6))
    before = row_counts()
    walls = {"forager a": (0.4, 0.6), "forager b": (0.8, 1.1)}
    with pytest.raises(BadRecording, match="'forager b' is there with other walls"):
        # found out after the animals of the first arena were inserted
        ingest_dictionary(dictionary(), foragers.first_of(3), walls, (4, 6), "once more")
    assert row_counts() == before


def changed(**changes):
    given = dictionary()
    given["forager a"]["rosa"] |= changes
    return given


@pytest.mark.parametrize(
    ("dataset", "shape", "message"),
    [
        ({}, None, "the dictionary is empty"),
        ({"a": {}}, None, "the dictionary is empty"),
        ([1], None, "arenas must be keys of a dictionary, not list"),
        ({"a": {"m": np.ones((2, 2))}}, None, "m in 'a' must hold resp and cell_ids, not ndarray"),
        ({"a": {"m": {"resp": np.ones((2, 2, 1))}}}, None, r"must hold .*, not \['resp'\]"),
        ({"a/b": {}}, None, "hold a slash: rename"),
        ({1: {}, "1": {}}, None, "same name as text"),
        (changed(cell_ids=[1, 2, 3]), (4, 6), "rosa in 'forager a': there are 2 cells, but 3"),
        (changed(cell_ids=[1.5, 2.5]), (4, 6), "cell_ids of rosa .* integers or text"),
        (changed(resp=np.full((4, 6, 2), "a")), (4, 6), "resp of rosa .* must be numbers"),
        (changed(resp=np.ones(24)), (4, 6), r"rosa in 'forager a' must be .* not \(24,\)"),
        (dictionary(), None, "24 bins, which are not 4 x 4: give their shape"),
        (dictionary(), (6, 4), r"with 6 x 4 bins, not \(4, 6, 2\)"),
    ],
)
def test_a_dictionary_that_is_not_so(tables, dataset, shape, message):
    with pytest.raises(BadRecording, match=message):
        ingest_dictionary(dataset, 7090, SIZES, shape)


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"forager a": (1, 1)}, "'forager b' is not called by its size: give its width and height"),
        (SIZES | {"c": (1, 1)}, r"sizes are given of arenas \['c'\]"),
        (SIZES | {"forager a": (0, 1)}, "'forager a' cannot be 0 x 1 m"),
    ],
)
def test_arenas_need_a_size(tables, sizes, message):
    with pytest.raises(BadRecording, match=message):
        ingest_dictionary(dictionary(), 7090, sizes, (4, 6))


def test_a_file_that_is_not_so(tmp_path):
    np.savez(tmp_path / "other.npz", **{"1.0/m1/resp": np.ones((2, 2, 1)), "resp": np.ones(2)})
    with pytest.raises(BadRecording, match="holds an array 'resp': all must be named <arena>/"):
        load_dictionary(tmp_path / "other.npz")
    np.savez(tmp_path / "half.npz", **{"1.0/m1/resp": np.ones((2, 2, 1))})
    with pytest.raises(BadRecording, match=r"m1 in '1.0' must hold .*, not \['resp'\]"):
        load_dictionary(tmp_path / "half.npz")


def test_the_command(foragers, tmp_path):
    save_dictionary(tmp_path / "maps.npz", dictionary())
    first = foragers.first_of(3)
    words = ["ingest", "rate-maps", str(tmp_path / "maps.npz"), "--first-animal", str(first)]
    words += ["--shape", "4", "6", "--size", "forager a=0.4x0.6", "--size"]
    done = CliRunner().invoke(app, [*words, "forager b=0.8x1.2"])
    assert done.exit_code == 0, done.output
    assert "4 recordings of" in done.output
    again = CliRunner().invoke(app, [*words, "forager b=0.8x1.2"])
    assert "0 recordings" in again.output
    assert "already there" in again.output
    bad = CliRunner().invoke(app, [*words, "forager b=0.8"])
    assert bad.exit_code == 1
    assert "--size is NAME=WIDTHxHEIGHT" in bad.output
