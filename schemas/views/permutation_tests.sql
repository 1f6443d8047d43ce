-- Do images drive the cells they were made for more than others?
SELECT
  t.pool_hash,                    -- recordings whose trials are pooled
  (SELECT GROUP_CONCAT(CONCAT_WS('-', p.animal_id, p.session, p.scan_idx)
      ORDER BY p.animal_id, p.session, p.scan_idx SEPARATOR ' ')
    FROM [LoopPool.Member] AS p
    WHERE p.pool_hash = t.pool_hash) AS recordings,  -- these, as '1-2-1 1-3-1'
  t.match_hash,                   -- how cells are matched
  t.response_scaling,             -- raw, normalized or zscored, per unit
  t.stimulus_kind,                -- what kind of image
  t.permutation_statistic,        -- mean diagonal - mean of the rest, rows / maximum
  t.statistic_low,                -- 95 percent interval over cells
  t.statistic_high,               -- 95 percent interval over cells
  t.permutation_p,                -- two-sided; null: fewer than two usable cells
  t.n_tested,                     -- cells
  t.n_dropped                     -- not shown, or constant
FROM [PermutationTest] AS t
