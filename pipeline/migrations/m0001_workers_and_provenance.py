"""Workers say what they do, and rows that people insert say who inserted them."""

from collections.abc import Iterator

from pipeline.migrations.tables import Tables

PROVENANCE = (
    "json DEFAULT NULL COMMENT ':json:extrinsic provenance for a row that entered from outside'"
)

MIGRATION = f"""(
  `schema_version` smallint NOT NULL COMMENT ':int16:',
  `migration_name` varchar(64) NOT NULL COMMENT ':varchar(64):',
  `migrated_at` datetime NOT NULL DEFAULT CURRENT_TIMESTAMP COMMENT ':datetime:',
  `_prov` {PROVENANCE},
  PRIMARY KEY (`schema_version`)
) COMMENT 'Steps that brought the schemas to what they are; the last is their version'"""

WORKER = """
  MODIFY `heartbeat` datetime NOT NULL
    COMMENT ':datetime:UTC of the database: no jump in March',
  ADD `serves` enum('all','gpu','cpu') NOT NULL DEFAULT 'all'
    COMMENT ':enum(''all'', ''gpu'', ''cpu''):tables: all, those for a GPU, the others',
  ADD `worker_device` varchar(64) NOT NULL DEFAULT '' COMMENT ':varchar(64):',
  ADD `at_work_on` varchar(64) NOT NULL DEFAULT ''
    COMMENT ':varchar(64):table; empty while there is nothing to do',
  ADD `n_done` bigint NOT NULL DEFAULT 0 COMMENT ':int64:jobs',
  ADD `n_failed` bigint NOT NULL DEFAULT 0 COMMENT ':int64:jobs',
  COMMENT 'A worker process, alive as long as its heartbeat is young'"""


def statements(tables: Tables) -> Iterator[str]:
    """Yield what is still to be done."""
    # Only a table of version 0: what an interrupted `init` left needs no step.
    if tables.lack("operations", "worker", "serves"):
        if tables.lack("operations", "migration"):
            yield f"CREATE TABLE {tables.name('operations', 'migration')} {MIGRATION}"
        worker = tables.name("operations", "worker")
        yield f"DELETE FROM {worker}"  # all dead, and their times were not UTC
        yield f"ALTER TABLE {worker} {WORKER}"
    for schema, table in tables.manual():
        if tables.lack(schema, table, "_prov"):
            yield f"ALTER TABLE {tables.name(schema, table)} ADD `_prov` {PROVENANCE}"
