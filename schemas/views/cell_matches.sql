-- A modelled cell and the cell of a later recording that it is taken for.
SELECT
  m.animal_id,                    -- of the later recording
  m.session,                      -- of the later recording
  m.scan_idx,                     -- of the later recording
  l.day,                          -- of the later recording; 1 = that of the models
  l.loop_group,                   -- recordings of the same cells whose trials may be pooled
  l.stimulus_set_hash,            -- that was shown
  m.match_hash,                   -- how cells are matched
  m.training_set_hash,            -- training set that the modelled cell is part of
  m.unit_index,                   -- column of the models
  u.animal_id AS source_animal_id,  -- recording of the modelled cell
  u.session AS source_session,    -- recording of the modelled cell
  u.scan_idx AS source_scan_idx,  -- recording of the modelled cell
  u.unit_id AS source_unit_id,    -- the modelled cell in its recording
  m.matched_unit_id,              -- the cell in the later recording
  m.n_votes,                      -- stacks that agree
  m.mean_distance,                -- um, over them
  c.match_correlation,            -- of the answers to images that both recordings saw
  c.match_status                  -- accepted, excluded, distant, unlike, unmeasured; null: not yet
FROM [BestProximityCellMatch.Unit] AS m
JOIN [ClosedLoopScan] AS l
  ON l.animal_id = m.animal_id AND l.session = m.session AND l.scan_idx = m.scan_idx
JOIN [TargetDataset.Unit] AS u
  ON u.training_set_hash = m.training_set_hash AND u.unit_index = m.unit_index
LEFT JOIN [CellMatchOracleCorrelation.Unit] AS c
  ON c.animal_id = m.animal_id AND c.session = m.session AND c.scan_idx = m.scan_idx
  AND c.match_hash = m.match_hash AND c.training_set_hash = m.training_set_hash
  AND c.unit_index = m.unit_index
