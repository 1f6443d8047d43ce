-- Software and machine that computed rows.
SELECT
  c.code_hash,                    -- of all below
  c.package_version,              -- of inceptionloop
  c.git_commit,                   -- null when not run from a checkout
  c.git_dirty,                    -- 1: uncommitted changes to tracked files
  c.python_version,               -- of the process
  c.torch_version,                -- of the process
  c.numpy_version,                -- of the process
  c.datajoint_version,            -- of the process
  c.device,                       -- processor or GPU
  c.n_threads,                    -- results are repeatable for the same number only
  c.first_used                    -- when it first computed anything
FROM [CodeVersion] AS c
