-- Limens of listeners beside the errors of efficient codes of a target rate, log-log.
SELECT
  t.training_set_hash,            -- task
  t.model_hash,                   -- architecture
  t.code_analysis_hash,           -- at which stimuli codes are analysed
  t.sweep_hash,                   -- plans that form the sweep
  t.limen_study,                  -- name of the measurement
  t.target_index,                 -- in order of the rates, from 0
  g.sweep_target_rate,            -- asked for, nats
  t.error_kind,                   -- posterior: of the decoded mean; sampling: of a draw
  t.limen_slope,                  -- 1: limens are proportional to the prediction
  t.limen_slope_low,              -- 95 percent interval over frequencies
  t.limen_slope_high,             -- 95 percent interval over frequencies
  t.limen_correlation,            -- of the logarithms
  t.limen_log_error,              -- rms of log(limen / scaled prediction)
  t.limen_scale,                  -- the one free factor, Hz per Hz
  c.classical_slope,              -- on 1 / density of the prior, which knows no code
  c.classical_correlation,        -- with it
  c.classical_log_error,          -- from it
  c.n_limens                      -- measured
FROM [LimenComparison.Target] AS t
JOIN [LimenComparison] AS c
  USING (training_set_hash, model_hash, code_analysis_hash, sweep_hash, limen_study)
JOIN [CodingSweep.Target] AS g
  USING (training_set_hash, model_hash, code_analysis_hash, sweep_hash, target_index)
