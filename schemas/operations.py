"""Who computes and with what: code versions and the heartbeats of workers."""

import datajoint as dj

schema = dj.Schema()


@schema
class CodeVersion(dj.Manual):
    definition = """
    # The software that computed a row; gathered once per process
    code_hash : char(16)              # of everything below
    ---
    package_version : varchar(32)
    git_commit = null : char(40)      # null when not run from a checkout
    git_dirty = null : bool           # uncommitted changes to tracked files
    python_version : varchar(16)
    torch_version : varchar(32)
    numpy_version : varchar(32)
    datajoint_version : varchar(32)
    device : varchar(64)
    n_threads : int16                 # results are repeatable for the same number only
    first_used = CURRENT_TIMESTAMP : datetime
    """


@schema
class Worker(dj.Manual):
    definition = """
    # A worker process, alive as long as its heartbeat is young (database time)
    worker_host : varchar(255)
    worker_pid : int32
    ---
    worker_started = CURRENT_TIMESTAMP : datetime
    heartbeat = CURRENT_TIMESTAMP : datetime
    """
