-- The response of a unit's model to its MEI or a control, all at equal mean and contrast.
SELECT
  r.training_set_hash,            -- what the ensemble was trained on
  r.model_hash,                   -- architecture
  r.train_hash,                   -- how it was trained
  r.seed_set_hash,                -- seeds of its members
  r.selection_hash,               -- rule that selected the unit
  r.mei_hash,                     -- how MEIs were synthesised
  r.mask_hash,                    -- how masks were made
  r.contrast_hash,                -- mean and contrast
  r.gabor_hash,                   -- which Gabors are searched
  u.animal_id,                    -- number of the animal
  u.session,                      -- of the animal
  u.scan_idx,                     -- recording of the session
  u.unit_id,                      -- neuron of the recording
  r.unit_index,                   -- column of the model
  r.image_kind,                   -- mei, masked_mei, best_gabor, optimal_gabor, natural, ...
  r.compared_response,            -- of the ensemble, in scaled responses
  r.compared_mean,                -- grey value
  r.compared_sd,                  -- pixel SD, grey values
  r.contrast_reached              -- 0: the image cannot have the contrast
FROM [ImageComparison.Response] AS r
JOIN [TargetDataset.Unit] AS u USING (training_set_hash, unit_index)
