-- Where in its MEI a unit is excited; the mask itself is `mei_mask` of MEIMask.Unit.
SELECT
  m.training_set_hash,            -- what the ensemble was trained on
  m.model_hash,                   -- architecture
  m.train_hash,                   -- how it was trained
  m.seed_set_hash,                -- seeds of its members
  m.selection_hash,               -- rule that selected the unit
  m.mei_hash,                     -- how the MEI was synthesised
  m.mask_hash,                    -- how the mask was made
  u.animal_id,                    -- number of the animal
  u.session,                      -- of the animal
  u.scan_idx,                     -- recording of the session
  u.unit_id,                      -- neuron of the recording
  m.unit_index,                   -- column of the model
  k.mask_type,                    -- tight, threshold or gaussian
  m.mask_status,                  -- ok, emptied, exhausted, silent or degenerate
  m.reduction_ratio,              -- masked activation / before erosion, or without mask
  m.n_erosions                    -- of a tight mask
FROM [MEIMask.Unit] AS m
JOIN [MaskMethod] AS k USING (mask_hash)
JOIN [TargetDataset.Unit] AS u USING (training_set_hash, unit_index)
