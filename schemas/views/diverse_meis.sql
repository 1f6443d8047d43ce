-- How different from each other images are that excite a unit nearly as much as its MEI.
SELECT
  d.training_set_hash,            -- what the ensemble was trained on
  d.model_hash,                   -- architecture
  d.train_hash,                   -- how it was trained
  d.seed_set_hash,                -- seeds of its members
  d.selection_hash,               -- rule that selected the unit
  d.mei_hash,                     -- how the MEI was synthesised
  d.mask_hash,                    -- how its mask was made
  d.diverse_hash,                 -- how the images were made
  u.animal_id,                    -- number of the animal
  u.session,                      -- of the animal
  u.scan_idx,                     -- recording of the session
  u.unit_id,                      -- neuron of the recording
  d.unit_index,                   -- column of the model
  k.n_images,                     -- made
  d.n_kept,                       -- images that excite the unit as much as asked for
  d.masked_activation,            -- to the MEI under its mask
  d.diverse_correlation           -- mean over all pairs of the images
FROM [DiverseMEI.Unit] AS d
JOIN [DiverseMethod] AS k USING (diverse_hash)
JOIN [TargetDataset.Unit] AS u USING (training_set_hash, unit_index)
