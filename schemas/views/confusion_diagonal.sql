-- The response of a cell to the image that was made for it, on a later day.
SELECT
  d.pool_hash,                    -- recordings whose trials are pooled
  (SELECT GROUP_CONCAT(CONCAT_WS('-', p.animal_id, p.session, p.scan_idx)
      ORDER BY p.animal_id, p.session, p.scan_idx SEPARATOR ' ')
    FROM [LoopPool.Member] AS p
    WHERE p.pool_hash = d.pool_hash) AS recordings,  -- these, as '1-2-1 1-3-1'
  d.match_hash,                   -- how cells are matched
  d.response_scaling,             -- raw, normalized or zscored, per unit
  d.stimulus_kind,                -- what kind of image
  d.training_set_hash,            -- training set that the cell is part of
  u.animal_id,                    -- recording that the models come from
  u.session,                      -- recording that the models come from
  u.scan_idx,                     -- recording that the models come from
  u.unit_id,                      -- the cell there
  d.unit_index,                   -- column of the models
  d.matrix_index,                 -- row and column in the matrix
  m.n_matrix_units,               -- cells and images of the matrix
  d.diagonal_n,                   -- repeats
  d.diagonal_response,            -- to its own image, mean over repeats
  d.diagonal_sem,                 -- of it
  d.diagonal_rank,                -- images that drive the cell more; -1: its own not shown
  d.row_max                       -- 1: no other image drives the cell more
FROM [ConfusionMatrix.Diagonal] AS d
JOIN [ConfusionMatrix] AS m USING (pool_hash, match_hash, response_scaling, stimulus_kind)
JOIN [TargetDataset.Unit] AS u
  ON u.training_set_hash = d.training_set_hash AND u.unit_index = d.unit_index
