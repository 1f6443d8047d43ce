"""Who computes and with what, and what the workers must know of each other."""

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
    # A worker process, alive as long as its heartbeat is young
    worker_host : varchar(255)
    worker_pid : int32
    ---
    worker_started = CURRENT_TIMESTAMP : datetime
    heartbeat : datetime                          # UTC of the database: no jump in March
    serves = 'all' : enum('all', 'gpu', 'cpu')    # tables: all, those for a GPU, the others
    worker_device = '' : varchar(64)
    at_work_on = '' : varchar(64)                 # table; empty while there is nothing to do
    n_done = 0 : int64                            # jobs
    n_failed = 0 : int64                          # jobs
    """


@schema
class Pause(dj.Manual):
    definition = """
    # While there is a row here, workers finish the job that they are at and take no new one
    pause_reason : varchar(64)
    ---
    paused_by : varchar(255)
    paused_at = CURRENT_TIMESTAMP : datetime
    """


@schema
class RetriedJob(dj.Manual):
    definition = """
    # A job that was tried again without anybody asking for it
    job_table : varchar(64)               # class name
    job_hash : char(16)                   # of its key
    ---
    n_retries = 0 : int16                 # after what may pass: a lost connection, a full GPU
    n_deaths = 0 : int16                  # of workers that were at it
    last_failure : varchar(2047)
    retried_at = CURRENT_TIMESTAMP : datetime
    """


@schema
class Migration(dj.Manual):
    definition = """
    # Steps that brought the schemas to what they are; the last is their version
    schema_version : int16
    ---
    migration_name : varchar(64)
    migrated_at = CURRENT_TIMESTAMP : datetime
    """
