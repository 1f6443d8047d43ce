-- Parameters under their hash, of every kind.
SELECT
  c.configuration_table,          -- as ModelConfig, TrainConfig, MEIMethod
  c.configuration_hash,           -- as `model_hash`, `train_hash`, `mei_hash` of other views
  c.params                        -- JSON
FROM [every configuration] AS c
