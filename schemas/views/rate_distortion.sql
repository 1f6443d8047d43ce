-- Rate and distortion that efficient codes reached at a target rate, over seeds; nats.
SELECT
  t.training_set_hash,            -- task
  t.model_hash,                   -- architecture
  t.code_analysis_hash,           -- at which stimuli codes are analysed
  t.sweep_hash,                   -- plans that form the sweep
  t.target_index,                 -- in order of the rates, from 0
  g.sweep_target_rate,            -- asked for
  t.n_target_codes,               -- seeds that stayed finite
  t.rate_mean,                    -- reached
  t.rate_sd,                      -- null with one seed
  t.distortion_mean,              -- reached
  t.distortion_sd,                -- null with one seed
  t.excess_mean,                  -- of distortion and rate over the entropy of the sample
  t.excess_sd                     -- null with one seed
FROM [RateDistortion.Target] AS t
JOIN [CodingSweep.Target] AS g
  USING (training_set_hash, model_hash, code_analysis_hash, sweep_hash, target_index)
