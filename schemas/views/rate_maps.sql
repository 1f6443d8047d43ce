-- How a cell of a foraging animal is tuned; p and the 95th percentile are of shifted spikes.
SELECT
  r.animal_id,                    -- number of the animal
  r.session,                      -- of the animal
  r.scan_idx,                     -- recording of the session
  r.unit_id,                      -- neuron of the recording
  r.rate_map_hash,                -- how maps are made and scored
  o.arena,                        -- box in which the animal forages
  o.animal_name,                  -- in its source
  c.cell_name,                    -- in its source
  r.n_spikes,                     -- null in finished maps, as all that needs spikes
  r.mean_rate,                    -- Hz, over the visited bins
  r.peak_rate,                    -- Hz, of the best bin
  r.grid_score,                   -- symmetry of the map under turns of 60 degrees
  r.grid_score_p,                 -- of shifted spikes that score more
  r.grid_score_p95,               -- of shifted spikes
  r.grid_spacing,                 -- of the grid, m
  r.grid_orientation,             -- rad, 0 to pi / 3
  r.border_score,                 -- -1 to 1
  r.border_score_p95,             -- of shifted spikes
  r.spatial_information,          -- bits per spike
  r.spatial_information_p95,      -- of shifted spikes
  r.head_direction_score,         -- length of the mean vector
  r.head_direction_score_p95,     -- of shifted spikes
  r.preferred_direction           -- of the head, rad
FROM [AnimalRateMap.Unit] AS r
JOIN [OpenField] AS o USING (animal_id, session, scan_idx)
LEFT JOIN [OpenField.Cell] AS c USING (animal_id, session, scan_idx, unit_id)
