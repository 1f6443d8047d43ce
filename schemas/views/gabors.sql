-- The Gabor that excites a unit most: of a grid, and of all.
SELECT
  b.training_set_hash,            -- what the ensemble was trained on
  b.model_hash,                   -- architecture
  b.train_hash,                   -- how it was trained
  b.seed_set_hash,                -- seeds of its members
  b.selection_hash,               -- rule that selected the unit
  b.contrast_hash,                -- mean and contrast of the Gabors
  b.gabor_hash,                   -- which Gabors are searched
  u.animal_id,                    -- number of the animal
  u.session,                      -- of the animal
  u.scan_idx,                     -- recording of the session
  u.unit_id,                      -- neuron of the recording
  b.unit_index,                   -- column of the model
  b.best_alive,                   -- 0: all Gabors of the grid drove the unit alike
  b.best_activation,              -- to the best of the grid
  o.optimal_alive,                -- 0: all Gabors drove the unit alike
  o.optimal_activation,           -- to the best of all
  o.optimal_phase,                -- degrees, in the middle of the window
  o.optimal_wavelength,           -- px of the model's images
  o.optimal_orientation,          -- degrees; 0: horizontal stripes, counter-clockwise
  o.optimal_sigma,                -- of the envelope, px
  o.optimal_dy,                   -- from the middle down, fraction of the height
  o.optimal_dx                    -- to the right, fraction of the width
FROM [BestGabor.Unit] AS b
JOIN [TargetDataset.Unit] AS u USING (training_set_hash, unit_index)
LEFT JOIN [OptimalGabor.Unit] AS o USING (training_set_hash, model_hash, train_hash, seed_set_hash,
  selection_hash, contrast_hash, gabor_hash, unit_block, unit_index)
