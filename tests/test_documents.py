"""What the documents tell people to type exists, and their links lead somewhere."""

import re
import shlex
import subprocess
from pathlib import Path

import datajoint as dj
import pytest
import typer.main
import yaml
from miniature import tables  # noqa: F401

from pipeline.cli import app
from pipeline.settings import Settings

ROOT = Path(__file__).parents[1]
PAGES = {
    str(path.relative_to(ROOT)): path.read_text()
    for path in (ROOT / "README.md", ROOT / "notebooks" / "README.md", *ROOT.glob("docs/*.md"))
}
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())


def blocks(page, language):
    """Return the fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", PAGES[page], re.M | re.S)


def commands(page):
    """Return the words of every call of `inceptionloop`, in blocks and in inline code."""
    text = PAGES[page].replace("\\\n", " ")
    fenced = "\n".join(re.findall(r"^```\w*\n(.*?)^```", text, re.M | re.S))
    indented = re.findall(r"^    (.+)$", text, re.M)
    inline = re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.M | re.S))
    for line in [*fenced.splitlines(), *indented, *inline]:
        for call in re.findall(r"(?:^|[ /;])inceptionloop +([a-z][^;&|)]*)", line):
            yield shlex.split(call, comments=True)


CALLS = [(page, words) for page in PAGES for words in commands(page)]


def test_there_are_commands_to_check():
    assert len({page for page, _ in CALLS}) > 15
    assert len(CALLS) > 150


@pytest.mark.parametrize(("page", "words"), CALLS, ids=[" ".join(words) for _, words in CALLS])
def test_every_command_and_option_exists(page, words):
    command = typer.main.get_command(app)
    words = list(words)
    while words and hasattr(command, "commands"):
        name = words.pop(0)
        assert name in command.commands, f"{page}: {name}"
        command = command.commands[name]
    known = {option for param in command.params for option in (*param.opts, *param.secondary_opts)}
    given = {word.partition("=")[0] for word in words if re.match(r"--?[a-z]", word)}
    assert given <= known | {"--help"}, f"{page}: {given - known}"


def test_the_script_for_slurm_is_one():
    scripts = [block for block in blocks("docs/cluster.md", "bash") if "#SBATCH" in block]
    assert len(scripts) == 1
    subprocess.run(["bash", "-n"], input=scripts[0], text=True, check=True)
    assert scripts[0].startswith("#!/bin/bash\n#SBATCH ")
    first_command = scripts[0].index("\nset ")
    assert scripts[0].rindex("#SBATCH") < first_command  # SLURM reads no further


def kubernetes():
    return {
        d["kind"]: d for text in blocks("docs/cluster.md", "yaml") for d in yaml.safe_load_all(text)
    }


def test_kubernetes_runs_our_images_without_rights():
    objects = kubernetes()
    assert set(objects) == {"ConfigMap", "Job", "Deployment"}
    ours = {s["image"] for s in COMPOSE["services"].values()}
    for kind in ("Job", "Deployment"):
        pod = objects[kind]["spec"]["template"]["spec"]
        (container,) = pod["containers"]
        assert container["image"].removeprefix("registry.example.org/") in ours
        assert container["args"][:2] == ["inceptionloop", "work"]
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
        }
        assert pod["volumes"][0]["secret"] == {"secretName": "inceptionloop", "defaultMode": 0o440}
        assert {m["name"] for m in container["volumeMounts"]} == {v["name"] for v in pod["volumes"]}
        threads = container["args"][container["args"].index("--threads") + 1]
        assert {"name": "OMP_NUM_THREADS", "value": threads} in container["env"]
    gpu = objects["Deployment"]["spec"]["template"]["spec"]["containers"][0]
    assert gpu["resources"]["limits"]["nvidia.com/gpu"] == 1
    template = objects["Deployment"]["spec"]["template"]
    labels = objects["Deployment"]["spec"]["selector"]["matchLabels"]
    assert template["metadata"]["labels"] == labels
    # a work queue: it ends when a worker finds nothing left to do
    job = objects["Job"]["spec"]
    assert "completions" not in job
    assert "--forever" not in job["template"]["spec"]["containers"][0]["args"]


@pytest.mark.parametrize("page", PAGES)
def test_every_setting_named_is_read_by_the_program(page):
    named = set(re.findall(r"\b((?:INCEPTIONLOOP|DJ)_[A-Z0-9_]+)", PAGES[page]))
    of_settings = {f"INCEPTIONLOOP_{name.upper()}" for name in Settings.model_fields}
    source = "".join(p.read_text() for p in (ROOT / "pipeline").rglob("*.py"))
    in_source = set(re.findall(r'"((?:INCEPTIONLOOP|DJ)_[A-Z0-9_]+)"', source))
    in_compose = set(re.findall(r"\$\{(\w+)", (ROOT / "docker-compose.yml").read_text()))
    assert named <= of_settings | in_source | in_compose


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_to_a_file(page):
    folder = (ROOT / page).parent
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", PAGES[page])
    assert [link for link in links if not (folder / link).exists()] == []


def test_every_page_can_be_reached_from_the_readme():
    index = (ROOT / "docs" / "README.md").read_text()
    assert "(docs/README.md)" in PAGES["README.md"]
    assert [p.name for p in ROOT.glob("docs/*.md") if f"({p.name})" not in index] == ["README.md"]


@pytest.mark.usefixtures("tables")
def test_the_sql_to_watch_it_by_runs():
    (text,) = blocks("docs/operating.md", "sql")
    text = re.sub(r"^--.*$", "", text, flags=re.M).replace("inceptionloop", Settings().prefix[:-1])
    statements = [statement for statement in text.split(";") if statement.strip()]
    assert len(statements) >= 7
    for statement in statements:
        dj.conn().query(statement.replace("%", "%%")).fetchall()
