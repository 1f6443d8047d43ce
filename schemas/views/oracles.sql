-- How reliably a unit answers to repeated images, how varied its answers are, and its rank.
SELECT
  o.training_set_hash,            -- training set that the unit is part of
  o.oracle_hash,                  -- how the score is computed
  m.oracle_method,                -- as leave_one_out
  u.animal_id,                    -- number of the animal
  u.session,                      -- of the animal
  u.scan_idx,                     -- recording of the session
  u.unit_id,                      -- neuron of the recording
  o.unit_index,                   -- column of the models
  o.oracle,                       -- correlation; null: no repeats, or a constant unit
  o.oracle_p,                     -- bootstrap only: against shuffled images
  o.signal_power,                 -- variance of the expected response, unclipped
  o.fev,                          -- fraction of single-trial variance that is signal
  o.cc_max,                       -- ceiling of the correlation with the mean response
  o.fev_included,                 -- 1: FEV is above the method's threshold
  o.reliable,                     -- 1: responses differ between images, F-test p < 0.001
  r.oracle_rank,                  -- 0 = best; units without a score come last
  s.response_variance,            -- of the mean responses over all images
  s.entropy,                      -- of the mean responses, nat
  s.highest_correlation,          -- with another unit of the recording
  s.anomaly_label                 -- -1: set apart by an isolation forest, else 1
FROM [Oracle.UnitScores] AS o
JOIN [OracleMethod] AS m USING (oracle_hash)
JOIN [TargetDataset.Unit] AS u USING (training_set_hash, unit_index)
LEFT JOIN [OracleRankedUnit.Unit] AS r USING (training_set_hash, oracle_hash, unit_index)
LEFT JOIN [UnitStatistics.Unit] AS s USING (training_set_hash, unit_index)
