-- A trained network: one seed of one architecture on one training set.
SELECT
  t.training_set_hash,            -- what it was trained on
  t.model_hash,                   -- architecture
  t.train_hash,                   -- how it was trained
  t.seed,                         -- of initial weights and of the order of trials
  m.model_family,                 -- image, navigation, coding or feedback
  c.core_type,                    -- of image models: the part that all units share
  r.readout_type,                 -- of image models: how a unit reads the core
  s.shifter_type,                 -- of image models: how eye position moves readouts
  g.modulator_type,               -- of image models: how behaviour changes gains
  t.training_status,              -- ok or nonfinite
  t.best_epoch,                   -- whose weights are kept
  t.n_epochs,                     -- trained
  t.n_resumptions,                -- how often it went on after being killed
  t.validation_score,             -- of image models: mean correlation of the units
  d.decoding_error,               -- of path integrators, on held-out walks, m
  l.source_loss,                  -- of networks with feedback, in new contexts
  t.weights_sha256,               -- checksum of the weights
  m.model_params,                 -- JSON; of the architecture
  p.train_params,                 -- JSON; of the training
  t.code_hash,                    -- software that trained it: see code_versions
  t._job_start_time AS computed_at,  -- when it began; null: ingested
  t._job_duration AS compute_seconds  -- how long it took
FROM [TrainedModel] AS t
JOIN [ModelConfig] AS m USING (model_hash)
JOIN [TrainConfig] AS p USING (train_hash)
LEFT JOIN [CoreConfig] AS c USING (core_hash)
LEFT JOIN [ReadoutConfig] AS r USING (readout_hash)
LEFT JOIN [ShifterConfig] AS s USING (shifter_hash)
LEFT JOIN [ModulatorConfig] AS g USING (modulator_hash)
LEFT JOIN [TrainedModel.DecodingError] AS d USING (training_set_hash, model_hash, train_hash, seed)
LEFT JOIN [TrainedModel.SourceLoss] AS l USING (training_set_hash, model_hash, train_hash, seed)
