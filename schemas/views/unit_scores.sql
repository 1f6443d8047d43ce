-- How well an ensemble predicts a unit, with eye and behaviour as recorded.
SELECT
  s.training_set_hash,            -- what the ensemble was trained on
  s.model_hash,                   -- architecture
  s.train_hash,                   -- how it was trained
  s.seed_set_hash,                -- seeds of its members
  u.animal_id,                    -- number of the animal
  u.session,                      -- of the animal
  u.scan_idx,                     -- recording of the session
  u.unit_id,                      -- neuron of the recording
  s.unit_index,                   -- column of the model
  s.ensemble_validation_corr,     -- validation tier: correlation with single trials
  s.ensemble_validation_corr_avg, -- with means over repeats
  s.ensemble_validation_cc_norm,  -- that divided by its ceiling, cc_max
  s.ensemble_validation_feve,     -- fraction of the explainable variance that is explained
  s.ensemble_validation_oracle_fraction,  -- of the oracle that is reached
  s.ensemble_test_corr,           -- test tier: the same
  s.ensemble_test_corr_avg,       -- test tier: with means over repeats
  s.ensemble_test_cc_norm,        -- test tier: that divided by its ceiling
  s.ensemble_test_feve,           -- test tier: of the explainable variance
  s.ensemble_test_oracle_fraction,  -- test tier: of the oracle
  m.ensemble_mean_input_test_corr,  -- with mean eye and behaviour, of models that use them
  m.ensemble_mean_input_test_cc_norm  -- with mean eye and behaviour, of models that use them
FROM [Ensemble.UnitScore] AS s
JOIN [TargetDataset.Unit] AS u USING (training_set_hash, unit_index)
LEFT JOIN [Ensemble.MeanInputScore] AS m
  USING (training_set_hash, model_hash, train_hash, seed_set_hash, unit_index)
