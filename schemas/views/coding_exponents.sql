-- With what power of the prior error, width and density of efficient codes go, log-log, all seeds.
SELECT
  l.training_set_hash,            -- task
  l.model_hash,                   -- architecture
  l.code_analysis_hash,           -- at which stimuli codes are analysed
  l.sweep_hash,                   -- plans that form the sweep
  l.target_index,                 -- in order of the rates, from 0
  g.sweep_target_rate,            -- asked for, nats
  l.coding_relation,              -- error, width or density against the prior; or of each other
  l.exponent,                     -- error and width: with what power they fall
  l.exponent_low,                 -- 95 percent interval over seeds; null with few
  l.exponent_high,                -- 95 percent interval over seeds; null with few
  l.prefactor,                    -- of the power law
  l.log_correlation,              -- of the logarithms
  l.log_correlation_low,          -- 95 percent interval over seeds; null with few
  l.log_correlation_high,         -- 95 percent interval over seeds; null with few
  l.n_law_points                  -- stimuli or neurons that are fitted
FROM [CodingExponents.PowerLaw] AS l
JOIN [CodingSweep.Target] AS g
  USING (training_set_hash, model_hash, code_analysis_hash, sweep_hash, target_index)
