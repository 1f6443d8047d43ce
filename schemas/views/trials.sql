-- A presentation of an image.
SELECT
  t.animal_id,                    -- number of the animal
  t.session,                      -- of the animal
  t.scan_idx,                     -- recording of the session
  t.trial_idx,                    -- presentation of the recording
  t.condition_hash,               -- of the image and how it was presented
  c.image_class,                  -- as natural, gabor, mei
  c.image_id,                     -- in its class
  c.presentation_time,            -- how long, s
  t.trial_onset,                  -- s, on the clock of the stimulus
  t.trial_offset,                 -- s, on the clock of the stimulus
  e.exclusion_comment             -- why the trial is left out of every analysis; null: it is not
FROM [Trial] AS t
JOIN [Condition] AS c USING (condition_hash)
LEFT JOIN [ExcludedTrial] AS e USING (animal_id, session, scan_idx, trial_idx)
