-- The most exciting input of a unit in an ensemble; the image itself is `mei` of MEI.Unit.
SELECT
  m.training_set_hash,            -- what the ensemble was trained on
  m.model_hash,                   -- architecture
  m.train_hash,                   -- how it was trained
  m.seed_set_hash,                -- seeds of its members
  m.selection_hash,               -- rule that selected the unit
  m.mei_hash,                     -- how the image was synthesised
  m.unit_block,                   -- units that were optimised together
  u.animal_id,                    -- number of the animal
  u.session,                      -- of the animal
  u.scan_idx,                     -- recording of the session
  u.unit_id,                      -- neuron of the recording
  m.unit_index,                   -- column of the model
  s.selection_rank,               -- 0 = best
  k.mei_method,                   -- inception_loop, fixed_contrast or allen
  k.excite,                       -- most or least
  m.mei_status,                   -- ok; dead: the gradient is zero throughout; nonfinite
  m.mei_activation,               -- of the ensemble, in scaled responses
  m.mei_contrast,                 -- pixel SD, grey values
  m.img_mean,                     -- grey value
  m.stopping,                     -- steps: all made; converged: no more to gain
  m.n_steps,                      -- of ascent
  m.start_agreement,              -- mean correlation of the images of all starts
  m.mei_seed,                     -- of the start noise
  m.monotonic,                    -- 1: activation grows with contrast
  m.max_activation,               -- over contrasts
  m.max_contrast,                 -- pixel SD where it is reached
  j.code_hash,                    -- software that made it: see code_versions
  j._job_start_time AS computed_at,   -- when its block began
  j._job_duration AS compute_seconds  -- of its block
FROM [MEI.Unit] AS m
JOIN [MEI] AS j USING (training_set_hash, model_hash, train_hash, seed_set_hash, selection_hash,
  mei_hash, unit_block)
JOIN [UnitSelection.Unit] AS s USING (training_set_hash, selection_hash, unit_block, unit_index)
JOIN [TargetDataset.Unit] AS u USING (training_set_hash, unit_index)
JOIN [MEIMethod] AS k USING (mei_hash)
