-- How well a single network predicts a unit, with eye and behaviour as recorded.
SELECT
  s.training_set_hash,            -- what the network was trained on
  s.model_hash,                   -- architecture
  s.train_hash,                   -- how it was trained
  s.seed,                         -- of the network
  u.animal_id,                    -- number of the animal
  u.session,                      -- of the animal
  u.scan_idx,                     -- recording of the session
  u.unit_id,                      -- neuron of the recording
  s.unit_index,                   -- column of the model
  s.validation_corr,              -- validation tier: correlation with single trials
  s.test_corr,                    -- test tier: correlation with single trials
  s.test_corr_avg,                -- with means over repeats
  s.test_cc_norm,                 -- that divided by its ceiling, cc_max
  s.test_feve,                    -- fraction of the explainable variance that is explained
  s.test_oracle_fraction,         -- of the oracle that is reached
  r.rf_x_px,                      -- centre of the receptive field, px of the model's images
  r.rf_y_px,                      -- down from the top left pixel
  r.rf_x_deg,                     -- degrees to the right of the middle of the screen
  r.rf_y_deg                      -- degrees below it
FROM [TrainedModel.UnitScore] AS s
JOIN [TargetDataset.Unit] AS u USING (training_set_hash, unit_index)
LEFT JOIN [UnitReadout.Unit] AS r USING (training_set_hash, model_hash, train_hash, seed, unit_index)
