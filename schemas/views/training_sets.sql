-- What networks are trained on: recordings, or a task.
SELECT
  t.training_set_hash,            -- of all below
  t.training_family,              -- image, navigation, coding or feedback
  (SELECT GROUP_CONCAT(CONCAT_WS('-', m.animal_id, m.session, m.scan_idx)
      ORDER BY m.animal_id, m.session, m.scan_idx SEPARATOR ' ')
    FROM [StaticMultiDataset.Member] AS m
    WHERE m.group_id = t.group_id) AS recordings,  -- as '1-1-1 1-2-1'
  d.n_units,                      -- columns of the models; null until the data are ready
  d.dataset_digest,               -- of frames, responses, tiers and units
  c.split_hash,                   -- which images train, validate and test
  c.with_behavior,                -- 1: inputs hold pupil and running
  c.data_params,                  -- JSON; which units and which normalisation
  k.task_params,                  -- JSON; of networks that a task trains
  COALESCE(p.set_priority, 5) AS set_priority  -- of its jobs; the lower the sooner
FROM [TrainingSet] AS t
LEFT JOIN [TargetDataset] AS d USING (training_set_hash)
LEFT JOIN [DataConfig] AS c USING (data_hash)
LEFT JOIN [TaskConfig] AS k USING (task_hash)
LEFT JOIN [TrainingSetPriority] AS p USING (training_set_hash)
