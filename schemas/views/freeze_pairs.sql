-- A change of context with feedback frozen, then released: how far the population's plane turns.
SELECT
  p.training_set_hash,            -- task
  p.model_hash,                   -- architecture
  p.train_hash,                   -- how it was trained
  p.seed,                         -- of the network
  p.freeze_hash,                  -- which pairs of contexts
  p.freeze_pair,                  -- number of the pair
  p.context_distance,             -- of both mixings, Frobenius norm
  p.on_same_side,                 -- whether both determinants have one sign
  p.angle_frozen,                 -- to the plane before the change, degrees; null: no plane
  p.angle_unfrozen,               -- to the plane before the change, degrees; null: no plane
  p.analytic_angle_frozen,        -- from algebra, without fitting a plane, degrees
  p.late_angle_frozen,            -- at the end of the phase only, degrees
  p.late_angle_unfrozen,          -- at the end of the phase only, degrees
  p.principal_frozen,             -- of the whole population, largest of two, late, degrees
  p.principal_unfrozen,           -- of the whole population, largest of two, late, degrees
  p.deviation_original,           -- of outputs from sources before the change, late
  p.deviation_frozen,             -- of outputs from sources while feedback is frozen, late
  p.deviation_unfrozen            -- of outputs from sources after its release, late
FROM [FreezeExperiment.Pair] AS p
