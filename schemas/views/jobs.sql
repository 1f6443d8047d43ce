-- A job of a computed table: pending, reserved (running), success or error.
SELECT
  j.job_table,                    -- as TrainedModel
  j.job_key,                      -- JSON; of the row that it makes
  j.status,                       -- pending, reserved, success, error or ignore
  j.priority,                     -- the lower the sooner
  j.scheduled_time,               -- not before
  j.reserved_time,                -- when it began
  j.completed_time,               -- when it ended, well or not
  j.duration,                     -- of the computation, s
  j.error_message,                -- of one that failed
  j.host,                         -- machine that has it or did it
  j.pid                           -- process there
FROM [every job] AS j
