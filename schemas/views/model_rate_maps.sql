-- How a unit of a path integrator is tuned.
SELECT
  r.training_set_hash,            -- task of the network
  r.model_hash,                   -- architecture
  r.train_hash,                   -- how it was trained
  r.seed,                         -- of the network
  r.arena,                        -- box that it walked through
  r.model_map_hash,               -- how maps are made
  r.layer_name,                   -- pre_g, g or dc
  r.model_unit,                   -- unit of the layer
  r.model_grid_score,             -- null where the map is constant
  r.model_grid_spacing,           -- of the grid, m
  r.model_grid_orientation,       -- rad, 0 to pi / 3
  r.model_border_score,           -- -1 to 1
  r.model_information,            -- bits, of units that are never negative
  m.map_decoding_error            -- of the network in this arena, m
FROM [ModelRateMap.Unit] AS r
JOIN [ModelRateMap] AS m USING (training_set_hash, model_hash, train_hash, seed, arena, model_map_hash)
