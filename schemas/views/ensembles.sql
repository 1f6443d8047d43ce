-- A frozen set of trained networks whose mean is the model; there is none if a member failed.
SELECT
  e.training_set_hash,            -- what it was trained on
  e.model_hash,                   -- architecture
  e.train_hash,                   -- how it was trained
  e.seed_set_hash,                -- seeds of the members
  m.model_family,                 -- image, navigation, coding or feedback
  c.core_type,                    -- of image models: the part that all units share
  r.readout_type,                 -- of image models: how a unit reads the core
  e.n_members,                    -- networks
  (SELECT AVG(t.validation_score) FROM [Ensemble.Member] AS k
    JOIN [TrainedModel] AS t USING (training_set_hash, model_hash, train_hash, seed)
    WHERE k.training_set_hash = e.training_set_hash AND k.model_hash = e.model_hash
    AND k.train_hash = e.train_hash AND k.seed_set_hash = e.seed_set_hash)
    AS mean_validation_score,     -- of the members
  m.model_params                  -- JSON; of the architecture
FROM [Ensemble] AS e
JOIN [ModelConfig] AS m USING (model_hash)
LEFT JOIN [CoreConfig] AS c USING (core_hash)
LEFT JOIN [ReadoutConfig] AS r USING (readout_hash)
