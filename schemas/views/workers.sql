-- A worker process.
SELECT
  w.worker_host,                  -- machine
  w.worker_pid,                   -- process
  w.worker_started,               -- when it started
  w.heartbeat,                    -- last sign of life, UTC
  TIMESTAMPDIFF(SECOND, w.heartbeat, UTC_TIMESTAMP()) AS silent_seconds,  -- since then; dead at 45
  w.serves,                       -- which tables: all, gpu or cpu
  w.worker_device,                -- processor or GPU
  w.at_work_on,                   -- table; empty while there is nothing to do
  w.n_done,                       -- jobs
  w.n_failed                      -- jobs
FROM [Worker] AS w
