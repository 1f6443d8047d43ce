-- How well a cell is predicted from other animals: what a network can be expected to explain.
SELECT
  c.rate_map_set_hash,            -- animals that are compared
  c.neural_map_hash,              -- how responses are mapped to cells
  c.consistency_mode,             -- from all others together, or from each other one alone
  c.animal_id,                    -- number of the animal
  c.session,                      -- of the animal
  c.scan_idx,                     -- recording of the session
  c.unit_id,                      -- neuron of the recording
  c.consistency,                  -- r with test bins, mean over splits; null: constant
  c.consistency_corrected,        -- for the noise of the recordings
  c.n_consistency_bins            -- that were compared
FROM [InterAnimalConsistency.Cell] AS c
