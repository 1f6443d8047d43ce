-- Do cells respond more to their images of one kind than to those of another?
SELECT
  t.pool_hash,                    -- recordings whose trials are pooled
  t.match_hash,                   -- how cells are matched
  t.response_scaling,             -- raw, normalized or zscored, per unit
  t.stimulus_kind,                -- the one kind
  t.other_kind,                   -- the other
  t.n_compared,                   -- cells with both responses
  t.wilcoxon_p,                   -- two-sided
  t.median_difference,            -- the one - the other, scaled responses
  t.median_difference_low,        -- 95 percent interval over cells
  t.median_difference_high,       -- 95 percent interval over cells
  t.rank_biserial,                -- -1 to 1
  t.response_ratio,               -- of the means; null: where responses are negative
  t.response_ratio_low,           -- 95 percent interval over cells
  t.response_ratio_high           -- 95 percent interval over cells
FROM [DiagonalTest] AS t
